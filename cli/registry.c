/* The list of commands, and how a command line finds its own. */
#include <string.h>

#include "cli/command.h"
#include "cli/commands.h"

const cli_command *const cli_commands[] = {
    &cmd_demo,
    &cmd_data_import, &cmd_data_synth, &cmd_data_info,
    &cmd_space_list, &cmd_space_show, &cmd_space_count, &cmd_space_sample,
    &cmd_profile,
    &cmd_latency_predict, &cmd_latency_check, &cmd_latency_verify, &cmd_latency_show,
    &cmd_latency_diff, &cmd_latency_fit, &cmd_latency_scale, &cmd_latency_train,
    &cmd_latency_import, &cmd_latency_export,
    &cmd_search, &cmd_predictor_train, &cmd_evolve, &cmd_resume, &cmd_train, &cmd_eval, &cmd_export,
    &cmd_prune, &cmd_quantize, &cmd_pipeline,
    &cmd_ofa_shrink, &cmd_ofa_sample, &cmd_ofa_search, &cmd_ofa_extract,
    &cmd_runs_list, &cmd_runs_show, &cmd_runs_compare, &cmd_runs_delete, &cmd_runs_export,
    &cmd_jobs_submit, &cmd_jobs_run, &cmd_jobs_list, &cmd_jobs_show, &cmd_jobs_why,
    &cmd_jobs_logs, &cmd_jobs_cancel, &cmd_jobs_retry, &cmd_jobs_task,
    &cmd_report,
    &cmd_serve,
    &cmd_store_verify, &cmd_store_backup, &cmd_store_gc, &cmd_store_migrate,
    &cmd_inspect, &cmd_doctor, &cmd_completion, &cmd_bench, &cmd_bench_ops,
    NULL,
};

/* Length of the first word of a name. */
static size_t group_length(const char *name)
{
    return strcspn(name, " ");
}

const cli_command *cli_command_named(const char *name)
{
    for (int i = 0; cli_commands[i] != NULL; i++)
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    return NULL;
}

void cli_command_kind(const cli_command *command, char out[NAS_STORE_NAME_SIZE])
{
    snprintf(out, NAS_STORE_NAME_SIZE, "%s", command->name);
    for (char *at = out; (at = strchr(at, ' ')) != NULL;)
        *at = '-';
}

const cli_command *cli_command_of_kind(const char *kind)
{
    for (int i = 0; cli_commands[i] != NULL; i++) {
        char own[NAS_STORE_NAME_SIZE];

        cli_command_kind(cli_commands[i], own);
        if (strcmp(own, kind) == 0)
            return cli_commands[i];
    }
    return NULL;
}

/* Words that may stand at a place of the command line: first words when `group` is NULL,
 * else what follows that word.  "help" is one of the first. */
static int words_at(const char *group, const char **out)
{
    static char first[64][24];
    int count = 0;

    for (int i = 0; cli_commands[i] != NULL && count < 62; i++) {
        const char *name = cli_commands[i]->name;
        const size_t length = group_length(name);

        if (group == NULL)
            snprintf(first[count], sizeof first[0], "%.*s", (int)length, name);
        else if (name[length] == ' ' && strncmp(name, group, length) == 0 &&
                 group[length] == '\0')
            snprintf(first[count], sizeof first[0], "%s", name + length + 1);
        else
            continue;
        out[count] = first[count];
        count++;
    }
    if (group == NULL)
        out[count++] = "help";
    out[count] = NULL;
    return count;
}

static nas_status unknown(const char *group, const char *word, nas_err *err)
{
    const char *words[64], *between = group != NULL ? " " : "";
    const char *prefix = group != NULL ? group : "";

    words_at(group, words);
    nas_fail(err, NAS_E_USAGE, "unknown command '%s%s%.100s'", prefix, between, word);
    const char *nearest = nas_nearest(word, words);
    if (nearest != NULL)
        nas_hint(err, "did you mean 'nas %s%s%s'?", prefix, between, nearest);
    else
        nas_hint(err, "'nas help%s%s' lists the commands", between, prefix);
    return NAS_E_USAGE;
}

nas_status cli_command_find(const cli_command **out, int *words, int argc,
                            const char *const *argv, nas_err *err)
{
    const char *subs[64];
    char name[64];

    if (argc > 1 && argv[1][0] != '-') { /* "bench ops" is a command beside "bench" */
        snprintf(name, sizeof name, "%s %.40s", argv[0], argv[1]);
        *words = 2;
        if ((*out = cli_command_named(name)) != NULL)
            return NAS_OK;
    }
    *out = cli_command_named(argv[0]);
    *words = 1;
    if (*out != NULL && strchr(argv[0], ' ') == NULL)
        return NAS_OK;
    if (words_at(argv[0], subs) == 0)
        return unknown(NULL, argv[0], err);
    if (argc < 2 || argv[1][0] == '-') {
        nas_fail(err, NAS_E_USAGE, "'nas %s' needs a second word", argv[0]);
        nas_hint(err, "'nas help %s' lists them", argv[0]);
        return NAS_E_USAGE;
    }
    return unknown(argv[0], argv[1], err);
}

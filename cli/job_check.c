/* Command lines of jobs: is there such a command, and does it take these options? */
#include "cli/job_check.h"

#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "search/jobs/sweep.h"

/* A job works on the loop's store: what it did in another would belong to a job of that one. */
static nas_status check_store(int count, const char *const *words, nas_err *err)
{
    static const char flag[] = "--store";
    const size_t length = sizeof flag - 1;

    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++)
        if (strncmp(words[i], flag, length) == 0 &&
            (words[i][length] == '\0' || words[i][length] == '=')) {
            nas_fail(err, NAS_E_USAGE, "%s: a job has the store in which it is queued", flag);
            nas_hint(err, "put it in front of the command: nas jobs submit --store DIR -- ...");
            return NAS_E_USAGE;
        }
    return NAS_OK;
}

nas_status cli_job_check(nas_job_spec *spec, nas_err *err)
{
    const size_t count = json_array_size(spec->args);
    const char **words = calloc(count + 1, sizeof *words);
    const cli_command *command;
    cli_parsed parsed;
    int used;
    nas_status status;

    if (words == NULL)
        return nas_fail(err, NAS_E_NOMEM, "jobs: out of memory");
    for (size_t i = 0; i < count; i++) { /* what will be a path is checked without it */
        const json_t *word = json_array_get(spec->args, i);

        words[i] = json_string_value(json_is_object(word) ? json_object_get(word, "before") : word);
    }
    cli_expand_short((int)count, words);
    if ((status = cli_command_find(&command, &used, (int)count, words, err)) != NAS_OK)
        goto done;
    if (strncmp(command->name, "jobs ", 5) == 0 || strcmp(command->name, "pipeline") == 0) {
        status = nas_fail(err, NAS_E_USAGE, "'nas %s' cannot be a job", command->name);
        goto done;
    }
    status = cli_parse(&parsed, command, NULL, (int)count - used, words + used, err);
    cli_parsed_fini(&parsed);
    if (status == NAS_OK)
        status = check_store((int)count - used, words + used, err);
    if (spec->hang_limit_s == NAS_HANG_LIMIT_UNSET)
        spec->hang_limit_s = command->stop == CLI_STOP_RESUMES ? 1800 : 0;

done:
    if (status != NAS_OK && spec->name != NULL)
        nas_err_prefix(err, "job %s", spec->name);
    free(words);
    return status;
}

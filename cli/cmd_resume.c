/* nas resume - continues a run to the same bits as if it had not stopped. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/ranks.h"
#include "cli/run_session.h"
#include "nas/space/space.h"

typedef struct resume_options {
    cli_common common;
    bool dry_run;
} resume_options;

static const nas_option resume_table[] = {
    CLI_DRY_RUN(offsetof(resume_options, dry_run)),
    {0},
};

/* Older stores have built-in spaces with a dot in their names as files of that name. */
static void repair_space(json_t *config)
{
    const char *path = json_string_value(json_object_get(config, "space"));
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;

    if (slash != NULL && !nas_path_exists(path) && nas_space_is_builtin(slash + 1)) {
        char *name = strdup(slash + 1);

        if (name != NULL)
            json_object_set_new(config, "space", json_string(name));
        free(name);
    }
}

/* The options of the run as it was begun; how it is run now comes from this command line. */
static nas_status restore_options(cli_parsed *out, const cli_command *command,
                                  const nas_store_run *run, const resume_options *now,
                                  nas_err *err)
{
    json_t *config = NULL;
    nas_status status;

    if ((status = cli_session_config(&config, run, err)) != NAS_OK)
        return status;
    if (now->common.seed != 1 && json_integer_value(json_object_get(config, "seed")) !=
                                     now->common.seed) {
        json_decref(config);
        nas_fail(err, NAS_E_USAGE, "--seed: run %s goes on with its own", run->name);
        nas_hint(err, "leave it out, or begin another run");
        return NAS_E_USAGE;
    }
    repair_space(config);
    if (now->dry_run)
        json_object_set_new(config, "dry_run", json_true());
    json_object_set_new(config, "store", json_string(now->common.store));
    json_object_set_new(config, "threads", json_integer(now->common.threads));
    status = cli_parse(out, command, config, 0, NULL, err);
    json_decref(config);
    if (status != NAS_OK)
        return status;
    cli_common *common = out->options;
    const int64_t seed = common->seed;
    *common = now->common;
    common->seed = seed;
    out->context.run = run;
    return NAS_OK;
}

static nas_status find_run(nas_store_run **out, const cli_context *context, nas_err *err)
{
    nas_store *store = NULL;
    nas_status status;

    if ((status = nas_store_open(&store, context->common->store, NAS_STORE_EXISTING, err)) ==
        NAS_OK)
        status = nas_store_run_get(store, context->count > 0 ? context->args[0] : NULL, out, err);
    nas_store_close(store); /* the command opens its own */
    return status;
}

/* Of several processes the first finds the run; the others get what they go by. */
static nas_status share_run(nas_store_run **run, const nas_comm *comm, nas_err *err)
{
    const bool first = nas_comm_rank(comm) == 0;
    size_t size = first ? strlen((*run)->config) + 1 : 0;

    if (comm == NULL)
        return NAS_OK;
    nas_comm_broadcast(comm, &size, sizeof size);
    if (!first && ((*run = calloc(1, sizeof **run)) == NULL ||
                   ((*run)->config = calloc(1, size)) == NULL))
        return cli_ranks_agree(nas_fail(err, NAS_E_NOMEM, "resume: out of memory"), err);
    const nas_status status = cli_ranks_agree(NAS_OK, err);
    if (status != NAS_OK)
        return status;
    nas_comm_broadcast(comm, (*run)->config, size);
    nas_comm_broadcast(comm, (*run)->kind, sizeof (*run)->kind);
    nas_comm_broadcast(comm, (*run)->name, sizeof (*run)->name);
    nas_comm_broadcast(comm, &(*run)->state, sizeof (*run)->state);
    return NAS_OK;
}

static nas_status resume_run(const cli_context *context, const void *options, nas_err *err)
{
    nas_store_run *run = NULL;
    cli_parsed parsed = {0};
    nas_status status =
        nas_comm_rank(context->comm) == 0 ? find_run(&run, context, err) : NAS_OK;

    if ((status = cli_ranks_agree(status, err)) || (status = share_run(&run, context->comm, err)))
        goto done;
    const cli_command *command = cli_command_of_kind(run->kind);
    if (run->state == NAS_STORE_DONE) {
        status = nas_fail(err, NAS_E_USAGE, "run %s is done: there is nothing to continue",
                          run->name);
        nas_hint(err, "'nas runs show %s' shows its result", run->name);
    } else if (command == NULL || command->stop != CLI_STOP_RESUMES ||
               command->run == resume_run) {
        status = nas_fail(err, NAS_E_USAGE, "run %s is a '%s', which cannot be continued",
                          run->name, run->kind);
    } else if (command->shared || (status = cli_ranks_alone(command->name, err)) == NAS_OK) {
        status = restore_options(&parsed, command, run, options, err);
    }
    if (status != NAS_OK)
        goto done;
    status = command->run(&parsed.context, parsed.options, err);

done:
    cli_parsed_fini(&parsed);
    nas_store_run_free(run);
    return status;
}

const cli_command cmd_resume = {
    .name = "resume", .summary = "continue the newest unfinished run, or RUN",
    .arguments = "[RUN]", .example = "resume search-1", .max_args = 1, .stop = CLI_STOP_RESUMES,
    .tables = {resume_table}, .size = sizeof(resume_options), .shared = true, .run = resume_run,
};

/* nas resume - continues a run to the same bits as if it had not stopped. */
#include "cli/commands.h"
#include "cli/run_session.h"

/* The options of the run as it was begun; how it is run now comes from this command line. */
static nas_status restore_options(cli_parsed *out, const cli_command *command,
                                  const nas_store_run *run, const cli_common *now, nas_err *err)
{
    json_t *config = NULL;
    nas_status status;

    if ((status = cli_session_config(&config, run, err)) != NAS_OK)
        return status;
    status = cli_parse(out, command, config, 0, NULL, err);
    json_decref(config);
    if (status != NAS_OK)
        return status;
    cli_common *common = out->options;
    const int64_t seed = common->seed;
    *common = *now;
    common->seed = seed;
    out->context.run = run;
    return NAS_OK;
}

static nas_status resume_run(const cli_context *context, const void *options, nas_err *err)
{
    nas_store *store = NULL;
    nas_store_run *run = NULL;
    cli_parsed parsed = {0};
    nas_status status;

    if ((status = nas_store_open(&store, context->common->store, NAS_STORE_EXISTING, err)) ||
        (status = nas_store_run_get(store, context->count > 0 ? context->args[0] : NULL, &run,
                                    err)))
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
    } else {
        status = restore_options(&parsed, command, run, context->common, err);
    }
    if (status != NAS_OK)
        goto done;
    nas_store_close(store); /* the command opens its own */
    store = NULL;
    status = command->run(&parsed.context, parsed.options, err);

done:
    cli_parsed_fini(&parsed);
    nas_store_run_free(run);
    nas_store_close(store);
    return status;
}

const cli_command cmd_resume = {
    .name = "resume", .summary = "continue the newest unfinished run, or RUN",
    .arguments = "[RUN]", .example = "resume search-1", .max_args = 1, .stop = CLI_STOP_RESUMES,
    .run = resume_run,
};

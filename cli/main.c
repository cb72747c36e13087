/* nas - the command: finds the subcommand, reads its options, runs it, reports errors.
 * The exit code is the status. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/ranks.h"
#include "cli/signals.h"
#include "cli/version.h"
#include "search/jobs/worker.h"

/* Threads that wait for others shall not burn the core that these need: libgomp spins for
 * milliseconds by default, which makes a busy machine fifty times slower (measured on 2 cores
 * under load).  It reads its environment before main, so the process starts over once. */
static void calm_waiting_threads(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") != NULL || getenv("OMP_WAIT_POLICY") != NULL)
        return;
    if (setenv("GOMP_SPINCOUNT", "5000", 1) == 0)
        execv("/proc/self/exe", argv); /* where that cannot be done, it goes on as it is */
}

static bool asks_for_help(int argc, const char *const *argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0)
            return true;
    return false;
}

static nas_status run_command(int argc, const char **argv, const cli_command **ran, nas_err *err)
{
    const cli_command *command;
    cli_parsed parsed;
    nas_status status;
    int words;

    if (asks_for_help(argc, argv)) {
        words = argc < 2 || argv[1][0] == '-' ? 1 : 2;
        return cli_help(stdout, words, argv, err);
    }
    if ((status = cli_command_find(&command, &words, argc, argv, err)) != NAS_OK ||
        (status = cli_ranks_open(err)) != NAS_OK)
        return status;
    status = cli_parse(&parsed, command, NULL, argc - words, argv + words, err);
    if (status == NAS_OK && !command->shared)
        status = cli_ranks_alone(command->name, err);
    if (status == NAS_OK) {
        *ran = command;
        cli_common_apply(parsed.context.common);
        if (command->stop != CLI_STOP_DIES)
            cli_signals_catch(nas_worker_is() || cli_ranks() != NULL);
        status = command->run(&parsed.context, parsed.options, err);
    }
    cli_parsed_fini(&parsed);
    return status;
}

static nas_status dispatch(int argc, const char **argv, const cli_command **ran, nas_err *err)
{
    if (argc == 0) {
        cli_help(stderr, 0, NULL, NULL);
        return NAS_E_USAGE;
    }
    if (strcmp(argv[0], "--version") == 0) {
        printf("nas %s\n", NAS_VERSION);
        return NAS_OK;
    }
    if (strcmp(argv[0], "help") == 0 || strcmp(argv[0], "--help") == 0)
        return cli_help(stdout, argc - 1, argv + 1, err);
    if (argv[0][0] == '-') {
        nas_fail(err, NAS_E_USAGE, "'%.100s' stands where a command should", argv[0]);
        nas_hint(err, "options follow the command: nas COMMAND [OPTIONS]; 'nas help' lists them");
        return NAS_E_USAGE;
    }
    return run_command(argc, argv, ran, err);
}

int main(int argc, char **argv)
{
    nas_err err = {0}, late = {0};
    const cli_command *ran = NULL;
    const char **args = (const char **)argv + 1; /* cli_expand_short puts constants there */
    const int count = argc > 0 ? argc - 1 : 0;

    calm_waiting_threads(argv);
    nas_json_fail_fast();
    nas_worker_begin();
    cli_signals_init();
    cli_expand_short(count, args);
    nas_status status = dispatch(count, args, &ran, &err);
    if (cli_flush(&late) != NAS_OK && status == NAS_OK) {
        status = late.status;
        err = late;
    }
    status = cli_ranks_close(status, &err);
    const bool kept = ran == NULL || (ran->stop != CLI_STOP_ENDS && !cli_kept_nothing());
    return status == NAS_E_INTERRUPTED && !kept
               ? cli_signal_exit_code()
               : (int)status;
}

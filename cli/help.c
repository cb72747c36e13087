/* Help from the tables: the first screen, a group, a command, and the reference page. */
#include <string.h>

#include "cli/command.h"

const char cli_exit_codes[] =
    "0 done; 1 failed; 2 usage; 3 no architecture meets the constraint, or the table\n"
    "does not cover the space; 65 bad data; 71 out of memory; 74 I/O error or disk full; 75\n"
    "stopped with a checkpoint (nas resume); 78 bad configuration; 130, 143 ended by a signal.\n";

static void overview(FILE *out)
{
    fputs("nas - finds the network that fits your images and your device\n\n"
          "Usage: nas COMMAND [OPTIONS]     nas help COMMAND     nas --version\n\n"
          "  nas demo                                   the whole story in two minutes\n"
          "  nas profile --space S --out table.yaml     what each operation costs here\n"
          "  nas search --data D --space S --table table.yaml --target-ms 5\n\nCommands:\n",
          out);
    for (int i = 0; cli_commands[i] != NULL; i++)
        fprintf(out, "  %-16s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputc('\n', out);
    fprintf(out, "Exit codes: %s", cli_exit_codes);
}

void cli_help_command(FILE *out, const cli_command *command)
{
    const nas_option *common[] = {cli_common_options(), NULL};

    fprintf(out, "nas %s - %s\n\nUsage: nas %s%s%s [OPTIONS]\n", command->name, command->summary,
            command->name, command->arguments != NULL ? " " : "",
            command->arguments != NULL ? command->arguments : "");
    if (command->example != NULL)
        fprintf(out, "Example: nas %s\n", command->example);
    if (command->tables[0] != NULL) {
        const nas_option *own[CLI_MAX_TABLES + 1] = {0};

        memcpy(own, command->tables, sizeof command->tables);
        fputs("\nOptions:\n", out);
        nas_options_help(own, out);
    }
    fputs("\nCommon options:\n", out);
    nas_options_help(common, out);
}

/* docs/reference/options.md. */
static void markdown(FILE *out)
{
    fputs("# Commands and options\n\nMade by `nas help --markdown`; do not edit.\n", out);
    for (int i = 0; cli_commands[i] != NULL; i++) {
        const cli_command *command = cli_commands[i];

        fprintf(out, "\n## nas %s\n\n%s.\n\n```\nnas %s%s%s [OPTIONS]\n", command->name,
                command->summary, command->name, command->arguments != NULL ? " " : "",
                command->arguments != NULL ? command->arguments : "");
        if (command->tables[0] != NULL) {
            const nas_option *own[CLI_MAX_TABLES + 1] = {0};

            memcpy(own, command->tables, sizeof command->tables);
            nas_options_help(own, out);
        }
        fputs("```\n", out);
    }
    const nas_option *common[] = {cli_common_options(), NULL};
    fputs("\n## Options of every command\n\n```\n", out);
    nas_options_help(common, out);
    fprintf(out, "```\n\nExit codes: %s", cli_exit_codes);
}

static nas_status man(FILE *out, int argc, const char *const *argv, nas_err *err)
{
    const cli_command *command = NULL;
    int words;
    const nas_status status = argc > 0 ? cli_command_find(&command, &words, argc, argv, err)
                                       : NAS_OK;

    if (status == NAS_OK)
        cli_man(out, command);
    return status;
}

nas_status cli_help(FILE *out, int argc, const char *const *argv, nas_err *err)
{
    const cli_command *command = argc == 1 ? cli_command_named(argv[0]) : NULL;
    bool group = command != NULL;
    int words;

    if (argc == 0) {
        overview(out);
        return NAS_OK;
    }
    if (strcmp(argv[0], "--markdown") == 0) {
        markdown(out);
        return NAS_OK;
    }
    if (strcmp(argv[0], "--man") == 0)
        return man(out, argc - 1, argv + 1, err);
    if (strcmp(argv[0], "--commands") == 0) {
        for (int i = 0; cli_commands[i] != NULL; i++)
            fprintf(out, "%s\n", cli_commands[i]->name);
        return NAS_OK;
    }
    if (command != NULL) /* there may be "bench ops" beside "bench" */
        cli_help_command(out, command);
    for (int i = 0; argc == 1 && cli_commands[i] != NULL; i++) {
        const char *name = cli_commands[i]->name;
        const size_t length = strlen(argv[0]);

        if (strncmp(name, argv[0], length) == 0 && name[length] == ' ') {
            fprintf(out, "  nas %-16s %s\n", name, cli_commands[i]->summary);
            group = true;
        }
    }
    if (group)
        return NAS_OK;
    const nas_status status = cli_command_find(&command, &words, argc, argv, err);
    if (status == NAS_OK)
        cli_help_command(out, command);
    return status;
}

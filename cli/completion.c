/* nas completion - scripts that make shells complete our commands, from the tables. */
#include "cli/completion.h"

#include <string.h>

#include "cli/commands.h"
#include "nas/space/space.h"

/* By the name that help gives the value. */
static completion_kind kind_of(const char *value)
{
    static const struct {
        const char *value;
        completion_kind kind;
    } kinds[] = {
        {"FILE", COMPLETION_FILE}, {"TABLE", COMPLETION_FILE},  {"SRC", COMPLETION_FILE},
        {"DIR", COMPLETION_DIR},   {"SPACE", COMPLETION_SPACE},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].value) == strcspn(value, "[") && /* "FILE[,FILE...]" as FILE */
            strncmp(kinds[i].value, value, strcspn(value, "[")) == 0)
            return kinds[i].kind;
    return COMPLETION_FREE;
}

completion_kind completion_of_option(const nas_option *option)
{
    return option->choices != NULL ? COMPLETION_CHOICE : kind_of(nas_option_value(option));
}

completion_kind completion_of_arguments(const cli_command *command)
{
    if (command->arguments == NULL)
        return COMPLETION_FREE;
    if (strchr(command->arguments, '|') != NULL)
        return COMPLETION_CHOICE;
    if (strncmp(command->name, "space ", 6) == 0) /* "NAME" is one of a space there */
        return COMPLETION_SPACE;
    return kind_of(command->arguments);
}

/* Bytes of the first word. */
static size_t first_length(const char *name)
{
    return strcspn(name, " ");
}

static bool begins_with(const char *name, const char *first, size_t length)
{
    return first_length(name) == length && strncmp(name, first, length) == 0;
}

bool completion_is_group(const char *first)
{
    for (int i = 0; cli_commands[i] != NULL; i++)
        if (begins_with(cli_commands[i]->name, first, strlen(first)) &&
            strchr(cli_commands[i]->name, ' ') != NULL)
            return true;
    return false;
}

/* Whether no command before number i has the same first word. */
static bool is_new(int i)
{
    const char *name = cli_commands[i]->name;

    for (int k = 0; k < i; k++)
        if (begins_with(cli_commands[k]->name, name, first_length(name)))
            return false;
    return true;
}

void completion_groups(FILE *out, void (*visit)(FILE *out, const char *first))
{
    char first[32];

    for (int i = 0; cli_commands[i] != NULL; i++) {
        const char *name = cli_commands[i]->name;

        snprintf(first, sizeof first, "%.*s", (int)first_length(name), name);
        if (is_new(i) && completion_is_group(first))
            visit(out, first);
    }
}

/* A first word of several commands is about what its second words say: "import, synth, info". */
static void visit_first(FILE *out, int i, completion_visit *visit)
{
    const char *name = cli_commands[i]->name;
    const size_t length = first_length(name);
    char first[32], about[256] = "";

    snprintf(first, sizeof first, "%.*s", (int)length, name);
    if (name[length] == '\0') {
        visit(out, "", first, cli_commands[i]->summary);
        return;
    }
    for (int k = i; cli_commands[k] != NULL; k++)
        if (begins_with(cli_commands[k]->name, first, length))
            snprintf(about + strlen(about), sizeof about - strlen(about), "%s%s",
                     *about != '\0' ? ", " : "", cli_commands[k]->name + length + 1);
    visit(out, "", first, about);
}

void completion_words(FILE *out, const char *first, completion_visit *visit)
{
    const size_t length = strlen(first);

    for (int i = 0; cli_commands[i] != NULL; i++) {
        const char *name = cli_commands[i]->name;

        if (length == 0 && is_new(i))
            visit_first(out, i, visit);
        else if (length > 0 && begins_with(name, first, length) && name[length] == ' ')
            visit(out, first, name + length + 1, cli_commands[i]->summary);
    }
    if (length == 0)
        visit(out, "", "help", "how a command is used");
}

void completion_escaped(FILE *out, const char *text, const char *special)
{
    for (; *text != '\0'; text++) {
        if (strchr(special, *text) != NULL)
            fputc('\\', out);
        fputc(*text, out);
    }
}

void completion_choices(FILE *out, const char *choices)
{
    for (; *choices != '\0'; choices++)
        fputc(*choices == '|' ? ' ' : *choices, out);
}

void completion_spaces(FILE *out)
{
    const char *const *names = nas_space_names();

    for (int i = 0; names[i] != NULL; i++)
        fprintf(out, "%s%s", i > 0 ? " " : "", names[i]);
}

static nas_status completion_run(const cli_context *context, const void *options, nas_err *err)
{
    static const struct {
        const char *shell;
        void (*write)(FILE *out);
    } shells[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};

    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (strcmp(context->args[0], shells[i].shell) == 0) {
            shells[i].write(stdout);
            return NAS_OK;
        }
    nas_fail(err, NAS_E_USAGE, "completion: '%.60s' is no shell that it knows", context->args[0]);
    nas_hint(err, "it knows bash, zsh and fish");
    return NAS_E_USAGE;
}

const cli_command cmd_completion = {
    .name = "completion",
    .summary = "a script that makes bash, zsh or fish complete commands",
    .arguments = "bash|zsh|fish",
    .example = "completion bash > ~/.local/share/bash-completion/completions/nas",
    .min_args = 1,
    .max_args = 1,
    .run = completion_run,
};

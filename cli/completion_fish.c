/* Completion for fish. */
#include "cli/completion.h"

/* Between single quotes. */
static void put_text(FILE *out, const char *text)
{
    completion_escaped(out, text, "'\\");
}

static void put_word(FILE *out, const char *first, const char *word, const char *about)
{
    fprintf(out, "complete -c nas -n '__nas_at \"%s\"' -a %s -d '", first, word);
    put_text(out, about);
    fputs("'\n", out);
}

static void put_group(FILE *out, const char *first)
{
    completion_words(out, first, put_word);
}

/* What may stand for a value: the -a of `complete`, and whether files may too. */
static void put_value(FILE *out, completion_kind kind, const char *choices)
{
    switch (kind) {
    case COMPLETION_CHOICE:
        fputs(" -x -a '", out);
        completion_choices(out, choices);
        fputc('\'', out);
        break;
    case COMPLETION_FILE:
        fputs(" -r -F", out);
        break;
    case COMPLETION_DIR:
        fputs(" -x -a '(__fish_complete_directories)'", out);
        break;
    case COMPLETION_SPACE:
        fputs(" -r -F -a '", out);
        completion_spaces(out);
        fputc('\'', out);
        break;
    case COMPLETION_FREE:
        fputs(" -x", out);
        break;
    }
}

static void put_exception(FILE *out, const char *first, const char *word, const char *about)
{
    fprintf(out, "; and not __nas_in \"%s %s\"", first, word);
}

/* "bench" is not meant where "bench ops" was typed; NULL: any command. */
static void put_condition(FILE *out, const char *command)
{
    fputs("complete -c nas -n '", out);
    if (command == NULL) {
        fputs("not __nas_at \"\"'", out);
        return;
    }
    fprintf(out, "__nas_in \"%s\"", command);
    completion_words(out, command, put_exception);
    fputc('\'', out);
}

static void put_options(FILE *out, const char *command, const nas_option *table)
{
    for (const nas_option *o = table; o->flag != NULL; o++) {
        char about[256];

        put_condition(out, command);
        fprintf(out, " -l %s", o->flag + 2);
        if (o->type != NAS_OPT_FLAG)
            put_value(out, completion_of_option(o), o->choices);
        nas_option_describe(o, about, sizeof about);
        fputs(" -d '", out);
        put_text(out, about);
        fputs("'\n", out);
    }
}

static void put_arguments(FILE *out, const cli_command *command)
{
    const completion_kind kind = completion_of_arguments(command);

    if (kind == COMPLETION_FREE)
        return;
    put_condition(out, command->name);
    put_value(out, kind, command->arguments);
    fputc('\n', out);
}

void completion_fish(FILE *out)
{
    fputs("# fish completion of nas; made by `nas completion fish`.\n"
          "function __nas_words -d 'what was typed after nas (and help), without options'\n"
          "    set -l words (commandline -opc)[2..-1]\n"
          "    test \"$words[1]\" = help; and set -e words[1]\n"
          "    string match -v -- '-*' $words | string join ' '\nend\n\n"
          "function __nas_at -d 'the words before this one are these'\n"
          "    test \"$(__nas_words)\" = \"$argv\"\nend\n\n"
          "function __nas_in -d 'the command is this one'\n"
          "    not contains -- help (commandline -opc)[2]\n"
          "    and string match -q -- \"$argv *\" \"$(__nas_words) \"\nend\n\n"
          "complete -c nas -f\n",
          out);
    completion_words(out, "", put_word);
    completion_groups(out, put_group);
    for (int i = 0; cli_commands[i] != NULL; i++) {
        const cli_command *command = cli_commands[i];

        for (int t = 0; t < CLI_MAX_TABLES && command->tables[t] != NULL; t++)
            put_options(out, command->name, command->tables[t]);
        put_arguments(out, command);
    }
    put_options(out, NULL, cli_common_options());
    fputs("complete -c nas -l help -d 'how the command is used'\n"
          "complete -c nas -n '__nas_at \"\"' -l version -d 'the version'\n",
          out);
}

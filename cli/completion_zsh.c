/* Completion for zsh: a file _nas in a folder of $fpath. */
#include "cli/completion.h"

/* In single quotes, where a quote is written as '\'' . */
static void put_quoted(FILE *out, const char *text, const char *special)
{
    for (; *text != '\0'; text++) {
        const char one[] = {*text, '\0'};

        if (*text == '\'')
            fputs("'\\''", out);
        else
            completion_escaped(out, one, special);
    }
}

static void put_word(FILE *out, const char *first, const char *word, const char *about)
{
    fprintf(out, " '%s:", word);
    put_quoted(out, about, ":");
    fputc('\'', out);
}

static void put_group(FILE *out, const char *first)
{
    fprintf(out, "    (%s) words2=(", first);
    completion_words(out, first, put_word);
    fputs(") ;;\n", out);
}

/* What _arguments does for a value. */
static void put_action(FILE *out, completion_kind kind, const char *choices)
{
    switch (kind) {
    case COMPLETION_CHOICE:
        fputc('(', out);
        completion_choices(out, choices);
        fputc(')', out);
        break;
    case COMPLETION_FILE:
        fputs("_files", out);
        break;
    case COMPLETION_DIR:
        fputs("_files -/", out);
        break;
    case COMPLETION_SPACE:
        fputs("_nas_space", out);
        break;
    case COMPLETION_FREE:
        fputc(' ', out);
        break;
    }
}

static void put_options(FILE *out, const nas_option *table, const char *indent)
{
    for (const nas_option *o = table; o->flag != NULL; o++) {
        char about[256];

        nas_option_describe(o, about, sizeof about);
        fprintf(out, "%s'%s%s[", indent, o->flag, o->type == NAS_OPT_FLAG ? "" : "=");
        put_quoted(out, about, "[]\\");
        fputc(']', out);
        if (o->type != NAS_OPT_FLAG) {
            fprintf(out, ":%s:", o->unit != NULL ? o->unit : "value");
            put_action(out, completion_of_option(o), o->choices);
        }
        fputs("'\n", out);
    }
}

static void put_command(FILE *out, const cli_command *command)
{
    fprintf(out, "    ('%s')\n        specs=(\n", command->name);
    for (int t = 0; t < CLI_MAX_TABLES && command->tables[t] != NULL; t++)
        put_options(out, command->tables[t], "            ");
    if (command->arguments != NULL) {
        fputs("            '*:argument:", out);
        put_action(out, completion_of_arguments(command), command->arguments);
        fputs("'\n", out);
    }
    fputs("        ) ;;\n", out);
}

void completion_zsh(FILE *out)
{
    fputs("#compdef nas\n# zsh completion of nas; made by `nas completion zsh`.\n"
          "_nas_space() {\n    local -a spaces=(",
          out);
    completion_spaces(out);
    fputs(")\n    _describe space spaces\n    _files\n}\n\n"
          "_nas() {\n"
          "    local name=$words[2] helping=\n"
          "    local -a words1 words2 specs common\n"
          "    words1=(",
          out);
    completion_words(out, "", put_word);
    fputs(" '--version:the version')\n"
          "    if [[ $name == help ]] && (( CURRENT > 2 )); then\n"
          "        helping=yes\n        shift words\n        (( CURRENT-- ))\n        "
          "name=$words[2]\n"
          "    fi\n"
          "    if (( CURRENT == 2 )); then\n        _describe command words1\n        return\n    "
          "fi\n"
          "    case $name in\n",
          out);
    completion_groups(out, put_group);
    fputs("    esac\n"
          "    (( CURRENT == 3 && $#words2 )) && _describe command words2\n"
          "    [[ -n $helping ]] && return\n"
          "    if (( CURRENT > 3 )) && [[ -n ${(M)words2:#$words[3]:*} ]]; then\n"
          "        name=\"$name $words[3]\"\n        shift words\n        (( CURRENT-- ))\n    fi\n"
          "    case $name in\n",
          out);
    for (int i = 0; cli_commands[i] != NULL; i++)
        put_command(out, cli_commands[i]);
    fputs("    (*) return ;;\n    esac\n    common=(\n", out);
    put_options(out, cli_common_options(), "        ");
    fputs("        '--help[how the command is used]'\n    )\n"
          "    shift words\n    (( CURRENT-- ))\n"
          "    _arguments -S $specs $common\n}\n\n_nas \"$@\"\n",
          out);
}

/* Completion for bash (4 or later); needs nothing of the package bash-completion. */
#include "cli/completion.h"

static void put_word(FILE *out, const char *first, const char *word, const char *about)
{
    fprintf(out, "%s ", word);
}

static void put_group(FILE *out, const char *first)
{
    fprintf(out, "    %s) words='", first);
    completion_words(out, first, put_word);
    fputs("' ;;\n", out);
}

static const char *const kinds[] = {
    [COMPLETION_FREE] = "free",   [COMPLETION_FILE] = "file",     [COMPLETION_DIR] = "dir",
    [COMPLETION_SPACE] = "space", [COMPLETION_CHOICE] = "choice",
};

/* One line for each option that takes a value. */
static void put_values(FILE *out, const nas_option *table, const char *indent)
{
    for (const nas_option *o = table; o->flag != NULL; o++) {
        if (o->type == NAS_OPT_FLAG)
            continue;
        fprintf(out, "%s%s) kind=%s", indent, o->flag, kinds[completion_of_option(o)]);
        if (o->choices != NULL) {
            fputs(" choices='", out);
            completion_choices(out, o->choices);
            fputc('\'', out);
        }
        fputs(" ;;\n", out);
    }
}

static void put_flags(FILE *out, const nas_option *table)
{
    for (const nas_option *o = table; o->flag != NULL; o++)
        fprintf(out, "%s ", o->flag);
}

static void put_command(FILE *out, const cli_command *command)
{
    const completion_kind kind = completion_of_arguments(command);

    fprintf(out, "    '%s')\n        argument=%s\n", command->name, kinds[kind]);
    if (kind == COMPLETION_CHOICE) {
        fputs("        choices='", out);
        completion_choices(out, command->arguments);
        fputs("'\n", out);
    }
    fputs("        options='", out);
    for (int t = 0; t < CLI_MAX_TABLES && command->tables[t] != NULL; t++)
        put_flags(out, command->tables[t]);
    fputs("'\n", out);
    if (command->tables[0] != NULL) {
        fputs("        case $previous in\n", out);
        for (int t = 0; t < CLI_MAX_TABLES && command->tables[t] != NULL; t++)
            put_values(out, command->tables[t], "        ");
        fputs("        esac\n", out);
    }
    fputs("        ;;\n", out);
}

void completion_bash(FILE *out)
{
    fputs("# bash completion of nas; made by `nas completion bash`.\n"
          "_nas()\n{\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local first=${COMP_WORDS[1]} second=${COMP_WORDS[2]} at=$COMP_CWORD\n"
          "    local words='' options='' kind='' choices='' argument=free spaces IFS=$' \\t\\n'\n"
          "    COMPREPLY=()\n"
          "    # bash takes --flag=value for three words\n"
          "    if [[ $current == = ]]; then\n        current=''\n"
          "    elif [[ $previous == = ]] && ((at > 2)); then\n"
          "        previous=${COMP_WORDS[at-2]}\n    fi\n"
          "    if [[ $first == help ]] && ((at > 1)); then\n"
          "        first=$second second=${COMP_WORDS[3]} at=$((at - 1))\n"
          "        options=help\n    fi\n"
          "    if ((at == 1)); then\n        COMPREPLY=($(compgen -W '",
          out);
    completion_words(out, "", put_word);
    fputs("--version' -- \"$current\"))\n        return\n    fi\n"
          "    case $first in\n",
          out);
    completion_groups(out, put_group);
    fputs("    esac\n"
          "    if ((at == 2)); then\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
          "        ((${#COMPREPLY[@]})) && [[ -n $current ]] && return\n"
          "    fi\n"
          "    [[ $options == help ]] && return\n"
          "    [[ -n $words && \" $words\" == *\" $second \"* ]] && first=\"$first $second\"\n"
          "    case $first in\n",
          out);
    for (int i = 0; cli_commands[i] != NULL; i++)
        put_command(out, cli_commands[i]);
    fputs("    *) return ;;\n    esac\n    options+='", out);
    put_flags(out, cli_common_options());
    fputs("--help'\n    case $previous in\n", out);
    put_values(out, cli_common_options(), "    ");
    fputs("    esac\n    spaces='", out);
    completion_spaces(out);
    fputs("'\n"
          "    if [[ -z $kind && $current == -* || -z $kind$current && $argument == free ]]; then\n"
          "        COMPREPLY+=($(compgen -W \"$options\" -- \"$current\"))\n"
          "        return\n    fi\n"
          "    case ${kind:-$argument} in\n"
          "    choice) COMPREPLY=($(compgen -W \"$choices\" -- \"$current\")) ;;\n"
          "    space) COMPREPLY=($(compgen -W \"$spaces\" -- \"$current\")) ;;&\n"
          "    file | space)\n        compopt -o filenames 2>/dev/null\n        IFS=$'\\n'\n"
          "        COMPREPLY+=($(compgen -f -- \"$current\"))\n        ;;\n"
          "    dir)\n        compopt -o filenames 2>/dev/null\n        IFS=$'\\n'\n"
          "        COMPREPLY=($(compgen -d -- \"$current\"))\n        ;;\n"
          "    esac\n}\n"
          "complete -F _nas nas\n",
          out);
}

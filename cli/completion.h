/* Private to cli/: what the writers of completion scripts share. */
#ifndef NAS_CLI_COMPLETION_H
#define NAS_CLI_COMPLETION_H

#include "cli/command.h"

/** What may stand for the value of an option or for an argument. */
typedef enum completion_kind {
    COMPLETION_FREE, /* anything: nothing is offered                     */
    COMPLETION_FILE,
    COMPLETION_DIR,
    COMPLETION_SPACE, /* a built-in space, or its file                    */
    COMPLETION_CHOICE /* "a|b|c": option.choices, or a command's arguments */
} completion_kind;

completion_kind completion_of_option(const nas_option *option);
completion_kind completion_of_arguments(const cli_command *command);

/** The words that follow `first`, a first word or "" (then they are first words), in the order of
 * the help, each once, with what they do: the summary, or what begins with them. */
typedef void completion_visit(FILE *out, const char *first, const char *word, const char *about);
void completion_words(FILE *out, const char *first, completion_visit *visit);
/** True if a command's name begins with this word and another follows. */
bool completion_is_group(const char *first);
/** Calls `visit` with the first word of each group. */
void completion_groups(FILE *out, void (*visit)(FILE *out, const char *first));

/** Text without the quotes around it, each of the characters in `special` behind a backslash. */
void completion_escaped(FILE *out, const char *text, const char *special);
/** A choice "a|b|c" as "a b c", or `spaces` built in. */
void completion_choices(FILE *out, const char *choices);
void completion_spaces(FILE *out);

void completion_bash(FILE *out);
void completion_zsh(FILE *out);
void completion_fish(FILE *out);

#endif

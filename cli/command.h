/* What a command of `nas` is, and what main hands to it.
 *
 * A command is one table entry in its own file (cmd_<name>.c); cli/registry.c lists
 * them.  Parsing, --help, the documents and the stored configuration all come from
 * the entry's option tables. */
#ifndef NAS_CLI_COMMAND_H
#define NAS_CLI_COMMAND_H

#include "base/comm.h"
#include "base/json.h"
#include "base/options.h"
#include "search/store/store.h"

/** Options that every command takes; the first member of every options struct. */
typedef struct cli_common {
    const char *store;
    int64_t threads; /* after parsing: at least 1 */
    int64_t seed;
    const char *config;
    bool json, quiet, verbose;
    int color; /* cli_color */
    bool threads_given; /* by a person, not by the number of cores */
} cli_common;

typedef enum cli_color { CLI_COLOR_AUTO, CLI_COLOR_ALWAYS, CLI_COLOR_NEVER } cli_color;

typedef struct cli_command cli_command;

/** A command line after parsing.  Everything is borrowed. */
typedef struct cli_context {
    const cli_command *command;
    const cli_common *common;  /* the head of the options                              */
    const char *const *args;   /* arguments that are no options                         */
    int count;
    const json_t *config;      /* merged settings, what the store keeps of a run        */
    const nas_store_run *run;  /* `nas resume`: the run that this command continues     */
    const nas_comm *comm;      /* processes that run it together; NULL: this one alone  */
} cli_context;

typedef enum cli_stop {
    CLI_STOP_DIES,   /* ends the process, as by default                                */
    CLI_STOP_ENDS,   /* is seen (cli_stop_requested), tidied up after: exit 130 or 143 */
    CLI_STOP_RESUMES /* is seen, a checkpoint is written: exit 75                      */
} cli_stop;

enum { CLI_MAX_ARGS = 256, CLI_MAX_TABLES = 4 };

struct cli_command {
    const char *name;      /* "search", "data import"                                  */
    const char *summary;   /* one line                                                 */
    const char *arguments; /* "RUN [RUN...]"; NULL: none                               */
    const char *example;   /* one command line without "nas "; NULL: none              */
    const nas_option *tables[CLI_MAX_TABLES]; /* of its own, the rest NULL             */
    size_t size;           /* of the options struct; 0: cli_common                     */
    int min_args, max_args;
    cli_stop stop;         /* what the first SIGINT or SIGTERM does                    */
    bool shared;           /* several processes may do it together (cli/ranks.h)       */
    nas_status (*check)(const void *options, nas_err *err); /* whether options fit together:
                              NAS_E_USAGE; part of parsing.  NULL: all do              */
    nas_status (*run)(const cli_context *context, const void *options, nas_err *err);
};

/** All commands, NULL-terminated, in the order of the help. */
extern const cli_command *const cli_commands[];

/** Finds the command that argv[0..argc-1] begins with and how many words its name
 * takes.  NAS_E_USAGE names the nearest. */
nas_status cli_command_find(const cli_command **out, int *words, int argc,
                            const char *const *argv, nas_err *err);
/** The command of that exact name; NULL if there is none. */
const cli_command *cli_command_named(const char *name);

/** What the store calls the runs of a command: its name, "ofa-shrink" for "ofa shrink"; and the
 * command of such runs, NULL if there is none. */
void cli_command_kind(const cli_command *command, char out[NAS_STORE_NAME_SIZE]);
const cli_command *cli_command_of_kind(const char *kind);

/** Short forms (-v, -q, -h) in front of a "--" become long ones: the tables know one name each. */
void cli_expand_short(int argc, const char **argv);
/** Parses argv (what follows the command's name) over `config` (NULL: what --config
 * names, if given) into `options` and `context`; both borrow from argv and the config.  */
typedef struct cli_parsed {
    cli_context context;
    void *options;
    json_t *config, *merged;
    const char *args[CLI_MAX_ARGS];
} cli_parsed;
nas_status cli_parse(cli_parsed *out, const cli_command *command, const json_t *config, int argc,
                     const char *const *argv, nas_err *err);
void cli_parsed_fini(cli_parsed *parsed);

/** The tables of a command and the common one, NULL-terminated. */
void cli_command_tables(const cli_command *command, const nas_option *out[CLI_MAX_TABLES + 2]);
const nas_option *cli_common_options(void);

/** Flag of the first option of `table` (none of them required) that is not at its default in
 * `options`, a struct of `size` bytes; NULL: all are. */
const char *cli_option_changed(const nas_option *table, const void *options, size_t size);

/** Applies the common options to the process: log level, colour, OpenMP threads. */
void cli_common_apply(const cli_common *common);

/** Removes from `config` the settings that change no results: those of all commands (store,
 * threads, ...), and those of `command` as well (name, out, ...). */
void cli_common_strip(json_t *config);
void cli_neutral_strip(const cli_command *command, json_t *config);

/** "nas help [COMMAND...]", "--help", and for those who make documents "nas help --markdown",
 * "--man [COMMAND...]" and "--commands" (their names, one a line). */
nas_status cli_help(FILE *out, int argc, const char *const *argv, nas_err *err);
void cli_help_command(FILE *out, const cli_command *command);
/** The manual page of a command, or (NULL) of the program, as roff. */
void cli_man(FILE *out, const cli_command *command);
extern const char cli_exit_codes[];

#endif

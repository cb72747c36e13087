/* Options common to all commands, the configuration file, and how the sources of
 * settings are merged: command line, then environment, then file, then defaults. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/system.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/ranks.h"
#include "nas/space/space.h"

#define AT(field) offsetof(cli_common, field)

/* What a run's result depends on is its seed; everything else here is how, not what. */
static const nas_option common_options[] = {
    {"--store", NAS_OPT_STRING, AT(store), ".nas", 0, 0, NULL, "DIR",
     "where runs are kept (environment: NAS_STORE)", false, true},
    {"--threads", NAS_OPT_INT, AT(threads), NULL, 1, 1024, NULL, "N",
     "threads; default: the cores it may use", false, true},
    {"--seed", NAS_OPT_INT, AT(seed), "1", 0, 9007199254740992.0, NULL, "N",
     "seed of all random numbers"},
    {"--config", NAS_OPT_STRING, AT(config), NULL, 0, 0, NULL, "FILE",
     "settings in JSON, below those of the command line", false, true},
    {"--json", NAS_OPT_FLAG, AT(json), NULL, 0, 0, NULL, NULL,
     "print the result as one JSON object", false, true},
    {"--quiet", NAS_OPT_FLAG, AT(quiet), NULL, 0, 0, NULL, NULL,
     "only warnings and errors on stderr", false, true},
    {"--verbose", NAS_OPT_FLAG, AT(verbose), NULL, 0, 0, NULL, NULL,
     "more about what is done (short: -v)", false, true},
    {"--color", NAS_OPT_CHOICE, AT(color), "auto", 0, 0, "auto|always|never", NULL,
     "colours on stderr (environment: NO_COLOR)", false, true},
    {0},
};

void cli_command_tables(const cli_command *command, const nas_option *out[CLI_MAX_TABLES + 2])
{
    int count = 0;

    while (count < CLI_MAX_TABLES && command->tables[count] != NULL) {
        out[count] = command->tables[count];
        count++;
    }
    out[count] = common_options;
    out[count + 1] = NULL;
}

const nas_option *cli_common_options(void)
{
    return common_options;
}

/* The value of --config in argv, NULL if it is not there. */
static const char *config_path(int argc, const char *const *argv)
{
    static const char flag[] = "--config";
    const size_t length = sizeof flag - 1;

    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], flag) == 0)
            return i + 1 < argc ? argv[i + 1] : NULL;
        if (strncmp(argv[i], flag, length) == 0 && argv[i][length] == '=')
            return argv[i] + length + 1;
    }
    return NULL;
}

/* The configuration below the command line: the file's settings, over them the environment. */
static nas_status load_config(json_t **out, int argc, const char *const *argv, nas_err *err)
{
    const char *path = config_path(argc, argv), *store = getenv("NAS_STORE");
    nas_status status;

    *out = NULL;
    if (path != NULL && (status = nas_json_load(out, path, err)) != NAS_OK) {
        nas_path_hint(path, "settings are JSON with comments, by the options' names: {\"epochs\": "
                      "30, \"target_ms\": 5}", err);
        if (status == NAS_E_DATA && err != NULL)
            err->status = NAS_E_CONFIG; /* what is wrong is a setting, not data */
        return status == NAS_E_DATA ? NAS_E_CONFIG : status;
    }
    if (*out != NULL && !json_is_object(*out))
        return nas_fail(err, NAS_E_CONFIG, "%s: should be an object of settings", path);
    if (*out == NULL)
        *out = json_object();
    if (*out == NULL || (store != NULL && *store != '\0' &&
                         json_object_set_new(*out, "store", json_string(store)) != 0))
        return nas_fail(err, NAS_E_NOMEM, "settings: out of memory, or NAS_STORE is not UTF-8");
    return NAS_OK;
}

enum { KEY_SIZE = 64 };

/* The name of an option in a configuration: "--target-ms" is "target_ms". */
static const char *key_of(const nas_option *option, char key[KEY_SIZE])
{
    snprintf(key, KEY_SIZE, "%s", option->flag + 2);
    for (char *c = key; *c != '\0'; c++)
        *c = *c == '-' ? '_' : *c;
    return key;
}

/* A file that there is, or that could be made: its folder is there.  NULL if neither, or
 * without memory; yours. */
static char *absolute_path(const char *path)
{
    char *full = realpath(path, NULL), *folder;
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;

    if (full != NULL || *name == '\0')
        return full;
    char *above = slash == NULL ? strdup(".") : slash == path ? strdup("/")
                                : strndup(path, (size_t)(slash - path));
    folder = above != NULL ? realpath(above, NULL) : NULL;
    const char *base = folder != NULL && strcmp(folder, "/") != 0 ? folder : "";
    if (folder != NULL && asprintf(&full, "%s/%s", base, name) < 0)
        full = NULL;
    free(folder);
    free(above);
    return full;
}

/* "a,b" of files that there are; NULL if one is not, or without memory; yours. */
static char *absolute_list(const char *list)
{
    char *copy = strdup(list), *rest = copy, *all = NULL;

    while (rest != NULL) {
        char *full = realpath(strsep(&rest, ","), NULL), *before = all;

        if (full == NULL || asprintf(&all, "%s%s%s", before != NULL ? before : "",
                                     before != NULL ? "," : "", full) < 0)
            all = NULL;
        free(before);
        free(full);
        if (all == NULL)
            break;
    }
    free(copy);
    return all;
}

static bool begins_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Stored settings name files so that they are found again from any directory. */
static void make_paths_absolute(const nas_option *const *tables, json_t *config)
{
    for (int t = 0; tables[t] != NULL; t++)
        for (const nas_option *o = tables[t]; o->flag != NULL; o++) {
            char key[KEY_SIZE], *full = NULL;

            if (o->type != NAS_OPT_STRING || o->unit == NULL ||
                !(begins_with(o->unit, "FILE") || begins_with(o->unit, "DIR") ||
                  begins_with(o->unit, "SPACE")))
                continue;
            const char *path = json_string_value(json_object_get(config, key_of(o, key)));
            /* the name of a built-in space is no path, even where a file is called so */
            if (path == NULL || (begins_with(o->unit, "SPACE") && nas_space_is_builtin(path)))
                continue;
            if (strchr(path, ',') != NULL && !nas_path_exists(path))
                full = absolute_list(path);
            if (full == NULL)
                full = absolute_path(path);
            if (full != NULL)
                json_object_set_new(config, key, json_string(full));
            free(full);
        }
}

/* Why settings cannot be kept as JSON. */
static nas_status fail_merged(int argc, const char *const *argv, nas_err *err)
{
    for (int i = 0; i < argc && !nas_json_out_of_memory(); i++) {
        json_t *text = json_string(argv[i]);

        if (text == NULL) {
            nas_fail(err, NAS_E_USAGE, "'%.200s' is not UTF-8, as settings must be", argv[i]);
            nas_hint(err, "give it another name; for a file, a link to it will do");
            return NAS_E_USAGE;
        }
        json_decref(text);
    }
    return nas_fail(err, NAS_E_NOMEM, "options: out of memory");
}

void cli_expand_short(int argc, const char **argv)
{
    static const char *const pairs[][2] = {
        {"-v", "--verbose"}, {"-q", "--quiet"}, {"-h", "--help"}};

    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++)
            if (strcmp(argv[i], pairs[k][0]) == 0)
                argv[i] = pairs[k][1];
}

nas_status cli_parse(cli_parsed *out, const cli_command *command, const json_t *config, int argc,
                     const char *const *argv, nas_err *err)
{
    const size_t size = command->size != 0 ? command->size : sizeof(cli_common);
    const nas_option *tables[CLI_MAX_TABLES + 2];
    nas_status status;
    int count = 0;

    memset(out, 0, sizeof *out);
    cli_command_tables(command, tables);
    if (config != NULL)
        out->config = json_deep_copy(config);
    else if ((status = load_config(&out->config, argc, argv, err)) != NAS_OK)
        return status;
    out->options = calloc(1, size);
    if (out->options == NULL || out->config == NULL)
        return nas_fail(err, NAS_E_NOMEM, "options: out of memory");
    if ((status = nas_options_parse(tables, out->options, size, out->config, argc, argv, out->args,
                                    CLI_MAX_ARGS, &count, err)) != NAS_OK) {
        if (status == NAS_E_CONFIG && config == NULL && config_path(argc, argv) != NULL)
            nas_err_prefix(err, "%s", config_path(argc, argv));
        return status;
    }
    if (count > command->max_args) {
        nas_fail(err, NAS_E_USAGE, "%s: unexpected argument '%.100s'", command->name,
                 out->args[command->max_args]);
        nas_hint(err, "usage: nas %s %s%s[OPTIONS]; options begin with --", command->name,
                 command->arguments != NULL ? command->arguments : "",
                 command->arguments != NULL ? " " : "");
        return NAS_E_USAGE;
    }
    if (count < command->min_args) {
        nas_fail(err, NAS_E_USAGE, "%s: an argument is missing", command->name);
        nas_hint(err, "usage: nas %s %s [OPTIONS]", command->name, command->arguments);
        return NAS_E_USAGE;
    }
    if (command->check != NULL && (status = command->check(out->options, err)) != NAS_OK)
        return status;
    cli_common *common = out->options;
    common->threads_given = common->threads != 0;
    if (!common->threads_given)
        common->threads = nas_system_cores();
    out->merged = nas_options_json(tables, out->options);
    if (out->merged == NULL)
        return fail_merged(argc, argv, err);
    make_paths_absolute(tables, out->merged);
    out->context = (cli_context){.command = command, .common = common, .args = out->args,
                                 .count = count, .config = out->merged, .comm = cli_ranks()};
    return NAS_OK;
}

void cli_parsed_fini(cli_parsed *parsed)
{
    json_decref(parsed->merged);
    json_decref(parsed->config);
    free(parsed->options);
}

const char *cli_option_changed(const nas_option *table, const void *options, size_t size)
{
    void *plain = malloc(size);
    const char *changed = NULL;

    for (; plain != NULL && table->flag != NULL && changed == NULL; table++) {
        const nas_option one[] = {*table, {0}};
        const nas_option *const tables[] = {one, NULL};
        int count = 0;

        if (nas_options_parse(tables, plain, size, NULL, 0, NULL, NULL, 0, &count, NULL) != NAS_OK)
            break;
        json_t *usual = nas_options_json(tables, plain), *now = nas_options_json(tables, options);
        if (!json_equal(usual, now))
            changed = table->flag;
        json_decref(usual);
        json_decref(now);
    }
    free(plain);
    return changed;
}

void cli_common_apply(const cli_common *common)
{
    nas_log_set_level(nas_comm_rank(cli_ranks()) > 0 ? NAS_LOG_ERROR
                      : common->quiet   ? NAS_LOG_WARN
                      : common->verbose ? NAS_LOG_DEBUG
                                        : NAS_LOG_INFO);
    cli_color_set((cli_color)common->color);
    omp_set_dynamic(0); /* fewer threads than asked for would change timings, not results */
    omp_set_num_threads((int)common->threads);
}

static void strip_neutral(const nas_option *const *tables, json_t *config)
{
    for (int t = 0; tables[t] != NULL; t++)
        for (const nas_option *o = tables[t]; o->flag != NULL; o++) {
            char key[KEY_SIZE];

            if (o->result_neutral)
                json_object_del(config, key_of(o, key));
        }
}

void cli_common_strip(json_t *config)
{
    const nas_option *tables[] = {common_options, NULL};

    strip_neutral(tables, config);
}

void cli_neutral_strip(const cli_command *command, json_t *config)
{
    const nas_option *tables[CLI_MAX_TABLES + 2];

    cli_command_tables(command, tables);
    strip_neutral(tables, config);
}

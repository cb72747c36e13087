/* The option table: three sources, every error, and what is made from the table. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"

typedef struct settings {
    bool json, color;
    int64_t epochs, seed;
    double target_ms, rate;
    const char *data;
    int mode;
} settings;

#define AT(field) offsetof(settings, field)

static const nas_option common[] = {
    {"--json", NAS_OPT_FLAG, AT(json), .help = "one JSON object"},
    {"--color", NAS_OPT_FLAG, AT(color), "true", .help = "colours"},
    {"--seed", NAS_OPT_INT, AT(seed), "1", .unit = "N", .help = "seed"},
    {0},
};
static const nas_option own[] = {
    {"--epochs", NAS_OPT_INT, AT(epochs), "10", 1, 1000, .unit = "N", .help = "passes"},
    {"--target-ms", NAS_OPT_REAL, AT(target_ms), NULL, 0.01, 1e6, .unit = "MS", .help = "limit"},
    {"--rate", NAS_OPT_REAL, AT(rate), "0.05", .unit = "X", .help = "learning rate"},
    {"--data", NAS_OPT_STRING, AT(data), .unit = "FILE", .help = "images"},
    {"--arch-mode", NAS_OPT_CHOICE, AT(mode), "full", .choices = "two|full", .help = "arch step"},
    {0},
};
static const nas_option needed[] = {
    {"--data", NAS_OPT_STRING, AT(data), .unit = "FILE", .help = "images", .required = true},
    {0},
};
static const nas_option *const tables[] = {common, own, NULL};

static settings found;
static const char *positional[2];
static int n_positional;
static nas_err err;

/* Parses words separated by blanks over a config (text or NULL). */
static nas_status parse(const char *config, const char *line)
{
    static char words[1000];
    static json_t *json; /* outlives the settings, which borrow from it */
    const char *argv[20];
    int argc = 0;

    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    json_decref(json);
    json = config != NULL ? json_loads(config, 0, NULL) : NULL;
    cr_assert(config == NULL || json != NULL);
    memset(&err, 0, sizeof err);
    memset(&found, 0x55, sizeof found);
    return nas_options_parse(tables, &found, sizeof found, json, argc, argv, positional, 2,
                             &n_positional, &err);
}

static void expect_error(const char *config, const char *line, nas_status status,
                         const char *message, const char *hint)
{
    cr_assert_eq(parse(config, line), status, "'%s' gave %d", line, (int)err.status);
    cr_assert_eq(err.status, status);
    cr_assert_str_eq(err.message, message);
    cr_assert_str_eq(err.hint, hint);
}

Test(base_options, defaults_fill_the_struct)
{
    cr_assert_eq(parse(NULL, ""), NAS_OK);
    cr_assert(!found.json && found.color && found.seed == 1 && found.epochs == 10);
    cr_assert(found.target_ms == 0 && found.rate == 0.05 && found.data == NULL && found.mode == 1);
    cr_assert_eq(n_positional, 0);
}

Test(base_options, values_follow_or_are_joined_by_an_equals_sign)
{
    cr_assert_eq(parse(NULL, "one --epochs 3 --target-ms=2.5e1 --data a=b --arch-mode two --json "
                             "--no-color --seed -9 - --data=--x"),
                 NAS_OK, "%s", err.message);
    cr_assert(found.json && !found.color && found.seed == -9 && found.epochs == 3);
    cr_assert(found.target_ms == 25.0 && found.mode == 0);
    cr_assert_str_eq(found.data, "--x"); /* the last one counts */
    cr_assert_eq(n_positional, 2);
    cr_assert_str_eq(positional[0], "one");
    cr_assert_str_eq(positional[1], "-");
}

Test(base_options, both_ends_of_a_range_are_inside)
{
    cr_assert_eq(parse(NULL, "--epochs 1 --target-ms 0.01"), NAS_OK, "%s", err.message);
    cr_assert_eq(parse(NULL, "--epochs 1000 --target-ms 1e6"), NAS_OK, "%s", err.message);
}

Test(base_options, two_dashes_end_the_options)
{
    cr_assert_eq(parse(NULL, "-- --json"), NAS_OK);
    cr_assert_not(found.json);
    cr_assert_str_eq(positional[0], "--json");
}

Test(base_options, the_command_line_wins_over_the_config)
{
    cr_assert_eq(parse("{\"epochs\": 7, \"target_ms\": 3, \"data\": \"c\", \"json\": true,"
                       "\"color\": false, \"arch_mode\": \"two\", \"rate\": 0.1}",
                       "--epochs 8"),
                 NAS_OK, "%s", err.message);
    cr_assert(found.epochs == 8 && found.target_ms == 3.0 && found.json && !found.color);
    cr_assert(found.mode == 0 && found.rate == 0.1);
    cr_assert_str_eq(found.data, "c");
}

#define WHOLE "write the number alone; --epochs N: passes (default 10)"
#define REAL "write the number alone; --target-ms MS: limit"

Test(base_options, wrong_command_lines_are_usage_errors)
{
    static const struct {
        const char *line, *message, *hint;
    } cases[] = {
        {"--epohcs 3", "unknown option '--epohcs'", "did you mean --epochs?"},
        {"--target=3", "unknown option '--target'", "did you mean --target-ms?"},
        {"--something-else", "unknown option '--something-else'", ""},
        {"-x", "unknown option '-x'", ""},
        {"--no-epochs", "unknown option '--no-epochs'", "did you mean --epochs?"},
        {"--epochs", "--epochs needs a value (N)", ""},
        {"--epochs --json", "--epochs needs a value (N)", ""},
        {"--arch-mode", "--arch-mode needs a value (two|full)", ""},
        {"--epochs 3x", "--epochs: '3x' is not a whole number", WHOLE},
        {"--epochs 3.0", "--epochs: '3.0' is not a whole number", WHOLE},
        {"--epochs=", "--epochs: '' is not a whole number", WHOLE},
        {"--epochs 0x10", "--epochs: '0x10' is not a whole number", WHOLE},
        {"--epochs 0", "--epochs: 0 is not in 1..1000", ""},
        {"--epochs 1001", "--epochs: 1001 is not in 1..1000", ""},
        {"--seed 99999999999999999999", "--seed: 99999999999999999999 is too large", ""},
        {"--target-ms nan", "--target-ms: 'nan' is not a finite number", REAL},
        {"--target-ms inf", "--target-ms: 'inf' is not a finite number", REAL},
        {"--target-ms 1e999", "--target-ms: '1e999' is not a finite number", REAL},
        {"--target-ms 0x1p3", "--target-ms: '0x1p3' is not a finite number", REAL},
        {"--target-ms 1-2", "--target-ms: '1-2' is not a finite number", REAL},
        {"--target-ms=", "--target-ms: '' is not a finite number", REAL},
        {"--target-ms 0", "--target-ms: 0 is not in 0.01..1000000", ""},
        {"--arch-mode tw", "--arch-mode: 'tw' is not one of two|full", "did you mean two?"},
        {"--arch-mode two|full", "--arch-mode: 'two|full' is not one of two|full", ""},
        {"--json=yes", "--json takes no value, but 'yes' was given", ""},
        {"a b c", "unexpected argument 'c'", ""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_error(NULL, cases[i].line, NAS_E_USAGE, cases[i].message, cases[i].hint);
}

Test(base_options, wrong_configs_are_config_errors)
{
    static const struct {
        const char *config, *message, *hint;
    } cases[] = {
        {"{\"epoch\": 3}", "config: unknown setting 'epoch'", "did you mean 'epochs'?"},
        {"{\"target-ms\": 3}", "config: unknown setting 'target-ms'", "did you mean 'target_ms'?"},
        {"{\"epochs\": \"3\"}", "config: epochs: should be a whole number", ""},
        {"{\"epochs\": 3.0}", "config: epochs: should be a whole number", ""},
        {"{\"epochs\": 0}", "config: epochs: 0 is not in 1..1000", ""},
        {"{\"target_ms\": true}", "config: target_ms: should be a number", ""},
        {"{\"json\": 1}", "config: json: should be true or false", ""},
        {"{\"data\": null}", "config: data: should be a string", ""},
        {"{\"arch_mode\": \"three\"}", "config: arch_mode: 'three' is not one of two|full", ""},
        {"[]", "config: should be an object of settings", ""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_error(cases[i].config, "", NAS_E_CONFIG, cases[i].message, cases[i].hint);
}

Test(base_options, very_long_words_are_cut_not_followed)
{
    char line[900] = "--", config[900] = "{\"";

    memset(line + 2, 'x', 800);
    cr_assert_eq(parse(NULL, line), NAS_E_USAGE);
    memset(config + 2, 'x', 800);
    strcpy(config + 802, "\": 1}");
    cr_assert_eq(parse(config, ""), NAS_E_CONFIG);
    memcpy(line, "--no-", 5);
    cr_assert_eq(parse(NULL, line), NAS_E_USAGE);
    memcpy(line, "--epochs=", 9);
    cr_assert_eq(parse(NULL, line), NAS_E_USAGE);
}

Test(base_options, required_options_come_from_either_source)
{
    static const nas_option *const with_needed[] = {needed, NULL};
    static const char *const argv[] = {"--data", "f"};
    json_t *config = json_pack("{s:s}", "data", "g");

    cr_assert_eq(nas_options_parse(with_needed, &found, sizeof found, NULL, 0, NULL, NULL, 0, NULL,
                                   &err),
                 NAS_E_USAGE);
    cr_assert_str_eq(err.message, "--data is required");
    cr_assert_str_eq(err.hint, "--data FILE: images");
    cr_assert_eq(nas_options_parse(with_needed, &found, sizeof found, NULL, 2, argv, NULL, 0, NULL,
                                   &err),
                 NAS_OK);
    cr_assert_eq(nas_options_parse(with_needed, &found, sizeof found, config, 0, NULL, NULL, 0,
                                   NULL, &err),
                 NAS_OK);
    cr_assert_str_eq(found.data, "g");
    json_decref(config);
}

Test(base_options, json_of_the_values_is_a_config_that_gives_them_again)
{
    cr_assert_eq(parse(NULL, "--rate 0.1 --epochs 77 --data x --json --no-color --arch-mode two"),
                 NAS_OK);
    const settings before = found;
    json_t *json = nas_options_json(tables, &found);
    char *text = json_dumps(json, JSON_REAL_PRECISION(17));

    cr_assert_str_eq(text, "{\"json\": true, \"color\": false, \"seed\": 1, \"epochs\": 77, "
                           "\"rate\": 0.10000000000000001, \"data\": \"x\", "
                           "\"arch_mode\": \"two\"}");
    cr_assert_eq(parse(text, ""), NAS_OK, "%s", err.message);
    cr_assert_eq(found.rate, before.rate);
    cr_assert(found.epochs == 77 && found.mode == 0 && found.json && !found.color);
    free(text);
    json_decref(json);
}

Test(base_options, help_shows_every_option_with_its_default)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    nas_options_help(tables, out);
    fclose(out);
    cr_assert_not_null(strstr(text, "  --epochs N                passes (default 10)\n"), "%s",
                       text);
    cr_assert_not_null(
        strstr(text, "  --color                   colours (default on; --no-color)\n"));
    cr_assert_not_null(strstr(text, "  --arch-mode two|full      arch step (default full)\n"));
    cr_assert_not_null(strstr(text, "  --json                    one JSON object\n"));
    free(text);
}

Test(base_options, nearest_takes_the_fewest_edits_or_nothing)
{
    static const char *const names[] = {"search", "train", "eval", "bench", "profile", "run", NULL};
    static const struct {
        const char *text, *nearest;
    } cases[] = {
        {"serach", "search"}, {"tarin", "train"}, {"evla", "eval"},   {"bnech", "bench"},
        {"profil", "profile"}, {"search", "search"}, {"xyzzy", NULL}, {"", NULL},
        {"rnu", "run"}, /* one swap is one edit */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *nearest = nas_nearest(cases[i].text, names);

        if (cases[i].nearest == NULL)
            cr_assert_null(nearest, "'%s' gave %s", cases[i].text, nearest);
        else
            cr_assert(nearest != NULL && strcmp(nearest, cases[i].nearest) == 0, "'%s' gave %s",
                      cases[i].text, nearest);
    }
}

/* The option table at work: defaults, then the config file, then the command line.
 *
 * All three arrive as text at one setter a type, so that a value is checked the
 * same way wherever it comes from. */
#include "base/options.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 64 };

/* One value on its way into the struct. */
typedef struct setting {
    const nas_option *option;
    void *field;
    const char *name;  /* as its writer spelt it: "--target-ms" or "target_ms" */
    nas_status status; /* of an error: usage or config */
} setting;

typedef struct parser {
    const nas_option **list; /* all tables in one, ends with NULL */
    bool *given;             /* by the config or the command line */
    unsigned char *options;
    nas_err *err;
} parser;

typedef nas_status setter(const setting *to, const char *text, nas_err *err);
typedef json_t *getter(const nas_option *option, const void *field);

static nas_status set_flag(const setting *to, const char *text, nas_err *err)
{
    *(bool *)to->field = strcmp(text, "true") == 0;
    return NAS_OK;
}

static nas_status check_range(const setting *to, const char *text, double value, nas_err *err)
{
    const nas_option *o = to->option;

    if ((o->min == 0 && o->max == 0) || (value >= o->min && value <= o->max))
        return NAS_OK;
    return nas_fail(err, to->status, "%s: %.100s is not in %.16g..%.16g", to->name, text, o->min,
                    o->max);
}

/* What the number is, and in which unit: it may have been written behind it. */
static nas_status fail_number(const setting *to, const char *text, const char *what, nas_err *err)
{
    char help[160];

    nas_fail(err, to->status, "%s: '%.100s' is not %s", to->name, text, what);
    nas_option_describe(to->option, help, sizeof help);
    nas_hint(err, "write the number alone; %s %s: %s", to->name, nas_option_value(to->option),
             help);
    return to->status;
}

static nas_status set_int(const setting *to, const char *text, nas_err *err)
{
    const char *digits = text + (*text == '-' || *text == '+');

    if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return fail_number(to, text, "a whole number", err);
    errno = 0;
    const int64_t value = strtoll(text, NULL, 10);
    if (errno != 0)
        return nas_fail(err, to->status, "%s: %.100s is too large", to->name, text);
    *(int64_t *)to->field = value;
    return check_range(to, text, (double)value, err);
}

static nas_status set_real(const setting *to, const char *text, nas_err *err)
{
    char *end = NULL;
    /* strtod alone would take "inf", "nan", hexadecimal and leading blanks */
    const bool decimal = *text != '\0' && text[strspn(text, "0123456789+-.eE")] == '\0';
    const double value = decimal ? strtod(text, &end) : NAN;

    if (!decimal || *end != '\0' || !isfinite(value))
        return fail_number(to, text, "a finite number", err);
    *(double *)to->field = value;
    return check_range(to, text, value, err);
}

static nas_status set_string(const setting *to, const char *text, nas_err *err)
{
    *(const char **)to->field = text;
    return NAS_OK;
}

/* The next word of "a|b|c" and its length; NULL at the end. */
static const char *next_choice(const char **rest, int *length)
{
    const char *word = *rest;

    if (word == NULL || *word == '\0')
        return NULL;
    *length = (int)strcspn(word, "|");
    *rest = word + *length + (word[*length] == '|');
    return word;
}

/* The nearest of the choices, if one is near. */
static void hint_choice(const nas_option *option, const char *text, nas_err *err)
{
    enum { MOST = 16 };
    const char *names[MOST + 1] = {NULL}, *near = NULL;
    char *copy = strdup(option->choices), *rest = copy;

    for (int i = 0; rest != NULL && i < MOST; i++)
        names[i] = strsep(&rest, "|");
    if (copy != NULL)
        near = nas_nearest(text, names);
    if (near != NULL)
        nas_hint(err, "did you mean %s?", near);
    free(copy);
}

static nas_status set_choice(const setting *to, const char *text, nas_err *err)
{
    const char *rest = to->option->choices, *word;
    int length = 0;

    for (int i = 0; (word = next_choice(&rest, &length)) != NULL; i++)
        if ((int)strlen(text) == length && memcmp(text, word, (size_t)length) == 0) {
            *(int *)to->field = i;
            return NAS_OK;
        }
    nas_fail(err, to->status, "%s: '%.100s' is not one of %s", to->name, text,
             to->option->choices);
    hint_choice(to->option, text, err);
    return to->status;
}

static json_t *flag_json(const nas_option *option, const void *field)
{
    return json_boolean(*(const bool *)field);
}

static json_t *int_json(const nas_option *option, const void *field)
{
    return json_integer(*(const int64_t *)field);
}

static json_t *real_json(const nas_option *option, const void *field)
{
    return json_real(*(const double *)field);
}

static json_t *string_json(const nas_option *option, const void *field)
{
    return json_string(*(const char *const *)field);
}

static json_t *choice_json(const nas_option *option, const void *field)
{
    const char *rest = option->choices, *word;
    int length = 0, left = *(const int *)field;

    while ((word = next_choice(&rest, &length)) != NULL && left > 0)
        left--;
    return word != NULL ? json_stringn(word, (size_t)length) : NULL;
}

static const struct {
    size_t width;
    unsigned json; /* types a config may give, bits 1 << JSON_XXX */
    const char *noun;
    setter *set;
    getter *get;
} types[] = {
    [NAS_OPT_FLAG] = {sizeof(bool), 1u << JSON_TRUE | 1u << JSON_FALSE, "true or false", set_flag,
                      flag_json},
    [NAS_OPT_INT] = {sizeof(int64_t), 1u << JSON_INTEGER, "a whole number", set_int, int_json},
    [NAS_OPT_REAL] = {sizeof(double), 1u << JSON_INTEGER | 1u << JSON_REAL, "a number", set_real,
                      real_json},
    [NAS_OPT_STRING] = {sizeof(char *), 1u << JSON_STRING, "a string", set_string, string_json},
    [NAS_OPT_CHOICE] = {sizeof(int), 1u << JSON_STRING, "a string", set_choice, choice_json},
};

/* "--target-ms" -> "target_ms" */
static const char *key_of(const char *flag, char out[MAX_NAME])
{
    snprintf(out, MAX_NAME, "%s", flag + strspn(flag, "-"));
    for (char *c = out; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
    return out;
}

const char *nas_option_value(const nas_option *option)
{
    const char *name = option->choices != NULL ? option->choices : option->unit;

    return name != NULL ? name : "";
}

static nas_status set(const parser *p, int i, const char *name, nas_status status,
                      const char *text)
{
    const nas_option *option = p->list[i];
    const setting to = {option, p->options + option->offset, name, status};

    return types[option->type].set(&to, text, p->err);
}

static nas_status set_defaults(const parser *p, size_t size)
{
    nas_status status = NAS_OK;

    for (int i = 0; p->list[i] != NULL && status == NAS_OK; i++) {
        const nas_option *o = p->list[i];

        assert(o->offset + types[o->type].width <= size);
        if (o->standard != NULL)
            status = set(p, i, o->flag, NAS_E_FAIL, o->standard);
    }
    return status;
}

/* The option whose flag is the first `length` bytes of `text`, -1 if there is none. */
static int find(const parser *p, const char *text, size_t length)
{
    for (int i = 0; p->list[i] != NULL; i++)
        if (strlen(p->list[i]->flag) == length && memcmp(p->list[i]->flag, text, length) == 0)
            return i;
    return -1;
}

static const char *nearest_flag(const parser *p, const char *flag)
{
    int count = 0;

    while (p->list[count] != NULL)
        count++;
    const char **names = calloc((size_t)count + 1, sizeof *names);
    if (names == NULL)
        return NULL;
    for (int i = 0; i < count; i++)
        names[i] = p->list[i]->flag;
    const char *nearest = nas_nearest(flag, names);
    free(names);
    return nearest;
}

static nas_status unknown_key(const parser *p, const char *key)
{
    char flag[MAX_NAME + 2], name[MAX_NAME];

    nas_fail(p->err, NAS_E_CONFIG, "config: unknown setting '%.100s'", key);
    snprintf(flag, sizeof flag, "--%.*s", MAX_NAME - 1, key);
    for (char *c = flag; *c != '\0'; c++)
        if (*c == '_')
            *c = '-';
    const char *nearest = nearest_flag(p, flag);
    if (nearest != NULL)
        nas_hint(p->err, "did you mean '%s'?", key_of(nearest, name));
    return NAS_E_CONFIG;
}

static nas_status set_from_json(const parser *p, int i, const char *key, const json_t *value)
{
    const int type = (int)p->list[i]->type;
    char number[40];

    if (!(types[type].json >> json_typeof(value) & 1))
        return nas_fail(p->err, NAS_E_CONFIG, "config: %s: should be %s", key, types[type].noun);
    p->given[i] = true;
    const char *text = json_string_value(value); /* borrowed; NULL for other types */
    if (json_is_boolean(value)) {
        text = json_is_true(value) ? "true" : "false";
    } else if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        text = number;
    } else if (json_is_real(value)) {
        snprintf(number, sizeof number, "%.17g", json_real_value(value));
        text = number;
    }
    const nas_status status = set(p, i, key, NAS_E_CONFIG, text);
    if (status != NAS_OK)
        nas_err_prefix(p->err, "config");
    return status;
}

static nas_status set_from_config(const parser *p, const json_t *config)
{
    const char *key;
    json_t *value;

    if (config == NULL)
        return NAS_OK;
    if (!json_is_object(config))
        return nas_fail(p->err, NAS_E_CONFIG, "config: should be an object of settings");
    json_object_foreach((json_t *)config, key, value) {
        char name[MAX_NAME];
        int i = 0;

        while (p->list[i] != NULL && strcmp(key_of(p->list[i]->flag, name), key) != 0)
            i++;
        const nas_status status =
            p->list[i] != NULL ? set_from_json(p, i, key, value) : unknown_key(p, key);
        if (status != NAS_OK)
            return status;
    }
    return NAS_OK;
}

static nas_status unknown_option(const parser *p, const char *arg, size_t length)
{
    char flag[MAX_NAME];

    nas_fail(p->err, NAS_E_USAGE, "unknown option '%.*s'", (int)(length < 100 ? length : 100), arg);
    snprintf(flag, sizeof flag, "%.*s", (int)(length < MAX_NAME ? length : MAX_NAME - 1), arg);
    const char *nearest = nearest_flag(p, flag);
    if (nearest != NULL)
        nas_hint(p->err, "did you mean %s?", nearest);
    return NAS_E_USAGE;
}

/* Handles the option argv[*at] and moves *at past its value, if it takes the next argument. */
static nas_status set_from_argument(const parser *p, int argc, const char *const *argv, int *at)
{
    const char *arg = argv[*at];
    const size_t length = strcspn(arg, "=");
    const char *value = arg[length] == '=' ? arg + length + 1 : NULL;
    int i = find(p, arg, length);
    bool negated = false;

    if (i < 0 && strncmp(arg, "--no-", 5) == 0) { /* "--no-flag": compare from its "-flag" on */
        char flag[MAX_NAME];

        snprintf(flag, sizeof flag, "--%.*s", (int)(length < MAX_NAME ? length - 5 : 0), arg + 5);
        i = find(p, flag, strlen(flag));
        negated = i >= 0 && p->list[i]->type == NAS_OPT_FLAG;
        i = negated ? i : -1;
    }
    if (i < 0)
        return unknown_option(p, arg, length);
    const nas_option *o = p->list[i];
    p->given[i] = true;
    if (o->type == NAS_OPT_FLAG) {
        if (value != NULL)
            return nas_fail(p->err, NAS_E_USAGE, "%s takes no value, but '%.100s' was given",
                            o->flag, value);
        return set(p, i, o->flag, NAS_E_USAGE, negated ? "false" : "true");
    }
    /* "--" begins the next option: its value was forgotten (give such a value with "=") */
    if (value == NULL && *at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0)
        value = argv[++*at];
    if (value == NULL)
        return nas_fail(p->err, NAS_E_USAGE, "%s needs a value (%s)", o->flag, nas_option_value(o));
    return set(p, i, o->flag, NAS_E_USAGE, value);
}

static nas_status set_from_arguments(const parser *p, int argc, const char *const *argv,
                                     const char **positional, int max_positional,
                                     int *n_positional)
{
    bool options_end = false;
    int count = 0;

    for (int at = 0; at < argc; at++) {
        const char *arg = argv[at];

        if (!options_end && strcmp(arg, "--") == 0) {
            options_end = true;
        } else if (!options_end && arg[0] == '-' && arg[1] != '\0') {
            const nas_status status = set_from_argument(p, argc, argv, &at);
            if (status != NAS_OK)
                return status;
        } else if (count == max_positional) {
            return nas_fail(p->err, NAS_E_USAGE, "unexpected argument '%.100s'", arg);
        } else {
            positional[count++] = arg;
        }
    }
    if (n_positional != NULL)
        *n_positional = count;
    return NAS_OK;
}

static nas_status check_required(const parser *p)
{
    for (int i = 0; p->list[i] != NULL; i++) {
        const nas_option *o = p->list[i];

        if (o->required && !p->given[i]) {
            nas_fail(p->err, NAS_E_USAGE, "%s is required", o->flag);
            nas_hint(p->err, "%s %s: %s", o->flag, nas_option_value(o), o->help);
            return NAS_E_USAGE;
        }
    }
    return NAS_OK;
}

nas_status nas_options_parse(const nas_option *const *tables, void *options, size_t size,
                             const json_t *config, int argc, const char *const *argv,
                             const char **positional, int max_positional, int *n_positional,
                             nas_err *err)
{
    size_t count = 0;
    nas_status status;

    for (int t = 0; tables[t] != NULL; t++)
        for (const nas_option *o = tables[t]; o->flag != NULL; o++)
            count++;
    parser p = {calloc(count + 1, sizeof *p.list), calloc(count + 1, sizeof *p.given), options,
                err};
    if (p.list == NULL || p.given == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "options: out of memory");
        goto done;
    }
    count = 0;
    for (int t = 0; tables[t] != NULL; t++)
        for (const nas_option *o = tables[t]; o->flag != NULL; o++)
            p.list[count++] = o;

    memset(options, 0, size);
    if ((status = set_defaults(&p, size)) || (status = set_from_config(&p, config)) ||
        (status = set_from_arguments(&p, argc, argv, positional, max_positional, n_positional)))
        goto done;
    status = check_required(&p);

done:
    free(p.given);
    free(p.list);
    return status;
}

/* Without a default, all bytes zero means that nobody gave it. Its zero may be outside
 * its own limits, so a stored configuration leaves it out. */
static bool is_unset(const nas_option *option, const void *field)
{
    static const unsigned char zero[16];

    return option->standard == NULL && option->type != NAS_OPT_FLAG &&
           option->type != NAS_OPT_CHOICE && memcmp(field, zero, types[option->type].width) == 0;
}

json_t *nas_options_json(const nas_option *const *tables, const void *options)
{
    json_t *object = json_object();

    for (int t = 0; object != NULL && tables[t] != NULL; t++)
        for (const nas_option *o = tables[t]; o->flag != NULL; o++) {
            const void *field = (const unsigned char *)options + o->offset;
            char key[MAX_NAME];

            if (is_unset(o, field))
                continue;
            if (json_object_set_new(object, key_of(o->flag, key), types[o->type].get(o, field))) {
                json_decref(object);
                return NULL;
            }
        }
    return object;
}

void nas_option_describe(const nas_option *o, char *out, size_t size)
{
    if (o->required)
        snprintf(out, size, "%s (required)", o->help);
    else if (o->standard != NULL && o->type != NAS_OPT_FLAG)
        snprintf(out, size, "%s (default %s)", o->help, o->standard);
    else if (o->standard != NULL && strcmp(o->standard, "true") == 0)
        snprintf(out, size, "%s (default on; --no-%s)", o->help, o->flag + 2);
    else
        snprintf(out, size, "%s", o->help);
}

void nas_options_help(const nas_option *const *tables, FILE *out)
{
    const int column = 28;

    for (int t = 0; tables[t] != NULL; t++)
        for (const nas_option *o = tables[t]; o->flag != NULL; o++) {
            const int used = fprintf(out, "  %s %s", o->flag, nas_option_value(o));
            char text[256];

            if (used >= column)
                fprintf(out, "\n%*s", column, "");
            else
                fprintf(out, "%*s", column - used, "");
            nas_option_describe(o, text, sizeof text);
            fprintf(out, "%s\n", text);
        }
}

/* Spawning `nas` and small inputs for it. */
#include "tests/cli/nas.h"

#include <ftw.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "tests/support/scratch.h"

static process_result last;

void nas_begin(void)
{
    scratch_init();
}

void nas_end(void)
{
    process_free(&last);
    scratch_fini();
}

const char *nas_file(const char *name)
{
    static char paths[64][256];
    static int count;

    for (int i = 0; i < count; i++)
        if (strcmp(paths[i] + strlen(scratch_folder) + 1, name) == 0)
            return paths[i];
    cr_assert_lt(count, 64);
    snprintf(paths[count], sizeof paths[0], "%s", scratch(name));
    return paths[count++];
}

const char *nas_put(const char *name, const char *content)
{
    scratch_put(name, content);
    return nas_file(name);
}

int nas_count(void)
{
    return scratch_count();
}

static const char *secret;
static int files_seen;

static int look_into(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    if (kind != FTW_F || info->st_size == 0)
        return 0;
    FILE *file = fopen(path, "r");
    char *text = malloc((size_t)info->st_size);
    const size_t size = fread(text, 1, (size_t)info->st_size, file);

    cr_assert_null(memmem(text, size, secret, strlen(secret)), "%s holds the secret", path);
    files_seen++;
    free(text);
    fclose(file);
    return 0;
}

int nas_store_without(const char *text)
{
    secret = text;
    files_seen = 0;
    nftw(nas_file("store"), look_into, 8, FTW_PHYS);
    return files_seen;
}

static process_result *run_list(const process_options *options, const char *first, va_list list)
{
    const char *argv[PROCESS_MAX_ARGS] = {NAS_PROGRAM}, *argument = first;
    static char store[300];
    const char *environment[] = {store, "GOMP_SPINCOUNT=1000", NULL};
    process_options o = options != NULL ? *options : (process_options){0};
    int count = 1;

    for (; argument != NULL; argument = va_arg(list, const char *)) {
        cr_assert_lt(count, PROCESS_MAX_ARGS - 1);
        argv[count++] = argument;
    }
    snprintf(store, sizeof store, "NAS_STORE=%s", nas_file("store"));
    o.environment = environment;
    process_free(&last);
    last = process_run(argv, &o);
    return &last;
}

process_result *nas_run(const process_options *options, ...)
{
    va_list list;

    va_start(list, options);
    process_result *result = run_list(options, va_arg(list, const char *), list);
    va_end(list);
    return result;
}

json_t *nas_json(const char *first, ...)
{
    static json_t *object;
    json_error_t error;
    va_list list;

    va_start(list, first);
    const process_result *result = run_list(NULL, first, list);
    va_end(list);
    cr_assert_eq(result->code, 0, "exit code %d: %s", result->code, result->err);
    json_decref(object);
    object = json_loads(result->out, 0, &error); /* exactly one value, or it is refused */
    cr_assert(json_is_object(object), "not one JSON object: %s\n%s", error.text, result->out);
    return object;
}

void expect_exit(const process_result *result, int code, const char *text)
{
    cr_assert_eq(result->code, code, "exit code %d, not %d; stderr: %s", result->code, code,
                 result->err);
    if (text != NULL)
        cr_assert_not_null(strstr(result->err, text), "no '%s' in: %s", text, result->err);
}

const char *make_data(void)
{
    const char *path = nas_file("task.nasd");

    expect_exit(NAS("data", "synth", "--out", path, "--size", "16", "--train", "400", "--test",
                    "100", "--quiet"),
                0, NULL);
    return path;
}

/* The keys that `nas latency check` says are missing, at one to two microseconds by number. */
const char *make_table(void)
{
    return make_table_of("tiny", "Conv-input:1x1x1-output:1x1x1: {mean: 1.0}\n");
}

const char *make_table_of(const char *space, const char *entry)
{
    const char *empty = nas_put("empty.yaml", entry);
    const char *path = nas_file("table.yaml");
    FILE *file = fopen(path, "w");
    json_t *key;
    size_t i;

    const process_result *result = NAS("latency", "check", "--table", empty, "--space", space,
                                       "--json");
    expect_exit(result, 3, NULL);
    json_t *object = json_loads(result->out, 0, NULL);
    cr_assert(file != NULL && object != NULL);
    json_array_foreach(json_object_get(object, "missing"), i, key)
        fprintf(file, "%s: {mean: 0.%03d}\n", json_string_value(key), 100 + (int)i);
    json_decref(object);
    fclose(file);
    return path;
}

const char *make_arch(void)
{
    const char *path = nas_file("net.json");

    expect_exit(NAS("space", "sample", "tiny", "--out", path), 0, NULL);
    return path;
}

/* nas space - what can be searched: lists, shows, counts and samples spaces. */
#include <stddef.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/load.h"
#include "cli/describe.h"
#include "cli/output.h"

static nas_status list_run(const cli_context *context, const void *options, nas_err *err)
{
    json_t *spaces = json_array();

    for (const char *const *name = nas_space_names(); *name != NULL; name++) {
        nas_space *space = NULL;
        char *decimal = NULL;
        double log10_count;
        nas_status status;

        if ((status = nas_space_load(&space, *name, err)) == NAS_OK &&
            (status = nas_space_count(space, &decimal, &log10_count, err)) == NAS_OK)
            json_array_append_new(
                spaces, json_pack("{s:s, s:i, s:f, s:s}", "name", *name, "image_size",
                                  space->image_size, "log10", log10_count, "summary",
                                  nas_space_summary(*name)));
        free(decimal);
        nas_space_free(space);
        if (status != NAS_OK) {
            json_decref(spaces);
            return status;
        }
    }
    return cli_emit(context, json_pack("{s:o}", "spaces", spaces), err);
}

const cli_command cmd_space_list = {
    .name = "space list", .summary = "the built-in search spaces", .run = list_run,
};

typedef struct show_options {
    cli_common common;
    const char *out;
} show_options;

static const nas_option show_table[] = {
    {"--out", NAS_OPT_STRING, offsetof(show_options, out), NULL, 0, 0, NULL, "FILE",
     "also write the space as JSON, to change it", false, true},
    {0},
};

static nas_status save_space(const nas_space *space, const char *path, nas_err *err)
{
    json_t *json = nas_space_to_json(space);
    const nas_status status = json != NULL ? nas_json_save(json, path, err)
                                           : nas_fail(err, NAS_E_NOMEM, "%s: no memory", path);

    json_decref(json);
    return status;
}

static nas_status show_run(const cli_context *context, const void *options, nas_err *err)
{
    const show_options *o = options;
    nas_space *space = NULL;
    json_t *result = NULL;
    nas_status status;

    if ((status = cli_check_output(context->args, 1, "--out", o->out, false, err)) ||
        (status = nas_space_load(&space, context->args[0], err)) ||
        (status = cli_space_json(&result, space, err)) ||
        (o->out != NULL && (status = save_space(space, o->out, err))))
        json_decref(result);
    else
        status = cli_emit(context, result, err);
    nas_space_free(space);
    return status;
}

const cli_command cmd_space_show = {
    .name = "space show", .summary = "the slots and candidates of a space", .arguments = "NAME",
    .example = "space show tiny --out mine.json", .tables = {show_table},
    .size = sizeof(show_options), .min_args = 1, .max_args = 1, .run = show_run,
};

static nas_status count_run(const cli_context *context, const void *options, nas_err *err)
{
    nas_space *space = NULL;
    char *decimal = NULL;
    double log10_count;
    nas_status status;

    if ((status = nas_space_load(&space, context->args[0], err)) == NAS_OK &&
        (status = nas_space_count(space, &decimal, &log10_count, err)) == NAS_OK)
        status = cli_emit(context, json_pack("{s:s, s:s, s:f}", "name", space->name,
                                             "architectures", decimal, "log10", log10_count),
                          err);
    free(decimal);
    nas_space_free(space);
    return status;
}

const cli_command cmd_space_count = {
    .name = "space count", .summary = "how many architectures a space has, exactly",
    .arguments = "NAME", .example = "space count proxyless-imagenet --json", .min_args = 1,
    .max_args = 1, .run = count_run,
};

typedef struct sample_options {
    cli_common common;
    int64_t index;
    const char *out;
} sample_options;

static const nas_option sample_table[] = {
    {"--index", NAS_OPT_INT, offsetof(sample_options, index), "0", 0, 9007199254740992.0, NULL,
     "N", "which of the seed's samples"},
    {"--out", NAS_OPT_STRING, offsetof(sample_options, out), NULL, 0, 0, NULL, "FILE",
     "write the architecture there; default: on stdout", false, true},
    {0},
};

static nas_status sample_run(const cli_context *context, const void *options, nas_err *err)
{
    const sample_options *o = options;
    nas_space *space = NULL;
    nas_arch *arch = NULL;
    json_t *result = NULL;
    int choice[NAS_MAX_SLOTS];
    nas_rng rng;
    nas_status status;

    if ((status = cli_check_output(context->args, 1, "--out", o->out, false, err)) ||
        (status = nas_space_load(&space, context->args[0], err)))
        goto done;
    nas_rng_init(&rng, (uint64_t)o->common.seed, "space sample", (uint64_t)o->index);
    nas_space_sample(space, &rng, choice);
    if ((status = nas_space_arch(&arch, space, choice, err)) != NAS_OK)
        goto done;
    if (o->out == NULL) { /* the file itself: what --arch takes */
        const size_t flags = JSON_REAL_PRECISION(17) |
                             (context->common->json ? 0 : JSON_INDENT(2));
        json_t *json = nas_arch_to_json(arch);

        const bool whole = json != NULL && json_dumpf(json, stdout, flags) == 0;

        if (whole)
            putchar('\n');
        status = cli_flush(err);
        if (status == NAS_OK && !whole)
            status = nas_fail(err, NAS_E_NOMEM, "space sample: out of memory");
        json_decref(json);
    } else if ((status = nas_arch_save(arch, o->out, err)) == NAS_OK &&
               (status = cli_arch_json(&result, arch, err)) == NAS_OK) {
        json_object_set_new(result, "arch", json_string(o->out));
        status = cli_emit(context, result, err);
    }

done:
    nas_arch_free(arch);
    nas_space_free(space);
    return status;
}

const cli_command cmd_space_sample = {
    .name = "space sample", .summary = "draw an architecture uniformly", .arguments = "NAME",
    .example = "space sample tiny --out net.json", .tables = {sample_table},
    .size = sizeof(sample_options), .min_args = 1, .max_args = 1, .run = sample_run,
};

/* nas latency predict, check - what an architecture takes by a table, and whether a table covers a
 * space. */
#include <stddef.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/load.h"
#include "cli/output.h"
#include "latency/predict.h"

typedef struct predict_options {
    cli_common common;
    const char *table, *arch;
    int64_t image_size;
} predict_options;

#define TABLE_OPTION(type)                                                                         \
    {"--table", NAS_OPT_STRING, offsetof(type, table), NULL, 0, 0, NULL, "FILE",                   \
     "latency table, or a folder of tables by image size", true}

static const nas_option predict_table[] = {
    TABLE_OPTION(predict_options),
    {"--arch", NAS_OPT_STRING, offsetof(predict_options, arch), NULL, 0, 0, NULL, "FILE",
     "architecture, or net.config of ProxylessNAS and OFA", true},
    {"--image-size", NAS_OPT_INT, offsetof(predict_options, image_size), NULL, 1,
     NAS_MAX_IMAGE_SIZE, NULL, "PX", "side of the images; default: what it was made for"},
    {0},
};

static json_t *report_json(const nas_latency_report *report)
{
    json_t *layers = json_array();

    for (int i = 0; i < report->count; i++)
        json_array_append_new(layers, json_pack("{s:s, s:f}", "key", report->layers[i].key,
                                                "latency_ms", report->layers[i].latency_ms));
    return json_pack("{s:f, s:o}", "latency_ms", report->latency_ms, "layers", layers);
}

static nas_status predict_run(const cli_context *context, const void *options, nas_err *err)
{
    const predict_options *o = options;
    nas_latency_set *set = NULL;
    const nas_latency_table *table;
    nas_arch *arch = NULL;
    nas_latency_report report = {0};
    nas_status status;

    if ((status = nas_arch_load(&arch, o->arch, err)) != NAS_OK)
        goto done;
    const int size = o->image_size > 0 ? (int)o->image_size : arch->image_size;
    if ((status = cli_table_load_arch(&set, &table, o->table, arch, size, err)) ||
        (status = nas_latency_predict(&report, table, arch, size, err)))
        goto done;
    status = cli_emit(context, report_json(&report), err);

done:
    nas_latency_report_fini(&report);
    nas_latency_set_free(set);
    nas_arch_free(arch);
    return status;
}

const cli_command cmd_latency_predict = {
    .name = "latency predict", .summary = "what an architecture takes by a table",
    .example = "latency predict --table here.yaml --arch net.json --json",
    .tables = {predict_table}, .size = sizeof(predict_options), .run = predict_run,
};

typedef struct check_options {
    cli_space_options space;
    const char *table;
} check_options;

static const nas_option check_table[] = {TABLE_OPTION(check_options), {0}};

static nas_status check_run(const cli_context *context, const void *options, nas_err *err)
{
    const check_options *o = options;
    nas_latency_set *set = NULL;
    const nas_latency_table *table;
    nas_space *space = NULL;
    nas_latency_entry *missing = NULL;
    int count;
    nas_status status;

    if ((status = nas_latency_set_load(&set, o->table, err)) ||
        (status = cli_space_load_for(&space, &o->space, set, err)) ||
        (status = nas_latency_set_pick(&table, set, space->image_size, err)) ||
        (status = nas_latency_check(&missing, &count, table, space, 0, err)))
        goto done;
    json_t *keys = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(keys, json_string(missing[i].key));
    status = cli_emit(context, json_pack("{s:s, s:i, s:i, s:b, s:i, s:o}", "space", space->name,
                                         "image_size", space->image_size, "entries",
                                         table->count, "covered", count == 0, "missing_count",
                                         count, "missing", keys),
                      err);
    if (status == NAS_OK && count > 0)
        status = nas_latency_fail_missing(missing, count, space->name, err);

done:
    free(missing);
    nas_latency_set_free(set);
    nas_space_free(space);
    return status;
}

const cli_command cmd_latency_check = {
    .name = "latency check", .summary = "which entries a table lacks for a space",
    .example = "latency check --table here.yaml --space proxyless-cifar",
    .tables = {check_table, cli_space_table}, .size = sizeof(check_options), .run = check_run,
};

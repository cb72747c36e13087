/* nas eval - how good and how fast a trained network is. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/subnet.h"
#include "latency/predict.h"
#include "latency/table/set.h"
#include "nas/train/checkpoint.h"

typedef struct eval_options {
    cli_common common;
    const char *model, *data, *split, *logits, *table, *arch;
} eval_options;

#define AT(field) offsetof(eval_options, field)

static const nas_option eval_table[] = {
    {"--model", NAS_OPT_STRING, AT(model), NULL, 0, 0, NULL, "FILE",
     "trained network: model.safetensors of a run, or a supernet", true},
    {"--data", NAS_OPT_STRING, AT(data), NULL, 0, 0, NULL, "FILE", "packed images", true},
    {"--split", NAS_OPT_STRING, AT(split), NULL, 0, 0, NULL, "NAME",
     "which of its images; default: test, else val"},
    {"--arch", NAS_OPT_STRING, AT(arch), NULL, 0, 0, NULL, "FILE",
     "which subnet of a supernet, re-calibrated on training images; default: the largest"},
    {"--logits", NAS_OPT_STRING, AT(logits), NULL, 0, 0, NULL, "FILE",
     "write logits and labels there (safetensors)", false, true},
    {"--table", NAS_OPT_STRING, AT(table), NULL, 0, 0, NULL, "FILE",
     "latency by this table; default: measured here, one image at a time"},
    {0},
};

/* Logits and labels of all images, as they come. */
typedef struct record {
    float *logits;
    int32_t *labels;
    int64_t images;
    int classes;
} record;

static nas_status keep(void *user, const nas_batch *batch, const float *logits, nas_err *err)
{
    record *r = user;
    const size_t floats = (size_t)batch->n * (size_t)r->classes;

    memcpy(r->logits + (size_t)r->images * (size_t)r->classes, logits, floats * sizeof *logits);
    for (int i = 0; i < batch->n; i++)
        r->labels[r->images + i] = batch->labels[i];
    r->images += batch->n;
    return NAS_OK;
}

static nas_status save_record(const record *r, const char *path, nas_err *err)
{
    nas_safetensors_builder *builder = nas_safetensors_builder_new();
    const int64_t shape[] = {r->images, r->classes};

    if (builder != NULL) {
        nas_safetensors_builder_add(builder, "logits", NAS_DTYPE_F32, 2, shape, r->logits);
        nas_safetensors_builder_add(builder, "labels", NAS_DTYPE_I32, 1, shape, r->labels);
    }
    const nas_status status = nas_safetensors_builder_write(builder, path, NULL, err);
    nas_safetensors_builder_free(builder);
    return status;
}

static nas_status pick_split(const nas_data_split **out, const nas_dataset *data, const char *name,
                             nas_err *err)
{
    char names[256] = "";

    *out = name != NULL ? nas_dataset_split(data, name) : nas_dataset_test_split(data);
    if (*out != NULL)
        return NAS_OK;
    for (int i = 0; i < data->splits; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i > 0 ? ", " : "",
                 data->split[i].name);
    nas_fail(err, NAS_E_CONFIG, "%s has no split '%.60s'", data->path, name);
    nas_hint(err, "it has %s", names);
    return NAS_E_CONFIG;
}

static nas_status latency_ms(double *out, const eval_options *o, const nas_model *model,
                             const nas_arch *arch, nas_err *err)
{
    nas_latency_report report = {0};
    nas_latency_set *set = NULL;
    const nas_latency_table *table;
    nas_status status;

    if (o->table == NULL)
        return cli_measure_ms(out, model, err);
    if ((status = cli_table_load_arch(&set, &table, o->table, arch, arch->image_size, err)) ==
            NAS_OK &&
        (status = nas_latency_predict(&report, table, arch, 0, err)) == NAS_OK)
        *out = report.latency_ms;
    nas_latency_report_fini(&report);
    nas_latency_set_free(set);
    return status;
}

/* A network of its own, or a subnet. */
static nas_status load_network(nas_model **model, nas_arch **arch, const eval_options *o,
                               nas_err *err)
{
    enum { RECALIBRATE = 2000 };
    const cli_subnet_options options = {.model = o->model, .data = o->data,
                                        .recalibrate_images = RECALIBRATE};
    int choice[NAS_MAX_SLOTS], size;
    cli_subnets subnets;
    nas_status status;

    if (!cli_is_supernet(o->model))
        return o->arch == NULL
                   ? nas_model_load(model, arch, o->model, err)
                   : nas_fail(err, NAS_E_USAGE, "--arch is for supernets, but %s is none", o->model);
    if ((status = cli_subnets_open(&subnets, &options, &o->common, true, err)) == NAS_OK &&
        (status = cli_subnet_find(&subnets, o->arch, 0, choice, &size, err)) == NAS_OK)
        status = cli_subnet_take(model, arch, NULL, &subnets, choice, size, NULL, err);
    cli_subnets_close(&subnets);
    return status;
}

static nas_status eval_run(const cli_context *context, const void *options, nas_err *err)
{
    const eval_options *o = options;
    nas_model *model = NULL;
    nas_arch *arch = NULL;
    nas_dataset *data = NULL;
    const nas_data_split *split;
    nas_score score = {0};
    record r = {0};
    const char *const read[] = {o->model, o->data, o->arch, o->table};
    double ms = 0;
    nas_status status;

    if ((status = cli_check_output(read, 4, "--logits", o->logits, false, err)) ||
        (status = load_network(&model, &arch, o, err)) ||
        (status = nas_dataset_open(&data, o->data, err)) ||
        (status = pick_split(&split, data, o->split, err)))
        goto done;
    if (model->classes != data->classes || model->channels != data->channels) {
        status = nas_fail(err, NAS_E_CONFIG, "%s has %d channels and %d classes, %s has %d and %d",
                          o->model, model->channels, model->classes, o->data, data->channels,
                          data->classes);
        goto done;
    }
    if (o->logits != NULL) {
        r.classes = model->classes;
        r.logits = calloc((size_t)split->count * (size_t)r.classes, sizeof *r.logits);
        r.labels = calloc(split->count, sizeof *r.labels);
        if (r.logits == NULL || r.labels == NULL) {
            status = nas_fail(err, NAS_E_NOMEM, "logits: out of memory");
            goto done;
        }
    }
    if ((status = cli_score_split(&score, model, data, split, (int)o->common.threads,
                                  r.logits != NULL ? keep : NULL, &r, err)) ||
        (status = latency_ms(&ms, o, model, arch, err)) ||
        (o->logits != NULL && (status = save_record(&r, o->logits, err))))
        goto done;
    const double images = (double)score.images;
    const nas_op_cost cost = nas_arch_cost(arch, 0);
    status = cli_emit(
        context,
        json_pack("{s:s, s:o, s:o, s:o, s:I, s:f, s:I, s:I}", "split", split->name, "top1",
                  cli_real((double)score.top1 / images), "top5",
                  cli_real((double)score.top5 / images), "loss", cli_real(score.loss / images),
                  "images", (json_int_t)score.images, "latency_ms", ms, "macs",
                  (json_int_t)cost.macs, "parameters", (json_int_t)cost.parameters),
        err);

done:
    free(r.logits);
    free(r.labels);
    nas_dataset_close(data);
    nas_arch_free(arch);
    nas_model_free(model);
    return status;
}

const cli_command cmd_eval = {
    .name = "eval", .summary = "accuracy, latency and size of a trained network",
    .example = "eval --model .nas/runs/2/model.safetensors --data photos.nasd --split test",
    .tables = {eval_table}, .size = sizeof(eval_options), .run = eval_run,
};

/* What things are, as JSON objects for results. */
#include "cli/describe.h"

#include <stdlib.h>

#include "base/clock.h"
#include "cli/output.h"
#include "nas/elastic/dims.h"

void cli_op_text(const nas_op_spec *op, char out[64])
{
    switch (op->type) {
    case NAS_OP_MBCONV:
        snprintf(out, 64, "mbconv %dx%d e%g%s", op->kernel, op->kernel, (double)op->expand,
                 op->se > 0 ? " se" : "");
        break;
    case NAS_OP_ZERO:
        snprintf(out, 64, "skip");
        break;
    case NAS_OP_CONV:
    case NAS_OP_MAX_POOL:
    case NAS_OP_AVG_POOL:
        snprintf(out, 64, "%s %dx%d", nas_op_name(op->type), op->kernel, op->kernel);
        break;
    default:
        snprintf(out, 64, "%s", nas_op_spec_name(op));
    }
}

/* One line about a block or a slot. */
static json_t *op_json(int index, const nas_op_spec *op, bool shortcut, int stage)
{
    char text[64];

    cli_op_text(op, text);
    return json_pack("{s:i, s:s, s:i, s:i, s:i, s:b, s:i}", "block", index, "op", text, "in",
                     op->in, "out", op->out, "stride", op->stride, "shortcut", shortcut, "stage",
                     stage);
}

/* Kernels, ratios and image sizes that subnets of the space may share weights over; null if they
 * cannot. */
static json_t *elastic_json(const nas_space *space)
{
    json_t *kernels = json_array(), *expands = json_array(), *sizes = json_array();
    nas_elastic_dims dims;

    if (nas_elastic_dims_of(&dims, space, NULL) != NAS_OK) {
        json_decref(kernels);
        json_decref(expands);
        json_decref(sizes);
        return json_null();
    }
    for (int i = 0; i < dims.kernels; i++)
        json_array_append_new(kernels, json_integer(dims.kernel[i]));
    for (int i = 0; i < dims.expands; i++)
        json_array_append_new(expands, json_real((double)dims.expand[i]));
    for (int i = 0; i < space->resolutions; i++)
        json_array_append_new(sizes, json_integer(space->resolution[i]));
    return json_pack("{s:o, s:o, s:i, s:o}", "kernel", kernels, "expand", expands, "skip",
                     dims.skip, "resolutions", sizes);
}

nas_status cli_space_json(json_t **out, const nas_space *space, nas_err *err)
{
    json_t *slots = json_array();
    char *decimal = NULL, digest[NAS_DIGEST_SIZE];
    double log10_count;
    int64_t least, most;
    nas_status status;

    *out = NULL;
    if ((status = nas_space_count(space, &decimal, &log10_count, err)) ||
        (status = nas_space_digest(space, digest, err)))
        goto done;
    nas_space_macs_range(space, 0, &least, &most);
    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];
        json_t *row = op_json(s, &slot->candidates[0], slot->shortcut, slot->stage);

        json_object_set_new(row, "candidates", json_integer(slot->count));
        json_array_append_new(slots, row);
    }
    *out = json_pack("{s:s, s:i, s:i, s:i, s:s, s:f, s:i, s:I, s:I, s:s, s:O}", "name",
                     space->name, "image_size", space->image_size, "channels", space->channels,
                     "classes", space->classes, "architectures", decimal, "log10", log10_count,
                     "min_depth", space->min_depth, "macs_min", (json_int_t)least, "macs_max",
                     (json_int_t)most, "digest", digest, "slots", slots);
    json_object_set_new(*out, "elastic", elastic_json(space));
    if (*out == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "%s: out of memory", space->name);

done:
    free(decimal);
    json_decref(slots);
    return status;
}

nas_status cli_arch_json(json_t **out, const nas_arch *arch, nas_err *err)
{
    const nas_op_cost cost = nas_arch_cost(arch, 0);
    char digest[NAS_DIGEST_SIZE];
    json_t *blocks = json_array();
    const nas_status status = nas_arch_digest(arch, digest, err);

    *out = NULL;
    for (int b = 0; b < arch->count; b++)
        json_array_append_new(blocks, op_json(b, &arch->blocks[b].op, arch->blocks[b].shortcut,
                                              arch->blocks[b].stage));
    if (status == NAS_OK)
        *out = json_pack("{s:s, s:i, s:i, s:i, s:I, s:I, s:s, s:O}", "name", arch->name,
                         "image_size", arch->image_size, "channels", arch->channels, "classes",
                         arch->classes, "macs", (json_int_t)cost.macs, "parameters",
                         (json_int_t)cost.parameters, "digest", digest, "blocks", blocks);
    json_decref(blocks);
    if (status == NAS_OK && *out == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: out of memory", arch->name);
    return status;
}

json_t *cli_table_json(const nas_latency_table *table)
{
    const nas_latency_meta *m = &table->meta;

    return json_pack("{s:i, s:s, s:i, s:s, s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:o, s:b}",
                     "entries",
                     table->count, "grammar",
                     table->grammar == NAS_LATENCY_MID ? "mid" : "ratio", "image_size",
                     nas_latency_table_image_size(table), "device", m->device, "cores", m->cores,
                     "threads", m->threads, "batch", m->batch, "engine", m->engine, "conditions",
                     m->conditions, "created", m->created, "space", m->space,
                     "probe_ms", m->probe_ms > 0.0 ? json_real(m->probe_ms) : json_null(),
                     "emulated", m->emulated != 0);
}

json_t *cli_regressor_json(const nas_regressor *r)
{
    const nas_latency_meta *m = &r->meta;
    const nas_regressor_fit *f = &r->fit;
    json_t *sizes = json_array();

    for (int i = 0; i < r->sizes; i++)
        json_array_append_new(sizes, json_integer(r->image_size[i]));
    return json_pack("{s:o, s:s, s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:o, s:o, s:o, "
                     "s:o, s:o, s:o}",
                     "image_sizes", sizes, "device", m->device, "cores", m->cores, "threads",
                     m->threads, "batch", m->batch, "engine", m->engine, "conditions",
                     m->conditions, "created", m->created, "space", m->space, "emulated",
                     m->emulated != 0, "trained", f->trained, "held_out", f->held_out, "mape",
                     cli_real(f->mape), "within_10", cli_real(f->within_10), "bias",
                     cli_real(f->bias), "rmse_ms", cli_real(f->rmse_ms), "spearman",
                     cli_real(f->spearman), "kendall", cli_real(f->kendall));
}

json_t *cli_run_json(const nas_store_run *run)
{
    char created[25], updated[25];

    nas_clock_format(run->created_ms, created);
    nas_clock_format(run->updated_ms, updated);
    return json_pack(
        "{s:I, s:s, s:s, s:o, s:s, s:b, s:I, s:I, s:I, s:I, s:i, s:s, s:s, s:s, s:s}", "id",
        (json_int_t)run->id, "name", run->name, "kind", run->kind, "parent",
        run->parent > 0 ? json_integer(run->parent) : json_null(), "state",
        run->state == NAS_STORE_RUNNING && !run->alive ? "killed"
                                                       : nas_store_state_name(run->state),
        "alive", run->alive, "attempt", (json_int_t)run->attempt, "epoch", (json_int_t)run->epoch,
        "step", (json_int_t)run->step, "seed", (json_int_t)run->seed, "threads", run->threads,
        "created", created, "updated", updated, "host", run->host, "version", run->version);
}

json_t *cli_stored_json(const char *text)
{
    json_t *json = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

    return json != NULL ? json : json_null();
}

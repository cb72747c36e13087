/* From names on the command line to spaces and tables. */
#include "cli/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/system.h"
#include "cli/version.h"
#include "search/jobs/worker.h"

const nas_option cli_space_table[] = {CLI_SPACE_ROWS(0), {0}};

nas_status cli_space_fit(nas_space *space, const nas_dataset *data, nas_err *err)
{
    const bool square = data->height > 0 && data->height == data->width;

    return nas_space_fit(space, square ? data->height : space->image_size, data->channels,
                         data->classes, err);
}

nas_status cli_space_load(nas_space **out, const cli_space_options *options, nas_err *err)
{
    nas_dataset *data = NULL;
    nas_status status = nas_space_load(out, options->space, err);

    if (status == NAS_OK && options->data != NULL &&
        (status = nas_dataset_open(&data, options->data, err)) == NAS_OK)
        status = cli_space_fit(*out, data, err);
    if (status == NAS_OK && (options->image_size > 0 || options->classes > 0))
        status = nas_space_fit(
            *out, options->image_size > 0 ? (int)options->image_size : (*out)->image_size,
            (*out)->channels, options->classes > 0 ? (int)options->classes : (*out)->classes, err);
    nas_dataset_close(data);
    return status;
}

nas_status cli_space_load_for(nas_space **out, const cli_space_options *options,
                              nas_latency_set *set, nas_err *err)
{
    const int size = set->count == 1 ? nas_latency_table_image_size(set->tables[0]) : 0;
    nas_status status = cli_space_load(out, options, err);

    if (status == NAS_OK && options->data == NULL && options->image_size == 0) {
        const int own = (*out)->image_size, channels = (*out)->channels;
        const int classes = (*out)->classes;

        if (nas_space_fit(*out, size, channels, classes, NULL) != NAS_OK)
            status = nas_space_fit(*out, own, channels, classes, err);
    }
    return status == NAS_OK ? nas_latency_set_fill(set, *out, err) : status;
}

nas_status cli_table_load(nas_latency_set **set, const nas_latency_table **table,
                          const char *where, const nas_space *space, nas_err *err)
{
    nas_status status = nas_latency_set_load(set, where, err);

    if (status == NAS_OK)
        status = nas_latency_set_fill(*set, space, err);
    return status == NAS_OK ? nas_latency_set_pick(table, *set, space->image_size, err) : status;
}

nas_status cli_table_fill_arch(nas_latency_set *set, const nas_arch *arch, nas_err *err)
{
    nas_space *space = NULL;
    nas_status status;

    if (set->regressor == NULL)
        return NAS_OK;
    if ((status = nas_space_of_arch(&space, arch, err)) == NAS_OK)
        status = nas_latency_set_fill(set, space, err);
    nas_space_free(space);
    return status;
}

nas_status cli_table_load_arch(nas_latency_set **set, const nas_latency_table **table,
                               const char *where, const nas_arch *arch, int image_size,
                               nas_err *err)
{
    nas_status status = nas_latency_set_load(set, where, err);

    if (status == NAS_OK)
        status = cli_table_fill_arch(*set, arch, err);
    return status == NAS_OK ? nas_latency_set_pick(table, *set, image_size, err) : status;
}

/* The first parameter of a slot that is no finite number; NULL: none. */
static const nas_param *not_finite(const nas_model *m, int slot)
{
    const nas_layer *layer = &m->slot[slot].layer[0];

    for (int i = 0; i < layer->params; i++) {
        const nas_param *p = &layer->param[i];
        const float *values = m->params + m->slot[slot].offset[0] + p->offset;
        for (size_t k = 0; k < p->count; k++)
            if (!isfinite(values[k]))
                return p;
    }
    return NULL;
}

nas_status cli_model_check(const nas_model *m, const char *model, const nas_dataset *data,
                           nas_err *err)
{
    if (m->classes != data->classes || m->channels != data->channels) {
        nas_fail(err, NAS_E_CONFIG, "%s has %d channels and %d classes, %s has %d and %d", model,
                 m->channels, m->classes, data->path, data->channels, data->classes);
        nas_hint(err, "give the images that the network was trained on");
        return NAS_E_CONFIG;
    }
    for (int s = 0; s < m->slots; s++) {
        const nas_param *param = not_finite(m, s);
        if (param == NULL)
            continue;
        nas_fail(err, NAS_E_DATA, "%s: block %d, %s: holds a number that is not finite", model, s,
                 param->name);
        nas_hint(err, "its training diverged: train it again with a smaller --lr");
        return NAS_E_DATA;
    }
    return NAS_OK;
}

nas_status cli_check_out(const char *in, const char *option, const char *out, nas_err *err)
{
    if (in == NULL || out == NULL || !nas_path_same(in, out))
        return NAS_OK;
    nas_fail(err, NAS_E_USAGE, "%s would write %s over what is read", option, out);
    nas_hint(err, "give the output a name of its own");
    return NAS_E_USAGE;
}

nas_status cli_check_output(const char *const in[], int count, const char *option,
                            const char *out, bool dry_run, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int i = 0; i < count && status == NAS_OK; i++)
        status = cli_check_out(in[i], option, out, err);
    return status == NAS_OK && out != NULL && !dry_run ? nas_file_writable(out, err) : status;
}

nas_status cli_tables_trust(const nas_latency_set *set, bool allowed, nas_err *err)
{
    for (int i = 0; i < set->count && !allowed; i++)
        if (set->tables[i]->meta.emulated) {
            nas_fail(err, NAS_E_CONFIG, "the latency table for %d pixels was made under an "
                     "emulator: its times say nothing about a device",
                     nas_latency_table_image_size(set->tables[i]));
            nas_hint(err, "profile the device itself, or to try things out: --allow-emulated");
            return NAS_E_CONFIG;
        }
    return NAS_OK;
}

nas_status cli_table_check_device(const nas_latency_table *table, const char *device,
                                  const char *where, const char *who, nas_err *err)
{
    if (table->meta.device[0] == '\0' || strcmp(table->meta.device, device) == 0)
        return NAS_OK;
    nas_fail(err, NAS_E_CONFIG, "the table is of \"%s\", but %s measures on %.60s, \"%s\"",
             table->meta.device, who, where, device);
    nas_hint(err, "leave %s out, or measure on that device", who);
    return NAS_E_CONFIG;
}

nas_status cli_table_check_here(const nas_latency_table *table, const char *who, nas_err *err)
{
    char here[sizeof table->meta.device];

    nas_system_cpu_name(here, sizeof here);
    return cli_table_check_device(table, here, "this machine", who, err);
}

nas_status cli_table_record(nas_store *store, nas_store_attempt attempt,
                            const nas_latency_table *table, const char *path, nas_err *err)
{
    char digest[NAS_DIGEST_SIZE];
    char *text = NULL;
    size_t size;
    int64_t id;
    nas_status status;

    if ((status = nas_latency_table_digest(table, digest, err)) == NAS_OK &&
        (status = nas_latency_table_text(table, &text, &size, err)) == NAS_OK &&
        (status = nas_store_table_put(store, digest, path, table->meta.device, NULL, text, &id,
                                      err)) == NAS_OK)
        status = nas_store_run_table(store, attempt, id, err);
    free(text);
    return status;
}

nas_status cli_table_run(const cli_context *context, const char *kind,
                         const nas_latency_table *table, const char *path, json_t *result,
                         nas_err *err)
{
    char *config = json_dumps(context->config, JSON_COMPACT | JSON_REAL_PRECISION(17));
    char *summary = NULL, name[NAS_STORE_NAME_SIZE];
    nas_store *store = NULL;
    nas_store_attempt attempt;
    nas_status status;

    const nas_store_run_spec spec = {.kind = kind, .config = config, .version = NAS_VERSION,
                                     .seed = (uint64_t)context->common->seed,
                                     .threads = (int)context->common->threads};
    if (config == NULL || result == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "run: out of memory");
        goto done;
    }
    if ((status = nas_store_open(&store, context->common->store, NAS_STORE_CREATE, err)) != NAS_OK)
        goto done;
    nas_worker_act(store);
    if ((status = nas_store_run_begin(store, &spec, &attempt, err)) != NAS_OK)
        goto done;
    snprintf(name, sizeof name, "%s-%lld", kind, (long long)attempt.run);
    json_object_set_new(result, "run", json_string(name));
    summary = json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(17));
    status = summary != NULL ? cli_table_record(store, attempt, table, path, err)
                             : nas_fail(err, NAS_E_NOMEM, "run: out of memory");
    if (status == NAS_OK)
        status = nas_store_run_finish(store, attempt, NAS_STORE_DONE, summary, NULL, err);
    else
        nas_store_run_finish(store, attempt, NAS_STORE_FAILED, NULL, "it was not kept whole", NULL);

done:
    nas_store_close(store);
    free(summary);
    free(config);
    return status;
}

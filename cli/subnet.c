/* From a supernet's file to subnets. */
#include "cli/subnet.h"

#include <stdio.h>
#include <string.h>

bool cli_is_supernet(const char *path)
{
    nas_safetensors *file = NULL;
    const char *kind = nas_safetensors_open(&file, path, true, NULL) == NAS_OK
                           ? nas_safetensors_meta(file, "nas.kind")
                           : NULL;
    const bool found = kind != NULL && strcmp(kind, "supernet") == 0;

    nas_safetensors_close(file);
    return found;
}

nas_status cli_subnets_open(cli_subnets *out, const cli_subnet_options *options,
                            const cli_common *common, bool others, nas_err *err)
{
    nas_judge_config config = {
        .recalibrate_images = options->recalibrate_images, .score_images = options->score_images,
        .seed = (uint64_t)common->seed, .loader_threads = (int)common->threads};
    nas_index train = {0}, valid = {0};
    nas_status status;

    memset(out, 0, sizeof *out);
    if ((status = nas_supernet_load(&out->net, options->model, NAS_JUDGE_BATCH,
                                    NAS_MEMORY_BALANCED, err)) == NAS_OK) {
        nas_supernet_narrow(out->net);
        status = nas_dataset_open(&out->data, options->data, err);
    }
    if (status == NAS_OK &&
        (others || (status = nas_judge_check_data(out->net, out->data, err)) == NAS_OK) &&
        (status = nas_judge_split(out->net, out->data, &train, &valid, err)) == NAS_OK) {
        config.augment = out->net->augment;
        status = nas_judge_new(&out->judge, out->net, out->data, &train, &valid, &config, err);
    }
    nas_index_fini(&train);
    nas_index_fini(&valid);
    return status;
}

void cli_subnets_close(cli_subnets *s)
{
    nas_judge_free(s->judge);
    nas_dataset_close(s->data);
    nas_supernet_free(s->net);
}

nas_status cli_subnets_inputs(json_t **out, const cli_subnets *s, nas_err *err)
{
    *out = json_pack("{s:s, s:s}", "model", s->net->digest, "data", s->data->digest);
    return *out != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "supernet: out of memory");
}

/* Is it a size that it was trained on? */
static nas_status check_size(const nas_space *space, int size, nas_err *err)
{
    char known[256] = "";
    size_t used = 0;

    for (int i = 0; i < space->resolutions; i++) {
        if (space->resolution[i] == size)
            return NAS_OK;
        if (used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%d",
                                     i > 0 ? ", " : "", space->resolution[i]);
    }
    if (space->resolutions == 0) {
        if (space->image_size == size)
            return NAS_OK;
        snprintf(known, sizeof known, "%d", space->image_size);
    }
    nas_fail(err, NAS_E_CONFIG, "images of %d pixels: the supernet was trained on images of %s",
             size, known);
    nas_hint(err, "--image-size takes another size");
    return NAS_E_CONFIG;
}

nas_status cli_subnet_find(const cli_subnets *s, const char *path, int image_size, int *choice,
                           int *size, nas_err *err)
{
    const nas_space *space = s->net->space;
    nas_arch *arch = NULL;
    nas_status status = NAS_OK;

    *size = nas_space_largest_size(space);
    for (int i = 0; i < space->count; i++)
        choice[i] = nas_elastic_largest(&space->slots[i]);
    if (path != NULL && (status = nas_arch_load(&arch, path, err)) == NAS_OK) {
        *size = arch->size_assumed ? *size : arch->image_size;
        status = nas_supernet_choice(s->net, arch, choice, err);
    }
    *size = image_size > 0 ? image_size : *size;
    if (status == NAS_OK)
        status = check_size(space, *size, err);
    nas_arch_free(arch);
    return status;
}

nas_status cli_subnet_take(nas_model **model, nas_arch **arch, nas_score *score,
                           cli_subnets *s, const int *choice, int image_size,
                           const nas_observer *observer, nas_err *err)
{
    const nas_elastic *e = s->net->elastic;
    nas_status status =
        score != NULL ? nas_judge_score(s->judge, choice, image_size, observer, score, err)
                      : nas_judge_recalibrate(s->judge, choice, image_size, observer, err);

    if (status == NAS_OK)
        status = nas_elastic_extract(model, arch, e, choice, image_size, err);
    if (status == NAS_OK) /* with the statistics that the judge left there */
        nas_model_inherit(*model, nas_elastic_work(e), choice);
    return status;
}

/* Networks: making, keeping, training, judging and exporting them. */
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "lib/private.h"
#include "lib/version.h"
#include "nas/export/onnx.h"
#include "nas/export/torch.h"
#include "nas/train/checkpoint.h"
#include "nas/train/evaluate.h"
#include "nas/train/train.h"

enum { LOGITS_BATCH = 32 };

nas_status nas_network_new(nas_network **out, const nas_arch *arch, uint64_t seed, nas_err *err)
{
    nas_network *network = calloc(1, sizeof *network);
    nas_status status = NAS_OK;

    *out = NULL;
    if (network == NULL)
        return nas_fail(err, NAS_E_NOMEM, "network: out of memory");
    network->arch = nas_arch_copy(arch, err);
    if (network->arch == NULL)
        status = NAS_E_NOMEM;
    else if ((status = nas_arch_check(arch, err)) == NAS_OK &&
             (status = nas_model_new_arch(&network->model, arch, err)) == NAS_OK)
        nas_model_reset(network->model, seed);
    if (status != NAS_OK) {
        nas_network_free(network);
        return status;
    }
    *out = network;
    return NAS_OK;
}

nas_status nas_network_load(nas_network **out, const char *path, nas_err *err)
{
    nas_network *network = calloc(1, sizeof *network);

    *out = NULL;
    if (network == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: out of memory", path);
    const nas_status status = nas_model_load(&network->model, &network->arch, path, err);
    if (status != NAS_OK) {
        free(network);
        return status;
    }
    *out = network;
    return NAS_OK;
}

nas_status nas_network_save(const nas_network *network, const char *path, nas_err *err)
{
    return nas_model_save(network->model, network->arch, path, err);
}

void nas_network_free(nas_network *network)
{
    if (network == NULL)
        return;
    nas_model_free(network->model);
    nas_arch_free(network->arch);
    free(network);
}

const nas_arch *nas_network_arch(const nas_network *network)
{
    return network->arch;
}

/* -- training --------------------------------------------------------------------------- */

static nas_train_options train_defaults(void)
{
    const nas_train_config d = nas_train_default();

    return (nas_train_options){.size = sizeof(nas_train_options), .epochs = d.epochs,
                               .batch = d.batch, .lr = d.lr, .momentum = d.momentum,
                               .decay = d.decay, .label_smoothing = d.label_smoothing,
                               .augment = d.augment, .valid_fraction = d.valid_fraction,
                               .seed = d.seed};
}

void nas_train_options_init(nas_train_options *options, size_t size)
{
    const nas_train_options defaults = train_defaults();

    nas_lib__init(options, size, &defaults, sizeof defaults);
}

static nas_status train_config(nas_train_config *config, const nas_train_options *o, nas_err *err)
{
    *config = nas_train_default();
    if (o->augment == NULL)
        return nas_fail(err, NAS_E_CONFIG, "training: augment is NULL; \"none\" says none");
    if (o->epochs < 1 || o->epochs > NAS_LIB_MAX_EPOCHS || o->batch < 2 ||
        o->batch > NAS_LIB_MAX_BATCH || !(o->lr >= 0.0) || !(o->decay >= 0.0) ||
        !(o->momentum >= 0.0 && o->momentum < 1.0) ||
        !(o->label_smoothing >= 0.0 && o->label_smoothing < 1.0) ||
        !(o->valid_fraction >= 0.0 && o->valid_fraction <= 0.9))
        return nas_fail(err, NAS_E_CONFIG, "training: 1 to %d epochs, batches of 2 to %d, "
                        "fractions below 1, nothing negative", NAS_LIB_MAX_EPOCHS,
                        NAS_LIB_MAX_BATCH);
    config->epochs = o->epochs;
    config->batch = o->batch;
    config->lr = o->lr;
    config->momentum = o->momentum;
    config->decay = o->decay;
    config->label_smoothing = o->label_smoothing;
    config->augment = o->augment;
    config->valid_fraction = o->valid_fraction;
    config->seed = o->seed;
    config->loader_threads = nas_lib__threads();
    return NAS_OK;
}

nas_status nas_network_train(nas_network *network, const nas_dataset *data,
                             const nas_train_options *options, const nas_watch *watch,
                             nas_train_report *report, nas_err *err)
{
    nas_train_options o = train_defaults();
    nas_train_config config;
    nas_train_result result = {.train_loss = NAN, .valid_top1 = NAN, .valid_top5 = NAN};
    nas_trainer *trainer = NULL;
    nas_lib__observer watching;
    nas_status status;

    if (network->model->quant != NULL) /* its weights would leave the numbers that they are kept as */
        return nas_fail(err, NAS_E_CONFIG, "a quantised network is not trained: train the one that "
                        "it was made from");
    if ((status = nas_lib__options(&o, sizeof o, options, err)) ||
        (status = train_config(&config, &o, err)) ||
        (status = nas_trainer_new(&trainer, network->model, data, &config, err)))
        goto done;
    nas_lib__observe(&watching, watch, o.checkpoint);
    if (o.checkpoint != NULL && nas_path_exists(o.checkpoint) &&
        (status = nas_trainer_load(trainer, o.checkpoint, err)) != NAS_OK)
        goto done;
    if ((status = nas_trainer_run(trainer, &watching.observer, &result, err)) == NAS_OK &&
        report != NULL)
        *report = (nas_train_report){.train_loss = result.train_loss,
                                     .valid_top1 = result.valid_top1,
                                     .valid_top5 = result.valid_top5, .steps = result.steps};

done:
    nas_trainer_free(trainer);
    return status;
}

/* -- judging ---------------------------------------------------------------------------- */

static nas_status check_images(const nas_network *network, const nas_dataset *data, nas_err *err)
{
    const nas_model *model = network->model;

    if (model->classes == data->classes && model->channels == data->channels)
        return NAS_OK;
    return nas_fail(err, NAS_E_CONFIG, "the network has %d channels and %d classes, %s has %d and "
                    "%d", model->channels, model->classes, data->path, data->channels,
                    data->classes);
}

nas_status nas_network_evaluate(const nas_network *network, const nas_dataset *data,
                                const char *split, nas_scores *scores, nas_err *err)
{
    const nas_data_split *of =
        split != NULL ? nas_dataset_split(data, split) : nas_dataset_test_split(data);
    nas_score score;
    nas_status status = check_images(network, data, err);

    if (status != NAS_OK)
        return status;
    if (of == NULL)
        return nas_fail(err, NAS_E_CONFIG, "%s has no split '%.60s'", data->path,
                        split != NULL ? split : "test");
    status = nas_evaluate_split(&score, network->model, data, of, nas_lib__threads(), NULL, NULL,
                                err);
    if (status == NAS_OK) {
        const double images = (double)score.images;
        *scores = (nas_scores){.top1 = (double)score.top1 / images,
                               .top5 = (double)score.top5 / images, .loss = score.loss / images,
                               .images = score.images};
    }
    return status;
}

nas_status nas_network_logits(const nas_network *network, const nas_dataset *data,
                              const unsigned char *pixels, int count, float *logits, nas_err *err)
{
    const nas_model *model = network->model;
    const int choice[NAS_MAX_SLOTS] = {0}, batch = count < LOGITS_BATCH ? count : LOGITS_BATCH;
    const size_t channels = (size_t)model->channels, classes = (size_t)model->classes;
    const size_t image = (size_t)model->image_size * (size_t)model->image_size * channels;
    nas_infer *infer = NULL;
    float *x = NULL;
    nas_normal normal;
    nas_status status = check_images(network, data, err);

    if (status != NAS_OK || count < 1)
        return status;
    if ((status = nas_infer_new(&infer, model, choice, batch, err)) != NAS_OK)
        return status;
    nas_normal_init(&normal, data->mean, data->std, data->channels);
    if ((x = malloc((size_t)batch * image * sizeof *x)) == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "logits: out of memory");
    for (int first = 0; first < count && status == NAS_OK; first += batch) {
        const int n = count - first < batch ? count - first : batch;

        for (size_t i = 0; i < (size_t)n * image; i++)
            x[i] = normal.table[i % channels][pixels[(size_t)first * image + i]];
        const float *y = nas_infer_run(infer, n, x);
        for (size_t i = 0; i < (size_t)n * classes; i++)
            logits[(size_t)first * classes + i] = y[i];
    }
    free(x);
    nas_infer_free(infer);
    return status;
}

/* -- for other programs ------------------------------------------------------------------- */

nas_status nas_network_export_onnx(const nas_network *network, const char *path, nas_err *err)
{
    const nas_onnx_info info = {.version = NAS_LIB_VERSION};

    return nas_onnx_write(network->model, network->arch, &info, path, err);
}

nas_status nas_network_export_torch(const nas_network *network, const char *net_config,
                                    const char *weights, nas_err *err)
{
    return nas_torch_write(network->model, network->arch, net_config, weights, err);
}

/* Some steps of training of a policy, always of the same images. */
#include "cli/tuning.h"

#include <string.h>

#include "nas/train/step.h"

nas_status cli_tuning_open(cli_tuning *t, const nas_dataset *data, const nas_index *train,
                           int image_size, const char *stream, nas_err *err)
{
    nas_loader_options options = {.batch = t->batch, .threads = t->threads, .seed = t->seed,
                                  .stream = stream, .shuffle = true, .drop_last = true};
    const uint64_t wanted = (uint64_t)t->steps * (uint64_t)t->batch;

    if (t->steps == 0)
        return NAS_OK;
    const nas_status status =
        nas_augment_preset(&options.augment, t->augment, image_size, err);
    if (status != NAS_OK)
        return status;
    if (train->count >= wanted)
        return nas_loader_open(&t->loader, data, train->items, (uint32_t)wanted, &options, err);
    const uint32_t most = train->count / (uint32_t)t->batch;
    nas_fail(err, NAS_E_CONFIG, "--tune-steps: %d steps of %d images are more than the %u images "
             "to train on", t->steps, t->batch, train->count);
    if (most > 0)
        nas_hint(err, "give --tune-steps of at most %u, or a smaller --batch", most);
    else
        nas_hint(err, "give a --batch of at most %u", train->count);
    return NAS_E_CONFIG;
}

void cli_tuning_close(cli_tuning *t)
{
    nas_loader_close(t->loader);
    t->loader = NULL;
}

nas_status cli_tuning_run(const cli_tuning *t, nas_model *model, const nas_model *teacher,
                          const nas_train_hooks *hooks, const nas_observer *observer, nas_err *err)
{
    const int choice[NAS_MAX_SLOTS] = {0};
    const nas_batch *batch = NULL;
    nas_exec *exec = NULL;
    nas_step step = {0};
    nas_status status;

    if ((status = nas_exec_new(&exec, model, t->batch, err)) == NAS_OK &&
        (status = nas_step_init(&step, exec, t->batch, model->classes, err)) == NAS_OK &&
        t->distill > 0.0)
        status = nas_step_teach(&step, teacher, (float)t->distill, t->batch, err);
    nas_loader_start(t->loader, 0, 0);
    for (int i = 0; i < t->steps && status == NAS_OK; i++) {
        const nas_forward how = {.train = true, .keep = true, .dropout = true, .seed = t->seed,
                                 .bn_momentum = model->bn_momentum, .step = (uint64_t)i};
        const nas_sgd sgd = {.lr = (float)nas_cosine(t->lr, i, t->steps), .momentum = 0.9f,
                             .decay = (float)t->decay, .nesterov = true};

        if ((status = nas_loader_next(t->loader, &batch, err)) != NAS_OK ||
            (status = nas_observe_go_on(observer, "tuning", err)) != NAS_OK)
            break;
        nas_step_weights(&step, choice, batch->n, batch->x, batch->labels, 0.0f, &how, &sgd);
        if (hooks != NULL)
            hooks->stepped(hooks->user, nas_cosine(t->lr, i, t->steps));
    }
    memset(model->momentum, 0, model->floats * sizeof *model->momentum);
    nas_step_fini(&step);
    nas_exec_free(exec);
    return status;
}

/* Loops over a loader: scoring, and averaging batch statistics. */
#include "nas/train/evaluate.h"

#include "nas/data/split.h"

enum { EVAL_BATCH = 128 };

nas_status nas_evaluate(nas_infer *infer, nas_loader *loader, int classes, nas_score *score,
                        nas_status (*visit)(void *user, const nas_batch *batch,
                                            const float *logits, nas_err *err),
                        void *user, nas_err *err)
{
    const nas_batch *batch;
    nas_status status;

    *score = (nas_score){0};
    nas_loader_start(loader, 0, 0);
    while ((status = nas_loader_next(loader, &batch, err)) == NAS_OK && batch != NULL) {
        const float *logits = nas_infer_run(infer, batch->n, batch->x);
        score->loss += nas_cross_entropy_sum(logits, batch->labels, batch->n, classes);
        score->images += batch->n;
        nas_count_hits(logits, batch->labels, batch->n, classes, &score->top1, &score->top5);
        if (visit != NULL && (status = visit(user, batch, logits, err)) != NAS_OK)
            return status;
    }
    return status;
}

nas_status nas_evaluate_stop(void *observer, const nas_batch *batch, const float *logits,
                             nas_err *err)
{
    return nas_observe_go_on(observer, "judging the network", err);
}

nas_status nas_recalibrate(nas_exec *exec, const int *choice, nas_loader *loader, int batches,
                           const nas_observer *observer, nas_err *err)
{
    const nas_batch *batch;
    nas_status status = NAS_OK;

    nas_loader_start(loader, 0, 0);
    for (int i = 0; i < batches; i++) {
        /* weights 1, 1/2, 1/3, ... leave the mean of all batches */
        const nas_forward how = {.train = true, .sync = true,
                                 .bn_momentum = 1.0f / (float)(i + 1)};
        if ((status = nas_loader_next(loader, &batch, err)) != NAS_OK || batch == NULL)
            break;
        nas_exec_forward(exec, choice, batch->n, batch->x, &how);
        if ((status = nas_observe_go_on(observer, "averaging batch statistics", err)) != NAS_OK)
            break;
    }
    return status;
}

nas_status nas_evaluate_split(nas_score *score, const nas_model *model, const nas_dataset *data,
                              const nas_data_split *split, int threads,
                              nas_status (*visit)(void *user, const nas_batch *batch,
                                                  const float *logits, nas_err *err),
                              void *user, nas_err *err)
{
    const int choice[NAS_MAX_SLOTS] = {0}; /* one candidate a slot */
    const nas_loader_options how = {.augment.size = model->image_size, .batch = EVAL_BATCH,
                                    .threads = threads, .stream = "eval"};
    nas_index index = {0};
    nas_loader *loader = NULL;
    nas_infer *infer = NULL;
    nas_status status;

    *score = (nas_score){0};
    if ((status = nas_index_split(&index, split, err)) == NAS_OK &&
        (status = nas_loader_open(&loader, data, index.items, index.count, &how, err)) == NAS_OK &&
        (status = nas_infer_new(&infer, model, choice, EVAL_BATCH, err)) == NAS_OK)
        status = nas_evaluate(infer, loader, model->classes, score, visit, user, err);
    nas_infer_free(infer);
    nas_loader_close(loader);
    nas_index_fini(&index);
    return status;
}

/* Targets, losses and the steps that training and search are made of. */
#include "nas/train/step.h"

#include <math.h>
#include <stdlib.h>

double nas_cosine(double lr, int64_t step, int64_t steps)
{
    return steps > 0 ? 0.5 * lr * (1.0 + cos(M_PI * (double)step / (double)steps)) : lr;
}

void nas_targets(const int *labels, int n, int classes, float smoothing, float *targets)
{
    const float rest = smoothing / (float)classes;

    for (int i = 0; i < n; i++) {
        for (int c = 0; c < classes; c++)
            targets[i * classes + c] = rest;
        targets[i * classes + labels[i]] += 1.0f - smoothing;
    }
}

void nas_softmax(const float *logits, int n, int classes, float *out)
{
    for (int i = 0; i < n; i++, logits += classes, out += classes) {
        double largest = logits[0], sum = 0.0;

        for (int c = 1; c < classes; c++)
            largest = fmax(largest, logits[c]);
        for (int c = 0; c < classes; c++)
            sum += exp(logits[c] - largest);
        for (int c = 0; c < classes; c++)
            out[c] = (float)(exp(logits[c] - largest) / sum);
    }
}

double nas_cross_entropy_sum(const float *logits, const int *labels, int n, int classes)
{
    double sum = 0.0;

    for (int i = 0; i < n; i++) {
        const float *row = logits + (size_t)i * (size_t)classes;
        double largest = row[0], total = 0.0;

        for (int c = 1; c < classes; c++)
            largest = row[c] > largest ? row[c] : largest;
        for (int c = 0; c < classes; c++)
            total += exp(row[c] - largest);
        sum += largest + log(total) - row[labels[i]];
    }
    return sum;
}

void nas_count_hits(const float *logits, const int *labels, int n, int classes, int64_t *top1,
                    int64_t *top5)
{
    for (int i = 0; i < n; i++) {
        const float *row = logits + (size_t)i * (size_t)classes;
        const float own = row[labels[i]];
        int ahead = isnan(own) ? classes : 0;

        for (int c = 0; c < classes; c++)
            ahead += row[c] > own || (row[c] == own && c < labels[i]);
        *top1 += ahead == 0;
        *top5 += ahead < 5;
    }
}

nas_status nas_step_init(nas_step *step, nas_exec *exec, int max_batch, int classes, nas_err *err)
{
    const size_t count = (size_t)max_batch * (size_t)classes;

    *step = (nas_step){.exec = exec, .classes = classes};
    step->targets = malloc(count * sizeof *step->targets);
    step->dlogits = malloc(count * sizeof *step->dlogits);
    if (step->targets != NULL && step->dlogits != NULL)
        return NAS_OK;
    nas_step_fini(step);
    return nas_fail(err, NAS_E_NOMEM, "training step: out of memory");
}

void nas_step_fini(nas_step *step)
{
    free(step->targets);
    free(step->dlogits);
    free(step->taught);
    nas_infer_free(step->teacher);
    *step = (nas_step){0};
}

nas_status nas_step_teach(nas_step *step, const nas_model *teacher, float distill, int max_batch,
                          nas_err *err)
{
    const int choice[NAS_MAX_SLOTS] = {0};

    step->distill = distill;
    step->taught = malloc((size_t)max_batch * (size_t)step->classes * sizeof *step->taught);
    if (step->taught == NULL)
        return nas_fail(err, NAS_E_NOMEM, "training step: out of memory");
    return nas_infer_new(&step->teacher, teacher, choice, max_batch, err);
}

/* Moves the targets towards what the teacher says. */
static void listen(nas_step *step, int n, const float *images)
{
    const size_t count = (size_t)n * (size_t)step->classes;

    if (step->teacher == NULL)
        return;
    nas_softmax(nas_infer_run(step->teacher, n, images), n, step->classes, step->taught);
    for (size_t i = 0; i < count; i++)
        step->targets[i] += step->distill * (step->taught[i] - step->targets[i]);
}

nas_status nas_step_part(int *part, const nas_comm *comm, int batch, nas_err *err)
{
    const int ranks = nas_comm_ranks(comm);

    *part = batch / ranks;
    if (comm == NULL || (batch % ranks == 0 && *part >= 2))
        return NAS_OK;
    nas_fail(err, NAS_E_CONFIG, "a batch of %d images is not cut into equal parts of at least 2 by "
             "%d processes", batch, ranks);
    nas_hint(err, "use a --batch that is a multiple of %d, or another number of processes",
             2 * ranks);
    return NAS_E_CONFIG;
}

void nas_step_join(nas_step *step, const nas_comm *comm, bool sync_bn)
{
    step->comm = comm;
    step->sync_bn = sync_bn;
    nas_exec_set_comm(step->exec, comm);
}

/* Loss of the whole batch, and dlogits of it, where each process has the same number of images. */
static double whole_loss(nas_step *step, int n, const float *logits)
{
    double loss = nas_kernels_get()->cross_entropy(n, step->classes, logits, step->targets,
                                                   step->dlogits);

    if (step->comm == NULL)
        return loss;
    const float share = 1.0f / (float)step->comm->ranks;
    for (size_t i = 0; i < (size_t)n * (size_t)step->classes; i++)
        step->dlogits[i] *= share;
    nas_comm_sum_doubles(step->comm, &loss, 1);
    return loss / step->comm->ranks;
}

double nas_step_weights(nas_step *step, const int *choice, int n, const float *images,
                        const int *labels, float smoothing, const nas_forward *how,
                        const nas_sgd *sgd)
{
    const nas_backward want = {.weights = true};
    nas_forward whole = *how;

    whole.sync = step->sync_bn;
    const float *logits = nas_exec_forward(step->exec, choice, n, images, &whole);

    nas_targets(labels, n, step->classes, smoothing, step->targets);
    listen(step, n, images);
    const double loss = whole_loss(step, n, logits);
    nas_exec_backward(step->exec, step->dlogits, &want);
    nas_exec_sum(step->exec);
    nas_exec_sgd(step->exec, sgd);
    return loss;
}

double nas_step_gates(nas_step *step, const int *choice, int n, const float *images,
                      const int *labels, const nas_backward *want)
{
    const nas_forward how = {.train = true, .keep = true, .sync = step->sync_bn};
    const float *logits = nas_exec_forward(step->exec, choice, n, images, &how);

    nas_targets(labels, n, step->classes, 0.0f, step->targets);
    const double loss = whole_loss(step, n, logits);
    nas_exec_backward(step->exec, step->dlogits, want);
    return loss;
}

void nas_step_score(nas_step *step, const int *choice, int n, const float *images,
                    const int *labels, const nas_forward *how, nas_score *score)
{
    const float *logits = nas_exec_forward(step->exec, choice, n, images, how);

    score->loss += nas_cross_entropy_sum(logits, labels, n, step->classes);
    score->images += n;
    nas_count_hits(logits, labels, n, step->classes, &score->top1, &score->top5);
}

void nas_score_sum(const nas_comm *comm, nas_score *score)
{
    double values[] = {score->loss, (double)score->images, (double)score->top1,
                       (double)score->top5};

    nas_comm_sum_doubles(comm, values, 4);
    *score = (nas_score){values[0], (int64_t)values[1], (int64_t)values[2], (int64_t)values[3]};
}

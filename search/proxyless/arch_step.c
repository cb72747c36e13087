/* The architecture step: gate gradients or REINFORCE, expected costs, Adam. */
#include <string.h>

#include "search/proxyless/private.h"

static const double beta1 = 0.0, beta2 = 0.999, eps = 1e-8; /* published */

static double arch_lr(const nas_search *s)
{
    const nas_search_config *c = &s->config;

    if (c->arch_lr > 0.0)
        return c->arch_lr;
    return nas_search_arch_lr(c->epochs * s->batches / c->arch_every);
}

static bool stop(void *observer) { return nas_observe_stop(observer); }

static nas_status go_on(const nas_observer *observer, nas_err *err)
{
    return nas_observe_go_on(observer, "comparing candidates", err);
}

/* Loss of gates and expected costs; gradients of both into alphas.grad. */
static nas_status gradient_step(nas_search *s, const nas_batch *batch, nas_rng *rng,
                                const nas_observer *observer, nas_err *err)
{
    nas_alphas *a = &s->alphas;
    int active[NAS_MAX_SLOTS]; /* may be neither of the two drawn where a stage ends early */

    nas_alphas_sample_arch(a, s->config.arch_mode, rng, &s->path);
    memcpy(active, s->path.choice, sizeof active);
    nas_choice_normalise(s->space, active);
    nas_alphas_step_probabilities(a, &s->path, s->config.arch_mode, s->q);
    const size_t gates = (size_t)a->slots * NAS_MAX_CANDIDATES;
    memset(s->gate_grad, 0, gates * sizeof *s->gate_grad);
    const nas_backward want = {.gates = s->path.gates, .gate_grad = s->gate_grad,
                               .stop = stop, .user = (void *)observer};
    const double ce = nas_step_gates(&s->step, active, batch->n, batch->x, batch->labels, &want);
    const nas_status status = go_on(observer, err);
    if (status != NAS_OK)
        return status;
    nas_comm_sum_doubles(s->config.comm, s->gate_grad, gates);
    const nas_objectives_loss loss = nas_objectives_loss_at(&s->objectives, ce, s->rows);
    nas_alphas_add_gate_gradient(a, s->q, s->gate_grad, loss.d_ce);
    for (int i = 0; i < a->slots; i++)
        if (a->count[i] > 1)
            nas_objectives_slot_grad(&s->objectives, &loss, i, s->rows[i], a->grad + a->first[i]);
    memcpy(s->before, a->alpha, (size_t)a->total * sizeof *s->before);
    nas_alphas_adam(a, arch_lr(s), beta1, beta2, eps);
    if (s->config.arch_mode == NAS_ARCH_TWO)
        nas_alphas_rescale(a, &s->path, s->before);
    return NAS_OK;
}

/* Reward of a sampled network: its accuracy, less where it costs more than it may. */
static double reward(nas_search *s, const nas_batch *batch)
{
    const nas_forward how = {.train = true, .sync = s->config.sync_bn};
    nas_score score = {0};

    nas_step_score(&s->step, s->path.choice, batch->n, batch->x, batch->labels, &how, &score);
    nas_score_sum(s->config.comm, &score);
    const double accuracy = (double)score.top1 / (double)score.images;
    nas_candidate sampled = {0};
    memcpy(sampled.choice, s->path.choice, sizeof sampled.choice);
    return accuracy * nas_objectives_reward(&s->objectives, &s->problem, &sampled);
}

/* The baseline follows the mean reward slowly (0.1 an update; the published code's 0.99
 * makes it nearly the newest mean, which takes most of the signal away). */
static nas_status reinforce_step(nas_search *s, const nas_batch *batch, nas_rng *rng,
                                 const nas_observer *observer, nas_err *err)
{
    nas_alphas *a = &s->alphas;
    const int samples = s->config.rl_samples;
    double mean = 0.0;

    memset(s->before, 0, (size_t)a->total * sizeof *s->before); /* sum of R * (p - onehot) */
    memset(s->q, 0, (size_t)a->total * sizeof *s->q);           /* sum of (p - onehot)     */
    for (int j = 0; j < samples; j++) {
        nas_alphas_sample(a, rng, &s->path);
        nas_choice_normalise(s->space, s->path.choice);
        const double r = reward(s, batch);
        const nas_status status = go_on(observer, err);
        if (status != NAS_OK)
            return status;
        mean += r / samples;
        for (int i = 0; i < a->slots; i++)
            for (int c = 0; a->count[i] > 1 && c < a->count[i]; c++) {
                const double d = a->p[a->first[i] + c] - (c == s->path.choice[i]);
                s->before[a->first[i] + c] += r * d;
                s->q[a->first[i] + c] += d;
            }
    }
    if (!s->has_baseline)
        s->baseline = mean;
    s->has_baseline = true;
    for (int i = 0; i < a->total; i++)
        a->grad[i] += (s->before[i] - s->baseline * s->q[i]) / samples;
    s->baseline += 0.1 * (mean - s->baseline);
    nas_alphas_adam(a, arch_lr(s), beta1, beta2, eps);
    return NAS_OK;
}

nas_status nas_search__arch_step(nas_search *s, const nas_observer *observer, nas_err *err)
{
    const nas_batch *batch;
    nas_rng rng;
    nas_status status = nas_loader_next(s->arch_loader, &batch, err);

    if (status != NAS_OK)
        return status;
    nas_rng_init(&rng, s->config.seed, "architecture step", (uint64_t)s->arch_steps);
    status = s->config.method == NAS_SEARCH_GRADIENT
                 ? gradient_step(s, batch, &rng, observer, err)
                 : reinforce_step(s, batch, &rng, observer, err);
    if (status != NAS_OK)
        return status;
    s->arch_steps++;
    s->arch_due = false;
    return NAS_OK;
}

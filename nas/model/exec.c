/* One path's forward and backward pass over an arena used as a stack:
 *
 *   [gradient A][gradient B] [y0 kept0] [y1 kept1] ... [temporaries]
 *
 * Backward walks down the stack and gives back each slot as it leaves it. */
#include "nas/model/exec.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/system.h"

typedef struct slot_state {
    const float *x;  /* input of the slot                          */
    void *kept;      /* what its layer kept for backward            */
    size_t mark;     /* arena before the slot                       */
    float *grads;    /* gradient block of the active op, or NULL    */
} slot_state;

struct nas_exec {
    nas_model *model;
    nas_arena acts, grads;
    void *scratch;
    size_t scratch_bytes;
    size_t max_output; /* floats of the largest slot output */
    int max_batch;
    nas_memory memory;
    const nas_comm *comm;
    const int *choice;
    int *choice_copy;
    nas_run run;
    float *gradient[2];
    slot_state *state; /* [slots] */
};

static size_t output_floats(const nas_model_slot *slot, int n)
{
    return (size_t)n * (size_t)slot->out_h * (size_t)slot->out_w * (size_t)slot->out_c;
}

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

typedef struct plan {
    size_t acts, grads; /* bytes, at most                              */
    size_t least;       /* bytes that training cannot do without       */
} plan;

static plan make_plan(nas_exec *exec)
{
    const nas_model *model = exec->model;
    const int n = exec->max_batch;
    size_t temporary = 0;
    plan p = {0};

    for (int s = 0; s < model->slots; s++) {
        const nas_model_slot *slot = &model->slot[s];
        const size_t y = nas_arena_round(output_floats(slot, n) * sizeof(float));
        size_t kept = 0, grads = 0;

        for (int c = 0; c < slot->count; c++) {
            const nas_layer *layer = &slot->layer[c];
            const size_t k = nas_layer_kept(layer, n);
            const size_t shared = nas_layer_moments_floats(layer, nas_kernels_get());
            kept = max_size(kept, k);
            grads = max_size(grads, nas_layer_floats(layer));
            temporary = max_size(temporary, k + nas_layer_temporary(layer, n) + y +
                                                nas_arena_round(shared * sizeof(float)));
        }
        p.acts += y + kept;
        if (slot->layer[slot->count - 1].spec.type != NAS_OP_ZERO)
            p.least += y;
        p.grads += nas_arena_round(grads * sizeof(float));
        exec->max_output = max_size(exec->max_output, output_floats(slot, n));
    }
    const size_t gradients = 2 * nas_arena_round(exec->max_output * sizeof(float));
    p.acts += temporary + gradients;
    p.least += gradients;
    return p;
}

nas_status nas_exec_fit(nas_exec *exec, nas_err *err)
{
    size_t need = 1;

    for (int s = 0; s < exec->model->slots; s++)
        for (int c = 0; c < exec->model->slot[s].count; c++)
            need = max_size(need, nas_layer_scratch(&exec->model->slot[s].layer[c], exec->max_batch,
                                                    omp_get_max_threads()));
    if (need <= exec->scratch_bytes)
        return NAS_OK;
    void *scratch = aligned_alloc(NAS_ALIGN, nas_arena_round(need));
    if (scratch == NULL)
        return nas_fail(err, NAS_E_NOMEM, "network: %zu MiB of scratch: out of memory", need >> 20);
    free(exec->scratch);
    exec->scratch = scratch;
    exec->scratch_bytes = need;
    return NAS_OK;
}

nas_status nas_exec_new(nas_exec **out, nas_model *model, int max_batch, nas_err *err)
{
    nas_exec *exec = calloc(1, sizeof *exec);
    nas_status status;

    *out = NULL;
    if (exec == NULL)
        return nas_fail(err, NAS_E_NOMEM, "network: out of memory");
    exec->model = model;
    exec->max_batch = max_batch;
    exec->memory = NAS_MEMORY_BALANCED;
    const plan p = make_plan(exec);
    const size_t memory = nas_system_memory();
    exec->state = calloc((size_t)model->slots, sizeof *exec->state);
    exec->choice_copy = calloc((size_t)model->slots, sizeof *exec->choice_copy);
    if (p.least > memory) /* addresses would still be given, and the process killed later */
        status = nas_fail(err, NAS_E_NOMEM, "network: needs more than %zu MiB, but there are %zu",
                          p.least >> 20, memory >> 20);
    else if (exec->state == NULL || exec->choice_copy == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "network: out of memory");
    else if ((status = nas_exec_fit(exec, err)) == NAS_OK &&
             (status = nas_arena_init(&exec->acts, p.acts, err)) == NAS_OK)
        status = nas_arena_init(&exec->grads, p.grads + NAS_ALIGN, err);
    if (status == NAS_OK)
        *out = exec;
    else {
        nas_hint(err, "use a smaller batch (now %d) or image size", max_batch);
        nas_exec_free(exec);
    }
    return status;
}

void nas_exec_free(nas_exec *exec)
{
    if (exec == NULL)
        return;
    nas_arena_fini(&exec->acts);
    nas_arena_fini(&exec->grads);
    free(exec->scratch);
    free(exec->choice_copy);
    free(exec->state);
    free(exec);
}

void nas_exec_set_memory(nas_exec *exec, nas_memory memory) { exec->memory = memory; }

void nas_exec_set_comm(nas_exec *exec, const nas_comm *comm) { exec->comm = comm; }

size_t nas_exec_planned_bytes(const nas_exec *exec) { return exec->acts.size + exec->grads.size; }
size_t nas_exec_peak_bytes(const nas_exec *exec) { return exec->acts.peak + exec->grads.peak; }

static const nas_layer *active_layer(const nas_exec *exec, int s)
{
    return &exec->model->slot[s].layer[exec->choice[s]];
}

static float *active_params(const nas_exec *exec, int s)
{
    return exec->model->params + exec->model->slot[s].offset[exec->choice[s]];
}

/* A skipped block: output is the input itself. */
static bool is_skip(const nas_exec *exec, int s)
{
    return exec->model->slot[s].shortcut && active_layer(exec, s)->spec.type == NAS_OP_ZERO;
}

static const float *run_slot(nas_exec *exec, int s, const float *x, float *y)
{
    exec->state[s].kept =
        nas_layer_forward(active_layer(exec, s), &exec->run, active_params(exec, s), x,
                          exec->model->slot[s].shortcut ? x : NULL, y);
    return y;
}

const float *nas_exec_forward(nas_exec *exec, const int *choice, int n, const float *images,
                              const nas_forward *how)
{
    const nas_model *model = exec->model;
    const float *x = images;
    int turn = 0;

    assert(n >= 1 && n <= exec->max_batch);
    memcpy(exec->choice_copy, choice, (size_t)model->slots * sizeof *choice);
    exec->choice = exec->choice_copy;
    exec->run = (nas_run){.kernels = nas_kernels_get(), .arena = &exec->acts,
                          .scratch = exec->scratch, .n = n, .train = how->train,
                          .dropout = how->dropout,
                          .keep = how->train && how->keep, .bn_eps = model->bn_eps,
                          .bn_momentum = how->bn_momentum, .seed = how->seed, .step = how->step,
                          .memory = exec->memory, .before = nas_comm_rank(exec->comm) * n,
                          .comm = how->train && how->sync ? exec->comm : NULL};
    nas_arena_release(&exec->acts, 0);
    nas_arena_release(&exec->grads, 0);
    for (int i = 0; i < 2; i++)
        exec->gradient[i] = nas_arena_floats(&exec->acts, exec->max_output);
    for (int s = 0; s < model->slots; s++) {
        slot_state *state = &exec->state[s];
        *state = (slot_state){.x = x, .mark = nas_arena_mark(&exec->acts)};
        if (is_skip(exec, s))
            continue;
        /* Without a backward pass two buffers take turns. */
        float *y = exec->run.keep ? nas_arena_floats(&exec->acts, output_floats(&model->slot[s], n))
                                  : exec->gradient[turn ^= 1];
        x = run_slot(exec, s, x, y);
    }
    return x;
}

/* Moments of a slot's input, for all wanted candidates that take them; NULL: none does. */
static const float *shared_moments(nas_exec *exec, int s, uint64_t wanted)
{
    const nas_model_slot *slot = &exec->model->slot[s];

    for (int c = 0; c < slot->count && exec->run.comm == NULL; c++) {
        const size_t floats = nas_layer_moments_floats(&slot->layer[c], exec->run.kernels);

        if (floats > 0 && c != exec->choice[s] && (wanted >> c & 1)) {
            float *moments = nas_arena_floats(&exec->acts, floats);

            nas_layer_moments(&slot->layer[c], &exec->run, exec->state[s].x, moments);
            return moments;
        }
    }
    return NULL;
}

/* Gate gradients of one slot: <dy, op(x)> for each candidate wanted, one at a time. */
static void gate_gradients(nas_exec *exec, int s, const float *dy, uint64_t wanted, double *out)
{
    const nas_model_slot *slot = &exec->model->slot[s];
    const size_t start = nas_arena_mark(&exec->acts);
    nas_run run = exec->run;

    run.keep = false;
    run.bn_momentum = 0.0f;
    run.moments = shared_moments(exec, s, wanted);
    for (int c = 0; c < slot->count; c++) {
        const nas_layer *layer = &slot->layer[c];
        float *params = exec->model->params + slot->offset[c];

        if (!(wanted >> c & 1))
            continue;
        if (layer->spec.type == NAS_OP_ZERO) {
            out[c] = 0.0;
        } else if (c == exec->choice[s]) {
            out[c] = nas_layer_output_dot(layer, &exec->run, params, exec->state[s].x,
                                          exec->state[s].kept, dy);
        } else {
            out[c] = nas_layer_forward_dot(layer, &run, params, exec->state[s].x, dy);
        }
    }
    nas_arena_release(&exec->acts, start);
}

static float *zeroed_grads(nas_exec *exec, const nas_layer *layer)
{
    const size_t floats = nas_layer_floats(layer);
    float *grads = floats > 0 ? nas_arena_floats(&exec->grads, floats) : NULL;

    if (grads != NULL)
        memset(grads, 0, floats * sizeof *grads);
    return grads;
}

void nas_exec_backward(nas_exec *exec, float *dlogits, const nas_backward *want)
{
    const nas_model *model = exec->model;
    const nas_model_slot *last = &model->slot[model->slots - 1];
    float *dy = exec->gradient[0], *other = exec->gradient[1];

    assert(exec->run.keep);
    memcpy(dy, dlogits, output_floats(last, exec->run.n) * sizeof *dy);
    for (int s = model->slots - 1; s >= 0; s--) {
        const nas_model_slot *slot = &model->slot[s];
        slot_state *state = &exec->state[s];
        float *dx = slot->shortcut ? dy : other;

        if (want->gates != NULL && want->gates[s] != 0) {
            if (want->stop != NULL && want->stop(want->user))
                break;
            gate_gradients(exec, s, dy, want->gates[s], want->gate_grad + s * NAS_MAX_CANDIDATES);
        }
        if (want->weights)
            state->grads = zeroed_grads(exec, active_layer(exec, s));
        if (s == 0) {
            dx = want->images;
            if (slot->shortcut && dx != NULL)
                memcpy(dx, dy, output_floats(slot, exec->run.n) * sizeof *dx);
        }
        if (!is_skip(exec, s))
            nas_layer_backward(active_layer(exec, s), &exec->run, active_params(exec, s), state->x,
                               state->kept, dy, dx, slot->shortcut, state->grads);
        nas_arena_release(&exec->acts, state->mark);
        if (!slot->shortcut) {
            other = dy;
            dy = dx;
        }
    }
    exec->run.keep = false;
}

/* Copies the running statistics of the path into their places in the gradients, which are of no
 * other use, or back. */
static void carry_statistics(nas_exec *exec, bool back, float factor)
{
    for (int s = 0; s < exec->model->slots; s++) {
        const nas_layer *layer = active_layer(exec, s);
        const size_t first = layer->weights + layer->vectors;
        float *grads = exec->state[s].grads, *params = active_params(exec, s);

        for (size_t i = first; grads != NULL && i < first + layer->buffers; i++)
            if (back)
                params[i] = grads[i];
            else
                grads[i] = params[i] * factor;
    }
}

void nas_exec_sum(nas_exec *exec)
{
    const bool own_statistics = exec->run.comm == NULL;

    if (exec->comm == NULL)
        return;
    if (own_statistics)
        carry_statistics(exec, false, 1.0f / (float)exec->comm->ranks);
    /* all blocks lie in the arena, one behind the other */
    nas_comm_sum_floats(exec->comm, (float *)exec->grads.base, exec->grads.used / sizeof(float));
    if (own_statistics)
        carry_statistics(exec, true, 1.0f);
}

const float *nas_exec_grads(const nas_exec *exec, int slot) { return exec->state[slot].grads; }

/* Shortens the path's gradient to at most `longest`. */
static void clip(nas_exec *exec, double longest)
{
    double squares = 0.0;

    for (int s = 0; s < exec->model->slots; s++) {
        const nas_layer *layer = active_layer(exec, s);
        const float *grads = exec->state[s].grads;
        if (grads != NULL)
            squares += exec->run.kernels->dot(layer->weights + layer->vectors, grads, grads);
    }
    const float factor = (float)(longest / sqrt(squares));
    if (!(factor < 1.0f))
        return;
    for (int s = 0; s < exec->model->slots; s++) {
        const nas_layer *layer = active_layer(exec, s);
        const size_t count = layer->weights + layer->vectors;
        float *grads = exec->state[s].grads;
        if (grads != NULL)
#pragma omp parallel for simd
            for (size_t i = 0; i < count; i++)
                grads[i] *= factor;
    }
}

void nas_exec_sgd(nas_exec *exec, const nas_sgd *sgd)
{
    const nas_kernels *k = exec->run.kernels;

    if (sgd->clip_norm > 0.0f)
        clip(exec, sgd->clip_norm);
    for (int s = 0; s < exec->model->slots; s++) {
        const nas_layer *layer = active_layer(exec, s);
        const float *grads = exec->state[s].grads;
        float *params = active_params(exec, s);
        float *momentum = exec->model->momentum + (params - exec->model->params);

        if (grads == NULL)
            continue;
        k->sgd(layer->weights, params, grads, momentum, sgd->lr, sgd->momentum, sgd->decay,
               sgd->nesterov);
        k->sgd(layer->vectors, params + layer->weights, grads + layer->weights,
               momentum + layer->weights, sgd->lr, sgd->momentum,
               sgd->decay_vectors ? sgd->decay : 0.0f, sgd->nesterov);
    }
}

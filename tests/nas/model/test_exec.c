/* What exec.h and infer.h promise beside the numbers: what a step leaves alone,
 * bits on any number of threads, no allocation, and the folded network. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/system.h"
#include "nas/model/exec.h"
#include "nas/model/infer.h"
#include "tests/nas/model/golden_supernet.h"
#include "tests/support/allocations.h"
#include "tests/support/numeric.h"

enum { LOGITS = GOLDEN_BATCH * GOLDEN_CLASSES };

static const nas_sgd sgd = {
    .lr = 0.05f, .momentum = 0.9f, .decay = 4e-5f, .nesterov = true, .decay_vectors = true};

static golden_supernet net;
static int choice[GOLDEN_SLOTS], others[GOLDEN_SLOTS];

static void open_net(void)
{
    golden_supernet_init(&net);
    golden_supernet_path(&net, "path", choice, others);
}

static void close_net(void)
{
    golden_supernet_fini(&net);
}

TestSuite(nas_model_exec, .init = open_net, .fini = close_net);

static nas_exec *new_exec(void)
{
    nas_exec *exec;

    cr_assert_eq(nas_exec_new(&exec, net.model, GOLDEN_BATCH, NULL), NAS_OK);
    return exec;
}

static const float *forward(nas_exec *exec, int n, bool train)
{
    return nas_exec_forward(
        exec, choice, n, net.x,
        &(nas_forward){.train = train, .keep = train, .bn_momentum = train ? 0.1f : 0.0f});
}

/* A weight step, or with gates an architecture step. */
static void step(nas_exec *exec, const nas_backward *want)
{
    float dlogits[LOGITS];

    nas_kernels_get()->cross_entropy(GOLDEN_BATCH, GOLDEN_CLASSES,
                                     forward(exec, GOLDEN_BATCH, true), net.targets, dlogits);
    nas_exec_backward(exec, dlogits, want);
    if (want->weights)
        nas_exec_sgd(exec, &sgd);
}

static float *copy_of(const float *values, size_t count)
{
    return memcpy(test_floats(count, 1), values, count * sizeof *values);
}

static bool same_bits(const float *a, const float *b, size_t count)
{
    return memcmp(a, b, count * sizeof *a) == 0;
}

Test(nas_model_exec, weight_step_leaves_inactive_candidates_alone)
{
    nas_exec *exec = new_exec();
    float *params = copy_of(net.model->params, net.model->floats);

    step(exec, &(nas_backward){.weights = true});
    for (int s = 0; s < GOLDEN_SLOTS; s++)
        for (int c = 0; c < net.model->slot[s].count; c++) {
            const size_t offset = net.model->slot[s].offset[c];
            const size_t count = nas_layer_floats(&net.model->slot[s].layer[c]);
            const float *momentum = net.model->momentum + offset;
            float sum = 0;
            for (size_t i = 0; i < count; i++)
                sum += momentum[i] != 0.0f;
            if (c == choice[s] && count > 0) {
                cr_expect_gt(sum, 0, "slot %d, candidate %d: no momentum", s, c);
            } else {
                cr_expect_eq(sum, 0, "slot %d, candidate %d: momentum", s, c);
                cr_expect(same_bits(params + offset, net.model->params + offset, count),
                          "slot %d, candidate %d: parameters", s, c);
            }
        }
    free(params);
    nas_exec_free(exec);
}

/* Length of the gradient that the last nas_exec_sgd used (it shortens in place). */
static double gradient_length(nas_exec *exec)
{
    double squares = 0;

    for (int s = 0; s < GOLDEN_SLOTS; s++) {
        const nas_layer *layer = &net.model->slot[s].layer[choice[s]];
        const float *grads = nas_exec_grads(exec, s);
        for (size_t i = 0; grads != NULL && i < layer->weights + layer->vectors; i++)
            squares += (double)grads[i] * grads[i];
    }
    return sqrt(squares);
}

Test(nas_model_exec, long_gradients_are_shortened_and_short_ones_are_not)
{
    static const nas_backward weights = {.weights = true};
    nas_exec *exec = new_exec();
    float dlogits[LOGITS];
    nas_sgd clipped = {.clip_norm = 1e9f}; /* lr 0: the parameters stay */
    double lengths[3];

    for (int i = 0; i < 3; i++) {
        nas_kernels_get()->cross_entropy(GOLDEN_BATCH, GOLDEN_CLASSES,
                                         forward(exec, GOLDEN_BATCH, true), net.targets, dlogits);
        nas_exec_backward(exec, dlogits, &weights);
        const double before = gradient_length(exec);
        nas_exec_sgd(exec, &clipped);
        lengths[i] = gradient_length(exec);
        if (i == 0)
            cr_expect_eq(lengths[0], before);
        clipped.clip_norm = i == 0 ? (float)(lengths[0] / 4) : 0;
    }
    cr_expect_float_eq(lengths[1], lengths[0] / 4, 1e-5 * lengths[0]); /* float32 products */
    cr_expect_eq(lengths[2], lengths[0]);
    nas_exec_free(exec);
}

Test(nas_model_exec, gate_gradients_leave_inactive_running_statistics_alone)
{
    nas_exec *exec = new_exec();
    double gate_grad[GOLDEN_SLOTS * NAS_MAX_CANDIDATES];
    uint64_t gates[GOLDEN_SLOTS] = {0, 7, 15, 3};
    float *params = copy_of(net.model->params, net.model->floats);

    step(exec, &(nas_backward){.gates = gates, .gate_grad = gate_grad});
    for (int s = 0; s < GOLDEN_SLOTS; s++)
        for (int c = 0; c < net.model->slot[s].count; c++)
            if (c != choice[s])
                cr_expect(same_bits(params + net.model->slot[s].offset[c],
                                    net.model->params + net.model->slot[s].offset[c],
                                    nas_layer_floats(&net.model->slot[s].layer[c])),
                          "slot %d, candidate %d", s, c);
    free(params);
    nas_exec_free(exec);
}

Test(nas_model_exec, bits_of_training_do_not_depend_on_the_number_of_threads)
{
    enum { STEPS = 4 };
    float *expected = NULL;
    double expected_gates[GOLDEN_SLOTS * NAS_MAX_CANDIDATES];

    for (int threads = 1; threads <= 4; threads++) {
        double gate_grad[GOLDEN_SLOTS * NAS_MAX_CANDIDATES] = {0};
        const uint64_t gates[GOLDEN_SLOTS] = {0, 7, 15, 3};
        omp_set_num_threads(threads);
        golden_supernet_reset(&net);
        nas_exec *exec = new_exec();
        for (int i = 0; i < STEPS; i++)
            step(exec, &(nas_backward){.weights = true, .gates = gates, .gate_grad = gate_grad});
        if (threads == 1) {
            expected = copy_of(net.model->params, net.model->floats);
            memcpy(expected_gates, gate_grad, sizeof gate_grad);
        }
        cr_expect(same_bits(net.model->params, expected, net.model->floats), "%d threads", threads);
        cr_expect_arr_eq(gate_grad, expected_gates, sizeof gate_grad, "gates, %d threads", threads);
        nas_exec_free(exec);
    }
    free(expected);
}

Test(nas_model_exec, passes_stay_within_their_plan)
{
    nas_exec *exec = new_exec();
    double gate_grad[GOLDEN_SLOTS * NAS_MAX_CANDIDATES];
    const uint64_t gates[GOLDEN_SLOTS] = {0, 7, 15, 3};

    step(exec, &(nas_backward){.weights = true, .gates = gates, .gate_grad = gate_grad});
    forward(exec, GOLDEN_BATCH, false);
    cr_expect_leq(nas_exec_peak_bytes(exec), nas_exec_planned_bytes(exec));
    nas_exec_free(exec);
}

Test(nas_model_exec, folded_network_gives_the_evaluated_logits)
{
    nas_exec *exec = new_exec();
    nas_infer *infer;

    for (int i = 0; i < 3; i++) /* running statistics away from 0 and 1 */
        step(exec, &(nas_backward){.weights = true});
    float *expected = copy_of(forward(exec, GOLDEN_BATCH, false), LOGITS);
    cr_assert_eq(nas_infer_new(&infer, net.model, choice, GOLDEN_BATCH, NULL), NAS_OK);
    cr_expect_eq(nas_infer_output_floats(infer), GOLDEN_CLASSES);
    double error = test_error(nas_infer_run(infer, GOLDEN_BATCH, net.x), expected, LOGITS);
    cr_expect_lt(error, 1e-5, "error %.3g", error);

    const size_t image = nas_infer_input_floats(infer);
    cr_expect_eq(image * GOLDEN_BATCH, net.images);
    for (int i = 0; i < GOLDEN_BATCH; i++) { /* one by one: neighbours have no influence */
        error = test_error(nas_infer_run(infer, 1, net.x + (size_t)i * image),
                           expected + i * GOLDEN_CLASSES, GOLDEN_CLASSES);
        cr_expect_lt(error, 1e-5, "image %d: error %.3g", i, error);
    }
    nas_infer_free(infer);
    nas_exec_free(exec);
    free(expected);
}

Test(nas_model_exec, steps_allocate_nothing)
{
    nas_exec *exec = new_exec();
    double gate_grad[GOLDEN_SLOTS * NAS_MAX_CANDIDATES];
    const uint64_t gates[GOLDEN_SLOTS] = {0, 7, 15, 3};

    cr_assert_gt(allocations, 0); /* the counters count */
    const long before = allocations;
    step(exec, &(nas_backward){.weights = true});
    step(exec, &(nas_backward){.gates = gates, .gate_grad = gate_grad});
    forward(exec, GOLDEN_BATCH, false);
    cr_expect_eq(allocations, before, "%ld allocations", allocations - before);
    nas_exec_free(exec);
}

Test(nas_model_exec, what_can_never_fit_into_memory_is_refused_at_once)
{
    const nas_model_slot *first = &net.model->slot[0];
    const size_t bytes = sizeof(float) * (size_t)(first->out_h * first->out_w * first->out_c);
    nas_exec *exec;
    nas_err err;

    /* the output of the first slot and two gradients of its size are more than there is */
    cr_assert_eq(nas_exec_new(&exec, net.model, (int)(nas_system_memory() / (3 * bytes)) + 64, &err),
                 NAS_E_NOMEM);
    cr_assert_null(exec);
    cr_expect(strstr(err.hint, "use a smaller batch") != NULL);
}

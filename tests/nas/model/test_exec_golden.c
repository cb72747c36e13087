/* Whole steps of a supernet against PyTorch: loss, every gradient, ten SGD steps. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/model/exec.h"
#include "tests/nas/model/golden_supernet.h"
#include "tests/support/numeric.h"

/* Relative to the largest element of the expected tensor, or to `smallest` where that is
 * smaller: the gradient of a beta that batch norm takes out again is 0 but for rounding.
 * The golden values are float64. The worst seen is 8.3e-6, reference, portable and
 * avx2 kernels, gcc 12. */
static const double tolerance = 2e-5, smallest = 1e-2;

static const char *const paths[] = {"path", "skip"};
enum { PATHS = 2 };

static void expect(const char *path, const char *what, const float *found, const float *expected,
                   size_t count)
{
    double worst = 0, scale = smallest;

    for (size_t i = 0; i < count; i++) {
        const double difference = fabs((double)found[i] - (double)expected[i]);
        worst = isfinite(difference) ? fmax(worst, difference) : INFINITY;
        scale = fmax(scale, fabs((double)expected[i]));
    }
    cr_expect_lt(worst / scale, tolerance, "%s, %s, %s: error %.3g", nas_kernels_get()->name, path,
                 what, worst / scale);
}

/* Forward in training mode and the gradient of plain cross-entropy. */
static double forward(nas_exec *exec, const golden_supernet *net, const int *choice,
                      float *dlogits)
{
    const nas_forward how = {.train = true, .keep = true, .bn_momentum = 0.1f};
    const float *logits = nas_exec_forward(exec, choice, GOLDEN_BATCH, net->x, &how);

    return nas_kernels_get()->cross_entropy(GOLDEN_BATCH, GOLDEN_CLASSES, logits, net->targets,
                                            dlogits);
}

/* Runs `check` on fresh weights for every path and every set of kernels. */
static void for_each_path(void (*check)(golden_supernet *net, nas_exec *exec, const char *path))
{
    golden_supernet net;

    golden_supernet_init(&net);
    for (const char *const *name = nas_kernels_names(); *name; name++)
        for (int i = 0; i < PATHS; i++) {
            nas_exec *exec;
            nas_kernels_use(*name);
            golden_supernet_reset(&net);
            cr_assert_eq(nas_exec_new(&exec, net.model, GOLDEN_BATCH, NULL), NAS_OK);
            check(&net, exec, paths[i]);
            nas_exec_free(exec);
        }
    golden_supernet_fini(&net);
}

/* Compares every parameter of a candidate of the path with golden "<name>.<suffix>";
 * `suffix` depends on whether it is trained. */
static void expect_params(const golden_supernet *net, const char *path, int slot, int candidate,
                          const float *trained, const char *trained_suffix, const float *state,
                          const char *state_suffix)
{
    const nas_layer *layer = &net->model->slot[slot].layer[candidate];
    char prefix[32], name[96];

    nas_model_prefix(slot, candidate, prefix);
    for (int i = 0; i < layer->params; i++) {
        const nas_param *p = &layer->param[i];
        const bool is_state = p->kind >= NAS_PARAM_MEAN;
        const char *suffix = is_state ? state_suffix : trained_suffix;
        if (suffix == NULL)
            continue;
        float *found = test_floats(p->count, 1);
        snprintf(name, sizeof name, "%s.%s.%s", prefix, p->name, suffix);
        nas_param_to_torch(p, is_state ? state : trained, found);
        expect(path, name, found, golden_floats(net->file, path, name, p->count), p->count);
        free(found);
    }
}

static void check_weight_step(golden_supernet *net, nas_exec *exec, const char *path)
{
    int choice[GOLDEN_SLOTS], others[GOLDEN_SLOTS];
    float dlogits[GOLDEN_BATCH * GOLDEN_CLASSES];
    float *dx = test_floats(net->images, 1);

    golden_supernet_path(net, path, choice, others);
    const double loss = forward(exec, net, choice, dlogits);
    const double expected = *golden_floats(net->file, path, "loss", 1);
    cr_expect_float_eq(loss, expected, 1e-6, "%s, %s: loss %.9g, not %.9g", nas_kernels_get()->name,
                       path, loss, expected);
    nas_exec_backward(exec, dlogits, &(nas_backward){.weights = true, .images = dx});
    expect(path, "dx", dx, golden_floats(net->file, path, "dx", net->images), net->images);
    for (int s = 0; s < GOLDEN_SLOTS; s++)
        expect_params(net, path, s, choice[s], nas_exec_grads(exec, s), "grad",
                      net->model->params + net->model->slot[s].offset[choice[s]], "after");
    free(dx);
}

Test(nas_model_exec_golden, weight_step_gives_pytorchs_loss_and_gradients)
{
    for_each_path(check_weight_step);
}

static void expect_gates(const golden_supernet *net, const char *path, const char *mode,
                         const uint64_t *gates, const double *found)
{
    for (int s = 0; s < GOLDEN_SLOTS; s++) {
        const int count = net->model->slot[s].count;
        char name[32];
        double worst = 0, scale = 0;

        if (count == 1)
            continue;
        snprintf(name, sizeof name, "%s.gate%d", mode, s);
        const float *expected = golden_floats(net->file, path, name, (size_t)count);
        for (int c = 0; c < count; c++) {
            const double g = found[s * NAS_MAX_CANDIDATES + c];
            scale = fmax(scale, fabs((double)expected[c]));
            if (gates[s] >> c & 1)
                worst = fmax(worst, isfinite(g) ? fabs(g - (double)expected[c]) : INFINITY);
            else
                cr_expect(isnan(g), "%s, %s, %s: candidate %d was not wanted",
                          nas_kernels_get()->name, path, name, c);
        }
        cr_expect_lt(worst / scale, tolerance, "%s, %s, %s: error %.3g", nas_kernels_get()->name,
                     path, name, worst / scale);
    }
}

static void check_gates(golden_supernet *net, nas_exec *exec, const char *path)
{
    int choice[GOLDEN_SLOTS], others[GOLDEN_SLOTS];
    float dlogits[GOLDEN_BATCH * GOLDEN_CLASSES];
    double found[GOLDEN_SLOTS * NAS_MAX_CANDIDATES];

    golden_supernet_path(net, path, choice, others);
    for (int two = 0; two < 2; two++) {
        uint64_t gates[GOLDEN_SLOTS] = {0};
        for (int s = 0; s < GOLDEN_SLOTS; s++) {
            const int count = net->model->slot[s].count;
            if (count > 1)
                gates[s] = two ? (uint64_t)1 << choice[s] | (uint64_t)1 << others[s]
                               : ((uint64_t)1 << count) - 1;
        }
        for (int i = 0; i < GOLDEN_SLOTS * NAS_MAX_CANDIDATES; i++)
            found[i] = NAN;
        forward(exec, net, choice, dlogits);
        nas_exec_backward(exec, dlogits, &(nas_backward){.gates = gates, .gate_grad = found});
        expect_gates(net, path, two ? "two" : "full", gates, found);
    }
}

Test(nas_model_exec_golden, gate_gradients_are_pytorchs_in_both_modes)
{
    for_each_path(check_gates);
}

static void check_training(golden_supernet *net, nas_exec *exec, const char *path)
{
    enum { STEPS = 10 };
    /* Steps amplify a rounding, so more than 1e-6 is left; worst seen 3e-7. */
    const double loss_tolerance = 1e-5;
    const nas_sgd sgd = {
        .lr = 0.05f, .momentum = 0.9f, .decay = 4e-5f, .nesterov = true, .decay_vectors = true};
    int choice[GOLDEN_SLOTS], others[GOLDEN_SLOTS];
    float dlogits[GOLDEN_BATCH * GOLDEN_CLASSES];

    if (strcmp(path, "path") != 0)
        return;
    golden_supernet_path(net, path, choice, others);
    const float *expected = golden_floats(net->file, "train", "losses", STEPS);
    for (int step = 0; step < STEPS; step++) {
        const double loss = forward(exec, net, choice, dlogits);
        cr_expect_float_eq(loss, (double)expected[step], loss_tolerance,
                           "%s, step %d: loss %.9g, not %.9g, difference %.3g",
                           nas_kernels_get()->name, step, loss, (double)expected[step],
                           loss - (double)expected[step]);
        nas_exec_backward(exec, dlogits, &(nas_backward){.weights = true});
        nas_exec_sgd(exec, &sgd);
    }
    for (int s = 0; s < GOLDEN_SLOTS; s++) {
        const float *params = net->model->params + net->model->slot[s].offset[choice[s]];
        expect_params(net, "train", s, choice[s], params, "after", params, NULL);
    }
}

Test(nas_model_exec_golden, ten_sgd_steps_follow_pytorchs_losses_and_weights)
{
    for_each_path(check_training);
}

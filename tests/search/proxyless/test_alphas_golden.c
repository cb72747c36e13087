/* The gradient of the architecture parameters in a whole supernet, against PyTorch. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "nas/model/exec.h"
#include "search/proxyless/alphas.h"
#include "tests/nas/model/golden_supernet.h"

/* Relative to the largest gradient of the slot, as for the gates that they are made of
 * (tests/nas/model/test_exec_golden.c). */
static const double tolerance = 2e-5;

static void set_alphas(nas_alphas *alphas, const golden_supernet *net)
{
    char name[32];

    cr_assert_eq(nas_alphas_init(alphas, &net->space, 1, NULL), NAS_OK);
    for (int s = 0; s < GOLDEN_SLOTS; s++) {
        if (alphas->count[s] == 1)
            continue;
        snprintf(name, sizeof name, "alpha%d", s);
        const float *values = golden_floats(net->file, NULL, name, (size_t)alphas->count[s]);
        for (int c = 0; c < alphas->count[s]; c++)
            alphas->alpha[alphas->first[s] + c] = (double)values[c];
    }
    nas_alphas_softmax(alphas);
}

/* Gate gradients of one step over the path; NAN where none was wanted. */
static void gate_gradients(const golden_supernet *net, nas_exec *exec, const nas_path *path,
                           double *found)
{
    const nas_forward how = {.train = true, .keep = true, .bn_momentum = 0.1f};
    float dlogits[GOLDEN_BATCH * GOLDEN_CLASSES];

    for (int i = 0; i < GOLDEN_SLOTS * NAS_MAX_CANDIDATES; i++)
        found[i] = NAN;
    const float *logits = nas_exec_forward(exec, path->choice, GOLDEN_BATCH, net->x, &how);
    nas_kernels_get()->cross_entropy(GOLDEN_BATCH, GOLDEN_CLASSES, logits, net->targets, dlogits);
    nas_exec_backward(exec, dlogits, &(nas_backward){.gates = path->gates, .gate_grad = found});
}

static void expect_gradient(const golden_supernet *net, const nas_alphas *alphas, const char *path,
                            const char *mode)
{
    for (int s = 0; s < GOLDEN_SLOTS; s++) {
        char name[32];
        double worst = 0.0, scale = 0.0;

        if (alphas->count[s] == 1)
            continue;
        snprintf(name, sizeof name, "%s.alpha%d", mode, s);
        const float *expected = golden_floats(net->file, path, name, (size_t)alphas->count[s]);
        for (int c = 0; c < alphas->count[s]; c++) {
            const double g = alphas->grad[alphas->first[s] + c];
            scale = fmax(scale, fabs((double)expected[c]));
            worst = fmax(worst, isfinite(g) ? fabs(g - (double)expected[c]) : INFINITY);
        }
        cr_expect_gt(scale, 0.0);
        cr_expect_leq(worst, tolerance * scale, "%s, %s, %s: error %.3g of %.3g",
                      nas_kernels_get()->name, path, name, worst, scale);
    }
}

static void check(golden_supernet *net, nas_exec *exec, const char *name, nas_arch_mode mode)
{
    double gates[GOLDEN_SLOTS * NAS_MAX_CANDIDATES], q[GOLDEN_SLOTS * NAS_MAX_CANDIDATES];
    nas_alphas alphas;
    nas_path path = {.gates = {0}};

    golden_supernet_reset(net);
    set_alphas(&alphas, net);
    golden_supernet_path(net, name, path.choice, path.other);
    for (int s = 0; s < GOLDEN_SLOTS; s++)
        if (alphas.count[s] > 1)
            path.gates[s] = mode == NAS_ARCH_TWO
                                ? (uint64_t)1 << path.choice[s] | (uint64_t)1 << path.other[s]
                                : ((uint64_t)1 << alphas.count[s]) - 1;
    gate_gradients(net, exec, &path, gates);
    nas_alphas_step_probabilities(&alphas, &path, mode, q);
    nas_alphas_add_gate_gradient(&alphas, q, gates, 1.0);
    expect_gradient(net, &alphas, name, mode == NAS_ARCH_TWO ? "two" : "full");
    nas_alphas_fini(&alphas);
}

Test(search_alphas_golden, gradients_are_pytorchs_in_both_modes)
{
    static const char *const paths[] = {"path", "skip"};
    golden_supernet net;

    golden_supernet_init(&net);
    for (const char *const *kernels = nas_kernels_names(); *kernels != NULL; kernels++) {
        nas_exec *exec;
        nas_kernels_use(*kernels);
        cr_assert_eq(nas_exec_new(&exec, net.model, GOLDEN_BATCH, NULL), NAS_OK);
        for (int i = 0; i < 2; i++) {
            check(&net, exec, paths[i], NAS_ARCH_FULL);
            check(&net, exec, paths[i], NAS_ARCH_TWO);
        }
        nas_exec_free(exec);
    }
    golden_supernet_fini(&net);
}

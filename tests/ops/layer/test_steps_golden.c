/* Losses, optimizers and dropout against PyTorch, for every set of kernels. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernel/kernel.h"
#include "tests/support/golden.h"
#include "tests/support/numeric.h"

/* Relative to the largest element; golden values are float64.  The worst seen is 2e-7. */
static const double tolerance = 1e-6;

enum { ROWS = 5, CLASSES = 7, WEIGHTS = 19, STEPS = 3 };

static void check_loss(const nas_kernels *k, const golden *file, const char *name, float smoothing)
{
    float targets[ROWS * CLASSES], grad[ROWS * CLASSES];
    const float *logits = golden_floats(file, name, "logits", ROWS * CLASSES);
    const double expected = *golden_floats(file, name, "loss", 1);

    if (smoothing < 0) { /* soft labels */
        memcpy(targets, golden_floats(file, name, "targets", ROWS * CLASSES), sizeof targets);
    } else {
        const float *labels = golden_floats(file, name, "labels", ROWS);
        for (int i = 0; i < ROWS * CLASSES; i++)
            targets[i] = smoothing / CLASSES +
                         (i % CLASSES == (int)labels[i / CLASSES] ? 1 - smoothing : 0);
    }
    const double loss = k->cross_entropy(ROWS, CLASSES, logits, targets, grad);
    cr_expect_float_eq(loss, expected, tolerance * expected, "%s, %s: %.9g, not %.9g", k->name,
                       name, loss, expected);
    const double error =
        test_error(grad, golden_floats(file, name, "grad", ROWS * CLASSES), ROWS * CLASSES);
    cr_expect_lt(error, tolerance, "%s, %s: error of the gradient %.3g", k->name, name, error);
}

static void update(const nas_kernels *k, const json_t *c, const float *grad, float *w, float *m,
                   float *v, long step)
{
    const json_t *betas = json_object_get(c, "betas");
    const float lr = (float)golden_real(c, "lr"), decay = (float)golden_real(c, "weight_decay");

    if (betas == NULL)
        k->sgd(WEIGHTS, w, grad, m, lr, (float)golden_real(c, "momentum"), decay,
               golden_int(c, "nesterov"));
    else
        k->adam(WEIGHTS, w, grad, m, v, lr, (float)json_number_value(json_array_get(betas, 0)),
                (float)json_number_value(json_array_get(betas, 1)), (float)golden_real(c, "eps"),
                decay, step);
}

static void check_optimizer(const nas_kernels *k, const golden *file, const json_t *c)
{
    const char *name = json_string_value(json_object_get(c, "name"));
    float w[WEIGHTS], m[WEIGHTS] = {0}, v[WEIGHTS] = {0};

    memcpy(w, golden_floats(file, name, "w", WEIGHTS), sizeof w);
    for (int step = 1; step <= STEPS; step++) {
        char grad[16], after[16];
        snprintf(grad, sizeof grad, "grad%d", step);
        snprintf(after, sizeof after, "w%d", step);
        update(k, c, golden_floats(file, name, grad, WEIGHTS), w, m, v, step);
        const double error = test_error(w, golden_floats(file, name, after, WEIGHTS), WEIGHTS);
        cr_expect_lt(error, tolerance, "%s, %s, step %d: error %.3g", k->name, name, step, error);
    }
}

static golden *open_steps(void) { return golden_open(NAS_SOURCE_DIR "/tests/golden/steps.safetensors"); }

Test(ops_steps_golden, cross_entropy_gives_pytorchs_loss_and_gradient)
{
    golden *file = open_steps();

    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const nas_kernels *k = nas_kernels_find(*name);
        check_loss(k, file, "loss_hard", 0.0f);
        check_loss(k, file, "loss_smooth", 0.1f);
        check_loss(k, file, "loss_soft", -1.0f);
    }
    golden_close(file);
}

Test(ops_steps_golden, optimizers_take_pytorchs_steps)
{
    golden *file = open_steps();
    const json_t *cases = golden_cases(file);
    int checked = 0;

    for (const char *const *name = nas_kernels_names(); *name; name++)
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *c = json_array_get(cases, i);
            if (json_object_get(c, "lr") == NULL)
                continue;
            check_optimizer(nas_kernels_find(*name), file, c);
            checked++;
        }
    cr_expect_geq(checked, 6);
    golden_close(file);
}

/* PyTorch's scaling, with a mask of our own. */
Test(ops_steps_golden, dropout_zeroes_its_share_and_scales_the_rest)
{
    enum { COUNT = 20000 };
    const float ratio = 0.3f;
    float *x = test_floats(COUNT, 1), *y = test_floats(COUNT, 2), *z = test_floats(COUNT, 3);

    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const nas_kernels *k = nas_kernels_find(*name);
        int dropped = 0, wrong = 0;

        k->dropout(0, COUNT, ratio, 1, 1, x, y);
        for (int i = 0; i < COUNT; i++) {
            dropped += y[i] == 0.0f;
            wrong += y[i] != 0.0f && fabsf(y[i] - x[i] / (1 - ratio)) > 1e-6f;
        }
        cr_expect_eq(wrong, 0, "%s: %d values are not scaled by 1/(1 - ratio)", *name, wrong);
        /* 4 standard deviations of the binomial distribution */
        cr_expect_lt(fabs(dropped - COUNT * (double)ratio), 4 * sqrt(COUNT * 0.3 * 0.7), "%s: %d",
                     *name, dropped);
        k->dropout(0, COUNT, ratio, 1, 1, x, z);
        cr_expect_arr_eq(y, z, COUNT * sizeof *y, "%s: the mask is not repeated", *name);
        k->dropout(0, COUNT, ratio, 1, 2, x, z);
        cr_expect_arr_neq(y, z, COUNT * sizeof *y, "%s: two steps share a mask", *name);
        k->dropout(0, COUNT, ratio, 2, 1, x, z);
        cr_expect_arr_neq(y, z, COUNT * sizeof *y, "%s: two seeds share a mask", *name);
    }
    free(x);
    free(y);
    free(z);
}

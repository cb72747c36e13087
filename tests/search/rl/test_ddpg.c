/* The learner's gradients against finite differences, and its updates against PyTorch's. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/rl/ddpg.h"
#include "tests/support/numeric.h"

enum { IN = 5, HIDDEN = 11, OUT = 2, ROWS = 7 };

typedef struct rig {
    nas_rl__net net;
    nas_rl__tape tape;
    float *params, *grads, x[ROWS * IN], dx[ROWS * IN], r[ROWS * OUT];
} rig;

static double projected(void *user)
{
    const rig *t = user;

    memcpy(t->tape.y[0], t->x, sizeof t->x);
    nas_rl__net_forward(&t->net, t->params, ROWS, &t->tape);
    return test_dot(t->tape.y[NAS_RL__LAYERS], t->r, ROWS * OUT);
}

static void check_gradients(bool sigmoid)
{
    rig t = {.net = nas_rl__net_make(IN, HIDDEN, OUT, sigmoid)};
    nas_rng rng;

    cr_assert(nas_rl__tape_init(&t.tape, &t.net, ROWS));
    t.params = test_floats(t.net.floats, 1);
    t.grads = test_floats(t.net.floats, 2);
    test_fill(t.x, ROWS * IN, 3);
    test_fill(t.r, ROWS * OUT, 4);
    nas_rng_init(&rng, 1, "test", 0);
    nas_rl__net_reset(&t.net, IN, &rng, t.params);
    projected(&t);
    memcpy(t.tape.delta[0], t.r, sizeof t.r);
    nas_rl__net_backward(&t.net, t.params, ROWS, &t.tape, t.grads, t.dx);
    /* 2e-4 is the error of float differences with this step; 3e-5 to 1.2e-4 seen */
    const double weights =
        test_gradcheck(projected, &t, t.params, t.grads, t.net.floats, 1e-2, 1000);
    const double inputs = test_gradcheck(projected, &t, t.x, t.dx, ROWS * IN, 1e-2, 1000);
    cr_expect_lt(weights, 5e-3, "weights: %g", weights);
    cr_expect_lt(inputs, 5e-3, "inputs: %g", inputs);
    nas_rl__tape_fini(&t.tape);
    free(t.params);
    free(t.grads);
}

Test(search_ddpg, gradients_match_differences)
{
    check_gradients(false);
    check_gradients(true);
}

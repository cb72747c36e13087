/* The learner's gradients against finite differences, and its updates against PyTorch's. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/rl/ddpg.h"
#include "tests/support/numeric.h"
#include "tests/support/scratch.h"
#include "tests/support/tools.h"

TestSuite(search_ddpg, .init = scratch_init, .fini = scratch_fini);

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
    nas_rl__net_backward(&t.net, t.params, ROWS, &t.tape, 0.0f, t.grads, t.dx);
    /* differences of float losses, some of them across a ReLU's kink */
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

/* Three updates, each on all the transitions there are. */
Test(search_ddpg, updates_match_pytorch)
{
    enum { STATES = 3, ACTIONS = 2, COUNT = 12, UPDATES = 3 };
    nas_agent_config config = nas_agent_amc(NAS_AGENT_DDPG, COUNT, 1);
    nas_rl__ddpg_agent *d;
    nas_err err;
    double actor, critic;

    need_python("torch");
    config.hidden = 16;
    config.discount = 0.9;
    config.actor_lr = 1e-3;
    config.critic_lr = 3e-3;
    config.restraint = 0.2;
    cr_assert_eq(nas_rl__ddpg_new(&d, STATES, ACTIONS, &config, &err), NAS_OK);
    nas_rl__ddpg_reset(d, 1);
    for (int i = 0; i < COUNT; i++) {
        float x[2 * STATES], u[ACTIONS];

        test_fill(x, 2 * STATES, 10 + (unsigned)i);
        test_fill_range(u, ACTIONS, 50 + (unsigned)i, 0.0f, 1.0f);
        nas_rl__ddpg_store(d, x, u, 0.5 * (double)x[0] + 1.0, x + STATES, i % 4 == 3);
    }
    FILE *file = fopen(scratch("data"), "wb");
    fwrite(d->actor.params, sizeof(float), d->actor.net.floats, file);
    fwrite(d->critic.params, sizeof(float), d->critic.net.floats, file);
    fwrite(d->replay.states, sizeof(float), COUNT * STATES, file);
    fwrite(d->replay.actions, sizeof(float), COUNT * ACTIONS, file);
    for (int i = 0; i < COUNT; i++)
        fwrite(&(float){(float)d->replay.rewards[i]}, sizeof(float), 1, file);
    fwrite(d->replay.next, sizeof(float), COUNT * STATES, file);
    for (int i = 0; i < COUNT; i++)
        fwrite(&(float){(float)d->replay.done[i]}, sizeof(float), 1, file);
    for (int i = 0; i < UPDATES; i++)
        nas_rl__ddpg_update(d, &config);
    fwrite(d->actor.params, sizeof(float), d->actor.net.floats, file);
    fwrite(d->critic.params, sizeof(float), d->critic.net.floats, file);
    cr_assert_eq(fclose(file), 0);
    nas_rl__ddpg_free(d);
    const process_result *said =
        RUN_TOOL("/usr/bin/python3", NAS_SOURCE_DIR "/tests/search/rl/ddpg.py", scratch("data"),
                 "3", "2", "16", "12", "3");
    cr_assert_eq(said->code, 0, "%s", said->err);
    cr_assert_eq(sscanf(said->out, "%lf %lf", &actor, &critic), 2, "%s", said->out);
    cr_expect_lt(actor, 5e-4, "actor: %g", actor); /* float32 against float64: 2e-5 seen */
    cr_expect_lt(critic, 5e-4, "critic: %g", critic);
}

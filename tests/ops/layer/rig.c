/* See rig.h. */
#include "tests/ops/layer/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/numeric.h"

enum { MAX_THREADS = 4 };

static void move(float *values, size_t count, unsigned seed, float low, float high)
{
    test_fill_range(values, count, seed, low, high);
}

static void draw_params(rig *r)
{
    nas_layer_reset(&r->layer, r->params, 1, "rig");
    for (int i = 0; i < r->layer.params; i++) {
        const nas_param *p = &r->layer.param[i];
        float *values = r->params + p->offset;
        const unsigned seed = 100 + (unsigned)i;

        if (p->kind == NAS_PARAM_GAMMA || p->kind == NAS_PARAM_VAR)
            move(values, p->count, seed, 0.3f, 0.7f);
        else if (p->kind >= NAS_PARAM_BIAS)
            move(values, p->count, seed, -0.2f, 0.2f);
    }
}

void rig_init(rig *r, const nas_op_spec *spec, int n, int h, int w, const char *kernels)
{
    nas_err err;

    *r = (rig){0};
    if (!nas_kernels_use(kernels) || nas_layer_init(&r->layer, spec, h, w, &err) != NAS_OK) {
        fprintf(stderr, "%s, %s: %s\n", kernels, nas_op_name(spec->type), err.message);
        abort();
    }
    r->xs = (size_t)n * (size_t)h * (size_t)w * (size_t)spec->in;
    r->ys = (size_t)n * (size_t)r->layer.oh * (size_t)r->layer.ow * (size_t)spec->out;
    r->floats = nas_layer_floats(&r->layer);
    r->params = test_floats(r->floats, 1);
    r->grads = test_floats(r->floats, 1);
    r->x = test_floats(r->xs, 2);
    r->y = test_floats(r->ys, 3);
    r->dy = test_floats(r->ys, 4);
    r->dx = test_floats(r->xs, 5);
    memset(r->grads, 0, r->floats * sizeof *r->grads);
    draw_params(r);
    const size_t scratch = nas_arena_round(nas_layer_scratch(&r->layer, n, MAX_THREADS) + 1);
    if (nas_arena_init(&r->arena, (size_t)1 << 28, &err) != NAS_OK)
        abort();
    r->run = (nas_run){.kernels = nas_kernels_get(), .arena = &r->arena,
                       .scratch = aligned_alloc(NAS_ALIGN, scratch), .n = n, .train = true,
                       .keep = true, .dropout = true, .bn_eps = 1e-3f, .seed = 7, .step = 3};
    if (r->run.scratch == NULL)
        abort();
}

void rig_fini(rig *r)
{
    nas_arena_fini(&r->arena);
    free(r->run.scratch);
    free(r->params);
    free(r->grads);
    free(r->x);
    free(r->y);
    free(r->dy);
    free(r->dx);
}

void rig_step(rig *r)
{
    const size_t mark = nas_arena_mark(&r->arena);
    float *dy = nas_arena_floats(&r->arena, r->ys);

    memcpy(dy, r->dy, r->ys * sizeof *dy);
    void *saved = nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    nas_layer_backward(&r->layer, &r->run, r->params, r->x, saved, dy, r->dx, false, r->grads);
    nas_arena_release(&r->arena, mark);
}

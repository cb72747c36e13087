/* Operations of the caller's, as the engine knows them. */
#include <string.h>

#include "lib/private.h"
#include "ops/layer/own.h"

static nas_op_kind kinds[NAS_OWN_MAX];
static int count;

static nas_op_shape shape_of(const nas_layer *layer)
{
    const nas_op_spec *s = &layer->spec;

    return (nas_op_shape){.h = layer->h, .w = layer->w, .in = s->in, .oh = layer->oh,
                          .ow = layer->ow, .out = s->out, .kernel = s->kernel,
                          .stride = s->stride > 0 ? s->stride : 1};
}

static void plan(void *user, const nas_layer *layer, nas_own_plan *out)
{
    const nas_op_kind *kind = user;
    const nas_op_shape shape = shape_of(layer);
    nas_op_needs needs = {.fan_in = 1};

    kind->plan(kind->user, &shape, &needs);
    *out = (nas_own_plan){.macs = needs.macs, .weights = needs.weights, .fan_in = needs.fan_in,
                          .kept_floats = needs.kept_floats};
}

static void forward(void *user, const nas_layer *layer, int n, const float *weights,
                    const float *x, float *y, float *kept)
{
    const nas_op_kind *kind = user;
    const nas_op_shape shape = shape_of(layer);

    kind->forward(kind->user, &shape, n, weights, x, y, kept);
}

static void backward(void *user, const nas_layer *layer, int n, const float *weights,
                     const float *x, const float *kept, const float *dy, float *dx,
                     float *dweights)
{
    const nas_op_kind *kind = user;
    const nas_op_shape shape = shape_of(layer);

    kind->backward(kind->user, &shape, n, weights, x, kept, dy, dx, dweights);
}

void nas_op_kind_init(nas_op_kind *kind, size_t size)
{
    const nas_op_kind empty = {.size = sizeof empty};

    nas_lib__init(kind, size, &empty, sizeof empty);
}

nas_status nas_op_register(const nas_op_kind *kind, nas_err *err)
{
    nas_op_kind copy = {0};
    nas_status status = nas_lib__options(&copy, sizeof copy, kind, err);

    if (status != NAS_OK)
        return status;
    if (copy.plan == NULL || copy.forward == NULL || copy.backward == NULL)
        return nas_fail(err, NAS_E_USAGE, "an operation needs plan, forward and backward");
    if (count == NAS_OWN_MAX)
        return nas_fail(err, NAS_E_CONFIG, "there are %d operations of one's own already", count);
    const nas_own_op op = {.name = copy.name, .window = copy.has_window != 0,
                           .widens = copy.widens != 0, .user = &kinds[count], .plan = plan,
                           .forward = forward, .backward = backward};
    kinds[count] = copy;
    if ((status = nas_own_register(&op, err)) == NAS_OK)
        count++;
    return status;
}

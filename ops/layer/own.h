/* Operations that a program adds to the registry while it runs: their table, which stands
 * beside the built-in one and leaves it as it is.
 *
 * In a specification such an operation is NAS_OP_OWN with its number in `own`; everything
 * that finds built-in operations by their type finds these behind that one entry. */
#ifndef NAS_OPS_LAYER_OWN_H
#define NAS_OPS_LAYER_OWN_H

#include "ops/layer/layer.h"

enum { NAS_OWN_MAX = 32, NAS_OWN_NAME_SIZE = 24 };

/** What an operation needs at one size. */
typedef struct nas_own_plan {
    int64_t macs;        /* an image                                                      */
    int64_t weights;     /* trained floats; must not depend on the input's height and width */
    int fan_in;          /* weights start as U(+-1/sqrt(fan_in)); it divides their number  */
    int64_t kept_floats; /* that forward keeps of each image for backward                 */
} nas_own_plan;

/** How an operation is run.  The callbacks see whole images, never a part of one, and may be
 * called from several threads at once for different images. */
typedef struct nas_own_op {
    const char *name;  /* in JSON files: a small letter, then small letters, digits and _ */
    bool window;       /* has "kernel" and "stride"                                       */
    bool widens;       /* its output may have other channels than its input               */
    void *user;
    void (*plan)(void *user, const nas_layer *layer, nas_own_plan *plan);
    /** y = op(x) of n images; kept [n][kept_floats], NULL when nothing shall be kept. */
    void (*forward)(void *user, const nas_layer *layer, int n, const float *weights,
                    const float *x, float *y, float *kept);
    /** dx (NULL: not wanted) is overwritten; the gradient of the weights is added to
     * dweights (NULL: not wanted). */
    void (*backward)(void *user, const nas_layer *layer, int n, const float *weights,
                     const float *x, const float *kept, const float *dy, float *dx,
                     float *dweights);
} nas_own_op;

/** Adds an operation for the life of the process; the name is copied.  Not while another thread
 * uses the engine.  NAS_E_CONFIG: the name is none or is taken, or there are NAS_OWN_MAX. */
nas_status nas_own_register(const nas_own_op *op, nas_err *err);

/** The operation of that number or name; NULL, -1: there is none. */
const nas_own_op *nas_own_get(int own);
int nas_own_find(const char *name);

/** The plan of NAS_OP_OWN at an input of h x w. The spec was checked. */
nas_own_plan nas_own_plan_at(const nas_op_spec *spec, int h, int w);
/** What nas_op_check asks of NAS_OP_OWN besides channels and window: the plan is possible. */
nas_status nas_own_check(const nas_op_spec *spec, nas_err *err);

#endif

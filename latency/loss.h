/* Latency in the loss of the architecture step.
 *
 * mul-log     L = a * CE * (ln E / ln ref)^b
 * add-linear  L = CE + lambda * (E - ref) / ref
 *
 * E is the expected latency, ref the target.  Both are ProxylessNAS's.  mul-log depends on
 * the unit of time and breaks at ref <= 1, since ln ref <= 0 there; the published one
 * counts milliseconds on a phone (ref 80).  We count E and ref in units of
 * min(1 ms, ref / 20): published formula to the digit from 20 ms on, below that the same
 * pull whatever the device's speed.  Below e units, faster than any target needs, ln E is
 * held at 1 with gradient 0, so that no power of a negative number is ever taken. */
#ifndef NAS_LATENCY_LOSS_H
#define NAS_LATENCY_LOSS_H

typedef enum nas_latency_loss_kind {
    NAS_LATENCY_MUL_LOG,
    NAS_LATENCY_ADD_LINEAR,
    NAS_LATENCY_LOSS_KINDS
} nas_latency_loss_kind;

typedef struct nas_latency_loss {
    nas_latency_loss_kind kind;
    double ref_ms; /* > 0 */
    double a, b;   /* mul-log    */
    double lambda; /* add-linear */
} nas_latency_loss;

/** The published settings: a 0.2, b 0.3, lambda 0.1.  ref_ms > 0. */
nas_latency_loss nas_latency_loss_default(nas_latency_loss_kind kind, double ref_ms);

/** "mul-log", "add-linear"; NAS_LATENCY_LOSS_KINDS if unknown. */
nas_latency_loss_kind nas_latency_loss_find(const char *name);
const char *nas_latency_loss_name(nas_latency_loss_kind kind);

typedef struct nas_latency_loss_value {
    double loss;
    double d_ce;      /* dL/dCE: the factor of the cross-entropy's gradient */
    double d_latency; /* dL/dE, per ms                                      */
} nas_latency_loss_value;

/** The loss and its derivatives at a cross-entropy `ce` and an expected latency `ms`. */
nas_latency_loss_value nas_latency_loss_at(const nas_latency_loss *loss, double ce, double ms);

#endif

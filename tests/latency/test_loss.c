/* The loss forms against the published example and finite differences. */
#include <criterion/criterion.h>
#include <math.h>

#include "latency/loss.h"

Test(latency_loss, mul_log_gives_the_published_example)
{
    const nas_latency_loss loss = nas_latency_loss_default(NAS_LATENCY_MUL_LOG, 80.0);
    const nas_latency_loss_value v = nas_latency_loss_at(&loss, 2.0, 100.0);

    cr_assert_float_eq(v.loss, 0.4060048, 5e-8); /* half of the last printed digit */
    cr_assert_float_eq(v.d_latency, 2.644885e-4, 5e-11);
    cr_assert_float_eq(v.d_ce, v.loss / 2.0, 1e-15);
}

Test(latency_loss, add_linear_gives_the_published_example)
{
    const nas_latency_loss loss = nas_latency_loss_default(NAS_LATENCY_ADD_LINEAR, 80.0);
    const nas_latency_loss_value v = nas_latency_loss_at(&loss, 2.0, 100.0);

    cr_assert_float_eq(v.loss, 2.025, 1e-12);
    cr_assert_float_eq(v.d_ce, 1.0, 0.0);
    cr_assert_float_eq(v.d_latency, 0.1 / 80.0, 1e-15);
}

Test(latency_loss, mul_log_is_the_published_formula_from_20_ms_on)
{
    for (double ref = 20.0; ref < 1000.0; ref *= 1.7) {
        const nas_latency_loss loss = nas_latency_loss_default(NAS_LATENCY_MUL_LOG, ref);
        const double e = 1.3 * ref;

        cr_assert_float_eq(nas_latency_loss_at(&loss, 1.5, e).loss,
                           0.2 * 1.5 * pow(log(e) / log(ref), 0.3), 1e-12, "ref %g", ref);
    }
}

Test(latency_loss, mul_log_pulls_alike_on_devices_of_any_speed)
{
    const nas_latency_loss slow = nas_latency_loss_default(NAS_LATENCY_MUL_LOG, 20.0);
    const nas_latency_loss_value expected = nas_latency_loss_at(&slow, 2.0, 25.0);

    for (double ref = 20.0; ref > 1e-4; ref /= 3.0) { /* across ref = 1 ms, where ln ref is 0 */
        const nas_latency_loss loss = nas_latency_loss_default(NAS_LATENCY_MUL_LOG, ref);
        const nas_latency_loss_value v = nas_latency_loss_at(&loss, 2.0, 1.25 * ref);

        cr_assert_float_eq(v.loss, expected.loss, 1e-12, "ref %g: %g", ref, v.loss);
        cr_assert_float_eq(v.d_latency * ref, expected.d_latency * 20.0, 1e-12, "ref %g", ref);
    }
}

Test(latency_loss, is_finite_and_grows_with_latency_everywhere)
{
    for (int kind = 0; kind < NAS_LATENCY_LOSS_KINDS; kind++)
        for (double ref = 1e-3; ref < 1e4; ref *= 10.0) {
            const nas_latency_loss loss =
                nas_latency_loss_default((nas_latency_loss_kind)kind, ref);
            double before = -INFINITY;

            for (double e = 0.0; e < 1e5; e = e * 1.5 + 1e-6) {
                const nas_latency_loss_value v = nas_latency_loss_at(&loss, 2.0, e);

                cr_assert(isfinite(v.loss) && isfinite(v.d_latency) && isfinite(v.d_ce));
                cr_assert_geq(v.loss, before, "%s ref %g E %g", nas_latency_loss_name(kind), ref,
                              e);
                cr_assert_geq(v.d_latency, 0.0);
                before = v.loss;
            }
        }
}

Test(latency_loss, derivatives_match_differences)
{
    const double points[][2] = {{80, 100}, {80, 60}, {5, 7}, {0.4, 0.3}, {0.9, 1.1}, {0.05, 0.2}};

    for (int kind = 0; kind < NAS_LATENCY_LOSS_KINDS; kind++)
        for (int i = 0; i < 6; i++) {
            const nas_latency_loss loss =
                nas_latency_loss_default((nas_latency_loss_kind)kind, points[i][0]);
            const double ce = 1.7, e = points[i][1], h = 1e-5;
            const nas_latency_loss_value v = nas_latency_loss_at(&loss, ce, e);
            const double d_ce = (nas_latency_loss_at(&loss, ce + h, e).loss -
                                 nas_latency_loss_at(&loss, ce - h, e).loss) / (2 * h);
            const double d_e = (nas_latency_loss_at(&loss, ce, e * (1 + h)).loss -
                                nas_latency_loss_at(&loss, ce, e * (1 - h)).loss) / (2 * h * e);

            /* differences in double with h 1e-5: worst relative error about 1e-9 */
            cr_assert_float_eq(v.d_ce, d_ce, 1e-8);
            cr_assert_float_eq(v.d_latency, d_e, 1e-7 * fabs(v.d_latency) + 1e-9);
        }
}

Test(latency_loss, names_and_kinds_find_each_other)
{
    for (int kind = 0; kind < NAS_LATENCY_LOSS_KINDS; kind++)
        cr_assert_eq((int)nas_latency_loss_find(nas_latency_loss_name(kind)), kind);
    cr_assert_eq(nas_latency_loss_find("mul#log"), NAS_LATENCY_LOSS_KINDS);
}

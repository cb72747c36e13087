/* Latency tables: measuring, and what they say. */
#include "latency/lut.h"
#include "latency/predict.h"
#include "latency/profile/profile.h"
#include "lib/private.h"
#include "lib/version.h"

static nas_profile_options profile_defaults(void)
{
    const nas_latency_profile_options d = nas_latency_profile_defaults();

    return (nas_profile_options){.size = sizeof(nas_profile_options), .max_seconds = d.seconds,
                                 .interval = d.interval, .seed = d.seed};
}

void nas_profile_options_init(nas_profile_options *options, size_t size)
{
    const nas_profile_options defaults = profile_defaults();

    nas_lib__init(options, size, &defaults, sizeof defaults);
}

nas_status nas_latency_measure(nas_latency_table **out, const nas_space *space,
                               const nas_profile_options *options, const nas_watch *watch,
                               nas_err *err)
{
    nas_latency_profile_options how = nas_latency_profile_defaults();
    nas_profile_options o = profile_defaults();
    nas_lib__observer watching;
    const nas_status status = nas_lib__options(&o, sizeof o, options, err);

    *out = NULL;
    if (status != NAS_OK)
        return status;
    if (!(o.max_seconds > 0.0) || !(o.interval > 0.0))
        return nas_fail(err, NAS_E_CONFIG, "profile: max_seconds and interval must be above 0");
    nas_lib__observe(&watching, watch, NULL);
    how.engine = "libnas " NAS_LIB_VERSION;
    how.seconds = o.max_seconds;
    how.least_seconds = how.least_seconds < o.max_seconds ? how.least_seconds : o.max_seconds;
    how.interval = o.interval;
    how.seed = o.seed;
    how.observer = &watching.observer;
    return nas_latency_profile(out, space, &how, err);
}

nas_status nas_latency_of(double *ms, const nas_latency_table *table, const nas_arch *arch,
                          nas_err *err)
{
    nas_latency_report report;
    const nas_status status = nas_latency_predict(&report, table, arch, 0, err);

    if (status != NAS_OK)
        return status;
    *ms = report.latency_ms;
    nas_latency_report_fini(&report);
    return NAS_OK;
}

nas_status nas_latency_range(double *fastest_ms, double *slowest_ms,
                             const nas_latency_table *table, const nas_space *space, nas_err *err)
{
    nas_latency_lut *lut = NULL;
    const nas_status status = nas_latency_lut_new(&lut, table, space, 0, err);

    if (status == NAS_OK)
        nas_latency_lut_range(lut, space, fastest_ms, slowest_ms, NULL, NULL);
    nas_latency_lut_free(lut);
    return status;
}

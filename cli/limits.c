/* What is told of limits that nothing meets. */
#include "cli/limits.h"

#include <math.h>

#include "cli/output.h"

json_t *cli_limits_infeasible(const nas_problem *problem, bool timed)
{
    json_t *reachable = json_object(), *together = json_object();
    json_t *about = json_pack("{s:b, s:n, s:o}", "feasible", 0, "arch", "reachable", reachable);
    bool alone = true;

    for (int k = timed ? 0 : NAS_COST_MACS; k < NAS_COSTS; k++) {
        const nas_cost_name *name = &nas_cost_names[k];
        double min, max;

        nas_problem_range(problem, (nas_cost)k, &min, &max);
        json_object_set_new(reachable, name->result,
                            json_pack("[f, f]", min / name->unit, max / name->unit));
        alone = alone && min <= problem->limit[k];
    }
    for (int k = 0; k < NAS_COSTS && alone; k++)
        if (problem->limit[k] < INFINITY)
            json_object_set_new(together, nas_cost_names[k].result,
                                cli_real(nas_problem_least(problem, (nas_cost)k) /
                                         nas_cost_names[k].unit));
    if (alone)
        json_object_set(about, "least_beside_other_limits", together);
    json_decref(together);
    return about;
}

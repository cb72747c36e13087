/* Searches: a supernet's, and evolution by a measure of the caller's. */
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "latency/lut.h"
#include "lib/private.h"
#include "search/evolution/evolution.h"
#include "search/proxyless/search.h"

enum { MAX_DERIVE_SAMPLES = 10000 };

_Static_assert((int)NAS_METHOD_RANDOM == (int)NAS_SEARCH_RANDOM, "the methods are the same");

static nas_search_options search_defaults(void)
{
    const nas_search_config d = nas_search_default(0.0);

    return (nas_search_options){.size = sizeof(nas_search_options),
                                .method = (nas_method)d.method, .warmup_epochs = d.warmup_epochs,
                                .epochs = d.epochs, .batch = d.batch,
                                .derive_samples = d.derive_samples, .augment = d.augment,
                                .seed = d.seed};
}

void nas_search_options_init(nas_search_options *options, size_t size)
{
    const nas_search_options defaults = search_defaults();

    nas_lib__init(options, size, &defaults, sizeof defaults);
}

static nas_status search_config(nas_search_config *config, const nas_search_options *o,
                                nas_err *err)
{
    if (!(o->target_ms > 0.0))
        return nas_fail(err, NAS_E_CONFIG, "search: target_ms must be set, and be above 0");
    if ((unsigned)o->method > NAS_METHOD_RANDOM)
        return nas_fail(err, NAS_E_CONFIG, "search: there is no method %d", (int)o->method);
    if (o->augment == NULL)
        return nas_fail(err, NAS_E_CONFIG, "search: augment is NULL; \"none\" says none");
    if (o->warmup_epochs < 0 || o->warmup_epochs > NAS_LIB_MAX_EPOCHS || o->epochs < 0 ||
        o->epochs > NAS_LIB_MAX_EPOCHS || o->batch < 2 || o->batch > NAS_LIB_MAX_BATCH ||
        o->derive_samples < 1 || o->derive_samples > MAX_DERIVE_SAMPLES ||
        !(o->max_minutes >= 0.0))
        return nas_fail(err, NAS_E_CONFIG, "search: at most %d epochs, batches of 2 to %d, 1 to %d "
                        "derive_samples, nothing negative", NAS_LIB_MAX_EPOCHS, NAS_LIB_MAX_BATCH,
                        MAX_DERIVE_SAMPLES);
    *config = nas_search_default(o->target_ms);
    config->method = (nas_search_method)o->method;
    config->warmup_epochs = o->warmup_epochs;
    config->epochs = o->epochs;
    config->batch = o->batch;
    config->derive_samples = o->derive_samples;
    config->max_minutes = o->max_minutes;
    config->augment = o->augment;
    config->seed = o->seed;
    config->loader_threads = nas_lib__threads();
    return NAS_OK;
}

/* The chosen network with the supernet's weights. */
static nas_status take_network(nas_network **out, const nas_space *space, const nas_search *search,
                               const nas_search_result *found, nas_err *err)
{
    nas_arch *arch = NULL;
    nas_status status;

    if ((status = nas_space_arch(&arch, space, found->choice, err)) == NAS_OK &&
        (status = nas_network_new(out, arch, 0, err)) == NAS_OK)
        nas_model_inherit((*out)->model, nas_search_model(search), found->choice);
    nas_arch_free(arch);
    return status;
}

nas_status nas_search_network(nas_network **out, const nas_space *space, const nas_dataset *data,
                              const nas_latency_table *table, const nas_search_options *options,
                              const nas_watch *watch, nas_search_report *report, nas_err *err)
{
    nas_search_options o = search_defaults();
    nas_search_config config;
    nas_search_result found = {0};
    nas_latency_lut *lut = NULL;
    nas_search *search = NULL;
    nas_lib__observer watching;
    nas_status status;

    *out = NULL;
    if ((status = nas_lib__options(&o, sizeof o, options, err)) ||
        (status = search_config(&config, &o, err)) ||
        (status = nas_latency_lut_new(&lut, table, space, 0, err)) ||
        (status = nas_search_new(&search, space, data, lut, &config, err)))
        goto done;
    nas_lib__observe(&watching, watch, o.checkpoint);
    if ((o.checkpoint != NULL && nas_path_exists(o.checkpoint) &&
         (status = nas_search_load(search, o.checkpoint, err))) ||
        (status = nas_search_run(search, &watching.observer, &found, err)))
        goto done;
    if (!found.feasible) {
        status = nas_fail(err, NAS_E_INFEASIBLE, "the closest network found takes %.6g ms",
                          found.latency_ms);
        goto done;
    }
    if ((status = take_network(out, space, search, &found, err)) == NAS_OK && report != NULL)
        *report = (nas_search_report){.latency_ms = found.latency_ms,
                                      .valid_top1 = found.valid_top1, .seconds = found.seconds,
                                      .steps = found.steps};

done:
    free(found.judgement);
    nas_search_free(search);
    nas_latency_lut_free(lut);
    return status;
}

/* -- evolution -------------------------------------------------------------------------- */

typedef struct judge {
    const nas_space *space;
    nas_worth *worth;
    void *user;
} judge;

static nas_status score(void *user, nas_candidate *list, int count, nas_err *err)
{
    const judge *j = user;
    nas_status status = NAS_OK;

    for (int i = 0; i < count && status == NAS_OK; i++) {
        nas_err why = {0}; /* which the caller's function need not fill */
        nas_arch *arch = NULL;
        if ((status = nas_space_arch(&arch, j->space, list[i].choice, err)) == NAS_OK &&
            (status = j->worth(j->user, arch, &list[i].score, &why)) != NAS_OK) {
            nas_fail(err, status, "evolution: %s", why.message[0] != '\0'
                                                      ? why.message
                                                      : "the worth of an architecture is unknown");
            nas_hint(err, "%s", why.hint);
        } else if (status == NAS_OK && isnan(list[i].score)) {
            status = nas_fail(err, NAS_E_FAIL, "evolution: the worth of an architecture is NaN");
        }
        nas_arch_free(arch);
    }
    return status;
}

nas_status nas_search_evolve(nas_arch **out, const nas_space *space,
                             const nas_latency_table *table, double target_ms, uint64_t seed,
                             nas_worth *worth, void *user, double *worth_of_best, nas_err *err)
{
    const nas_evolution_config config = nas_evolution_default(seed);
    judge j = {.space = space, .worth = worth, .user = user};
    const nas_evaluator evaluator = {.user = &j, .score = score};
    nas_candidate *best = calloc((size_t)config.population, sizeof *best);
    const nas_latency_lut *luts[1];
    nas_latency_lut *lut = NULL;
    nas_problem problem = {0};
    int64_t evaluations;
    int found;
    nas_status status;

    *out = NULL;
    if (best == NULL)
        return nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
    if ((status = nas_latency_lut_new(&lut, table, space, 0, err)) != NAS_OK)
        goto done;
    luts[0] = lut;
    if ((status = nas_problem_init(&problem, space, 0, NULL, luts, err)) != NAS_OK)
        goto done;
    problem.limit[NAS_COST_LATENCY] = target_ms;
    if ((status = nas_problem_check(&problem, err)) ||
        (status = nas_evolution_run(&problem, &config, &evaluator, best, &found, &evaluations,
                                    err)) ||
        (status = nas_space_arch(out, space, best[0].choice, err)))
        goto done;
    if (worth_of_best != NULL)
        *worth_of_best = best[0].score;

done:
    nas_problem_fini(&problem);
    nas_latency_lut_free(lut);
    free(best);
    return status;
}

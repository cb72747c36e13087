/* Timing one network: built, warmed, and then run with its input written afresh. */
#include "latency/profile/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/stats.h"

enum { WARM_RUNS = 2, RUNS = NAS_BENCH_RUNS, MORE_RUNS = 10, WARM_TRIES = 20, PROBE_RUNS = 3 };

static const double warm_limit = 0.02;

/* Random shifts of the size of the values keep every activation away from zero and from
 * numbers too small for the hardware's fast path, however deep the network is. */
static void spread_shifts(nas_model *model, uint64_t seed)
{
    nas_rng rng;

    nas_rng_init(&rng, seed, "profile shifts", 0);
    for (int s = 0; s < model->slots; s++)
        for (int c = 0; c < model->slot[s].count; c++) {
            const nas_layer *layer = &model->slot[s].layer[c];

            for (int p = 0; p < layer->params; p++) {
                const nas_param *param = &layer->param[p];
                float *values = model->params + model->slot[s].offset[c] + param->offset;

                for (size_t i = 0; param->kind == NAS_PARAM_BETA && i < param->count; i++)
                    values[i] = (float)(2.0 * nas_rng_uniform(&rng) - 1.0);
            }
        }
}

/* The shortest of many tries is what the clock itself takes. */
static double clock_cost_ms(void)
{
    double least = 1.0;

    for (int i = 0; i < 1000; i++) {
        const double before = nas_clock_seconds(), cost = nas_clock_seconds() - before;

        least = cost < least ? cost : least;
    }
    return least * 1e3;
}

/* One run of the whole network or, for `stamp`, with a look at the clock after each block. */
static double run_ms(nas_bench *bench, nas_infer *infer, double *stamp)
{
    memcpy(bench->input, bench->image, bench->floats * sizeof *bench->input);
    const double begin = nas_clock_seconds();

    if (stamp != NULL)
        nas_infer_run_stamped(infer, 1, bench->input, stamp);
    else
        nas_infer_run(infer, 1, bench->input);
    return (nas_clock_seconds() - begin) * 1e3 - bench->clock_ms;
}

nas_status nas_bench__init(nas_bench *bench, const nas_space *space, const nas_job *job,
                           nas_err *err)
{
    const size_t side = (size_t)space->image_size;
    nas_status status = nas_cores__parse(&bench->cores, job->cores, err);
    nas_rng rng;

    if (status != NAS_OK || (status = nas_cores__bind(&bench->cores, err)) != NAS_OK ||
        (status = nas_model_new(&bench->model, space, err)) != NAS_OK)
        return status;
    bench->floats = side * side * (size_t)space->channels;
    bench->image = malloc(bench->floats * sizeof *bench->image);
    bench->input = malloc(bench->floats * sizeof *bench->input);
    bench->stamps = malloc(RUNS * ((size_t)space->count + 1) * sizeof *bench->stamps);
    if (!bench->image || !bench->input || !bench->stamps)
        return nas_fail(err, NAS_E_NOMEM, "profile: no memory for an image of %zu pixels", side);
    nas_model_reset(bench->model, job->seed);
    spread_shifts(bench->model, job->seed);
    nas_rng_init(&rng, job->seed, "profile image", 0);
    for (size_t i = 0; i < bench->floats; i++)
        bench->image[i] = (float)nas_rng_normal(&rng);
    bench->clock_ms = clock_cost_ms();
    if ((status = nas_infer_new(&bench->probe, bench->model, job->probe, 1, err)) == NAS_OK)
        run_ms(bench, bench->probe, NULL);
    return status;
}

void nas_bench__fini(nas_bench *bench)
{
    nas_cores__release(&bench->cores);
    nas_infer_free(bench->probe);
    nas_model_free(bench->model);
    free(bench->image);
    free(bench->input);
    free(bench->stamps);
    *bench = (nas_bench){0};
}

/* How often the scheduler took a core away from this process. */
static long preemptions(void)
{
    struct rusage usage = {0};

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

/* The median of each block's times, all of them scaled alike, so that they sum up to the median of
 * the whole runs: short disturbances hit another block in every run, and each block's median leaves
 * them out, while no whole run is without. */
static void block_medians(const nas_bench *bench, double *block_ms)
{
    const int slots = bench->model->slots;
    double total[RUNS] = {0}, sum = 0.0;

    for (int s = 0; s < slots; s++) {
        double ms[RUNS];

        for (int r = 0; r < RUNS; r++) {
            const double *stamp = bench->stamps + (size_t)r * ((size_t)slots + 1) + s;

            ms[r] = (stamp[1] - stamp[0]) * 1e3 - bench->clock_ms;
            ms[r] = ms[r] > 0.0 ? ms[r] : 0.0;
            total[r] += ms[r];
        }
        sum += block_ms[s] = nas_quantile(ms, RUNS, 0.5);
    }
    for (int s = 0; s < slots && sum > 0.0; s++)
        block_ms[s] *= nas_quantile(total, RUNS, 0.5) / sum;
}

/* A network on the clock: whole, or block by block. */
static nas_status run_network(nas_bench *bench, const nas_request *request, nas_answer *answer,
                              nas_err *err)
{
    const size_t row = (size_t)bench->model->slots + 1;
    const bool whole = request->kind == NAS_REQUEST_NETWORK;
    nas_infer *infer = NULL;
    double ms[RUNS];
    const nas_status status = nas_infer_new(&infer, bench->model, request->choice, 1, err);

    if (status != NAS_OK)
        return status;
    answer->disturbed = 0;
    for (int r = 0; r < WARM_RUNS; r++)
        run_ms(bench, infer, NULL);
    for (int r = 0, more = 0; r < RUNS; r++) {
        const long before = preemptions();

        ms[r] = run_ms(bench, infer, whole ? NULL : bench->stamps + (size_t)r * row);
        if (!whole || preemptions() == before)
            continue; /* of the blocks an interruption hits one: the median leaves it out */
        if (more++ < MORE_RUNS)
            r--; /* what other programs did is not this network's time: once more */
        else
            answer->disturbed++;
    }
    if (whole)
        answer->ms = nas_quantile(ms, RUNS, 0.5);
    else
        block_medians(bench, answer->block_ms);
    nas_infer_free(infer);
    return NAS_OK;
}

static double probe_ms(nas_bench *bench)
{
    double ms[PROBE_RUNS];

    for (int r = 0; r < PROBE_RUNS; r++)
        ms[r] = run_ms(bench, bench->probe, NULL);
    return nas_quantile(ms, PROBE_RUNS, 0.5);
}

nas_status nas_bench__answer(nas_bench *bench, const nas_request *request, nas_answer *answer,
                             nas_err *err)
{
    if (request->kind != NAS_REQUEST_PROBE)
        return run_network(bench, request, answer, err);
    answer->ms = probe_ms(bench);
    return NAS_OK;
}

void nas_bench__warm_up(nas_bench *bench, double seconds)
{
    const double deadline = nas_clock_seconds() + seconds;
    double last = 0.0, now = probe_ms(bench);

    for (int i = 1; i < WARM_TRIES && fabs(now - last) > warm_limit * now &&
                    nas_clock_seconds() < deadline; i++) {
        last = now;
        now = probe_ms(bench);
    }
}

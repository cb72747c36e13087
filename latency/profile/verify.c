/* Networks over the whole range of a space, measured in turns. */
#include "latency/profile/verify.h"

#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/stats.h"
#include "latency/lut.h"
#include "latency/profile/bench.h"
#include "latency/profile/levels.h"

enum { MAX_CHANGES = 10000, MORE_ROUNDS = 9 };

/* Times of one network while nothing changes. */
static const double same_level = 1.04;

typedef struct trial {
    const nas_space *space;
    const nas_latency_verify_options *options;
    nas_latency_lut *lut;
    nas_bench bench;
    nas_latency_pair *pairs;      /* [samples]: borrowed               */
    uint32_t *order;              /* [samples]: of this round          */
    nas_levels levels;            /* by the probe, beside each turn    */
    int *network;                 /* [turns]: which network it was     */
    double *ms;                   /* [turns]: its time                 */
    double *room;                 /* [turns]                           */
    int *usual;                   /* [samples]: turns that nothing disturbed */
    double probe_ms;              /* after the last turn               */
} trial;

/* A random network, moved slot by slot towards the fastest or the slowest until its
 * prediction passes `target_ms`. */
static void draw(const trial *v, nas_rng *rng, double target_ms, const int *fastest,
                 const int *slowest, int *choice)
{
    nas_space_sample(v->space, rng, choice);
    const bool slower = nas_latency_lut_total(v->lut, choice) < target_ms;
    const int *goal = slower ? slowest : fastest;

    for (int i = 0; i < MAX_CHANGES; i++) {
        if ((nas_latency_lut_total(v->lut, choice) < target_ms) != slower)
            return;
        const uint32_t s = nas_rng_below(rng, (uint32_t)v->space->count);
        const int before = choice[s];

        choice[s] = goal[s];
        if (!nas_space_valid(v->space, choice))
            choice[s] = before; /* depth: only the end of a stage may be skipped */
    }
}

static nas_status start(trial *v, nas_err *err)
{
    const int samples = v->options->samples;
    const size_t turns = (size_t)samples * (size_t)v->options->rounds * (1 + MORE_ROUNDS);
    int fastest[NAS_MAX_SLOTS], slowest[NAS_MAX_SLOTS];
    double least, most;
    nas_rng rng;
    nas_status status;

    v->order = calloc((size_t)samples, sizeof *v->order);
    v->usual = calloc((size_t)samples, sizeof *v->usual);
    v->levels = (nas_levels){.slots = 1, .keys = 1, .limit = same_level};
    v->network = calloc(turns, sizeof *v->network);
    v->ms = calloc(turns, sizeof *v->ms);
    v->room = calloc(turns, sizeof *v->room);
    if (!v->order || !v->usual || !v->network || !v->ms || !v->room)
        return nas_fail(err, NAS_E_NOMEM, "verify: no memory for %d networks", samples);
    nas_latency_lut_range(v->lut, v->space, &least, &most, fastest, slowest);
    for (int i = 0; i < samples; i++) {
        nas_latency_pair *pair = &v->pairs[i];

        nas_rng_init(&rng, v->options->seed, v->options->stream ? v->options->stream : "verify",
                     (uint64_t)i);
        v->order[i] = (uint32_t)i;
        if (v->options->choice != NULL)
            memcpy(pair->choice, v->options->choice[i], sizeof pair->choice);
        else
            draw(v, &rng, least + (most - least) * (i + 0.5) / samples, fastest, slowest,
                 pair->choice);
        pair->predicted_ms = nas_latency_lut_total(v->lut, pair->choice);
    }
    status = nas_bench__init(&v->bench, v->space, v->options->seed, v->options->cores, err);
    return status == NAS_OK ? nas_bench__set_probe(&v->bench, slowest, err) : status;
}

static void finish(trial *v)
{
    nas_bench__fini(&v->bench);
    nas_latency_lut_free(v->lut);
    nas_levels__fini(&v->levels);
    free(v->order);
    free(v->usual);
    free(v->network);
    free(v->ms);
    free(v->room);
}

/* A turn of one network, between two looks at how fast the machine is. */
static nas_status run_turn(trial *v, int network, nas_err *err)
{
    const int turn = v->levels.count;
    const double before = v->probe_ms;
    const nas_status status =
        nas_bench__turn(&v->bench, v->pairs[network].choice, &v->ms[turn], NULL, err);

    if (status != NAS_OK)
        return status;
    v->network[turn] = network;
    v->probe_ms = nas_bench__probe(&v->bench);
    return nas_levels__add(&v->levels, &(int){0}, &(double){fmax(before, v->probe_ms)}, err);
}

/* One turn of each network that has fewer than `enough` of use, in an order of its own. */
static nas_status run_round(trial *v, int round, int enough, nas_rng *rng, nas_err *err)
{
    const nas_latency_verify_options *o = v->options;

    nas_rng_shuffle(rng, v->order, (uint32_t)o->samples);
    for (int i = 0; i < o->samples; i++) {
        const nas_progress at = {.phase = "verify", .batch = (int64_t)round * o->samples + i,
                                 .batches = (int64_t)o->rounds * o->samples,
                                 .step = (int64_t)round * o->samples + i,
                                 .images_per_second = NAN, .loss = NAN, .latency_ms = NAN,
                                 .entropy = NAN};
        const int n = (int)v->order[i];

        if (v->usual[n] >= enough)
            continue;
        nas_observe_progress(o->observer, &at);
        if (nas_observe_stop(o->observer))
            return nas_fail(err, NAS_E_INTERRUPTED, "verify: stopped after %d of %d rounds", round,
                            o->rounds);
        const nas_status status = run_turn(v, n, err);
        if (status != NAS_OK)
            return status;
    }
    return NAS_OK;
}

/* Counts the turns of each network that nothing disturbed; returns the fewest. */
static int count_usual(trial *v)
{
    int fewest = v->levels.count;

    memset(v->usual, 0, (size_t)v->options->samples * sizeof *v->usual);
    for (int t = 0; t < v->levels.count; t++)
        v->usual[v->network[t]] += nas_levels__usual(&v->levels, t);
    for (int i = 0; i < v->options->samples; i++)
        fewest = v->usual[i] < fewest ? v->usual[i] : fewest;
    return fewest;
}

/* The median of a network's turns that nothing disturbed; without any, of all turns, each over its
 * level. */
static double network_ms(const trial *v, int network)
{
    const nas_levels *l = &v->levels;
    int count = 0;

    for (int t = 0; t < l->count; t++)
        if (v->network[t] == network && (nas_levels__usual(l, t) || v->usual[network] == 0))
            v->room[count++] = v->usual[network] > 0 ? v->ms[t] : v->ms[t] / l->level[t];
    return nas_quantile(v->room, count, 0.5);
}

/* All rounds; then, where something disturbed more than half of a network's turns, more of them. */
static nas_status measure(trial *v, nas_err *err)
{
    const nas_latency_verify_options *o = v->options;
    const int enough = (o->rounds + 1) / 2, most = (1 + MORE_ROUNDS) * o->rounds;
    nas_status status = NAS_OK;
    nas_rng rng;

    nas_rng_init(&rng, o->seed, "verify order", 0);
    v->probe_ms = nas_bench__probe(&v->bench);
    for (int round = 0; round < most && status == NAS_OK; round++) {
        status = run_round(v, round, round < o->rounds ? INT_MAX : enough, &rng, err);
        if (round < o->rounds - 1 || status != NAS_OK)
            continue;
        status = nas_levels__judge(&v->levels, err);
        if (count_usual(v) >= enough)
            break;
    }
    if (status != NAS_OK)
        return status;
    for (int i = 0; i < o->samples; i++)
        if (isnan(v->pairs[i].measured_ms = network_ms(v, i)))
            return nas_fail(err, NAS_E_NOMEM, "verify: no memory for the times of a network");
    return NAS_OK;
}

static nas_status compare(nas_latency_verification *out, nas_err *err)
{
    const size_t count = (size_t)out->count;
    double *columns = malloc(2 * count * sizeof *columns), squares = 0.0;

    if (columns == NULL)
        return nas_fail(err, NAS_E_NOMEM, "verify: no memory for %d networks", out->count);
    for (size_t i = 0; i < count; i++) {
        const nas_latency_pair *pair = &out->pairs[i];
        const double error = pair->predicted_ms - pair->measured_ms;
        const double relative = error / pair->measured_ms;

        columns[i] = pair->predicted_ms;
        columns[count + i] = pair->measured_ms;
        out->mape += fabs(relative) / (double)count;
        out->bias += relative / (double)count;
        out->within_10 += (fabs(relative) <= 0.1) / (double)count;
        squares += error * error;
    }
    out->rmse_ms = sqrt(squares / (double)count);
    out->spearman = nas_spearman(columns, columns + count, out->count);
    out->kendall = nas_kendall(columns, columns + count, out->count);
    free(columns);
    return NAS_OK;
}

/* What makes a comparison unfair, whatever the table is worth. */
static void warn(const nas_latency_table *table, const nas_latency_verification *v)
{
    const int threads = omp_get_max_threads();

    if (table->meta.threads && table->meta.threads != threads)
        nas_log(NAS_LOG_WARN, "verify: the table was made with %d threads, this is with %d",
                table->meta.threads, threads);
    if (v->disturbed > 0.1)
        nas_log(NAS_LOG_WARN,
                "verify: other programs interrupted %.0f %% of the runs; measured times hold "
                "those interruptions",
                100.0 * v->disturbed);
}

nas_status nas_latency_verify(nas_latency_verification *out, const nas_latency_table *table,
                              const nas_space *space, const nas_latency_verify_options *options,
                              nas_err *err)
{
    trial v = {.space = space, .options = options};
    nas_status status;

    *out = (nas_latency_verification){.count = options->samples};
    v.pairs = out->pairs = calloc((size_t)options->samples, sizeof *out->pairs);
    if (out->pairs == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "verify: no memory for %d networks", options->samples);
    else if ((status = nas_latency_lut_new(&v.lut, table, space, 0, err)) == NAS_OK &&
             (status = start(&v, err)) == NAS_OK &&
             (status = measure(&v, err)) == NAS_OK &&
             (status = compare(out, err)) == NAS_OK) {
        out->disturbed = (double)v.bench.disturbed / (double)v.bench.runs;
        out->slowed = nas_levels__disturbed(&v.levels, &out->slowdown);
        warn(table, out);
    }
    finish(&v);
    if (status != NAS_OK)
        nas_latency_verification_fini(out);
    return status;
}

void nas_latency_verification_fini(nas_latency_verification *verification)
{
    free(verification->pairs);
    *verification = (nas_latency_verification){0};
}

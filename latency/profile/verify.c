/* Networks over the whole range of a space, measured in turns. */
#include "latency/profile/verify.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/stats.h"
#include "latency/lut.h"
#include "latency/profile/levels.h"
#include "latency/profile/samples.h"
#include "latency/profile/session.h"

enum { MAX_CHANGES = 10000, MORE_ROUNDS = 9 };

/* Times of one network while nothing changes. */
static const double same_level = 1.04;
/* Of the probe before and after a turn, if the machine's speed did not change in it; the error that
 * this leaves is one of a turn, and goes either way. */
static const double same_speed = 1.1;
/* Half the 95 % confidence interval of a network's time, at which it gets no more turns. */
static const double interval = 0.025;
/* Before the first turn, until the clock is that of work. */
static const double warm_seconds = 2.0;

typedef struct trial {
    const nas_space *space;
    const nas_latency_table *table;
    const nas_latency_verify_options *options;
    nas_latency_lut *lut;
    nas_session session;
    long disturbed;               /* runs                              */
    nas_latency_pair *pairs;      /* [samples]: borrowed               */
    uint32_t *order;              /* [samples]: of this round          */
    nas_levels levels;            /* by the probe, around each turn    */
    int *network;                 /* [turns]: which network it was     */
    double *ms;                   /* [turns]: its time                 */
    bool *steady;                 /* [turns]: its speed did not change */
    nas_samples *times;           /* [samples]: at level 1             */
    int *good;                    /* [samples]: turns that were steady */
    bool *settled;                /* [samples]: its times are enough   */
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

    v->order = calloc((size_t)samples, sizeof *v->order);
    v->times = calloc((size_t)samples, sizeof *v->times);
    v->good = calloc((size_t)samples, sizeof *v->good);
    v->settled = calloc((size_t)samples, sizeof *v->settled);
    v->levels = (nas_levels){.slots = 1, .keys = 1, .limit = same_level};
    v->network = calloc(turns, sizeof *v->network);
    v->ms = calloc(turns, sizeof *v->ms);
    v->steady = calloc(turns, sizeof *v->steady);
    if (!v->order || !v->times || !v->good || !v->settled || !v->network || !v->ms || !v->steady)
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
    return NAS_OK;
}

/* Whoever measures, warm. */
static nas_status open_session(trial *v, nas_err *err)
{
    const nas_latency_verify_options *o = v->options;
    nas_session *s = &v->session;
    nas_cores cores;
    nas_status status = nas_cores__parse(&cores, o->cores, err);

    if (status != NAS_OK)
        return status;
    *s = (nas_session){.space = v->space, .via = o->via, .observer = o->observer, .engine = "",
                       .job = {.threads = o->threads, .seed = o->seed,
                               .warm_seconds = warm_seconds}};
    memcpy(s->job.cores, cores.text, sizeof s->job.cores);
    if (!nas_session__remote(s))
        s->job.threads = omp_get_max_threads();
    if ((status = nas_session__init(s, err)) != NAS_OK)
        return status;
    return nas_session__open(s, err);
}

static void finish(trial *v)
{
    nas_session__close(&v->session);
    nas_latency_lut_free(v->lut);
    nas_levels__fini(&v->levels);
    for (int i = 0; v->times != NULL && i < v->options->samples; i++)
        nas_samples__fini(&v->times[i]);
    free(v->order);
    free(v->times);
    free(v->good);
    free(v->settled);
    free(v->network);
    free(v->ms);
    free(v->steady);
}

static nas_status ask_probe(trial *v, nas_err *err)
{
    const nas_request request = {.kind = NAS_REQUEST_PROBE, .number = v->levels.count};
    nas_answer answer;
    const nas_status status = nas_session__ask(&v->session, &request, &answer, err);

    if (status == NAS_OK)
        v->probe_ms = answer.ms;
    return status;
}

/* A turn of one network, between two looks at how fast the machine is. */
static nas_status run_turn(trial *v, int network, nas_err *err)
{
    const int turn = v->levels.count;
    const double before = v->probe_ms;
    nas_request request = {.kind = NAS_REQUEST_NETWORK, .number = turn};
    nas_answer answer;
    nas_status status;

    memcpy(request.choice, v->pairs[network].choice, sizeof request.choice);
    if ((status = nas_session__ask(&v->session, &request, &answer, err)) ||
        (status = ask_probe(v, err)))
        return status;
    const double after = v->probe_ms;
    v->ms[turn] = answer.ms;
    v->disturbed += answer.disturbed;
    v->network[turn] = network;
    v->steady[turn] = fmax(before, after) <= same_speed * fmin(before, after);
    return nas_levels__add(&v->levels, &(int){0}, &(double){0.5 * (before + after)}, err);
}

/* One turn of each network that is not settled, in an order of its own. */
static nas_status run_round(trial *v, int round, nas_rng *rng, nas_err *err)
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

        if (v->settled[n])
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

/* The times of every network, each over the level of its turn: of turns whose speed did not change
 * or, where these are fewer than `enough`, of all.  *all: whether each network has enough. */
static nas_status judge(trial *v, int enough, bool *all, nas_err *err)
{
    const nas_levels *l = &v->levels;
    nas_status status = nas_levels__judge(&v->levels, err);

    for (int n = 0; n < v->options->samples; n++)
        v->times[n].count = v->good[n] = 0;
    for (int t = 0; t < l->count; t++)
        v->good[v->network[t]] += v->steady[t];
    for (int t = 0; t < l->count && status == NAS_OK; t++)
        if (v->steady[t] || v->good[v->network[t]] < enough)
            status = nas_samples__add(&v->times[v->network[t]], v->ms[t] / l->level[t], err);
    *all = true;
    for (int n = 0; n < v->options->samples && status == NAS_OK; n++) {
        v->settled[n] = v->good[n] >= enough && nas_samples__interval(&v->times[n]) <= interval;
        *all &= v->settled[n];
    }
    return status;
}

/* All rounds; then, while networks are not known well enough, more of these. */
static nas_status measure(trial *v, nas_err *err)
{
    const nas_latency_verify_options *o = v->options;
    const int most = (1 + MORE_ROUNDS) * o->rounds;
    nas_status status = ask_probe(v, err);
    bool all = false;
    nas_rng rng;

    nas_rng_init(&rng, o->seed, "verify order", 0);
    for (int round = 0; round < most && !all && status == NAS_OK; round++) {
        status = run_round(v, round, &rng, err);
        if (round >= o->rounds - 1 && status == NAS_OK)
            status = judge(v, (o->rounds + 1) / 2, &all, err);
    }
    for (int i = 0; i < o->samples && status == NAS_OK; i++)
        if (isnan(v->pairs[i].as_measured_ms = nas_samples__stat(&v->times[i]).median))
            status = nas_fail(err, NAS_E_NOMEM, "verify: no memory for the times of a network");
    return status;
}

/* How slow the machine is beside what it was when the table was made. */
static void find_level(const trial *v, nas_latency_verification *out)
{
    nas_latency_meta now = {.threads = out->threads,
                            .probe_ms = v->levels.ms[0] / v->levels.level[0]};

    memcpy(now.probe, v->session.probe, sizeof now.probe);
    memcpy(out->probe, v->session.probe, sizeof out->probe);
    out->probe_ms = now.probe_ms;
    out->level = nas_latency_meta_level(&v->table->meta, &now);
}

/* The errors of `count` predictions. */
static nas_latency_errors errors_of(const double *predicted_ms, const double *measured_ms,
                                    int count)
{
    nas_latency_errors e = {0};
    double squares = 0.0;

    for (int i = 0; i < count; i++) {
        const double error = predicted_ms[i] - measured_ms[i], relative = error / measured_ms[i];

        e.mape += fabs(relative) / count;
        e.bias += relative / count;
        e.within_10 += (fabs(relative) <= 0.1) / (double)count;
        squares += error * error;
    }
    e.rmse_ms = sqrt(squares / count);
    return e;
}

/* Takes the times to the table's speed, and compares. */
static nas_status compare(const trial *v, nas_latency_verification *out, nas_err *err)
{
    const size_t count = (size_t)out->count;
    double *columns = malloc(3 * count * sizeof *columns);

    if (columns == NULL)
        return nas_fail(err, NAS_E_NOMEM, "verify: no memory for %d networks", out->count);
    find_level(v, out);
    for (size_t i = 0; i < count; i++) {
        nas_latency_pair *pair = &out->pairs[i];

        pair->measured_ms = pair->as_measured_ms / (isnan(out->level) ? 1.0 : out->level);
        columns[i] = pair->predicted_ms;
        columns[count + i] = pair->measured_ms;
        columns[2 * count + i] = pair->as_measured_ms;
    }
    out->errors = errors_of(columns, columns + count, out->count);
    out->as_measured = errors_of(columns, columns + 2 * count, out->count);
    out->spearman = nas_spearman(columns, columns + count, out->count);
    out->kendall = nas_kendall(columns, columns + count, out->count);
    free(columns);
    return NAS_OK;
}

/* What makes a comparison unfair, whatever the table is worth. */
static void warn(const nas_latency_table *table, const nas_latency_verification *v)
{
    if (table->meta.device[0] != '\0' && strcmp(table->meta.device, v->device) != 0)
        nas_log(NAS_LOG_WARN, "verify: the table is of \"%s\", this is \"%s\"", table->meta.device,
                v->device);
    if (table->meta.threads && table->meta.threads != v->threads)
        nas_log(NAS_LOG_WARN, "verify: the table was made with %d threads, this is with %d",
                table->meta.threads, v->threads);
    if (v->emulated)
        nas_log(NAS_LOG_WARN, "verify: the times are an emulator's, which say nothing");
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
    trial v = {.space = space, .table = table, .options = options};
    nas_status status;

    *out = (nas_latency_verification){.count = options->samples};
    v.pairs = out->pairs = calloc((size_t)options->samples, sizeof *out->pairs);
    if (out->pairs == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "verify: no memory for %d networks", options->samples);
    else if ((status = nas_latency_lut_new(&v.lut, table, space, 0, err)) == NAS_OK &&
             (status = start(&v, err)) == NAS_OK &&
             (status = open_session(&v, err)) == NAS_OK &&
             (status = measure(&v, err)) == NAS_OK) {
        snprintf(out->device, sizeof out->device, "%s", v.session.facts.device);
        out->threads = v.session.facts.threads;
        out->emulated = v.session.facts.emulated;
        status = compare(&v, out, err);
    }
    if (status == NAS_OK) {
        out->disturbed = (double)v.disturbed / ((double)v.levels.count * NAS_BENCH_RUNS);
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

/* Turns: networks in which every candidate comes up equally often, until each key is known
 * well enough. */
#include "latency/profile/profile.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "base/system.h"
#include "latency/profile/bench.h"
#include "latency/profile/samples.h"

enum { LEAST_SAMPLES = 2, WARM_TURNS = 20, MAX_REPEATS = 2 };

static const double drift_limit = 0.03, warm_limit = 0.02;

/* The candidates of a slot in random order; each is used once before the next shuffle. */
typedef struct deck {
    uint32_t card[NAS_MAX_CANDIDATES];
    uint32_t count, left;
} deck;

typedef struct profile {
    const nas_space *space;
    const nas_latency_profile_options *options;
    nas_bench bench;
    nas_rng rng;
    deck *decks;          /* [slots]                                             */
    int *choice;          /* [slots]                                             */
    double *block_ms;     /* [slots]                                             */
    int *key_of;          /* [slots * NAS_MAX_CANDIDATES]: key, -1: has none      */
    int keys;
    nas_latency_entry *entries; /* [keys]                                        */
    nas_samples *samples; /* [keys]                                              */
    double deadline, started;
    int64_t turns;
    int repeats;          /* how often the older half was measured again         */
    double drift;         /* what remained of it at the end                      */
    double widest;        /* interval of the key that is known least             */
    int settled;          /* keys whose interval is narrow enough                */
} profile;

nas_latency_profile_options nas_latency_profile_defaults(void)
{
    return (nas_latency_profile_options){.engine = "", .interval = 0.015, .min_samples = 20,
                                         .max_samples = 20000, .least_seconds = 2,
                                         .seconds = 240, .seed = 1};
}

static int find_key(const nas_latency_entry *entries, int count, const char *key)
{
    for (int i = 0; i < count; i++)
        if (strcmp(entries[i].key, key) == 0)
            return i;
    return -1;
}

/* Which key every candidate of every slot counts for. */
static nas_status map_keys(profile *p, nas_err *err)
{
    nas_latency_entry *all = NULL;
    const nas_latency_grammar grammar = nas_latency_grammar_of(p->space);
    int total;
    nas_status status = nas_latency_space_entries(&all, &total, p->space, grammar, 0, err);

    if (status != NAS_OK ||
        (status = nas_latency_space_entries(&p->entries, &total, p->space, grammar, 0, err)))
        goto done;
    p->keys = nas_latency_entries_unique(p->entries, total);
    for (int s = 0, i = 0; s < p->space->count; s++)
        for (int c = 0; c < p->space->slots[s].count; c++, i++)
            p->key_of[s * NAS_MAX_CANDIDATES + c] = find_key(p->entries, p->keys, all[i].key);
    p->samples = calloc((size_t)p->keys + 1, sizeof *p->samples);
    if (p->samples == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "profile: no memory for %d keys", p->keys);

done:
    free(all);
    return status;
}

static nas_status start(profile *p, nas_err *err)
{
    const size_t slots = (size_t)p->space->count;

    p->started = nas_clock_seconds();
    p->deadline = p->started + p->options->seconds;
    nas_rng_init(&p->rng, p->options->seed, "profile", 0);
    p->decks = calloc(slots, sizeof *p->decks);
    p->choice = calloc(slots, sizeof *p->choice);
    p->block_ms = calloc(slots, sizeof *p->block_ms);
    p->key_of = calloc(slots * NAS_MAX_CANDIDATES, sizeof *p->key_of);
    if (!p->decks || !p->choice || !p->block_ms || !p->key_of)
        return nas_fail(err, NAS_E_NOMEM, "profile: no memory for %zu slots", slots);
    for (size_t s = 0; s < slots; s++) {
        p->decks[s].count = (uint32_t)p->space->slots[s].count;
        for (uint32_t c = 0; c < p->decks[s].count; c++)
            p->decks[s].card[c] = c;
    }
    const nas_status status = map_keys(p, err);
    return status != NAS_OK ? status : nas_bench__init(&p->bench, p->space, p->options->seed, err);
}

static void finish(profile *p)
{
    nas_bench__fini(&p->bench);
    for (int k = 0; p->samples != NULL && k < p->keys; k++)
        nas_samples__fini(&p->samples[k]);
    free(p->samples);
    free(p->entries);
    free(p->key_of);
    free(p->block_ms);
    free(p->choice);
    free(p->decks);
}

static void deal(profile *p)
{
    for (int s = 0; s < p->space->count; s++) {
        deck *d = &p->decks[s];

        if (d->left == 0) {
            nas_rng_shuffle(&p->rng, d->card, d->count);
            d->left = d->count;
        }
        p->choice[s] = (int)d->card[--d->left];
    }
}

/* The same network until two turns agree: clock speed and caches are those of work. */
static nas_status warm_up(profile *p, nas_err *err)
{
    double last = 0.0, now;

    deal(p);
    for (int turn = 0; turn < WARM_TURNS; turn++, last = now) {
        const nas_status status = nas_bench__turn(&p->bench, p->choice, &now, NULL, err);

        if (status != NAS_OK || fabs(now - last) <= warm_limit * now ||
            nas_clock_seconds() > p->started + p->options->seconds / 4)
            return status;
    }
    return NAS_OK;
}

/* What has no key (a pooling that Logits includes, a skipped block) counts for the next. */
static nas_status turn(profile *p, nas_err *err)
{
    nas_status status;
    double carried = 0.0;

    deal(p);
    status = nas_bench__turn(&p->bench, p->choice, NULL, p->block_ms, err);
    for (int s = 0; s < p->space->count && status == NAS_OK; s++) {
        const int key = p->key_of[s * NAS_MAX_CANDIDATES + p->choice[s]];

        carried += p->block_ms[s];
        if (key < 0)
            continue;
        status = nas_samples__add(&p->samples[key], carried, err);
        carried = 0.0;
    }
    p->turns++;
    return status;
}

static int fewest_samples(const profile *p)
{
    int least = p->keys > 0 ? p->samples[0].count : 0;

    for (int k = 1; k < p->keys; k++)
        least = p->samples[k].count < least ? p->samples[k].count : least;
    return least;
}

static int most_samples(const profile *p)
{
    int most = 0;

    for (int k = 0; k < p->keys; k++)
        most = p->samples[k].count > most ? p->samples[k].count : most;
    return most;
}

/* Counts the keys that are known well enough. */
static void judge(profile *p)
{
    p->settled = 0;
    p->widest = 0.0;
    for (int k = 0; k < p->keys; k++) {
        const double interval = nas_samples__interval(&p->samples[k]);

        p->widest = fmax(p->widest, interval);
        p->settled += p->samples[k].count >= p->options->min_samples &&
                      interval <= p->options->interval;
    }
}

/* Median over the keys of the change from the first half of the samples to the second. */
static double drift(const profile *p)
{
    double *change = malloc(((size_t)p->keys + 1) * sizeof *change), median = 0.0;

    for (int k = 0; change != NULL && k < p->keys; k++)
        change[k] = nas_samples__drift(&p->samples[k]) - 1.0;
    if (change != NULL && p->keys > 0)
        median = nas_quantile(change, p->keys, 0.5);
    free(change);
    return median;
}

static void report(const profile *p)
{
    const nas_progress at = {.phase = "profile", .batch = p->settled, .batches = p->keys,
                             .step = p->turns, .images_per_second = NAN, .loss = NAN,
                             .latency_ms = NAN, .entropy = NAN};

    nas_observe_progress(p->options->observer, &at);
}

/* Turns until all keys are settled, or no time is left and each has some samples. */
static nas_status settle(profile *p, nas_err *err)
{
    int64_t next_look = 0;
    nas_status status = NAS_OK;

    while (status == NAS_OK) {
        const int least = fewest_samples(p);
        const double now = nas_clock_seconds();

        if (nas_observe_stop(p->options->observer)) {
            nas_fail(err, NAS_E_INTERRUPTED, "profile: stopped before every key was measured");
            nas_hint(err, "nothing was written; run the command again");
            return NAS_E_INTERRUPTED;
        }
        if (least >= LEAST_SAMPLES && p->turns >= next_look) {
            judge(p);
            next_look = p->turns + 1 + p->turns / 20;
            if (most_samples(p) >= p->options->max_samples ||
                (p->settled == p->keys && now >= p->started + p->options->least_seconds))
                break;
        }
        report(p);
        if (least >= LEAST_SAMPLES && now >= p->deadline)
            break;
        status = turn(p, err);
    }
    return status;
}

/* A machine that became slower or faster meanwhile: what was measured before is forgotten. */
static nas_status measure(profile *p, nas_err *err)
{
    nas_status status = warm_up(p, err);

    if (status != NAS_OK || (status = settle(p, err)) != NAS_OK)
        return status;
    while (fabs(drift(p)) > drift_limit && p->repeats < MAX_REPEATS &&
           nas_clock_seconds() < p->deadline) {
        for (int k = 0; k < p->keys; k++)
            nas_samples__halve(&p->samples[k]);
        p->repeats++;
        if ((status = settle(p, err)) != NAS_OK)
            return status;
    }
    judge(p);
    p->drift = drift(p);
    return NAS_OK;
}

static void read_governor(char *out, size_t size)
{
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "re");

    snprintf(out, size, "unknown");
    if (file != NULL && fgets(out, (int)size, file) != NULL)
        out[strcspn(out, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
}

static void describe(const profile *p, nas_latency_meta *meta)
{
    char governor[32];
    double load = NAN;

    read_governor(governor, sizeof governor);
    if (getloadavg(&load, 1) != 1)
        load = NAN;
    nas_system_cpu_name(meta->device, sizeof meta->device);
    nas_clock_format(nas_clock_utc_ms(), meta->created);
    snprintf(meta->engine, sizeof meta->engine, "%.30s%s%s kernels", p->options->engine,
             p->options->engine[0] ? ", " : "", nas_kernels_get()->name);
    snprintf(meta->space, sizeof meta->space, "%s", p->space->name);
    snprintf(meta->conditions, sizeof meta->conditions,
             "governor %s, load %.1f, %lld networks, interval %.1f %%, drift %+.1f %%, repeats %d",
             governor, load, (long long)p->turns, 100.0 * p->widest, 100.0 * p->drift, p->repeats);
    meta->cores = nas_system_cores();
    meta->threads = omp_get_max_threads();
    meta->batch = 1;
    meta->image_size = p->space->image_size;
}

static nas_status write_table(const profile *p, nas_latency_table **out, nas_err *err)
{
    nas_latency_table *table = nas_latency_table_new(err);
    nas_status status = table ? NAS_OK : NAS_E_NOMEM;

    for (int k = 0; k < p->keys && status == NAS_OK; k++) {
        const nas_latency_stat stat = nas_samples__stat(&p->samples[k]);

        status = nas_latency_table_add(table, p->entries[k].key, &stat, err);
    }
    if (status != NAS_OK) {
        nas_latency_table_free(table);
        return status;
    }
    describe(p, &table->meta);
    *out = table;
    return NAS_OK;
}

nas_status nas_latency_profile(nas_latency_table **out, const nas_space *space,
                               const nas_latency_profile_options *options, nas_err *err)
{
    profile p = {.space = space, .options = options};
    nas_status status;

    *out = NULL;
    if ((status = start(&p, err)) == NAS_OK && (status = measure(&p, err)) == NAS_OK)
        status = write_table(&p, out, err);
    finish(&p);
    if (status == NAS_OK && p.settled < p.keys)
        nas_log(NAS_LOG_INFO,
                "profile: %d of %d entries are not yet known to %.1f %% (the widest: %.1f %%)",
                p.keys - p.settled, p.keys, 100.0 * options->interval, 100.0 * p.widest);
    return status;
}

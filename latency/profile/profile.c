/* Turns: networks in which every candidate comes up equally often, until each key is known
 * well enough. */
#include "latency/profile/profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "latency/profile/levels.h"
#include "latency/profile/probe.h"
#include "latency/profile/samples.h"
#include "latency/profile/turns.h"

enum { LEAST_SAMPLES = 2, ENOUGH_SAMPLES = 5, MAX_REPEATS = 2 };

static const double drift_limit = 0.03;
/* Turns of one level: sums over some twenty blocks, from networks that share caches differently. */
static const double same_level = 1.06;

/* What changed from the first part of the measuring to the last: 0.01 is 1 % slower. */
typedef struct changes {
    double entries; /* what counts of them, from the first half to the second: the median */
    double speed;   /* nas_levels__change of the turns                                     */
    double probe;   /* and of the probe                                                    */
} changes;

typedef struct profile {
    const nas_space *space;
    const nas_latency_profile_options *options;
    nas_turns turns;
    int *key_of;          /* [slots * NAS_MAX_CANDIDATES]: key, -1: has none      */
    int keys;
    nas_latency_entry *entries; /* [keys]                                        */
    int *taken;           /* [keys]: times in `levels`                           */
    bool *scarce;         /* [keys]: too few of them are undisturbed             */
    nas_levels levels;    /* all that was measured                               */
    nas_probes probes;    /* between these turns                                 */
    int *turn_key;        /* [slots]: of the turn that is taken                  */
    double *turn_ms;      /* [slots]                                             */
    nas_samples *samples; /* [keys]: what counts of it, since the last look      */
    double deadline, started;
    int repeats;          /* how often the older half was measured again         */
    changes drift;        /* what remained of them at the end                    */
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
    p->levels = (nas_levels){.slots = p->space->count, .keys = p->keys, .limit = same_level};
    p->samples = calloc((size_t)p->keys + 1, sizeof *p->samples);
    p->taken = calloc((size_t)p->keys + 1, sizeof *p->taken);
    p->scarce = calloc((size_t)p->keys + 1, sizeof *p->scarce);
    if (p->samples == NULL || p->taken == NULL || p->scarce == NULL)
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
    p->key_of = calloc(slots * NAS_MAX_CANDIDATES, sizeof *p->key_of);
    p->turn_key = calloc(slots, sizeof *p->turn_key);
    p->turn_ms = calloc(slots, sizeof *p->turn_ms);
    if (!p->key_of || !p->turn_key || !p->turn_ms)
        return nas_fail(err, NAS_E_NOMEM, "profile: no memory for %zu slots", slots);
    return map_keys(p, err);
}

static void finish(profile *p)
{
    nas_turns__close(&p->turns);
    for (int k = 0; p->samples != NULL && k < p->keys; k++)
        nas_samples__fini(&p->samples[k]);
    nas_levels__fini(&p->levels);
    nas_probes__fini(&p->probes);
    free(p->samples);
    free(p->taken);
    free(p->scarce);
    free(p->turn_key);
    free(p->turn_ms);
    free(p->entries);
    free(p->key_of);
}

/* A time of each key.  What has no key (a pooling that Logits includes, a skipped block)
 * counts for the next. */
static nas_status take(void *user, const int *choice, const double *block_ms, double probe_ms,
                       nas_err *err)
{
    profile *p = user;
    double carried = 0.0;
    nas_status status;

    for (int s = 0; s < p->space->count; s++) {
        const int key = p->key_of[s * NAS_MAX_CANDIDATES + choice[s]];

        carried += block_ms[s];
        p->turn_key[s] = key;
        p->turn_ms[s] = carried;
        if (key < 0)
            continue;
        p->taken[key]++;
        carried = 0.0;
    }
    status = nas_levels__add(&p->levels, p->turn_key, p->turn_ms, err);
    if (status == NAS_OK && !isnan(probe_ms))
        status = nas_probes__add(&p->probes, p->levels.count, probe_ms, err);
    return status;
}

static int fewest_taken(const profile *p)
{
    int least = p->keys > 0 ? p->taken[0] : 0;

    for (int k = 1; k < p->keys; k++)
        least = p->taken[k] < least ? p->taken[k] : least;
    return least;
}

static int most_taken(const profile *p)
{
    int most = 0;

    for (int k = 0; k < p->keys; k++)
        most = p->taken[k] > most ? p->taken[k] : most;
    return most;
}

/* Adds the times of a turn to the keys of which it counts. */
static nas_status add_samples(profile *p, int turn, bool scarce, nas_err *err)
{
    const nas_levels *l = &p->levels;
    nas_status status = NAS_OK;

    for (int s = 0; s < l->slots && status == NAS_OK; s++) {
        const size_t at = (size_t)turn * (size_t)l->slots + (size_t)s;
        const int key = l->key[at];

        if (key >= 0 && p->scarce[key] == scarce)
            status = nas_samples__add(&p->samples[key], l->ms[at] / l->level[turn], err);
    }
    return status;
}

/* The samples of every key, each over the level of its turn: those of turns that nothing disturbed
 * or, where these are few, of all. */
static nas_status fill_samples(profile *p, nas_err *err)
{
    nas_status status = nas_levels__judge(&p->levels, err);

    for (int k = 0; k < p->keys; k++) {
        p->samples[k].count = 0;
        p->scarce[k] = false;
    }
    for (int t = 0; t < p->levels.count && status == NAS_OK; t++)
        if (nas_levels__usual(&p->levels, t))
            status = add_samples(p, t, false, err);
    for (int k = 0; k < p->keys; k++)
        if ((p->scarce[k] = p->samples[k].count < ENOUGH_SAMPLES))
            p->samples[k].count = 0;
    for (int t = 0; t < p->levels.count && status == NAS_OK; t++)
        status = add_samples(p, t, true, err);
    return status;
}

/* Counts the keys that are known well enough. */
static nas_status judge(profile *p, nas_err *err)
{
    const nas_status status = fill_samples(p, err);

    p->settled = 0;
    p->widest = 0.0;
    for (int k = 0; k < p->keys; k++) {
        const double interval = nas_samples__interval(&p->samples[k]);

        p->widest = fmax(p->widest, interval);
        p->settled += !p->scarce[k] && p->samples[k].count >= p->options->min_samples &&
                      interval <= p->options->interval;
    }
    return status;
}

/* Median over the keys of the change from the first half of the samples to the second. */
static double entries_drift(const profile *p)
{
    double *change = malloc(((size_t)p->keys + 1) * sizeof *change), median = 0.0;

    for (int k = 0; change != NULL && k < p->keys; k++)
        change[k] = nas_samples__drift(&p->samples[k]) - 1.0;
    if (change != NULL && p->keys > 0)
        median = nas_quantile(change, p->keys, 0.5);
    free(change);
    return median;
}

/* Minute 1 against minute 10. */
static changes find_changes(const profile *p)
{
    return (changes){.entries = entries_drift(p),
                     .speed = nas_levels__change(p->levels.level, p->levels.count),
                     .probe = nas_probes__change(&p->probes)};
}

/* A machine that was slower at first has turns there that do not count anyway.  One that is never
 * as fast again has them at the end, and the table would tell a speed that it does not keep. */
static bool has_drifted(const changes *c)
{
    return fabs(c->entries) > drift_limit || c->speed > drift_limit || c->probe > drift_limit;
}

static void report(const profile *p)
{
    const nas_progress at = {.phase = "profile", .batch = p->settled, .batches = p->keys,
                             .step = p->turns.count, .images_per_second = NAN, .loss = NAN,
                             .latency_ms = NAN, .entropy = NAN};

    nas_observe_progress(p->options->observer, &at);
}

/* Turns until all keys are settled, or no time is left and each has some samples. */
static nas_status settle(profile *p, nas_err *err)
{
    int64_t next_look = 0;
    nas_status status = NAS_OK;

    while (status == NAS_OK) {
        const int least = fewest_taken(p);
        const double now = nas_clock_seconds();

        if (nas_observe_stop(p->options->observer)) {
            return nas_fail(err, NAS_E_INTERRUPTED,
                            "profile: stopped before every key was measured");
        }
        if (least >= LEAST_SAMPLES && p->turns.count >= next_look) {
            if ((status = judge(p, err)) != NAS_OK)
                break;
            next_look = p->turns.count + 1 + p->turns.count / 20;
            if (most_taken(p) >= p->options->max_samples ||
                (p->settled == p->keys && nas_turns__probed(&p->turns) &&
                 now >= p->started + p->options->least_seconds))
                break;
        }
        report(p);
        if (least >= LEAST_SAMPLES && now >= p->deadline)
            break;
        status = nas_turns__next(&p->turns, err);
    }
    return status;
}

static void forget_half(profile *p)
{
    const int before = p->levels.count;

    nas_levels__halve(&p->levels);
    nas_probes__forget(&p->probes, before - p->levels.count);
    memset(p->taken, 0, (size_t)p->keys * sizeof *p->taken);
    for (int i = 0; i < p->levels.count * p->levels.slots; i++)
        if (p->levels.key[i] >= 0)
            p->taken[p->levels.key[i]]++;
}

/* A machine that became slower or faster meanwhile: what was measured before is forgotten. */
static nas_status measure(profile *p, nas_err *err)
{
    nas_status status = nas_turns__open(&p->turns, p->space, p->options, take, p, err);

    if (status != NAS_OK || (status = settle(p, err)) != NAS_OK ||
        (status = judge(p, err)) != NAS_OK)
        return status;
    p->drift = find_changes(p);
    while (has_drifted(&p->drift) && p->repeats < MAX_REPEATS &&
           nas_clock_seconds() < p->deadline) {
        forget_half(p);
        p->repeats++;
        if ((status = settle(p, err)) != NAS_OK || (status = judge(p, err)) != NAS_OK)
            return status;
        p->drift = find_changes(p);
    }
    return NAS_OK;
}

/* The clock and its governor, the cores (if told) and the load: how every description begins. */
static void put_state(nas_latency_meta *meta, const nas_facts *facts, const char *cores)
{
    char load[32] = "unknown", mhz[32] = "";

    if (facts->load >= 0.0)
        snprintf(load, sizeof load, "%.1f", facts->load);
    if (facts->mhz > 0.0)
        snprintf(mhz, sizeof mhz, ", %.0f MHz", facts->mhz);
    snprintf(meta->conditions, sizeof meta->conditions, "governor %s%s%s%s, load %s",
             facts->governor, mhz, cores ? ", cores " : "", cores ? cores : "", load);
}

/* All but the conditions, the space and its images. */
static void describe_device(const nas_facts *facts, nas_latency_meta *meta)
{
    snprintf(meta->device, sizeof meta->device, "%s", facts->device);
    nas_clock_format(nas_clock_utc_ms(), meta->created);
    snprintf(meta->engine, sizeof meta->engine, "%.38s%s%s kernels", facts->engine,
             facts->engine[0] ? ", " : "", facts->kernels);
    meta->cores = facts->cores;
    meta->threads = facts->threads;
    meta->batch = 1;
    meta->emulated = facts->emulated;
}

void nas_latency_meta_here(nas_latency_meta *meta, const char *engine)
{
    nas_facts facts;

    *meta = (nas_latency_meta){0};
    nas_facts__here(&facts, engine);
    describe_device(&facts, meta);
    put_state(meta, &facts, NULL);
}

nas_status nas_latency_meta_there(nas_latency_meta *meta, const nas_via *via,
                                  const nas_space *space, int threads, const char *cores,
                                  nas_err *err)
{
    nas_session session = {.space = space, .via = via, .job = {.threads = threads}};
    nas_cores parsed;
    nas_status status = nas_cores__parse(&parsed, cores, err);

    *meta = (nas_latency_meta){0};
    if (status != NAS_OK)
        return status;
    memcpy(session.job.cores, parsed.text, sizeof session.job.cores);
    if ((status = nas_session__init(&session, err)) == NAS_OK &&
        (status = nas_session__open(&session, err)) == NAS_OK) {
        describe_device(&session.facts, meta);
        put_state(meta, &session.facts, parsed.text);
    }
    nas_session__close(&session);
    return status;
}

static void describe(const profile *p, nas_latency_meta *meta)
{
    const nas_facts *facts = &p->turns.session.facts;
    double level;
    const double disturbed = nas_levels__disturbed(&p->levels, &level);
    char probe[32] = "";

    describe_device(facts, meta);
    put_state(meta, facts, p->turns.session.job.cores);
    const size_t used = strlen(meta->conditions);
    if (p->probes.count > 0)
        snprintf(probe, sizeof probe, "probe %+.1f %%, ", 100.0 * p->drift.probe);
    snprintf(meta->space, sizeof meta->space, "%s", p->space->name);
    snprintf(meta->conditions + used, sizeof meta->conditions - used,
             ", %lld networks, %.0f %% of them disturbed (%.2f times as long), interval %.1f %%, "
             "drift %+.1f %%, speed %+.1f %%, %srepeats %d", (long long)p->turns.count,
             100.0 * disturbed, level, 100.0 * p->widest, 100.0 * p->drift.entries,
             100.0 * p->drift.speed, probe, p->repeats);
    meta->image_size = p->space->image_size;
}

/* Which network the probe was, and its time at level 1; nothing if it was not run. */
static void describe_probe(const profile *p, nas_latency_meta *meta)
{
    const double ms = nas_probes__ms(&p->probes, &p->levels);

    if (!(ms > 0.0))
        return;
    meta->probe_ms = ms;
    memcpy(meta->probe, p->turns.session.probe, sizeof meta->probe);
}

static nas_status write_table(const profile *p, nas_latency_table **out, nas_err *err)
{
    nas_latency_table *table = nas_latency_table_new(err);
    nas_status status = table ? NAS_OK : NAS_E_NOMEM;

    for (int k = 0; k < p->keys && status == NAS_OK; k++) {
        const nas_latency_stat stat = nas_samples__stat(&p->samples[k]);

        status = nas_latency_table_add(table, p->entries[k].key, &stat, err);
    }
    if (status == NAS_OK) {
        describe(p, &table->meta);
        describe_probe(p, &table->meta);
        *out = table;
    } else {
        nas_latency_table_free(table);
    }
    return status;
}

static void tell(const profile *p)
{
    char probe[48] = "";

    if (p->probes.count > 0)
        snprintf(probe, sizeof probe, ", the probe by %+.1f %%", 100.0 * p->drift.probe);
    if (p->settled < p->keys)
        nas_log(NAS_LOG_INFO,
                "profile: %d of %d entries are not yet known to %.1f %% (the widest: %.1f %%)",
                p->keys - p->settled, p->keys, 100.0 * p->options->interval, 100.0 * p->widest);
    nas_log(has_drifted(&p->drift) ? NAS_LOG_WARN : NAS_LOG_INFO,
            "profile: from the first part of the %.0f s to the last, entries changed by %+.1f %%, "
            "the machine's speed by %+.1f %%%s (+: slower)%s",
            nas_clock_seconds() - p->started, 100.0 * p->drift.entries, 100.0 * p->drift.speed,
            probe, p->repeats > 0 ? "; the first half was measured again" : "");
}

nas_status nas_latency_profile(nas_latency_table **out, const nas_space *space,
                               const nas_latency_profile_options *options, nas_err *err)
{
    profile p = {.space = space, .options = options};
    nas_status status;

    *out = NULL;
    if ((status = start(&p, err)) == NAS_OK && (status = measure(&p, err)) == NAS_OK)
        status = write_table(&p, out, err);
    if (status != NAS_OK && err != NULL && err->hint[0] == '\0' && p.turns.journal != NULL &&
        p.turns.count > 0)
        nas_hint(err, "what was measured is kept in %s: the same command continues",
                 options->journal);
    if (status == NAS_OK)
        tell(&p);
    finish(&p);
    return status;
}

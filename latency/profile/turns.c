/* The journal first, then the device; after a lost link the device again. */
#include "latency/profile/turns.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/log.h"

enum { MAX_TRIES = 8, LEAST_PROBES = 5, TURNS_PER_PROBE = 5 };

static const double spare_seconds = 60; /* that a device may go on when we should have ended it */

static bool is_remote(const nas_turns *t)
{
    return t->options->via != NULL && t->options->via->kind != NULL;
}

static nas_job job_of(const nas_turns *t)
{
    nas_job job = {.threads = is_remote(t) ? t->options->threads : omp_get_max_threads(),
                     .seed = t->options->seed, .first = t->count,
                     .seconds = t->options->seconds + (is_remote(t) ? spare_seconds : 0.0)};

    snprintf(job.cores, sizeof job.cores, "%s", t->cores.text);
    return job;
}

static nas_status take(nas_turns *t, const double *block_ms, double probe_ms, nas_err *err)
{
    const nas_status status = t->taker(t->user, t->deck.choice, block_ms, probe_ms, err);

    t->count++;
    nas_deck__deal(&t->deck);
    return status;
}

/* ------------------------------------------------------------------ the journal */

static nas_status replay(void *user, const nas_line *line, nas_err *err)
{
    nas_turns *t = user;

    if (line->slots != t->space->count ||
        memcmp(line->choice, t->deck.choice, (size_t)line->slots * sizeof *line->choice) != 0)
        return nas_fail(err, NAS_E_DATA, "%s: turn %lld is not one of this space",
                        t->options->journal, (long long)line->turn);
    return take(t, line->ms, NAN, err);
}

/* Names what is measured and where. */
static nas_status digest_job(const nas_turns *t, char digest[NAS_DIGEST_SIZE], nas_err *err)
{
    nas_job job = job_of(t);
    nas_hash *hash;
    char *text;
    size_t size;

    job.seconds = 0;
    const nas_status status = nas_job__text(&text, &size, &job, t->space, err);
    if (status != NAS_OK)
        return status;
    if ((hash = nas_hash_new()) != NULL) {
        nas_hash_add(hash, text, size);
        if (is_remote(t))
            nas_hash_add(hash, t->options->via->text, strlen(t->options->via->text));
        nas_hash_hex(hash, digest);
    }
    free(text);
    nas_hash_free(hash);
    return hash != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "profile: out of memory");
}

static nas_status open_journal(nas_turns *t, nas_err *err)
{
    const char *path = t->options->journal;
    char digest[NAS_DIGEST_SIZE];
    nas_status status;

    if (path == NULL)
        return NAS_OK;
    if ((status = digest_job(t, digest, err)) ||
        (status = nas_journal__open(&t->journal, path, digest, &t->facts, &t->known, replay, t,
                                    err)))
        return status;
    if (t->count > 0)
        nas_log(NAS_LOG_INFO, "profile: goes on after the %lld networks in %s",
                (long long)t->count, path);
    return NAS_OK;
}

/* ------------------------------------------------------------------ the device */

/* Opens the source at the next turn; what answers must be the device that answered before. */
static nas_status open_source(nas_turns *t, nas_err *err)
{
    const nas_job job = job_of(t);
    nas_facts facts;
    nas_status status = t->source->open(t->source, &job, t->deck.choice, &facts, err);

    if (status != NAS_OK)
        return status;
    facts.emulated |= t->options->emulated || (t->known && t->facts.emulated);
    if (t->known && !nas_facts__same(&facts, &t->facts)) {
        nas_fail(err, NAS_E_DATA,
                 "another device answers now: %s (%d threads), before it was %s (%d)",
                 facts.device, facts.threads, t->facts.device, t->facts.threads);
        if (t->options->journal != NULL)
            nas_hint(err, "to begin anew, remove %.300s", t->options->journal);
        return NAS_E_DATA;
    }
    if (!t->known && t->journal != NULL)
        status = nas_journal__put_facts(t->journal, &facts, err);
    t->known = true;
    t->facts = facts;
    return status;
}

static void rest(double seconds)
{
    const time_t whole = (time_t)seconds;
    const struct timespec time = {.tv_sec = whole,
                                  .tv_nsec = (long)((seconds - (double)whole) * 1e9)};

    nanosleep(&time, NULL);
}

/* After a lost link: again and again, with longer and longer rests between. */
static nas_status reopen_source(nas_turns *t, nas_err *err)
{
    double seconds = 0.2;
    nas_status status = NAS_E_IO;

    nas_log(NAS_LOG_WARN, "%s; trying again", err->message);
    for (int i = 0; i < MAX_TRIES && status == NAS_E_IO; i++, seconds *= 2) {
        rest(seconds);
        if (nas_observe_stop(t->options->observer))
            return nas_fail(err, NAS_E_INTERRUPTED, "profile: stopped while the link was lost");
        status = open_source(t, err);
    }
    return status;
}

/* The next turn's block times; a device that answers, but never measures, is given up. */
static nas_status measure(nas_turns *t, nas_err *err)
{
    nas_status status = NAS_E_IO;

    for (int i = 0; i < MAX_TRIES; i++) {
        status = t->source->next(t->source, t->count, t->deck.choice, t->block_ms, err);
        if (status != NAS_E_IO)
            return status;
        const nas_status again = reopen_source(t, err);
        if (again != NAS_OK)
            return again;
    }
    return status;
}

bool nas_turns__probed(const nas_turns *t)
{
    return t->source->probe == NULL || t->probes >= LEAST_PROBES;
}

/* After each of the first turns, then after every fifth. */
static double probe(nas_turns *t)
{
    if (t->source->probe == NULL || (nas_turns__probed(t) && t->count % TURNS_PER_PROBE != 0))
        return NAN;
    t->probes++;
    return t->source->probe(t->source);
}

nas_status nas_turns__next(nas_turns *t, nas_err *err)
{
    nas_err own = {.status = NAS_OK}; /* read here, while `err` may be NULL */
    nas_status status = measure(t, &own);

    if (status != NAS_OK && err != NULL)
        *err = own;
    if (status == NAS_OK && t->journal != NULL)
        status = nas_journal__put_turn(t->journal, t->count, t->space->count, t->deck.choice,
                                       t->block_ms, err);
    return status != NAS_OK ? status : take(t, t->block_ms, probe(t), err);
}

/* Cores that cannot be had are told before a journal of other ones is given up for them. */
static nas_status try_cores(const nas_turns *t, nas_err *err)
{
    nas_cores cores = t->cores;
    const nas_status status = is_remote(t) ? NAS_OK : nas_cores__bind(&cores, err);

    if (status == NAS_OK && !is_remote(t))
        nas_cores__release(&cores);
    return status;
}

nas_status nas_turns__open(nas_turns *t, const nas_space *space,
                           const nas_latency_profile_options *options, nas_turn_taker *taker,
                           void *user, nas_err *err)
{
    nas_status status;

    *t = (nas_turns){.space = space, .options = options, .taker = taker, .user = user};
    if ((status = nas_cores__parse(&t->cores, options->cores, err)) || (status = try_cores(t, err)))
        return status;
    t->block_ms = calloc((size_t)space->count, sizeof *t->block_ms);
    if (t->block_ms == NULL)
        return nas_fail(err, NAS_E_NOMEM, "profile: no memory for %d slots", space->count);
    t->source = is_remote(t)
                    ? nas_source__remote(space, options->via, options->observer, err)
                    : nas_source__local(space, options->engine, err);
    if (t->source == NULL)
        return NAS_E_NOMEM;
    if ((status = nas_deck__init(&t->deck, space, options->seed, err)) != NAS_OK)
        return status;
    nas_deck__deal(&t->deck);
    if ((status = open_journal(t, err)) != NAS_OK)
        return status;
    return open_source(t, err);
}

void nas_turns__close(nas_turns *t)
{
    nas_journal__close(t->journal);
    if (t->source != NULL)
        t->source->free(t->source);
    nas_deck__fini(&t->deck);
    free(t->block_ms);
}

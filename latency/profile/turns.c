/* The journal first, then the device. */
#include "latency/profile/turns.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"

enum { LEAST_PROBES = 5, TURNS_PER_PROBE = 5 };

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
        memcmp(line->request.choice, t->deck.choice,
               (size_t)line->slots * sizeof *line->request.choice) != 0)
        return nas_fail(err, NAS_E_DATA, "%s: turn %lld is not one of this space",
                        t->options->journal, (long long)line->request.number);
    return take(t, line->answer.block_ms, NAN, err);
}

/* Names what is measured and where. */
static nas_status digest_job(const nas_turns *t, char digest[NAS_DIGEST_SIZE], nas_err *err)
{
    nas_job job = t->session.job;
    nas_hash *hash;
    char *text;
    size_t size;

    job.warm_seconds = 0;
    const nas_status status = nas_job__text(&text, &size, &job, t->space, err);
    if (status != NAS_OK)
        return status;
    if ((hash = nas_hash_new()) != NULL) {
        nas_hash_add(hash, text, size);
        if (nas_session__remote(&t->session))
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
    nas_session *s = &t->session;
    char digest[NAS_DIGEST_SIZE];
    nas_status status;

    if (path == NULL)
        return NAS_OK;
    if ((status = digest_job(t, digest, err)) ||
        (status = nas_journal__open(&t->journal, path, digest, &s->facts, &s->known, replay, t,
                                    err)))
        return status;
    if (t->count > 0)
        nas_log(NAS_LOG_INFO, "profile: goes on after the %lld networks in %s",
                (long long)t->count, path);
    return NAS_OK;
}

/* ------------------------------------------------------------------ the device */

/* What answers must be the device that the journal knows, if it knows one. */
static nas_status open_session(nas_turns *t, nas_err *err)
{
    const bool known = t->session.known;
    const nas_status status = nas_session__open(&t->session, err);

    if (status != NAS_OK || known || t->journal == NULL)
        return status;
    return nas_journal__put_facts(t->journal, &t->session.facts, err);
}

bool nas_turns__probed(const nas_turns *t) { return t->probes >= LEAST_PROBES; }

/* After each of the first turns, then after every fifth. */
static nas_status probe(nas_turns *t, double *ms, nas_err *err)
{
    const nas_request request = {.kind = NAS_REQUEST_PROBE, .number = t->count};
    nas_answer answer;
    nas_status status;

    *ms = NAN;
    if (nas_turns__probed(t) && t->count % TURNS_PER_PROBE != 0)
        return NAS_OK;
    t->probes++;
    if ((status = nas_session__ask(&t->session, &request, &answer, err)) == NAS_OK)
        *ms = answer.ms;
    return status;
}

nas_status nas_turns__next(nas_turns *t, nas_err *err)
{
    nas_request request = {.kind = NAS_REQUEST_TURN, .number = t->count};
    nas_answer answer;
    double probe_ms;

    memcpy(request.choice, t->deck.choice, (size_t)t->space->count * sizeof *request.choice);
    nas_status status = nas_session__ask(&t->session, &request, &answer, err);
    if (status == NAS_OK && t->journal != NULL)
        status = nas_journal__put_turn(t->journal, &request, t->space->count, &answer, err);
    if (status != NAS_OK || (status = probe(t, &probe_ms, err)) != NAS_OK)
        return status;
    return take(t, answer.block_ms, probe_ms, err);
}

/* Cores that cannot be had are told before a journal of other ones is given up for them. */
static nas_status check_cores(nas_turns *t, nas_err *err)
{
    nas_cores cores;
    nas_status status = nas_cores__parse(&cores, t->options->cores, err);

    if (status != NAS_OK)
        return status;
    memcpy(t->session.job.cores, cores.text, sizeof t->session.job.cores);
    if (nas_session__remote(&t->session))
        return NAS_OK;
    if ((status = nas_cores__bind(&cores, err)) == NAS_OK)
        nas_cores__release(&cores);
    return status;
}

nas_status nas_turns__open(nas_turns *t, const nas_space *space,
                           const nas_latency_profile_options *options, nas_turn_taker *taker,
                           void *user, nas_err *err)
{
    nas_status status;

    *t = (nas_turns){.space = space, .options = options, .taker = taker, .user = user};
    t->session = (nas_session){.space = space, .via = options->via, .observer = options->observer,
                               .engine = options->engine, .journal = options->journal,
                               .emulated = options->emulated,
                               .job = {.threads = options->threads, .seed = options->seed,
                                       .warm_seconds = options->seconds / 4}};
    if (!nas_session__remote(&t->session))
        t->session.job.threads = omp_get_max_threads();
    if ((status = check_cores(t, err)) || (status = nas_session__init(&t->session, err)) ||
        (status = nas_deck__init(&t->deck, space, options->seed, err)))
        return status;
    nas_deck__deal(&t->deck);
    if ((status = open_journal(t, err)) != NAS_OK)
        return status;
    return open_session(t, err);
}

void nas_turns__close(nas_turns *t)
{
    nas_journal__close(t->journal);
    nas_session__close(&t->session);
    nas_deck__fini(&t->deck);
}

/* Once more after a lost link, but not for ever, and never another device. */
#include "latency/profile/session.h"

#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "latency/profile/probe.h"

enum { MAX_TRIES = 8 };

bool nas_session__remote(const nas_session *s)
{
    return s->via != NULL && s->via->kind != NULL;
}

nas_status nas_session__init(nas_session *s, nas_err *err)
{
    const nas_status status = nas_probe__find(s->space, s->job.probe, s->probe, err);

    if (status != NAS_OK)
        return status;
    s->source = nas_session__remote(s)
                    ? nas_source__remote(s->space, s->via, s->observer, err)
                    : nas_source__local(s->space, s->engine, err);
    return s->source != NULL ? NAS_OK : NAS_E_NOMEM;
}

nas_status nas_session__open(nas_session *s, nas_err *err)
{
    nas_facts facts;
    const nas_status status = s->source->open(s->source, &s->job, &facts, err);

    if (status != NAS_OK)
        return status;
    facts.emulated |= s->emulated || (s->known && s->facts.emulated);
    if (s->known && !nas_facts__same(&facts, &s->facts)) {
        nas_fail(err, NAS_E_DATA,
                 "another device answers now: %s (%d threads), before it was %s (%d)",
                 facts.device, facts.threads, s->facts.device, s->facts.threads);
        if (s->journal != NULL)
            nas_hint(err, "to begin anew, remove %.300s", s->journal);
        return NAS_E_DATA;
    }
    s->known = true;
    s->facts = facts;
    return NAS_OK;
}

static void rest(double seconds)
{
    const time_t whole = (time_t)seconds;
    const struct timespec time = {.tv_sec = whole,
                                  .tv_nsec = (long)((seconds - (double)whole) * 1e9)};

    nanosleep(&time, NULL);
}

/* After a lost link: again and again, with longer and longer rests between. */
static nas_status open_again(nas_session *s, nas_err *err)
{
    double seconds = 0.2;
    nas_status status = NAS_E_IO;

    nas_log(NAS_LOG_WARN, "%s; trying again", err->message);
    for (int i = 0; i < MAX_TRIES && status == NAS_E_IO; i++, seconds *= 2) {
        rest(seconds);
        if (nas_observe_stop(s->observer))
            return nas_fail(err, NAS_E_INTERRUPTED, "stopped while the link was lost");
        status = nas_session__open(s, err);
    }
    return status;
}

/* A device that answers, but never measures, is given up. */
static nas_status ask(nas_session *s, const nas_request *request, nas_answer *answer, nas_err *err)
{
    nas_status status = NAS_E_IO;

    for (int i = 0; i < MAX_TRIES; i++) {
        status = s->source->ask(s->source, request, answer, err);
        if (status != NAS_E_IO)
            return status;
        const nas_status again = open_again(s, err);
        if (again != NAS_OK)
            return again;
    }
    return status;
}

nas_status nas_session__ask(nas_session *s, const nas_request *request, nas_answer *answer,
                            nas_err *err)
{
    nas_err own = {.status = NAS_OK}; /* read here, while `err` may be NULL */
    const nas_status status = ask(s, request, answer, &own);

    if (status != NAS_OK && err != NULL)
        *err = own;
    return status;
}

void nas_session__close(nas_session *s)
{
    if (s->source != NULL)
        s->source->free(s->source);
    s->source = NULL;
}

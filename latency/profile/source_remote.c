/* Measuring at the other end of a link.  What comes from there is checked as any foreign file is. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "latency/profile/lines.h"
#include "latency/profile/source.h"

static const double quiet_seconds = 120, look_seconds = 0.2; /* before a link counts as lost */

typedef struct remote {
    nas_source source;
    const nas_space *space;
    const nas_via *via;
    const nas_observer *observer;
    nas_link *link;
    nas_line line;
} remote;

static nas_status fail_stopped(nas_err *err)
{
    return nas_fail(err, NAS_E_INTERRUPTED, "stopped before everything was measured");
}

/* NAS_E_IO: the link may be opened again. */
static nas_status fail_lost(remote *r, const char *what, nas_err *err)
{
    const char *complaint = nas_process_complaint(nas_link_process(r->link));

    nas_fail(err, NAS_E_IO, "%s%s%.250s", what, complaint[0] ? ": " : "", complaint);
    nas_link_close(r->link);
    r->link = NULL;
    return NAS_E_IO;
}

/* The next line into r->line. */
static nas_status receive(remote *r, nas_err *err)
{
    const double deadline = nas_clock_seconds() + quiet_seconds;
    nas_process *process = nas_link_process(r->link);
    nas_process_event event = NAS_PROCESS_QUIET;
    const char *text;
    size_t size;

    while (event == NAS_PROCESS_QUIET) {
        const nas_status status = nas_process_line(process, look_seconds, &event, &text, &size,
                                                   err);
        if (status != NAS_OK)
            return status;
        if (nas_observe_stop(r->observer))
            return fail_stopped(err);
        if (event == NAS_PROCESS_QUIET && nas_clock_seconds() > deadline)
            break;
    }
    if (event != NAS_PROCESS_LINE)
        return fail_lost(r, "the link to the device is lost", err);
    const nas_status status = nas_line__parse(&r->line, text, size, err);
    if (status != NAS_OK)
        nas_err_prefix(err, "what the device says makes no sense");
    else if (r->line.kind == NAS_LINE_ERROR)
        return nas_fail(err, NAS_E_FAIL, "the device cannot measure: %s", r->line.text);
    return status;
}

/* A phone's model goes before its processor. */
static void name_device(const nas_link *link, nas_facts *facts)
{
    char name[sizeof facts->device];

    if (nas_link_model(link)[0] == '\0')
        return;
    snprintf(name, sizeof name, "%.60s (%.60s)", nas_link_model(link), facts->device);
    nas_facts__plain(name);
    memcpy(facts->device, name, sizeof name);
}

static nas_status remote_open(nas_source *source, const nas_job *job, nas_facts *facts,
                              nas_err *err)
{
    remote *r = (remote *)source;
    char *text;
    size_t size;
    nas_status status = nas_job__text(&text, &size, job, r->space, err);

    if (status != NAS_OK)
        return status;
    nas_link_close(r->link);
    status = nas_link_open(&r->link, r->via, text, size, err);
    free(text);
    if (status != NAS_OK)
        return nas_observe_stop(r->observer) ? fail_stopped(err) : status;
    if ((status = receive(r, err)) != NAS_OK)
        return status;
    if (r->line.kind != NAS_LINE_FACTS)
        return nas_fail(err, NAS_E_DATA, "the device does not begin with what it is");
    if (job->threads > 0 && r->line.facts.threads != job->threads)
        return nas_fail(err, NAS_E_DATA, "the device runs %d threads, not %d",
                        r->line.facts.threads, job->threads);
    *facts = r->line.facts;
    name_device(r->link, facts);
    return NAS_OK;
}

/* Whether the line answers the request, and tells a time where one must have passed. */
static nas_status check_answer(const remote *r, const nas_request *request, nas_err *err)
{
    const nas_line *line = &r->line;
    const int slots = request->kind == NAS_REQUEST_PROBE ? 0 : r->space->count;
    double total = line->answer.ms;

    if (line->kind != NAS_LINE_ANSWER || line->request.kind != request->kind ||
        line->request.number != request->number || line->slots != slots ||
        memcmp(line->request.choice, request->choice, (size_t)slots * sizeof *request->choice))
        return nas_fail(err, NAS_E_DATA,
                        "the device measured something else than request %lld asks for",
                        (long long)request->number);
    if (request->kind == NAS_REQUEST_TURN) {
        total = 0.0;
        for (int s = 0; s < slots; s++)
            total += line->answer.block_ms[s];
    }
    if (total > 0.0)
        return NAS_OK;
    return nas_fail(err, NAS_E_DATA, "the device measured no time at all in request %lld",
                    (long long)request->number);
}

static nas_status remote_ask(nas_source *source, const nas_request *request, nas_answer *answer,
                             nas_err *err)
{
    remote *r = (remote *)source;
    char text[NAS_REQUEST_SIZE];
    const size_t size = nas_request__text(request, r->space->count, text);
    nas_status status;

    nas_process_say(nas_link_process(r->link), text, size);
    if ((status = receive(r, err)) == NAS_OK &&
        (status = check_answer(r, request, err)) == NAS_OK)
        *answer = r->line.answer;
    return status;
}

static void remote_free(nas_source *source)
{
    nas_link_close(((remote *)source)->link);
    free(source);
}

nas_source *nas_source__remote(const nas_space *space, const nas_via *via,
                               const nas_observer *observer, nas_err *err)
{
    remote *r = calloc(1, sizeof *r);

    if (r == NULL) {
        nas_fail(err, NAS_E_NOMEM, "profile: out of memory");
        return NULL;
    }
    r->source = (nas_source){.open = remote_open, .ask = remote_ask, .free = remote_free};
    r->space = space;
    r->via = via;
    r->observer = observer;
    return &r->source;
}

/* Measuring on this machine. */
#include <stdlib.h>

#include "latency/profile/bench.h"
#include "latency/profile/source.h"

typedef struct local {
    nas_source source;
    const nas_space *space;
    const char *engine;
    nas_bench bench;
} local;

static nas_status local_open(nas_source *source, const nas_job *job, nas_facts *facts,
                             nas_err *err)
{
    local *l = (local *)source;

    nas_facts__here(facts, l->engine); /* before a thread is bound: it tells all cores */
    const nas_status status = nas_bench__init(&l->bench, l->space, job, err);
    if (status == NAS_OK)
        nas_bench__warm_up(&l->bench, job->warm_seconds);
    return status;
}

static nas_status local_ask(nas_source *source, const nas_request *request, nas_answer *answer,
                            nas_err *err)
{
    return nas_bench__answer(&((local *)source)->bench, request, answer, err);
}

static void local_free(nas_source *source)
{
    nas_bench__fini(&((local *)source)->bench);
    free(source);
}

nas_source *nas_source__local(const nas_space *space, const char *engine, nas_err *err)
{
    local *l = calloc(1, sizeof *l);

    if (l == NULL) {
        nas_fail(err, NAS_E_NOMEM, "profile: out of memory");
        return NULL;
    }
    l->source = (nas_source){.open = local_open, .ask = local_ask, .free = local_free};
    l->space = space;
    l->engine = engine;
    return &l->source;
}

/* Turns on this machine. */
#include <stdlib.h>
#include <string.h>

#include "latency/profile/bench.h"
#include "latency/profile/probe.h"
#include "latency/profile/source.h"

typedef struct local {
    nas_source source;
    const nas_space *space;
    const char *engine;
    nas_bench bench;
} local;

static nas_status local_open(nas_source *source, const nas_job *job, const int *choice,
                             nas_facts *facts, nas_err *err)
{
    local *l = (local *)source;
    char digest[NAS_DIGEST_SIZE];
    int probe[NAS_MAX_SLOTS];
    nas_status status;

    nas_facts__here(facts, l->engine); /* before a thread is bound: it tells all cores */
    if ((status = nas_bench__init(&l->bench, l->space, job->seed, job->cores, err)) ||
        (status = nas_probe__find(l->space, probe, digest, err)) ||
        (status = nas_bench__set_probe(&l->bench, probe, err)))
        return status;
    return nas_bench__warm_up(&l->bench, choice, job->seconds / 4, err);
}

static nas_status local_next(nas_source *source, int64_t turn, const int *choice, double *block_ms,
                             nas_err *err)
{
    return nas_bench__turn(&((local *)source)->bench, choice, NULL, block_ms, err);
}

static double local_probe(nas_source *source)
{
    return nas_bench__probe(&((local *)source)->bench);
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
    l->source = (nas_source){.open = local_open, .next = local_next, .probe = local_probe,
                             .free = local_free};
    l->space = space;
    l->engine = engine;
    return &l->source;
}

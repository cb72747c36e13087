/* The machine's arithmetic and memory limits.  The one place that calls BLAS, which is loaded when
 * it is asked for: linked, it would take more than half of every start of `nas`. */
#include "ops/kernel/peak.h"

#include <cblas.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"

enum { SIDE = 1536, RUNS = 5, COPY_BYTES = 128 << 20 };

typedef __typeof__(cblas_sgemm) sgemm_fn;

struct nas_sgemm {
    sgemm_fn *multiply;
    float *matrix[3];
};

nas_status nas_sgemm_new(nas_sgemm **out, nas_err *err)
{
    const size_t bytes = nas_arena_round(sizeof(float) * SIDE * SIDE);
    void *library = dlopen(NAS_OPENBLAS_PATH, RTLD_NOW | RTLD_LOCAL); /* stays until the end */
    nas_sgemm *s = calloc(1, sizeof *s);

    *out = s;
    if (s == NULL)
        return nas_fail(err, NAS_E_NOMEM, "machine limits: out of memory");
    *(void **)&s->multiply = library != NULL ? dlsym(library, "cblas_sgemm") : NULL;
    if (s->multiply == NULL)
        return nas_fail(err, NAS_E_FAIL, "machine limits: %.300s", dlerror());
    for (int i = 0; i < 3; i++) {
        if ((s->matrix[i] = aligned_alloc(NAS_ALIGN, bytes)) == NULL)
            return nas_fail(err, NAS_E_NOMEM, "machine limits: out of memory");
        for (size_t at = 0; at < bytes / sizeof(float); at++)
            s->matrix[i][at] = 1.0f;
    }
    return NAS_OK;
}

double nas_sgemm_run(nas_sgemm *s)
{
    const double start = nas_clock_seconds();

    s->multiply(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1.0f, s->matrix[0],
                SIDE, s->matrix[1], SIDE, 0.0f, s->matrix[2], SIDE);
    return 2.0 * SIDE * SIDE * SIDE / (nas_clock_seconds() - start) * 1e-9;
}

void nas_sgemm_free(nas_sgemm *s)
{
    if (s == NULL)
        return;
    for (int i = 0; i < 3; i++)
        free(s->matrix[i]);
    free(s);
}

static double copy_gigabytes(const unsigned char *from, unsigned char *to)
{
    enum { PIECE = 1 << 20 };
    double best = 0.0;

    for (int run = 0; run < RUNS; run++) {
        const double start = nas_clock_seconds();
#pragma omp parallel for schedule(static)
        for (int at = 0; at < COPY_BYTES; at += PIECE)
            memcpy(to + at, from + at, PIECE);
        const double rate = 2.0 * COPY_BYTES / (nas_clock_seconds() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

nas_status nas_peak_measure(nas_peak *out, nas_err *err)
{
    unsigned char *block = aligned_alloc(NAS_ALIGN, 2 * (size_t)COPY_BYTES);
    nas_sgemm *sgemm = NULL;
    nas_status status = nas_sgemm_new(&sgemm, err);

    if (status != NAS_OK)
        goto done;
    if (block == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "machine limits: out of memory");
        goto done;
    }
    memset(block, 1, 2 * (size_t)COPY_BYTES);
    out->gflops = 0.0;
    for (int run = 0; run < RUNS; run++) {
        const double gflops = nas_sgemm_run(sgemm);

        out->gflops = gflops > out->gflops ? gflops : out->gflops;
    }
    out->gigabytes = copy_gigabytes(block, block + COPY_BYTES);

done:
    nas_sgemm_free(sgemm);
    free(block);
    return status;
}

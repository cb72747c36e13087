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

static nas_status load_sgemm(sgemm_fn **out, nas_err *err)
{
    void *library = dlopen(NAS_OPENBLAS_PATH, RTLD_NOW | RTLD_LOCAL); /* stays until the end */

    *(void **)out = library != NULL ? dlsym(library, "cblas_sgemm") : NULL;
    return *out != NULL ? NAS_OK : nas_fail(err, NAS_E_FAIL, "machine limits: %.300s", dlerror());
}

static double sgemm_gflops(sgemm_fn *sgemm, const float *a, const float *b, float *c)
{
    double best = 0.0;

    for (int run = 0; run < RUNS; run++) {
        const double start = nas_clock_seconds();
        sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1.0f, a, SIDE, b, SIDE,
              0.0f, c, SIDE);
        const double seconds = nas_clock_seconds() - start;
        const double gflops = 2.0 * SIDE * SIDE * SIDE / seconds * 1e-9;
        best = gflops > best ? gflops : best;
    }
    return best;
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
    const size_t matrix = nas_arena_round(sizeof(float) * SIDE * SIDE);
    float *a = aligned_alloc(NAS_ALIGN, 3 * matrix);
    unsigned char *block = aligned_alloc(NAS_ALIGN, 2 * (size_t)COPY_BYTES);
    sgemm_fn *sgemm = NULL;
    nas_status status = a != NULL && block != NULL
                            ? load_sgemm(&sgemm, err)
                            : nas_fail(err, NAS_E_NOMEM, "machine limits: out of memory");

    if (status != NAS_OK)
        goto done;
    for (size_t i = 0; i < 3 * matrix / sizeof *a; i++)
        a[i] = 1.0f;
    memset(block, 1, 2 * (size_t)COPY_BYTES);
    out->gflops = sgemm_gflops(sgemm, a, a + matrix / sizeof *a, a + 2 * (matrix / sizeof *a));
    out->gigabytes = copy_gigabytes(block, block + COPY_BYTES);

done:
    free(a);
    free(block);
    return status;
}

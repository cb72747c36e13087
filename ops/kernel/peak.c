/* The machine's arithmetic and memory limits.  The one place that calls BLAS. */
#include "ops/kernel/peak.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"

enum { SIDE = 1536, RUNS = 5, COPY_BYTES = 128 << 20 };

static double sgemm_gflops(const float *a, const float *b, float *c)
{
    double best = 0.0;

    for (int run = 0; run < RUNS; run++) {
        const double start = nas_clock_seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1.0f, a, SIDE, b,
                    SIDE, 0.0f, c, SIDE);
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

    if (a == NULL || block == NULL) {
        free(a);
        free(block);
        return nas_fail(err, NAS_E_NOMEM, "machine limits: out of memory");
    }
    for (size_t i = 0; i < 3 * matrix / sizeof *a; i++)
        a[i] = 1.0f;
    memset(block, 1, 2 * (size_t)COPY_BYTES);
    out->gflops = sgemm_gflops(a, a + matrix / sizeof *a, a + 2 * (matrix / sizeof *a));
    out->gigabytes = copy_gigabytes(block, block + COPY_BYTES);
    free(a);
    free(block);
    return NAS_OK;
}

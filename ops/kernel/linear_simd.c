/* Dense layers over rows: matrix products over fixed blocks, each of which one
 * thread computes whole. */
#include "ops/kernel/gemm_simd.h"
#include "ops/kernel/simd_kernels.h"

enum { ROWS = 48 }; /* rows of C in a block: whole register tiles */

static int least(int a, int b) { return a < b ? a : b; }

/* C[rows][n] = A*B or C += A*B, blocks of ROWS rows and panels shared out. */
static void multiply(int rows, int n, int k, const gemm_left *a, const gemm_right *b, float *c,
                     bool add)
{
    const int step = gemm_panel(n), bands = (rows + ROWS - 1) / ROWS;
    const int blocks = (n + step - 1) / step;
    const ptrdiff_t row = a->transposed ? 1 : a->ld;
    const bool worth = (size_t)rows * (size_t)n * (size_t)k > 100000;

#pragma omp parallel for schedule(dynamic, 1) collapse(2) if (worth)
    for (int block = 0; block < blocks; block++)
        for (int band = 0; band < bands; band++) {
            const int r = band * ROWS;
            const gemm_left left = {a->data + r * row, a->ld, a->transposed};

            for (int j = 0, panel = 0, width; j < n; j += width, panel++) {
                width = gemm_panel(n - j);
                if (panel == block)
                    gemm_strip(least(ROWS, rows - r), k, &left, b, c + (ptrdiff_t)r * n, n, j,
                               width, add, NULL);
            }
        }
}

NAS_INLINE void finish_row(const nas_act ACT, int count, const float *bias, float *y)
{
    int i = 0;

    for (; i + NAS_VL <= count; i += NAS_VL) {
        const vfloat shift = bias ? v_load(bias + i) : (vfloat){0};

        v_store(y + i, v_act(ACT, v_load(y + i) + shift));
    }
    if (i < count) {
        const vfloat shift = bias ? v_load_n(bias + i, count - i) : (vfloat){0};

        v_store_n(y + i, v_act(ACT, v_load_n(y + i, count - i) + shift), count - i);
    }
}

void NAS_ISA_NAME(nas_k_linear)(int rows, int in, int out, const float *x, const float *w,
                                const float *bias, nas_act act, float *y)
{
    const gemm_left left = {.data = x, .ld = in};
    const gemm_right right = {.data = w, .row = out, .col = 1};

    multiply(rows, out, in, &left, &right, y, false);
    for (int r = 0; r < rows; r++)
        NAS_WITH_ACT(act, finish_row(ACT, out, bias, y + (ptrdiff_t)r * out))
}

void NAS_ISA_NAME(nas_k_linear_backward)(int rows, int in, int out, const float *x, const float *w,
                                         const float *dy, float *dx, float *dw, float *db)
{
    if (dx) {
        const gemm_left left = {.data = dy, .ld = out};
        const gemm_right right = {.data = w, .row = 1, .col = out};

        multiply(rows, in, out, &left, &right, dx, false);
    }
    if (dw) {
        const gemm_left left = {.data = x, .ld = in, .transposed = true};
        const gemm_right right = {.data = dy, .row = out, .col = 1};

        multiply(in, out, rows, &left, &right, dw, true);
    }
    for (int r = 0; db && r < rows; r++)
        for (int o = 0; o < out; o++)
            db[o] += dy[(ptrdiff_t)r * out + o];
}

/* Linear systems by Cholesky's decomposition.  Our own, so that the bits depend neither on the
 * machine's BLAS nor on threads; rows are updated whole, which the compiler vectorises. */
#include "base/spd.h"

#include <math.h>
#include <stddef.h>

/* y -= f * x */
static void subtract(int count, double f, const double *x, double *y)
{
    for (int i = 0; i < count; i++)
        y[i] -= f * x[i];
}

/* a = u'u, u in the upper half. */
static bool decompose(int n, double *a)
{
    for (int k = 0; k < n; k++) {
        double *row = a + (ptrdiff_t)k * n;

        if (!(row[k] > 0.0) || !isfinite(row[k]))
            return false;
        const double pivot = 1.0 / sqrt(row[k]);
        for (int j = k; j < n; j++)
            row[j] *= pivot;
        for (int i = k + 1; i < n; i++)
            subtract(n - i, row[i], row + i, a + (ptrdiff_t)i * n + i);
    }
    return true;
}

static void scale(int count, double f, double *x)
{
    for (int i = 0; i < count; i++)
        x[i] *= f;
}

bool nas_spd_solve(int n, int rhs, double *a, double *b)
{
    if (!decompose(n, a))
        return false;
    for (int k = 0; k < n; k++) { /* u'z = b */
        const double *row = a + (ptrdiff_t)k * n;
        double *z = b + (ptrdiff_t)k * rhs;

        scale(rhs, 1.0 / row[k], z);
        for (int i = k + 1; i < n; i++)
            subtract(rhs, row[i], z, b + (ptrdiff_t)i * rhs);
    }
    for (int k = n - 1; k >= 0; k--) { /* u x = z */
        const double *row = a + (ptrdiff_t)k * n;
        double *x = b + (ptrdiff_t)k * rhs;

        for (int i = k + 1; i < n; i++)
            subtract(rhs, row[i], b + (ptrdiff_t)i * rhs, x);
        scale(rhs, 1.0 / row[k], x);
    }
    return true;
}

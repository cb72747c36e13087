/* Symmetric, positive definite systems of linear equations. */
#ifndef NAS_BASE_SPD_H
#define NAS_BASE_SPD_H

#include <stdbool.h>

/** Solves a*x = b for a symmetric, positive definite a [n][n] (upper half read; overwritten) and b
 * [n][rhs] (overwritten by x), by Cholesky's decomposition in one thread.  False if a is not
 * positive definite. */
bool nas_spd_solve(int n, int rhs, double *a, double *b);

#endif

/* Statistics of small samples: what benches, profiles and tables report. */
#ifndef NAS_BASE_STATS_H
#define NAS_BASE_STATS_H

/** All take n >= 1 values; none modifies them.  Only correlations need memory, and are NAN without
 * it. */
double nas_mean(const double *values, int n);
/** Sample standard deviation (n - 1); 0 for n == 1. */
double nas_std(const double *values, int n);
/** Quantile q in [0,1], linear between order statistics (NumPy's default). */
double nas_quantile(const double *values, int n, double q);
/** Rank correlations with average ranks for ties (Spearman) and tau-b (Kendall);
 * NAN when one side is constant, or a value is not finite. */
double nas_spearman(const double *a, const double *b, int n);
double nas_kendall(const double *a, const double *b, int n);

#endif

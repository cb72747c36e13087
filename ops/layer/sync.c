/* Batch norm whose statistics are those of several processes' images.
 *
 * Source: Ioffe and Szegedy 2015 over the union of the batches; sums travel in double, so that
 * sum(x^2) - mean * sum(x) loses nothing that a float would show. */
#include "ops/layer/unit.h"

/* [count] doubles at the top of the arena. */
static double *doubles(const nas_run *run, size_t count)
{
    return nas_arena_alloc(run->arena, count * sizeof(double));
}

static int pixels(const nas_unit *unit) { return unit->geom.oh * unit->geom.ow; }

/* Pixels of all processes; a batch of INT_MAX of them would not fit into any memory. */
static int all_pixels(const nas_unit *unit, const nas_run *run)
{
    return run->comm->ranks * run->n * pixels(unit);
}

void nas_unit__sync_forward(const nas_unit *unit, const nas_run *run, float *params,
                            const float *stats, nas_unit_kept *kept)
{
    const int chunks = nas_kernel_chunks(run->n), total = all_pixels(unit, run);
    const size_t mark = nas_arena_mark(run->arena), c = (size_t)unit->geom.cout;
    const bool update = run->bn_momentum > 0.0f;
    double *sum = doubles(run, 2 * c); /* of x, of x^2 */
    float *merged = nas_arena_floats(run->arena, 2 * c);

    for (size_t i = 0; i < c; i++) {
        sum[i] = sum[c + i] = 0.0;
        for (int chunk = 0; chunk < chunks; chunk++) {
            const long long first = (long long)chunk * run->n / chunks;
            const long long end = (long long)(chunk + 1) * run->n / chunks;
            const double count = (double)(end - first) * pixels(unit);
            const double mean = stats[(size_t)chunk * 2 * c + i];

            sum[i] += count * mean;
            sum[c + i] += stats[((size_t)chunk * 2 + 1) * c + i] + count * mean * mean;
        }
    }
    nas_comm_sum_doubles(run->comm, sum, 2 * c);
    for (size_t i = 0; i < c; i++) {
        const double mean = sum[i] / total, squares = sum[c + i] - mean * sum[i];

        merged[i] = (float)mean;
        merged[c + i] = squares > 0.0 ? (float)squares : 0.0f;
    }
    /* as one image of all pixels: one chunk */
    run->kernels->bn_forward(1, total, (int)c, merged, params + unit->gamma, params + unit->beta,
                             run->bn_eps, run->bn_momentum, update ? params + unit->mean : NULL,
                             update ? params + unit->var : NULL, kept->mean, kept->invstd,
                             kept->scale, kept->shift);
    nas_arena_release(run->arena, mark);
}

void nas_unit__sync_backward(const nas_unit *unit, const nas_run *run, const float *params,
                             const nas_unit_kept *kept, const float *sums, float *grads, float *a,
                             float *b, float *k)
{
    const int chunks = nas_kernel_chunks(run->n);
    const size_t mark = nas_arena_mark(run->arena), c = (size_t)unit->geom.cout;
    double *sum = doubles(run, 2 * c);
    float *merged = nas_arena_floats(run->arena, 2 * c);

    for (size_t i = 0; i < 2 * c; i++) {
        sum[i] = 0.0;
        for (int chunk = 0; chunk < chunks; chunk++)
            sum[i] += sums[(size_t)chunk * 2 * c + i];
    }
    if (grads != NULL)
        for (size_t i = 0; i < c; i++) {
            grads[unit->beta + i] += (float)sum[i];
            grads[unit->gamma + i] += (float)sum[c + i];
        }
    nas_comm_sum_doubles(run->comm, sum, 2 * c);
    for (size_t i = 0; i < 2 * c; i++)
        merged[i] = (float)sum[i];
    run->kernels->bn_backward(1, all_pixels(unit, run), (int)c, merged, params + unit->gamma,
                              kept->mean, kept->invstd, NULL, NULL, a, b, k);
    nas_arena_release(run->arena, mark);
}

/* Choice of channels, reconstruction, and the smaller network. */
#include "nas/prune/pruner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/spd.h"
#include "nas/prune/private.h"

/* The correction of the weights is held back by this share of the inputs' mean square, which as a
 * rule also covers that x'x is summed up in float; where it does not, ten times as much is tried,
 * and so on up to a tenth. */
static const double damping = 1e-5;
enum { DAMPINGS = 5 };

/* Axes of a parameter's rows and columns, by the part of its name before the dot. */
typedef struct part_axes {
    const char *part;
    int rows, columns; /* nas_prune_axis; NAS_PRUNE_AXES: all of them stay */
} part_axes;

static const part_axes parts[] = {
    {"conv", NAS_PRUNE_IN, NAS_PRUNE_OUT},
    {"expand", NAS_PRUNE_IN, NAS_PRUNE_MID},
    {"depthwise", NAS_PRUNE_AXES, NAS_PRUNE_MID},
    {"project", NAS_PRUNE_MID, NAS_PRUNE_OUT},
    {"se_reduce", NAS_PRUNE_MID, NAS_PRUNE_AXES},
    {"se_expand", NAS_PRUNE_AXES, NAS_PRUNE_MID},
    {"linear", NAS_PRUNE_IN, NAS_PRUNE_OUT},
};

static const part_axes *axes_of(const nas_param *param)
{
    const size_t length = strcspn(param->name, ".");

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strlen(parts[i].part) == length && strncmp(param->name, parts[i].part, length) == 0)
            return &parts[i];
    return NULL;
}

static bool is_matrix(const nas_param *param) { return param->kind < NAS_PARAM_BIAS; }

/* Groups of a parameter's rows and columns.  Vectors have columns alone; so has a filter that
 * reads one channel (depthwise) or some (groups). */
static int row_group(const nas_prune_plan *plan, int block, const nas_param *param)
{
    const part_axes *axes = axes_of(param);
    const bool one = param->kind == NAS_PARAM_DEPTHWISE || !is_matrix(param);

    return one || axes->rows == NAS_PRUNE_AXES ? NAS_PRUNE_FIXED : plan->at[block][axes->rows];
}

static int column_group(const nas_prune_plan *plan, int block, const nas_param *param)
{
    const part_axes *axes = axes_of(param);

    return axes->columns == NAS_PRUNE_AXES ? NAS_PRUNE_FIXED : plan->at[block][axes->columns];
}

/* -- the layers that read what is pruned ------------------------------------------------------ */

static bool add_reader(nas_pruner *p, int block, const nas_layer *layer, const nas_param *param)
{
    nas_prune__reader *r = &p->reader[p->readers];
    const int group = row_group(p->plan, block, param);

    if (group == NAS_PRUNE_FIXED || strncmp(param->name, "se_", 3) == 0)
        return true; /* squeeze-excite only loses inputs: its gate has to be learnt anew */
    *r = (nas_prune__reader){.block = block, .group = group, .weight = param,
                             .taps = param->k * param->k, .in = param->in, .out = param->out};
    for (int u = 0; u < layer->units; u++)
        if (layer->unit[u].weight == param->offset)
            r->unit = &layer->unit[u];
    r->solved = calloc((size_t)r->in + 1, sizeof *r->solved);
    p->readers++;
    return r->solved != NULL;
}

static const float *weights_of(const nas_pruner *p, const nas_prune__reader *r)
{
    return p->model->params + p->model->slot[r->block].offset[0] + r->weight->offset;
}

typedef struct importance {
    double sum;
    int channel;
} importance;

static int most_important_first(const void *a, const void *b)
{
    const importance *x = a, *y = b;

    if (x->sum != y->sum)
        return x->sum > y->sum ? -1 : 1;
    return x->channel - y->channel;
}

static nas_status rank(nas_pruner *p, int group, nas_err *err)
{
    const int channels = p->plan->group[group].channels;
    importance *list = calloc((size_t)channels, sizeof *list);

    p->rank[group] = malloc((size_t)channels * sizeof **p->rank);
    if (list == NULL || p->rank[group] == NULL) {
        free(list);
        return nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
    }
    for (int c = 0; c < channels; c++)
        list[c].channel = c;
    for (int i = 0; i < p->readers; i++) {
        const nas_prune__reader *r = &p->reader[i];
        const float *w = weights_of(p, r);

        for (int t = 0; r->group == group && t < r->taps; t++)
            for (int c = 0; c < r->in; c++)
                for (int o = 0; o < r->out; o++)
                    list[c].sum += (double)fabsf(*w++);
    }
    qsort(list, (size_t)channels, sizeof *list, most_important_first);
    for (int c = 0; c < channels; c++)
        p->rank[group][c] = list[c].channel;
    free(list);
    return NAS_OK;
}

nas_status nas_pruner_new(nas_pruner **out, const nas_model *model, const nas_prune_plan *plan,
                          nas_err *err)
{
    nas_pruner *p = calloc(1, sizeof *p);
    nas_status status = NAS_OK;
    bool whole = p != NULL;

    *out = NULL;
    if (whole) {
        p->model = model;
        p->plan = plan;
        p->rank = calloc((size_t)plan->groups, sizeof *p->rank);
        p->reader = calloc(2 * (size_t)model->slots, sizeof *p->reader);
        whole = p->rank != NULL && p->reader != NULL;
    }
    for (int s = 0; whole && s < model->slots; s++) {
        const nas_layer *layer = &model->slot[s].layer[0];

        for (int i = 0; i < layer->params && whole; i++)
            if (is_matrix(&layer->param[i]))
                whole = add_reader(p, s, layer, &layer->param[i]);
    }
    if (!whole)
        status = nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
    for (int g = 0; g < plan->groups && status == NAS_OK; g++)
        status = rank(p, g, err);
    if (status == NAS_OK)
        *out = p;
    else
        nas_pruner_free(p);
    return status;
}

void nas_pruner_free(nas_pruner *p)
{
    if (p == NULL)
        return;
    for (int g = 0; p->rank != NULL && g < p->plan->groups; g++)
        free(p->rank[g]);
    for (int i = 0; i < p->readers; i++) {
        for (int d = 0; p->reader[i].solved != NULL && d <= p->reader[i].in; d++)
            free(p->reader[i].solved[d]);
        free(p->reader[i].solved);
        free(p->reader[i].gram);
    }
    free(p->rank);
    free(p->reader);
    free(p);
}

nas_status nas_pruner_calibrate(nas_pruner *p, nas_loader *loader, int images, int points,
                                uint64_t seed, const nas_observer *observer, nas_err *err)
{
    nas_prune__capture *capture = NULL;
    const nas_batch *batch = NULL;
    int seen = 0;
    nas_status status = NAS_OK;

    for (int i = 0; i < p->readers; i++) {
        nas_prune__reader *r = &p->reader[i];
        const size_t width = (size_t)r->taps * (size_t)r->in;

        free(r->gram);
        if ((r->gram = calloc(width * width, sizeof *r->gram)) == NULL)
            return nas_fail(err, NAS_E_NOMEM, "calibration: out of memory");
    }
    nas_loader_start(loader, 0, 0);
    while (seen < images && status == NAS_OK &&
           (status = nas_loader_next(loader, &batch, err)) == NAS_OK && batch != NULL) {
        const int n = images - seen < batch->n ? images - seen : batch->n;

        if (capture == NULL && (status = nas_prune__capture_new(&capture, p, batch->n, points,
                                                                seed, err)) != NAS_OK)
            break;
        nas_prune__capture_batch(capture, n, batch->x);
        seen += n;
        status = nas_observe_go_on(observer, "calibrating", err);
    }
    nas_prune__capture_free(capture);
    if (status == NAS_OK && seen < NAS_PRUNE_LEAST_IMAGES) {
        status = nas_fail(err, NAS_E_CONFIG, "calibration: %d images are too few, it needs %d",
                          seen, NAS_PRUNE_LEAST_IMAGES);
        nas_hint(err, "give more training images, or a larger --calibration-images");
    }
    return status;
}

/* -- reconstruction --------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* The first `count` of a group's ranking, in their order in the network; behind them the rest. */
static int *split_channels(const nas_pruner *p, int group, int count)
{
    const int channels = p->plan->group[group].channels;
    int *list = malloc((size_t)channels * sizeof *list);

    if (list != NULL) {
        memcpy(list, p->rank[group], (size_t)channels * sizeof *list);
        qsort(list, (size_t)count, sizeof *list, ascending);
    }
    return list;
}

/* Index among taps*in columns of column i of those that `count` channels have. */
static size_t column(const nas_prune__reader *r, const int *list, int count, int i)
{
    return (size_t)(i / count) * (size_t)r->in + (size_t)list[i % count];
}

/* a = G_SS + damped mean square, b = G_SR W_R of reconstruct(); false if G is not finite. */
static bool set_up(const nas_prune__reader *r, const float *w, const int *list, int count,
                   double damped, double *a, double *b)
{
    const int n = r->taps * count, gone = r->in - count, rest = r->taps * gone;
    const size_t width = (size_t)r->taps * (size_t)r->in, outputs = (size_t)r->out;
    double trace = 0.0;

    for (int i = 0; i < n; i++) {
        const double *gram = r->gram + column(r, list, count, i) * width;
        double *to = b + (size_t)i * outputs;

        for (int j = 0; j < n; j++)
            a[(size_t)i * (size_t)n + (size_t)j] = gram[column(r, list, count, j)];
        trace += a[(size_t)i * (size_t)n + (size_t)i];
        memset(to, 0, outputs * sizeof *to);
        for (int j = 0; j < rest; j++) {
            const size_t from = column(r, list + count, gone, j);
            for (size_t o = 0; o < outputs; o++)
                to[o] += gram[from] * (double)w[from * outputs + o];
        }
    }
    for (int i = 0; i < n; i++) /* inputs that are all 0 need no correction */
        a[(size_t)i * (size_t)n + (size_t)i] += damped * trace / n + 1e-30;
    return isfinite(trace);
}

/* With S the columns kept and R those that go, the weights W that minimise
 * |X_S W - X (W_S; W_R)|^2 are W_S + G_SS^-1 G_SR W_R, G = X'X. */
static bool reconstruct(const nas_prune__reader *r, const float *w, const int *list, int count,
                        double *a, double *b, float *out)
{
    const int n = r->taps * count;
    const size_t outputs = (size_t)r->out;
    double damped = damping;
    bool solved = false;

    for (int i = 0; i < DAMPINGS && !solved; i++, damped *= 10) {
        if (!set_up(r, w, list, count, damped, a, b))
            return false;
        solved = nas_spd_solve(n, r->out, a, b);
    }
    if (!solved)
        return false;
    for (int i = 0; i < n; i++) {
        const float *from = w + column(r, list, count, i) * outputs;
        for (size_t o = 0; o < outputs; o++)
            out[(size_t)i * outputs + o] = (float)((double)from[o] + b[(size_t)i * outputs + o]);
    }
    return true;
}

/* Fills r->solved[count]. */
static nas_status solve(const nas_pruner *p, nas_prune__reader *r, int count)
{
    const size_t n = (size_t)r->taps * (size_t)count, outputs = (size_t)r->out;
    int *list = split_channels(p, r->group, count);
    double *a = malloc(n * n * sizeof *a), *b = malloc(n * outputs * sizeof *b);
    float *out = malloc(n * outputs * sizeof *out);
    nas_status status = NAS_E_NOMEM;

    if (list != NULL && a != NULL && b != NULL && out != NULL)
        status = reconstruct(r, weights_of(p, r), list, count, a, b, out) ? NAS_OK : NAS_E_FAIL;
    free(list);
    free(a);
    free(b);
    if (status == NAS_OK)
        r->solved[count] = out;
    else
        free(out);
    return status;
}

/* Layers are independent of each other: each is solved by one thread. */
static nas_status solve_missing(nas_pruner *p, const int *channels, nas_err *err)
{
    nas_status worst = NAS_OK;

#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < p->readers; i++) {
        nas_prune__reader *r = &p->reader[i];
        const int count = channels[r->group];

        if (r->gram == NULL || count == r->in || r->solved[count] != NULL)
            continue;
        const nas_status status = solve(p, r, count);
        if (status != NAS_OK)
#pragma omp critical
            worst = status;
    }
    if (worst == NAS_E_NOMEM)
        return nas_fail(err, worst, "reconstruction: out of memory");
    return worst == NAS_OK ? worst
                           : nas_fail(err, worst, "reconstruction: a layer's inputs or weights "
                                      "are no finite numbers");
}

/* -- the smaller network ---------------------------------------------------------------------- */

/* to[t][i][o] = from[t][rows[i]][columns[o]]; NULL: all. */
static void gather(const nas_param *small, const float *from, int in, int out, const int *rows,
                   const int *columns, float *to)
{
    const int taps = is_matrix(small) ? small->k * small->k : 1;
    const int small_in = is_matrix(small) ? small->in : 1;

    for (int t = 0; t < taps; t++)
        for (int i = 0; i < small_in; i++) {
            const float *row =
                from + ((ptrdiff_t)t * in + (rows != NULL ? rows[i] : i)) * (ptrdiff_t)out;
            for (int o = 0; o < small->out; o++)
                *to++ = row[columns != NULL ? columns[o] : o];
        }
}

static const float *solved_weights(const nas_pruner *p, int block, const nas_param *param,
                                   const int *channels)
{
    for (int i = 0; i < p->readers; i++) {
        const nas_prune__reader *r = &p->reader[i];
        if (r->block == block && r->weight == param && r->gram != NULL)
            return r->solved[channels[r->group]];
    }
    return NULL;
}

static void fill_block(const nas_pruner *p, int block, const int *channels, int *const *kept,
                       nas_model *small)
{
    const nas_layer *from = &p->model->slot[block].layer[0];
    const nas_layer *to = &small->slot[block].layer[0];
    const float *values = p->model->params + p->model->slot[block].offset[0];

    for (int i = 0; i < from->params; i++) {
        const nas_param *param = &from->param[i];
        const int rows = row_group(p->plan, block, param);
        const int columns = column_group(p->plan, block, param);
        const float *solved = solved_weights(p, block, param, channels);
        const bool all = solved != NULL || rows == NAS_PRUNE_FIXED;

        gather(&to->param[i], solved != NULL ? solved : values + param->offset,
               solved != NULL ? to->param[i].in : param->in, param->out, all ? NULL : kept[rows],
               columns != NAS_PRUNE_FIXED ? kept[columns] : NULL,
               small->params + small->slot[block].offset[0] + to->param[i].offset);
    }
}

nas_status nas_pruner_apply(nas_pruner *p, const int *channels, nas_arch **arch, nas_model **model,
                            nas_err *err)
{
    int **kept = calloc((size_t)p->plan->groups, sizeof *kept);
    nas_arch *small = NULL;
    nas_status status = NAS_OK;

    *arch = NULL;
    *model = NULL;
    for (int g = 0; kept != NULL && g < p->plan->groups; g++)
        if ((kept[g] = split_channels(p, g, channels[g])) == NULL)
            status = NAS_E_NOMEM;
    if (kept == NULL || status != NAS_OK) {
        status = nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
        goto done;
    }
    if ((status = nas_prune_arch(&small, p->plan, channels, err)) ||
        (status = solve_missing(p, channels, err)) ||
        (status = nas_model_new_arch(model, small, err)))
        goto done;
    for (int b = 0; b < p->model->slots; b++)
        fill_block(p, b, channels, kept, *model);
    *arch = small;
    small = NULL;

done:
    nas_arch_free(small);
    for (int g = 0; kept != NULL && g < p->plan->groups; g++)
        free(kept[g]);
    free(kept);
    return status;
}

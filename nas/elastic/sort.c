/* Channel sorting: important channels first, so that narrow subnets keep them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/elastic/private.h"

typedef struct rank {
    int bucket, channel;
    double importance;
} rank;

/* For qsort: buckets in order, the important first, the lower channel at a tie. */
static int important_first(const void *a, const void *b)
{
    const rank *x = a, *y = b;

    if (x->bucket != y->bucket)
        return x->bucket - y->bucket;
    if (x->importance != y->importance)
        return x->importance < y->importance ? 1 : -1;
    return x->channel - y->channel;
}

/* Sum of absolute values of each row of [rows][columns]. */
static void row_sums(const float *values, int rows, int columns, rank *out)
{
    for (int r = 0; r < rows; r++) {
        double sum = 0.0;

        for (int c = 0; c < columns; c++)
            sum += fabs((double)values[(size_t)r * (size_t)columns + (size_t)c]);
        out[r].importance = sum;
        out[r].channel = r;
    }
}

/* Widths of a slot's blocks that are trained already divide its channels. */
static void fill_buckets(const nas_slot *slot, const nas_elastic_dims *trained, int channels,
                         rank *ranks)
{
    for (int r = 0; r < channels; r++) {
        uint64_t seen = 0; /* a width counts once, whatever the kernel */

        ranks[r].bucket = 0;
        for (int c = 0; c < slot->count; c++) {
            const nas_op_spec *op = &slot->candidates[c];

            for (int i = 0; i < trained->expands && op->type == NAS_OP_MBCONV; i++)
                if (op->expand == trained->expand[i] && r >= op->mid)
                    seen |= (uint64_t)1 << i;
        }
        ranks[r].bucket = __builtin_popcountll(seen);
    }
}

/* Rows of [rows][columns] in the order of ranks. */
static void permute_rows(float *values, int rows, int columns, const rank *ranks, float *copy)
{
    const size_t row = (size_t)columns;

    memcpy(copy, values, (size_t)rows * row * sizeof *copy);
    for (int r = 0; r < rows; r++)
        memcpy(values + (size_t)r * row, copy + (size_t)ranks[r].channel * row,
               row * sizeof *copy);
}

static void permute_columns(float *values, int rows, int columns, const rank *ranks, float *copy)
{
    for (int r = 0; r < rows; r++, values += columns) {
        memcpy(copy, values, (size_t)columns * sizeof *copy);
        for (int c = 0; c < columns; c++)
            values[c] = copy[ranks[c].channel];
    }
}

typedef struct sorter {
    const nas_layer *layer;
    float *params;
    rank *ranks;
    float *copy;
} sorter;

static void permute(const sorter *s, const char *name, bool rows)
{
    const nas_param *p = nas_elastic__param(s->layer, name);
    float *values = s->params + p->offset;

    if (rows)
        permute_rows(values, p->in, p->out, s->ranks, s->copy);
    else
        permute_columns(values, (int)(p->count / (size_t)p->out), p->out, s->ranks, s->copy);
}

static void permute_norm(const sorter *s, const char *unit)
{
    static const char *const parts[] = {"gamma", "beta", "mean", "var"};
    char name[32];

    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s.%s", unit, parts[i]);
        permute(s, name, false);
    }
}

static void sort_channels(const sorter *s, const nas_slot *slot, const nas_elastic_dims *trained)
{
    const nas_op_spec *op = &s->layer->spec;
    const nas_param *project = nas_elastic__param(s->layer, "project.weight");

    row_sums(s->params + project->offset, op->mid, op->out, s->ranks);
    fill_buckets(slot, trained, op->mid, s->ranks);
    qsort(s->ranks, (size_t)op->mid, sizeof *s->ranks, important_first);
    permute(s, "project.weight", true);
    permute(s, "depthwise.weight", false);
    permute_norm(s, "depthwise");
    permute(s, "expand.weight", false);
    permute_norm(s, "expand");
    if (op->se == 0)
        return;
    permute(s, "se_reduce.weight", true);
    permute(s, "se_expand.weight", false);
    permute(s, "se_expand.bias", false);
}

static void sort_hidden(const sorter *s)
{
    const nas_op_spec *op = &s->layer->spec;
    const nas_param *expand = nas_elastic__param(s->layer, "se_expand.weight");

    row_sums(s->params + expand->offset, op->se, op->mid, s->ranks);
    for (int r = 0; r < op->se; r++)
        s->ranks[r].bucket = 0;
    qsort(s->ranks, (size_t)op->se, sizeof *s->ranks, important_first);
    permute(s, "se_expand.weight", true);
    permute(s, "se_reduce.weight", false);
    permute(s, "se_reduce.bias", false);
}

nas_status nas_elastic_sort(nas_elastic *e, const nas_elastic_dims *trained, nas_err *err)
{
    for (int i = 0; i < e->space->count; i++) {
        const nas_layer *layer = nas_elastic__layer(e, i);
        const nas_slot *slot = &e->space->slots[i];
        const size_t most = (size_t)(layer->spec.mid > layer->spec.se ? layer->spec.mid
                                                                     : layer->spec.se);

        /* without an expand convolution the channels are the neighbours' */
        if (slot->count == 1 || layer->spec.expand == 1.0f)
            continue;
        sorter s = {layer, nas_elastic__params(e, i), malloc(most * sizeof(rank)),
                    malloc(nas_layer_floats(layer) * sizeof(float))};
        const bool room = s.ranks != NULL && s.copy != NULL;
        if (room)
            sort_channels(&s, slot, trained);
        if (room && layer->spec.se > 0)
            sort_hidden(&s);
        free(s.ranks);
        free(s.copy);
        if (!room)
            return nas_fail(err, NAS_E_NOMEM, "supernet: no memory to sort channels");
    }
    return NAS_OK;
}

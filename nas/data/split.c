/* Lists of images: whole splits, and validation images held out of train. */
#include "nas/data/split.h"

#include <assert.h>
#include <stdlib.h>

#include "base/rng.h"

void nas_index_fini(nas_index *index)
{
    free(index->items);
    *index = (nas_index){0};
}

static nas_status index_init(nas_index *index, uint32_t count, nas_err *err)
{
    index->items = malloc((count > 0 ? count : 1) * sizeof *index->items);
    index->count = 0;
    if (index->items == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a list of %u images", count);
    return NAS_OK;
}

nas_status nas_index_split(nas_index *out, const nas_data_split *split, nas_err *err)
{
    const nas_status status = index_init(out, split->count, err);

    for (uint32_t i = 0; status == NAS_OK && i < split->count; i++)
        out->items[out->count++] = split->first + i;
    return status;
}

nas_status nas_split_mark(const uint32_t *labels, uint32_t n, int classes, const uint32_t *quota,
                          uint64_t seed, bool *marked, nas_err *err)
{
    uint32_t *end = calloc((size_t)classes + 1, sizeof *end); /* of class c in `order` */
    uint32_t *order = malloc((n > 0 ? n : 1) * sizeof *order);
    nas_status status = NAS_OK;

    if (end == NULL || order == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "no memory to split %u images", n);
        goto done;
    }
    /* counting sort: positions by class, ascending within a class */
    for (uint32_t i = 0; i < n; i++)
        end[labels[i] + 1]++;
    for (int c = 0; c < classes; c++)
        end[c + 1] += end[c];
    for (uint32_t i = 0; i < n; i++) {
        order[end[labels[i]]++] = i;
        marked[i] = false;
    }
    for (int c = 0; c < classes; c++) {
        const uint32_t first = c > 0 ? end[c - 1] : 0;
        nas_rng rng;

        assert(quota[c] <= end[c] - first);
        nas_rng_init(&rng, seed, "data.split", (uint64_t)c);
        nas_rng_shuffle(&rng, order + first, end[c] - first);
        for (uint32_t k = 0; k < quota[c]; k++)
            marked[order[first + k]] = true;
    }
done:
    free(order);
    free(end);
    return status;
}

typedef struct share {
    uint64_t remainder;
    int class;
} share;

/* Larger remainder first, then lower class. */
static int compare_shares(const void *a, const void *b)
{
    const share *x = a, *y = b;

    if (x->remainder != y->remainder)
        return x->remainder > y->remainder ? -1 : 1;
    return x->class - y->class;
}

/* Parts `total` among classes in proportion to `size`, by largest remainders. */
static nas_status set_quota(const uint32_t *size, int classes, uint32_t images, uint32_t total,
                            uint32_t *quota, nas_err *err)
{
    share *shares = malloc((size_t)classes * sizeof *shares);
    uint32_t left = total;

    if (shares == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory to split %d classes", classes);
    for (int c = 0; c < classes; c++) {
        const uint64_t exact = (uint64_t)total * size[c]; /* in units of 1/images */

        quota[c] = (uint32_t)(exact / images);
        shares[c] = (share){exact % images, c};
        left -= quota[c];
    }
    qsort(shares, (size_t)classes, sizeof *shares, compare_shares);
    for (uint32_t k = 0; k < left; k++) /* fewer than classes */
        quota[shares[k].class]++;
    free(shares);

    for (int c = 0; c < classes; c++)
        if (quota[c] > 0 && quota[c] >= size[c])
            return nas_fail(err, NAS_E_CONFIG,
                            "%u validation images leave class %d without a training image", total,
                            c);
    return NAS_OK;
}

nas_status nas_split_make(const nas_dataset *data, uint32_t valid_count, uint64_t seed,
                          nas_index *train, nas_index *valid, nas_err *err)
{
    const nas_data_split *whole = nas_dataset_split(data, "train");
    const uint32_t *labels = data->labels + whole->first;
    const size_t classes = (size_t)data->classes;
    uint32_t *size = calloc(2 * classes, sizeof *size), *quota = size + classes;
    bool *marked = malloc(whole->count * sizeof *marked);
    nas_status status;

    *train = *valid = (nas_index){0};
    if (size == NULL || marked == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "no memory to split %u images", whole->count);
        goto done;
    }
    if (valid_count == 0 || valid_count >= whole->count) {
        status = nas_fail(err, NAS_E_CONFIG,
                          "%u validation images cannot be held out of %u training images",
                          valid_count, whole->count);
        nas_hint(err, "their share is --valid-fraction");
        goto done;
    }
    for (uint32_t i = 0; i < whole->count; i++)
        size[labels[i]]++;
    if ((status = set_quota(size, data->classes, whole->count, valid_count, quota, err)) ||
        (status = nas_split_mark(labels, whole->count, data->classes, quota, seed, marked, err)) ||
        (status = index_init(train, whole->count - valid_count, err)) ||
        (status = index_init(valid, valid_count, err)))
        goto done;
    for (uint32_t i = 0; i < whole->count; i++) {
        nas_index *list = marked[i] ? valid : train;

        list->items[list->count++] = whole->first + i;
    }
done:
    if (status != NAS_OK) {
        nas_index_fini(train);
        nas_index_fini(valid);
    }
    free(marked);
    free(size);
    return status;
}

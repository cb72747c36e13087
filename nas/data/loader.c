/* The loader: a ring of batches, filled slice by slice by a few threads.
 *
 * Batches are numbered from the place where the loader was started: `sequence`.  A
 * thread takes the next slice of the next batch that has a free place in the ring; the
 * ring holds the batch in use and `ahead` more.  Every image has its own random stream,
 * named by its place in the epoch, so who fills what does not show in the result. */
#include "nas/data/loader.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum {
    SLICE = 16, /* images a thread takes at a time */
    THREADS_MAX = 256,
    AHEAD_MAX = 64,
    BATCH_MAX = 65536,
    SIDE_MAX = 4096, /* pixels of an output */
    STREAM_SIZE = 64
};

typedef struct slot {
    nas_batch batch;
    float *x;
    int *labels;
    uint32_t *items;
    int pending; /* slices not finished */
    int bad;     /* position of the first image that failed; -1: none */
    nas_err err; /* why */
} slot;

typedef struct worker {
    nas_loader *loader;
    pthread_t thread;
    nas_image image; /* decoded */
    nas_augment_scratch scratch;
} worker;

struct nas_loader {
    const nas_dataset *data;
    nas_loader_options options;
    char order_stream[STREAM_SIZE], augment_stream[STREAM_SIZE], size_stream[STREAM_SIZE];
    uint32_t *items, *order; /* [count]: as given, and as shuffled for order_epoch */
    uint32_t count;
    int64_t order_epoch;
    int64_t batches; /* of an epoch */
    int share;       /* images of a batch that are served */
    int height, width, channels; /* height and width at most */
    int size, next_size; /* of every batch now, and after the next start; 0: as options say */
    nas_normal normal;
    slot *ring; /* [places] */
    int places;
    worker *workers; /* [threads] */
    int threads;

    pthread_mutex_t lock; /* guards all below, and the slots' pending, bad and err */
    pthread_cond_t work, ready, idle;
    bool open, stop;
    int64_t start;     /* of sequence 0: epoch * batches + batch */
    int64_t end;       /* sequence after the last */
    int64_t next;      /* sequence of the batch whose slices are being taken */
    int next_slice;    /* of it */
    int64_t given;     /* batches handed to the caller */
    int64_t released;  /* of these, given back */
    int busy;          /* threads inside a slice */
};

static int slices_of(int n)
{
    return (n + SLICE - 1) / SLICE;
}

/* ---- filling ---- */

static void set_order(nas_loader *l, int64_t epoch)
{
    nas_rng rng;

    if (l->order_epoch == epoch)
        return;
    memcpy(l->order, l->items, (size_t)l->count * sizeof *l->order);
    if (l->options.shuffle) {
        nas_rng_init(&rng, l->options.seed, l->order_stream, (uint64_t)epoch);
        nas_rng_shuffle(&rng, l->order, l->count);
    }
    l->order_epoch = epoch;
}

/* Side of the images of a batch; 0: all of height and width. */
static int side_of(const nas_loader *l, int64_t place)
{
    nas_rng rng;

    if (l->size > 0 || l->options.sizes == 0)
        return l->size;
    nas_rng_init(&rng, l->options.seed, l->size_stream, (uint64_t)place);
    return l->options.size[nas_rng_below(&rng, (uint32_t)l->options.sizes)];
}

/* Place in the epoch of the first image that a batch serves. */
static int64_t first_of(const nas_loader *l, int64_t index)
{
    return index * l->options.batch + (int64_t)l->options.part * l->share;
}

/* Decides which images the batch of `sequence` holds. Under the lock. */
static void begin_batch(nas_loader *l, slot *s, int64_t sequence)
{
    const int64_t place = l->start + sequence;
    const int64_t epoch = place / l->batches, index = place % l->batches;
    const int64_t first = first_of(l, index), left = (int64_t)l->count - first;
    const int n = left < l->share ? (int)left : l->share;
    const int side = side_of(l, place);

    set_order(l, epoch);
    memcpy(s->items, l->order + first, (size_t)n * sizeof *s->items);
    s->batch = (nas_batch){n, s->x, s->labels, epoch, index, side > 0 ? side : l->height,
                           side > 0 ? side : l->width};
    s->pending = slices_of(n);
    s->bad = -1;
}

static nas_status fill_image(worker *w, slot *s, int i, nas_err *err)
{
    const nas_loader *l = w->loader;
    const nas_dataset *data = l->data;
    const uint32_t item = s->items[i];
    const uint64_t position = (uint64_t)first_of(l, s->batch.index) + (uint64_t)i;
    size_t size;
    const unsigned char *bytes = nas_dataset_record(data, item, &size);
    nas_image raw = {data->height, data->width, data->channels, (uint8_t *)bytes, 0};
    const nas_image *image = &raw;
    const int height = s->batch.height, width = s->batch.width;
    nas_augment augment = l->options.augment;
    nas_rng rng;
    nas_status status = NAS_OK;

    augment.pad = augment.pad * height / l->height;
    augment.cutout = augment.cutout * height / l->height;
    if (data->encoding == NAS_DATA_ENCODED) {
        status = nas_image_decode(&w->image, bytes, size, data->channels, err);
        image = &w->image;
    }
    nas_rng_init(&rng, l->options.seed, l->augment_stream,
                 (uint64_t)s->batch.epoch << 32 | position);
    if (status == NAS_OK)
        status = nas_augment_apply(
            &augment, &l->normal, image, height, width, &rng, &w->scratch,
            s->x + (size_t)i * (size_t)height * (size_t)width * (size_t)l->channels, err);
    if (status != NAS_OK)
        nas_err_prefix(err, "%s: image %u", data->path, item);
    s->labels[i] = (int)data->labels[item];
    return status;
}

/* Fills one slice; returns the position of the first image that failed, or -1. */
static int fill_slice(worker *w, slot *s, int slice, nas_err *err)
{
    const int end = (slice + 1) * SLICE < s->batch.n ? (slice + 1) * SLICE : s->batch.n;

    for (int i = slice * SLICE; i < end; i++)
        if (fill_image(w, s, i, err) != NAS_OK)
            return i;
    return -1;
}

static bool has_work(const nas_loader *l)
{
    return l->open && l->next < l->end && l->next < l->released + l->places;
}

/* Takes a slice and fills it. Called and returns with the lock held. */
static void work_once(nas_loader *l, worker *w)
{
    slot *s = &l->ring[l->next % l->places];
    const int slice = l->next_slice++;
    nas_err err;

    if (slice == 0)
        begin_batch(l, s, l->next);
    if (l->next_slice == slices_of(s->batch.n)) {
        l->next++;
        l->next_slice = 0;
    }
    l->busy++;
    pthread_mutex_unlock(&l->lock);
    const int bad = fill_slice(w, s, slice, &err);
    pthread_mutex_lock(&l->lock);
    l->busy--;
    if (bad >= 0 && (s->bad < 0 || bad < s->bad)) { /* the first one, whoever finds it */
        s->bad = bad;
        s->err = err;
    }
    if (--s->pending == 0)
        pthread_cond_broadcast(&l->ready);
    if (l->busy == 0)
        pthread_cond_broadcast(&l->idle);
}

static void *run_worker(void *arg)
{
    worker *w = arg;
    nas_loader *l = w->loader;

    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (has_work(l))
            work_once(l, w);
        else
            pthread_cond_wait(&l->work, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- opening ---- */

static nas_status check_options(const nas_loader *l, nas_err *err)
{
    const nas_loader_options *o = &l->options;
    const nas_augment *a = &o->augment;
    const double scale_max = a->scale_max, ratio_max = a->ratio_max;

    if (l->count == 0)
        return nas_fail(err, NAS_E_CONFIG, "%s: no images to load", l->data->path);
    if (o->batch < 1 || o->batch > BATCH_MAX || o->threads < 0 || o->ahead < 0 ||
        o->ahead > AHEAD_MAX)
        return nas_fail(err, NAS_E_CONFIG,
                        "batch %d, %d loader threads, %d batches ahead: not in 1..%d, 0.., 0..%d",
                        o->batch, o->threads, o->ahead, BATCH_MAX, AHEAD_MAX);
    if (o->parts != 0 && (o->part < 0 || o->part >= o->parts || !o->drop_last ||
                          o->batch % o->parts != 0))
        return nas_fail(err, NAS_E_CONFIG, "batches of %d images are not cut into %d parts",
                        o->batch, o->parts);
    if (l->batches == 0)
        return nas_fail(err, NAS_E_CONFIG, "%s: %u images do not fill a batch of %d",
                        l->data->path, l->count, o->batch);
    if (a->size < 0 || a->size > SIDE_MAX || a->resize < 0 || a->resize > SIDE_MAX || a->pad < 0 ||
        a->pad > SIDE_MAX || a->cutout < 0 || a->cutout > SIDE_MAX)
        return nas_fail(err, NAS_E_CONFIG, "augmentation sizes must be from 0 to %d pixels",
                        SIDE_MAX);
    for (int i = 0; i < o->sizes; i++)
        if (o->size[i] < 1 || o->size[i] > a->size)
            return nas_fail(err, NAS_E_CONFIG, "images of %d pixels: not in 1..%d", o->size[i],
                            a->size);
    if (a->random_resized_crop &&
        !(a->scale_min > 0 && a->scale_min <= scale_max && scale_max <= 1 && a->ratio_min > 0 &&
          a->ratio_min <= ratio_max && ratio_max <= 100))
        return nas_fail(err, NAS_E_CONFIG, "random resized crop: scale %g to %g, ratio %g to %g",
                        a->scale_min, scale_max, a->ratio_min, ratio_max);
    if (!(a->brightness >= 0 && a->contrast >= 0 && a->saturation >= 0 && a->hue >= 0 &&
          a->hue <= 0.5))
        return nas_fail(err, NAS_E_CONFIG, "colour jitter must be 0 or more, hue at most 0.5");
    if (l->height == 0) {
        nas_fail(err, NAS_E_CONFIG, "%s: its images differ in size", l->data->path);
        nas_hint(err, "set an image size, or import again with one (nas data import --size)");
        return NAS_E_CONFIG;
    }
    return NAS_OK;
}

static nas_status allocate(nas_loader *l, nas_err *err)
{
    const size_t batch = (size_t)l->share; /* < 2^17 */
    const size_t floats = batch * (size_t)l->height * (size_t)l->width * (size_t)l->channels;
    const size_t bytes = (floats * sizeof(float) + 63) / 64 * 64;

    l->ring = calloc((size_t)l->places, sizeof *l->ring);
    l->workers = calloc((size_t)(l->options.threads > 0 ? l->options.threads : 1),
                        sizeof *l->workers);
    l->order = malloc((size_t)l->count * sizeof *l->order);
    if (!l->ring || !l->workers || !l->order)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for a loader", l->data->path);
    for (int i = 0; i < l->places; i++) {
        slot *s = &l->ring[i];

        s->x = aligned_alloc(64, bytes);
        s->labels = malloc(batch * sizeof *s->labels);
        s->items = malloc(batch * sizeof *s->items);
        if (!s->x || !s->labels || !s->items)
            return nas_fail(err, NAS_E_NOMEM, "%s: no memory for %d batches of %zu bytes",
                            l->data->path, l->places, bytes);
    }
    return NAS_OK;
}

/* The workers take no signals: those are for the threads that know what to do. */
static nas_status start_workers(nas_loader *l, nas_err *err)
{
    const int wanted = l->options.threads > 0 ? l->options.threads : 1;
    sigset_t all, before;
    int failed = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (l->threads < wanted && failed == 0) {
        worker *w = &l->workers[l->threads];

        w->loader = l;
        failed = pthread_create(&w->thread, NULL, run_worker, w);
        l->threads += failed == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return nas_fail(err, NAS_E_FAIL, "cannot start loader thread %d of %d: %s",
                        l->threads + 1, wanted, strerror(failed));
    return NAS_OK;
}

nas_status nas_loader_open(nas_loader **out, const nas_dataset *data, const uint32_t *items,
                           uint32_t count, const nas_loader_options *options, nas_err *err)
{
    nas_loader *l = calloc(1, sizeof *l);
    const char *stream = options->stream != NULL ? options->stream : "data";
    nas_status status;

    *out = NULL;
    if (l == NULL || (l->items = malloc(count > 0 ? count * sizeof *items : 1)) == NULL) {
        free(l);
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for a loader", data->path);
    }
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    pthread_cond_init(&l->idle, NULL);
    l->data = data;
    l->options = *options;
    if (l->options.threads > THREADS_MAX) /* the result is the same */
        l->options.threads = THREADS_MAX;
    l->options.stream = NULL; /* the caller's memory: copied into the two names */
    snprintf(l->order_stream, STREAM_SIZE, "%.40s.order", stream);
    snprintf(l->augment_stream, STREAM_SIZE, "%.40s.augment", stream);
    snprintf(l->size_stream, STREAM_SIZE, "%.40s.size", stream);
    memcpy(l->items, items, (size_t)count * sizeof *items);
    l->count = count;
    l->order_epoch = -1;
    l->places = (options->ahead > 0 ? options->ahead : 2) + 1;
    l->height = options->augment.size > 0 ? options->augment.size : data->height;
    l->width = options->augment.size > 0 ? options->augment.size : data->width;
    l->channels = data->channels;
    l->share = options->batch / (options->parts > 0 ? options->parts : 1);
    if (options->batch > 0)
        l->batches = options->drop_last ? count / options->batch
                                        : ((int64_t)count + options->batch - 1) / options->batch;
    nas_normal_init(&l->normal, data->mean, data->std, data->channels);
    if ((status = check_options(l, err)) || (status = allocate(l, err)) ||
        (status = start_workers(l, err)))
        goto done;
    *out = l;
    l = NULL;
done:
    nas_loader_close(l);
    return status;
}

void nas_loader_close(nas_loader *l)
{
    if (l == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->threads; i++) {
        pthread_join(l->workers[i].thread, NULL);
        nas_image_fini(&l->workers[i].image);
        nas_augment_scratch_fini(&l->workers[i].scratch);
    }
    for (int i = 0; l->ring != NULL && i < l->places; i++) {
        free(l->ring[i].x);
        free(l->ring[i].labels);
        free(l->ring[i].items);
    }
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->idle);
    free(l->ring);
    free(l->workers);
    free(l->order);
    free(l->items);
    free(l);
}

/* ---- use ---- */

int64_t nas_loader_batches(const nas_loader *l)
{
    return l->batches;
}

void nas_loader_shape(const nas_loader *l, int *height, int *width, int *channels)
{
    *height = l->height;
    *width = l->width;
    *channels = l->channels;
}

void nas_loader_set_size(nas_loader *l, int size)
{
    assert(size >= 0 && size <= l->height && size <= l->width);
    l->next_size = size;
}

void nas_loader_start(nas_loader *l, int64_t epoch, int64_t first_batch)
{
    pthread_mutex_lock(&l->lock);
    l->open = false; /* no new slice is taken; those under way are waited for */
    while (l->busy > 0)
        pthread_cond_wait(&l->idle, &l->lock);
    l->size = l->next_size;
    l->start = epoch * l->batches + first_batch;
    l->end = l->options.endless ? INT64_MAX : l->batches - first_batch;
    l->next = l->given = l->released = 0;
    l->next_slice = 0;
    l->open = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
}

nas_status nas_loader_next(nas_loader *l, const nas_batch **out, nas_err *err)
{
    nas_status status = NAS_OK;

    *out = NULL;
    pthread_mutex_lock(&l->lock);
    assert(l->open); /* nas_loader_start comes first */
    l->released = l->given; /* the batch handed out last may be filled again */
    pthread_cond_broadcast(&l->work);
    if (l->given < l->end) {
        slot *s = &l->ring[l->given % l->places];

        while (l->next <= l->given || s->pending > 0)
            pthread_cond_wait(&l->ready, &l->lock);
        if (s->bad >= 0) {
            status = s->err.status;
            if (err != NULL)
                *err = s->err;
        } else {
            *out = &s->batch;
            l->given++;
        }
    }
    pthread_mutex_unlock(&l->lock);
    return status;
}

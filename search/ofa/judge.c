/* Judging subnets of a supernet, and remembering. */
#include "search/ofa/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nas/data/loader.h"

typedef struct verdict {
    double top1;
    int32_t image_size;
} verdict;

struct nas_judge {
    nas_supernet *supernet;
    nas_judge_config config;
    nas_loader *calibrate, *valid;
    int batches; /* of re-calibration */
    /* the evaluator's */
    const int (*origin)[NAS_MAX_CANDIDATES];
    const nas_observer *observer;
    int64_t expected;
    int64_t asked, fresh; /* in this process                 */
    int64_t count, capacity;
    verdict *verdict;     /* [count] distinct networks       */
    uint8_t *genome;      /* [count][slots]                  */
    double started;
};

/* Every k-th image, so that all classes stay where the list is in their order. */
static nas_status thin(const nas_index *from, int64_t most, nas_index *out, nas_err *err)
{
    const uint32_t count = most > 0 && most < from->count ? (uint32_t)most : from->count;

    out->items = malloc(((size_t)count + 1) * sizeof *out->items);
    if (out->items == NULL)
        return nas_fail(err, NAS_E_NOMEM, "judging: out of memory");
    out->count = count;
    for (uint32_t i = 0; i < count; i++)
        out->items[i] = from->items[(uint64_t)i * from->count / count];
    return NAS_OK;
}

static nas_status open_loader(nas_loader **out, const nas_judge *j, const nas_dataset *data,
                              const nas_index *index, bool calibrate, nas_err *err)
{
    const int size = j->supernet->space->image_size;
    nas_loader_options options = {.threads = j->config.loader_threads, .seed = j->config.seed,
                                  .stream = calibrate ? "calibrate" : "valid",
                                  .shuffle = calibrate, .batch = NAS_JUDGE_BATCH};
    const nas_status status =
        nas_augment_preset(&options.augment, calibrate ? j->config.augment : "none", size, err);

    options.augment.size = size;
    if (calibrate && (uint32_t)options.batch > index->count)
        options.batch = (int)index->count;
    options.drop_last = calibrate;
    return status == NAS_OK
               ? nas_loader_open(out, data, index->items, index->count, &options, err)
               : status;
}

nas_status nas_judge_new(nas_judge **out, nas_supernet *supernet, const nas_dataset *data,
                         const nas_index *train, const nas_index *valid,
                         const nas_judge_config *config, nas_err *err)
{
    nas_judge *j = calloc(1, sizeof *j);
    nas_index scored = {0};
    nas_status status;

    *out = NULL;
    if (j == NULL)
        return nas_fail(err, NAS_E_NOMEM, "judging: out of memory");
    j->supernet = supernet;
    j->config = *config;
    j->batches = (int)((config->recalibrate_images + NAS_JUDGE_BATCH - 1) / NAS_JUDGE_BATCH);
    if ((status = open_loader(&j->calibrate, j, data, train, true, err)) == NAS_OK &&
        (status = thin(valid, config->score_images, &scored, err)) == NAS_OK)
        status = open_loader(&j->valid, j, data, &scored, false, err);
    nas_index_fini(&scored);
    if (status == NAS_OK)
        *out = j;
    else
        nas_judge_free(j);
    return status;
}

void nas_judge_free(nas_judge *j)
{
    if (j == NULL)
        return;
    nas_loader_close(j->calibrate);
    nas_loader_close(j->valid);
    free(j->verdict);
    free(j->genome);
    free(j);
}

nas_status nas_judge_split(const nas_supernet *n, const nas_dataset *data, nas_index *train,
                           nas_index *valid, nas_err *err)
{
    const nas_data_split *split = nas_dataset_split(data, "train");

    if (split == NULL)
        return nas_fail(err, NAS_E_DATA, "%s: no train split", data->path);
    if (n->space->classes != data->classes || n->space->channels != data->channels)
        return nas_fail(err, NAS_E_CONFIG,
                        "the supernet has %d channels and %d classes, %s has %d and %d",
                        n->space->channels, n->space->classes, data->path, data->channels,
                        data->classes);
    return nas_split_make(data, (uint32_t)(n->valid_fraction * split->count), n->seed, train,
                          valid, err);
}

nas_status nas_judge_check_data(const nas_supernet *n, const nas_dataset *data, nas_err *err)
{
    if (n->data[0] == '\0' || strcmp(n->data, data->digest) == 0)
        return NAS_OK;
    nas_fail(err, NAS_E_CONFIG, "%s: are not the images that the supernet was trained on (digest "
             "%s, was %s)", data->path, data->digest, n->data);
    nas_hint(err, "which of them were held out to judge subnets is known of those alone");
    return NAS_E_CONFIG;
}

nas_status nas_judge_recalibrate(nas_judge *j, const int *choice, int image_size,
                                 const nas_observer *observer, nas_err *err)
{
    nas_elastic *e = j->supernet->elastic;
    const nas_status status = nas_elastic_resize(e, image_size, err);

    if (status != NAS_OK)
        return status;
    nas_elastic_load(e, choice);
    nas_loader_set_size(j->calibrate, image_size);
    return nas_recalibrate(nas_elastic_exec(e), choice, j->calibrate, j->batches, observer, err);
}

nas_status nas_judge_score(nas_judge *j, const int *choice, int image_size,
                           const nas_observer *observer, nas_score *score, nas_err *err)
{
    nas_infer *infer = NULL;
    nas_status status = nas_judge_recalibrate(j, choice, image_size, observer, err);

    if (status == NAS_OK)
        status = nas_infer_new(&infer, nas_elastic_work(j->supernet->elastic), choice,
                               NAS_JUDGE_BATCH, err);
    nas_loader_set_size(j->valid, image_size);
    if (status == NAS_OK)
        status = nas_evaluate(infer, j->valid, j->supernet->space->classes, score,
                              nas_evaluate_stop, (void *)observer, err);
    nas_infer_free(infer);
    return status;
}

/* ---- remembering ---- */

static nas_status save(void *self, const char *path, nas_err *err)
{
    const nas_judge *j = self;
    const int64_t slots = j->supernet->space->count, shape[] = {j->count, slots};
    double *top1 = malloc(((size_t)j->count + 1) * sizeof *top1);
    int32_t *size = malloc(((size_t)j->count + 1) * sizeof *size);
    json_t *state = json_pack("{s:I}", "judged", (json_int_t)j->count);
    nas_safetensors_builder *builder = state ? nas_checkpoint_begin("judge", state) : NULL;

    for (int64_t i = 0; i < j->count && top1 != NULL && size != NULL; i++) {
        top1[i] = j->verdict[i].top1;
        size[i] = j->verdict[i].image_size;
    }
    if (builder != NULL && top1 != NULL && size != NULL) {
        nas_safetensors_builder_add(builder, "top1", NAS_DTYPE_F64, 1, shape, top1);
        nas_safetensors_builder_add(builder, "image_size", NAS_DTYPE_I32, 1, shape, size);
        nas_safetensors_builder_add(builder, "choice", NAS_DTYPE_U8, 2, shape, j->genome);
    }
    const nas_status status =
        top1 != NULL && size != NULL
            ? nas_safetensors_builder_write(builder, path, NULL, err)
            : nas_fail(err, NAS_E_NOMEM, "judging: no memory for a checkpoint");
    nas_safetensors_builder_free(builder);
    json_decref(state);
    free(top1);
    free(size);
    return status;
}

static nas_status reserve(nas_judge *j, int64_t count, nas_err *err)
{
    const size_t slots = (size_t)j->supernet->space->count;
    const int64_t capacity = count > 2 * j->capacity ? count : 2 * j->capacity;

    if (count <= j->capacity)
        return NAS_OK;
    verdict *verdicts = realloc(j->verdict, (size_t)capacity * sizeof *verdicts);
    if (verdicts != NULL)
        j->verdict = verdicts;
    uint8_t *genome = realloc(j->genome, (size_t)capacity * slots);
    if (genome != NULL)
        j->genome = genome;
    if (verdicts == NULL || genome == NULL)
        return nas_fail(err, NAS_E_NOMEM, "judging: out of memory");
    j->capacity = capacity;
    return NAS_OK;
}

nas_status nas_judge_load(nas_judge *j, const char *path, nas_err *err)
{
    const int64_t slots = j->supernet->space->count;
    const nas_safetensors_tensor *top1, *size, *choice;
    nas_safetensors *file = NULL;
    json_t *state = NULL;
    int64_t count = 0;
    nas_status status = nas_checkpoint_open(&file, &state, path, "judge", err);

    if (status == NAS_OK)
        status = nas_json_int(state, path, "judged", true, 0, 1 << 30, &count, err);
    const int64_t shape[] = {count, slots};
    if (status == NAS_OK &&
        (status = nas_safetensors_expect(file, "top1", NAS_DTYPE_F64, 1, shape, &top1, err)) ==
            NAS_OK &&
        (status = nas_safetensors_expect(file, "image_size", NAS_DTYPE_I32, 1, shape, &size,
                                         err)) == NAS_OK &&
        (status = nas_safetensors_expect(file, "choice", NAS_DTYPE_U8, 2, shape, &choice, err)) ==
            NAS_OK &&
        (status = reserve(j, count, err)) == NAS_OK) {
        for (int64_t i = 0; i < count; i++)
            j->verdict[i] = (verdict){((const double *)top1->data)[i],
                                      ((const int32_t *)size->data)[i]};
        if (count > 0)
            memcpy(j->genome, choice->data, (size_t)(count * slots));
        j->count = count;
    }
    json_decref(state);
    nas_safetensors_close(file);
    return status;
}

/* Place of a network among those remembered; `count`, where it would be, if it is none.  To look at
 * all costs little beside judging one. */
static int64_t find(const nas_judge *j, const uint8_t *genome, int image_size)
{
    const size_t slots = (size_t)j->supernet->space->count;
    int64_t i = 0;

    while (i < j->count && (j->verdict[i].image_size != image_size ||
                            memcmp(j->genome + (size_t)i * slots, genome, slots) != 0))
        i++;
    return i;
}

/* As remembered, or judged now. */
static nas_status judge_one(nas_judge *j, const int *choice, int image_size, double *top1,
                            nas_err *err)
{
    const int slots = j->supernet->space->count;
    uint8_t genome[NAS_MAX_SLOTS];
    nas_score score = {0};
    nas_status status;

    for (int s = 0; s < slots; s++)
        genome[s] = (uint8_t)choice[s];
    const int64_t at = find(j, genome, image_size);
    if (at == j->count) {
        if ((status = reserve(j, j->count + 1, err)) ||
            (status = nas_judge_score(j, choice, image_size, j->observer, &score, err)))
            return status;
        j->verdict[at] = (verdict){(double)score.top1 / (double)score.images, image_size};
        memcpy(j->genome + (size_t)(at * slots), genome, (size_t)slots);
        j->count++;
        j->fresh++;
    }
    *top1 = j->verdict[at].top1;
    j->asked++;
    return NAS_OK;
}

static nas_status report(nas_judge *j, nas_err *err)
{
    const double seconds = nas_clock_seconds() - j->started;
    const nas_progress progress = {
        .phase = "judging", .batch = j->asked, .batches = j->expected, .step = j->asked,
        .images_per_second = (double)j->fresh / fmax(seconds, 1e-9), .loss = NAN,
        .latency_ms = NAN, .entropy = NAN};

    nas_observe_progress(j->observer, &progress);
    return nas_observe_checkpoint_due(j->observer)
               ? nas_observe_checkpoint(j->observer, j->count, NAN, save, j, err)
               : NAS_OK;
}

static nas_status judge_list(void *user, nas_candidate *list, int count, nas_err *err)
{
    nas_judge *j = user;
    nas_status status = NAS_OK;

    for (int i = 0; i < count && status == NAS_OK; i++) {
        const int size = list[i].image_size > 0 ? list[i].image_size
                                                : nas_space_largest_size(j->supernet->space);
        int choice[NAS_MAX_SLOTS];

        for (int s = 0; s < j->supernet->space->count; s++)
            choice[s] = j->origin != NULL ? j->origin[s][list[i].choice[s]] : list[i].choice[s];
        status = judge_one(j, choice, size, &list[i].score, err);
        if (status == NAS_OK && (status = report(j, err)) == NAS_OK)
            status = nas_observe_go_on(j->observer, "judging networks", err);
        if (status == NAS_E_INTERRUPTED) {
            const nas_status saved =
                nas_observe_checkpoint(j->observer, j->count, NAN, save, j, err);
            return saved != NAS_OK ? saved : status;
        }
    }
    return status;
}

nas_evaluator nas_judge_evaluator(nas_judge *j, const int (*origin)[NAS_MAX_CANDIDATES],
                                  const nas_observer *observer, int64_t expected)
{
    j->origin = origin;
    j->observer = observer;
    j->expected = expected;
    j->started = nas_clock_seconds();
    return (nas_evaluator){.user = j, .score = judge_list};
}

int64_t nas_judge_fresh(const nas_judge *j) { return j->fresh; }

/* A regression from the times of whole networks to those of their blocks. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "latency/regress/private.h"

nas_regressor_config nas_regressor_defaults(void)
{
    return (nas_regressor_config){.hidden = 64, .layers = 2, .steps = 2000, .lr = 3e-3,
                                  .decay = 0.0, .held_out = 0.2, .seed = 1};
}

/* ------------------------------------------------------------------ measuring */

nas_status nas_regressor_measure(nas_latency_verification *out, const nas_space *space,
                                 const nas_latency_verify_options *options, nas_err *err)
{
    nas_latency_table *work = nas_latency_table_new(err);
    nas_latency_entry *entries = NULL;
    int count = 0;
    nas_status status = NAS_E_NOMEM;

    if (work == NULL ||
        (status = nas_latency_space_entries(&entries, &count, space,
                                            nas_latency_grammar_of(space), 0, err)) != NAS_OK)
        goto done;
    count = nas_latency_entries_unique(entries, count);
    for (int i = 0; i < count && status == NAS_OK; i++) {
        const nas_op_cost cost = nas_op_cost_at(&entries[i].op, entries[i].h, entries[i].w);
        const nas_latency_stat stat = {.mean = 1e-9 * (double)cost.macs, .std = NAN,
                                       .median = NAN, .p95 = NAN};

        status = nas_latency_table_add(work, entries[i].key, &stat, err);
    }
    if (status == NAS_OK)
        status = nas_latency_verify(out, work, space, options, err);

done:
    free(entries);
    nas_latency_table_free(work);
    return status;
}

/* ------------------------------------------------------------------ networks as lists of blocks */

/* Distinct blocks, each known by its key, and the networks that are made of them. */
typedef struct course {
    const nas_regressor_config *config;
    nas_regressor *r;
    nas_latency_entry *entries; /* [rows]                                                 */
    int rows, networks, trained;
    int *first;                 /* [networks + 1]                                         */
    int *block;                 /* [first[networks]]: rows                                */
    double *log_ms;             /* [networks]: of the time measured                       */
    uint32_t *order;            /* [networks]: those that train first, then the held-out  */
    double *row_ms, *slope;     /* [rows]: time of each, and dL/d(its logarithm)          */
    nas_dense_trainer trainer;
} course;

static int row_of(const course *c, const char *key)
{
    int row = 0;

    while (row < c->rows && strcmp(c->entries[row].key, key) != 0)
        row++;
    return row;
}

static nas_status add_networks(course *c, const nas_regressor_lesson *lesson,
                               const nas_latency_entry *entries, nas_err *err)
{
    const nas_space *space = lesson->space;
    int first[NAS_MAX_SLOTS] = {0};

    for (int s = 1; s < space->count; s++)
        first[s] = first[s - 1] + space->slots[s - 1].count;
    for (int n = 0; n < lesson->count; n++) {
        const nas_latency_pair *pair = &lesson->pairs[n];
        int *at = &c->first[c->networks + 1];

        if (!(pair->measured_ms > 0.0 && isfinite(pair->measured_ms)))
            return nas_fail(err, NAS_E_DATA, "network %d of %d pixels has no time", n,
                            space->image_size);
        *at = c->first[c->networks];
        for (int s = 0; s < space->count; s++) {
            const nas_latency_entry *entry = &entries[first[s] + pair->choice[s]];

            if (entry->key[0] != '\0')
                c->block[(*at)++] = row_of(c, entry->key);
        }
        c->log_ms[c->networks++] = log(pair->measured_ms);
    }
    return NAS_OK;
}

/* Every block of the lesson's space, also one that none of its networks has. */
static nas_status add_lesson(course *c, const nas_regressor_lesson *lesson, nas_err *err)
{
    nas_latency_entry *entries = NULL;
    int count;
    nas_status status = nas_latency_space_entries(&entries, &count, lesson->space,
                                                  nas_latency_grammar_of(lesson->space), 0, err);

    if (status != NAS_OK)
        return status;
    for (int i = 0; i < count && status == NAS_OK; i++) {
        if (entries[i].op.type == NAS_OP_OWN)
            status = nas_fail(err, NAS_E_CONFIG, "%s has '%s', an operation of a program's own: "
                              "its time cannot be learnt by its shape", lesson->space->name,
                              nas_op_spec_name(&entries[i].op));
        else if (entries[i].key[0] != '\0' && row_of(c, entries[i].key) == c->rows)
            c->entries[c->rows++] = entries[i];
    }
    if (status == NAS_OK)
        status = add_networks(c, lesson, entries, err);
    free(entries);
    return status;
}

static nas_status prepare(course *c, const nas_regressor_lesson *lessons, int count, nas_err *err)
{
    size_t rows = 1, networks = 1, blocks = 1;
    nas_status status = NAS_OK;

    for (int l = 0; l < count; l++) {
        for (int s = 0; s < lessons[l].space->count; s++)
            rows += (size_t)lessons[l].space->slots[s].count;
        networks += (size_t)lessons[l].count;
        blocks += (size_t)lessons[l].count * (size_t)lessons[l].space->count;
    }
    c->entries = malloc(rows * sizeof *c->entries);
    c->first = calloc(networks, sizeof *c->first);
    c->block = malloc(blocks * sizeof *c->block);
    c->log_ms = malloc(networks * sizeof *c->log_ms);
    c->order = malloc(networks * sizeof *c->order);
    c->row_ms = malloc(rows * sizeof *c->row_ms);
    c->slope = malloc(rows * sizeof *c->slope);
    if (!c->entries || !c->first || !c->block || !c->log_ms || !c->order || !c->row_ms || !c->slope)
        return nas_fail(err, NAS_E_NOMEM, "no memory to learn from %zu networks", networks - 1);
    for (int l = 0; l < count && status == NAS_OK; l++) {
        status = add_lesson(c, &lessons[l], err);
        c->r->probe[c->r->sizes] = lessons[l].probe;
        c->r->image_size[c->r->sizes++] = lessons[l].space->image_size;
    }
    return status;
}

static nas_status split(course *c, nas_err *err)
{
    nas_rng rng;

    for (int n = 0; n < c->networks; n++)
        c->order[n] = (uint32_t)n;
    nas_rng_init(&rng, c->config->seed, "regressor split", 0);
    nas_rng_shuffle(&rng, c->order, (uint32_t)c->networks);
    const int held_out = (int)(c->config->held_out * c->networks);
    c->trained = c->networks - held_out;
    if (c->networks >= NAS_REGRESSOR_LEAST && held_out >= 2 && c->trained >= 2)
        return NAS_OK;
    return nas_fail(err, NAS_E_CONFIG, "%d networks, %d of them held out, are too few: it takes %d "
                    "and 2", c->networks, held_out, NAS_REGRESSOR_LEAST);
}

/* ------------------------------------------------------------------ training */

/* The blocks' features; their range is what the regressor may be asked about. */
static void set_inputs(course *c, float *x)
{
    nas_regressor *r = c->r;

    for (int row = 0; row < c->rows; row++) {
        float *features = x + (size_t)row * NAS_LATENCY_FEATURES;

        nas_regress__features(&c->entries[row], features);
        for (int i = 0; i < NAS_LATENCY_FEATURES; i++) {
            r->low[i] = row > 0 ? fminf(r->low[i], features[i]) : features[i];
            r->high[i] = row > 0 ? fmaxf(r->high[i], features[i]) : features[i];
        }
    }
    for (int row = 0; row < c->rows; row++) {
        float scaled[NAS_LATENCY_FEATURES], *features = x + (size_t)row * NAS_LATENCY_FEATURES;

        nas_regress__scale(r, features, scaled);
        memcpy(features, scaled, sizeof scaled);
    }
}

/* It starts where all blocks take the same time, and networks on average theirs. */
static void set_bias(course *c)
{
    double sum = 0.0;

    for (int i = 0; i < c->trained; i++) {
        const uint32_t n = c->order[i];

        sum += c->log_ms[n] - log(fmax(1.0, c->first[n + 1] - c->first[n]));
    }
    c->r->net.bias[c->r->net.layers - 1][0] = (float)(sum / c->trained);
}

static void run_rows(course *c)
{
    nas_dense_forward(&c->trainer, c->rows);
    for (int row = 0; row < c->rows; row++)
        c->row_ms[row] = exp((double)c->trainer.kept[c->r->net.layers][row]);
}

static double network_ms(const course *c, uint32_t n)
{
    double ms = 0.0;

    for (int i = c->first[n]; i < c->first[n + 1]; i++)
        ms += c->row_ms[c->block[i]];
    return ms;
}

/* Gradients of the mean square of log(sum of the blocks) - log(measured); returns that mean. */
static double set_slopes(course *c)
{
    double loss = 0.0;

    memset(c->slope, 0, (size_t)c->rows * sizeof *c->slope);
    for (int i = 0; i < c->trained; i++) {
        const uint32_t n = c->order[i];
        const double ms = network_ms(c, n), error = log(ms) - c->log_ms[n];

        loss += error * error / c->trained;
        for (int b = c->first[n]; b < c->first[n + 1]; b++)
            c->slope[c->block[b]] += 2.0 / c->trained * error * c->row_ms[c->block[b]] / ms;
    }
    for (int row = 0; row < c->rows; row++)
        c->trainer.delta[0][row] = (float)c->slope[row];
    return loss;
}

/* On one thread: a step takes a millisecond, threads would mostly wait for each other. */
static nas_status learn(course *c, const nas_observer *observer, nas_err *err)
{
    const nas_regressor_config *config = c->config;
    const int threads = omp_get_max_threads();
    nas_status status = NAS_OK;

    omp_set_num_threads(1);
    for (int64_t step = 0; step < config->steps && status == NAS_OK; step++) {
        const double done = (double)step / (double)config->steps;

        run_rows(c);
        const double loss = set_slopes(c);
        const nas_progress at = {.phase = "regression", .batch = step + 1,
                                 .batches = config->steps, .step = step, .loss = loss,
                                 .images_per_second = NAN, .latency_ms = NAN, .entropy = NAN};
        nas_dense_backward(&c->trainer, c->rows);
        nas_dense_step(&c->trainer, 0.5 * config->lr * (1.0 + cos(M_PI * done)), config->decay);
        nas_observe_progress(observer, &at);
        status = nas_observe_go_on(observer, "the regression of latency", err);
    }
    run_rows(c);
    omp_set_num_threads(threads);
    if (status == NAS_OK && !(nas_dense_is_finite(&c->r->net) && set_slopes(c) < 1.0)) {
        status = nas_fail(err, NAS_E_FAIL, "training diverged: the regressor is far off on the "
                          "networks that it was trained with");
        nas_hint(err, "lower the learning rate (--lr)");
    }
    return status;
}

static nas_status judge(course *c, nas_err *err)
{
    nas_regressor_fit *fit = &c->r->fit;
    const int count = c->networks - c->trained;
    int within = 0;
    double *said = malloc(2 * (size_t)count * sizeof *said), *truth = said + count, squares = 0.0;

    if (said == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory to judge %d networks", count);
    *fit = (nas_regressor_fit){.trained = c->trained, .held_out = count};
    for (int i = 0; i < count; i++) {
        const uint32_t n = c->order[c->trained + i];

        said[i] = network_ms(c, n);
        truth[i] = exp(c->log_ms[n]);
        const double error = (said[i] - truth[i]) / truth[i];
        fit->mape += fabs(error) / count;
        fit->bias += error / count;
        within += fabs(error) <= 0.1;
        squares += (said[i] - truth[i]) * (said[i] - truth[i]);
    }
    fit->within_10 = (double)within / count;
    fit->rmse_ms = sqrt(squares / count);
    fit->spearman = nas_spearman(said, truth, count);
    fit->kendall = nas_kendall(said, truth, count);
    free(said);
    return NAS_OK;
}

static void describe(nas_regressor *r)
{
    char what[160];

    snprintf(what, sizeof what, "regression of %d networks measured whole, %.1f %% off on %d "
             "others", r->fit.trained, 100.0 * r->fit.mape, r->fit.held_out);
    nas_latency_meta_note(&r->meta, what);
}

static void leave(course *c)
{
    nas_dense_trainer_fini(&c->trainer);
    free(c->entries);
    free(c->first);
    free(c->block);
    free(c->log_ms);
    free(c->order);
    free(c->row_ms);
    free(c->slope);
}

nas_status nas_regressor_train(nas_regressor **out, const nas_latency_meta *meta,
                               const nas_regressor_lesson *lessons, int count,
                               const nas_regressor_config *config, const nas_observer *observer,
                               nas_err *err)
{
    nas_regressor *r = calloc(1, sizeof *r);
    course c = {.config = config, .r = r};
    int width[NAS_DENSE_MAX_LAYERS + 1] = {NAS_LATENCY_FEATURES};
    nas_status status;

    *out = NULL;
    if (r == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a regressor");
    r->meta = *meta;
    r->meta.image_size = 0;
    for (int i = 0; i < config->layers; i++)
        width[i + 1] = config->hidden;
    width[config->layers + 1] = 1;
    if ((status = prepare(&c, lessons, count, err)) || (status = split(&c, err)) ||
        (status = nas_dense_init(&r->net, config->layers + 1, width, err)) ||
        (status = nas_dense_trainer_init(&c.trainer, &r->net, c.rows, err)))
        goto done;
    nas_dense_draw(&r->net, config->seed, "regressor weights");
    set_inputs(&c, c.trainer.kept[0]);
    set_bias(&c);
    if ((status = learn(&c, observer, err)) == NAS_OK && (status = judge(&c, err)) == NAS_OK)
        describe(r);

done:
    leave(&c);
    if (status == NAS_OK)
        *out = r;
    else
        nas_regressor_free(r);
    return status;
}

void nas_regressor_free(nas_regressor *r)
{
    if (r == NULL)
        return;
    nas_dense_fini(&r->net);
    free(r);
}

/* nas latency verify - whether a table tells the truth on this machine, or another device. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/device.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/output.h"
#include "latency/lut.h"

typedef struct verify_options {
    cli_space_options space;
    cli_device_options device;
    const char *table;
    int64_t samples, rounds;
    bool dry_run;
} verify_options;

static const nas_option verify_table[] = {
    {"--table", NAS_OPT_STRING, offsetof(verify_options, table), NULL, 0, 0, NULL, "FILE",
     "latency table, or a folder of tables by image size", true},
    {"--samples", NAS_OPT_INT, offsetof(verify_options, samples), "20", 2, 10000, NULL, "N",
     "networks to measure whole"},
    {"--rounds", NAS_OPT_INT, offsetof(verify_options, rounds), "9", 1, 1000, NULL, "N",
     "turns of each of them"},
    CLI_DEVICE_ROWS(offsetof(verify_options, device)),
    CLI_DRY_RUN(offsetof(verify_options, dry_run)),
    {0},
};

/* How wrong the table is where one kind of operation is at work. */
typedef struct op_error {
    char text[64];
    int networks, last;   /* networks with it; the last of them */
    double part, error;   /* sums over networks: of its part of the predicted time; of that times
                             the network's error */
} op_error;

/* The kinds of operation in `space`: ops[] gets them, of[slot][candidate] which one it is. */
static int find_ops(op_error *ops, int (*of)[NAS_MAX_CANDIDATES], const nas_space *space)
{
    int count = 0;

    for (int s = 0; s < space->count; s++)
        for (int c = 0; c < space->slots[s].count; c++) {
            char text[sizeof ops->text];
            int i = 0;

            cli_op_text(&space->slots[s].candidates[c], text);
            while (i < count && strcmp(ops[i].text, text) != 0)
                i++;
            if (i == count) {
                ops[count] = (op_error){.last = -1};
                memcpy(ops[count++].text, text, sizeof text);
            }
            of[s][c] = i;
        }
    return count;
}

/* Credits the error of network `n` to its operations by their part of the predicted time. */
static void add_network(op_error *ops, int (*of)[NAS_MAX_CANDIDATES], const nas_latency_lut *lut,
                        const nas_latency_pair *pair, int n)
{
    const double error = (pair->predicted_ms - pair->measured_ms) / pair->measured_ms;

    for (int s = 0; s < lut->slots; s++) {
        op_error *op = &ops[of[s][pair->choice[s]]];
        const double ms = lut->ms[s][pair->choice[s]], part = ms / pair->predicted_ms;

        if (!(ms > 0.0))
            continue;
        op->networks += op->last != n;
        op->last = n;
        op->part += part;
        op->error += part * error;
    }
}

static int by_part(const void *a, const void *b)
{
    const op_error *x = a, *y = b;

    return x->part != y->part ? (x->part < y->part ? 1 : -1) : strcmp(x->text, y->text);
}

/* The kinds of operation that take time, the costliest first.  The shares sum up to 1, and
 * weighted by them the errors to the networks' mean error. */
static json_t *op_list(const op_error *ops, int count, int networks)
{
    json_t *list = json_array();

    for (int i = 0; i < count && ops[i].part > 0.0; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:i, s:f, s:o}", "operation", ops[i].text, "networks",
                            ops[i].networks, "share", ops[i].part / networks, "error",
                            cli_real(ops[i].error / ops[i].part)));
    return list;
}

static nas_status operations_json(json_t **out, const nas_latency_table *table,
                                  const nas_space *space, const nas_latency_verification *v,
                                  nas_err *err)
{
    op_error *ops = calloc((size_t)space->count * NAS_MAX_CANDIDATES, sizeof *ops);
    int(*of)[NAS_MAX_CANDIDATES] = calloc((size_t)space->count, sizeof *of);
    nas_latency_lut *lut = NULL;
    nas_status status = NAS_OK;

    if (ops == NULL || of == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "verify: out of memory");
    else
        status = nas_latency_lut_new(&lut, table, space, 0, err);
    if (status == NAS_OK) {
        const int count = find_ops(ops, of, space);

        for (int n = 0; n < v->count; n++)
            add_network(ops, of, lut, &v->pairs[n], n);
        qsort(ops, (size_t)count, sizeof *ops, by_part);
        *out = op_list(ops, count, v->count);
    }
    nas_latency_lut_free(lut);
    free(of);
    free(ops);
    return status;
}

static json_t *choice_json(const int *choice, int slots)
{
    json_t *list = json_array();

    for (int s = 0; s < slots; s++)
        json_array_append_new(list, json_integer(choice[s]));
    return list;
}

/* `ending`: of the names. */
static void put_errors(json_t *result, const nas_latency_errors *e, const char *ending)
{
    const struct {
        const char *name;
        double value;
    } errors[] = {{"mape", e->mape}, {"within_10", e->within_10}, {"bias", e->bias},
                  {"rmse_ms", e->rmse_ms}};
    char name[48];

    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        snprintf(name, sizeof name, "%s%s", errors[i].name, ending);
        json_object_set_new(result, name, cli_real(errors[i].value));
    }
}

static json_t *verification_json(const nas_latency_verification *v, int slots, json_t *operations)
{
    json_t *pairs = json_array();

    for (int i = 0; i < v->count; i++)
        json_array_append_new(
            pairs, json_pack("{s:f, s:f, s:f, s:o}", "predicted_ms", v->pairs[i].predicted_ms,
                             "measured_ms", v->pairs[i].measured_ms, "as_measured_ms",
                             v->pairs[i].as_measured_ms, "choice",
                             choice_json(v->pairs[i].choice, slots)));
    json_t *result = json_object();
    json_object_set_new(result, "samples", json_integer(v->count));
    json_object_set_new(result, "device", json_string(v->device));
    json_object_set_new(result, "threads", json_integer(v->threads));
    json_object_set_new(result, "emulated", json_boolean(v->emulated));
    put_errors(result, &v->errors, "");
    json_object_set_new(result, "spearman", cli_real(v->spearman));
    json_object_set_new(result, "kendall", cli_real(v->kendall));
    json_object_set_new(result, "level", cli_real(v->level));
    put_errors(result, &v->as_measured, "_as_measured");
    json_object_set_new(result, "disturbed", cli_real(v->disturbed));
    json_object_set_new(result, "slowed", cli_real(v->slowed));
    json_object_set_new(result, "slowdown", cli_real(v->slowdown));
    json_object_set_new(result, "operations", operations);
    json_object_set_new(result, "pairs", pairs);
    return result;
}

static void tell_errors(const char *what, const nas_latency_errors *e, int count)
{
    nas_log(NAS_LOG_INFO,
            "%s: mean error %.1f %%, on average %.1f %% too %s, %.0f of %d within 10 %%", what,
            100.0 * e->mape, 100.0 * fabs(e->bias), e->bias < 0.0 ? "low" : "high",
            e->within_10 * count, count);
}

/* Both comparisons, a line each. */
static void tell(const nas_latency_verification *v)
{
    char what[96];

    if (isnan(v->level)) {
        tell_errors("verify, as measured (the table's speed is not known)", &v->errors, v->count);
        return;
    }
    tell_errors("verify, at the table's speed", &v->errors, v->count);
    snprintf(what, sizeof what, "verify, as measured (now all takes %.3f times as long)", v->level);
    tell_errors(what, &v->as_measured, v->count);
}

/* On as many threads as are asked for or, on another device, as the table was made with. */
static nas_status verify(nas_latency_verification *found, const cli_context *context,
                         const verify_options *o, const nas_latency_table *table,
                         const nas_space *space, nas_err *err)
{
    const int threads = context->common->threads_given ? (int)context->common->threads
                                                       : table->meta.threads;
    const nas_latency_verify_options how = {.samples = (int)o->samples, .rounds = (int)o->rounds,
                                            .threads = threads, .cores = o->device.cores};
    cli_device device;
    const nas_status status = cli_device_find(&device, &o->device, err);

    return status == NAS_OK ? cli_device_verify(found, context, &device, table, space, how,
                                                o->dry_run, err)
                            : status;
}

static nas_status verify_run(const cli_context *context, const void *options, nas_err *err)
{
    const verify_options *o = options;
    nas_latency_set *set = NULL;
    const nas_latency_table *table;
    nas_space *space = NULL;
    nas_latency_verification found = {0};
    json_t *operations, *result = NULL;
    nas_status status;

    if ((status = nas_latency_set_load(&set, o->table, err)) == NAS_OK &&
        (status = cli_space_load_for(&space, &o->space, set, err)) == NAS_OK &&
        (status = nas_latency_set_pick(&table, set, space->image_size, err)) == NAS_OK)
        status = verify(&found, context, o, table, space, err);
    if (status == NAS_OK && !o->dry_run &&
        (status = operations_json(&operations, table, space, &found, err)) == NAS_OK) {
        result = verification_json(&found, space->count, operations);
        status = cli_table_run(context, "verify", table, o->table, result, err);
        const nas_status printed = cli_emit(context, json_incref(result), err);
        status = printed != NAS_OK ? printed : status;
        tell(&found);
    }
    json_decref(result);
    nas_latency_verification_fini(&found);
    nas_latency_set_free(set);
    nas_space_free(space);
    return status;
}

const cli_command cmd_latency_verify = {
    .name = "latency verify", .summary = "measure whole networks against a table's predictions",
    .example = "latency verify --table here.yaml --space proxyless-cifar-0.5 --samples 20",
    .tables = {verify_table, cli_space_table}, .size = sizeof(verify_options),
    .stop = CLI_STOP_ENDS, .run = verify_run,
};

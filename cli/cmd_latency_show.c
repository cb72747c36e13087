/* nas latency show, diff - what a latency table holds, and how it differs from another one. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/load.h"
#include "cli/output.h"
#include "latency/compare.h"
#include "latency/predict.h"

typedef struct show_options {
    cli_space_options space; /* --space is optional here */
    const char *table;
    int64_t samples;
} show_options;

#define SPACE(field) offsetof(show_options, space.field)

static const nas_option show_table[] = {
    {"--table", NAS_OPT_STRING, offsetof(show_options, table), NULL, 0, 0, NULL, "FILE",
     "latency table, or regressor of nas latency train", true},
    {"--space", NAS_OPT_STRING, SPACE(space), NULL, 0, 0, NULL, "SPACE",
     "also tell how much of this space it covers"},
    {"--image-size", NAS_OPT_INT, SPACE(image_size), NULL, 1, NAS_MAX_IMAGE_SIZE, NULL, "PX",
     "side of the images; default: the table's"},
    {0},
};

static const nas_option diff_table[] = {
    {"--space", NAS_OPT_STRING, SPACE(space), NULL, 0, 0, NULL, "SPACE",
     "also compare what the tables say of networks drawn from this space"},
    {"--image-size", NAS_OPT_INT, SPACE(image_size), NULL, 1, NAS_MAX_IMAGE_SIZE, NULL, "PX",
     "side of their images; default: table A's"},
    {"--samples", NAS_OPT_INT, offsetof(show_options, samples), "500", 2, 100000, NULL, "N",
     "networks to draw"},
    {0},
};

static nas_status check(const void *options, nas_err *err)
{
    const show_options *o = options;

    if (o->space.image_size == 0 || o->space.space != NULL)
        return NAS_OK;
    nas_fail(err, NAS_E_USAGE, "--image-size is that of a space's images: --space is missing");
    nas_hint(err, "add --space SPACE; what the table holds does not depend on the size");
    return NAS_E_USAGE;
}

/* The space of the options for the images of `table`. */
static nas_status load_space(nas_space **out, const show_options *o, nas_latency_table *table,
                             nas_err *err)
{
    nas_latency_set set = {.count = 1, .tables = {table}};

    return cli_space_load_for(out, &o->space, &set, err);
}

/* ---- show ---- */

static int by_cost(const void *a, const void *b)
{
    const nas_latency_row *const *x = a, *const *y = b;

    if ((*x)->stat.mean != (*y)->stat.mean)
        return (*x)->stat.mean < (*y)->stat.mean ? 1 : -1;
    return strcmp((*x)->key, (*y)->key);
}

/* The rows of a type: what their keys say before the first dash. */
typedef struct type_sum {
    const char *name; /* [length], not ended by a NUL */
    int length, entries;
    double sum_ms;
} type_sum;

static int by_name(const void *a, const void *b)
{
    const type_sum *x = a, *y = b;
    const int shorter = x->length < y->length ? x->length : y->length;
    const int order = memcmp(x->name, y->name, (size_t)shorter);

    return order != 0 ? order : x->length - y->length;
}

static int by_sum(const void *a, const void *b)
{
    const type_sum *x = a, *y = b;

    return x->sum_ms != y->sum_ms ? (x->sum_ms < y->sum_ms ? 1 : -1) : by_name(a, b);
}

/* Sums up `table` into types[its count], the costliest first; returns how many there are. */
static int sum_types(type_sum *types, const nas_latency_table *table)
{
    int count = 0;

    for (int i = 0; i < table->count; i++) {
        const nas_latency_row *row = &table->rows[i];

        types[i] = (type_sum){row->key, (int)strcspn(row->key, "-"), 1, row->stat.mean};
    }
    qsort(types, (size_t)table->count, sizeof *types, by_name);
    for (int i = 0; i < table->count; i++) {
        type_sum *last = &types[count > 0 ? count - 1 : 0];

        if (count > 0 && by_name(last, &types[i]) == 0) {
            last->entries++;
            last->sum_ms += types[i].sum_ms;
        } else {
            types[count++] = types[i];
        }
    }
    qsort(types, (size_t)count, sizeof *types, by_sum);
    return count;
}

static json_t *row_json(const nas_latency_row *row)
{
    const nas_latency_stat *s = &row->stat;

    return json_pack("{s:s, s:f, s:o, s:o, s:o, s:I}", "key", row->key, "mean_ms", s->mean,
                     "std_ms", cli_real(s->std), "median_ms", cli_real(s->median), "p95_ms",
                     cli_real(s->p95), "count", (json_int_t)s->count);
}

/* Rows and sums, the costliest first, into `result`. */
static nas_status put_rows(json_t *result, const nas_latency_table *table, nas_err *err)
{
    const nas_latency_row **rows = calloc((size_t)table->count + 1, sizeof *rows);
    type_sum *types = calloc((size_t)table->count + 1, sizeof *types);
    json_t *sums = json_array(), *list = json_array();
    double total_ms = 0.0;
    nas_status status = NAS_OK;

    if (rows == NULL || types == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "latency show: out of memory");
        goto done;
    }
    for (int i = 0; i < table->count; i++) {
        rows[i] = &table->rows[i];
        total_ms += rows[i]->stat.mean;
    }
    qsort(rows, (size_t)table->count, sizeof *rows, by_cost);
    for (int i = 0; i < table->count; i++)
        json_array_append_new(list, row_json(rows[i]));
    for (int i = 0, count = sum_types(types, table); i < count; i++)
        json_array_append_new(
            sums, json_pack("{s:s#, s:i, s:f, s:o}", "type", types[i].name, types[i].length,
                            "entries", types[i].entries, "sum_ms", types[i].sum_ms, "share",
                            cli_real(types[i].sum_ms / total_ms)));
    json_object_set_new(result, "total_ms", json_real(total_ms));
    json_object_set(result, "types", sums);
    json_object_set(result, "rows", list);

done:
    json_decref(sums);
    json_decref(list);
    free(types);
    free(rows);
    return status;
}

static nas_status put_coverage(json_t *result, const nas_latency_table *table,
                               const nas_space *space, nas_err *err)
{
    nas_latency_entry *entries = NULL;
    json_t *keys = json_array();
    int count;
    nas_status status =
        nas_latency_space_entries(&entries, &count, space, table->grammar, 0, err);

    if (status != NAS_OK)
        goto done;
    const int needed = nas_latency_entries_unique(entries, count);
    const int missing = nas_latency_entries_missing(entries, needed, table);

    for (int i = 0; i < missing; i++)
        json_array_append_new(keys, json_string(entries[i].key));
    json_object_set_new(result, "coverage",
                        json_pack("{s:s, s:i, s:i, s:i, s:b, s:O}", "space", space->name,
                                  "image_size", space->image_size, "needed", needed,
                                  "missing_count", missing, "covered", missing == 0, "missing",
                                  keys));

done:
    json_decref(keys);
    free(entries);
    return status;
}

/* A regressor has entries only where a space asks for them. */
static nas_status show_regressor(const cli_context *context, const show_options *o, nas_err *err)
{
    nas_latency_set *set = NULL;
    const nas_latency_table *table;
    nas_space *space = NULL;
    json_t *result = NULL;
    nas_status status = nas_latency_set_load(&set, o->table, err);

    if (status != NAS_OK)
        return status;
    result = cli_regressor_json(set->regressor);
    json_object_set_new(result, "digest", json_string(set->regressor->digest));
    if (o->space.space != NULL &&
        ((status = cli_space_load_for(&space, &o->space, set, err)) ||
         (status = nas_latency_set_pick(&table, set, space->image_size, err)) ||
         (status = put_coverage(result, table, space, err)) ||
         (status = put_rows(result, table, err))))
        goto done;
    status = cli_emit(context, json_incref(result), err);

done:
    json_decref(result);
    nas_space_free(space);
    nas_latency_set_free(set);
    return status;
}

static nas_status show_run(const cli_context *context, const void *options, nas_err *err)
{
    const show_options *o = options;
    nas_latency_table *table = NULL;
    nas_space *space = NULL;
    json_t *result = NULL;
    char digest[NAS_DIGEST_SIZE];
    nas_status status;

    if (nas_regressor_is(o->table))
        return show_regressor(context, o, err);
    if ((status = nas_latency_table_load(&table, o->table, err)) ||
        (status = nas_latency_table_digest(table, digest, err)))
        goto done;
    result = cli_table_json(table);
    json_object_set_new(result, "digest", json_string(digest));
    if (o->space.space != NULL && ((status = load_space(&space, o, table, err)) ||
                                   (status = put_coverage(result, table, space, err))))
        goto done;
    if ((status = put_rows(result, table, err)) == NAS_OK)
        status = cli_emit(context, json_incref(result), err);

done:
    json_decref(result);
    nas_space_free(space);
    nas_latency_table_free(table);
    return status;
}

const cli_command cmd_latency_show = {
    .name = "latency show", .summary = "what a table holds, the costliest entries first",
    .example = "latency show --table here.yaml --space proxyless-cifar",
    .tables = {show_table}, .size = sizeof(show_options), .check = check, .run = show_run,
};

/* ---- diff ---- */

static json_t *ratio_json(const nas_latency_ratio *r)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "mean", cli_real(r->mean), "spread",
                     cli_real(r->spread), "min", cli_real(r->least), "median",
                     cli_real(r->median), "max", cli_real(r->most), "spearman",
                     cli_real(r->spearman));
}

/* What remains of ratios at one speed of the machine, if that is known. */
static void put_at_level(json_t *result, const char *name, const nas_latency_ratio *ratio,
                         double level)
{
    const nas_latency_ratio left = nas_latency_ratio_over(ratio, level);

    if (isfinite(level))
        json_object_set_new(result, name, ratio_json(&left));
}

static json_t *diff_json(const nas_latency_diff *diff)
{
    json_t *only_a = json_array(), *only_b = json_array(), *changes = json_array();

    for (int i = 0; i < diff->only_a + diff->only_b; i++)
        json_array_append_new(i < diff->only_a ? only_a : only_b, json_string(diff->missing[i]));
    for (int i = 0; i < diff->common; i++) {
        const nas_latency_change *c = &diff->changes[i];

        json_array_append_new(changes, json_pack("{s:s, s:f, s:f, s:o}", "key", c->key, "a_ms",
                                                 c->a_ms, "b_ms", c->b_ms, "ratio",
                                                 cli_real(c->ratio)));
    }
    json_t *result = json_pack("{s:i, s:i, s:i, s:o, s:o, s:o, s:o}", "common", diff->common,
                               "only_a_count", diff->only_a, "only_b_count", diff->only_b,
                               "only_a", only_a, "only_b", only_b, "level",
                               cli_real(diff->level), "ratio", ratio_json(&diff->ratio));
    put_at_level(result, "ratio_at_level", &diff->ratio, diff->level);
    json_object_set_new(result, "changes", changes);
    return result;
}

/* What both tables say of networks of a space, into `result`. */
static nas_status put_networks(json_t *result, const cli_context *context, const show_options *o,
                               nas_latency_table *a, const nas_latency_table *b, double level,
                               nas_err *err)
{
    nas_space *space = NULL;
    nas_latency_ratio ratio;
    nas_status status = load_space(&space, o, a, err);

    if (status == NAS_OK &&
        (status = nas_latency_diff_networks(&ratio, a, b, space, (int)o->samples,
                                            (uint64_t)context->common->seed, err)) == NAS_OK) {
        json_t *networks = ratio_json(&ratio);

        json_object_set_new(networks, "space", json_string(space->name));
        json_object_set_new(networks, "image_size", json_integer(space->image_size));
        json_object_set_new(networks, "samples", json_integer(o->samples));
        json_object_set_new(result, "networks", networks);
        put_at_level(result, "networks_at_level", &ratio, level);
    }
    nas_space_free(space);
    return status;
}

static nas_status diff_run(const cli_context *context, const void *options, nas_err *err)
{
    const show_options *o = options;
    nas_latency_table *a = NULL, *b = NULL;
    nas_latency_diff diff = {0};
    json_t *result = NULL;
    nas_status status;

    if ((status = nas_latency_table_load(&a, context->args[0], err)) ||
        (status = nas_latency_table_load(&b, context->args[1], err)) ||
        (status = nas_latency_diff_init(&diff, a, b, err)))
        goto done;
    result = diff_json(&diff);
    if (o->space.space == NULL ||
        (status = put_networks(result, context, o, a, b, diff.level, err)) == NAS_OK)
        status = cli_emit(context, json_incref(result), err);

done:
    json_decref(result);
    nas_latency_diff_fini(&diff);
    nas_latency_table_free(a);
    nas_latency_table_free(b);
    return status;
}

const cli_command cmd_latency_diff = {
    .name = "latency diff", .summary = "how table B differs from table A",
    .arguments = "A B", .example = "latency diff monday.yaml tuesday.yaml --space proxyless-cifar",
    .tables = {diff_table}, .size = sizeof(show_options), .min_args = 2, .max_args = 2,
    .check = check, .run = diff_run,
};

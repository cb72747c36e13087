/* Loads what a search under limits needs, and checks that it fits together. */
#include "cli/evolve_task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/load.h"

nas_status cli_limits_check(const cli_limit_options *o, const char *out, nas_err *err)
{
    const bool limited =
        o->target_ms > 0 || o->cost.max_macs > 0 || o->cost.max_parameters > 0 ||
        o->cost.max_memory_mib > 0;

    if (o->targets != NULL && (o->table != NULL || out != NULL || limited))
        return nas_fail(err, NAS_E_USAGE, "--targets names tables and limits itself, and writes "
                        "into the run: it goes without --table, limits and --out");
    if (o->points > 0 && !o->pareto)
        return nas_fail(err, NAS_E_USAGE, "--points is how many limits --pareto searches: it goes "
                        "with --pareto");
    if (o->against != NAS_COST_LATENCY && !o->pareto)
        return nas_fail(err, NAS_E_USAGE, "--against is what --pareto is about: it goes with "
                        "--pareto");
    if (o->verify.top > 0 && (o->targets != NULL || o->pareto || o->table == NULL))
        return nas_fail(err, NAS_E_USAGE, "--verify-top measures networks for one target on the "
                        "device of its table: it goes with --table, without --targets and "
                        "--pareto");
    return cli_verify_check(&o->verify, err);
}

/* The tables' latencies, by image size. */
static nas_status timed_problem(cli_evolve_target *t, const cli_evolve_task *task, nas_err *err)
{
    nas_latency_lut *luts[NAS_LATENCY_MAX_TABLES] = {NULL};
    int sizes[NAS_LATENCY_MAX_TABLES];
    nas_status status = nas_latency_set_fill(t->tables, task->space, err);

    if (status != NAS_OK)
        return status;
    if (t->tables->count > 1 && nas_latency_table_image_size(t->tables->tables[0]) == 0)
        return nas_fail(err, NAS_E_DATA, "%s: one of the tables does not tell its image size",
                        t->table);
    for (int i = 0; i < t->tables->count && status == NAS_OK; i++) {
        const int size = nas_latency_table_image_size(t->tables->tables[i]);

        sizes[i] = size > 0 ? size : task->image_size;
        if (task->predictor != NULL)
            status = nas_encoding_check_size(&task->encoding, sizes[i], err);
        if (status == NAS_OK)
            status = nas_latency_lut_new(&luts[i], t->tables->tables[i], task->space, sizes[i],
                                         err);
    }
    if (status == NAS_OK)
        status = nas_problem_init(&t->problem, task->space, t->tables->count, sizes,
                                  (const nas_latency_lut *const *)luts, err);
    for (int i = 0; i < t->tables->count; i++)
        nas_latency_lut_free(luts[i]);
    return status;
}

/* Every image size of the space, of which the predictor, if there is one, knows. */
static nas_status untimed_problem(cli_evolve_target *t, const cli_evolve_task *task, nas_err *err)
{
    const nas_space *space = task->space;
    int sizes[NAS_MAX_SIZES], count = 0;

    if (task->predictor == NULL)
        return nas_problem_init(&t->problem, space, space->resolutions, space->resolution, NULL,
                                err);
    for (int i = 0; i < space->resolutions && task->encoding.sizes > 0; i++)
        if (nas_encoding_check_size(&task->encoding, space->resolution[i], NULL) == NAS_OK)
            sizes[count++] = space->resolution[i];
    if (count == 0) {
        const nas_status status =
            nas_encoding_check_size(&task->encoding, space->image_size, err);
        if (status != NAS_OK)
            return status;
    }
    return nas_problem_init(&t->problem, space, count, sizes, NULL, err);
}

static nas_status prepare_target(cli_evolve_target *t, const cli_evolve_task *task, nas_err *err)
{
    nas_status status =
        t->tables != NULL ? timed_problem(t, task, err) : untimed_problem(t, task, err);

    for (int k = 0; k < NAS_COSTS; k++)
        t->problem.limit[k] = t->limit[k] > 0.0 ? t->limit[k] : INFINITY;
    if (status == NAS_OK)
        status = nas_problem_check(&t->problem, err);
    if (status != NAS_OK && t->name[0] != '\0')
        nas_err_prefix(err, "target %s", t->name);
    return status;
}

/* ---- the file of targets ------------------------------------------------------------ */

static nas_status read_target(cli_evolve_target *t, const json_t *json, const char *path, int i,
                              nas_err *err)
{
    static const char *const known[] = {"name", "table", "target_ms", "max_macs",
                                        "max_parameters", "max_memory_mib", NULL};
    double memory_mib = 0.0;
    char where[512];
    const char *name = NULL;
    nas_status status;

    snprintf(where, sizeof where, "%.400s: targets[%d]", path, i);
    if ((status = nas_json_members(json, where, known, err)) ||
        (status = nas_json_str(json, where, "name", true, &name, err)) ||
        (status = nas_json_str(json, where, "table", false, &t->table, err)) ||
        (status = nas_json_real(json, where, "target_ms", false, 1e-6, 1e6,
                                &t->limit[NAS_COST_LATENCY], err)) ||
        (status = nas_json_real(json, where, "max_macs", false, 1, 1e15,
                                &t->limit[NAS_COST_MACS], err)) ||
        (status = nas_json_real(json, where, "max_parameters", false, 1, 1e12,
                                &t->limit[NAS_COST_PARAMETERS], err)) ||
        (status = nas_json_real(json, where, "max_memory_mib", false, 1e-6, 1e9, &memory_mib,
                                err)))
        return status;
    t->limit[NAS_COST_MEMORY] = memory_mib * CLI_MIB;
    if (nas_store_name_check(name, "name", err) != NAS_OK || strlen(name) >= sizeof t->name) {
        nas_fail(err, NAS_E_DATA, "%s.name: '%.64s' is not a name", where, name);
        nas_hint(err, "up to %d of letters, digits, '.', '_' and '-'", CLI_TARGET_NAME_SIZE - 1);
        return NAS_E_DATA;
    }
    snprintf(t->name, sizeof t->name, "%s", name);
    return NAS_OK;
}

static nas_status read_targets(cli_evolve_task *task, const char *path, nas_err *err)
{
    static const char *const known[] = {"targets", NULL};
    nas_status status = nas_json_load(&task->file, path, err);

    if (status != NAS_OK || (status = nas_json_members(task->file, path, known, err)) != NAS_OK)
        return status;
    const json_t *list = json_object_get(task->file, "targets");
    const size_t count = json_array_size(list);
    if (count < 1 || count > CLI_MAX_TARGETS)
        return nas_fail(err, NAS_E_DATA, "%s: 'targets' must be a list of 1 to %d", path,
                        CLI_MAX_TARGETS);
    task->targets = calloc(count, sizeof *task->targets);
    if (task->targets == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for its targets", path);
    for (int i = 0; i < (int)count && status == NAS_OK; i++) {
        status = read_target(&task->targets[i], json_array_get(list, (size_t)i), path, i, err);
        task->count = i + 1;
        for (int k = 0; k < i && status == NAS_OK; k++)
            if (strcmp(task->targets[k].name, task->targets[i].name) == 0)
                status = nas_fail(err, NAS_E_DATA, "%s: targets[%d].name: '%s' is there twice",
                                  path, i, task->targets[i].name);
    }
    return status;
}

static nas_status check_limits(const cli_evolve_task *task, const cli_evolve_target *t,
                               nas_err *err)
{
    const bool named = t->name[0] != '\0'; /* in a file, not on the command line */
    const char *name = named ? t->name : "limits";
    const bool front = task->options->pareto;
    const nas_status wrong = named ? NAS_E_DATA : NAS_E_USAGE;

    if ((t->limit[NAS_COST_LATENCY] > 0.0 ||
         (front && task->options->against == NAS_COST_LATENCY)) && t->table == NULL)
        return nas_fail(err, wrong, "%s: latency needs a latency table", name);
    if (front || (task->unlimited && !named))
        return NAS_OK;
    for (int k = 0; k < NAS_COSTS; k++)
        if (t->limit[k] > 0.0)
            return NAS_OK;
    nas_fail(err, wrong, "%s: no limit is given", name);
    nas_hint(err, named ? "give a table and target_ms, max_macs, max_parameters or max_memory_mib"
                        : "say --table FILE --target-ms MS, --max-macs N, --max-parameters N, "
                          "--max-memory MIB, or several of them");
    return wrong;
}

static nas_status list_targets(cli_evolve_task *task, nas_err *err)
{
    const cli_limit_options *o = task->options;
    nas_status status = NAS_OK;

    if (o->targets != NULL) {
        if ((status = read_targets(task, o->targets, err)) != NAS_OK)
            return status;
    } else {
        task->targets = calloc(1, sizeof *task->targets);
        if (task->targets == NULL)
            return nas_fail(err, NAS_E_NOMEM, "search: out of memory");
        task->count = 1;
        task->targets->table = o->table;
        task->targets->limit[NAS_COST_LATENCY] = o->target_ms;
        task->targets->limit[NAS_COST_MACS] = o->cost.max_macs;
        task->targets->limit[NAS_COST_PARAMETERS] = o->cost.max_parameters;
        task->targets->limit[NAS_COST_MEMORY] = o->cost.max_memory_mib * CLI_MIB;
    }
    for (int i = 0; i < task->count && status == NAS_OK; i++)
        status = check_limits(task, &task->targets[i], err);
    if (status != NAS_OK && o->targets != NULL)
        nas_err_prefix(err, "%s", o->targets);
    return status;
}

static nas_status load_tables(cli_evolve_task *task, nas_err *err)
{
    for (int i = 0; i < task->count; i++) {
        cli_evolve_target *t = &task->targets[i];
        nas_status status = NAS_OK;

        if (t->table == NULL ||
            ((status = nas_latency_set_load(&t->tables, t->table, err)) == NAS_OK &&
             (status = cli_tables_trust(t->tables, task->options->allow_emulated, err)) == NAS_OK))
            continue;
        if (t->name[0] != '\0')
            nas_err_prefix(err, "target %s", t->name);
        return status;
    }
    return NAS_OK;
}

/* Whether all targets have one table each, of one image size. */
static bool tables_agree(const cli_evolve_task *task)
{
    const nas_latency_set *first = task->targets->tables;

    for (int i = 0; i < task->count; i++) {
        const nas_latency_set *set = task->targets[i].tables;

        if (set == NULL || (task->count > 1 && set->count > 1) ||
            nas_latency_table_image_size(set->tables[0]) !=
                nas_latency_table_image_size(first->tables[0]))
            return false;
    }
    return true;
}

/* The space for the images that the options name, or else those of the predictor or the table. */
static nas_status load_space(cli_evolve_task *task, const cli_space_options *options,
                             nas_err *err)
{
    const bool open = options->data == NULL && options->image_size == 0;
    const nas_predictor *p = task->predictor;
    nas_status status = tables_agree(task)
                            ? cli_space_load_for(&task->space, options, task->targets->tables, err)
                            : cli_space_load(&task->space, options, err);

    if (status == NAS_OK)
        status = nas_encoding_for(&task->encoding, task->space, p, err);
    if (status == NAS_OK && open && p->sizes == 1)
        status = nas_space_fit(task->space, p->image_size[0], task->space->channels,
                               task->space->classes, err);
    return status;
}

static nas_status prepare_targets(cli_evolve_task *task, nas_err *err)
{
    nas_status status = NAS_OK;

    if (task->predictor != NULL)
        status = nas_predictor_evaluator_new(&task->evaluator, task->predictor, &task->encoding,
                                             err);
    for (int i = 0; i < task->count && status == NAS_OK; i++)
        status = prepare_target(&task->targets[i], task, err);
    return status;
}

nas_status cli_evolve_prepare(cli_evolve_task *task, const cli_space_options *space,
                              const char *predictor, const cli_limit_options *options,
                              nas_err *err)
{
    nas_status status;

    *task = (cli_evolve_task){.options = options};
    if ((status = list_targets(task, err)) ||
        (status = nas_predictor_load(&task->predictor, predictor, err)) ||
        (status = load_tables(task, err)) || (status = load_space(task, space, err)))
        return status;
    task->image_size = task->space->image_size;
    return prepare_targets(task, err);
}

nas_status cli_evolve_prepare_in(cli_evolve_task *task, nas_space *space, const char *predictor,
                                 const cli_limit_options *options, nas_err *err)
{
    nas_status status;

    *task = (cli_evolve_task){.options = options, .space = space, .unlimited = true,
                              .image_size = nas_space_largest_size(space)};
    if ((status = list_targets(task, err)) || (status = load_tables(task, err)) ||
        (predictor != NULL &&
         ((status = nas_predictor_load(&task->predictor, predictor, err)) ||
          (status = nas_encoding_for(&task->encoding, space, task->predictor, err)))))
        return status;
    return prepare_targets(task, err);
}

void cli_evolve_finish(cli_evolve_task *task)
{
    for (int i = 0; i < task->count; i++) {
        nas_problem_fini(&task->targets[i].problem);
        nas_latency_set_free(task->targets[i].tables);
    }
    free(task->targets);
    nas_predictor_evaluator_free(task->evaluator);
    nas_encoding_fini(&task->encoding);
    nas_predictor_free(task->predictor);
    nas_space_free(task->space);
    json_decref(task->file);
}

nas_status cli_evolve_verifier(cli_verifier *out, const cli_evolve_task *task, int64_t seed,
                               nas_err *err)
{
    *out = (cli_verifier){.options = &task->options->verify, .space = task->space,
                          .tables = task->targets[0].tables, .seed = (uint64_t)seed,
                          .allow_emulated = task->options->allow_emulated};
    return cli_verifier_prepare(out, err);
}

/* Digest of all tables of all targets, in order. */
static nas_status digest_tables(const cli_evolve_task *task, char out[NAS_DIGEST_SIZE],
                                nas_err *err)
{
    nas_hash *hash = nas_hash_new();
    nas_status status =
        hash != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "search: out of memory");

    for (int i = 0; i < task->count; i++) {
        const nas_latency_set *set = task->targets[i].tables;

        for (int k = 0; set != NULL && k < set->count && status == NAS_OK; k++) {
            char digest[NAS_DIGEST_SIZE];

            status = nas_latency_table_digest(set->tables[k], digest, err);
            if (status == NAS_OK)
                nas_hash_add(hash, digest, strlen(digest));
        }
    }
    if (status == NAS_OK)
        nas_hash_hex(hash, out);
    nas_hash_free(hash);
    return status;
}

nas_status cli_evolve_inputs(json_t *inputs, const cli_evolve_task *task, nas_err *err)
{
    char digest[NAS_DIGEST_SIZE];
    const nas_status status = digest_tables(task, digest, err);

    if (status != NAS_OK)
        return status;
    json_object_set_new(inputs, "table", json_string(digest));
    if (task->predictor != NULL)
        json_object_set_new(inputs, "predictor", json_string(task->predictor->digest));
    char *text = task->file != NULL ? json_dumps(task->file, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (text != NULL) {
        nas_digest(text, strlen(text), digest);
        json_object_set_new(inputs, "targets", json_string(digest));
    }
    free(text);
    return NAS_OK;
}

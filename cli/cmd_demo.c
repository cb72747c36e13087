/* nas demo - the whole story on the generated task: images, latency table, search, and whether
 * the chosen network beats random ones that are as fast and were trained in the same way. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/stats.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/search_task.h"
#include "cli/version.h"
#include "latency/profile/profile.h"
#include "nas/data/synth.h"
#include "nas/train/train.h"
#include "search/jobs/worker.h"
#include "search/report/report.h"

enum { MAX_RIVALS = 100, PATH_SIZE = 4096, SIDE = 24, TEST_IMAGES = 1000 };
static const char space_name[] = "tiny";

typedef struct demo_options {
    cli_common common;
    int64_t rivals, train, search_epochs, warmup_epochs, train_epochs;
    double profile_seconds;
    bool dry_run;
} demo_options;

#define AT(field) offsetof(demo_options, field)

static const nas_option demo_table[] = {
    {"--rivals", NAS_OPT_INT, AT(rivals), "20", 1, MAX_RIVALS, NULL, "N",
     "random networks to compare with"},
    {"--train-images", NAS_OPT_INT, AT(train), "4000", 1000, 100000, NULL, "N",
     "images of the task"},
    {"--warmup-epochs", NAS_OPT_INT, AT(warmup_epochs), "4", 0, 1000, NULL, "N",
     "of the search"},
    {"--search-epochs", NAS_OPT_INT, AT(search_epochs), "16", 1, 1000, NULL, "N",
     "of the search"},
    {"--train-epochs", NAS_OPT_INT, AT(train_epochs), "2", 1, 1000, NULL, "N",
     "that each compared network is trained"},
    {"--profile-seconds", NAS_OPT_REAL, AT(profile_seconds), "10", 0.1, 1000, NULL, "S",
     "time limit of the latency table"},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

typedef struct demo {
    const cli_context *context;
    const demo_options *options;
    char data[PATH_SIZE], table[PATH_SIZE], report[PATH_SIZE];
    char target[40], warmup[24], epochs[24];
    cli_parsed search; /* the command line of the search, as a user would type it */
    cli_search_task task;
    cli_progress progress;
    nas_observer observer;
} demo;

static nas_status make_data(demo *d, nas_err *err)
{
    const nas_synth_options how = {.size = SIDE,
                                   .train = (uint32_t)d->options->train,
                                   .test = TEST_IMAGES,
                                   .seed = (uint64_t)d->context->common->seed,
                                   .threads = (int)d->context->common->threads,
                                   .progress = cli_progress_images,
                                   .progress_user = &d->progress};

    nas_log(NAS_LOG_INFO, "1/4 draws a task of %lld images in 10 classes",
            (long long)d->options->train);
    return nas_data_synth(d->data, &how, err);
}

/* Measures the space, and puts the target half way between its fastest and slowest network. */
static nas_status make_table(demo *d, nas_err *err)
{
    const cli_space_options about = {.space = space_name, .data = d->data};
    nas_latency_profile_options how = nas_latency_profile_defaults();
    nas_space *space = NULL;
    nas_latency_table *table = NULL;
    nas_latency_lut *lut = NULL;
    nas_status status;

    nas_log(NAS_LOG_INFO, "2/4 measures what each operation costs on this machine");
    how.engine = "nas " NAS_VERSION;
    how.seconds = d->options->profile_seconds;
    how.seed = (uint64_t)d->context->common->seed;
    how.observer = &d->observer;
    if ((status = cli_space_load(&space, &about, err)) == NAS_OK &&
        (status = nas_latency_profile(&table, space, &how, err)) == NAS_OK &&
        (status = nas_latency_table_save(table, d->table, err)) == NAS_OK &&
        (status = nas_latency_lut_new(&lut, table, space, 0, err)) == NAS_OK) {
        double least, most;

        nas_latency_lut_range(lut, space, &least, &most, NULL, NULL);
        snprintf(d->target, sizeof d->target, "%.17g", (least + most) / 2);
        nas_log(NAS_LOG_INFO, "    networks of '%s' take %.3g to %.3g ms here; the target is %.3g",
                space_name, least, most, (least + most) / 2);
    }
    nas_latency_lut_free(lut);
    nas_latency_table_free(table);
    nas_space_free(space);
    return status;
}

static nas_status search(demo *d, nas_search_result *found, json_t *result, nas_err *err)
{
    const cli_common *common = d->context->common;
    nas_status status;

    snprintf(d->warmup, sizeof d->warmup, "%lld", (long long)d->options->warmup_epochs);
    snprintf(d->epochs, sizeof d->epochs, "%lld", (long long)d->options->search_epochs);
    const char *const argv[] = {
        "--data", d->data, "--space", space_name, "--table", d->table, "--target-ms", d->target,
        "--warmup-epochs", d->warmup, "--epochs", d->epochs, "--arch-every", "2", "--batch", "64",
        "--valid-fraction", "0.25", "--derive-samples", "40", "--augment", "none",
        "--warmup-lr", "0.2", "--lr", "0.1"};
    nas_log(NAS_LOG_INFO, "3/4 searches: trains the supernet and chooses a network");
    if ((status = cli_parse(&d->search, &cmd_search, NULL, (int)(sizeof argv / sizeof *argv), argv,
                            err)) != NAS_OK)
        return status;
    cli_search_options *o = d->search.options;
    o->run.common = *common;
    const nas_search_config config = cli_search_config(o);
    status = cli_search_prepare(&d->task, o, &config, err);
    if (status != NAS_OK)
        return status;
    json_object_set_new(d->search.merged, "seed", json_integer(common->seed));
    return cli_search_execute(&d->search.context, &d->task, found, result, err);
}

/* An evaluator: trains the network for a few epochs from the supernet's weights, always in the
 * same way, and counts hits on the test images, which the search never saw. */
static nas_status judge_one(const demo *d, nas_candidate *candidate, nas_err *err)
{
    const int *choice = candidate->choice;
    const cli_common *common = d->context->common;
    const nas_dataset *data = d->task.data;
    const nas_train_config config = {.epochs = d->options->train_epochs,
                                     .batch = 64,
                                     .lr = 0.05,
                                     .momentum = 0.9,
                                     .decay = 4e-5,
                                     .label_smoothing = 0.1,
                                     .augment = "none",
                                     .seed = (uint64_t)common->seed,
                                     .loader_threads = (int)common->threads,
                                     .memory = NAS_MEMORY_BALANCED};
    nas_arch *arch = NULL;
    nas_model *model = NULL;
    nas_trainer *trainer = NULL;
    nas_train_result trained;
    nas_score hits;
    nas_status status;

    if ((status = nas_space_arch(&arch, d->task.space, choice, err)) ||
        (status = nas_model_new_arch(&model, arch, err)))
        goto done;
    nas_model_reset(model, config.seed);
    nas_model_inherit(model, nas_search_model(d->task.search), choice);
    if ((status = nas_trainer_new(&trainer, model, data, &config, err)) ||
        (status = nas_trainer_run(trainer, &d->observer, &trained, err)) ||
        (status = cli_score_split(&hits, model, data, nas_dataset_test_split(data),
                                  (int)common->threads, NULL, NULL, err)))
        goto done;
    candidate->score = (double)hits.top1 / (double)hits.images;

done:
    nas_trainer_free(trainer);
    nas_model_free(model);
    nas_arch_free(arch);
    return status;
}

static nas_status judge(void *user, nas_candidate *list, int count, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int i = 0; i < count && status == NAS_OK; i++)
        status = judge_one(user, &list[i], err);
    return status;
}

/* ---- the table at the end ---- */

static int by_latency(const void *a, const void *b)
{
    const nas_candidate *x = a, *y = b;

    return (x->latency_ms > y->latency_ms) - (x->latency_ms < y->latency_ms);
}

/* No other is at least as fast and as good, and better in one of the two. */
static bool on_front(const nas_candidate *list, int count, int i)
{
    for (int k = 0; k < count; k++)
        if (list[k].latency_ms <= list[i].latency_ms && list[k].score >= list[i].score &&
            (list[k].latency_ms < list[i].latency_ms || list[k].score > list[i].score))
            return false;
    return true;
}

/* `list` holds the chosen network and its rivals; sorts it. */
static json_t *pareto_json(nas_candidate *list, int count, const int *chosen, int slots)
{
    json_t *rows = json_array();

    qsort(list, (size_t)count, sizeof *list, by_latency);
    for (int i = 0; i < count; i++) {
        const bool ours = memcmp(list[i].choice, chosen, (size_t)slots * sizeof *chosen) == 0;

        json_array_append_new(rows, json_pack("{s:s, s:f, s:f, s:b}", "network",
                                              ours ? "chosen" : "random", "latency_ms",
                                              list[i].latency_ms, "top1", list[i].score, "pareto",
                                              on_front(list, count, i)));
    }
    return rows;
}

/* Keeps the comparison in the store as a run of its own, which the report draws. */
static nas_status record(const demo *d, const nas_candidate *list, int count, const json_t *result,
                         nas_err *err)
{
    const cli_common *common = d->context->common;
    char *config = json_dumps(d->context->config, JSON_COMPACT | JSON_REAL_PRECISION(17));
    char *summary = json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(17));
    const nas_store_run_spec spec = {.kind = "demo", .config = config, .version = NAS_VERSION,
                                     .seed = (uint64_t)common->seed,
                                     .threads = (int)common->threads};
    nas_store *store = NULL;
    nas_store_attempt attempt;
    nas_status status = config != NULL && summary != NULL
                            ? NAS_OK
                            : nas_fail(err, NAS_E_NOMEM, "demo: out of memory");

    if (status == NAS_OK &&
        (status = nas_store_open(&store, common->store, NAS_STORE_CREATE, err)) == NAS_OK)
        nas_worker_act(store);
    if (status == NAS_OK &&
        (status = nas_store_run_begin(store, &spec, &attempt, err)) == NAS_OK &&
        (status = cli_outcome_record(store, attempt, "demo", d->task.space, list, count, err)) ==
            NAS_OK)
        status = nas_store_run_finish(store, attempt, NAS_STORE_DONE, summary, NULL, err);
    nas_store_close(store);
    free(config);
    free(summary);
    return status;
}

static nas_status compare(demo *d, const nas_search_result *found, json_t *result, nas_err *err)
{
    const nas_evaluator evaluator = {.user = d, .score = judge};
    const double target_ms = d->task.config.target_ms, started = nas_clock_seconds();
    const nas_latency_lut *const luts[] = {d->task.lut};
    nas_candidate list[MAX_RIVALS + 1] = {{.latency_ms = found->latency_ms}};
    nas_problem problem;
    double scores[MAX_RIVALS];
    int rivals = 0;
    nas_status status;

    nas_log(NAS_LOG_INFO, "4/4 trains it and %lld random networks that meet the target, %lld "
            "epochs each", (long long)d->options->rivals, (long long)d->options->train_epochs);
    memcpy(list->choice, found->choice, sizeof list->choice);
    if ((status = judge_one(d, list, err)) ||
        (status = nas_problem_init(&problem, d->task.space, 0, NULL, luts, err)))
        return status;
    problem.limit[NAS_COST_LATENCY] = target_ms;
    status = nas_random_search(&problem, (uint64_t)d->context->common->seed,
                               (int)d->options->rivals, &evaluator, list + 1, &rivals, err);
    nas_problem_fini(&problem);
    if (status != NAS_OK)
        return status;
    for (int i = 0; i < rivals; i++)
        scores[i] = list[i + 1].score;
    const double median = nas_quantile(scores, rivals, 0.5);
    json_t *numbers = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:i, s:b, s:f}", "target_ms", target_ms, "latency_ms",
        list->latency_ms, "top1", list->score,
        "random_median_top1", median, "random_best_top1", nas_quantile(scores, rivals, 1), "rivals",
        rivals, "beats_median", list->score > median, "seconds", nas_clock_seconds() - started);
    status = record(d, list, rivals + 1, numbers, err);
    json_object_update(result, numbers);
    json_decref(numbers);
    json_object_set_new(result, "networks",
                        pareto_json(list, rivals + 1, found->choice, d->task.space->count));
    return status;
}

static nas_status write_report(const demo *d, nas_err *err)
{
    const nas_report_options all = {.drawn = NAS_REPORT_DRAWN};
    nas_store *store = NULL;
    nas_status status = nas_store_open(&store, d->context->common->store, NAS_STORE_READ, err);

    if (status == NAS_OK)
        status = nas_report_write(store, d->report, &all, NULL, err);
    nas_store_close(store);
    return status;
}

/* Appends a word to a command line, quoted for the shell where that is needed. */
static void add_word(char *line, size_t size, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "._-/+:,@";
    const bool quoted = word[0] == '\0' || word[strspn(word, plain)] != '\0';
    size_t used = strlen(line);

    if (used + 16 >= size) /* longer than anybody types: cut */
        return;
    used += (size_t)snprintf(line + used, size - used, quoted ? " '" : " ");
    for (; *word != '\0' && used + 8 < size; word++)
        used += (size_t)snprintf(line + used, size - used, *word == '\'' ? "'\\''" : "%c", *word);
    if (quoted)
        snprintf(line + used, size - used, "'");
}

/* What to type next: trains the network that was found on, in the same store. */
static json_t *next_command(const demo *d, const json_t *result)
{
    const char *model = json_string_value(json_object_get(result, "model"));
    const char *const words[] = {"train", "--data", d->data, "--from", model != NULL ? model : "",
                                 "--epochs", "20", "--augment", "none", "--store",
                                 d->context->common->store};
    char line[4 * PATH_SIZE] = "nas";

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        add_word(line, sizeof line, words[i]);
    return json_string(line);
}

static nas_status run_demo(demo *d, nas_search_result *found, json_t *result, nas_err *err)
{
    const double started = nas_clock_seconds();
    nas_status status;

    if ((status = nas_dir_make(d->context->common->store, err)) || (status = make_data(d, err)) ||
        (status = make_table(d, err)) || (status = search(d, found, result, err)) ||
        (status = compare(d, found, result, err)) || (status = write_report(d, err)))
        return status;
    json_object_set_new(result, "data", json_string(d->data));
    json_object_set_new(result, "table", json_string(d->table));
    json_object_set_new(result, "seconds", json_real(nas_clock_seconds() - started));
    json_object_set_new(result, "report", json_string(d->report));
    json_object_set_new(result, "next", next_command(d, result));
    return NAS_OK;
}

/* ---- what it would take ---- */

/* Seconds and memory of a step of the space at its own image size, as nas bench measures them. */
static nas_status time_step(double *seconds, double *peak_mib, const char *mode,
                            const cli_common *common, nas_err *err)
{
    json_t *told;
    char threads[24];
    const char *const argv[] = {"/proc/self/exe", "bench", "--space", space_name, "--mode", mode,
                                "--batch", "64", "--steps", "10", "--threads", threads, "--json",
                                NULL};

    snprintf(threads, sizeof threads, "%lld", (long long)common->threads);
    const nas_status status = cli_ask(&told, argv, 60, err);
    if (status != NAS_OK)
        return status;
    *seconds = json_number_value(json_object_get(told, "step_seconds"));
    *peak_mib = json_number_value(json_object_get(told, "peak_rss_mib"));
    json_decref(told);
    return NAS_OK;
}

/* Without images, so by the steps of the two trainings: larger images take longer by their area, and
 * every second step of the search proper is one of the architecture. */
static nas_status dry_run(const cli_context *context, const demo_options *o, nas_err *err)
{
    const cli_space_options fitted = {.space = space_name, .image_size = SIDE};
    const int64_t batches = o->train / 64, searched = (o->train - o->train / 4) / 64;
    cli_demand demand = {.folder = o->common.store};
    json_t *about = json_object();
    nas_space *own = NULL, *space = NULL;
    double weights, both, peak_mib;
    nas_status status;

    if ((status = nas_space_load(&own, space_name, err)) ||
        (status = cli_space_load(&space, &fitted, err)) ||
        (status = cli_demand_space(about, space, NULL, err)) ||
        (status = time_step(&weights, &peak_mib, "weight", &o->common, err)) ||
        (status = time_step(&both, &peak_mib, "full", &o->common, err)))
        goto done;
    const double area = (double)(SIDE * SIDE) / (own->image_size * own->image_size);
    cli_demand_add(&demand, (double)((o->warmup_epochs + o->search_epochs) * searched +
                                     (o->rivals + 1) * o->train_epochs * batches),
                   area * weights);
    cli_demand_add(&demand, (double)(o->search_epochs * searched / 2), area * both);
    demand.seconds += o->profile_seconds;
    demand.memory_bytes = peak_mib * 1024.0 * 1024.0;
    demand.disk_bytes = (double)(o->train + TEST_IMAGES) * SIDE * SIDE * 3;
    status = cli_demand_emit(context, json_incref(about), &demand, err);

done:
    nas_space_free(own);
    nas_space_free(space);
    json_decref(about);
    return status;
}

static nas_status demo_run(const cli_context *context, const void *options, nas_err *err)
{
    demo d = {.context = context, .options = options};
    nas_search_result found = {0};

    if (d.options->dry_run)
        return dry_run(context, options, err);
    json_t *result = json_object();

    snprintf(d.data, sizeof d.data, "%s/demo.nasd", context->common->store);
    snprintf(d.table, sizeof d.table, "%s/demo.yaml", context->common->store);
    snprintf(d.report, sizeof d.report, "%s/demo.html", context->common->store);
    cli_progress_init(&d.progress, context->common);
    d.observer = cli_progress_observer(&d.progress);
    nas_status status = run_demo(&d, &found, result, err);
    cli_progress_end(&d.progress);
    if (status == NAS_OK) {
        status = cli_emit(context, json_incref(result), err);
        nas_log(NAS_LOG_INFO, "the report, to look at in a browser: %s", d.report);
        nas_log(NAS_LOG_INFO, "next, trains it on: %s",
                json_string_value(json_object_get(result, "next")));
        nas_log(NAS_LOG_INFO, "or begin with images of your own: nas data import DIR --out "
                "mine.nasd");
    }
    free(found.judgement);
    cli_search_finish(&d.task);
    cli_parsed_fini(&d.search);
    json_decref(result);
    return status;
}

const cli_command cmd_demo = {
    .name = "demo", .summary = "the whole story on a generated task, in two minutes",
    .example = "demo", .tables = {demo_table}, .size = sizeof(demo_options),
    .stop = CLI_STOP_ENDS, .run = demo_run,
};

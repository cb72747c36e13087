/* Searches on several processes, as mpirun starts them; skipped where the program was built without
 * MPI.  What it then says is tried anywhere. */
#include "tests/cli/nas.h"
#include "tests/cli/slurm_here.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

static void end(void)
{
    slurm_end();
    nas_end();
}

TestSuite(cli_mpi, .init = nas_begin, .fini = end, .timeout = 280);

static const char *data, *table;

static void prepare(void)
{
    if (!NAS_WITH_MPI || access("/usr/bin/mpirun", X_OK) != 0)
        cr_skip_test("nas was built without MPI, or there is no mpirun: scripts/setup --mpi, "
                     "scripts/build mpi");
    data = make_data();
    table = make_table();
}

#define SEARCH                                                                                     \
    "search", "--data", data, "--space", "tiny", "--table", table, "--target-ms", "1.0",           \
        "--warmup-epochs", "1", "--epochs", "1", "--batch", "32", "--arch-every", "2",             \
        "--derive-samples", "3"

/* Runs `nas` in `ranks` processes with a store of its own, in JSON; yours: process_free.  `script`
 * (NULL: none) is a line of shell that each process does before it becomes `nas`. */
static process_result together(const char *ranks, const char *store, const char *script,
                               const process_options *options, ...)
{
    const char *argv[PROCESS_MAX_ARGS] = {"/usr/bin/mpirun", "--allow-run-as-root", "--oversubscribe",
                                          "--bind-to", "none", "-n", ranks}, *argument;
    const char *environment[] = {"GOMP_SPINCOUNT=1000", "OMPI_MCA_mpi_yield_when_idle=1", NULL};
    process_options o = options != NULL ? *options : (process_options){0};
    char text[400];
    int count = 7;
    va_list list;

    if (script != NULL) {
        snprintf(text, sizeof text, "%s exec \"$0\" \"$@\"", script);
        argv[count++] = "/bin/sh";
        argv[count++] = "-c";
        argv[count++] = text;
    }
    argv[count++] = NAS_PROGRAM;
    va_start(list, options);
    while ((argument = va_arg(list, const char *)) != NULL)
        argv[count++] = argument;
    va_end(list);
    argv[count++] = "--threads";
    argv[count++] = "1";
    argv[count++] = "--json";
    argv[count++] = "--store";
    argv[count++] = nas_file(store);
    cr_assert_lt(count, PROCESS_MAX_ARGS);
    o.environment = environment;
    o.timeout_s = 200;
    return process_run(argv, &o);
}
#define TOGETHER(ranks, store, ...) together(ranks, store, NULL, NULL, __VA_ARGS__, NULL)

/* The result of what went well. */
static json_t *result_of(process_result result)
{
    cr_assert_eq(result.code, 0, "exit %d: %s", result.code, result.err);
    json_t *object = json_loads(result.out, 0, NULL);
    cr_assert_not_null(object, "one object, not: %s", result.out);
    process_free(&result);
    return object;
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void expect_same_digest(const json_t *a, const json_t *b)
{
    cr_expect_str_eq(json_string_value(json_object_get(a, "digest")),
                     json_string_value(json_object_get(b, "digest")));
}

static void expect_refused(process_result result, int code, const char *text)
{
    cr_expect_eq(result.code, code, "exit %d: %s", result.code, result.err);
    const char *first = strstr(result.err, text);
    cr_expect_not_null(first, "'%s' is not in: %s", text, result.err);
    cr_expect(first == NULL || strstr(first + 1, text) == NULL, "said twice: %s", result.err);
    process_free(&result);
}

Test(cli_mpi, two_processes_find_what_one_finds_with_synchronised_batch_norm)
{
    prepare();
    json_t *alone = result_of(TOGETHER("1", "one", SEARCH, "--sync-bn"));
    json_t *two = result_of(TOGETHER("2", "two", SEARCH, "--sync-bn"));

    /* worst seen 3e-8, after 33 steps */
    cr_expect_float_eq(number(alone, "valid_loss"), number(two, "valid_loss"), 1e-4);
    cr_expect_eq(number(alone, "latency_ms"), number(two, "latency_ms"));
    cr_expect_eq(number(alone, "steps"), number(two, "steps"));
    expect_same_digest(NAS_JSON(SEARCH), alone); /* one process of mpirun is one process */
    json_decref(alone);
    json_decref(two);
}

Test(cli_mpi, the_same_bits_again_and_after_a_stop)
{
    const process_options stopping = {.signal_on = "epoch 1 ", .signal = SIGUSR1};

    prepare();
    json_t *first = result_of(TOGETHER("2", "first", SEARCH));
    process_result stopped = together("2", "second", NULL, &stopping, SEARCH, NULL);
    cr_assert_eq(stopped.code, 75, "exit %d: %s", stopped.code, stopped.err);
    cr_assert_not_null(strstr(stopped.err, "nas resume search-1"), "%s", stopped.err);
    cr_expect_null(strstr(stopped.err, "once more"), "one signal is all they hear: %s", stopped.err);
    process_free(&stopped);
    json_t *second = result_of(TOGETHER("2", "second", "resume"));
    expect_same_digest(first, second);
    cr_expect_eq(number(first, "valid_loss"), number(second, "valid_loss"));
    json_decref(first);
    json_decref(second);
}

/* On two nodes of a Slurm, which starts the processes by PMIx. */
Test(cli_mpi, srun_finds_what_mpirun_finds)
{
    prepare();
    slurm_need();
    const char *const argv[] = {"/usr/bin/srun", "--nodes=2", "--ntasks=2", "--cpus-per-task=1",
                                "--mpi=pmix_v4", NAS_PROGRAM, SEARCH, "--threads", "1", "--json",
                                "--store", nas_file("srun"), NULL};
    const char *environment[] = {"GOMP_SPINCOUNT=1000", "OMPI_MCA_mpi_yield_when_idle=1", NULL};
    json_t *here = result_of(TOGETHER("2", "mpirun", SEARCH));
    json_t *there = result_of(process_run(argv, &(process_options){.timeout_s = 200,
                                                                   .environment = environment}));

    expect_same_digest(here, there);
    json_decref(here);
    json_decref(there);
}

Test(cli_mpi, a_lost_process_ends_the_job_and_any_number_goes_on)
{
    char script[300];

    prepare();
    snprintf(script, sizeof script,
             "test \"$OMPI_COMM_WORLD_RANK\" = 0 || { while ! ls '%s'/runs/1/checkpoint-*; do "
             "sleep 0.02; done; kill -9 $$; } >/dev/null 2>&1 &", nas_file("store"));
    process_result killed = together("2", "store", script, NULL, SEARCH, "--checkpoint-seconds",
                                     "0", NULL);
    cr_assert(killed.code != 0 && killed.code != -1, "exit %d", killed.code);
    process_free(&killed);
    json_t *rest = result_of(TOGETHER("1", "store", "resume"));
    cr_expect_gt(number(rest, "valid_top1"), 0);
    json_decref(rest);
    expect_refused(TOGETHER("2", "store", "resume", "search-1"), 2, "nothing to continue");
    cr_assert(json_is_true(json_object_get(NAS_JSON("store", "verify"), "ok")));
}

Test(cli_mpi, a_training_is_shared_stopped_and_resumed)
{
    const process_options stopping = {.signal_on = "epoch 1 ", .signal = SIGUSR1};

    prepare();
    const char *arch = make_arch();
    json_t *alone = result_of(TOGETHER("1", "one", "train", "--data", data, "--arch", arch,
                                       "--epochs", "2", "--sync-bn"));
    process_result stopped = together("2", "two", NULL, &stopping, "train", "--data", data,
                                      "--arch", arch, "--epochs", "2", "--sync-bn", NULL);
    cr_assert_eq(stopped.code, 75, "exit %d: %s", stopped.code, stopped.err);
    process_free(&stopped);
    json_t *two = result_of(TOGETHER("2", "two", "resume"));
    cr_expect_float_eq(number(alone, "train_loss"), number(two, "train_loss"), 1e-4);
    json_decref(alone);
    json_decref(two);
}

Test(cli_mpi, what_cannot_be_shared_is_refused_once_for_all)
{
    prepare();
    expect_refused(TOGETHER("2", "store", SEARCH, "--batch", "33"), 78, "a batch of 33 images");
    expect_refused(TOGETHER("2", "store", SEARCH, "--verify-top", "2"), 78, "by one process alone");
    expect_refused(TOGETHER("2", "store", SEARCH, "--dry-run"), 2, "--dry-run is for one process");
    expect_refused(TOGETHER("2", "store", "space", "list"), 2, "space list is for one process");
    expect_refused(TOGETHER("2", "store", "resume"), 74, "no store");
    process_result others = together(
        "2", "store", "test \"$OMPI_COMM_WORLD_RANK\" = 0 || export NAS_KERNELS=portable;", NULL,
        SEARCH, NULL);
    expect_refused(others, 78, "not those of process 0");
    cr_assert_neq(access(nas_file("store"), F_OK), 0, "nothing was begun");
}

Test(cli_mpi, one_of_several_processes_that_are_not_together_does_nothing)
{
    static const char *const launchers[] = {"OMPI_COMM_WORLD_SIZE=2", "SLURM_STEP_NUM_TASKS=3"};
    const char *environment[] = {NULL, NULL};
    const process_options options = {.environment = environment};
    const char *reason = NAS_WITH_MPI ? "of which MPI sees 1" : "built without MPI";

    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        environment[0] = launchers[i];
        const char *argv[] = {NAS_PROGRAM, "space", "list", NULL};
        process_result result = process_run(argv, &options);
        cr_expect_eq(result.code, 78, "%s: exit %d", launchers[i], result.code);
        cr_expect_not_null(strstr(result.err, reason), "%s", result.err);
        const bool warned = strstr(result.err, "without PMIx: ") != NULL;
        cr_expect_eq(warned, NAS_WITH_MPI && strstr(launchers[i], "SLURM") != NULL, "%s", result.err);
        process_free(&result);
    }
}

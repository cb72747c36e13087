/* nas bench - how fast the engine takes one kind of step, and in how much memory. */
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/stats.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/output.h"
#include "cli/run_session.h"
#include "cli/version.h"
#include "nas/train/step.h"
#include "ops/kernel/kernel.h"
#include "ops/kernel/peak.h"
#include "search/proxyless/alphas.h"

typedef struct bench_options {
    cli_common common;
    const char *space;
    int mode, memory;
    int64_t batch, steps;
    bool peak, dry_run;
} bench_options;

enum { MODE_WEIGHT, MODE_TWO, MODE_FULL, MODE_FORWARD };
static const char *const mode_names[] = {"weight", "two", "full", "forward"};

#define AT(field) offsetof(bench_options, field)

static const nas_option bench_table[] = {
    {"--space", NAS_OPT_STRING, AT(space), "proxyless-cifar", 0, 0, NULL, "SPACE",
     "name of a built-in space, or its JSON file"},
    {"--mode", NAS_OPT_CHOICE, AT(mode), "weight", 0, 0, "weight|two|full|forward", NULL,
     "weight step, architecture step over two or all candidates, or evaluation"},
    {"--batch", NAS_OPT_INT, AT(batch), "64", 1, 4096, NULL, "N", "images a step"},
    {"--steps", NAS_OPT_INT, AT(steps), "11", 1, 100000, NULL, "N",
     "timed steps, each on a freshly drawn path"},
    {"--memory", NAS_OPT_CHOICE, AT(memory), CLI_MEMORY_DEFAULT, 0, 0, CLI_MEMORY_CHOICES, NULL,
     CLI_MEMORY_HELP},
    {"--peak", NAS_OPT_FLAG, AT(peak), NULL, 0, 0, NULL, NULL,
     "multiply large matrices with OpenBLAS after each step, and compare the rates of arithmetic"},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

/* What all steps share. */
typedef struct bench {
    nas_space *space;
    nas_model *model;
    nas_exec *exec;
    nas_step step;
    nas_alphas alphas;
    nas_rng rng;
    nas_path path;
    int n;
    float *images;
    int *labels;
    double *q, *gate_grad;
    double *seconds, *flop; /* of each step                                               */
    double *peaks;          /* GFLOP/s of the products before the first and after each    */
    nas_sgemm *sgemm;       /* or NULL                                                    */
} bench;

static void weight_step(bench *b)
{
    const nas_forward how = {.train = true, .keep = true, .dropout = true, .bn_momentum = 0.1f};
    const nas_sgd sgd = {.lr = 0.05f, .momentum = 0.9f, .decay = 4e-5f, .nesterov = true};

    nas_alphas_sample(&b->alphas, &b->rng, &b->path);
    nas_step_weights(&b->step, b->path.choice, b->n, b->images, b->labels, 0, &how, &sgd);
}

static void arch_step(bench *b, nas_arch_mode mode)
{
    const nas_backward want = {.gates = b->path.gates, .gate_grad = b->gate_grad};

    nas_alphas_sample_arch(&b->alphas, mode, &b->rng, &b->path);
    nas_step_gates(&b->step, b->path.choice, b->n, b->images, b->labels, &want);
    nas_alphas_step_probabilities(&b->alphas, &b->path, mode, b->q);
    nas_alphas_add_gate_gradient(&b->alphas, b->q, b->gate_grad, 1);
    nas_alphas_adam(&b->alphas, 1e-3, 0, 0.999, 1e-8);
    nas_alphas_softmax(&b->alphas);
}

static void two_step(bench *b) { arch_step(b, NAS_ARCH_TWO); }
static void full_step(bench *b) { arch_step(b, NAS_ARCH_FULL); }

static void forward_step(bench *b)
{
    const nas_forward how = {0};

    nas_alphas_sample(&b->alphas, &b->rng, &b->path);
    nas_exec_forward(b->exec, b->path.choice, b->n, b->images, &how);
}

static void (*const steps[])(bench *b) = {weight_step, two_step, full_step, forward_step};

/* Floating-point operations of a step on the path just taken: two a MAC forward, and as many for
 * the gradients of inputs and of weights each.  What is computed twice to save memory counts once. */
static nas_status flop(const bench *b, int mode, double *out, nas_err *err)
{
    nas_arch *arch = NULL;
    nas_status status = nas_space_arch(&arch, b->space, b->path.choice, err);

    if (status == NAS_OK)
        *out = (mode == MODE_WEIGHT ? 6.0 : 2.0) * b->n * (double)nas_arch_cost(arch, 0).macs;
    nas_arch_free(arch);
    return status;
}

/* Whether the arithmetic of a step follows from its path alone. */
static bool is_counted(int mode) { return mode == MODE_WEIGHT || mode == MODE_FORWARD; }

static nas_status time_steps(bench *b, const bench_options *o, int count, nas_err *err)
{
    nas_status status = NAS_OK;

    steps[o->mode](b); /* not timed: pages are touched for the first time */
    b->peaks[0] = b->sgemm ? nas_sgemm_run(b->sgemm) : 0;
    for (int i = 0; i < count && status == NAS_OK; i++) {
        const double start = nas_clock_seconds();

        steps[o->mode](b);
        b->seconds[i] = nas_clock_seconds() - start;
        if (is_counted(o->mode))
            status = flop(b, o->mode, &b->flop[i], err);
        b->peaks[i + 1] = b->sgemm ? nas_sgemm_run(b->sgemm) : 0;
    }
    return status;
}

static nas_status prepare(bench *b, const bench_options *o, nas_err *err)
{
    const uint64_t seed = (uint64_t)o->common.seed;
    nas_status status;

    b->n = (int)o->batch;
    if (o->peak && !is_counted(o->mode))
        return nas_fail(err, NAS_E_USAGE, "--peak is for --mode weight and forward: what else a step "
                                          "computes does not follow from its path alone");
    if ((status = nas_space_load(&b->space, o->space, err)) ||
        (status = nas_model_new(&b->model, b->space, err)) ||
        (status = nas_exec_new(&b->exec, b->model, b->n, err)) ||
        (status = nas_step_init(&b->step, b->exec, b->n, b->model->classes, err)) ||
        (status = nas_alphas_init(&b->alphas, b->space, seed, err)))
        return status;
    const size_t side = (size_t)b->model->image_size;
    const size_t floats = (size_t)b->n * side * side * (size_t)b->model->channels;
    b->images = calloc(floats, sizeof *b->images);
    b->labels = calloc((size_t)b->n, sizeof *b->labels);
    b->q = calloc((size_t)b->alphas.total, sizeof *b->q);
    b->gate_grad = calloc((size_t)b->alphas.slots * NAS_MAX_CANDIDATES, sizeof *b->gate_grad);
    b->seconds = calloc((size_t)o->steps, sizeof *b->seconds);
    b->flop = calloc((size_t)o->steps, sizeof *b->flop);
    b->peaks = calloc((size_t)o->steps + 1, sizeof *b->peaks);
    if (!b->images || !b->labels || !b->q || !b->gate_grad || !b->seconds || !b->flop || !b->peaks)
        return nas_fail(err, NAS_E_NOMEM, "bench: out of memory for %d images", b->n);
    if (o->peak && (status = nas_sgemm_new(&b->sgemm, err)) != NAS_OK)
        return status;
    nas_exec_set_memory(b->exec, (nas_memory)o->memory);
    nas_model_reset(b->model, seed);
    nas_alphas_softmax(&b->alphas);
    nas_rng_init(&b->rng, seed, "bench", 0);
    for (size_t i = 0; i < floats; i++)
        b->images[i] = (float)nas_rng_normal(&b->rng);
    for (int i = 0; i < b->n; i++)
        b->labels[i] = (int)nas_rng_below(&b->rng, (uint32_t)b->model->classes);
    return NAS_OK;
}

static void finish(bench *b)
{
    free(b->images);
    free(b->labels);
    free(b->q);
    free(b->gate_grad);
    free(b->seconds);
    free(b->flop);
    free(b->peaks);
    nas_sgemm_free(b->sgemm);
    nas_alphas_fini(&b->alphas);
    nas_step_fini(&b->step);
    nas_exec_free(b->exec);
    nas_model_free(b->model);
    nas_space_free(b->space);
}

static nas_status dry_run(const cli_context *context, const bench_options *o, const bench *b,
                          int count, nas_err *err)
{
    cli_demand demand = {.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0};

    cli_demand_add(&demand, (double)o->steps + 1, nas_mean(b->seconds, count));
    return cli_demand_emit(context, json_pack("{s:I}", "parameters",
                                              (json_int_t)b->model->parameters), &demand, err);
}

/* Each step is compared with the products before and after it, because the speed of a machine with
 * other guests drifts. */
static void add_rates(const bench *b, const bench_options *o, int count, json_t *result)
{
    json_object_set_new(result, "gflops", json_real(nas_mean(b->flop, count) /
                                                    nas_mean(b->seconds, count) * 1e-9));
    if (!o->peak)
        return;
    for (int i = 0; i < count; i++)
        b->flop[i] *= 1e-9 / b->seconds[i] / ((b->peaks[i] + b->peaks[i + 1]) / 2);
    json_object_set_new(result, "sgemm_gflops", json_real(nas_quantile(b->peaks, count + 1, 0.5)));
    json_object_set_new(result, "fraction_of_sgemm", json_real(nas_quantile(b->flop, count, 0.5)));
}

static nas_status bench_run(const cli_context *context, const void *options, nas_err *err)
{
    const bench_options *o = options;
    const int count = o->dry_run && o->steps > 3 ? 3 : (int)o->steps;
    char engine[96];
    bench b = {0};
    nas_status status = prepare(&b, o, err);

    if (status != NAS_OK)
        goto done;
    if ((status = time_steps(&b, o, count, err)) != NAS_OK)
        goto done;
    if (o->dry_run) {
        status = dry_run(context, o, &b, count, err);
        goto done;
    }
    snprintf(engine, sizeof engine, "nas " NAS_VERSION " (%s)", nas_kernels_get()->name);
    json_t *result = json_pack(
        "{s:s, s:s, s:s, s:i, s:I, s:i, s:f, s:f, s:f, s:f, s:f, s:I}", "engine", engine, "space",
        b.space->name, "mode", mode_names[o->mode], "batch", b.n, "threads",
        (json_int_t)o->common.threads, "steps", count, "images_per_second",
        b.n / nas_mean(b.seconds, count), "step_seconds", nas_quantile(b.seconds, count, 0.5),
        "step_seconds_min", nas_quantile(b.seconds, count, 0), "peak_rss_mib",
        nas_system_peak_rss_mib(), "activations_mib",
        (double)nas_exec_peak_bytes(b.exec) / (1024.0 * 1024.0), "parameters",
        (json_int_t)b.model->parameters);
    if (is_counted(o->mode))
        add_rates(&b, o, count, result);
    status = cli_emit(context, result, err);

done:
    finish(&b);
    return status;
}

const cli_command cmd_bench = {
    .name = "bench", .summary = "images per second and memory of one kind of step",
    .example = "bench --space proxyless-cifar --mode full --batch 64 --threads 2 --json",
    .tables = {bench_table}, .size = sizeof(bench_options), .run = bench_run,
};

/* The published predictor and Note 10 tables of Once-for-All: known scores, known latencies, and
 * searches that beat the published one.  Skipped where the files are absent. */
#include <criterion/criterion.h>
#include <string.h>

#include "latency/table/set.h"
#include "search/evolution/evolution.h"
#include "search/ofa/predictor.h"
#include "tests/latency/published.h"

TestSuite(search_published, .timeout = 240);

enum { BLOCKS = 20, STAGES = 5, SIZES = 5, SEEDS = 5 };

static nas_err err;
static nas_space *space;
static nas_predictor *predictor;
static nas_encoding encoding;
static nas_predictor_evaluator *evaluator;
static nas_problem problem;

static void load(void)
{
    nas_latency_lut *luts[SIZES];
    nas_latency_set *set;
    int sizes[SIZES];

    REQUIRE_OK(nas_predictor_load(&predictor, published("ofa/acc_predictor.pth"), &err));
    REQUIRE_OK(nas_latency_set_load(&set, published("latency/note10"), &err));
    REQUIRE_OK(nas_space_load(&space, "ofa-mbv3-1.2", &err));
    REQUIRE_OK(nas_encoding_for(&encoding, space, predictor, &err));
    REQUIRE_OK(nas_predictor_evaluator_new(&evaluator, predictor, &encoding, &err));
    cr_assert_eq(set->count, SIZES);
    for (int i = 0; i < SIZES; i++) {
        sizes[i] = nas_latency_table_image_size(set->tables[i]);
        REQUIRE_OK(nas_latency_lut_new(&luts[i], set->tables[i], space, sizes[i], &err));
    }
    REQUIRE_OK(nas_problem_init(&problem, space, SIZES, sizes,
                                (const nas_latency_lut *const *)luts, &err));
    for (int i = 0; i < SIZES; i++)
        nas_latency_lut_free(luts[i]);
    nas_latency_set_free(set);
}

static void unload(void)
{
    nas_problem_fini(&problem);
    nas_predictor_evaluator_free(evaluator);
    nas_encoding_fini(&encoding);
    nas_predictor_free(predictor);
    nas_space_free(space);
}

/* A network as the published code writes it: depth by stage, kernel and ratio by block. */
typedef struct spec {
    int image_size, depth[STAGES], kernel[BLOCKS], expand[BLOCKS];
    double accuracy, latency_ms; /* published to 6 and to 4 to 6 digits */
} spec;

static void check(const spec *of)
{
    nas_candidate candidate = {.image_size = of->image_size};
    int block = 0;

    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];
        if (slot->count == 1)
            continue;
        candidate.choice[s] = -1;
        for (int c = 0; c < slot->count; c++) {
            const nas_op_spec *op = &slot->candidates[c];
            const bool zero = op->type == NAS_OP_ZERO;
            if (zero ? block % 4 >= of->depth[block / 4]
                     : block % 4 < of->depth[block / 4] && op->kernel == of->kernel[block] &&
                           op->expand == (float)of->expand[block])
                candidate.choice[s] = c;
        }
        cr_assert_geq(candidate.choice[s], 0);
        block++;
    }
    cr_assert_eq(block, BLOCKS);
    REQUIRE_OK(evaluator->evaluator.score(evaluator, &candidate, 1, &err));
    cr_expect_float_eq(candidate.score, of->accuracy, 1.5e-6, "%d px, %g ms: %.7f",
                       of->image_size, of->latency_ms, candidate.score);
    cr_expect_float_eq(nas_problem_cost(&problem, NAS_COST_LATENCY, &candidate), of->latency_ms,
                       6e-5);
}

static spec uniform(int kernel, int expand, int depth, int size, double accuracy, double ms)
{
    spec s = {.image_size = size, .accuracy = accuracy, .latency_ms = ms};

    for (int i = 0; i < BLOCKS; i++) {
        s.depth[i / 4] = depth;
        s.kernel[i] = kernel;
        s.expand[i] = expand;
    }
    return s;
}

Test(search_published, uniform_networks_have_their_published_scores)
{
    static const struct {
        int kernel, expand, depth, size;
        double accuracy, latency_ms;
    } known[] = {
        {3, 3, 2, 160, 0.753119, 9.890347},  {3, 3, 2, 224, 0.777386, 17.769056},
        {3, 3, 4, 224, 0.806229, 30.700517}, {5, 4, 3, 192, 0.805928, 27.835619},
        {7, 3, 2, 208, 0.778662, 23.210982}, {3, 6, 4, 224, 0.828424, 57.081900},
        {7, 6, 4, 160, 0.807503, 47.773312}, {7, 6, 4, 176, 0.819454, 58.037906},
        {7, 6, 4, 192, 0.827122, 67.561659}, {7, 6, 4, 208, 0.833177, 81.192398},
        {7, 6, 4, 224, 0.835928, 92.398038},
    };

    load();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const spec s = uniform(known[i].kernel, known[i].expand, known[i].depth, known[i].size,
                               known[i].accuracy, known[i].latency_ms);
        check(&s);
    }
    unload();
}

Test(search_published, constant_inputs_have_their_published_outputs)
{
    float x[2 * 128] = {0}, y[2], scratch[4 * 400];

    load();
    cr_assert_eq(predictor->net.width[0], 128);
    cr_assert_eq(nas_dense_widest(&predictor->net), 400);
    for (int i = 0; i < 128; i++)
        x[128 + i] = 1.0f;
    nas_dense_run(&predictor->net, 2, x, scratch, y);
    cr_expect_float_eq(y[0], 0.7673692, 1e-6);
    cr_expect_float_eq(y[1], 0.8900330, 1e-6);
    unload();
}

Test(search_published, the_30_ms_network_has_its_published_inputs)
{
    static const int hot[] = {0,  3,  13, 15, 18, 25, 28, 30, 36,  39,  42,  48,  51,  54,  57,
                              60, 63, 73, 75, 79, 85, 88, 90, 98, 100, 103, 110, 113, 115, 117,
                              127};
    nas_candidate candidate = {.image_size = 224};
    nas_arch *arch;
    float x[128], expected[128] = {0};

    load();
    REQUIRE_OK(nas_arch_load(
        &arch, published("ofa/note10_lat-30ms_top1-78.4_finetune-75/net.config.json"), &err));
    REQUIRE_OK(nas_space_choice_of(space, arch, candidate.choice, &err));
    nas_encoding_apply(&encoding, &candidate, x);
    for (size_t i = 0; i < sizeof hot / sizeof *hot; i++)
        expected[hot[i]] = 1.0f;
    for (int i = 0; i < 128; i++)
        cr_expect_eq(x[i], expected[i], "input %d", i);
    REQUIRE_OK(evaluator->evaluator.score(evaluator, &candidate, 1, &err));
    cr_expect_float_eq(candidate.score, 0.81967, 5e-6);
    cr_expect_float_eq(nas_problem_cost(&problem, NAS_COST_LATENCY, &candidate), 29.965346, 1e-6);
    nas_arch_free(arch);
    unload();
}

/* What the published search found at best, slots as drawn. */
static const spec best_known[] = {
    {160, {2, 2, 3, 3, 3},
     {3, 3, 5, 5, 3, 3, 7, 3, 5, 7, 3, 3, 3, 5, 3, 3, 3, 5, 3, 7},
     {3, 3, 3, 3, 4, 6, 6, 6, 4, 3, 3, 4, 4, 4, 4, 3, 4, 6, 3, 4}, 0.785378, 14.934034},
    {176, {2, 3, 3, 3, 3},
     {3, 3, 3, 7, 3, 3, 3, 7, 7, 3, 3, 7, 7, 7, 3, 7, 3, 3, 3, 5},
     {3, 3, 6, 6, 4, 6, 4, 3, 4, 4, 3, 4, 4, 4, 4, 4, 6, 6, 4, 4}, 0.806786, 19.977395},
    {192, {2, 3, 3, 3, 4},
     {3, 3, 3, 3, 3, 5, 3, 3, 7, 7, 3, 5, 5, 7, 3, 7, 3, 3, 3, 3},
     {3, 3, 3, 4, 4, 6, 4, 3, 4, 3, 6, 6, 4, 4, 4, 4, 6, 6, 6, 3}, 0.819949, 24.998697},
    {192, {2, 4, 4, 4, 4},
     {3, 3, 5, 7, 7, 3, 7, 3, 5, 5, 3, 7, 7, 3, 5, 5, 3, 3, 7, 5},
     {3, 3, 3, 6, 4, 4, 3, 3, 6, 4, 3, 4, 4, 4, 6, 4, 6, 6, 6, 4}, 0.827772, 29.9738},
    {208, {2, 3, 4, 4, 4},
     {3, 3, 7, 5, 3, 3, 3, 3, 7, 5, 3, 7, 7, 5, 3, 7, 3, 3, 5, 7},
     {4, 3, 6, 6, 6, 6, 4, 6, 4, 3, 4, 3, 6, 4, 4, 4, 6, 6, 6, 3}, 0.832941, 34.625280},
};

Test(search_published, what_the_published_search_found_scores_the_same_here)
{
    load();
    for (size_t i = 0; i < sizeof best_known / sizeof *best_known; i++)
        check(&best_known[i]);
    unload();
}

/* The mean over five seeds against the published search's best of five. */
Test(search_published, our_search_beats_the_published_one)
{
    static const double limits[] = {15, 20, 25, 30, 35};
    static const double required[] = {0.78538, 0.80679, 0.81995, 0.82777, 0.83294};
    static nas_candidate out[50];

    load();
    for (int i = 0; i < 5; i++) {
        double sum = 0.0;
        problem.limit[NAS_COST_LATENCY] = limits[i];
        for (int seed = 0; seed < SEEDS; seed++) {
            const nas_evolution_config config = nas_evolution_thorough((uint64_t)seed);
            int64_t evaluations;
            int found;
            REQUIRE_OK(nas_evolution_run(&problem, &config, &evaluator->evaluator, out, &found,
                                         &evaluations, &err));
            cr_expect_leq(out->latency_ms, limits[i]);
            sum += out->score;
        }
        cr_expect_geq(sum / SEEDS, required[i], "%g ms: %.5f", limits[i], sum / SEEDS);
    }
    unload();
}

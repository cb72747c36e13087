/* libnas as a program sees it: through nas.h and the shared library alone. */
#include <criterion/criterion.h>
#include <math.h>
#include <nas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/nas-library-XXXXXX";

static void begin(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static void end(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(library, .init = begin, .fini = end);

static const char *in_folder(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        const nas_status status_ = (call);                                                         \
        cr_assert_eq(status_, NAS_OK, "%s: %s", #call, err.message);                               \
    } while (0)

static nas_err err;

static nas_dataset *images(void)
{
    nas_dataset *data;

    OK(nas_dataset_synth(in_folder("images.nasd"), 16, 4, 200, 40, 1, &err));
    OK(nas_dataset_open(&data, in_folder("images.nasd"), &err));
    return data;
}

static nas_space *tiny(const nas_dataset *data)
{
    nas_space *space;

    OK(nas_space_load(&space, "tiny", &err));
    OK(nas_space_fit_data(space, data, &err));
    return space;
}

Test(library, an_error_says_what_and_what_to_do)
{
    nas_dataset *data = (nas_dataset *)&data;
    nas_space *space;

    cr_assert_eq(nas_dataset_open(&data, "/no/such/file", &err), NAS_E_IO);
    cr_assert_null(data);
    cr_assert_eq(err.status, NAS_E_IO);
    cr_assert_not_null(strstr(err.message, "/no/such/file"));
    cr_assert_eq(nas_space_load(&space, "proxyless-cifra", NULL), NAS_E_CONFIG);
    cr_assert_eq(nas_space_load(&space, "proxyless-cifra", &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.hint, "proxyless-cifar"), "%s", err.hint);
    cr_assert_str_eq(nas_status_name(NAS_E_CONFIG), "config");
}

/* A program has no command line whose options it could change. */
Test(library, what_to_do_is_said_by_parameters_not_by_options)
{
    nas_dataset *data = images();
    nas_space *space = tiny(data);
    nas_train_options training;
    nas_search_options search;
    nas_latency_table *table;
    nas_profile_options quick;
    nas_network *network, *found = NULL;
    nas_arch *arch;

    OK(nas_space_draw(&arch, space, 1, 0, &err));
    OK(nas_network_new(&network, arch, 1, &err));
    nas_train_options_init(&training, sizeof training);
    training.batch = 4096;
    cr_assert_eq(nas_network_train(network, data, &training, NULL, NULL, &err), NAS_E_CONFIG);
    cr_assert_str_eq(err.hint, "use a smaller batch");
    nas_profile_options_init(&quick, sizeof quick);
    quick.max_seconds = 0.2;
    OK(nas_latency_measure(&table, space, &quick, NULL, &err));
    nas_search_options_init(&search, sizeof search);
    search.target_ms = 1e-6;
    search.epochs = 1;
    cr_assert_eq(nas_search_network(&found, space, data, table, &search, NULL, NULL, &err),
                 NAS_E_INFEASIBLE, "%s", err.message);
    cr_assert_not_null(strstr(err.hint, "choose a target between"), "%s", err.hint);
    cr_assert_null(strstr(err.hint, "--"), "%s", err.hint);
    nas_network_free(network);
    nas_arch_free(arch);
    nas_latency_table_free(table);
    nas_space_free(space);
    nas_dataset_close(data);
}

Test(library, handles_tell_what_they_hold)
{
    nas_dataset *data = images();
    nas_space *space = tiny(data);
    nas_arch *arch, *same;
    char *text, *count;
    double digits;

    cr_assert_eq(nas_dataset_classes(data), 4);
    cr_assert_eq(nas_dataset_images(data, "train"), 200);
    cr_assert_eq(nas_dataset_images(data, "nothing"), 0);
    cr_assert_not_null(nas_dataset_class(data, 3));
    cr_assert_null(nas_dataset_class(data, 4));
    OK(nas_space_count(space, &count, &digits, &err));
    cr_assert_str_eq(count, "8000");
    cr_assert_float_eq(digits, 3.90309, 1e-5);
    OK(nas_space_draw(&arch, space, 7, 3, &err));
    OK(nas_arch_text(&text, arch, &err));
    OK(nas_arch_parse(&same, text, "text", &err));
    cr_assert_eq(nas_arch_macs(same), nas_arch_macs(arch));
    cr_assert_gt(nas_arch_parameters(arch), 0);
    cr_assert_eq(nas_arch_image_size(arch), 16);
    cr_assert_eq(nas_arch_parse(&same, "{\"blocks\": 1", "broken", &err), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "broken"));
    free(text);
    free(count);
    nas_arch_free(arch);
    nas_space_free(space);
    nas_dataset_close(data);
}

Test(library, options_of_an_older_program_keep_the_defaults_of_newer_members)
{
    struct {
        size_t size;
        int64_t epochs;
    } old;
    nas_train_options now;
    nas_network *network;
    nas_dataset *data = images();
    nas_space *space = tiny(data);
    nas_train_report report;
    nas_arch *arch;

    nas_train_options_init((nas_train_options *)&old, sizeof old);
    nas_train_options_init(&now, sizeof now);
    cr_assert_eq(old.epochs, 60);
    cr_assert_eq(now.batch, 64);
    cr_assert_str_eq(now.augment, "cifar");
    OK(nas_space_draw(&arch, space, 1, 0, &err));
    OK(nas_network_new(&network, arch, 1, &err));
    old.epochs = 1;
    OK(nas_network_train(network, data, (nas_train_options *)&old, NULL, &report, &err));
    cr_assert_eq(report.steps, 180 / 64);
    memset(&now, 0, sizeof now);
    cr_assert_eq(nas_network_train(network, data, &now, NULL, NULL, &err), NAS_E_USAGE);
    nas_network_free(network);
    nas_arch_free(arch);
    nas_space_free(space);
    nas_dataset_close(data);
}

/* Each is one mistake in options that are right. */
Test(library, options_that_make_no_sense_are_refused)
{
    enum { TRAIN_MISTAKES = 6, SEARCH_MISTAKES = 9 };
    nas_dataset *data = images();
    nas_space *space = tiny(data);
    nas_latency_table *table;
    nas_profile_options quick;
    nas_network *network, *found;
    nas_arch *arch;

    OK(nas_space_draw(&arch, space, 1, 0, &err));
    OK(nas_network_new(&network, arch, 1, &err));
    nas_profile_options_init(&quick, sizeof quick);
    quick.max_seconds = 0.2;
    OK(nas_latency_measure(&table, space, &quick, NULL, &err));
    for (int i = 0; i < TRAIN_MISTAKES; i++) {
        nas_train_options o;

        nas_train_options_init(&o, sizeof o);
        o.epochs = i == 0 ? 0 : i == 1 ? INT64_MAX : 1;
        o.batch = i == 2 ? 1 : i == 3 ? 5000 : 32;
        o.augment = i == 4 ? NULL : "none";
        o.lr = i == 5 ? NAN : 0.1;
        cr_assert_eq(nas_network_train(network, data, &o, NULL, NULL, &err), NAS_E_CONFIG, "%d", i);
    }
    for (int i = 0; i < SEARCH_MISTAKES; i++) {
        nas_search_options o;

        nas_search_options_init(&o, sizeof o);
        o.target_ms = i == 0 ? 0.0 : i == 1 ? NAN : 1000.0;
        o.epochs = i == 2 ? INT64_MAX : 1;
        o.warmup_epochs = i == 3 ? -1 : 0;
        o.batch = i == 4 ? 5000 : 16;
        o.augment = i == 5 ? NULL : "none";
        o.method = i == 6 ? (nas_method)9 : NAS_METHOD_RANDOM;
        o.max_minutes = i == 7 ? NAN : 0.0;
        o.derive_samples = i == 8 ? 1 << 30 : 1;
        cr_assert_eq(nas_search_network(&found, space, data, table, &o, NULL, NULL, &err),
                     NAS_E_CONFIG, "%d", i);
        cr_assert_null(found);
    }
    nas_latency_table_free(table);
    nas_network_free(network);
    nas_arch_free(arch);
    nas_space_free(space);
    nas_dataset_close(data);
}

static int stop_at(void *user)
{
    return --*(int *)user <= 0;
}

/* The loss on the test images, to the bit, of a training stopped `stops` times. */
static double trained_loss(const nas_dataset *data, const nas_arch *arch, int stops)
{
    nas_train_options options;
    nas_network *network;
    nas_scores scores;
    nas_status status;

    nas_train_options_init(&options, sizeof options);
    options.epochs = 3;
    options.batch = 32;
    options.checkpoint = stops > 0 ? in_folder("kept") : NULL;
    do {
        int countdown = stops-- > 0 ? 4 : 1000;
        const nas_watch watch = {.user = &countdown, .stop = stop_at};

        OK(nas_network_new(&network, arch, 1, &err));
        status = nas_network_train(network, data, &options, &watch, NULL, &err);
        if (status == NAS_E_INTERRUPTED)
            nas_network_free(network);
    } while (status == NAS_E_INTERRUPTED);
    cr_assert_eq(status, NAS_OK, "%s", err.message);
    OK(nas_network_evaluate(network, data, "test", &scores, &err));
    cr_assert_eq(scores.images, 40);
    nas_network_free(network);
    return scores.loss;
}

Test(library, a_stopped_training_continues_to_the_same_bits)
{
    nas_dataset *data = images();
    nas_space *space = tiny(data);
    nas_arch *arch;

    OK(nas_space_draw(&arch, space, 1, 0, &err));
    nas_threads_set(2);
    const double straight = trained_loss(data, arch, 0);
    nas_threads_set(1);
    cr_assert_eq(trained_loss(data, arch, 2), straight);
    nas_arch_free(arch);
    nas_space_free(space);
    nas_dataset_close(data);
}

Test(library, logits_of_pixels_are_those_of_the_network)
{
    nas_dataset *data = images();
    nas_space *space = tiny(data);
    nas_network *network, *again;
    nas_arch *arch;
    unsigned char *pixels = calloc(40, 16 * 16 * 3);
    float logits[40][4], same[4];

    for (int i = 0; i < 40 * 16 * 16 * 3; i++)
        pixels[i] = (unsigned char)(i * 37 + i / 768 * 11);
    OK(nas_space_draw(&arch, space, 1, 0, &err));
    OK(nas_network_new(&network, arch, 5, &err));
    OK(nas_network_save(network, in_folder("net"), &err));
    OK(nas_network_load(&again, in_folder("net"), &err));
    OK(nas_network_logits(network, data, pixels, 40, logits[0], &err));
    for (int i = 0; i < 40; i++) { /* one at a time, and read again: within rounding */
        OK(nas_network_logits(again, data, pixels + i * 16 * 16 * 3, 1, same, &err));
        for (int c = 0; c < 4; c++)
            cr_assert_float_eq(same[c], logits[i][c], 1e-5f * (1.0f + fabsf(same[c])));
    }
    cr_assert_neq(logits[0][0], logits[1][0]);
    free(pixels);
    nas_network_free(network);
    nas_network_free(again);
    nas_arch_free(arch);
    nas_space_free(space);
    nas_dataset_close(data);
}

/* -- operations of one's own ----------------------------------------------------------- */

static void copy_plan(void *user, const nas_op_shape *shape, nas_op_needs *needs)
{
}

static void copy_forward(void *user, const nas_op_shape *shape, int images_, const float *weights,
                         const float *x, float *y, float *kept)
{
    memcpy(y, x, sizeof *x * (size_t)(images_ * shape->h * shape->w * shape->in));
}

static void copy_backward(void *user, const nas_op_shape *shape, int images_, const float *weights,
                          const float *x, const float *kept, const float *dy, float *dx,
                          float *dweights)
{
    if (dx != NULL)
        memcpy(dx, dy, sizeof *dx * (size_t)(images_ * shape->h * shape->w * shape->in));
}

static const char with_copy[] =
    "{\"format\": \"onepath.space\", \"image_size\": 8, \"classes\": 4, \"layers\": ["
    "{\"op\": \"conv\", \"out\": 8, \"kernel\": 3, \"stride\": 2, \"act\": \"relu\"},"
    "{\"candidates\": [{\"op\": \"copy\"}, {\"op\": \"identity\"}]},"
    "{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 4}]}";

Test(library, an_operation_is_known_by_name_once_it_is_registered)
{
    nas_op_kind kind;
    nas_space *space;
    nas_arch *arch = NULL, *again;
    nas_network *network;
    char *text = NULL;

    cr_assert_eq(nas_space_parse(&space, with_copy, "space", &err), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "copy"), "%s", err.message);
    nas_op_kind_init(&kind, sizeof kind);
    kind.name = "copy";
    cr_assert_eq(nas_op_register(&kind, &err), NAS_E_USAGE);
    kind.plan = copy_plan;
    kind.forward = copy_forward;
    kind.backward = copy_backward;
    OK(nas_op_register(&kind, &err));
    cr_assert_eq(nas_op_register(&kind, &err), NAS_E_CONFIG);
    OK(nas_space_parse(&space, with_copy, "space", &err));
    for (uint64_t i = 0; text == NULL || strstr(text, "\"copy\"") == NULL; i++) {
        free(text);
        nas_arch_free(arch);
        OK(nas_space_draw(&arch, space, 1, i, &err));
        OK(nas_arch_text(&text, arch, &err));
    }
    OK(nas_arch_parse(&again, text, "again", &err));
    cr_assert_eq(nas_arch_macs(again), nas_arch_macs(arch));
    OK(nas_network_new(&network, arch, 1, &err));
    cr_assert_eq(nas_network_export_onnx(network, in_folder("net.onnx"), &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "copy"), "%s", err.message);
    cr_assert_eq(access(in_folder("net.onnx"), F_OK), -1);
    free(text);
    nas_network_free(network);
    nas_arch_free(arch);
    nas_arch_free(again);
    nas_space_free(space);
}

/* -- searching --------------------------------------------------------------------------- */

typedef struct counted {
    int calls;
    double most;
} counted;

static nas_status fewest_macs(void *user, const nas_arch *arch, double *worth, nas_err *e)
{
    counted *c = user;

    c->calls++;
    *worth = -(double)nas_arch_macs(arch);
    c->most = c->calls == 1 ? *worth : fmax(c->most, *worth);
    return NAS_OK;
}

static nas_status no_number(void *user, const nas_arch *arch, double *worth, nas_err *e)
{
    *worth = NAN;
    return NAS_OK;
}

static nas_status silent_failure(void *user, const nas_arch *arch, double *worth, nas_err *e)
{
    return NAS_E_IO;
}

Test(library, evolution_returns_the_best_that_it_asked_about)
{
    nas_dataset *data = images();
    nas_space *space = tiny(data);
    nas_latency_table *table;
    nas_profile_options options;
    nas_arch *best;
    counted c = {0};
    double fastest, slowest, worth, ms;

    nas_profile_options_init(&options, sizeof options);
    options.max_seconds = 0.2;
    OK(nas_latency_measure(&table, space, &options, NULL, &err));
    OK(nas_latency_range(&fastest, &slowest, table, space, &err));
    const double target = (fastest + slowest) / 2;
    OK(nas_search_evolve(&best, space, table, target, 1, fewest_macs, &c, &worth, &err));
    OK(nas_latency_of(&ms, table, best, &err));
    cr_assert(ms <= target && c.calls > 10);
    cr_assert_eq(worth, c.most);
    cr_assert_eq(worth, -(double)nas_arch_macs(best));
    nas_arch_free(best);
    cr_assert_eq(nas_search_evolve(&best, space, table, fastest / 2, 1, fewest_macs, &c, NULL,
                                   &err), NAS_E_INFEASIBLE);
    cr_assert_null(best);
    cr_assert_eq(nas_search_evolve(&best, space, table, target, 1, no_number, NULL, NULL, &err),
                 NAS_E_FAIL);
    strcpy(err.message, "of another call");
    cr_assert_eq(nas_search_evolve(&best, space, table, target, 1, silent_failure, NULL, NULL,
                                   &err), NAS_E_IO);
    cr_assert_not_null(strstr(err.message, "worth"), "%s", err.message);
    nas_latency_table_free(table);
    nas_space_free(space);
    nas_dataset_close(data);
}

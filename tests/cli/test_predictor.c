/* nas predictor train from the outside: judged architectures in, a predictor out. */
#include "tests/cli/nas.h"

#include <unistd.h>

TestSuite(cli_predictor, .init = nas_begin, .fini = nas_end, .timeout = 120);

enum { SAMPLES = 12 };

/* Networks of `tiny`, the one with more MACs the better; every other one inline. */
static const char *make_samples(const char *last)
{
    json_t *list = json_array(), *all = json_pack("{s:o}", "samples", list);
    const char *path = nas_file("samples.json");

    for (int i = 0; i < SAMPLES; i++) {
        char name[32], seed[16];
        snprintf(name, sizeof name, "net%d.json", i);
        snprintf(seed, sizeof seed, "%d", i);
        const char *file = nas_file(name);
        const double macs = json_number_value(json_object_get(
            NAS_JSON("space", "sample", "tiny", "--seed", seed, "--out", file), "macs"));
        cr_assert_gt(macs, 0);
        json_t *arch = i % 2 ? json_string(file) : json_load_file(file, 0, NULL);
        json_array_append_new(list, json_pack("{s:o, s:f}", "arch", arch, "top1", macs / 2e6));
    }
    if (last != NULL)
        json_array_append_new(list, json_loads(last, 0, NULL));
    cr_assert_eq(json_dump_file(all, path, 0), 0);
    json_decref(all);
    return path;
}

#define TRAIN(samples, out)                                                                        \
    "predictor", "train", "--space", "tiny", "--samples", samples, "--out", out, "--hidden",       \
        "16", "--epochs", "100", "--batch", "8"

Test(cli_predictor, what_it_writes_is_searched_with)
{
    const char *samples = make_samples(NULL), *out = nas_file("p.safetensors");
    const json_t *made = NAS_JSON(TRAIN(samples, out));

    cr_expect_eq(json_integer_value(json_object_get(made, "trained")), 10);
    cr_expect_eq(json_integer_value(json_object_get(made, "held_out")), 2);
    cr_expect(json_is_number(json_object_get(made, "rmse")));
    const json_t *found = NAS_JSON("evolve", "--space", "tiny", "--predictor", out, "--max-macs",
                                   "600000", "--rounds", "1");
    cr_expect_leq(json_integer_value(json_object_get(found, "macs")), 600000);
    const double top1 = json_number_value(json_object_get(found, "predicted_top1"));
    cr_expect(top1 > 0.05 && top1 < 0.5, "%g", top1);
}

Test(cli_predictor, dry_runs_foretell_training_and_search)
{
    const char *samples = make_samples(NULL), *out = nas_file("p.safetensors");
    const json_t *demand = NAS_JSON(TRAIN(samples, out), "--dry-run");

    cr_expect_eq(json_number_value(json_object_get(demand, "steps")), 200); /* 10 of 12, 8 a step */
    cr_expect_gt(json_number_value(json_object_get(demand, "seconds")), 0);
    cr_expect_eq(access(out, F_OK), -1);
    NAS_JSON(TRAIN(samples, out));
    const double foretold = json_number_value(json_object_get(
        NAS_JSON("evolve", "--space", "tiny", "--predictor", out, "--max-macs", "2000000",
                 "--rounds", "2", "--dry-run"),
        "steps"));
    expect_exit(NAS("runs", "list"), 74, "there is no store");
    const double asked = json_number_value(json_object_get(
        NAS_JSON("evolve", "--space", "tiny", "--predictor", out, "--max-macs", "2000000",
                 "--rounds", "2"),
        "evaluations"));
    cr_expect(asked > 0.5 * foretold && asked < 1.5 * foretold, "%g, foretold %g", asked, foretold);
}

/* A network of `tiny` for images of 24 pixels and 7 classes. */
static json_t *other_network(int i)
{
    const char *file = nas_file("net.json");
    char seed[16];

    snprintf(seed, sizeof seed, "%d", i);
    expect_exit(NAS("space", "sample", "tiny", "--seed", seed, "--out", file), 0, NULL);
    json_t *arch = json_load_file(file, 0, NULL), *blocks = json_object_get(arch, "blocks");
    json_object_set_new(arch, "image_size", json_integer(24));
    json_object_set_new(arch, "classes", json_integer(7));
    json_object_set_new(json_array_get(blocks, json_array_size(blocks) - 1), "out",
                        json_integer(7));
    return arch;
}

/* The images of a task are not those that the space was made for. */
Test(cli_predictor, a_predictor_for_other_images_is_searched_with)
{
    const char *data = make_data(), *out = nas_file("p.safetensors");
    json_t *list = json_array(), *all = json_pack("{s:o}", "samples", list);

    for (int i = 0; i < SAMPLES; i++)
        json_array_append_new(list, json_pack("{s:o, s:f}", "arch", other_network(i), "top1",
                                              0.02 * i));
    cr_assert_eq(json_dump_file(all, nas_file("s.json"), 0), 0);
    json_decref(all);
    expect_exit(NAS(TRAIN(nas_file("s.json"), out)), 78, "samples[0]"); /* of 10 classes */
    expect_exit(NAS(TRAIN(nas_file("s.json"), out), "--classes", "7"), 0, NULL);
    const json_t *found = NAS_JSON("evolve", "--space", "tiny", "--classes", "7", "--predictor",
                                   out, "--max-macs", "9e9", "--rounds", "1");
    cr_expect_eq(json_integer_value(json_object_get(found, "image_size")), 24);
    json_t *arch = json_load_file(json_string_value(json_object_get(found, "arch")), 0, NULL);
    cr_expect_eq(json_integer_value(json_object_get(arch, "classes")), 7);
    json_decref(arch);
    /* those of the data have 16 pixels, which it was not trained with */
    expect_exit(NAS("evolve", "--space", "tiny", "--data", data, "--predictor", out, "--max-macs",
                    "9e9"), 78, "24");
}

Test(cli_predictor, wrong_samples_are_refused_and_nothing_is_written)
{
    const char *out = nas_file("p.safetensors");

    expect_exit(NAS(TRAIN(make_samples("{\"arch\": \"net0.json\", \"top1\": 75.2}"), out)), 65,
                "samples[12].top1");
    expect_exit(NAS(TRAIN(make_samples("{\"arch\": \"absent.json\", \"top1\": 0.5}"), out)), 74,
                "absent.json");
    expect_exit(NAS(TRAIN(make_samples("{\"arch\": [], \"top1\": 0.5}"), out)), 65,
                "samples[12]");
    expect_exit(NAS(TRAIN(make_samples("{\"arc\": {}, \"top1\": 0.5}"), out)), 65, "arch");
    expect_exit(NAS("predictor", "train", "--space", "ofa-mbv3-1.0", "--samples",
                    make_samples(NULL), "--out", out),
                78, "samples[0]");
    json_t *all = json_load_file(make_samples(NULL), 0, NULL);
    json_t *list = json_object_get(all, "samples");
    json_array_append(list, json_array_get(list, 2));
    cr_assert_eq(json_dump_file(all, nas_file("twice.json"), 0), 0);
    json_decref(all);
    expect_exit(NAS(TRAIN(nas_file("twice.json"), out)), 65,
                "samples[12] is the network of samples[2] again");
    expect_exit(NAS(TRAIN(make_samples(NULL), out), "--lr", "10", "--hidden", "200"), 1,
                "diverged");
    expect_exit(NAS(TRAIN(nas_file("absent.json"), nas_file("absent/p.st"))), 74, "cannot write");
    expect_exit(NAS(TRAIN(nas_file("samples.json"), nas_file("samples.json"))), 2, NULL);
    expect_exit(NAS(TRAIN(",", out)), 2, "a comma without a file");
    expect_exit(NAS(TRAIN(nas_put("few.json", "{\"samples\": []}"), out)), 65, "at least 10");
    cr_expect_neq(access(out, R_OK), 0);
}

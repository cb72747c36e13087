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
        char name[32], seed[8];
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
    expect_exit(NAS(TRAIN(nas_put("few.json", "{\"samples\": []}"), out)), 65, "at least 10");
    cr_expect_neq(access(out, R_OK), 0);
}

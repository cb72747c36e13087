/* Golden sums of the published tables over published networks and the spaces they cover. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "latency/lut.h"
#include "latency/predict.h"
#include "latency/table/set.h"
#include "tests/latency/published.h"

static nas_err err;

static const char pixel1[] = "latency/pixel1_proxyless_mobile.yaml";

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

static nas_latency_table *load_table(const char *name)
{
    nas_latency_table *table;

    REQUIRE_OK(nas_latency_table_load(&table, published(name), &err));
    return table;
}

static nas_arch *load_arch(const char *name)
{
    nas_arch *arch;

    REQUIRE_OK(nas_arch_load(&arch, published(name), &err));
    return arch;
}

static double predict(const nas_latency_table *table, const nas_arch *arch, int image_size)
{
    nas_latency_report report;

    REQUIRE_OK(nas_latency_predict(&report, table, arch, image_size, &err));
    const double ms = report.latency_ms;

    nas_latency_report_fini(&report);
    return ms;
}

typedef struct loaded {
    nas_latency_table *table;
    nas_space *space;
    nas_latency_lut *lut;
} loaded;

static loaded load_mobile(void)
{
    loaded l = {.table = load_table(pixel1)};

    REQUIRE_OK(nas_space_load(&l.space, "proxyless-imagenet", &err));
    REQUIRE_OK(nas_latency_lut_new(&l.lut, l.table, l.space, 224, &err));
    return l;
}

static void drop(loaded *l)
{
    nas_latency_lut_free(l->lut);
    nas_space_free(l->space);
    nas_latency_table_free(l->table);
}

Test(latency_published, mobile_table_has_72_entries)
{
    nas_latency_table *table = load_table(pixel1);
    const nas_latency_stat *logits =
        nas_latency_table_find(table, "Logits-input:7x7x1280-output:1000");

    cr_assert_eq(table->count, 72);
    cr_assert_eq(table->grammar, NAS_LATENCY_RATIO);
    cr_assert_eq(nas_latency_table_image_size(table), 224);
    cr_assert_eq(logits->count, 982);
    cr_assert_eq(logits->mean, 0.3096415478615071);
    cr_assert_eq(logits->std, sqrt(0.05583766681628091));
    nas_latency_table_free(table);
}

/* Candidate order of the space: 3x3e3, 3x3e6, 5x5e3, 5x5e6, 7x7e3, 7x7e6. */
Test(latency_published, mobile_sums_of_uniform_networks)
{
    const double golden[] = {76.048099, 136.466266, 87.720278, 158.952746, 103.666165, 191.029871};
    loaded l = load_mobile();

    for (int c = 0; c < COUNT_OF(golden); c++) {
        int choice[NAS_MAX_SLOTS];
        nas_arch *arch;

        for (int s = 0; s < l.space->count; s++)
            choice[s] = l.space->slots[s].count > 1 ? c : 0;
        cr_expect_float_eq(nas_latency_lut_total(l.lut, choice), golden[c], 5e-7);
        REQUIRE_OK(nas_space_arch(&arch, l.space, choice, &err));
        cr_expect_float_eq(predict(l.table, arch, 224), golden[c], 5e-7);
        nas_arch_free(arch);
    }
    drop(&l);
}

Test(latency_published, mobile_sum_of_the_shallowest_network)
{
    loaded l = load_mobile();
    int fastest[NAS_MAX_SLOTS], slowest[NAS_MAX_SLOTS];
    double min_ms, max_ms;

    nas_latency_lut_range(l.lut, l.space, &min_ms, &max_ms, fastest, slowest);
    cr_assert_float_eq(min_ms, 29.608776, 5e-7); /* one block a stage, 3x3 e3 */
    cr_assert_float_eq(max_ms, 191.029871, 5e-7);
    cr_assert_float_eq(nas_latency_lut_total(l.lut, fastest), min_ms, 1e-12);
    drop(&l);
}

Test(latency_published, mobile_expected_latency_at_equal_alphas)
{
    loaded l = load_mobile();
    double uniform[NAS_MAX_SLOTS][NAS_MAX_CANDIDATES];
    const double *p[NAS_MAX_SLOTS];

    for (int s = 0; s < l.lut->slots; s++) {
        for (int c = 0; c < l.lut->candidates[s]; c++)
            uniform[s][c] = 1.0 / l.lut->candidates[s];
        p[s] = uniform[s];
    }
    cr_assert_float_eq(nas_latency_lut_expected(l.lut, p), 113.988129, 5e-7);
    drop(&l);
}

Test(latency_published, mobile_network_lacks_three_keys)
{
    static const char *const lacking[] = {"112x112x16-output:56x56x32-expand:3-kernel:5-stride:2",
                                          "56x56x32-output:56x56x32-expand:3-kernel:3-stride:1",
                                          "56x56x32-output:28x28x40-expand:3-kernel:7-stride:2"};
    nas_latency_table *table = load_table(pixel1);
    nas_arch *arch = load_arch("proxyless/proxyless_mobile.config.json");
    nas_latency_entry *entries;
    nas_latency_report report;
    double partial = 0.0;
    int count;

    cr_assert_eq(nas_latency_predict(&report, table, arch, 224, &err), NAS_E_INFEASIBLE);
    cr_assert_not_null(strstr(err.message, "lacks 3 entries"), "%s", err.message);
    for (int i = 0; i < COUNT_OF(lacking); i++)
        cr_assert_not_null(strstr(err.message, lacking[i]), "%s", err.message);
    REQUIRE_OK(
        nas_latency_arch_entries(&entries, &count, arch, NAS_LATENCY_RATIO, 224, &err));
    for (int i = 0; i < count; i++) {
        const nas_latency_stat *stat = nas_latency_table_find(table, entries[i].key);

        partial += stat ? stat->mean : 0.0;
    }
    cr_assert_float_eq(partial, 63.7055, 5e-5);
    free(entries);
    nas_arch_free(arch);
    nas_latency_table_free(table);
}

Test(latency_published, mobile_network_with_24_channels)
{
    nas_latency_table *table = load_table(pixel1);
    nas_arch *arch = load_arch("proxyless/proxyless_mobile.config.json");

    for (int i = 2; i < arch->count; i++) { /* the first stage; the stem has 32 too */
        nas_op_spec *op = &arch->blocks[i].op;

        if (op->in == 32) {
            op->in = 24;
            op->mid = (int)lround(24.0 * op->expand);
        }
        if (op->out == 32)
            op->out = 24;
    }
    cr_assert_float_eq(predict(table, arch, 224), 82.523860, 5e-7);
    nas_arch_free(arch);
    nas_latency_table_free(table);
}

Test(latency_published, note10_network_layer_by_layer)
{
    const double golden[] = {0.9944, 1.7728, 2.467,  1.9158, 1.7672, 1.0648, 1.4067,
                             1.133,  1.4191, 0.8937, 2.0958, 2.1791, 2.1791, 2.2052,
                             2.0602, 1.3127, 0.957,  0.6944, 0.0153, 0.7625, 0.6694};
    nas_arch *arch = load_arch("ofa/note10_lat-30ms_top1-78.4_finetune-75/net.config.json");
    nas_latency_set *set;
    const nas_latency_table *table;
    nas_latency_report report;

    REQUIRE_OK(nas_latency_set_load(&set, published("latency/note10"), &err));
    cr_assert_eq(set->count, 5);
    REQUIRE_OK(nas_latency_set_pick(&table, set, 224, &err));
    REQUIRE_OK(nas_latency_predict(&report, table, arch, 224, &err));
    cr_assert_eq(report.count, COUNT_OF(golden));
    for (int i = 0; i < report.count; i++)
        cr_expect_float_eq(report.layers[i].latency_ms, golden[i], 5.1e-5, "%s: %g",
                           report.layers[i].key, report.layers[i].latency_ms);
    cr_assert_float_eq(report.latency_ms, 29.965346, 5e-7);
    nas_latency_report_fini(&report);
    nas_latency_set_free(set);
    nas_arch_free(arch);
}

Test(latency_published, note10_sums_of_wide_networks)
{
    const struct {
        const char *config;
        double ms;
    } nets[] = {
        {"ofa/flops-389M_top1-79.1_finetune-75/net.config.json", 34.922861},
        {"ofa/pixel1_lat-79ms_top1-78.7_finetune-75/net.config.json", 31.381925},
    };
    nas_latency_table *table = load_table("latency/note10/224.yaml");

    for (int i = 0; i < COUNT_OF(nets); i++) {
        nas_arch *arch = load_arch(nets[i].config);

        cr_expect_float_eq(predict(table, arch, 224), nets[i].ms, 5e-7);
        nas_arch_free(arch);
    }
    nas_latency_table_free(table);
}

Test(latency_published, note10_does_not_cover_narrow_networks)
{
    nas_latency_table *table = load_table("latency/note10/192.yaml");
    nas_arch *arch = load_arch("ofa/note10_lat-16ms_top1-75.5_finetune-25/net.config.json");
    nas_latency_report report;

    cr_assert_eq(nas_latency_predict(&report, table, arch, 192, &err), NAS_E_INFEASIBLE);
    nas_arch_free(arch);
    nas_latency_table_free(table);
}

Test(latency_published, note10_tables_hold_exactly_what_the_wide_space_needs)
{
    nas_latency_set *set;
    nas_space *space;

    REQUIRE_OK(nas_latency_set_load(&set, published("latency/note10"), &err));
    REQUIRE_OK(nas_space_load(&space, "ofa-mbv3-1.2", &err));
    for (int i = 0; i < set->count; i++) {
        const int size = nas_latency_table_image_size(set->tables[i]);
        nas_latency_entry *entries;
        int count;

        cr_assert_eq(set->tables[i]->count, 96);
        REQUIRE_OK(nas_latency_check(&entries, &count, set->tables[i], space, size, &err));
        cr_expect_eq(count, 0, "%d px: %s", size, count ? entries[0].key : "");
        free(entries);
        REQUIRE_OK(nas_latency_space_entries(&entries, &count, space, NAS_LATENCY_MID, size, &err));
        cr_expect_eq(nas_latency_entries_unique(entries, count), 96);
        free(entries);
    }
    nas_space_free(space);
    nas_latency_set_free(set);
}

Test(latency_published, a_mobile_table_does_not_pass_for_another_space)
{
    nas_latency_table *table = load_table(pixel1);
    nas_space *space;
    nas_latency_entry *missing;
    int count;

    REQUIRE_OK(nas_space_load(&space, "ofa-mbv3-1.0", &err));
    REQUIRE_OK(nas_latency_check(&missing, &count, table, space, 224, &err));
    /* of 96 only 12 plain blocks are the same ones: 112x112x16 -> 56x56x24 -> 56x56x24 */
    cr_assert_eq(count, 84);
    free(missing);
    nas_space_free(space);
    nas_latency_table_free(table);
}

Test(latency_published, tables_survive_a_round_trip)
{
    static const char *const names[] = {"latency/pixel1_proxyless_mobile.yaml",
                                        "latency/note10/160.yaml", "latency/note10/224.yaml"};

    for (int i = 0; i < COUNT_OF(names); i++) {
        nas_latency_table *table = load_table(names[i]), *again;
        char *text;
        size_t size;

        REQUIRE_OK(nas_latency_table_text(table, &text, &size, &err));
        REQUIRE_OK(nas_latency_table_parse(&again, text, size, "again", &err));
        cr_assert_eq(again->count, table->count);
        for (int r = 0; r < table->count; r++) {
            const nas_latency_stat *stat = nas_latency_table_find(again, table->rows[r].key);

            cr_assert(stat->mean == table->rows[r].stat.mean &&
                      stat->std == table->rows[r].stat.std);
        }
        free(text);
        nas_latency_table_free(again);
        nas_latency_table_free(table);
    }
}

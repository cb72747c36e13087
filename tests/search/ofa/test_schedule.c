/* Schedules: presets for any space, files, and the rules that phases keep. */
#include <criterion/criterion.h>
#include <string.h>

#include "search/ofa/schedule.h"
#include "tests/support/scratch.h"

static nas_err err;
static nas_space *space;
static nas_ofa_schedule schedule;

static void setup(void)
{
    scratch_init();
    cr_assert_eq(nas_space_load(&space, "ofa-cifar", &err), NAS_OK);
}

static void teardown(void)
{
    nas_space_free(space);
    scratch_fini();
}

TestSuite(search_ofa_schedule, .init = setup, .fini = teardown);

/* Once-for-All, published script: phases, epochs and learning rates. */
Test(search_ofa_schedule, the_published_one_is_as_published)
{
    static const struct {
        const char *name;
        int kernels, expands, skip;
        int64_t epochs, warmup, subnets;
        double lr;
    } expected[] = {{"teacher", 1, 1, 0, 180, 0, 1, 2.6 / 32}, {"kernel", 3, 1, 0, 120, 5, 1, 3e-2},
                    {"depth-1", 3, 1, 1, 25, 0, 2, 2.5e-3},
                    {"depth-2", 3, 1, 2, 120, 5, 2, 7.5e-3},
                    {"expand-1", 3, 2, 2, 25, 0, 4, 2.5e-3},
                    {"expand-2", 3, 3, 2, 120, 5, 4, 7.5e-3}};

    cr_assert_eq(nas_ofa_schedule_preset(&schedule, "ofa", space, &err), NAS_OK);
    cr_assert_eq(schedule.count, 6);
    for (int i = 0; i < 6; i++) {
        const nas_phase *p = &schedule.phase[i];

        cr_expect_str_eq(p->name, expected[i].name);
        cr_expect(p->limits.kernels == expected[i].kernels &&
                  p->limits.expands == expected[i].expands && p->limits.skip == expected[i].skip);
        cr_expect(p->epochs == expected[i].epochs && p->warmup_epochs == expected[i].warmup &&
                  p->subnets == expected[i].subnets && p->lr == expected[i].lr, "%s", p->name);
        cr_expect_eq(p->distill, i > 0 ? NAS_DISTILL_CROSS_ENTROPY : NAS_DISTILL_NONE);
        cr_expect_eq(p->sizes, 3);
    }
    cr_expect_eq(schedule.phase[4].limits.expand[0], 4);
    cr_expect_eq(nas_ofa_schedule_check(&schedule, space, &err), NAS_OK, "%s", err.message);
}

/* The schedule whose figures docs/results.md has. */
Test(search_ofa_schedule, the_small_one_ends_with_a_long_phase_of_everything)
{
    static const int64_t epochs[] = {6, 1, 1, 1, 2, 20};
    nas_space *other;

    cr_assert_eq(nas_ofa_schedule_preset(&schedule, "cifar-small", space, &err), NAS_OK);
    cr_assert_eq(schedule.count, 6);
    for (int i = 0; i < 6; i++) {
        cr_expect_eq(schedule.phase[i].epochs + schedule.phase[i].warmup_epochs, epochs[i]);
        cr_expect_eq(schedule.phase[i].lr, i == 0 || i == 5 ? 0.1 : 0.05);
        cr_expect_eq(schedule.phase[i].subnets, i < 2 ? 1 : 2);
        cr_expect_eq(schedule.phase[i].distill, NAS_DISTILL_NONE);
    }
    cr_assert_eq(nas_space_load(&other, "tiny", &err), NAS_OK); /* fewer dimensions, the same end */
    cr_assert_eq(nas_ofa_schedule_preset(&schedule, "cifar-small", other, &err), NAS_OK);
    cr_expect_eq(schedule.phase[schedule.count - 1].epochs, 19);
    nas_space_free(other);
}

Test(search_ofa_schedule, presets_fit_every_elastic_space)
{
    static const char *const spaces[] = {"ofa-mbv3-1.2", "ofa-proxyless-1.3", "ofa-tiny", "tiny",
                                         "proxyless-cifar"};

    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        for (int k = 0; nas_ofa_schedule_presets[k] != NULL; k++) {
            nas_space *other;

            cr_assert_eq(nas_space_load(&other, spaces[i], &err), NAS_OK);
            cr_expect_eq(nas_ofa_schedule_preset(&schedule, nas_ofa_schedule_presets[k], other,
                                                 &err), NAS_OK);
            cr_expect_eq(nas_ofa_schedule_check(&schedule, other, &err), NAS_OK, "%s %s: %s",
                         spaces[i], nas_ofa_schedule_presets[k], err.message);
            nas_space_free(other);
        }
    cr_expect_eq(nas_ofa_schedule_preset(&schedule, "of", space, &err), NAS_E_CONFIG);
}

Test(search_ofa_schedule, a_file_gives_the_same_schedule_again)
{
    nas_ofa_schedule again;

    for (int k = 0; nas_ofa_schedule_presets[k] != NULL; k++) {
        cr_assert_eq(nas_ofa_schedule_preset(&schedule, nas_ofa_schedule_presets[k], space, &err),
                     NAS_OK);
        nas_ofa_schedule_scale(&schedule, 0.4);
        schedule.phase[0].faded_kernels = true;
        json_t *json = nas_ofa_schedule_json(&schedule);
        cr_assert_eq(nas_json_save(json, scratch("s.json"), &err), NAS_OK);
        cr_assert_eq(nas_ofa_schedule_load(&again, scratch("s.json"), space, &err), NAS_OK, "%s",
                     err.message);
        json_t *json_again = nas_ofa_schedule_json(&again);
        cr_expect(json_equal(json, json_again));
        json_decref(json);
        json_decref(json_again);
    }
}

static nas_status read(const char *text)
{
    json_t *json = NULL;

    cr_assert_eq(nas_json_parse(&json, text, strlen(text), "s.json", &err), NAS_OK, "%s",
                 err.message);
    const nas_status status = nas_ofa_schedule_from_json(&schedule, json, "s.json", space, &err);
    json_decref(json);
    return status;
}

#define TEACHER "{\"name\": \"teacher\"}"
#define PHASES(list) "{\"phases\": [" list "]}"

Test(search_ofa_schedule, what_has_no_name_is_written_without_one)
{
    cr_assert_eq(read(PHASES(TEACHER)), NAS_OK, "%s", err.message);
    json_t *json = nas_ofa_schedule_json(&schedule);
    cr_assert_not_null(json);
    cr_expect_null(json_object_get(json, "name"));
    cr_expect_eq(nas_ofa_schedule_from_json(&schedule, json, "again", space, &err), NAS_OK, "%s",
                 err.message);
    json_decref(json);
}

Test(search_ofa_schedule, what_makes_no_sense_is_refused_with_its_place)
{
    static const struct {
        const char *text;
        nas_status status;
        const char *says;
    } cases[] = {
        {"{\"phases\": []}", NAS_E_DATA, "phases"},
        {"{\"phase\": []}", NAS_E_DATA, "\"phase\""},
        {PHASES("{\"epoch\": 3}"), NAS_E_DATA, "phases[0]"},
        {PHASES("{\"epochs\": 0}"), NAS_E_DATA, "epochs"},
        {PHASES("{\"kernel\": [5, 3]}"), NAS_E_DATA, "kernel[1]"},
        {PHASES("{\"rule\": \"sandwhich\"}"), NAS_E_DATA, "rule"},
        {PHASES("{\"resolutions\": []}"), NAS_E_DATA, "resolutions"},
        {PHASES("{\"resolutions\": [24, 64]}"), NAS_E_CONFIG, "64 pixels"},
        {PHASES("{\"augment\": \"zoom\"}"), NAS_E_CONFIG, "zoom"},
        {PHASES("{\"name\": \"a b\"}"), NAS_E_CONFIG, "not a name"},
        {PHASES("{\"name\": \"-a\"}"), NAS_E_CONFIG, "not a name"},
        {PHASES("{\"kernel\": [3, 5, 7]}"), NAS_E_CONFIG, "largest network alone"},
        {PHASES("{\"kernel\": [5]}"), NAS_E_CONFIG, "largest kernel"},
        {PHASES("{\"kernel\": [9]}"), NAS_E_CONFIG, "no block"},
        {PHASES(TEACHER ", {\"kernel\": [3, 5, 7], \"skip\": 1}"), NAS_E_CONFIG, "skips a phase"},
        {PHASES(TEACHER ", {\"skip\": 2}"), NAS_E_CONFIG, "skips a phase"},
        {PHASES(TEACHER ", {\"expand\": [3, 4, 6]}"), NAS_E_CONFIG, "skips a phase"},
        {PHASES(TEACHER ", {\"skip\": 1}, {\"kernel\": [3, 7]}"), NAS_E_CONFIG, "takes back"},
        {PHASES(TEACHER ", {\"name\": \"teacher\"}"), NAS_E_CONFIG, "called teacher"},
        {PHASES("{\"rule\": \"sandwich\", \"skip\": 3, \"subnets\": 3}"), NAS_E_CONFIG,
         "more than"},
        {PHASES("{\"rule\": \"sandwich\"}"), NAS_E_CONFIG, "2 subnets"},
        {PHASES("{\"rule\": \"uniform\", \"skip\": 3}"), NAS_E_CONFIG, "more than"},
        {PHASES("{\"rule\": \"uniform\", \"kernel\": [3]}"), NAS_E_CONFIG, "largest kernel"},
        {PHASES("{\"rule\": \"uniform\", \"kernel\": [5, 7]}, {\"rule\": \"uniform\"}"),
         NAS_E_CONFIG, "takes back"},
        {PHASES("{\"faded_kernels\": 1}"), NAS_E_DATA, "faded_kernels"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(read(cases[i].text), cases[i].status, "%s", cases[i].text);
        cr_expect(strstr(err.message, cases[i].says) != NULL, "%s: %s", cases[i].text, err.message);
    }
    cr_expect_eq(read("{\"defaults\": {\"batch\": 32, \"distill\": \"mse\"}, \"phases\": [" TEACHER
                      ", {\"kernel\": [5, 7], \"resolutions\": [28]}, {\"kernel\": [3, 5, 7]}]}"),
                 NAS_OK, "%s", err.message);
    cr_expect(schedule.phase[1].batch == 32 && schedule.phase[1].distill == NAS_DISTILL_MSE);
    cr_expect(schedule.phase[1].sizes == 1 && schedule.phase[2].sizes == 3);
    cr_expect_str_eq(schedule.phase[1].name, "phase-2");
}

Test(search_ofa_schedule, who_teaches_follows_the_rule_unless_it_is_said)
{
    cr_assert_eq(read(PHASES(TEACHER ", {\"rule\": \"sandwich\", \"subnets\": 3}, {\"rule\": "
                             "\"sandwich\", \"subnets\": 3, \"distill\": \"none\"}, "
                             "{\"rule\": \"uniform\", \"skip\": 2, \"expand\": [3, 4, 6]}")),
                 NAS_OK, "%s", err.message);
    cr_expect_eq(schedule.phase[0].distill, NAS_DISTILL_NONE);
    cr_expect_eq(schedule.phase[1].distill, NAS_DISTILL_CROSS_ENTROPY);
    cr_expect_eq(schedule.phase[2].distill, NAS_DISTILL_NONE);
    cr_expect_eq(schedule.phase[3].distill, NAS_DISTILL_NONE);
}

Test(search_ofa_schedule, a_supernet_goes_on_where_it_was_or_says_why_not)
{
    nas_supernet net = {.space = space};
    int next;

    cr_assert_eq(nas_ofa_schedule_preset(&schedule, "cifar-small", space, &err), NAS_OK);
    cr_expect_eq(nas_ofa_schedule_next(&next, &schedule, &net, &err), NAS_OK);
    cr_expect_eq(next, 0);
    for (int i = 0; i < 2; i++) {
        snprintf(net.phase[i], sizeof net.phase[i], "%s", schedule.phase[i].name);
        net.trained = schedule.phase[i].limits;
        net.phases = i + 1;
        cr_expect_eq(nas_ofa_schedule_next(&next, &schedule, &net, &err), NAS_OK);
        cr_expect_eq(next, i + 1);
    }
    net.trained.kernels = 1;
    cr_expect_eq(nas_ofa_schedule_next(&next, &schedule, &net, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "other limits") != NULL, "%s", err.message);
    snprintf(net.phase[1], sizeof net.phase[1], "depth-1"); /* the kernel phase was left out */
    cr_expect_eq(nas_ofa_schedule_next(&next, &schedule, &net, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "phase 2 was depth-1") != NULL, "%s", err.message);
}

/* Job files: what they expand to, and what is refused. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/json.h"
#include "search/jobs/sweep.h"

static nas_err err;
static nas_sweep sweep;

static nas_status read_text(const char *text, const char *group)
{
    const nas_job_spec defaults = {.folder = "/", .cores = 1, .retries = 3,
                                   .hang_limit_s = NAS_HANG_LIMIT_UNSET};
    json_t *json;
    nas_status status = nas_json_parse(&json, text, strlen(text), "f.json", &err);

    if (status == NAS_OK)
        status = nas_sweep_from_json(&sweep, json, "f.json", &defaults, group, &err);
    json_decref(json);
    return status;
}

static void end(void)
{
    nas_sweep_fini(&sweep);
}

static void expect_args(int job, const char *expected)
{
    char *text = json_dumps(sweep.specs[job].args, JSON_COMPACT);

    cr_assert_str_eq(text, expected);
    free(text);
}

TestSuite(jobs_sweep, .fini = end);

Test(jobs_sweep, options_become_words_that_cannot_be_taken_for_others)
{
    cr_assert_eq(read_text("{\"jobs\": [{\"name\": \"a\", \"run\": [\"search\", \"x\"], \"options\":"
                           "{\"target_ms\": 2.5, \"epochs\": 10, \"json\": true, \"quiet\": false,"
                           "\"data\": \"--evil; $(touch x)\", \"name\": null}}]}", NULL), NAS_OK,
                 "%s", err.message);
    cr_assert_eq(sweep.count, 1);
    cr_assert_null(sweep.group);
    cr_assert_str_eq(sweep.specs[0].name, "a");
    cr_assert_eq(sweep.specs[0].retries, 3);
    cr_assert_eq(sweep.specs[0].hang_limit_s, NAS_HANG_LIMIT_UNSET);
    expect_args(0, "[\"search\",\"x\",\"--target-ms=2.5\",\"--epochs=10\",\"--json\",\"--no-quiet\","
                   "\"--data=--evil; $(touch x)\"]");
}

Test(jobs_sweep, numbers_keep_their_value_and_are_no_longer_than_they_must)
{
    cr_assert_eq(read_text("{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"options\":"
                           "{\"a\": 0.30000000000000004, \"b\": 0.1, \"c\": 100000.0}}]}", NULL),
                 NAS_OK, "%s", err.message);
    expect_args(0, "[\"x\",\"--a=0.30000000000000004\",\"--b=0.1\",\"--c=100000\"]");
}

Test(jobs_sweep, a_grid_crosses_a_list_and_its_last_key_turns_fastest)
{
    cr_assert_eq(read_text("{\"group\": \"g\", \"jobs\": [{\"name\": \"s\", \"run\": [\"search\"],"
                           "\"options\": {\"seed\": 9, \"out\": \"{method}-{seed}-{1}.x\"},"
                           "\"list\": [{\"method\": \"random\"}, {\"method\": \"gradient\"}],"
                           "\"grid\": {\"batch\": [32, 64], \"seed\": [1, 2]}}]}", NULL), NAS_OK,
                 "%s", err.message);
    cr_assert_eq(sweep.count, 8);
    cr_assert_str_eq(sweep.group, "g");
    cr_assert_str_eq(sweep.specs[0].name, "g.s-1");
    cr_assert_str_eq(sweep.specs[7].name, "g.s-8");
    cr_assert_str_eq(sweep.specs[7].group, "g");
    expect_args(0, "[\"search\",\"--seed=1\",\"--out=random-1-{1}.x\",\"--method=random\","
                   "\"--batch=32\"]");
    expect_args(1, "[\"search\",\"--seed=2\",\"--out=random-2-{1}.x\",\"--method=random\","
                   "\"--batch=32\"]");
    expect_args(6, "[\"search\",\"--seed=1\",\"--out=gradient-1-{1}.x\",\"--method=gradient\","
                   "\"--batch=64\"]");
}

Test(jobs_sweep, jobs_wait_for_all_that_a_name_stands_for)
{
    cr_assert_eq(read_text("{\"jobs\": [{\"name\": \"p\", \"run\": [\"profile\"]},"
                           "{\"name\": \"s\", \"run\": [\"search\"], \"grid\": {\"seed\": [1, 2]},"
                           "\"after\": [\"p\"]},"
                           "{\"name\": \"r\", \"run\": [\"report\"], \"after_any\": [\"s\", \"p\"]}]}",
                           "given"), NAS_OK, "%s", err.message);
    cr_assert_eq(sweep.count, 4);
    cr_assert_str_eq(sweep.specs[0].name, "given.p");
    cr_assert_eq(sweep.specs[2].need_count, 1);
    cr_assert_eq(sweep.specs[2].needs[0].job, -1);
    cr_assert_not(sweep.specs[2].needs[0].any);
    cr_assert_eq(sweep.specs[3].need_count, 3);
    cr_assert_eq(sweep.specs[3].needs[1].job, -3);
    cr_assert(sweep.specs[3].needs[1].any);
}

Test(jobs_sweep, a_word_can_name_a_file_of_a_job_above)
{
    cr_assert_eq(read_text("{\"jobs\": [{\"name\": \"p\", \"run\": [\"x\"]},"
                           "{\"name\": \"s\", \"run\": [\"x\"], \"grid\": {\"seed\": [1, 2]}},"
                           "{\"name\": \"t\", \"run\": [\"x\", \"{p:table.yaml}\"], \"options\":"
                           "{\"arch\": \"{s:arch.json}\"}, \"grid\": {\"seed\": [1, 2]}}]}", NULL),
                 NAS_OK, "%s", err.message);
    expect_args(4, "[\"x\",{\"before\":\"\",\"job\":-1,\"file\":\"table.yaml\"},"
                   "{\"before\":\"--arch=\",\"job\":-3,\"file\":\"arch.json\"},\"--seed=2\"]");
    cr_assert_eq(sweep.specs[4].need_count, 2); /* it waits for what it uses */
    cr_assert_eq(sweep.specs[4].needs[0].job, -1);
    cr_assert_eq(sweep.specs[4].needs[1].job, -3);
}

Test(jobs_sweep, limits_come_from_the_entry_then_the_defaults_then_the_command_line)
{
    cr_assert_eq(read_text("{\"defaults\": {\"cores\": 4, \"retries\": 0}, \"jobs\": ["
                           "{\"name\": \"a\", \"run\": [\"x\"], \"cores\": 2, \"priority\": -5,"
                           " \"memory_mib\": 100, \"time_limit_s\": 60, \"hang_limit_s\": 0},"
                           "{\"name\": \"b\", \"run\": [\"x\"]}]}", NULL), NAS_OK, "%s",
                 err.message);
    cr_assert_eq(sweep.specs[0].cores, 2);
    cr_assert_eq(sweep.specs[0].priority, -5);
    cr_assert_eq(sweep.specs[0].memory_mib, 100);
    cr_assert_eq(sweep.specs[0].time_limit_s, 60);
    cr_assert_eq(sweep.specs[0].hang_limit_s, 0);
    cr_assert_eq(sweep.specs[0].retries, 0);
    cr_assert_eq(sweep.specs[1].cores, 4);
    cr_assert_eq(sweep.specs[1].priority, 0);
}

Test(jobs_sweep, what_is_wrong_is_named)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"[]", "must be an object"},
        {"{}", "jobs: should be a list"},
        {"{\"jobs\": []}", "jobs: should be a list"},
        {"{\"jobs\": [1]}", "jobs[0]: must be an object"},
        {"{\"job\": []}", "member \"job\""},
        {"{\"jobs\": [{\"run\": [\"x\"]}]}", "name: missing"},
        {"{\"jobs\": [{\"name\": \"a/b\", \"run\": [\"x\"]}]}", "not a name"},
        {"{\"jobs\": [{\"name\": \"a\"}]}", "run: should be a list of words"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": []}]}", "run: should be a list of words"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": \"rm -rf\"}]}", "run: should be a list of words"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\", 1]}]}", "run: should be a list of words"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"cores\": 0}]}", "cores: 0 is not in"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"core\": 1}]}", "member \"core\""},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"options\": {\"-x\": 1}}]}",
         "'-x' should be the name of an option"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"options\": {\"x\": [1]}}]}",
         "'x' should be the name of an option, with a value"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"grid\": {\"x\": 1}}]}",
         "with a list of values"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"grid\": {\"x\": []}}]}",
         "with a list of values"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"list\": [1]}]}", "an object of options"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"after\": [\"a\"]}]}",
         "there is no job 'a' above it"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"after\": \"a\"}]}",
         "should be a list of names"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"{b:arch.json}\"]}]}",
         "{b:arch.json}: there is no job 'b' above it"},
        {"{\"jobs\": [{\"name\": \"b\", \"run\": [\"x\"]},"
         "{\"name\": \"a\", \"run\": [\"{b:arch.json}/x\"]}]}", "must be the end of its word"},
        {"{\"jobs\": [{\"name\": \"b\", \"run\": [\"x\"], \"grid\": {\"k\": [1, 2]}},"
         "{\"name\": \"a\", \"run\": [\"{b:arch.json}\"]}]}", "'b' makes 2 jobs, not 1"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"grid\": {\"seed\": [1, 2]},"
         "\"options\": {\"out\": \"net-{sede}.json\"}}]}", "{sede}: neither 'list' nor 'grid'"},
        {"{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"]}, {\"name\": \"a\", \"run\": [\"x\"]}]}",
         "is named 'a', too"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(read_text(cases[i].text, NULL), NAS_E_DATA, "%s", cases[i].text);
        cr_assert_not_null(strstr(err.message, cases[i].says), "%s\nsays: %s", cases[i].text,
                           err.message);
        cr_assert_eq(sweep.count, 0);
    }
}

/* 10^12 combinations are refused by their number, not by the memory that they would take. */
Test(jobs_sweep, too_many_jobs_are_refused_before_any_is_made)
{
    char text[1 << 14] = "{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\"], \"grid\": {";

    for (int key = 0; key < 6; key++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s\"k%d\": [0",
                 key > 0 ? "," : "", key);
        for (int i = 1; i < 100; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), ",%d", i);
        strcat(text, "]");
    }
    strcat(text, "}}]}");
    cr_assert_eq(read_text(text, NULL), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "more than 100000 jobs"), "%s", err.message);
}

Test(jobs_sweep, a_word_cannot_grow_beyond_its_limit)
{
    static char text[40000];
    size_t used = (size_t)sprintf(text, "{\"jobs\": [{\"name\": \"a\", \"run\": [\"x\", \"");

    for (int i = 0; i < 3; i++)
        used += (size_t)sprintf(text + used, "{long}");
    used += (size_t)sprintf(text + used, "\"], \"grid\": {\"long\": [\"");
    memset(text + used, 'y', 2000);
    strcpy(text + used + 2000, "\"]}}]}");
    cr_assert_eq(read_text(text, NULL), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "a word of more than 4095 bytes"), "%s", err.message);
}

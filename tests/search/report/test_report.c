/* The report of made-up stores: what is shown, what is escaped, how large it gets. */
#include "search/report/report.h"

#include <math.h>

#include "nas/space/space.h"
#include "tests/search/report/support.h"

TestSuite(search_report, .init = scratch_init, .fini = scratch_fini, .timeout = 120);

static nas_store *open_store(void)
{
    nas_store *store;

    ok(nas_store_open(&store, scratch("store"), NAS_STORE_CREATE, &err));
    return store;
}

static const char *report(nas_store *store, const char *const *runs, int count)
{
    const nas_report_options options = {.runs = runs, .count = count, .drawn = NAS_REPORT_DRAWN};

    ok(nas_report_write(store, scratch("report.html"), &options, NULL, &err));
    return content(scratch("report.html"));
}

static void put_network(nas_store *store, nas_store_attempt attempt, const nas_space *space,
                        int rank, double latency_ms, double top1)
{
    nas_rng rng;
    int choice[NAS_MAX_SLOTS];
    nas_store_evaluation row = {.source = "derived", .rank = rank, .latency_ms = latency_ms,
                                .loss = NAN, .top1 = top1, .top5 = NAN, .selected = rank == 0};
    nas_arch *arch;
    char digest[NAS_DIGEST_SIZE];

    nas_rng_init(&rng, 1, "test", (uint64_t)rank);
    nas_space_sample(space, &rng, choice);
    ok(nas_space_arch(&arch, space, choice, &err));
    ok(nas_arch_digest(arch, digest, &err));
    json_t *json = nas_arch_to_json(arch);
    char *text = json_dumps(json, JSON_COMPACT);
    ok(nas_store_architecture_put(store, &(nas_store_architecture){.digest = digest, .json = text,
                                                             .parameters = 1500000},
                                  &row.architecture, &err));
    ok(nas_store_evaluations_put(store, attempt, &row, 1, &err));
    free(text);
    json_decref(json);
    nas_arch_free(arch);
}

/* A search over `space` of two epochs, which judged three networks: the second is beaten. */
static void put_search(nas_store *store, const char *name, const char *space_name)
{
    const nas_store_run_spec spec = {.kind = "search", .name = name, .version = "0.1.0",
                                     .config = "{\"space\": \"tiny\", \"target_ms\": 2.5}"};
    static double p[NAS_MAX_SLOTS * NAS_MAX_CANDIDATES];
    int counts[NAS_MAX_SLOTS];
    nas_store_attempt attempt;
    nas_space *space;

    ok(nas_space_load(&space, space_name, &err));
    ok(nas_store_run_begin(store, &spec, &attempt, &err));
    for (int epoch = 1; epoch <= 2; epoch++) {
        double *at = p;

        for (int s = 0; s < space->count; s++)
            for (int c = counts[s] = space->slots[s].count; c-- > 0;)
                *at++ = 1.0 / counts[s];
        ok(nas_store_probabilities_put(store, attempt, epoch, space->count, counts, p, &err));
        ok(nas_store_progress(store, attempt, epoch * 10, epoch,
                              (nas_store_metric[]){{"train_loss", 2.0 / epoch},
                                                   {"valid_top1", 0.25 * epoch},
                                                   {"entropy", NAN}}, 3, &err));
    }
    put_network(store, attempt, space, 0, 2.0, 0.75);
    put_network(store, attempt, space, 1, 2.25, 0.5);
    put_network(store, attempt, space, 2, 1.0, 0.625);
    ok(nas_store_run_finish(store, attempt, NAS_STORE_DONE,
                            "{\"latency_ms\": 2.0, \"valid_top1\": 0.75, \"seconds\": 12.5, "
                            "\"limits\": [{\"cost\": \"macs\", \"limit\": 4e5, \"reached\": 390625, "
                            "\"objective\": true}]}", NULL, &err));
    nas_space_free(space);
}

static void expect_text(const char *page, const char *text)
{
    cr_assert_not_null(strstr(page, text), "no '%s' in the report", text);
}

Test(search_report, an_empty_store_says_so)
{
    nas_store *store = open_store();
    const char *page = report(store, NULL, 0);

    expect_well_formed(page);
    expect_text(page, "The store holds no run yet.");
    expect_text(page, "No network has been judged yet");
    expect_text(page, "No run has ended yet.");
    nas_store_close(store);
}

Test(search_report, a_search_is_drawn_and_each_picture_has_its_table)
{
    nas_store *store = open_store();

    put_search(store, "mine", "tiny");
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    expect_text(page, "<a href=\"#run-1\">mine</a>");
    expect_text(page, "target 2.5 ms");
    expect_text(page, "mine: 2 ms, top-1 0.75, 1.5 M parameters, chosen");
    expect_text(page, "<td class=\"n\">12.5</td>");
    expect_text(page, "valid_top1");
    expect_text(page, "Probabilities after epoch 2");
    expect_text(page, "<td>macs</td><td class=\"n\">400000</td><td class=\"n\">390625</td><td>yes</td>");
    expect_text(page, "Blocks from the image to the classes");
    cr_assert_eq(occurrences(page, "<i data-epoch="), 2);
    cr_assert_eq(occurrences(page, "class=\"front\""), 1);
    cr_assert_eq(occurrences(page, "class=\"front selected\""), 1);
    cr_assert_eq(occurrences(page, "class=\"beaten\""), 1);
    cr_assert_eq(occurrences(page, "<svg "), 6,
                 "front, cost, loss, top-1, heat map, network; none of a metric without values");
    cr_assert_eq(occurrences(page, "<details>"), occurrences(page, "<svg "));
    nas_store_close(store);
}

static void put_verification(nas_store *store, const char *summary)
{
    const nas_store_run_spec spec = {.kind = "verify", .config = "{}", .version = "0.1.0"};
    nas_store_attempt attempt;

    ok(nas_store_run_begin(store, &spec, &attempt, &err));
    ok(nas_store_run_finish(store, attempt, NAS_STORE_DONE, summary, NULL, &err));
}

Test(search_report, predictions_stand_against_what_was_measured)
{
    nas_store *store = open_store();

    put_search(store, "mine", "tiny");
    cr_assert_null(strstr(report(store, NULL, 0), "Predicted against"), "nothing was measured");
    put_verification(store, "{\"pairs\": [{\"predicted_ms\": 1.5, \"measured_ms\": 2.0},"
                            " {\"predicted_ms\": 3.0, \"measured_ms\": 2.5},"
                            " {\"predicted_ms\": 4.0, \"measured_ms\": 4.0}],"
                            " \"operations\": [{\"operation\": \"mbconv 3x3 e6\", \"networks\": 3,"
                            " \"share\": 0.75, \"error\": -0.125},"
                            " {\"operation\": \"linear\", \"networks\": 3, \"share\": 0.25,"
                            " \"error\": 0.05}]}");
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    expect_text(page, "3 networks measured whole: mean error 15 %, on average 1.7 % too low, 1 "
                      "within 10 %. Rank correlation: Spearman 1.000, Kendall 1.000.");
    expect_text(page, "predicted 1.5 ms, measured 2 ms: -25.0 %</title>");
    expect_text(page, "<td class=\"n\">+20.0 %</td>");
    expect_text(page, "<td>mbconv 3x3 e6</td>");
    expect_text(page, "<td class=\"n\">-12.5 %</td>");
    cr_assert_eq(occurrences(page, "aria-label=\"Predicted against measured latency\""), 1);
    cr_assert_eq(occurrences(page, "aria-label=\"Error by operation\""), 1);
    nas_store_close(store);
}

Test(search_report, a_search_that_measured_its_best_shows_them)
{
    nas_store *store = open_store();

    put_verification(store, "{\"verified\": [{\"predicted_ms\": 1.0, \"measured_ms\": 2.0}]}");
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    expect_text(page, "1 network measured whole: mean error 50 %, on average 50 % too low, 0 "
                      "within 10 %. On the dashed line");
    cr_assert_null(strstr(page, "Error by operation"));
    nas_store_close(store);
}

Test(search_report, hostile_measurements_are_passed_over)
{
    nas_store *store = open_store();

    put_verification(store, "{\"pairs\": [1, {}, {\"predicted_ms\": \"x\", \"measured_ms\": 1},"
                            " {\"predicted_ms\": 1, \"measured_ms\": 0},"
                            " {\"predicted_ms\": -1, \"measured_ms\": 1},"
                            " {\"predicted_ms\": 1e300, \"measured_ms\": 1e-300},"
                            " {\"predicted_ms\": 1, \"measured_ms\": 1}],"
                            " \"operations\": [7, {\"operation\": \"<img>\", \"error\": 1e300},"
                            " {\"error\": \"x\"}]}");
    put_verification(store, "{\"pairs\": 5, \"operations\": {}}");
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    cr_assert_null(strstr(page, "<img"));
    expect_text(page, "&lt;img&gt;");
    expect_text(page, "2 networks measured whole");
    nas_store_close(store);
}

static void put_ended(nas_store *store, const char *kind, const char *config, const char *summary)
{
    const nas_store_run_spec spec = {.kind = kind, .config = config, .version = "0.1.0"};
    nas_store_attempt attempt;

    ok(nas_store_run_begin(store, &spec, &attempt, &err));
    for (int episode = 1; episode <= 3; episode++)
        ok(nas_store_progress(store, attempt, episode, episode,
                              (nas_store_metric[]){{"reward", 0.5 * episode},
                                                   {"best_reward", 0.5 * episode},
                                                   {"episode_top1", 0.25 * episode}}, 3, &err));
    ok(nas_store_run_finish(store, attempt, NAS_STORE_DONE, summary, NULL, &err));
}

Test(search_report, channels_that_pruning_left_are_drawn_layer_by_layer)
{
    nas_store *store = open_store();

    put_ended(store, "prune", "{\"target_ms\": 1.5}",
              "{\"agent\": \"ddpg\", \"episodes\": 3, \"best_episode\": 1, \"reward\": 0.75,"
              " \"top1_before\": 0.8, \"top1_pruned\": 0.5, \"top1\": 0.75,"
              " \"macs_before\": 4000000, \"macs\": 1000000, \"cost_before\": 3.0, \"cost\": 1.5,"
              " \"float_size_bytes\": 4096, \"size_bytes\": 2048, \"policy\": ["
              "{\"layer\": \"block 1 conv\", \"channels\": 8, \"of\": 32, \"share\": 0.25},"
              " {\"layer\": \"block 2 conv\", \"channels\": 30, \"of\": 40, \"share\": 0.75}]}");
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    expect_text(page, "Channels, layer by layer");
    expect_text(page, "Chosen by ddpg in 3 episodes; the best, number 2, had a reward of 0.75.");
    expect_text(page, "8 of 32 (25 %)</text>");
    expect_text(page, "width=\"315.0\" height=\"16.0\" class=\"bar\"");
    expect_text(page, "<tr><td>block 2 conv</td><td class=\"n\">30</td><td class=\"n\">40</td>"
                      "<td class=\"n\">0.75</td></tr>");
    expect_text(page, "<td>MACs (M)</td><td class=\"n\">4</td><td class=\"n\">1</td>"
                      "<td class=\"n\">0.25</td>");
    expect_text(page, "<td>Latency by the table (ms)</td><td class=\"n\">3</td>");
    expect_text(page, "<td>Size (KiB)</td><td class=\"n\">4</td><td class=\"n\">2</td>");
    expect_text(page, "<td>Top-1 before tuning</td>");
    cr_assert_null(strstr(page, "Latency measured"), "it was not");
    cr_assert_eq(occurrences(page, "aria-label=\"Reward\""), 1, "both rewards in one picture");
    expect_text(page, ">episode</text>");
    nas_store_close(store);
}

Test(search_report, bits_are_drawn_layer_by_layer_and_costs_of_no_table_are_no_latencies)
{
    nas_store *store = open_store();

    put_ended(store, "quantize", "{}",
              "{\"agent\": \"ddpg\", \"episodes\": 3, \"budget_ratio\": 0.5, \"cost_ratio\": 0.4375,"
              " \"cost_before\": 3.0, \"cost\": 1.5,"
              " \"float_valid_top1\": 0.8, \"valid_top1\": 0.75, \"measured_ms_before\": 2.0,"
              " \"measured_ms\": 1.0, \"policy\": [{\"layer\": \"block1.expand\","
              " \"weight_bits\": 4, \"input_bits\": 0, \"weights\": 128, \"macs\": 2500000}]}");
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    expect_text(page, "Bits, layer by layer");
    expect_text(page, "of the whole cost 0.438 is left, 0.5 may be.");
    expect_text(page, "4 bits, floats</text>");
    expect_text(page, "<tr><td>block1.expand</td><td class=\"n\">4</td><td>floats</td>"
                      "<td class=\"n\">128</td><td class=\"n\">2.5</td></tr>");
    expect_text(page, "<td>Latency measured here (ms)</td><td class=\"n\">2</td>");
    cr_assert_null(strstr(page, "Latency by the table"));
    nas_store_close(store);
}

Test(search_report, hostile_policies_are_only_text)
{
    char *many = malloc(400 * 32 + 32), *end = many;
    nas_store *store = open_store();

    put_ended(store, "prune", "{}",
              "{\"agent\": \"<img src=x>\", \"macs_before\": \"x\", \"policy\": [7, null, {}, [1],"
              " {\"layer\": \"</text><script>x\\u0001\\u202e\", \"share\": -1e300},"
              " {\"layer\": 5, \"share\": 1e300, \"channels\": 1e308, \"of\": -1e308},"
              " {\"weight_bits\": 1e300, \"input_bits\": -4}]}");
    put_ended(store, "prune", "{}", "{\"policy\": {\"layer\": 1}}");
    put_ended(store, "prune", "{}", "{\"policy\": []}");
    end += sprintf(end, "{\"policy\": [{\"share\": 0.5}");
    for (int i = 1; i < 400; i++)
        end += sprintf(end, ", {\"share\": 0.5}");
    strcpy(end, "]}");
    put_ended(store, "prune", "{}", many);
    free(many);
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    cr_assert_null(strstr(page, "<img"));
    cr_assert_eq(occurrences(page, "</script"), 1, "its own");
    expect_text(page, "&lt;/text&gt;&lt;script&gt;x\\x01");
    expect_text(page, "100 more layers are left out.");
    cr_assert_null(strstr(page, "width=\"-"));
    nas_store_close(store);
}

Test(search_report, what_a_run_has_not_is_not_announced_and_one_value_is_a_dot)
{
    const nas_store_run_spec spec = {.kind = "train", .config = "{}", .version = "0.1.0"};
    nas_store *store = open_store();
    nas_store_attempt attempt;

    ok(nas_store_run_begin(store, &spec, &attempt, &err));
    expect_text(report(store, NULL, 0), "<p class=\"nothing\">Nothing to draw yet.</p>");
    ok(nas_store_progress(store, attempt, 1, 1, (nas_store_metric[]){{"train_loss", 2.0}}, 1,
                          &err));
    ok(nas_store_run_finish(store, attempt, NAS_STORE_DONE, "{}", NULL, &err));
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    expect_text(page, "class=\"line c0 alone\"");
    expect_text(page, "text-anchor=\"middle\">4</text>"); /* whole epochs on the axis */
    cr_assert_null(strstr(page, "text-anchor=\"middle\">0.5</text>"));
    cr_assert_null(strstr(page, "Which operation"));
    cr_assert_null(strstr(page, "The network"));
    nas_store_close(store);
}

Test(search_report, two_networks_are_compared_block_by_block)
{
    nas_store *store = open_store();

    put_search(store, "one", "tiny");
    const char *page = report(store, NULL, 0);
    cr_assert_null(strstr(page, "Difference of two networks"), "there is only one");
    put_search(store, "two", "tiny");
    page = report(store, NULL, 0);
    expect_well_formed(page);
    expect_text(page, "Difference of two networks");
    expect_text(page, "<p>two and one ended with the same network.</p>");
    cr_assert_eq(occurrences(page, "class=\"differs\""), 0);
    raw_sql("UPDATE evaluation SET selected = (rank = 1) WHERE run = 2;");
    page = report(store, NULL, 0);
    expect_well_formed(page);
    const char *table = strstr(page, "the difference is two less one");
    const int differ = occurrences(table, "<td>yes</td>");
    char text[64];
    cr_assert_gt(differ, 0);
    cr_assert_eq(occurrences(page, "class=\"differs\""), 2 * differ, "in both networks");
    snprintf(text, sizeof text, "<p>%d of ", differ);
    expect_text(page, text);
    nas_store_close(store);
}

Test(search_report, nothing_refers_to_the_outside)
{
    static const char *const outside[] = {"http:", "https:", "src=", "@import", "url(", "<link",
                                          "<iframe", "<img"};
    nas_store *store = open_store();

    put_search(store, "mine", "tiny");
    const char *page = report(store, NULL, 0);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        cr_assert_null(strstr(page, outside[i]), "'%s' is in the report", outside[i]);
    cr_assert_eq(occurrences(page, "href="), occurrences(page, "href=\"#"));
    expect_text(page, "default-src &#39;none&#39;");
    nas_store_close(store);
}

Test(search_report, hostile_names_appear_only_escaped)
{
#define EVIL "</script><img src=x onerror=alert(1)>\"''&" /* '' is one ' of SQL */
    nas_store *store = open_store();

    put_search(store, "mine", "tiny");
    raw_sql("UPDATE run SET name = '1" EVIL "', kind = '2" EVIL "', error = '3" EVIL "'||char(27),"
            " config = json_object('space', '4" EVIL "');"
            "UPDATE metric SET name = '5" EVIL "' WHERE name = 'train_loss';"
            "UPDATE evaluation SET source = '6" EVIL "';");
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    cr_assert_null(strstr(page, "<img"));
    cr_assert_eq(occurrences(page, "</script"), 1, "its own");
    for (char i = '1'; i <= '6'; i++) {
        char text[] = "0&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;";

        text[0] = i;
        expect_text(page, text);
    }
    expect_text(page, "&amp;\\x1b");
    cr_assert_null(strchr(page, '\x1b'));
    nas_store_close(store);
}

Test(search_report, what_cannot_be_read_is_said)
{
    nas_store *store = open_store();

    put_search(store, "mine", "tiny");
    raw_sql("UPDATE architecture SET json = '{\"blocks\": [7]}';"
            "UPDATE run SET summary = '[1', config = 'no';"
            "UPDATE probability SET slot = 100000 WHERE slot = 3;"
            "UPDATE probability SET p = -1e300 WHERE slot = 4;"
            "UPDATE evaluation SET latency_ms = 9e999 WHERE rank = 1;");
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    cr_assert_eq(occurrences(page, "<td class=\"blocks\">cannot be read</td>"), 2);
    expect_text(page, "The run has no network that can be read.");
    nas_store_close(store);
}

Test(search_report, named_runs_only)
{
    static const char *const known[] = {"b"}, *const unknown[] = {"bb"};
    const nas_report_options options = {.runs = unknown, .count = 1};
    nas_store *store = open_store();

    put_search(store, "a", "tiny");
    put_search(store, "b", "tiny");
    const char *page = report(store, known, 1);
    expect_text(page, "1 run of the store");
    expect_text(page, "#run-2");
    cr_assert_null(strstr(page, "#run-1"));
    cr_assert_eq(nas_report_write(store, scratch("none.html"), &options, NULL, &err), NAS_E_USAGE);
    cr_assert(!nas_path_exists(scratch("none.html")));
    cr_assert_eq(nas_report_write(store, scratch("no/folder.html"),
                                  &(nas_report_options){0}, NULL, &err), NAS_E_IO);
    nas_store_close(store);
}

Test(search_report, ways_of_judging_that_are_left_out_are_counted)
{
    nas_store *store = open_store();

    put_search(store, "search-1", "tiny");
    raw_sql("CREATE TEMP TABLE n (i); WITH RECURSIVE c(i) AS (SELECT 10 UNION ALL SELECT i + 1"
            " FROM c WHERE i < 49) INSERT INTO n SELECT i FROM c;"
            /* 20 without latency have no picture, and take the place of none that has */
            "INSERT INTO evaluation SELECT run, 'a-way-' || i, rank, architecture,"
            " CASE WHEN i < 30 THEN NULL ELSE latency_ms END, loss, top1, top5, selected"
            " FROM evaluation, n;");
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    cr_assert_eq(occurrences(page, "Judged as"), 16);
    cr_assert_null(strstr(page, "a-way-29"));
    expect_text(page, "5 more ways of judging are left out here");
    nas_store_close(store);
}

Test(search_report, the_same_store_gives_the_same_bytes)
{
    nas_store *store = open_store();

    put_search(store, "a", "tiny");
    char *first = strdup(report(store, NULL, 0));
    cr_assert_str_eq(report(store, NULL, 0), first);
    free(first);
    nas_store_close(store);
}

/* Copies of a run over the largest built-in space of the main job, 160 epochs each. */
Test(search_report, two_hundred_runs_stay_below_two_megabytes)
{
    nas_store *store = open_store();

    put_search(store, "search-1", "proxyless-cifar");
    raw_sql("BEGIN;"
            "CREATE TEMP TABLE n (i); WITH RECURSIVE c(i) AS (SELECT 2 UNION ALL SELECT i + 1"
            " FROM c WHERE i < 200) INSERT INTO n SELECT i FROM c;"
            "CREATE TEMP TABLE e (i); WITH RECURSIVE c(i) AS (SELECT 3 UNION ALL SELECT i + 1"
            " FROM c WHERE i < 160) INSERT INTO e SELECT i FROM c;"
            "INSERT INTO metric SELECT run, name, 10 * e.i, e.i, 1.0 / e.i FROM metric, e"
            " WHERE step = 10;"
            "INSERT INTO metric SELECT run, name || '-2', step, epoch, value FROM metric;"
            "INSERT INTO probability SELECT run, e.i, slot, candidate, p FROM probability, e"
            " WHERE epoch = 1;"
            "INSERT INTO run (id, name, kind, state, attempt, config, config_digest, version, seed,"
            " threads, step, epoch, pid, pid_start, host, created_ms, updated_ms, finished_ms,"
            " summary) SELECT i, 'search-' || i, kind, state, attempt, config, config_digest,"
            " version, seed, threads, step, epoch, pid, pid_start, host, created_ms, updated_ms,"
            " finished_ms, summary FROM run, n;"
            "INSERT INTO evaluation SELECT i, source, rank, architecture, latency_ms + i / 100.0,"
            " loss, top1, top5, selected FROM evaluation, n;"
            "INSERT INTO evaluation SELECT run, source, rank + 3 * i, architecture, latency_ms,"
            " loss, top1 / i, top5, 0 FROM evaluation, n WHERE i < 5;"
            "INSERT INTO metric SELECT i, name, step, epoch, value FROM metric, n WHERE i > 150;"
            "INSERT INTO probability SELECT i, epoch, slot, candidate, p FROM probability, n"
            " WHERE i > 185;"
            "COMMIT;");
    const char *page = report(store, NULL, 0);
    expect_well_formed(page);
    expect_text(page, "200 runs of the store");
    expect_text(page, "are drawn for the newest 12");
    cr_assert_eq(occurrences(page, "class=\"heat\""), 12);
    expect_text(page, "1400 more are left out here");
    cr_assert_lt(strlen(page), 2000000, "%zu bytes", strlen(page));
    nas_store_close(store);
}

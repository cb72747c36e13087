/* Profiles at the end of a link: nas-profile of this machine, behind commands that behave badly.
 * A command is a shell script that gets program and job as arguments. */
#include "latency/predict.h"
#include "latency/profile/lines.h"
#include "latency/profile/profile.h"
#include "latency/profile/verify.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

#include <omp.h>
#include <sys/stat.h>
#include <unistd.h>

static nas_err err;

TestSuite(latency_remote, .init = scratch_init, .fini = scratch_fini);

/* A profile of `tiny` by the command `script` ("": none), of a quarter of a second. */
typedef struct rig {
    nas_space *space;
    nas_via via;
    char way[512];
    nas_latency_profile_options options;
} rig;

static void make(rig *r, const char *script)
{
    REQUIRE_OK(nas_space_load(&r->space, "tiny", &err));
    snprintf(r->way, sizeof r->way, "exec:env");
    if (script[0] != '\0') {
        snprintf(r->way, sizeof r->way, "exec:%s", scratch_put("command", script));
        cr_assert_eq(chmod(scratch("command"), 0700), 0);
    }
    REQUIRE_OK(nas_via_parse(&r->via, r->way, &err));
    r->via.program = NAS_PROFILE_PROGRAM;
    r->options = nas_latency_profile_defaults();
    r->options.via = &r->via;
    r->options.threads = 1;
    r->options.seconds = 0.25;
    r->options.least_seconds = 0;
}

static void expect_covered(const rig *r, nas_latency_table *table)
{
    nas_latency_entry *missing;
    int count;

    REQUIRE_OK(nas_latency_check(&missing, &count, table, r->space, 0, &err));
    cr_assert_eq(count, 0);
    free(missing);
}

Test(latency_remote, a_table_comes_back_and_says_of_what)
{
    nas_latency_table *table;
    rig r;

    make(&r, "");
    REQUIRE_OK(nas_latency_profile(&table, r.space, &r.options, &err));
    expect_covered(&r, table);
    for (int i = 0; i < table->count; i++)
        cr_assert(table->rows[i].stat.mean > 0.0 && table->rows[i].stat.mean < 1000.0);
    cr_assert_eq(strncmp(table->meta.engine, "nas ", 4), 0);
    cr_assert_gt(strlen(table->meta.device), 0);
    cr_assert_eq(table->meta.threads, 1);
    cr_assert_eq(table->meta.emulated, 0);
    cr_assert(table->meta.probe_ms > 0.0 && strlen(table->meta.probe) == NAS_DIGEST_SIZE - 1);
    nas_latency_table_free(table);
    nas_space_free(r.space);
}

Test(latency_remote, whoever_says_emulated_is_believed)
{
    nas_latency_table *table, *again;
    char *text;
    size_t size;
    rig r;

    make(&r, "");
    r.options.emulated = true;
    REQUIRE_OK(nas_latency_profile(&table, r.space, &r.options, &err));
    cr_assert_eq(table->meta.emulated, 1);
    REQUIRE_OK(nas_latency_table_text(table, &text, &size, &err));
    REQUIRE_OK(nas_latency_table_parse(&again, text, size, "again", &err));
    cr_assert_eq(again->meta.emulated, 1);
    nas_latency_table_free(again);
    free(text);
    nas_latency_table_free(table);
    nas_space_free(r.space);
}

/* Turns of the journal, each of which must be there once and in order. */
static int turns_of_journal(void)
{
    FILE *file = fopen(scratch("journal"), "r");
    char text[16384];
    int turns = 0;

    cr_assert_not_null(file);
    for (int i = 0; fgets(text, sizeof text, file) != NULL; i++) {
        static nas_line line;

        if (i < 2)
            continue; /* job and facts */
        REQUIRE_OK(nas_line__parse(&line, text, strlen(text), &err));
        cr_assert_eq(line.kind, NAS_LINE_ANSWER);
        cr_assert_eq(line.request.kind, NAS_REQUEST_TURN);
        cr_assert_eq(line.request.number, turns);
        turns++;
    }
    fclose(file);
    return turns;
}

static size_t journal_text(char *out, size_t room)
{
    FILE *file = fopen(scratch("journal"), "r");
    const size_t size = fread(out, 1, room, file);

    fclose(file);
    return size;
}

/* Each of the first 20 starts loses its link after some hundred bytes, mostly within a line. */
static const char flaky[] =
    "#!/bin/sh\n"
    "n=$(cat \"$0.n\" 2>/dev/null || echo 0)\n"
    "echo $((n + 1)) >\"$0.n\"\n"
    "[ \"$n\" -lt 20 ] || exec \"$@\"\n"
    "exec 3<&0\n"
    "mkfifo \"$0.$n\"\n"
    "\"$@\" <&3 >\"$0.$n\" &\n"
    "dd bs=1 count=$((500 + n * 97)) status=none <\"$0.$n\"\n"
    "kill $!\n"
    "exit 255\n";

Test(latency_remote, twenty_lost_links_cost_nothing_but_the_turn_in_flight, .timeout = 120)
{
    nas_latency_table *table;
    char starts[16] = "";
    rig r;

    make(&r, flaky);
    r.options.journal = scratch("journal");
    r.options.seconds = 80; /* far more than it needs: a busy machine is slow */
    r.options.interval = 1e-9;
    r.options.max_samples = 400; /* more turns than the faults let by */
    REQUIRE_OK(nas_latency_profile(&table, r.space, &r.options, &err));
    expect_covered(&r, table);
    cr_assert_geq(turns_of_journal(), 400);
    FILE *file = fopen(scratch("command.n"), "r");
    cr_assert_not_null(fgets(starts, sizeof starts, file));
    fclose(file);
    cr_assert_eq(atoi(starts), 21);
    nas_latency_table_free(table);
    nas_space_free(r.space);
}

static bool stop_later(void *user)
{
    return ++*(int *)user > 40;
}

/* Stops a profile on the way, does it again, and compares the journals. */
static void stop_and_continue(rig *r)
{
    static char first[1 << 20], then[1 << 20];
    nas_latency_table *table;
    int asked = 0;
    const nas_observer observer = {.user = &asked, .stop = stop_later};

    r->options.journal = scratch("journal");
    r->options.interval = 1e-9;
    r->options.seconds = 60;
    r->options.max_samples = 100;
    r->options.observer = &observer;
    cr_assert_eq(nas_latency_profile(&table, r->space, &r->options, &err), NAS_E_INTERRUPTED);
    cr_assert_not_null(strstr(err.hint, "continues"), "%s", err.hint);
    const int before = turns_of_journal();
    const size_t size = journal_text(first, sizeof first);
    cr_assert(before > 0 && before <= 40, "%d", before);
    r->options.observer = NULL;
    REQUIRE_OK(nas_latency_profile(&table, r->space, &r->options, &err));
    cr_assert_geq(turns_of_journal(), 100); /* each once: those before count */
    cr_assert_gt(journal_text(then, sizeof then), size);
    cr_assert_arr_eq(then, first, size);
    nas_latency_table_free(table);
    nas_space_free(r->space);
}

Test(latency_remote, a_stopped_profile_continues_and_measures_only_what_is_missing)
{
    rig r;

    make(&r, "");
    stop_and_continue(&r);
}

Test(latency_remote, here_a_stopped_profile_continues_too)
{
    rig r;

    omp_set_num_threads(1); /* several that wait for each other crawl beside other programs */
    make(&r, "");
    r.options.via = NULL;
    stop_and_continue(&r);
}

/* ------------------------------------------------------------------ minute 1 against minute 10 */

/* Turns of the table, and how often its older half was measured again. */
static void read_conditions(const nas_latency_table *table, int *turns, int *repeats)
{
    const char *load = strstr(table->meta.conditions, "load "),
               *again = strstr(table->meta.conditions, "repeats ");

    cr_assert(load != NULL && again != NULL &&
              sscanf(load, "load %*[^,], %d networks", turns) == 1 &&
              sscanf(again, "repeats %d", repeats) == 1, "%s", table->meta.conditions);
}

/* Every entry must tell `level` times what tests/support/timed_device.py takes.  (Those at the end are
 * of several blocks.) */
static void expect_level(const rig *r, const nas_latency_table *table, double level)
{
    const nas_latency_grammar grammar = nas_latency_grammar_of(r->space);
    nas_latency_entry *entries;
    int count, i = 0;

    REQUIRE_OK(nas_latency_space_entries(&entries, &count, r->space, grammar, 0, &err));
    for (int s = 0; s < r->space->count; s++)
        for (int c = 0; c < r->space->slots[s].count; c++, i++) {
            const nas_latency_stat *stat = nas_latency_table_find(table, entries[i].key);
            const double ms = level * (1.0 + 0.1 * s + 0.01 * c);

            if (s < r->space->count - 2 && stat != NULL)
                cr_expect_float_eq(stat->mean, ms, 1e-3 * ms, "%s: %g, not %g", entries[i].key,
                                   stat->mean, ms);
        }
    free(entries);
}

/* A device whose clock is that of the test: slow from one turn to another. */
static nas_latency_table *profile_timed(rig *r, int from, int to)
{
    nas_latency_table *table;

    make(r, "");
    snprintf(r->way, sizeof r->way, "exec:/usr/bin/python3 %s/tests/support/timed_device.py %d %d 1.3",
             NAS_SOURCE_DIR, from, to);
    REQUIRE_OK(nas_via_parse(&r->via, r->way, &err));
    r->via.program = NAS_PROFILE_PROGRAM;
    r->options.seconds = 60;
    r->options.interval = 0.5;
    REQUIRE_OK(nas_latency_profile(&table, r->space, &r->options, &err));
    expect_covered(r, table);
    return table;
}

Test(latency_remote, a_device_that_became_slow_is_measured_again_and_tells_the_speed_it_keeps)
{
    int turns, undisturbed, repeats;
    rig r;

    if (access("/usr/bin/python3", X_OK) != 0)
        cr_skip_test("no /usr/bin/python3");
    nas_latency_table *table = profile_timed(&r, 0, 0);
    read_conditions(table, &undisturbed, &repeats);
    cr_assert_eq(repeats, 0);
    expect_level(&r, table, 1.0);
    cr_assert_float_eq(table->meta.probe_ms, 20.0, 0.02);
    nas_latency_table_free(table);
    nas_space_free(r.space);
    table = profile_timed(&r, undisturbed / 2, 1 << 30);
    read_conditions(table, &turns, &repeats);
    cr_assert_geq(repeats, 1, "%s", table->meta.conditions);
    cr_assert_gt(turns, undisturbed + undisturbed / 4, "%s", table->meta.conditions);
    expect_level(&r, table, 1.3);
    cr_assert_float_eq(table->meta.probe_ms, 26.0, 0.02);
    cr_assert_not_null(strstr(table->meta.conditions, "speed +0.0 %"), "%s", table->meta.conditions);
    nas_latency_table_free(table);
    nas_space_free(r.space);
}

Test(latency_remote, a_device_that_was_slow_for_a_while_is_not_measured_again)
{
    int turns, repeats;
    rig r;

    if (access("/usr/bin/python3", X_OK) != 0)
        cr_skip_test("no /usr/bin/python3");
    nas_latency_table *table = profile_timed(&r, 30, 50);
    read_conditions(table, &turns, &repeats);
    cr_assert_eq(repeats, 0, "%s", table->meta.conditions);
    expect_level(&r, table, 1.0);
    cr_assert_float_eq(table->meta.probe_ms, 20.0, 0.02);
    nas_latency_table_free(table);
    nas_space_free(r.space);
}

/* ------------------------------------------------------------------ devices that lie */

static void expect_refused(const char *script, nas_status status, const char *says)
{
    nas_latency_table *table = NULL;
    rig r;

    make(&r, script);
    r.options.journal = scratch("journal");
    cr_assert_eq(nas_latency_profile(&table, r.space, &r.options, &err), status, "%s", err.message);
    cr_assert_not_null(strstr(err.message, says), "%s", err.message);
    cr_assert_null(table);
    nas_space_free(r.space);
}

#define FACTS "#!/bin/sh\nhead -c 0 \"$2\"\n\"$1\" \"$2\" | head -n 1\n"

Test(latency_remote, devices_that_make_no_sense_are_refused)
{
    expect_refused("#!/bin/sh\necho hello\n", NAS_E_DATA, "no sense");
    expect_refused("#!/bin/sh\nwhile :; do printf xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done\n",
                   NAS_E_DATA, "more than");
    expect_refused("#!/bin/sh\necho '{\"turn\":0,\"choice\":[0],\"ms\":[1]}'\n", NAS_E_DATA,
                   "does not begin");
    expect_refused(FACTS "echo '{\"turn\":0,\"choice\":[0],\"ms\":[1]}'\nsleep 5\n", NAS_E_DATA,
                   "something else than request 0");
    expect_refused("#!/bin/sh\n"
                   "exec \"$@\" | sed -u '/turn/s/\"ms\":.*/\"ms\":[0,0,0,0,0,0,0,0,0,0]}/'\n",
                   NAS_E_DATA, "no time at all");
    expect_refused(FACTS "echo '{\"error\":\"too hot\"}'\nsleep 5\n", NAS_E_FAIL, "too hot");
}

Test(latency_remote, a_device_that_was_never_there_is_told_at_once)
{
    expect_refused("#!/bin/sh\necho no such device >&2\nexit 1\n", NAS_E_IO, "no such device");
}

Test(latency_remote, another_device_on_the_same_way_is_refused)
{
    expect_refused("#!/bin/sh\n"
                   "n=$(cat \"$0.n\" 2>/dev/null || echo 0)\n"
                   "echo $((n + 1)) >\"$0.n\"\n"
                   "[ \"$n\" = 0 ] || exec \"$@\" | sed -u 's/\"device\":\"/&Other /'\n"
                   "\"$@\" | { sed -u 5q; kill $$; }\n",
                   NAS_E_DATA, "another device");
    cr_assert_not_null(strstr(err.hint, "journal"), "%s", err.hint);
}

/* A verification by the command `script` of what a sound device measured. */
static void expect_verification_refused(const char *script, nas_status status, const char *says)
{
    const nas_latency_verify_options sound = {.samples = 2, .rounds = 1, .seed = 3, .threads = 1};
    nas_latency_verify_options how = sound;
    nas_latency_verification found;
    nas_latency_table *table;
    rig r;

    make(&r, "");
    REQUIRE_OK(nas_latency_profile(&table, r.space, &r.options, &err));
    nas_space_free(r.space);
    make(&r, script);
    how.via = &r.via;
    cr_assert_eq(nas_latency_verify(&found, table, r.space, &how, &err), status, "%s", err.message);
    cr_assert_not_null(strstr(err.message, says), "%s", err.message);
    cr_assert_null(found.pairs);
    nas_latency_table_free(table);
    nas_space_free(r.space);
}

#define CHANGED(how) "#!/bin/sh\nexec \"$@\" | sed -u '" how "'\n"

Test(latency_remote, networks_and_probes_that_make_no_sense_are_refused)
{
    expect_verification_refused(CHANGED("/network/s/\"ms\":[^,]*/\"ms\":0/"), NAS_E_DATA, "no time at all");
    expect_verification_refused(CHANGED("/network/s/\"ms\":[^,]*/\"ms\":-1/"), NAS_E_DATA, "no sense");
    expect_verification_refused(CHANGED("s/\"network\":/&1/"), NAS_E_DATA, "something else");
    expect_verification_refused(CHANGED("s/\"choice\":.0/\"choice\":[1/"), NAS_E_DATA, "something else");
    expect_verification_refused(CHANGED("/probe\":/s/\"ms\":[^}]*/\"ms\":0/"), NAS_E_DATA,
                                "no time at all");
    expect_verification_refused(CHANGED("/probe\":/s/\"ms\":[^}]*/\"ms\":1e999/"), NAS_E_DATA,
                                "no sense");
    expect_verification_refused(CHANGED("s/\"threads\":1/\"threads\":2/"), NAS_E_DATA, "2 threads");
}

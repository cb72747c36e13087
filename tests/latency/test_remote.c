/* Profiles at the end of a link: nas-profile of this machine, behind commands that behave badly.
 * A command is a shell script that gets program and job as arguments. */
#include "latency/predict.h"
#include "latency/profile/lines.h"
#include "latency/profile/profile.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

#include <sys/stat.h>

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
    nas_latency_table_free(table);
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
        cr_assert_eq(line.kind, NAS_LINE_TURN);
        cr_assert_eq(line.turn, turns);
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
    "\"$@\" | head -c $((500 + n * 97))\n"
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

    make(&r, "");
    r.options.via = NULL;
    stop_and_continue(&r);
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
                   "something else than turn 0");
    expect_refused("#!/bin/sh\n"
                   "exec \"$@\" | sed '/turn/s/\"ms\":.*/\"ms\":[0,0,0,0,0,0,0,0,0,0]}/'\n",
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
                   "[ \"$n\" = 0 ] || exec \"$@\" | sed 's/\"device\":\"/&Other /'\n"
                   "\"$@\" | head -n 5\n",
                   NAS_E_DATA, "another device");
    cr_assert_not_null(strstr(err.hint, "journal"), "%s", err.hint);
}

/* `nas profile --via`: this machine's nas-profile behind exec, ssh and adb, and the one for phones
 * under an emulator.
 *
 * ssh is a stand-in on PATH, which writes down its arguments and runs the command here.  adb is the
 * real client; the device that it talks to is tests/support/adb_device.py. */
#include "tests/cli/nas.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/process.h"
#include "base/rng.h"
#include "tests/support/tools.h"

enum { MAX_DEVICES = 2 };

static const char cross_program[] = NAS_SOURCE_DIR "/build/aarch64/latency/device/nas-profile";
static const char cross_test[] = NAS_SOURCE_DIR "/build/aarch64/tests/device/test_device";

static nas_process *devices[MAX_DEVICES];
static int device_count;
static bool adb_started;

static void end(void)
{
    if (adb_started)
        RUN_TOOL("adb", "kill-server");
    for (int i = 0; i < device_count; i++)
        nas_process_end(devices[i]);
    nas_end();
}

TestSuite(cli_phone, .init = nas_begin, .fini = end, .timeout = 240);

#define PROFILE "profile", "--space", "tiny", "--max-seconds", "0.3", "--threads", "1"

static const char *text_of(const char *path)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "r");

    cr_assert_not_null(file, "%s", path);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void expect_table(const char *table, bool emulated)
{
    expect_exit(NAS("latency", "check", "--table", table, "--space", "tiny"), 0, NULL);
    cr_assert_eq(strstr(text_of(table), "emulated: 1") != NULL, emulated);
    cr_assert_neq(access(nas_file("t.yaml.part"), F_OK), 0, "the journal is still there");
}

/* ------------------------------------------------------------------ exec */

Test(cli_phone, a_command_of_this_machine)
{
    const char *table = nas_file("t.yaml");
    const json_t *result = NAS_JSON(PROFILE, "--out", table, "--via", "exec:env", "--program",
                                    NAS_PROFILE_PROGRAM);

    cr_assert_eq(json_integer_value(json_object_get(result, "threads")), 1);
    cr_assert(json_is_false(json_object_get(result, "emulated")));
    expect_table(table, false);
}

Test(cli_phone, tables_of_emulators_are_refused_by_a_search_unless_allowed)
{
    const char *table = nas_file("t.yaml"), *data = make_data();

    NAS_JSON(PROFILE, "--out", table, "--via", "exec:env", "--program", NAS_PROFILE_PROGRAM,
             "--emulated");
    expect_table(table, true);
    expect_exit(NAS("search", "--data", data, "--space", "tiny", "--table", table, "--target-ms",
                    "1000"), 78, "emulator");
    expect_exit(NAS("search", "--data", data, "--space", "tiny", "--table", table, "--target-ms",
                    "1000", "--allow-emulated", "--epochs", "1", "--warmup-epochs", "0",
                    "--derive-samples", "1", "--batch", "16"), 0, NULL);
}

Test(cli_phone, mistakes_are_told_and_the_old_table_stays)
{
    const char *table = nas_put("t.yaml", "old\n"), *text = nas_put("text", "no program\n");

    expect_exit(NAS(PROFILE, "--out", table, "--via", "carrier-pigeon"), 2, "adb:SERIAL");
    expect_exit(NAS(PROFILE, "--out", table, "--via", "exec:no-such-command", "--program",
                    NAS_PROFILE_PROGRAM), 74, "no-such-command");
    expect_exit(NAS(PROFILE, "--out", table, "--via", "exec:env", "--program",
                    nas_file("missing")), 74, "missing");
    expect_exit(NAS(PROFILE, "--out", table, "--via", "exec:env", "--program", text), 74, "text");
    cr_assert_str_eq(text_of(table), "old\n");
}

/* Whole turns of the journal, which must follow each other. */
static int turns_kept(void)
{
    const char *text = text_of(nas_file("t.yaml.part"));
    int turns = 0;

    for (const char *at = text; (at = strstr(at, "{\"turn\":")) != NULL; at++) {
        if (strchr(at, '\n') == NULL)
            break; /* torn by the kill */
        cr_assert_eq(atoi(at + strlen("{\"turn\":")), turns);
        turns++;
    }
    return turns;
}

Test(cli_phone, killed_again_and_again_it_keeps_what_was_measured)
{
    const char *table = nas_file("t.yaml");
    int kept = 0;

    for (int i = 0; i < 6; i++) {
        const process_options killed = {.timeout_s = 0.4 + 0.07 * i};
        const process_result *result =
            nas_run(&killed, "profile", "--space", "tiny", "--threads", "1", "--interval", "0.0001",
                    "--out", table, "--via", "exec:env", "--program", NAS_PROFILE_PROGRAM, NULL);

        cr_assert_eq(result->code, -1, "%s", result->err);
        const int now = turns_kept();
        cr_assert_geq(now, kept);
        kept = now;
    }
    cr_assert_gt(kept, 0);
    const process_result *result = NAS(PROFILE, "--out", table, "--via", "exec:env", "--program",
                                       NAS_PROFILE_PROGRAM);
    expect_exit(result, 0, "goes on after the");
    expect_table(table, false);
}

/* ------------------------------------------------------------------ whole networks */

/* A device that is this machine behind `sed`, which changes what it says of itself; its way. */
static const char *make_device(const char *change)
{
    static char way[300];
    char script[200];

    snprintf(script, sizeof script, "#!/bin/sh\nexec \"$@\" | sed -u '%s'\n", change);
    snprintf(way, sizeof way, "exec:%s", nas_put("device", script));
    chmod(nas_file("device"), 0700);
    return way;
}

#define PHONE "s/\"device\":\"/&Phone /"

static const json_t *verify(const char *table, const char *way)
{
    return NAS_JSON("latency", "verify", "--table", table, "--space", "tiny", "--samples", "4",
                    "--rounds", "3", "--via", way, "--program", NAS_PROFILE_PROGRAM);
}

Test(cli_phone, a_table_is_verified_on_its_device)
{
    const char *table = nas_file("t.yaml"), *way = make_device(PHONE);

    NAS_JSON(PROFILE, "--out", table, "--via", way, "--program", NAS_PROFILE_PROGRAM);
    const json_t *result = verify(table, way), *pairs = json_object_get(result, "pairs");
    const char *device = json_string_value(json_object_get(result, "device"));

    cr_assert_eq(strncmp(device, "Phone ", 6), 0, "%s", device);
    cr_assert_eq(json_integer_value(json_object_get(result, "threads")), 1, "those of the table");
    cr_assert(json_is_false(json_object_get(result, "emulated")));
    cr_assert_gt(json_real_value(json_object_get(result, "level")), 0.0);
    cr_assert_eq(json_array_size(pairs), 4);
    for (size_t i = 0; i < 4; i++)
        cr_assert_gt(json_real_value(json_object_get(json_array_get(pairs, i), "measured_ms")), 0);
    expect_exit(NAS("latency", "verify", "--table", table, "--space", "tiny", "--samples", "2",
                    "--rounds", "1"), 0, "the table is of \"Phone ");
}

Test(cli_phone, a_table_is_fitted_to_networks_of_its_device)
{
    const char *table = nas_file("t.yaml"), *fitted = nas_file("fitted.yaml"),
               *way = make_device(PHONE);

#define FIT "latency", "fit", "--table", table, "--space", "tiny", "--samples", "10", "--rounds", "1", \
            "--out", fitted
    NAS_JSON(PROFILE, "--out", table, "--via", way, "--program", NAS_PROFILE_PROGRAM);
    const json_t *result = NAS_JSON(FIT, "--via", way, "--program", NAS_PROFILE_PROGRAM);
    cr_assert_eq(strncmp(json_string_value(json_object_get(result, "device")), "Phone ", 6), 0);
    cr_assert_eq(json_integer_value(json_object_get(result, "threads")), 1);
    expect_exit(NAS(FIT, "--threads", "1"), 78, "latency fit measures on this machine");
    make_device("s/\"device\":\"/&Other /");
    expect_exit(NAS(FIT, "--via", way, "--program", NAS_PROFILE_PROGRAM), 78, "\"Other ");
}

/* Each of the first two starts loses its link, at both ends. */
Test(cli_phone, a_verification_goes_on_after_a_lost_link)
{
    const char *table = nas_file("t.yaml");
    const char *device = nas_put("device", "#!/bin/sh\n"
                                 "n=$(cat \"$0.n\" 2>/dev/null || echo 0)\n"
                                 "echo $((n + 1)) >\"$0.n\"\n"
                                 "[ \"$n\" -lt 2 ] || exec \"$@\"\n"
                                 "\"$@\" | { sed -u $((2 + 3 * n))q; kill $$; }\n");
    char way[300];

    chmod(device, 0700);
    snprintf(way, sizeof way, "exec:%s", device);
    NAS_JSON(PROFILE, "--out", table, "--via", "exec:env", "--program", NAS_PROFILE_PROGRAM);
    expect_exit(NAS("latency", "verify", "--table", table, "--space", "tiny", "--samples", "4",
                    "--rounds", "3", "--via", way, "--program", NAS_PROFILE_PROGRAM), 0,
                "link to the device is lost");
    cr_assert_str_eq(text_of(nas_file("device.n")), "3\n");
}

#define DERIVE "--epochs", "1", "--warmup-epochs", "0", "--derive-samples", "3", "--batch", "32"
#define SEARCH "search", "--data", data, "--space", "tiny", "--target-ms", "1000", DERIVE, "--table", table
#define TOP "--verify-top", "2"
#define BY_WAY "--via", way, "--program", NAS_PROFILE_PROGRAM

static void expect_verified(const json_t *found)
{
    const json_t *list = json_object_get(found, "verified");

    cr_assert_eq(json_array_size(list), 2);
    for (size_t i = 0; i < 2; i++)
        cr_assert_gt(json_real_value(json_object_get(json_array_get(list, i), "measured_ms")), 0);
    cr_assert(json_is_true(json_object_get(json_array_get(list, 0), "chosen")));
    cr_assert(json_is_true(json_object_get(found, "feasible")));
}

Test(cli_phone, the_best_networks_of_a_search_are_measured_on_the_device_of_its_table)
{
    const char *table = nas_file("t.yaml"), *data = make_data(), *way = make_device(PHONE);

    NAS_JSON(PROFILE, "--out", table, "--via", way, "--program", NAS_PROFILE_PROGRAM);
    expect_verified(NAS_JSON(SEARCH, TOP, BY_WAY));
    expect_exit(NAS(SEARCH, TOP), 78, "the table is of \"Phone ");
    expect_exit(NAS(SEARCH, TOP, "--via", "exec:env", "--program", NAS_PROFILE_PROGRAM), 78,
                "measures on exec:env");
    expect_exit(NAS(SEARCH, BY_WAY), 2, "--verify-top");
    make_device("s/.*/No such device/");
    expect_exit(NAS(SEARCH, TOP, BY_WAY), 65, "makes no sense");
    make_device(PHONE ";s/\"emulated\":false/\"emulated\":true/");
    expect_exit(NAS(SEARCH, TOP, BY_WAY), 78, "is an emulator");
    cr_assert_eq(json_array_size(json_object_get(NAS_JSON("runs", "list"), "runs")), 2,
                 "what is refused before it begins is no run");
    expect_verified(NAS_JSON(SEARCH, TOP, BY_WAY, "--allow-emulated"));
}

/* The device is there when the search begins, and away when its networks are to be measured. */
Test(cli_phone, a_search_whose_device_went_away_is_resumed_when_it_is_back)
{
    const char *table = nas_file("t.yaml"), *data = make_data(), *way = make_device(PHONE);

    NAS_JSON(PROFILE, "--out", table, "--via", way, "--program", NAS_PROFILE_PROGRAM);
    nas_put("device", "#!/bin/sh\nrm \"$0.here\" || exit 1\n"
                      "exec \"$@\" | sed -u '" PHONE "'\n");
    nas_put("device.here", "");
    expect_exit(NAS(SEARCH, TOP, BY_WAY), 74, "device.here");
    make_device(PHONE);
    expect_verified(NAS_JSON("resume"));
}

/* The device answers at first; later it says nothing, until `nas` is killed. */
Test(cli_phone, a_search_that_is_killed_while_it_measures_is_resumed)
{
    const char *table = nas_file("t.yaml"), *data = make_data(), *way = make_device(PHONE);
    const process_options killed = {.timeout_s = 8};

    NAS_JSON(PROFILE, "--out", table, "--via", way, "--program", NAS_PROFILE_PROGRAM);
    nas_put("device", "#!/bin/sh\nrm \"$0.here\" 2>/dev/null || exec sleep 60\n"
                      "exec \"$@\" | sed -u '" PHONE "'\n");
    nas_put("device.here", "");
    cr_assert_eq(nas_run(&killed, SEARCH, TOP, BY_WAY, NULL)->code, -1);
    cr_assert_neq(access(nas_file("device.here"), F_OK), 0);
    make_device(PHONE);
    expect_verified(NAS_JSON("resume"));
}

Test(cli_phone, the_best_networks_of_an_evolution_are_measured_on_the_device_of_its_table)
{
    const char *table = nas_file("t.yaml"), *way = make_device(PHONE);
    static const char predictor[] = NAS_SOURCE_DIR "/tests/golden/predictor.safetensors";

#define EVOLVE "evolve", "--space", "tiny", "--predictor", predictor, "--table", table
    NAS_JSON(PROFILE, "--out", table, "--via", way, "--program", NAS_PROFILE_PROGRAM);
    expect_verified(NAS_JSON(EVOLVE, "--target-ms", "1000", TOP, BY_WAY));
    const json_t *shown = NAS_JSON("runs", "show", "evolve-2");
    cr_assert_eq(json_array_size(json_object_get(json_object_get(shown, "summary"), "verified")), 2);
    expect_exit(NAS(EVOLVE, "--target-ms", "1000", TOP), 78, "the table is of \"Phone ");
    expect_exit(NAS(EVOLVE, "--pareto", TOP, BY_WAY), 2, "--pareto");
    expect_exit(NAS("evolve", "--space", "tiny", "--predictor", predictor, "--max-macs", "1e9", TOP,
                    BY_WAY), 2, "goes with --table");
}

/* ------------------------------------------------------------------ qemu */

static void need_emulator(void)
{
    need_tool("qemu-aarch64-static");
    if (access(cross_program, X_OK) != 0 || access(cross_test, X_OK) != 0)
        cr_skip_test("no nas-profile for aarch64: scripts/setup --aarch64, scripts/build aarch64");
}

/* Kernels for integers that a processor without, or with, the instructions of dot products runs. */
static void expect_kernels(const process_result *result, bool dotprod)
{
    expect_exit(result, 0, NULL);
    cr_assert_not_null(strstr(result->out, "int8 neon"), "%s", result->out);
    cr_assert_eq(strstr(result->out, "int8 dotprod") != NULL, dotprod, "%s", result->out);
}

static void profile_emulated(const char *cpu, bool dotprod)
{
    const char *table = nas_file("t.yaml");
    char way[64];

    need_emulator();
    snprintf(way, sizeof way, "exec:qemu-aarch64-static -cpu %s", cpu);
    const json_t *result = NAS_JSON(PROFILE, "--out", table, "--via", way, "--program",
                                    cross_program);
    cr_assert(json_is_true(json_object_get(result, "emulated")));
    expect_table(table, true);
    result = NAS_JSON("latency", "verify", "--table", table, "--space", "tiny", "--samples", "2",
                      "--rounds", "1", "--via", way, "--program", cross_program);
    cr_assert(json_is_true(json_object_get(result, "emulated")));
    expect_kernels(RUN_TOOL("qemu-aarch64-static", "-cpu", cpu, cross_program, "--self-test"),
                   dotprod);
}

Test(cli_phone, kernels_are_right_and_tables_are_marked_on_an_emulated_cortex_a53)
{
    profile_emulated("cortex-a53", false);
}

Test(cli_phone, kernels_are_right_and_tables_are_marked_on_an_emulated_newest_arm)
{
    profile_emulated("max", true);
}

/* All of tests/ops/kernel/test_int8.c, with the sets of kernels that these processors run. */
Test(cli_phone, int8_kernels_give_the_bits_of_the_definition_with_and_without_dot_products)
{
    need_emulator();
    expect_kernels(RUN_TOOL("qemu-aarch64-static", "-cpu", "cortex-a53", cross_test), false);
    expect_kernels(RUN_TOOL("qemu-aarch64-static", "-cpu", "cortex-a76", cross_test), true);
}

Test(cli_phone, the_program_for_phones_is_small)
{
    struct stat info;

    need_emulator();
    cr_assert_eq(stat(cross_program, &info), 0);
    cr_assert_lt(info.st_size, 2000000);
}

Test(cli_phone, kernels_are_right_here)
{
    const process_result *result = RUN_TOOL(NAS_PROFILE_PROGRAM, "--self-test");

    cr_assert_eq(result->code, 0, "%s", result->err);
    cr_assert_not_null(strstr(result->out, "portable"), "%s", result->out);
}

/* ------------------------------------------------------------------ ssh */

static void make_ssh(void)
{
    char path[4096], home[300];

    mkdir(nas_file("bin"), 0700);
    mkdir(nas_file("home"), 0700);
    nas_put("bin/ssh", "#!/bin/sh\n"
                       "printf '<%s>' \"$@\" >>\"$STAND_IN_HOME/../ssh.log\"\n"
                       "echo >>\"$STAND_IN_HOME/../ssh.log\"\n"
                       "for last; do :; done\n"
                       "cd \"$STAND_IN_HOME\" && echo 'Welcome!' >&2 && exec sh -c \"$last\"\n");
    chmod(nas_file("bin/ssh"), 0700);
    snprintf(path, sizeof path, "%s:%s", nas_file("bin"), getenv("PATH"));
    snprintf(home, sizeof home, "%s", nas_file("home"));
    setenv("PATH", path, 1);
    setenv("STAND_IN_HOME", home, 1);
}

Test(cli_phone, a_host_by_ssh_is_left_as_it_was)
{
    const char *table = nas_file("t.yaml");

    make_ssh();
    NAS_JSON(PROFILE, "--out", table, "--via", "ssh:me@board", "--program", NAS_PROFILE_PROGRAM);
    expect_table(table, false);
    cr_assert_eq(rmdir(nas_file("home")), 0, "something was left on the host");
    const char *log = text_of(nas_file("ssh.log"));
    for (const char *line = log; *line != '\0'; line = strchr(line, '\n') + 1)
        cr_assert_not_null(strstr(line, "<--><me@board><"), "%s", line);
    cr_assert_not_null(strstr(log, " ./nas-profile job); rm -rf "), "%s", log);
}

Test(cli_phone, a_program_for_another_machine_is_refused_before_it_is_brought)
{
    const char *table = nas_put("t.yaml", "old\n");

    need_emulator();
    make_ssh();
    expect_exit(NAS(PROFILE, "--out", table, "--via", "ssh:board", "--program", cross_program), 78,
                "is for aarch64, but the device is");
    expect_exit(NAS(PROFILE, "--out", table, "--via", "ssh:board", "--program",
                    nas_put("text", "this is certainly no program\n")), 65, "ELF");
    cr_assert_null(strstr(text_of(nas_file("ssh.log")), "cat >"));
    cr_assert_str_eq(text_of(table), "old\n");
}

/* ------------------------------------------------------------------ adb */

/* A stand-in phone below `root`, connected to an adb server of this test alone. */
static const char *plug_in(const char *root)
{
    static char address[MAX_DEVICES][32], port[16];
    const char *const argv[] = {"/usr/bin/python3", NAS_SOURCE_DIR "/tests/support/adb_device.py",
                                nas_file(root), NULL};
    nas_process_event event;
    const char *line;
    size_t size;

    need_tool("adb");
    if (access(argv[0], X_OK) != 0)
        cr_skip_test("no %s", argv[0]);
    if (!adb_started) { /* before a device is: it connects itself when it comes back */
        snprintf(port, sizeof port, "%d", 20000 + (int)(getpid() % 10000));
        setenv("ANDROID_ADB_SERVER_PORT", port, 1);
        setenv("HOME", nas_file("home"), 1); /* where adb keeps its key */
        mkdir(nas_file("home"), 0700);
        adb_started = true;
    }
    mkdir(nas_file(root), 0700);
    cr_assert_eq(nas_process_start(&devices[device_count], argv, NULL, NULL), NAS_OK);
    nas_process *device = devices[device_count++];
    cr_assert_eq(nas_process_line(device, 20, &event, &line, &size, NULL), NAS_OK);
    cr_assert_eq(event, NAS_PROCESS_LINE, "%s", nas_process_complaint(device));
    snprintf(address[device_count - 1], sizeof address[0], "127.0.0.1:%s", line);
    const process_result *result = RUN_TOOL("adb", "connect", address[device_count - 1]);
    if (strstr(result->out, "connected to") == NULL)
        cr_skip_test("adb cannot be used here: %s%s", result->out, result->err);
    return address[device_count - 1];
}

Test(cli_phone, a_phone_by_adb_is_named_by_its_model_and_left_as_it_was)
{
    const char *table = nas_file("t.yaml"), *left = nas_file("phone/data/local/tmp/onepath-profile-x");

    plug_in("phone");
    cr_assert_eq(mkdir(left, 0700), 0); /* by someone who was killed, long ago */
    cr_assert_eq(RUN_TOOL("touch", "-d", "1 hour ago", left)->code, 0);
    const json_t *result = NAS_JSON(PROFILE, "--out", table, "--via", "adb", "--program",
                                    NAS_PROFILE_PROGRAM);
    const char *device = json_string_value(json_object_get(result, "device"));
    cr_assert_eq(strncmp(device, "Stand-in 1 (", 12), 0, "%s", device);
    expect_table(table, false);
    cr_assert_eq(rmdir(nas_file("phone/data/local/tmp")), 0, "something was left on the phone");
}

Test(cli_phone, of_two_phones_one_is_named)
{
    const char *table = nas_put("t.yaml", "old\n");
    char way[64];

    plug_in("phone");
    snprintf(way, sizeof way, "adb:%s", plug_in("other"));
    expect_exit(NAS(PROFILE, "--out", table, "--via", "adb", "--program", NAS_PROFILE_PROGRAM), 74,
                "adb devices");
    cr_assert_str_eq(text_of(table), "old\n");
    NAS_JSON(PROFILE, "--out", table, "--via", way, "--program", NAS_PROFILE_PROGRAM);
    expect_table(table, false);
}

Test(cli_phone, a_phone_without_room_is_told)
{
    const char *table = nas_put("t.yaml", "old\n");

    plug_in("phone");
    nas_put("phone/full", "");
    expect_exit(NAS(PROFILE, "--out", table, "--via", "adb", "--program", NAS_PROFILE_PROGRAM), 74,
                "No space left");
    cr_assert_str_eq(text_of(table), "old\n");
}

/* ------------------------------------------------------------------ faults at random */

enum { FAULTS = 20 };

/* What the stand-in (tests/support/link_faults.py) wrote down: which turns the device measured, each
 * after the one before it or, with another start in between, that one again. */
typedef struct measured {
    int turns, twice, faults;
} measured;

static measured read_log(const char *path)
{
    measured m = {.turns = 0};
    bool started = false;
    char line[64];
    FILE *file = fopen(path, "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        int turn;

        if (sscanf(line, "turn %d", &turn) == 1) {
            cr_assert(turn == m.turns || (started && turn == m.turns - 1),
                      "turn %d was measured when %d turns were known", turn, m.turns);
            m.twice += turn < m.turns;
            m.turns = turn + 1;
            started = false;
        }
        started |= strcmp(line, "start\n") == 0;
        m.faults += strncmp(line, "fault ", 6) == 0;
    }
    if (file != NULL)
        fclose(file);
    return m;
}

/* The keys of a table, a line each: what is not indented. */
static char *keys_of(const char *table)
{
    char *text = strdup(text_of(table)), *keys;
    size_t size;
    FILE *out = open_memstream(&keys, &size);

    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;)
        if (line[0] != ' ')
            fprintf(out, "%s\n", line);
    fclose(out);
    free(text);
    return keys;
}

/* A file of the stand-in's folder. */
static const char *file_in(const char *root, const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "%s/%s", root, name);
    return nas_file(path);
}

/* The table is that of an undisturbed profile, but for its numbers, of all turns in the log. */
static void expect_whole(const char *table, int turns)
{
    const char *undisturbed = nas_file("whole.yaml");
    char networks[32];

    expect_table(table, false);
    snprintf(networks, sizeof networks, ", %d networks,", turns);
    const char *conditions = strstr(text_of(table), "conditions: ");
    cr_assert_not_null(strstr(conditions, networks), "not %s: %.200s", networks, conditions);
    cr_assert_not_null(strstr(conditions, "probe_ms: "));
    expect_exit(NAS(PROFILE, "--out", undisturbed), 0, NULL);
    char *keys = keys_of(table), *all = keys_of(undisturbed);
    cr_assert_str_eq(keys, all);
    free(keys);
    free(all);
}

/* One profile of 20 faults: the link breaks where the stand-in's own random numbers say, and `nas` is
 * killed at random moments, too; then the same command goes on. */
static void profile_with_faults(const char *way, const char *root, uint64_t seed)
{
    const char *table = nas_file("t.yaml"), *log = file_in(root, "log");
    const process_result *result;
    measured m = {.turns = 0};
    int kills = 0, refused = 0;
    char text[32], name[64];
    nas_rng rng;

    nas_rng_init(&rng, seed, "kills", 0);
    unlink(log);
    unlink(file_in(root, "runs"));
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    snprintf(name, sizeof name, "%s/faults", root);
    const char *faults = nas_put(name, text);
    while (kills + m.faults < FAULTS) {
        const process_options killed = {.timeout_s = 0.3 + 1.2 * nas_rng_uniform(&rng)};

        result = nas_run(&killed, "profile", "--space", "tiny", "--threads", "1", "--interval",
                         "0.0001", "--max-seconds", "1000", "--out", table, "--via", way,
                         "--program", NAS_PROFILE_PROGRAM, NULL);
        cr_assert(result->code == -1 || result->code == 65 || result->code == 74, "exit code %d: %s",
                  result->code, result->err);
        kills += result->code == -1;
        refused += result->code != -1;
        m = read_log(log);
    }
    unlink(faults);
    for (int i = 0; i < 20; i++, usleep(200000)) { /* the device may still be on its way back */
        result = NAS("profile", "--space", "tiny", "--threads", "1", "--max-seconds", "20", "--out",
                     table, "--via", way, "--program", NAS_PROFILE_PROGRAM);
        if (result->code != 74)
            break;
    }
    expect_exit(result, 0, NULL);
    m = read_log(log);
    printf("seed %s by %.4s: %d faults of the link, %d kills, %d starts refused; %d turns, %d of them "
           "measured twice\n", text, way, m.faults, kills, refused, m.turns, m.twice);
    cr_assert_leq(m.twice, m.faults + kills);
    expect_whole(table, m.turns);
    unlink(table);
}

/* NAS_FAULT_SEEDS=N: of so many seeds. */
static uint64_t fault_seeds(void)
{
    const char *text = getenv("NAS_FAULT_SEEDS");

    return text != NULL ? strtoull(text, NULL, 10) : 1;
}

static void profile_with_faults_by_command(void)
{
    char way[512];

    mkdir(nas_file("link"), 0700);
    snprintf(way, sizeof way, "exec:/usr/bin/python3 %s/tests/support/link_faults.py %s",
             NAS_SOURCE_DIR, nas_file("link"));
    for (uint64_t seed = 1; seed <= fault_seeds(); seed++)
        profile_with_faults(way, "link", seed);
}

Test(cli_phone, twenty_random_faults_cost_nothing_but_what_was_in_flight, .timeout = 3600)
{
    if (access("/usr/bin/python3", X_OK) != 0)
        cr_skip_test("no /usr/bin/python3");
    if (fault_seeds() > 1 || RUN_TOOL("adb", "version")->code != 0)
        profile_with_faults_by_command();
    if (RUN_TOOL("adb", "version")->code != 0)
        return;
    plug_in("phone");
    for (uint64_t seed = 1; seed <= fault_seeds(); seed++)
        profile_with_faults("adb", "phone", seed);
}

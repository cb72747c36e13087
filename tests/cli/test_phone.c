/* `nas profile --via`: this machine's nas-profile behind exec, ssh and adb, and the one for phones
 * under an emulator.
 *
 * ssh is a stand-in on PATH, which writes down its arguments and runs the command here.  adb is the
 * real client; the device that it talks to is tests/support/adb_device.py. */
#include "tests/cli/nas.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/process.h"
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
    cr_assert_not_null(strstr(log, "exec ./nas-profile job>"), "%s", log);
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
    mkdir(nas_file(root), 0700);
    cr_assert_eq(nas_process_start(&devices[device_count], argv, NULL, NULL), NAS_OK);
    nas_process *device = devices[device_count++];
    cr_assert_eq(nas_process_line(device, 20, &event, &line, &size, NULL), NAS_OK);
    cr_assert_eq(event, NAS_PROCESS_LINE, "%s", nas_process_complaint(device));
    snprintf(address[device_count - 1], sizeof address[0], "127.0.0.1:%s", line);
    if (!adb_started) {
        snprintf(port, sizeof port, "%d", 20000 + (int)(getpid() % 10000));
        setenv("ANDROID_ADB_SERVER_PORT", port, 1);
        setenv("HOME", nas_file("home"), 1); /* where adb keeps its key */
        mkdir(nas_file("home"), 0700);
        adb_started = true;
    }
    const process_result *result = RUN_TOOL("adb", "connect", address[device_count - 1]);
    if (strstr(result->out, "connected to") == NULL)
        cr_skip_test("adb cannot be used here: %s%s", result->out, result->err);
    return address[device_count - 1];
}

Test(cli_phone, a_phone_by_adb_is_named_by_its_model_and_left_as_it_was)
{
    const char *table = nas_file("t.yaml");

    plug_in("phone");
    const json_t *result = NAS_JSON(PROFILE, "--out", table, "--via", "adb", "--program",
                                    NAS_PROFILE_PROGRAM);
    const char *device = json_string_value(json_object_get(result, "device"));
    cr_assert_eq(strncmp(device, "Stand-in 1 (", 12), 0, "%s", device);
    expect_table(table, false);
    cr_assert_eq(rmdir(nas_file("phone/data/local/tmp")), 0, "something was left on the phone");
}

Test(cli_phone, a_phone_that_loses_its_link_goes_on)
{
    const char *table = nas_file("t.yaml");

    plug_in("phone");
    nas_put("phone/cuts", "3");
    const process_result *result =
        NAS("profile", "--space", "tiny", "--threads", "1", "--max-seconds", "4", "--interval",
            "0.0001", "--out", table, "--via", "adb", "--program", NAS_PROFILE_PROGRAM);
    expect_exit(result, 0, "link to the device is lost");
    expect_table(table, false);
    cr_assert_str_eq(text_of(nas_file("phone/cuts")), "0");
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

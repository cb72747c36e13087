/* nas export from the outside: which files appear, and what is said when none can. */
#include <unistd.h>

#include "tests/cli/nas.h"
#include "tests/support/tools.h"

TestSuite(cli_export, .init = nas_begin, .fini = nas_end, .timeout = 120);

/* A network trained for one epoch; its path. */
static const char *make_model(void)
{
    static char model[512];
    const json_t *run =
        NAS_JSON("train", "--data", make_data(), "--arch", make_arch(), "--epochs", "1", "--quiet");

    snprintf(model, sizeof model, "%s", json_string_value(json_object_get(run, "model")));
    return model;
}

static bool there(const char *name)
{
    return access(nas_file(name), R_OK) == 0;
}

/* The first bytes of a file. */
static void expect_begins(const char *name, const char *bytes, size_t size)
{
    char found[16] = "";
    FILE *file = fopen(nas_file(name), "rb");

    cr_assert_not_null(file, "%s is missing", name);
    cr_assert_eq(fread(found, 1, size, file), size);
    fclose(file);
    cr_assert_arr_eq(found, bytes, size, "%s", name);
}

Test(cli_export, writes_every_format_at_once)
{
    const char *model = make_model();
    const json_t *result = NAS_JSON("export", "--model", model, "--onnx", nas_file("net.onnx"),
                                    "--net-config", nas_file("net.config"), "--weights",
                                    nas_file("net.pth"), "--data", nas_file("task.nasd"));

    cr_assert_str_eq(json_string_value(json_object_get(result, "onnx")), nas_file("net.onnx"));
    cr_assert_eq(json_integer_value(json_object_get(result, "classes")), 10);
    cr_assert_eq(json_integer_value(json_object_get(result, "image_size")), 16);
    expect_begins("net.onnx", "\x08\x07\x12\x07onepath", 11);
    expect_begins("net.pth", "PK\3\4", 4);
    cr_assert_str_eq(
        json_string_value(json_object_get(NAS_JSON("inspect", nas_file("net.config")), "kind")),
        "architecture");
}

Test(cli_export, writes_only_what_is_asked_for)
{
    const char *model = make_model();

    NAS_JSON("export", "--model", model, "--weights", nas_file("net.safetensors"));
    cr_assert(there("net.safetensors"));
    cr_assert_not(there("net.onnx"));
    expect_exit(NAS("inspect", nas_file("net.safetensors")), 0, NULL);
}

Test(cli_export, mistakes_are_named_and_leave_nothing)
{
    const char *model = make_model(), *arch = nas_file("net.json");
    const int before = nas_count();

    expect_exit(NAS("export", "--onnx", "x"), 2, "--model is required");
    expect_exit(NAS("export", "--model", model), 2, "say --onnx FILE");
    expect_exit(NAS("export", "--model", "none", "--onnx", nas_file("x")), 74, "none");
    expect_exit(NAS("export", "--model", arch, "--onnx", nas_file("x")), 65, "net.json");
    expect_exit(NAS("export", "--model", model, "--onnx", "/nowhere/x"), 74, "/nowhere");
    expect_exit(NAS("export", "--model", model, "--onnx", nas_file("x"), "--data", arch), 65,
                "net.json");
    expect_exit(NAS("data", "synth", "--out", nas_file("five.nasd"), "--classes", "5", "--train",
                    "20", "--test", "20", "--size", "16"),
                0, NULL);
    expect_exit(
        NAS("export", "--model", model, "--onnx", nas_file("x"), "--data", nas_file("five.nasd")),
        78, "10");
    expect_exit(NAS("export", "--model", model, "--onnx", model), 2, "what it reads");
    expect_exit(NAS("export", "--model", model, "--onnx", nas_file("x"), "--weights",
                    nas_file("x")),
                2, "a name of its own");
    expect_exit(NAS("export", "--model", model, "--net-config", nas_file("x"), "--data", arch), 2,
                "--data is for --onnx");
    cr_assert_eq(nas_count(), before + 1);
}

Test(cli_export, a_full_disk_leaves_nothing)
{
    const char *model = make_model();
    const process_options small = {.file_size_limit = 4096};

    expect_exit(nas_run(&small, "export", "--model", model, "--onnx", nas_file("net.onnx"), NULL),
                74, "net.onnx");
    expect_exit(nas_run(&small, "export", "--model", model, "--weights", nas_file("net.pth"), NULL),
                74, "net.pth");
    cr_assert_not(there("net.onnx"));
    cr_assert_not(there("net.pth"));
}

Test(cli_export, what_net_config_cannot_hold_is_exit_78)
{
    const char *arch = nas_put(
        "pool.json",
        "{\"format\": \"onepath.architecture\", \"version\": 1, \"name\": \"p\","
        " \"image_size\": 16, \"channels\": 3, \"classes\": 10, \"blocks\": ["
        "{\"op\": \"conv\", \"out\": 8, \"kernel\": 3}, {\"op\": \"max_pool\", \"kernel\": 3},"
        "{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 10}]}");
    char model[512];
    const json_t *run =
        NAS_JSON("train", "--data", make_data(), "--arch", arch, "--epochs", "1", "--quiet");

    snprintf(model, sizeof model, "%s", json_string_value(json_object_get(run, "model")));
    expect_exit(NAS("export", "--model", model, "--net-config", nas_file("c")), 78, "net.config");
    expect_exit(NAS("export", "--model", model, "--onnx", nas_file("net.onnx")), 0, NULL);
    cr_assert_not(there("c"));
}

/* ---- nas runs export ---- */

/* What others wrote into a store's texts is no formula, and no end of a field. */
Test(cli_export, a_spreadsheet_is_given_no_formula)
{
    static const char *const starts[] = {"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", "\r=1"};
    char sql[256], expected[64];

    make_model();
    need_tool("sqlite3");
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        snprintf(sql, sizeof sql, "UPDATE run SET error = '%s \"x\", y'", starts[i]);
        cr_assert_eq(RUN_TOOL("sqlite3", nas_file("store/store.db"), sql)->code, 0);
        const process_result *csv = NAS("runs", "export", "--table", "run");
        snprintf(expected, sizeof expected, ",\"'%s \"\"x\"\", y\"\n", starts[i]);
        cr_assert_eq(csv->code, 0);
        cr_assert_not_null(strstr(csv->out, expected), "no %s in: %s", expected, csv->out);
    }
}

/* `nas runs export | less`: more than a pipe holds, and nobody takes it yet. */
Test(cli_export, a_slow_reader_keeps_nobody_from_the_store)
{
    static const char script[] =
        "\"$0\" runs export --format jsonl --store \"$1\" | "
        "(sleep 1; sqlite3 \"$1/store.db\" 'UPDATE run SET epoch = 7' && wc -l)";

    make_model();
    need_tool("sqlite3");
    cr_assert_eq(RUN_TOOL("sqlite3", nas_file("store/store.db"),
                          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT "
                          "5000) INSERT INTO metric SELECT 1, 'many', i, i, 0.5 FROM n")->code, 0);
    const process_result *read =
        RUN_TOOL("sh", "-c", script, NAS_PROGRAM, nas_file("store"));
    cr_assert_eq(read->code, 0, "%s", read->err);
    cr_assert_gt(atoi(read->out), 5000);
}

Test(cli_export, runs_go_to_tensorboard_and_optuna)
{
    make_model();
    const json_t *result =
        NAS_JSON("runs", "export", "--tensorboard", nas_file("tb"), "--optuna", nas_file("o.db"));
    cr_assert_eq(json_integer_value(json_object_get(result, "runs")), 1);
    cr_assert_gt(json_integer_value(json_object_get(result, "events")), 0);
    cr_assert(there("tb/train-1"));
    expect_begins("o.db", "SQLite format 3", 16);
    result = NAS_JSON("runs", "export", "train-1", "--tensorboard", nas_file("one"));
    cr_assert_null(json_object_get(result, "optuna"));
    cr_assert(there("one/train-1"));

    expect_exit(NAS("runs", "export", "--optuna", nas_file("x.db"), "--out", nas_file("y")), 2,
                "--out is for csv and jsonl");
    expect_exit(NAS("runs", "export", "tarin-1", "--optuna", nas_file("x.db")), 2, "train-1");
    cr_assert_not(there("x.db"));
    expect_exit(NAS("runs", "export", "--optuna", nas_file("o.db")), 0, NULL);
    expect_exit(NAS("runs", "export", "--optuna", nas_file("store/store.db")), 2,
                "the store's own");
    expect_exit(NAS("store", "backup", nas_file("copy")), 0, NULL);
    expect_exit(NAS("runs", "export", "--optuna", nas_file("copy/store.db")), 2,
                "no earlier export");
    expect_exit(NAS("runs", "list"), 0, NULL);
    expect_exit(NAS("runs", "export", "--optuna", nas_file("x.db"), "--table", "run"), 2,
                "for --out");
}

/* Files and wishes that are wrong: one clear error, the right exit code, nothing half done. */
#include "tests/cli/nas.h"

#include <sys/stat.h>
#include <unistd.h>

TestSuite(cli_bad_input, .init = nas_begin, .fini = nas_end, .timeout = 240);

static long file_size(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 ? (long)info.st_size : -1;
}

static void cut(const char *path, long size)
{
    cr_assert_eq(truncate(path, size), 0);
}

/* Writes `value` over the byte at `offset`. */
static void poke(const char *path, long offset, int value)
{
    FILE *file = fopen(path, "r+");

    cr_assert_not_null(file);
    fseek(file, offset, SEEK_SET);
    fputc(value, file);
    cr_assert_eq(fclose(file), 0);
}

Test(cli_bad_input, packed_images)
{
    const char *data = make_data();
    const long size = file_size(data);

    poke(data, size / 2, 0x5a);
    poke(data, size / 2 + 1, 0xa5);
    expect_exit(NAS("data", "info", data, "--verify"), 65, "task.nasd");
    cut(data, size - 1);
    expect_exit(NAS("data", "info", data), 65, "task.nasd");
    cut(data, 100);
    expect_exit(NAS("data", "info", data), 65, "task.nasd");
    cut(data, 0);
    expect_exit(NAS("data", "info", data), 65, "task.nasd");
    expect_exit(NAS("data", "info", nas_file("none")), 74, "No such file");
    expect_exit(NAS("data", "info", nas_put("text", "hello, world\n")), 65, "text");
}

Test(cli_bad_input, images_to_import)
{
    static const char *const folders[] = {"photos/train",   "photos/train/a", "photos/train/b",
                                          "photos/test",    "photos/test/a",  "photos/test/b"};
    const char *source = nas_file("photos"), *out = nas_file("out.nasd");

    expect_exit(NAS("data", "import", nas_file("none"), "--out", out), 74, "none");
    mkdir(source, 0700);
    expect_exit(NAS("data", "import", source, "--out", out), 65, "photos");
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        mkdir(nas_file(folders[i]), 0700);
    nas_put("photos/train/a/1.jpg", "\xff\xd8\xff not a JPEG");
    nas_put("photos/train/b/1.png", "\x89PNG\r\n\032\nnot a PNG");
    nas_put("photos/test/a/1.jpg", "not a JPEG either");
    nas_put("photos/test/b/1.jpg", "");
    expect_exit(NAS("data", "import", source, "--out", out), 65, "1.jpg");
    expect_exit(NAS("data", "import", source, "--out", nas_file("photos/train/a/1.jpg")), 2,
                "over what is read");
    mkdir(nas_file("cifar"), 0700); /* a pipe without a writer would be waited for */
    cr_assert_eq(mkfifo(nas_file("cifar/data_batch_1.bin"), 0600), 0);
    expect_exit(NAS("data", "import", nas_file("cifar"), "--out", out), 65, "not a regular file");
    unlink(nas_file("cifar/data_batch_1.bin"));
    rmdir(nas_file("cifar"));
    cr_assert_eq(file_size(out), -1);
    cr_assert_eq(nas_count(), 1, "only the source is there: no temporary file");
}

Test(cli_bad_input, latency_tables)
{
    static const struct {
        const char *content, *says;
    } cases[] = {
        {"Conv-input:1x1x1-output:1x1x1: {mean: -1}\n", "table.yaml:1"},
        {"Conv-input:1x1x1-output:1x1x1: {mean: .inf}\n", "table.yaml:1"},
        {"Conv-input:1x1x1-output:1x1x1: {mean: 1e999}\n", "table.yaml:1"},
        {"a: &a {mean: 1}\nb: *a\n", "table.yaml"},
        {"not a key at all: {mean: 1}\n", "table.yaml:1"},
        {"- 1\n- 2\n", "table.yaml"},
        {"{{{{{{{{{{{{{{{{", "table.yaml"},
        {"", "table.yaml"},
        {"\x01\x02\x03", "table.yaml"},
    };
    const char *arch = make_arch();

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_exit(NAS("latency", "predict", "--table",
                        nas_put("table.yaml", cases[i].content), "--arch", arch),
                    65, cases[i].says);
    expect_exit(NAS("latency", "predict", "--table", nas_file("none"), "--arch", arch), 74, "none");
}

Test(cli_bad_input, a_table_of_another_space_is_exit_3)
{
    const char *data = make_data(), *table = make_table();

    expect_exit(NAS("latency", "check", "--table", table, "--space", "proxyless-cifar"), 3,
                "lacks");
    expect_exit(NAS("search", "--data", data, "--space", "proxyless-cifar-0.5", "--table", table,
                    "--target-ms", "5"),
                3, "lacks");
}

Test(cli_bad_input, an_impossible_target_is_exit_3_and_shows_the_closest)
{
    const char *data = make_data(), *table = make_table();
    const process_result *result = NAS("search", "--data", data, "--space", "tiny", "--table",
                                       table, "--target-ms", "0.001", "--json");

    expect_exit(result, 3, "a target between");
    json_t *shown = json_loads(result->out, 0, NULL);
    cr_assert_not_null(shown);
    cr_assert(json_is_false(json_object_get(shown, "feasible")));
    cr_assert(json_is_null(json_object_get(shown, "arch")));
    cr_assert_gt(json_real_value(json_object_get(shown, "latency_ms")), 0.001);
    cr_assert_gt(json_integer_value(json_object_get(json_object_get(shown, "closest"), "macs")), 0);
    json_decref(shown);
    expect_exit(NAS("runs", "list"), 74, "there is no store"); /* nothing was begun */
}

Test(cli_bad_input, spaces)
{
    expect_exit(NAS("space", "count", "tinny"), 78, "tiny");
    expect_exit(NAS("space", "count", nas_put("s.json", "{\"slots\": 1}")), 65, "s.json");
    expect_exit(NAS("space", "count", nas_put("s.json", "{\"slots\": [")), 65, "s.json:1");
    expect_exit(NAS("space", "count", nas_file("none.json")), 74, "none.json");
    expect_exit(NAS("bench", "--space", nas_put("s.json", "[]")), 65, "s.json");
}

Test(cli_bad_input, architectures)
{
    const char *data = make_data(), *arch = make_arch();

    expect_exit(NAS("train", "--data", data, "--arch", nas_put("a.json", "{}")), 65, "a.json");
    expect_exit(NAS("train", "--data", data, "--arch", nas_file("none.json")), 74, "none.json");
    cut(arch, file_size(arch) / 2);
    expect_exit(NAS("train", "--data", data, "--arch", arch), 65, "net.json");
    expect_exit(NAS("inspect", arch), 65, "net.json");
}

Test(cli_bad_input, models)
{
    const char *data = make_data(), *arch = make_arch();
    char *model = strdup(json_string_value(json_object_get(
        NAS_JSON("train", "--data", data, "--arch", arch, "--epochs", "1"), "model")));
    const long size = file_size(model);

    poke(model, size - 9, 0x77);
    expect_exit(NAS("eval", "--model", model, "--data", data), 65, "model.safetensors");
    expect_exit(NAS("store", "verify"), 65, "damaged");
    cut(model, size / 2);
    expect_exit(NAS("eval", "--model", model, "--data", data), 65, "model.safetensors");
    expect_exit(NAS("train", "--data", data, "--from", model), 65, "model.safetensors");
    cut(model, 4);
    expect_exit(NAS("eval", "--model", model, "--data", data), 65, "model.safetensors");
    poke(model, 7, 0x7f); /* a header of 2^63 bytes */
    expect_exit(NAS("eval", "--model", model, "--data", data), 65, "model.safetensors");
    expect_exit(NAS("eval", "--model", data, "--data", data), 65, "task.nasd");
    expect_exit(NAS("eval", "--model", nas_file("none"), "--data", data), 74, "none");
    free(model);
}

Test(cli_bad_input, a_network_for_other_images_is_exit_78)
{
    const char *arch = make_arch(), *data = nas_file("five.nasd");

    expect_exit(NAS("data", "synth", "--out", data, "--size", "16", "--classes", "5", "--train",
                    "200", "--test", "100"),
                0, NULL);
    expect_exit(NAS("train", "--data", data, "--arch", arch), 78, "classes");
}

Test(cli_bad_input, a_store_of_a_newer_version_is_left_alone)
{
    const char *data = make_data(), *arch = make_arch(), *db = nas_file("store/store.db");

    expect_exit(NAS("train", "--data", data, "--arch", arch, "--epochs", "1"), 0, NULL);
    poke(db, 62, 0x7f); /* user_version, big endian at 60..63 */
    const long size = file_size(db);
    expect_exit(NAS("runs", "list"), 65, "newer");
    expect_exit(NAS("store", "migrate"), 65, "newer");
    expect_exit(NAS("train", "--data", data, "--arch", arch, "--epochs", "1"), 65, "newer");
    cr_assert_eq(file_size(db), size);
}

Test(cli_bad_input, a_damaged_store_is_exit_65)
{
    mkdir(nas_file("store"), 0700);
    nas_put("store/store.db", "this is no database, and it is longer than a page header is: "
                                  "one hundred bytes, to be sure of it, and then some more");
    expect_exit(NAS("runs", "list"), 65, "store.db");
    expect_exit(NAS("doctor"), 65, "store");
}

Test(cli_bad_input, a_full_disk_leaves_no_part_of_a_file)
{
    const process_options small = {.file_size_limit = 100000};
    const char *out = nas_file("big.nasd");

    expect_exit(nas_run(&small, "data", "synth", "--out", out, NULL), 74, "big.nasd");
    cr_assert_eq(nas_count(), 0);
}

Test(cli_bad_input, a_full_disk_stops_a_run_that_resume_continues)
{
    /* the database fits, the supernet's checkpoint of about a megabyte does not */
    const process_options small = {.file_size_limit = 400000};
    const char *data = make_data(), *table = make_table();

    expect_exit(nas_run(&small, "search", "--data", data, "--space", "tiny", "--table", table,
                        "--target-ms", "1", "--warmup-epochs", "0", "--epochs", "1", "--batch",
                        "32", "--name", "full", NULL),
                74, "nas resume full");
    const json_t *result = NAS_JSON("resume");
    cr_assert_str_eq(json_string_value(json_object_get(result, "run")), "full");
    cr_assert(json_is_true(json_object_get(NAS_JSON("store", "verify"), "ok")));
}

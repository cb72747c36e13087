/* Mistakes that users make, and names that would do harm: each message names the way out, and
 * nothing that is only text is obeyed. */
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cli/nas.h"

TestSuite(cli_mistakes, .init = nas_begin, .fini = nas_end, .timeout = 240);

enum { WORDS = 12 };

/* A word that begins with '@' is a file of the test's folder. */
static const struct {
    const char *words[WORDS];
    int code;
    const char *says, *fix;
} mistakes[] = {
    /* of the command line */
    {{"serach"}, 2, "unknown command", "did you mean 'nas search'?"},
    {{"runs", "lst"}, 2, "unknown command", "did you mean 'nas runs list'?"},
    {{"help", "trian"}, 2, "unknown command", "did you mean 'nas train'?"},
    {{"train", "--epoch", "3"}, 2, "unknown option '--epoch'", "did you mean --epochs?"},
    {{"train", "--data", "@task.nasd"}, 2, "--arch is required", "nas space sample draws one"},
    {{"search", "--data", "@task.nasd"}, 2, "--space is required", "name of a built-in space"},
    {{"bench", "--steps"}, 2, "--steps needs a value", "(N)"},
    {{"bench", "--steps", "1.5"}, 2, "not a whole number", "--steps N: timed steps"},
    {{"bench", "--steps", "0"}, 2, "--steps: 0 is not in", "1..100000"},
    {{"bench", "--mode", "forwrad"}, 2, "not one of weight|two|full|forward",
     "did you mean forward?"},
    {{"bench", "tiny"}, 2, "unexpected argument 'tiny'", "options begin with --"},
    {{"bench", "--mode", "two", "--peak"}, 2, "--peak is for --mode weight and forward",
     "does not follow from its path"},
    {{"search", "--target-ms", "5ms"}, 2, "'5ms' is not a finite number", "write the number alone"},
    {{"export", "--model", "@task.nasd"}, 2, "nothing to write", "--onnx FILE"},
    {{"completion", "tcsh"}, 2, "no shell that it knows", "bash, zsh and fish"},
    {{"runs", "compare", "one"}, 2, "an argument is missing", "RUN RUN"},
    {{"jobs", "submit"}, 2, "no command to run", "nas jobs submit -- search"},
    /* of settings */
    {{"bench", "--config", "@unknown.json"}, 78, "unknown setting 'stepz'",
     "did you mean 'steps'?"},
    {{"bench", "--config", "@broken.json"}, 78, "broken.json:", "settings are JSON"},
    {{"train", "--data", "@task.nasd", "--arch", "@net.json", "--augment", "cifr"}, 78,
     "no augmentation is called", "none, cifar and imagenet"},
    {{"train", "--data", "@task.nasd", "--arch", "@net.json", "--batch", "4000"}, 78,
     "only 360 to train on", "a smaller batch"},
    {{"train", "--data", "@task.nasd", "--arch", "@net.json", "--name", "a b", "--epochs", "1"}, 2,
     "not a name", "letters, digits"},
    /* of files */
    {{"data", "info", "@tsak.nasd"}, 74, "No such file", "task.nasd?"},
    {{"data", "info", "@nowhere/task.nasd"}, 74, "No such file", "there is no folder"},
    {{"data", "info", "@photos"}, 74, "not a regular file", "nas data import DIR"},
    {{"data", "info", "@net.json"}, 65, "not a packed data set", "nas data import"},
    {{"data", "import", "@nothing_like_it", "--out", "@new.nasd"}, 74, "no such directory",
     "the directory that holds train/"},
    {{"data", "import", "@photos", "--out", "@new.nasd"}, 65, "photos", "train/<class>/"},
    {{"data", "import", "@task.nasd", "--out", "@new.nasd"}, 65, "not a directory of images",
     "unpack archives"},
    {{"latency", "predict", "--table", "@task.nasd", "--arch", "@net.json"}, 65,
     "not a latency table", "nas profile measures a table"},
    {{"latency", "show", "--table", "@table.yaml", "--image-size", "32"}, 2, "--space is missing",
     "add --space"},
    {{"latency", "diff", "@table.yaml", "@table.yaml", "--image-size", "32"}, 2,
     "--space is missing", "add --space"},
    {{"latency", "import", "@table.yaml", "--out", "@new.yaml", "--clock-mhz", "100"}, 78,
     "need no clock", "leave --clock-mhz out"},
    {{"profile", "--space", "tiny", "--out", "@new.yaml", "--program", "@task.nasd"}, 2,
     "--via does not name one", "ssh:HOST"},
    {{"latency", "predict", "--table", "@xyzzy", "--arch", "@net.json"}, 74, "No such file",
     "nas profile measures a table"},
    {{"eval", "--model", "@net.json", "--data", "@task.nasd"}, 65, "net.json",
     "not a safetensors file"},
    {{"eval", "--model", "@plugh", "--data", "@task.nasd"}, 74, "No such file",
     "model.safetensors of a run"},
    {{"train", "--data", "@task.nasd", "--arch", "@task.nasd"}, 65, "task.nasd:",
     "an architecture is a JSON file"},
    {{"space", "count", "tinny"}, 78, "neither a built-in space", "did you mean \"tiny\"?"},
    {{"space", "count", "@operation.json"}, 65, "unknown operation \"convv\"",
     "did you mean \"conv\"?"},
    {{"space", "count", "@kernel.json"}, 78, "kernel is 4", "must be odd"},
    {{"space", "sample", "tiny", "--out", "@nowhere/a.json"}, 74, "cannot write",
     "make its folder first"},
    {{"search", "--data", "@task.nasd", "--space", "tiny"}, 2, "a limit is required", "--max-macs N"},
    {{"search", "--data", "@task.nasd", "--space", "tiny", "--target-ms", "5"}, 2,
     "--table is required", "nas profile"},
    {{"search", "--data", "@task.nasd", "--space", "tiny", "--max-macs", "5e5", "--objective",
      "macs,latency"}, 2, "latency has no limit", "give --target-ms"},
    {{"search", "--data", "@task.nasd", "--space", "tiny", "--max-macs", "5e5", "--objective",
      "macs,size"}, 2, "'size' is no cost", "latency, macs, parameters and memory"},
    {{"search", "--data", "@task.nasd", "--space", "tiny", "--max-macs", "5e5", "--verify-top", "2"},
     2, "there is none", "--target-ms MS"},
    /* of order: what has not been done yet, or cannot be done */
    {{"resume"}, 74, "there is no store", "--store"},
    {{"runs", "show", "search-1"}, 74, "there is no store", "--store"},
    {{"search", "--data", "@task.nasd", "--space", "tiny", "--table", "@table.yaml", "--target-ms",
      "0.001"}, 3, "no architecture of tiny meets", "choose a target between"},
    {{"search", "--data", "@task.nasd", "--space", "proxyless-cifar", "--table", "@table.yaml",
      "--target-ms", "5"}, 3, "lacks", "nas profile measures them"},
    {{"profile", "--space", "tiny", "--out", "@t.yaml", "--via", "phone"}, 2, "no such way",
     "adb or adb:SERIAL"},
};

Test(cli_mistakes, each_message_names_the_fix)
{
    int wrong = 0;

    make_data();
    make_arch();
    make_table();
    nas_put("unknown.json", "{\"stepz\": 3}");
    nas_put("broken.json", "{\"steps\": ");
    nas_put("operation.json", "{\"image_size\": 8, \"classes\": 2, \"layers\": ["
                              "{\"op\": \"convv\", \"out\": 8, \"kernel\": 3}]}");
    nas_put("kernel.json", "{\"image_size\": 8, \"classes\": 2, \"layers\": ["
                           "{\"op\": \"conv\", \"out\": 8, \"kernel\": 4}]}");
    cr_assert_eq(mkdir(nas_file("photos"), 0700), 0);
    const int entries = nas_count();
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        char words[WORDS][300] = {{0}};
        const char *w[WORDS] = {NULL};

        for (int k = 0; k < WORDS && mistakes[i].words[k] != NULL; k++) {
            const char *word = mistakes[i].words[k];
            snprintf(words[k], sizeof words[k], "%s", *word == '@' ? nas_file(word + 1) : word);
            w[k] = words[k];
        }
        const process_result *result = nas_run(NULL, w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7],
                                               w[8], w[9], w[10], w[11], NULL);
        if (result->code != mistakes[i].code || strstr(result->err, mistakes[i].says) == NULL ||
            strstr(result->err, mistakes[i].fix) == NULL) {
            cr_log_error("nas %s %s ...: exit %d, not %d; wanted \"%s\" and \"%s\" in:\n%s",
                         words[0], words[1], result->code, mistakes[i].code, mistakes[i].says,
                         mistakes[i].fix, result->err);
            wrong++;
        }
    }
    cr_assert_eq(wrong, 0);
    cr_assert_eq(nas_count(), entries, "a mistake left a file behind");
}

/* -- names that would do harm ------------------------------------------------------------ */

/* Spreadsheets run these, terminals obey or turn around those. */
static const char *const harmful[] = {
    "=1+1", "+cmd", "-2", "@SUM(A1)", "<script>alert(1)</script>", "a\033[31mred\033[0m",
    "b\rhidden",
    "c\a\b", "d\xe2\x80\xaeodd", "e\xc2\x9b" "31m", "f\xff\xfe", "\"quoted\", and more",
};
enum { HARMFUL = sizeof harmful / sizeof *harmful };

static bool is_obeyed(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
        if ((*c < 0x20 && *c != '\n') || *c == 0x7f ||
            (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) ||
            (*c == 0xe2 && c[1] == 0x80 && c[2] == 0xae) || *c == 0xff)
            return true;
    return false;
}

/* As a name of a run, a file, a setting, a class, and an argument that is wrong. */
Test(cli_mistakes, harmful_names_are_shown_and_not_obeyed)
{
    const char *data = make_data(), *arch = make_arch();

    for (int i = 0; i < HARMFUL; i++) {
        char setting[200];

        snprintf(setting, sizeof setting, "--name=%s", harmful[i]);
        const process_result *result =
            NAS("train", "--data", data, "--arch", arch, "--epochs", "1", setting);
        cr_assert(result->code == 2, "%s: exit %d: %s", harmful[i], result->code, result->err);
        cr_assert_not(is_obeyed(result->err), "%s", result->err);
        result = NAS("data", "info", nas_file(harmful[i]));
        cr_assert(result->code == 74 && !is_obeyed(result->err), "%s", result->err);
        result = NAS("space", "list", harmful[i]);
        cr_assert(result->code == 2 && !is_obeyed(result->err), "%s", result->err);
        result = NAS("runs", "list", "--kind", harmful[i]);
        cr_assert_not(is_obeyed(result->err) || is_obeyed(result->out), "%s", result->err);
    }
}

/* One image folder a class; names that are text come back as they are, others are refused. */
Test(cli_mistakes, classes_may_have_any_name)
{
    const char *out = nas_file("odd.nasd");
    /* 1x1 pixel, grey, PNG */
    static const unsigned char png[] =
        "\x89PNG\r\n\032\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\10\0\0\0\0\x3a\x7e\x9b\x55"
        "\0\0\0\nIDAT\x78\x9c\x63\x60\0\0\0\2\0\1\x48\xaf\xa4\x71\0\0\0\0IEND\xae\x42\x60\x82";

    cr_assert_eq(mkdir(nas_file("odd"), 0700), 0);
    for (int i = 0; i < HARMFUL; i++) {
        char folder[300], file[320];

        if (strchr(harmful[i], '/') != NULL || is_obeyed(harmful[i]))
            continue;
        snprintf(folder, sizeof folder, "%s/%s", nas_file("odd"), harmful[i]);
        cr_assert_eq(mkdir(folder, 0700), 0);
        for (int k = 0; k < 10; k++) {
            snprintf(file, sizeof file, "%s/%d.png", folder, k);
            FILE *f = fopen(file, "w");
            cr_assert(f != NULL && fwrite(png, sizeof png - 1, 1, f) == 1 && fclose(f) == 0);
        }
    }
    expect_exit(NAS("data", "import", nas_file("odd"), "--out", out), 0, NULL);
    const process_result *result = NAS("data", "info", out);
    expect_exit(result, 0, NULL);
    cr_assert_not(is_obeyed(result->out), "%s", result->out);
    const json_t *names = json_object_get(NAS_JSON("data", "info", out), "class_names");
    cr_assert_eq(json_array_size(names), 5);
    cr_assert_str_eq(json_string_value(json_array_get(names, 1)), "+cmd"); /* by their bytes */
    cr_assert_eq(mkdir(nas_file("odd/a\033[31mred"), 0700), 0);
    cr_assert_eq(symlink("../+cmd/1.png", nas_file("odd/a\033[31mred/1.png")), 0);
    cr_assert_eq(symlink("../+cmd/2.png", nas_file("odd/a\033[31mred/2.png")), 0);
    result = NAS("data", "import", nas_file("odd"), "--out", out);
    expect_exit(result, 65, "give its folder another name");
    cr_assert_not(is_obeyed(result->err), "%s", result->err);
}

Test(cli_mistakes, ten_kilobytes_of_emoji_are_only_long)
{
    enum { COUNT = 2500 };
    char *faces = malloc(4 * COUNT + 1);

    for (int i = 0; i < COUNT; i++)
        memcpy(faces + 4 * i, "\xf0\x9f\x98\x80", 4);
    faces[4 * COUNT] = '\0';
    expect_exit(NAS(faces), 2, "unknown command");
    expect_exit(NAS("data", "info", faces), 74, "File name too long");
    expect_exit(NAS("bench", "--mode", faces), 2, "not one of");
    expect_exit(NAS("runs", "show", faces), 74, NULL);
    expect_exit(NAS("train", "--data", make_data(), "--arch", make_arch(), "--name", faces), 2,
                "not a name");
    /* as the name of an architecture, which is text: too long is said, shorter is kept */
    json_t *net = json_load_file(nas_file("net.json"), 0, NULL);
    json_object_set_new(net, "name", json_string(faces));
    cr_assert_eq(json_dump_file(net, nas_file("long.json"), 0), 0);
    expect_exit(NAS("inspect", nas_file("long.json")), 65, "name");
    faces[60] = '\0';
    json_object_set_new(net, "name", json_string(faces));
    cr_assert_eq(json_dump_file(net, nas_file("short.json"), 0), 0);
    expect_exit(NAS("inspect", nas_file("short.json")), 0, NULL);
    json_decref(net);
    free(faces);
}

/* Text cells that a spreadsheet would run get an apostrophe; the rest stays as it is. */
Test(cli_mistakes, formulas_in_csv_are_text)
{
    const char *data = make_data(), *arch = make_arch();

    json_t *net = json_load_file(arch, 0, NULL);
    json_object_set_new(net, "name", json_string("=HYPERLINK(\"http://x\")"));
    cr_assert_eq(json_dump_file(net, arch, 0), 0);
    json_decref(net);
    NAS_JSON("train", "--data", data, "--arch", arch, "--epochs", "1", "--name", "t");
    for (const char *const *table = (const char *const[]){"run", "metric", "artifact", NULL};
         *table != NULL; table++) {
        const char *out = NAS("runs", "export", "--format", "csv", "--table", *table)->out;

        for (const char *cell = out; *cell != '\0'; cell++) { /* a quote that opens a cell */
            const bool opens = cell == out || cell[-1] == ',' || cell[-1] == '\n';
            const char first = opens ? *cell == '"' ? cell[1] : *cell : 'x';
            cr_assert(first == '\0' || strchr("=+@", first) == NULL, "%s", cell);
        }
    }
}

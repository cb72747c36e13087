/* nas data - images of people into one packed file, the generated task, and what a file holds. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "nas/data/import.h"
#include "nas/data/synth.h"

json_t *cli_dataset_json(const nas_dataset *data)
{
    json_t *splits = json_object(), *names = json_array(), *mean = json_array();
    json_t *std = json_array();

    for (int i = 0; i < data->splits; i++)
        json_object_set_new(splits, data->split[i].name, json_integer(data->split[i].count));
    for (int i = 0; i < data->classes; i++)
        json_array_append_new(names, json_string(data->class_names[i]));
    for (int c = 0; c < data->channels; c++) {
        json_array_append_new(mean, json_real(data->mean[c]));
        json_array_append_new(std, json_real(data->std[c]));
    }
    return json_pack("{s:i, s:i, s:i, s:i, s:I, s:o, s:s, s:s, s:o, s:o, s:o}", "classes",
                     data->classes, "height", data->height, "width", data->width, "channels",
                     data->channels, "images", (json_int_t)data->images, "splits", splits,
                     "encoding", data->encoding == NAS_DATA_RAW ? "pixels" : "files", "digest",
                     data->digest, "mean", mean, "std", std, "class_names", names);
}

/* The result of a command that ends with the packed file `path`: what `nas data info`
 * tells, and `more` (taken over). */
static nas_status emit_file(const cli_context *context, const char *path, json_t *more,
                            nas_err *err)
{
    nas_dataset *data = NULL;
    const nas_status status = nas_dataset_open(&data, path, err);
    json_t *result = json_pack("{s:s}", "file", path);

    if (status != NAS_OK) {
        json_decref(result);
        json_decref(more);
        return status;
    }
    json_object_update_new(result, more);
    json_object_update_new(result, cli_dataset_json(data));
    nas_dataset_close(data);
    return cli_emit(context, result, err);
}

typedef struct import_options {
    cli_common common;
    const char *out;
    int64_t size;
    bool skip_bad;
} import_options;

static const nas_option import_table[] = {
    {"--out", NAS_OPT_STRING, offsetof(import_options, out), NULL, 0, 0, NULL, "FILE",
     "packed file to write", true, true},
    {"--size", NAS_OPT_INT, offsetof(import_options, size), NULL, 1, 4096, NULL, "PX",
     "resize the shorter side, then cut the centre square; default: as they are"},
    {"--skip-bad", NAS_OPT_FLAG, offsetof(import_options, skip_bad), NULL, 0, 0, NULL, NULL,
     "leave unreadable images out instead of stopping"},
    {0},
};

/* Whether `path` lies in the folder `dir`. */
static bool lies_in(const char *path, const char *dir)
{
    char *file = realpath(path, NULL), *folder = realpath(dir, NULL);
    const size_t length = folder != NULL ? strlen(folder) : 0;
    const bool inside = file != NULL && folder != NULL && strncmp(file, folder, length) == 0 &&
                        (file[length] == '/' || (length > 0 && folder[length - 1] == '/'));

    free(file);
    free(folder);
    return inside;
}

/* An earlier import may lie among the images and be written anew; no image is. */
static nas_status check_place(const char *out, const char *source, nas_err *err)
{
    char head[7] = "";
    FILE *file = nas_path_is_regular(out) && lies_in(out, source) ? fopen(out, "rbe") : NULL;

    if (file == NULL)
        return NAS_OK;
    const bool packed = fread(head, 1, sizeof head, file) == sizeof head &&
                        memcmp(head, "NASDATA", sizeof head) == 0;
    fclose(file);
    return packed ? NAS_OK : cli_check_out(out, "--out", out, err);
}

static nas_status import_run(const cli_context *context, const void *options, nas_err *err)
{
    const import_options *o = options;
    cli_progress progress;
    nas_import_report report;

    if (check_place(o->out, context->args[0], err) != NAS_OK)
        return NAS_E_USAGE;
    cli_progress_init(&progress, context->common);
    const nas_import_options how = {.size = (int)o->size, .skip_bad = o->skip_bad,
                                    .threads = (int)o->common.threads,
                                    .progress = cli_progress_images, .progress_user = &progress};
    const nas_status status = nas_data_import(context->args[0], o->out, &how, &report, err);
    cli_progress_end(&progress);
    if (status != NAS_OK)
        return status;
    if (report.split_made)
        nas_log(NAS_LOG_INFO, "no test images were given: a tenth of each class was split off");
    return emit_file(context, o->out,
                     json_pack("{s:s, s:I, s:I, s:b}", "format", report.format, "skipped",
                               (json_int_t)report.skipped, "ignored", (json_int_t)report.ignored,
                               "split_made", report.split_made),
                     err);
}

const cli_command cmd_data_import = {
    .name = "data import", .summary = "pack image folders, CIFAR or MNIST files for use",
    .arguments = "SRC", .example = "data import photos/ --out photos.nasd --size 64",
    .tables = {import_table}, .size = sizeof(import_options), .min_args = 1, .max_args = 1,
    .stop = CLI_STOP_ENDS, .run = import_run,
};

typedef struct synth_options {
    cli_common common;
    const char *out;
    int64_t size, classes, train, test;
} synth_options;

static const nas_option synth_table[] = {
    {"--out", NAS_OPT_STRING, offsetof(synth_options, out), NULL, 0, 0, NULL, "FILE",
     "packed file to write", true, true},
    {"--size", NAS_OPT_INT, offsetof(synth_options, size), "24", 16, 256, NULL, "PX",
     "side of the images"},
    {"--classes", NAS_OPT_INT, offsetof(synth_options, classes), "10", 2, 20, NULL, "N",
     "classes"},
    {"--train", NAS_OPT_INT, offsetof(synth_options, train), "4000", 20, 1e7, NULL, "N",
     "images to train on"},
    {"--test", NAS_OPT_INT, offsetof(synth_options, test), "1000", 20, 1e7, NULL, "N",
     "images to judge on"},
    {0},
};

static nas_status synth_run(const cli_context *context, const void *options, nas_err *err)
{
    const synth_options *o = options;
    cli_progress progress;

    cli_progress_init(&progress, context->common);
    const nas_synth_options how = {
        .size = (int)o->size, .classes = (int)o->classes, .train = (uint32_t)o->train,
        .test = (uint32_t)o->test, .seed = (uint64_t)o->common.seed,
        .threads = (int)o->common.threads, .progress = cli_progress_images,
        .progress_user = &progress};
    const nas_status status = nas_data_synth(o->out, &how, err);
    cli_progress_end(&progress);
    return status != NAS_OK ? status : emit_file(context, o->out, json_object(), err);
}

const cli_command cmd_data_synth = {
    .name = "data synth", .summary = "make the embedded task on which architecture matters",
    .example = "data synth --out task.nasd", .tables = {synth_table},
    .size = sizeof(synth_options), .stop = CLI_STOP_ENDS, .run = synth_run,
};

typedef struct info_options {
    cli_common common;
    bool verify;
} info_options;

static const nas_option info_table[] = {
    {"--verify", NAS_OPT_FLAG, offsetof(info_options, verify), NULL, 0, 0, NULL, NULL,
     "read all of it and compare with its digest"},
    {0},
};

static nas_status info_run(const cli_context *context, const void *options, nas_err *err)
{
    const info_options *o = options;
    nas_dataset *data = NULL;
    nas_status status = nas_dataset_open(&data, context->args[0], err);

    if (status == NAS_OK && o->verify)
        status = nas_dataset_verify(data, err);
    if (status == NAS_OK)
        status = cli_emit(context, cli_dataset_json(data), err);
    nas_dataset_close(data);
    return status;
}

const cli_command cmd_data_info = {
    .name = "data info", .summary = "what a packed file holds", .arguments = "FILE",
    .example = "data info task.nasd --json", .tables = {info_table},
    .size = sizeof(info_options), .min_args = 1, .max_args = 1, .run = info_run,
};

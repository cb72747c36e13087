/* Reads judged networks from one file or several, and writes them. */
#include "cli/samples.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/load.h"
#include "cli/outcome.h"

enum { MAX_FILES = 1024 };

/* ---- one file ---- */

/* Samples on their way in. */
typedef struct reader {
    cli_samples *samples;
    const nas_space *space;
    char *names;             /* of the files, cut apart                            */
    int files;
    const char *path[MAX_FILES];
    int first[MAX_FILES + 1]; /* sample of each; first[files]: of the next          */
    json_t *judged;          /* how those of the first file were judged; NULL: it does not tell */
} reader;

/* Notes an image size among the others. */
static bool note_size(cli_samples *s, int size)
{
    int at = 0;

    while (at < s->sizes && s->image_size[at] < size)
        at++;
    if (at < s->sizes && s->image_size[at] == size)
        return true;
    if (s->sizes == NAS_MAX_SIZES)
        return false;
    memmove(&s->image_size[at + 1], &s->image_size[at],
            (size_t)(s->sizes - at) * sizeof *s->image_size);
    s->image_size[at] = size;
    s->sizes++;
    return true;
}

static nas_status read_sample(cli_samples *s, const nas_space *space, const json_t *json,
                              const char *where, nas_err *err)
{
    static const char *const known[] = {"arch", "top1", NULL};
    nas_candidate *candidate = &s->list[s->count];
    nas_arch *arch = NULL;
    nas_status status;

    if ((status = nas_json_members(json, where, known, err)) ||
        (status = nas_json_real(json, where, "top1", true, 0, 1, &candidate->score, err)))
        return status;
    const json_t *network = json_object_get(json, "arch");
    status = json_is_string(network) ? nas_arch_load(&arch, json_string_value(network), err)
                                     : nas_arch_from_json(&arch, network, where, err);
    if (status == NAS_OK &&
        (status = nas_space_choice_of(space, arch, candidate->choice, err)) != NAS_OK)
        nas_err_prefix(err, "%s", where);
    if (status == NAS_OK) {
        candidate->image_size = arch->image_size;
        s->count++;
        if (!note_size(s, arch->image_size))
            status = nas_fail(err, NAS_E_DATA, "%s: more than %d image sizes", where,
                              NAS_MAX_SIZES);
    }
    nas_arch_free(arch);
    return status;
}

/* All files tell the same about how they were judged, or none tells anything. */
static nas_status check_judged(reader *r, const json_t *json, const char *path, nas_err *err)
{
    json_t *judged = json_object_get(json, "judged"), *value;
    const char *key, *other = r->path[0];

    if (judged != NULL && !json_is_object(judged))
        return nas_fail(err, NAS_E_DATA, "%s.judged: must be an object", path);
    if (r->files == 0) {
        r->judged = json_incref(judged);
        return NAS_OK;
    }
    if (json_equal(judged, r->judged) || (judged == NULL && r->judged == NULL))
        return NAS_OK;
    if (judged == NULL || r->judged == NULL) {
        nas_fail(err, NAS_E_DATA, "%s: says nothing about how its networks were judged, as %s does",
                 judged == NULL ? path : other, judged == NULL ? other : path);
    } else {
        nas_fail(err, NAS_E_DATA, "%s: its networks were judged in another way than those of %s",
                 path, other);
        json_object_foreach(judged, key, value)
            if (!json_equal(value, json_object_get(r->judged, key))) {
                nas_fail(err, NAS_E_DATA, "%s: its networks were judged with another %.40s than "
                         "those of %s", path, key, other);
                break;
            }
    }
    nas_hint(err, "parts of one set come from nas ofa sample with the same supernet, data, seed "
             "and settings");
    return NAS_E_DATA;
}

static nas_status read_file(reader *r, const char *path, nas_err *err)
{
    static const char *const known[] = {"judged", "samples", NULL};
    cli_samples *s = r->samples;
    json_t *json = NULL;
    nas_status status;

    if (*path == '\0')
        return nas_fail(err, NAS_E_USAGE, "samples: a comma without a file before or behind it");
    if (r->files == MAX_FILES)
        return nas_fail(err, NAS_E_CONFIG, "more than %d files of samples", MAX_FILES);
    if ((status = nas_json_load(&json, path, err)) ||
        (status = nas_json_members(json, path, known, err)) ||
        (status = check_judged(r, json, path, err)))
        goto done;
    const json_t *samples = json_object_get(json, "samples");
    if (!json_is_array(samples)) {
        status = nas_fail(err, NAS_E_DATA, "%s: samples: should be a list", path);
        nas_hint(err, "nas ofa sample writes such files");
        goto done;
    }
    const size_t count = json_array_size(samples);
    nas_candidate *list = realloc(s->list, ((size_t)s->count + count + 1) * sizeof *list);
    if (list == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "%s: no memory for its samples", path);
        goto done;
    }
    s->list = list;
    memset(list + s->count, 0, (count + 1) * sizeof *list);
    for (size_t i = 0; i < count && status == NAS_OK; i++) {
        char where[512];

        snprintf(where, sizeof where, "%.400s: samples[%zu]", path, i);
        status = read_sample(s, r->space, json_array_get(samples, i), where, err);
    }
    r->path[r->files++] = path;
    r->first[r->files] = s->count;

done:
    json_decref(json);
    return status;
}

/* ---- all files ---- */

/* For qsort of pointers into a list: equal networks side by side, in the order of the list. */
static int by_network(const void *a, const void *b)
{
    const nas_candidate *x = *(const nas_candidate *const *)a;
    const nas_candidate *y = *(const nas_candidate *const *)b;
    const int choice = memcmp(x->choice, y->choice, sizeof x->choice);

    if (choice != 0)
        return choice;
    if (x->image_size != y->image_size)
        return x->image_size < y->image_size ? -1 : 1;
    return (x > y) - (x < y);
}

static bool same_network(const nas_candidate *a, const nas_candidate *b)
{
    return a->image_size == b->image_size && memcmp(a->choice, b->choice, sizeof a->choice) == 0;
}

static int file_of(const reader *r, int sample)
{
    int file = 0;

    while (file < r->files - 1 && r->first[file + 1] <= sample)
        file++;
    return file;
}

/* A network that both trains and judges would make the predictor look better than it is: it goes,
 * marked by an image size of -1, where parts of one set have it twice. */
static nas_status drop_repeated(const reader *r, const nas_candidate *one, nas_candidate *again,
                                nas_err *err)
{
    const int first = (int)(one - r->samples->list), second = (int)(again - r->samples->list);
    const int a = file_of(r, first), b = file_of(r, second);

    if (r->judged != NULL && a != b && one->score == again->score) {
        again->image_size = -1;
        return NAS_OK;
    }
    nas_fail(err, NAS_E_DATA, "%s: samples[%d] is the network of samples[%d] again%s%s", r->path[b],
             second - r->first[b], first - r->first[a], a != b ? ", of " : "",
             a != b ? r->path[a] : "");
    nas_hint(err, "give each network once, with the mean of its accuracies");
    return NAS_E_DATA;
}

static nas_status make_distinct(const reader *r, nas_err *err)
{
    cli_samples *s = r->samples;
    nas_candidate **sorted = malloc(((size_t)s->count + 1) * sizeof *sorted);
    const nas_candidate *kept;
    const int before = s->count;
    nas_status status = NAS_OK;

    if (sorted == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for its samples", r->path[0]);
    for (int i = 0; i < before; i++)
        sorted[i] = &s->list[i];
    qsort(sorted, (size_t)before, sizeof *sorted, by_network);
    kept = before > 0 ? sorted[0] : NULL;
    for (int i = 1; i < before && status == NAS_OK; i++)
        if (same_network(kept, sorted[i]))
            status = drop_repeated(r, kept, sorted[i], err);
        else
            kept = sorted[i];
    free(sorted);
    s->count = 0;
    for (int i = 0; i < before; i++)
        if (s->list[i].image_size != -1)
            s->list[s->count++] = s->list[i];
    s->repeated = before - s->count;
    return status;
}

nas_status cli_samples_read(cli_samples *out, const nas_space *space, const char *files,
                            nas_err *err)
{
    reader *r = calloc(1, sizeof *r);
    char *rest, *path;
    nas_status status = NAS_OK;

    memset(out, 0, sizeof *out);
    if (r == NULL || (r->names = rest = strdup(files)) == NULL) {
        free(r);
        return nas_fail(err, NAS_E_NOMEM, "samples: out of memory");
    }
    r->samples = out;
    r->space = space;
    while (status == NAS_OK && (path = strsep(&rest, ",")) != NULL)
        status = read_file(r, path, err);
    if (status == NAS_OK)
        status = make_distinct(r, err);
    json_decref(r->judged);
    free(r->names);
    free(r);
    return status;
}

void cli_samples_fini(cli_samples *samples)
{
    free(samples->list);
}

nas_status cli_samples_check_out(const char *files, const char *out, nas_err *err)
{
    char *names = strdup(files), *rest = names, *path;
    nas_status status =
        names != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "samples: out of memory");

    while (status == NAS_OK && (path = strsep(&rest, ",")) != NULL)
        status = cli_check_out(path, "--out", out, err);
    free(names);
    return status;
}

/* ---- writing ---- */

nas_status cli_samples_write(const char *path, const nas_space *space, const nas_candidate *list,
                             int64_t count, json_t *judged, nas_err *err)
{
    json_t *samples = json_array();
    json_t *file = json_pack("{s:O, s:o}", "judged", judged, "samples", samples);
    nas_status status = NAS_OK;

    for (int64_t i = 0; i < count && status == NAS_OK; i++) {
        nas_arch *arch = NULL;

        status = cli_candidate_arch(&arch, space, &list[i], err);
        if (status == NAS_OK)
            json_array_append_new(samples, json_pack("{s:o, s:f}", "arch", nas_arch_to_json(arch),
                                                     "top1", list[i].score));
        nas_arch_free(arch);
    }
    /* on one line: thousands of networks stay within what a reader of JSON takes */
    char *line = status == NAS_OK ? json_dumps(file, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (status == NAS_OK)
        status = line != NULL ? nas_file_write(path, line, strlen(line), err)
                              : nas_fail(err, NAS_E_NOMEM, "samples: out of memory");
    free(line);
    json_decref(file);
    return status;
}

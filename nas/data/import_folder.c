/* Image folders: <split>/<class>/... or <class>/..., JPEG and PNG files at any depth. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/system.h"
#include "nas/data/import_sources.h"
#include "nas/data/pack.h"
#include "nas/data/split.h"

enum {
    DEPTH_MAX = 16,
    FILE_BYTES_MAX = 256 << 20,
    IMAGES_MAX = 100000000,
    TEST_SHARE = 10, /* one image in ten becomes a test image when none are given */
    SPLIT_SEED = 1
};

typedef struct names {
    char **items;
    int count, room;
} names;

typedef struct place {
    dev_t device;
    ino_t inode;
} place;

typedef struct folder {
    nas_data__source source;
    names classes;
    char **paths;     /* [images] */
    uint32_t *labels; /* [images] */
    uint32_t room;    /* of paths and labels */
    place *visited;   /* every directory once */
    size_t visits;
    uint32_t ignored;
} folder;

static nas_status no_memory(const folder *f, nas_err *err)
{
    return nas_fail(err, NAS_E_NOMEM, "%s: no memory for its list of files", f->source.path);
}

/* ---- lists of names ---- */

static void names_fini(names *n)
{
    for (int i = 0; i < n->count; i++)
        free(n->items[i]);
    free(n->items);
    *n = (names){0};
}

static bool names_add(names *n, const char *name)
{
    if (n->count == n->room) {
        const int room = n->room > 0 ? 2 * n->room : 64;
        char **items = realloc(n->items, (size_t)room * sizeof *items);

        if (items == NULL)
            return false;
        n->items = items;
        n->room = room;
    }
    n->items[n->count] = strdup(name);
    return n->items[n->count] != NULL && ++n->count;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int find_name(const names *n, const char *name)
{
    char *const *found = n->count == 0 ? NULL
                                       : bsearch(&name, n->items, (size_t)n->count,
                                                 sizeof *n->items, compare_names);

    return found != NULL ? (int)(found - n->items) : -1;
}

/* What a directory holds, sorted; names that start with a dot are left out. */
static nas_status list_directory(const folder *f, const char *path, names *out, nas_err *err)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    nas_status status = NAS_OK;

    *out = (names){0};
    if (dir == NULL)
        return nas_fail_errno(err, "%s: cannot list", path);
    errno = 0;
    while (status == NAS_OK && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' && !names_add(out, entry->d_name))
            status = no_memory(f, err);
    if (status == NAS_OK && errno != 0)
        status = nas_fail_errno(err, "%s: cannot list", path);
    closedir(dir);
    if (out->count > 0)
        qsort(out->items, (size_t)out->count, sizeof *out->items, compare_names);
    return status;
}

/* ---- the walk ---- */

/* Remembers a directory.  Coming to one twice means a link that would give the same
 * images two labels, or have the walk run in circles. */
static nas_status visit(folder *f, const char *path, nas_err *err)
{
    struct stat info;
    place *grown;

    if (stat(path, &info) != 0)
        return nas_fail_errno(err, "%s: cannot open", path);
    for (size_t i = 0; i < f->visits; i++)
        if (f->visited[i].inode == info.st_ino && f->visited[i].device == info.st_dev)
            return nas_fail(err, NAS_E_DATA,
                            "%s: this folder is reached twice, through a symbolic link", path);
    if ((f->visits & (f->visits + 1)) == 0) { /* full at 0, 1, 3, 7, ... */
        grown = realloc(f->visited, 2 * (f->visits + 1) * sizeof *grown);
        if (grown == NULL)
            return no_memory(f, err);
        f->visited = grown;
    }
    f->visited[f->visits++] = (place){info.st_dev, info.st_ino};
    return NAS_OK;
}

static bool is_image_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot != NULL && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

/* Takes over `path`. */
static nas_status add_image(folder *f, int split, uint32_t label, char *path, nas_err *err)
{
    nas_data__source *s = &f->source;

    if (s->images == f->room) {
        const uint32_t room = f->room > 0 ? 2 * f->room : 1024;
        char **paths = realloc(f->paths, room * sizeof *paths);
        uint32_t *labels;

        if (paths != NULL)
            f->paths = paths;
        labels = realloc(f->labels, room * sizeof *labels);
        if (labels != NULL)
            f->labels = labels;
        if (paths == NULL || labels == NULL || room > IMAGES_MAX) {
            free(path);
            return no_memory(f, err);
        }
        f->room = room;
    }
    f->paths[s->images] = path;
    f->labels[s->images++] = label;
    s->split_counts[split]++;
    return NAS_OK;
}

/* All images of a class folder and the folders in it, in the order of their names. */
static nas_status walk(folder *f, const char *dir, int split, uint32_t label, int depth,
                       nas_err *err)
{
    names entries = {0};
    struct stat own, info;
    nas_status status;

    if (depth > DEPTH_MAX)
        return nas_fail(err, NAS_E_DATA, "%s: folders nested more than %d deep", dir, DEPTH_MAX);
    if ((status = visit(f, dir, err)))
        return status;
    status = list_directory(f, dir, &entries, err);
    for (int i = 0; i < entries.count && status == NAS_OK; i++) {
        char *path = nas_path_join(dir, entries.items[i]);

        if (path == NULL)
            status = no_memory(f, err);
        else if (lstat(path, &own) == 0 && S_ISDIR(own.st_mode))
            status = walk(f, path, split, label, depth + 1, err);
        else if (is_image_name(path) && (stat(path, &info) != 0 || S_ISREG(info.st_mode))) {
            status = add_image(f, split, label, path, err); /* a dangling link fails later */
            path = NULL;
        } else
            f->ignored++;
        free(path);
    }
    names_fini(&entries);
    return status;
}

/* All class folders of `dir`. The first split's folders name the classes. */
static nas_status walk_split(folder *f, const char *dir, int split, nas_err *err)
{
    names entries = {0};
    nas_status status = visit(f, dir, err);

    if (status == NAS_OK)
        status = list_directory(f, dir, &entries, err);
    for (int i = 0; i < entries.count && status == NAS_OK; i++) {
        char *path = nas_path_join(dir, entries.items[i]);
        int label = find_name(&f->classes, entries.items[i]);

        if (path == NULL) {
            status = no_memory(f, err);
        } else if (!nas_path_is_dir(path)) {
            f->ignored++;
        } else if (split > 0 && label < 0) {
            status = nas_fail(err, NAS_E_DATA, "%s: the train split has no class of this name",
                              path);
        } else {
            label = split == 0 ? f->classes.count : label;
            if (split == 0 && !names_add(&f->classes, entries.items[i]))
                status = no_memory(f, err);
            else
                status = walk(f, path, split, (uint32_t)label, 1, err);
        }
        free(path);
    }
    names_fini(&entries);
    return status;
}

/* ---- splits ---- */

static const char *const test_splits[] = {"test", "val"};

/* train/ with test/ or val/ */
static nas_status find_given_splits(folder *f, nas_err *err)
{
    nas_data__source *s = &f->source;
    nas_status status = NAS_OK;

    s->split_names[s->splits++] = "train";
    for (size_t i = 0; i < sizeof test_splits / sizeof *test_splits; i++)
        if (nas_data__has(s->path, test_splits[i]))
            s->split_names[s->splits++] = test_splits[i];
    if (s->splits == 1) {
        nas_fail(err, NAS_E_DATA, "%s: there is train/ but neither test/ nor val/", s->path);
        nas_hint(err, "put images to judge the result on into test/<class>/, or import %s/train "
                 "itself: then 10 %% of each class become test images", s->path);
        return NAS_E_DATA;
    }
    for (int i = 0; i < s->splits && status == NAS_OK; i++) {
        char *dir = nas_path_join(s->path, s->split_names[i]);

        status = dir != NULL ? walk_split(f, dir, i, err) : no_memory(f, err);
        free(dir);
    }
    return status;
}

/* Moves the marked images behind the others, order kept. */
static nas_status move_marked(folder *f, const bool *marked, nas_err *err)
{
    nas_data__source *s = &f->source;
    char **paths = malloc((size_t)f->room * sizeof *paths);
    uint32_t *labels = malloc((size_t)f->room * sizeof *labels), n = 0;

    if (paths == NULL || labels == NULL) {
        free(paths);
        free(labels);
        return no_memory(f, err);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < s->images; i++)
            if (marked[i] == pass) {
                paths[n] = f->paths[i];
                labels[n++] = f->labels[i];
            }
        s->split_counts[pass] = n - (pass ? s->split_counts[0] : 0);
    }
    free(f->paths);
    free(f->labels);
    f->paths = paths;
    f->labels = labels;
    return NAS_OK;
}

/* One level of class folders: a tenth of each class, one at least, becomes "test". */
static nas_status make_test_split(folder *f, nas_err *err)
{
    nas_data__source *s = &f->source;
    const size_t classes = (size_t)f->classes.count;
    uint32_t *quota = calloc(classes > 0 ? classes : 1, sizeof *quota);
    bool *marked = malloc(s->images > 0 ? s->images : 1);
    nas_status status = NAS_OK;

    if (quota == NULL || marked == NULL) {
        status = no_memory(f, err);
        goto done;
    }
    for (uint32_t i = 0; i < s->images; i++)
        quota[f->labels[i]]++;
    for (size_t c = 0; c < classes; c++) {
        if (quota[c] < 2) {
            status = nas_fail(err, NAS_E_DATA,
                              "%s/%s: %u image%s; a class needs 2, one of them to test on",
                              s->path, f->classes.items[c], quota[c], quota[c] == 1 ? "" : "s");
            goto done;
        }
        quota[c] = (quota[c] + TEST_SHARE / 2) / TEST_SHARE;
        quota[c] = quota[c] > 0 ? quota[c] : 1;
    }
    if ((status = nas_split_mark(f->labels, s->images, f->classes.count, quota, SPLIT_SEED, marked,
                                 err)) ||
        (status = move_marked(f, marked, err)))
        goto done;
    s->split_names[0] = "train";
    s->split_names[1] = "test";
    s->splits = 2;
    nas_log(NAS_LOG_INFO, "%s: no train/ and test/ folders: %u images, 10 %% of each class, were "
            "set apart as the test split", s->path, s->split_counts[1]);
done:
    free(marked);
    free(quota);
    return status;
}

static nas_status find_images(folder *f, nas_import_report *report, nas_err *err)
{
    nas_data__source *s = &f->source;
    nas_status status = visit(f, s->path, err);

    if (status == NAS_OK && nas_data__has(s->path, "train")) {
        status = find_given_splits(f, err);
    } else if (status == NAS_OK) {
        for (size_t i = 0; i < sizeof test_splits / sizeof *test_splits; i++)
            if (nas_data__has(s->path, test_splits[i]))
                return nas_fail(err, NAS_E_DATA, "%s: there is %s/ but no train/", s->path,
                                test_splits[i]);
        f->visits = 0; /* the walk visits it again, as a split */
        status = walk_split(f, s->path, 0, err);
        if (status == NAS_OK && s->images > 0 && f->classes.count > 1) {
            status = make_test_split(f, err);
            report->split_made = true;
        }
    }
    if (status == NAS_OK && s->images == 0) {
        status = nas_fail(err, NAS_E_DATA, "%s: no JPEG or PNG files in class folders", s->path);
        nas_hint(err, "expected: %s/train/<class>/*.jpg and %s/test/<class>/*.jpg", s->path,
                 s->path);
    }
    return status;
}

/* ---- contents ---- */

static nas_status fetch(const nas_data__source *s, uint32_t i, nas_data__item *item, nas_err *err)
{
    const folder *f = s->user;
    nas_status status = nas_file_read(f->paths[i], FILE_BYTES_MAX, &item->bytes, &item->size, err);

    if (status != NAS_OK)
        return status;
    status = nas_image_decode(&item->image, item->bytes, item->size, s->channels, err);
    if (status != NAS_OK)
        nas_err_prefix(err, "%s", f->paths[i]);
    return status;
}

static nas_status probe(const char *path, nas_image *out, nas_err *err)
{
    char *bytes;
    size_t size;
    nas_status status = nas_file_read(path, FILE_BYTES_MAX, &bytes, &size, err);

    *out = (nas_image){0};
    if (status == NAS_OK && (status = nas_image_probe(out, bytes, size, err)))
        nas_err_prefix(err, "%s", path);
    free(bytes);
    return status;
}

/* Looks at all images before the first is decoded: colour if any is, one size or not.
 * Unreadable ones fail here, or are left to the packing when they are to be skipped. */
static nas_status probe_all(folder *f, const nas_import_options *options, nas_err *err)
{
    nas_data__source *s = &f->source;
    const int threads = options->threads > 0 ? options->threads : nas_system_cores();
    nas_image *looks = malloc(s->images * sizeof *looks);
    nas_status status = NAS_OK;
    bool same = true;

    if (looks == NULL)
        return no_memory(f, err);
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
    for (uint32_t i = 0; i < s->images; i++)
        if (probe(f->paths[i], &looks[i], NULL) != NAS_OK)
            looks[i].channels = 0;
    for (uint32_t i = 0; i < s->images && status == NAS_OK; i++) {
        const nas_image *now = &looks[i];

        if (now->channels == 0) {
            if (!options->skip_bad && (status = probe(f->paths[i], &looks[i], err)) == NAS_OK)
                i--; /* readable after all: somebody is still writing here */
            continue;
        }
        s->height = s->height == 0 ? now->height : s->height;
        s->width = s->width == 0 ? now->width : s->width;
        same = same && now->height == s->height && now->width == s->width;
        s->channels = now->channels > s->channels ? now->channels : s->channels;
    }
    if (!same)
        s->height = s->width = 0;
    if (s->channels == 0)
        s->channels = 3; /* nothing could be read: the packing says so */
    free(looks);
    return status;
}

static void folder_fini(folder *f)
{
    for (uint32_t i = 0; i < f->source.images; i++)
        free(f->paths[i]);
    free(f->paths);
    free(f->labels);
    free(f->visited);
    names_fini(&f->classes);
}

static bool detect(const char *src)
{
    const folder f = {.source = {.path = src}};
    names entries;
    bool found = false;

    if (list_directory(&f, src, &entries, NULL) != NAS_OK) {
        names_fini(&entries);
        return true; /* the import says what is wrong */
    }
    for (int i = 0; i < entries.count && !found; i++) {
        char *path = nas_path_join(src, entries.items[i]);

        found = path != NULL && nas_path_is_dir(path);
        free(path);
    }
    names_fini(&entries);
    return found;
}

static nas_status import_folders(const char *src, const char *out,
                                 const nas_import_options *options, nas_import_report *report,
                                 nas_err *err)
{
    folder f = {.source = {.path = src, .fetch = fetch}};
    nas_data__source *s = &f.source;
    nas_status status;

    s->user = &f;
    if ((status = find_images(&f, report, err)))
        goto done;
    s->classes = f.classes.count;
    s->class_names = (const char *const *)f.classes.items;
    s->labels = f.labels;
    if ((status = nas_data__source_check(s, err)) || (status = probe_all(&f, options, err)))
        goto done;
    report->ignored = f.ignored;
    status = nas_data__pack(s, out, options, &report->images, &report->skipped, err);
done:
    folder_fini(&f);
    return status;
}

const nas_data__format nas_data__folders = {"image folders", detect, import_folders};

/* Batches: jobs with the same needs, one array of Slurm. */
#include "search/jobs/cluster_batch.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"

void nas_jobs__start_fini(nas_jobs__start *s)
{
    nas_job_free(s->job);
    json_decref(s->words);
    free(s->why);
}

static char *own_path(void)
{
    char path[4096];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);

    if (size < 0)
        return NULL;
    path[size] = '\0';
    return strdup(path);
}

static char *absolute_path(const char *path)
{
    char *found = realpath(path, NULL), *here = NULL;

    if (found || *path == '/')
        return found ? found : strdup(path);
    here = getcwd(NULL, 0);
    if (here)
        found = nas_path_join(here, path);
    free(here);
    return found;
}

nas_status nas_jobs__batcher_init(nas_jobs__batcher *b, const char *dir,
                                  const nas_cluster_options *options, nas_err *err)
{
    *b = (nas_jobs__batcher){.options = options, .store_dir = absolute_path(dir)};
    if (!b->store_dir)
        return nas_fail_errno(err, "%s", dir);
    b->program = own_path();
    return b->program ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "path of this program");
}

void nas_jobs__batcher_fini(nas_jobs__batcher *b)
{
    free(b->store_dir);
    free(b->program);
}

/* ---- files ---- */

void nas_jobs__batch_name(nas_jobs__batcher *b, char out[NAS_STORE_NAME_SIZE])
{
    char digest[NAS_DIGEST_SIZE];

    nas_digest(b->store_dir, strlen(b->store_dir), digest);
    snprintf(out, NAS_STORE_NAME_SIZE, "nas-%.8s-%" PRId64 "-%" PRId64, digest, b->loop,
             ++b->count);
}

char *nas_jobs__batch_path(const nas_jobs__batcher *b, const char *name, const char *ending)
{
    char *path = NULL;

    return asprintf(&path, "%s/spool/batches/%s%s", b->store_dir, name, ending) < 0 ? NULL : path;
}

static nas_status make_script(const nas_jobs__batcher *b, const char *name, int count, int cores,
                              int64_t memory_mib, char **script, nas_err *err)
{
    char *batch = nas_jobs__batch_path(b, name, ".json");
    char *log = nas_jobs__batch_path(b, name, ".log");
    const nas_slurm_array array = {.name = name, .count = count, .cores = cores,
                                   .memory_mib = memory_mib, .program = b->program,
                                   .batch = batch, .log = log};
    const nas_status status = batch && log
                                  ? nas_slurm_script(script, &b->options->slurm, &array, err)
                                  : nas_fail(err, NAS_E_NOMEM, "script");
    free(log);
    free(batch);
    return status;
}

static json_t *batch_json(const nas_jobs__batcher *b, const nas_jobs__start *s, int count)
{
    json_t *tasks = json_array();

    for (int i = 0; i < count; i++)
        json_array_append_new(
            tasks, json_pack("{s:I, s:I, s:s, s:s, s:i, s:I, s:I, s:O}", "job",
                             (json_int_t)s[i].job->id, "attempt", (json_int_t)s[i].attempt, "name",
                             s[i].job->name, "folder", s[i].job->folder, "cores", s[i].job->cores,
                             "time_limit_s", (json_int_t)s[i].job->time_limit_s, "hang_limit_s",
                             (json_int_t)s[i].job->hang_limit_s, "words", s[i].words));
    return json_pack("{s:s, s:I, s:I, s:o}", "store", b->store_dir, "grace_ms",
                     (json_int_t)b->options->grace_ms, "log_bytes",
                     (json_int_t)b->options->log_bytes, "tasks", tasks);
}

/* The files of an array; the script can also be submitted by hand. */
nas_status nas_jobs__batch_write(const nas_jobs__batcher *b, const char *name,
                                 const nas_jobs__start *s, int count, nas_err *err)
{
    char *batch = nas_jobs__batch_path(b, name, ".json");
    char *path = nas_jobs__batch_path(b, name, ".sh"), *script = NULL;
    json_t *json = batch_json(b, s, count);
    nas_status status = batch && path && json ? NAS_OK
                                              : nas_fail(err, NAS_E_NOMEM, "batch %s", name);

    if (!status &&
        !(status = make_script(b, name, count, s->job->cores, s->job->memory_mib, &script, err)) &&
        !(status = nas_json_save(json, batch, err)))
        status = nas_file_write(path, script, strlen(script), err);
    json_decref(json);
    free(script);
    free(path);
    free(batch);
    return status;
}

/* Jobs of one array have the same needs and the same sweep. */
static bool alike(const nas_jobs__start *a, const nas_jobs__start *b)
{
    return a->words && b->words && a->job->cores == b->job->cores &&
           a->job->memory_mib == b->job->memory_mib && strcmp(a->job->group, b->job->group) == 0;
}

static int by_needs(const void *a, const void *b)
{
    const nas_jobs__start *x = a, *y = b;
    const int group = strcmp(x->job->group, y->job->group);

    if ((x->words != NULL) != (y->words != NULL))
        return x->words ? -1 : 1;
    if (x->job->cores != y->job->cores)
        return x->job->cores - y->job->cores;
    if (x->job->memory_mib != y->job->memory_mib)
        return x->job->memory_mib < y->job->memory_mib ? -1 : 1;
    return group ? group : (x->job->id > y->job->id) - (x->job->id < y->job->id);
}

void nas_jobs__batch_sort(nas_jobs__start *starts, int count)
{
    if (count > 0)
        qsort(starts, (size_t)count, sizeof *starts, by_needs);
}

int nas_jobs__batch_size(const nas_jobs__batcher *b, const nas_jobs__start *starts, int count)
{
    int size = 1;

    while (size < count && size < b->options->array_max && alike(&starts[0], &starts[size]))
        size++;
    return size;
}

/* ---- before it is submitted ---- */

/* As by_needs, for jobs that have no id yet. */
static int spec_order(const void *a, const void *b)
{
    const nas_job_spec *x = *(const nas_job_spec *const *)a, *y = *(const nas_job_spec *const *)b;

    if (x->cores != y->cores)
        return x->cores - y->cores;
    if (x->memory_mib != y->memory_mib)
        return x->memory_mib < y->memory_mib ? -1 : 1;
    return strcmp(x->group ? x->group : "", y->group ? y->group : "");
}

/* The next array from `*from` on, of specs that are sorted by their needs. */
static nas_status preview_array(nas_jobs__batcher *b, const nas_job_spec *const *specs, int count,
                                int *from, FILE *out, nas_err *err)
{
    const nas_job_spec *first = specs[*from];
    char name[NAS_STORE_NAME_SIZE], *script = NULL;
    int to = *from + 1;

    while (to < count && to - *from < b->options->array_max && spec_order(&specs[to], &first) == 0)
        to++;
    nas_jobs__batch_name(b, name);
    const nas_status status = make_script(b, name, to - *from, first->cores, first->memory_mib,
                                          &script, err);
    if (!status)
        fputs(script, out);
    free(script);
    *from = to;
    return status;
}

nas_status nas_cluster_preview(nas_store *store, const char *dir,
                               const nas_cluster_options *options, const nas_job_spec *specs,
                               int count, char **scripts, nas_err *err)
{
    nas_jobs__batcher b = {0};
    const nas_job_spec **sorted = calloc((size_t)count, sizeof *sorted);
    size_t size;
    int ready = 0;
    nas_job_loop loop = {0};
    FILE *out = open_memstream(scripts, &size);
    nas_status status = sorted && out ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "scripts");

    if (!status && !(status = nas_jobs__batcher_init(&b, dir, options, err)) && store)
        status = nas_store_loop_get(store, &loop, err);
    for (int i = 0; i < count && !status; i++)
        if (specs[i].need_count == 0)
            sorted[ready++] = &specs[i];
    if (ready > 0)
        qsort(sorted, (size_t)ready, sizeof *sorted, spec_order);
    b.loop = status ? 0 : loop.number + 1;
    for (int from = 0; from < ready && !status;)
        status = preview_array(&b, sorted, ready, &from, out, err);
    if (out && (ferror(out) | fclose(out)) != 0 && !status)
        status = nas_fail(err, NAS_E_NOMEM, "scripts");
    free(sorted);
    nas_jobs__batcher_fini(&b);
    return status;
}

/* ---- after the end ---- */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
    return remove(path);
}

void nas_jobs__spool_remove(nas_store *store, int64_t job)
{
    char *path = nas_store_spool_path(store, job, 0, NULL);

    if (path) {
        *strrchr(path, '/') = '\0';
        nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
    free(path);
}

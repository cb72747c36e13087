/* Every write is a record; what is read comes from a fold over the records of all attempts. */
#include "search/store/remote.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "search/store/spool.h"

enum { KEEP_LAST = 2 /* checkpoints, beside the best */ };

typedef struct remote_file {
    nas_store_artifact artifact; /* `id` is its place in the order of writing */
    int64_t attempt;             /* in whose directory it is                 */
} remote_file;

typedef struct remote_run {
    nas_store_run run;
    remote_file *files;
    int file_count;
} remote_run;

struct nas_store__remote {
    nas_spool *spool;
    char *job_dir;
    int64_t job, attempt;
    int64_t reading; /* the attempt whose records are being folded */
    remote_run *runs;
    int run_count;
    char (*digests)[NAS_DIGEST_SIZE]; /* ids of architectures and tables are places in it */
    int digest_count;
    int64_t files_seen;
};

/* ---- the fold ---- */

static remote_run *run_of(const nas_store__remote *r, int64_t number)
{
    return number >= 1 && number <= r->run_count ? &r->runs[number - 1] : NULL;
}

static remote_run *run_of_record(const nas_store__remote *r, const json_t *record)
{
    return run_of(r, json_integer_value(json_object_get(record, "run")));
}

static const char *text_of(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));

    return text ? text : "";
}

static nas_status fold_begin(nas_store__remote *r, const json_t *record, nas_err *err)
{
    if (json_integer_value(json_object_get(record, "run")) != r->run_count + 1)
        return NAS_OK; /* not ours to judge: the loop refuses it */
    const nas_status status =
        nas_store__grow((void **)&r->runs, r->run_count, sizeof *r->runs, err);
    if (status)
        return status;
    remote_run *added = &r->runs[r->run_count];
    *added = (remote_run){.run = {.id = r->run_count + 1, .attempt = 1, .step = -1, .epoch = -1,
                                  .state = NAS_STORE_RUNNING,
                                  .seed = strtoull(text_of(record, "seed"), NULL, 10),
                                  .threads = (int)json_integer_value(
                                      json_object_get(record, "threads"))}};
    snprintf(added->run.kind, sizeof added->run.kind, "%s", text_of(record, "kind"));
    snprintf(added->run.name, sizeof added->run.name, "%s", text_of(record, "name"));
    snprintf(added->run.version, sizeof added->run.version, "%s", text_of(record, "version"));
    snprintf(added->run.config_digest, sizeof added->run.config_digest, "%s",
             text_of(record, "digest"));
    if (!(added->run.config = strdup(text_of(record, "config"))))
        return nas_fail(err, NAS_E_NOMEM, "spool: a run");
    r->run_count++;
    return NAS_OK;
}

static nas_status fold_claim(nas_store__remote *r, const json_t *record, nas_err *err)
{
    remote_run *run = run_of_record(r, record);

    if (run) {
        run->run.attempt++;
        run->run.state = NAS_STORE_RUNNING;
    }
    return NAS_OK;
}

static nas_status fold_finish(nas_store__remote *r, const json_t *record, nas_err *err)
{
    remote_run *run = run_of_record(r, record);

    for (int s = 0; run && s < NAS_STORE_ANY_STATE; s++)
        if (strcmp(text_of(record, "state"), nas_store_state_name(s)) == 0)
            run->run.state = s;
    return NAS_OK;
}

static void forget_file(remote_run *run, int index)
{
    memmove(run->files + index, run->files + index + 1,
            (size_t)(run->file_count - index - 1) * sizeof *run->files);
    run->file_count--;
}

/* Which checkpoint retention drops, -1: none; called after each that is added. */
static int to_drop(const remote_run *run)
{
    int last = 0, best = -1, oldest = -1;

    for (int i = 0; i < run->file_count; i++) {
        const nas_store_artifact *a = &run->files[i].artifact;

        if (strcmp(a->kind, "checkpoint") == 0 && !isnan(a->score) &&
            (best < 0 || a->score > run->files[best].artifact.score))
            best = i;
    }
    for (int i = run->file_count - 1; i >= 0; i--)
        if (strcmp(run->files[i].artifact.kind, "checkpoint") == 0 && ++last > KEEP_LAST &&
            i != best)
            oldest = i;
    return oldest;
}

static nas_status fold_file(nas_store__remote *r, const json_t *record, nas_err *err)
{
    remote_run *run = run_of_record(r, record);
    const char *file = text_of(record, "file");
    const json_t *score = json_object_get(record, "score");
    nas_status status;

    if (!run || nas_store_name_check(file, "file", NULL))
        return NAS_OK;
    for (int i = run->file_count - 1; i >= 0; i--)
        if (strcmp(run->files[i].artifact.file, file) == 0)
            forget_file(run, i);
    if ((status = nas_store__grow((void **)&run->files, run->file_count, sizeof *run->files, err)))
        return status;
    remote_file *added = &run->files[run->file_count++];
    nas_store_artifact *a = &added->artifact;
    *added = (remote_file){
        .attempt = r->reading,
        .artifact = {.id = ++r->files_seen, .run = run->run.id,
                     .step = json_integer_value(json_object_get(record, "step")),
                     .bytes = json_integer_value(json_object_get(record, "bytes")),
                     .score = json_is_number(score) ? json_number_value(score) : NAN}};
    snprintf(a->kind, sizeof a->kind, "%s", text_of(record, "kind"));
    snprintf(a->file, sizeof a->file, "%s", file);
    snprintf(a->digest, sizeof a->digest, "%s", text_of(record, "digest"));
    snprintf(a->path, sizeof a->path, "runs/%" PRId64 "/%s", run->run.id, a->file);
    return NAS_OK;
}

static nas_status fold(void *user, const json_t *record, nas_err *err)
{
    static const struct {
        const char *op;
        nas_status (*apply)(nas_store__remote *r, const json_t *record, nas_err *err);
    } ops[] = {{"begin", fold_begin}, {"claim", fold_claim}, {"finish", fold_finish},
               {"file", fold_file}};
    const char *op = text_of(record, "op");

    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (strcmp(op, ops[i].op) == 0)
            return ops[i].apply(user, record, err);
    return NAS_OK;
}

/* While folding earlier attempts, files that they dropped are only forgotten. */
static void drop_checkpoints(nas_store__remote *r, const char *dir, int64_t number)
{
    remote_run *run = run_of(r, number);

    for (int i; run && (i = to_drop(run)) >= 0; forget_file(run, i)) {
        char *path = dir ? nas_path_join(dir, run->files[i].artifact.path) : NULL;

        if (path && unlink(path) && errno != ENOENT)
            nas_log(NAS_LOG_WARN, "%s: could not be removed: %s", path, strerror(errno));
        free(path);
    }
}

/* ---- opening ---- */

/* The number that a path component is; 0 if it is none. */
static int64_t number_of(const char *text)
{
    char *end;
    const long long number = *text >= '1' && *text <= '9' ? strtoll(text, &end, 10) : 0;

    return number > 0 && number < INT64_MAX && *end == '\0' ? number : 0;
}

/* Splits ".../<job>/<attempt>". */
static nas_status take_numbers(nas_store__remote *r, const char *dir, nas_err *err)
{
    char *slash = NULL;

    if (!(r->job_dir = realpath(dir, NULL)))
        return nas_fail_errno(err, "spool %s", dir);
    if ((slash = strrchr(r->job_dir, '/'))) {
        r->attempt = number_of(slash + 1);
        *slash = '\0';
        r->job = (slash = strrchr(r->job_dir, '/')) ? number_of(slash + 1) : 0;
    }
    return r->job && r->attempt
               ? NAS_OK : nas_fail(err, NAS_E_USAGE, "%s: not the spool of an attempt", dir);
}

/* Reads what earlier attempts recorded; of a damaged spool what is whole. */
static nas_status read_earlier(nas_store__remote *r, nas_err *err)
{
    nas_status status = NAS_OK;

    for (r->reading = 1; r->reading < r->attempt && !status; r->reading++) {
        char *path = NULL;
        nas_spool_place place = {0};

        if (asprintf(&path, "%s/%" PRId64 "/records", r->job_dir, r->reading) < 0)
            return nas_fail(err, NAS_E_NOMEM, "spool");
        nas_err why = {0};
        status = nas_spool_read(path, r->job, r->reading, 0, &place, fold, r, &why);
        if (status == NAS_E_DATA) {
            nas_log(NAS_LOG_WARN, "%s; what comes before it is used", why.message);
            status = NAS_OK;
        } else if (status && err) {
            *err = why;
        }
        free(path);
    }
    return status;
}

/* The checkpoints of earlier attempts become ours, too: their owner may still live and remove
 * them.  One that is gone already is forgotten. */
static nas_status link_earlier(nas_store__remote *r, const char *dir, nas_err *err)
{
    for (int k = 0; k < r->run_count; k++) {
        remote_run *run = &r->runs[k];

        drop_checkpoints(r, NULL, k + 1);
        for (int i = run->file_count - 1; i >= 0; i--) {
            const remote_file *f = &run->files[i];
            char *from = NULL, *to = nas_path_join(dir, f->artifact.path);
            bool fine = strcmp(f->artifact.kind, "checkpoint") == 0 && f->attempt < r->attempt;

            if (!to || asprintf(&from, "%s/%" PRId64 "/%s", r->job_dir, f->attempt,
                                f->artifact.path) < 0) {
                free(to);
                return nas_fail(err, NAS_E_NOMEM, "spool");
            }
            fine = fine && (link(from, to) == 0 || errno == EEXIST);
            free(from);
            free(to);
            if (!fine && f->attempt < r->attempt)
                forget_file(run, i);
        }
    }
    return NAS_OK;
}

static nas_status make_run_dir(const char *dir, int64_t number, nas_err *err)
{
    char *path = NULL;

    if (asprintf(&path, "%s/runs/%" PRId64, dir, number) < 0)
        return nas_fail(err, NAS_E_NOMEM, "spool");
    const nas_status status = nas_dir_make(path, err);
    free(path);
    return status;
}

nas_status nas_store__remote_open(nas_store *store, const char *dir, nas_err *err)
{
    nas_store__remote *r = calloc(1, sizeof *r);
    char *path = nas_path_join(dir, "records");
    nas_status status = r && path ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "spool %s", dir);

    store->remote = r;
    if (status || (status = take_numbers(r, dir, err)) || (status = read_earlier(r, err)))
        goto done;
    for (int k = 1; k <= r->run_count && !status; k++)
        status = make_run_dir(dir, k, err);
    if (!status && !(status = link_earlier(r, dir, err)))
        status = nas_spool_open(&r->spool, path, r->job, r->attempt, fold, r, err);
done:
    free(path);
    return status;
}

void nas_store__remote_close(nas_store__remote *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->run_count; i++) {
        free(r->runs[i].run.config);
        free(r->runs[i].files);
    }
    nas_spool_close(r->spool);
    free(r->runs);
    free(r->digests);
    free(r->job_dir);
    free(r);
}

/* ---- writing ---- */

static nas_status put(nas_store *store, json_t *record, bool sync, nas_err *err)
{
    nas_store__remote *r = store->remote;
    const int64_t latest = nas_spool_latest_attempt(r->job_dir);
    nas_status status;

    if (latest > r->attempt) {
        json_decref(record);
        return nas_fail(err, NAS_E_FAIL, "job %" PRId64 ": attempt %" PRId64 " was superseded by "
                        "attempt %" PRId64, r->job, r->attempt, latest);
    }
    if (!(status = nas_spool_put(r->spool, json_incref(record), sync, err)))
        status = fold(r, record, err);
    json_decref(record);
    return status;
}

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

nas_status nas_store__remote_run_begin(nas_store *store, const nas_store_run_spec *spec,
                                       nas_store_attempt *out, nas_err *err)
{
    nas_store__remote *r = store->remote;
    const int64_t number = r->run_count + 1;
    char name[NAS_STORE_NAME_SIZE], seed[32];
    nas_status status = make_run_dir(store->dir, number, err);

    if (status)
        return status;
    /* As the store would do it, a name is made up; here from the job, whose id is known. */
    if (spec->name)
        snprintf(name, sizeof name, "%s", spec->name);
    else
        snprintf(name, sizeof name, number > 1 ? "%.30s-job%" PRId64 ".%" PRId64
                                               : "%.30s-job%" PRId64, spec->kind, r->job, number);
    snprintf(seed, sizeof seed, "%" PRIu64, spec->seed);
    status = put(store, json_pack("{s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "op", "begin",
                                  "run", (json_int_t)number, "parent", (json_int_t)spec->parent,
                                  "kind", spec->kind, "name", name,
                                  "config", spec->config ? spec->config : "{}", "digest",
                                  spec->config_digest ? spec->config_digest : "", "version",
                                  spec->version ? spec->version : "", "seed", seed, "threads",
                                  spec->threads),
                 true, err);
    if (!status)
        *out = (nas_store_attempt){.run = number, .number = 1};
    return status;
}

nas_status nas_store__remote_run_claim(nas_store *store, int64_t run, nas_store_attempt *out,
                                       nas_err *err)
{
    nas_status status;

    if (!run_of(store->remote, run))
        return nas_fail(err, NAS_E_USAGE, "there is no run %" PRId64, run);
    status = put(store, json_pack("{s:s, s:I}", "op", "claim", "run", (json_int_t)run), true, err);
    if (!status)
        *out = (nas_store_attempt){run, run_of(store->remote, run)->run.attempt};
    return status;
}

nas_status nas_store__remote_run_finish(nas_store *store, nas_store_attempt attempt,
                                        nas_store_state state, const char *summary,
                                        const char *error, nas_err *err)
{
    return put(store, json_pack("{s:s, s:I, s:s, s:s?, s:s?}", "op", "finish", "run",
                                (json_int_t)attempt.run, "state", nas_store_state_name(state),
                                "summary", summary, "error", error),
               true, err);
}

nas_status nas_store__remote_progress(nas_store *store, nas_store_attempt attempt, int64_t step,
                                      int64_t epoch, const nas_store_metric *metrics, int count,
                                      nas_err *err)
{
    json_t *values = json_object();

    for (int i = 0; i < count; i++)
        json_object_set_new(values, metrics[i].name, real(metrics[i].value));
    return put(store, json_pack("{s:s, s:I, s:I, s:I, s:o}", "op", "progress", "run",
                                (json_int_t)attempt.run, "step", (json_int_t)step, "epoch",
                                (json_int_t)epoch, "metrics", values),
               false, err);
}

nas_status nas_store__remote_probabilities(nas_store *store, nas_store_attempt attempt,
                                           int64_t epoch, int slots, const int *counts,
                                           const double *p, nas_err *err)
{
    json_t *sizes = json_array(), *values = json_array();

    for (int s = 0; s < slots; s++) {
        json_array_append_new(sizes, json_integer(counts[s]));
        for (int c = 0; c < counts[s]; c++)
            json_array_append_new(values, real(*p++));
    }
    return put(store, json_pack("{s:s, s:I, s:I, s:o, s:o}", "op", "probabilities", "run",
                                (json_int_t)attempt.run, "epoch", (json_int_t)epoch, "counts",
                                sizes, "p", values),
               false, err);
}

/* What an architecture or a table is called here; later records name it by its digest. */
static nas_status remember(nas_store__remote *r, const char *digest, int64_t *id, nas_err *err)
{
    const nas_status status =
        nas_store__grow((void **)&r->digests, r->digest_count, sizeof *r->digests, err);

    if (status)
        return status;
    snprintf(r->digests[r->digest_count++], NAS_DIGEST_SIZE, "%s", digest);
    if (id)
        *id = r->digest_count;
    return NAS_OK;
}

static const char *digest_of(const nas_store__remote *r, int64_t id)
{
    return id >= 1 && id <= r->digest_count ? r->digests[id - 1] : "";
}

nas_status nas_store__remote_architecture(nas_store *store,
                                          const nas_store_architecture *architecture, int64_t *id,
                                          nas_err *err)
{
    const nas_status status = put(
        store, json_pack("{s:s, s:s, s:s, s:s?, s:I, s:I}", "op", "architecture", "digest",
                         architecture->digest, "json", architecture->json, "space",
                         architecture->space, "macs", (json_int_t)architecture->macs, "parameters",
                         (json_int_t)architecture->parameters),
        false, err);

    return status ? status : remember(store->remote, architecture->digest, id, err);
}

nas_status nas_store__remote_evaluations(nas_store *store, nas_store_attempt attempt,
                                         const nas_store_evaluation *evaluations, int count,
                                         nas_err *err)
{
    json_t *list = json_array();

    for (int i = 0; i < count; i++) {
        const nas_store_evaluation *e = &evaluations[i];

        json_array_append_new(
            list, json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:b}", "architecture",
                            digest_of(store->remote, e->architecture), "source", e->source, "rank",
                            (json_int_t)e->rank, "latency_ms", real(e->latency_ms), "loss",
                            real(e->loss), "top1", real(e->top1), "top5", real(e->top5),
                            "selected", e->selected));
    }
    return put(store, json_pack("{s:s, s:I, s:o}", "op", "evaluations", "run",
                                (json_int_t)attempt.run, "list", list),
               false, err);
}

nas_status nas_store__remote_table(nas_store *store, const char *digest, const char *path,
                                   const char *device, const char *meta, const char *content,
                                   int64_t *id, nas_err *err)
{
    const nas_status status =
        put(store, json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:s}", "op", "table", "digest", digest,
                             "path", path && nas_store__is_utf8(path) ? path : NULL, "device",
                             device, "meta", meta, "content", content),
            false, err);

    return status ? status : remember(store->remote, digest, id, err);
}

nas_status nas_store__remote_run_table(nas_store *store, nas_store_attempt attempt, int64_t table,
                                       nas_err *err)
{
    return put(store, json_pack("{s:s, s:I, s:s}", "op", "run_table", "run",
                                (json_int_t)attempt.run, "table",
                                digest_of(store->remote, table)),
               false, err);
}

nas_status nas_store__remote_file(nas_store *store, nas_store_attempt attempt, const char *kind,
                                  const char *file, int64_t step, double score, int64_t bytes,
                                  const char *digest, nas_err *err)
{
    const nas_status status =
        put(store, json_pack("{s:s, s:I, s:s, s:s, s:I, s:o, s:I, s:s}", "op", "file", "run",
                             (json_int_t)attempt.run, "kind", kind, "file", file, "step",
                             (json_int_t)step, "score", real(score), "bytes", (json_int_t)bytes,
                             "digest", digest),
            true, err);

    if (!status)
        drop_checkpoints(store->remote, store->dir, attempt.run);
    return status;
}

/* ---- reading ---- */

static nas_status copy_run(const nas_store_run *run, nas_store_run **out, nas_err *err)
{
    *out = malloc(sizeof **out);
    if (*out) {
        **out = *run;
        (*out)->config = strdup(run->config);
    }
    if (*out && (*out)->config)
        return NAS_OK;
    nas_store_run_free(*out);
    *out = NULL;
    return nas_fail(err, NAS_E_NOMEM, "run %s", run->name);
}

nas_status nas_store__remote_run_get(nas_store *store, const char *text, nas_store_run **out,
                                     nas_err *err)
{
    const nas_store__remote *r = store->remote;

    *out = NULL;
    for (int i = 0; text && i < r->run_count; i++)
        if (strcmp(r->runs[i].run.name, text) == 0 || number_of(text) == i + 1)
            return copy_run(&r->runs[i].run, out, err);
    nas_fail(err, NAS_E_USAGE, "on a cluster a job sees the runs that it made itself, and none is "
             "'%.64s'", text ? text : "unfinished");
    nas_hint(err, "queue the command that began the run instead, or continue it where the store "
             "is");
    return NAS_E_USAGE;
}

nas_status nas_store__remote_job_run(nas_store *store, const char *kind, const char *config_digest,
                                     nas_store_run **out, nas_err *err)
{
    const nas_store__remote *r = store->remote;

    *out = NULL;
    for (int i = r->run_count - 1; i >= 0; i--)
        if (strcmp(r->runs[i].run.kind, kind) == 0 &&
            strcmp(r->runs[i].run.config_digest, config_digest) == 0)
            return copy_run(&r->runs[i].run, out, err);
    return NAS_OK;
}

nas_status nas_store__remote_file_list(nas_store *store, int64_t run, const char *kind,
                                       nas_store_artifact **out, int *count, nas_err *err)
{
    const remote_run *found = run_of(store->remote, run);

    *out = NULL;
    *count = 0;
    for (int i = found ? found->file_count - 1 : -1; i >= 0; i--) {
        const nas_store_artifact *a = &found->files[i].artifact;
        nas_status status;

        if (kind && strcmp(a->kind, kind) != 0)
            continue;
        if ((status = nas_store__grow((void **)out, *count, sizeof **out, err))) {
            free(*out);
            *out = NULL;
            *count = 0;
            return status;
        }
        (*out)[(*count)++] = *a;
    }
    return NAS_OK;
}

/* Takes the spool of an attempt into the database: each chunk of records is one transaction
 * with the place that was reached, so that every record counts exactly once. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "search/store/private.h"
#include "search/store/spool.h"

enum {
    CHUNK_BYTES = 4 << 20,
    MAX_SLOTS = 4096, /* of one record of probabilities */
    MAX_LIST = 100000 /* metrics, evaluations ... of one record */
};

typedef struct intake {
    nas_store *store;
    int64_t job, attempt;
    nas_store_taken *taken;
} intake;

char *nas_store_spool_path(const nas_store *store, int64_t job, int64_t attempt, const char *file)
{
    char *path = NULL;

    if (asprintf(&path, "%s/spool/%" PRId64 "/%" PRId64 "%s%s", store->dir, job, attempt,
                 file ? "/" : "", file ? file : "") < 0)
        return NULL;
    return path;
}

/* ---- reading a record ---- */

static nas_status bad(const char *key, nas_err *err)
{
    return nas_fail(err, NAS_E_DATA, "its '%s' makes no sense", key);
}

static nas_status get_int(const json_t *record, const char *key, int64_t *out, nas_err *err)
{
    const json_t *value = json_object_get(record, key);

    *out = json_integer_value(value);
    return json_is_integer(value) ? NAS_OK : bad(key, err);
}

/* `*out` is NULL if it is null or not there, and `needed` is false. */
static nas_status get_text(const json_t *record, const char *key, bool needed, const char **out,
                           nas_err *err)
{
    const json_t *value = json_object_get(record, key);

    *out = json_string_value(value);
    if (*out ? json_string_length(value) > NAS_STORE_TEXT_MAX
             : needed || (value && !json_is_null(value)))
        return bad(key, err);
    return NAS_OK;
}

static double get_real(const json_t *record, const char *key)
{
    const json_t *value = json_object_get(record, key);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* The store's run for a record's, and the attempt that this job's attempt has of it. */
static nas_status get_run(const intake *in, const json_t *record, nas_store_attempt *out,
                          nas_err *err)
{
    static const char what[] = "look for the run of a record";
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    int64_t number;
    nas_status status = get_int(record, "run", &number, err);

    *out = (nas_store_attempt){0};
    if (status || (status = nas_store__query(in->store, &stmt, what, err, "SELECT run, attempt "
                                             "FROM job_run WHERE job = ? AND number = ?", "ii",
                                             in->job, number)))
        return status;
    if (!(status = nas_store__step(stmt, what, &row, err))) {
        if (row)
            *out = (nas_store_attempt){sqlite3_column_int64(stmt, 0),
                                       sqlite3_column_int64(stmt, 1)};
        else
            status = nas_fail(err, NAS_E_DATA, "there is no run %" PRId64 " of job %" PRId64
                              " (any more)", number, in->job);
    }
    sqlite3_finalize(stmt);
    return status;
}

/* ---- applying: one function an operation ---- */

static nas_status note_run(const intake *in, int64_t number, nas_store_attempt attempt,
                           nas_err *err)
{
    return nas_store__exec(in->store, "note the run of a job", err,
                           "INSERT OR REPLACE INTO job_run (job, number, run, attempt) "
                           "VALUES (?, ?, ?, ?)", "iiii", in->job, number, attempt.run,
                           attempt.number);
}

static nas_status apply_begin(const intake *in, const json_t *record, nas_err *err)
{
    nas_store_run_spec spec = {0};
    nas_store_attempt attempt;
    const char *seed;
    int64_t number, threads, known = 0;
    nas_status status;

    if ((status = get_int(record, "run", &number, err)) ||
        (status = get_text(record, "kind", true, &spec.kind, err)) ||
        (status = get_text(record, "name", true, &spec.name, err)) ||
        (status = get_text(record, "config", true, &spec.config, err)) ||
        (status = get_text(record, "digest", true, &spec.config_digest, err)) ||
        (status = get_text(record, "version", true, &spec.version, err)) ||
        (status = get_text(record, "seed", true, &seed, err)) ||
        (status = get_int(record, "threads", &threads, err)) ||
        (status = nas_store__int(in->store, "count the runs of a job", &known, err,
                                 "SELECT coalesce(max(number), 0) FROM job_run WHERE job = ?", "i",
                                 in->job)))
        return status;
    /* a run that this one starts from is another of the same job; one that is gone is forgotten */
    if ((status = nas_store__int(in->store, "look for the parent of a run", &spec.parent, err,
                                 "SELECT run FROM job_run WHERE job = ? AND number = ?", "ii",
                                 in->job,
                                 json_integer_value(json_object_get(record, "parent")))))
        return status;
    if (number <= known || threads < 0 || threads > 1 << 20)
        return bad(number <= known ? "run" : "threads", err);
    spec.seed = strtoull(seed, NULL, 10);
    spec.threads = (int)threads;
    if ((status = nas_store_run_begin(in->store, &spec, &attempt, err)) == NAS_E_USAGE) {
        spec.name = NULL; /* taken meanwhile: it could not be seen from there */
        status = nas_store_run_begin(in->store, &spec, &attempt, err);
    }
    return status ? status : note_run(in, number, attempt, err);
}

static nas_status apply_claim(const intake *in, const json_t *record, nas_err *err)
{
    nas_store_attempt attempt;
    int64_t number = 0;
    nas_status status;

    if ((status = get_int(record, "run", &number, err)) ||
        (status = get_run(in, record, &attempt, err)) ||
        (status = nas_store_run_claim(in->store, attempt.run, &attempt, err)))
        return status;
    return note_run(in, number, attempt, err);
}

static nas_status apply_progress(const intake *in, const json_t *record, nas_err *err)
{
    json_t *metrics = json_object_get(record, "metrics"), *value;
    const size_t size = json_object_size(metrics);
    nas_store_metric *list = NULL;
    nas_store_attempt attempt;
    const char *name;
    int64_t step, epoch;
    int count = 0;
    nas_status status;

    if ((status = get_run(in, record, &attempt, err)) ||
        (status = get_int(record, "step", &step, err)) ||
        (status = get_int(record, "epoch", &epoch, err)))
        return status;
    if (size > MAX_LIST)
        return bad("metrics", err);
    if (!(list = calloc(size + 1, sizeof *list)))
        return nas_fail(err, NAS_E_NOMEM, "a record");
    json_object_foreach(metrics, name, value)
        list[count++] = (nas_store_metric){name, get_real(metrics, name)};
    status = nas_store_progress(in->store, attempt, step, epoch, list, count, err);
    free(list);
    return status;
}

static nas_status apply_probabilities(const intake *in, const json_t *record, nas_err *err)
{
    const json_t *counts = json_object_get(record, "counts"), *p = json_object_get(record, "p");
    const size_t slots = json_array_size(counts), size = json_array_size(p);
    nas_store_attempt attempt;
    size_t total = 0;
    int64_t epoch;
    nas_status status;

    if ((status = get_run(in, record, &attempt, err)) ||
        (status = get_int(record, "epoch", &epoch, err)))
        return status;
    if (slots > MAX_SLOTS || size > MAX_LIST)
        return bad("counts", err);
    int *sizes = calloc(slots + 1, sizeof *sizes);
    double *values = calloc(size + 1, sizeof *values);
    if (!sizes || !values)
        status = nas_fail(err, NAS_E_NOMEM, "a record");
    for (size_t s = 0; s < slots && !status; s++) {
        const json_int_t count = json_integer_value(json_array_get(counts, s));

        if (count < 0 || (size_t)count > size - total)
            status = bad("counts", err);
        else
            total += (size_t)(sizes[s] = (int)count);
    }
    if (!status && total != size)
        status = bad("p", err);
    for (size_t i = 0; i < size && !status; i++) {
        const json_t *value = json_array_get(p, i);

        values[i] = json_is_number(value) ? json_number_value(value) : NAN;
    }
    if (!status)
        status = nas_store_probabilities_put(in->store, attempt, epoch, (int)slots, sizes, values,
                                             err);
    free(values);
    free(sizes);
    return status;
}

static nas_status apply_architecture(const intake *in, const json_t *record, nas_err *err)
{
    nas_store_architecture a = {0};
    nas_status status;

    if ((status = get_text(record, "digest", true, &a.digest, err)) ||
        (status = get_text(record, "json", true, &a.json, err)) ||
        (status = get_text(record, "space", false, &a.space, err)) ||
        (status = get_int(record, "macs", &a.macs, err)) ||
        (status = get_int(record, "parameters", &a.parameters, err)))
        return status;
    return nas_store_architecture_put(in->store, &a, NULL, err);
}

static nas_status id_of(const intake *in, const char *sql, const json_t *record, const char *key,
                        int64_t *out, nas_err *err)
{
    const char *digest;
    nas_status status = get_text(record, key, true, &digest, err);

    *out = 0;
    if (status || (status = nas_store__int(in->store, "look for a digest", out, err, sql, "t",
                                           digest)))
        return status;
    return *out ? NAS_OK : bad(key, err);
}

static nas_status apply_evaluations(const intake *in, const json_t *record, nas_err *err)
{
    const json_t *list = json_object_get(record, "list"), *item;
    nas_store_attempt attempt;
    size_t i;
    nas_status status = get_run(in, record, &attempt, err);

    if (!status && json_array_size(list) > MAX_LIST)
        status = bad("list", err);
    nas_store_evaluation *all =
        status ? NULL : calloc(json_array_size(list) + 1, sizeof *all);
    if (!status && !all)
        status = nas_fail(err, NAS_E_NOMEM, "a record");
    json_array_foreach(list, i, item) {
        if (status)
            break;
        all[i] = (nas_store_evaluation){
            .latency_ms = get_real(item, "latency_ms"), .loss = get_real(item, "loss"),
            .top1 = get_real(item, "top1"), .top5 = get_real(item, "top5"),
            .selected = json_is_true(json_object_get(item, "selected"))};
        if (!(status = id_of(in, "SELECT id FROM architecture WHERE digest = ?", item,
                             "architecture", &all[i].architecture, err)) &&
            !(status = get_text(item, "source", true, &all[i].source, err)))
            status = get_int(item, "rank", &all[i].rank, err);
    }
    if (!status)
        status = nas_store_evaluations_put(in->store, attempt, all, (int)json_array_size(list),
                                           err);
    free(all);
    return status;
}

static nas_status apply_table(const intake *in, const json_t *record, nas_err *err)
{
    const char *digest, *path, *device, *meta, *content;
    nas_status status;

    if ((status = get_text(record, "digest", true, &digest, err)) ||
        (status = get_text(record, "path", false, &path, err)) ||
        (status = get_text(record, "device", false, &device, err)) ||
        (status = get_text(record, "meta", false, &meta, err)) ||
        (status = get_text(record, "content", true, &content, err)))
        return status;
    return nas_store_table_put(in->store, digest, path, device, meta, content, NULL, err);
}

static nas_status apply_run_table(const intake *in, const json_t *record, nas_err *err)
{
    nas_store_attempt attempt;
    int64_t table;
    nas_status status;

    if ((status = get_run(in, record, &attempt, err)) ||
        (status = id_of(in, "SELECT id FROM latency_table WHERE digest = ?", record, "table",
                        &table, err)))
        return status;
    return nas_store_run_table(in->store, attempt, table, err);
}

/* ---- files ---- */

static bool is_plain(const char *path, int64_t bytes)
{
    struct stat info;

    return lstat(path, &info) == 0 && S_ISREG(info.st_mode) && (int64_t)info.st_size == bytes;
}

static void sync_folder(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        fsync(fd); /* at worst the file is missing after a power cut, and verify says so */
        close(fd);
    }
}

/* Makes the file `from` the run's, too.  NAS_E_DATA if it is not a plain file of that size. */
static nas_status link_file(const intake *in, char *from, nas_store_attempt run,
                            const char *file, int64_t bytes, nas_err *err)
{
    char *to = nas_store_path(in->store, run.run, file), *part = NULL;
    char *folder = nas_store_path(in->store, run.run, NULL);
    nas_status status = NAS_OK;

    if (!to || !folder || asprintf(&part, "%s.part", to) < 0) {
        part = NULL;
        status = nas_fail(err, NAS_E_NOMEM, "%s", file);
        goto done;
    }
    unlink(part); /* left when a loop died here */
    bool linked = link(from, part) == 0;
    if (!linked && errno == ENOENT) { /* a network file system may show it late: ask again */
        *strrchr(from, '/') = '\0';
        sync_folder(from);
        from[strlen(from)] = '/';
        linked = link(from, part) == 0;
    }
    if (!linked)
        status = errno == ENOENT ? nas_fail(err, NAS_E_DATA, "%s: there is no such file", from)
                                 : nas_fail_errno(err, "%s", from);
    else if (!is_plain(part, bytes))
        status = nas_fail(err, NAS_E_DATA, "%s: not a plain file of %" PRId64 " bytes", from,
                          bytes);
    else if (rename(part, to) != 0)
        status = nas_fail_errno(err, "%s", to);
    unlink(part); /* renaming onto another link of the same file leaves it */
    if (!status)
        sync_folder(folder);
done:
    free(part);
    free(folder);
    free(to);
    return status;
}

static nas_status check_digest(nas_store *store, nas_store_attempt run, const char *file,
                               const char *digest, int64_t bytes, nas_err *err)
{
    nas_store_artifact artifact = {.bytes = bytes};

    snprintf(artifact.path, sizeof artifact.path, "runs/%" PRId64 "/%s", run.run, file);
    snprintf(artifact.digest, sizeof artifact.digest, "%s", digest);
    return nas_store_artifact_check(store, &artifact, err);
}

static nas_status apply_file(const intake *in, const json_t *record, nas_err *err)
{
    const char *kind, *file, *digest;
    nas_store_attempt run;
    char *from = NULL;
    int64_t number = 0, step, bytes;
    nas_status status;

    if ((status = get_run(in, record, &run, err)) ||
        (status = get_int(record, "run", &number, err)) ||
        (status = get_text(record, "kind", true, &kind, err)) ||
        (status = get_text(record, "file", true, &file, err)) ||
        (status = get_text(record, "digest", true, &digest, err)) ||
        (status = get_int(record, "step", &step, err)) ||
        (status = get_int(record, "bytes", &bytes, err)) ||
        (status = nas_store_name_check(file, "file of a run", err)))
        return status;
    const bool checkpoint = strcmp(kind, "checkpoint") == 0;
    char *folder = nas_store_spool_path(in->store, in->job, in->attempt, NULL);
    if (!folder || asprintf(&from, "%s/runs/%" PRId64 "/%s", folder, number, file) < 0) {
        free(folder);
        return nas_fail(err, NAS_E_NOMEM, "%s", file);
    }
    free(folder);
    /* A checkpoint that is gone was dropped by its owner, which has newer ones. */
    if (!checkpoint || nas_path_exists(from)) {
        if (!(status = link_file(in, from, run, file, bytes, err)) &&
            !(status = check_digest(in->store, run, file, digest, bytes, err)))
            status = checkpoint ? nas_store_checkpoint(in->store, run, file, step,
                                                       get_real(record, "score"), err)
                                : nas_store_artifact_put(in->store, run, kind, file, step, err);
    }
    free(from);
    return status;
}

/* Paths of files in the spool, which goes, become those in the store. */
static nas_status move_paths(const intake *in, const char *summary, int64_t number, int64_t run,
                             char **out, nas_err *err)
{
    json_t *json = summary ? json_loads(summary, 0, NULL) : NULL, *value;
    char *folder = nas_store_spool_path(in->store, in->job, in->attempt, NULL);
    char *real = folder ? realpath(folder, NULL) : NULL, *prefix = NULL;
    const char *key;
    void *next;

    *out = NULL;
    if (real && asprintf(&prefix, "%s/runs/%" PRId64 "/", real, number) < 0)
        prefix = NULL;
    const size_t length = prefix ? strlen(prefix) : 0;
    json_object_foreach_safe(json, next, key, value) {
        const char *text = json_string_value(value);
        char *to = prefix && text && strncmp(text, prefix, length) == 0
                       ? nas_store_path(in->store, run, text + length) : NULL;

        if (to)
            json_object_set_new(json, key, json_string(to));
        free(to);
    }
    if (json)
        *out = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    free(prefix);
    free(real);
    free(folder);
    json_decref(json);
    return summary && !*out ? nas_fail(err, NAS_E_DATA, "its 'summary' makes no sense") : NAS_OK;
}

static nas_status apply_finish(const intake *in, const json_t *record, nas_err *err)
{
    const char *state, *summary, *error;
    char *moved = NULL;
    nas_store_attempt run;
    int64_t number = 0;
    nas_status status;

    if ((status = get_run(in, record, &run, err)) ||
        (status = get_int(record, "run", &number, err)) ||
        (status = get_text(record, "state", true, &state, err)) ||
        (status = get_text(record, "summary", false, &summary, err)) ||
        (status = get_text(record, "error", false, &error, err)) ||
        (status = move_paths(in, summary, number, run.run, &moved, err)))
        return status;
    status = bad("state", err);
    for (int s = NAS_STORE_INTERRUPTED; s < NAS_STORE_ANY_STATE; s++)
        if (strcmp(state, nas_store_state_name(s)) == 0)
            status = nas_store_run_finish(in->store, run, s, moved, error, err);
    free(moved);
    return status;
}

/* ---- the whole ---- */

static nas_status apply(const intake *in, const json_t *record, nas_err *err)
{
    static const struct {
        const char *op;
        nas_status (*apply)(const intake *in, const json_t *record, nas_err *err);
    } ops[] = {{"begin", apply_begin}, {"claim", apply_claim}, {"progress", apply_progress},
               {"probabilities", apply_probabilities}, {"architecture", apply_architecture},
               {"evaluations", apply_evaluations}, {"table", apply_table},
               {"run_table", apply_run_table}, {"file", apply_file}, {"finish", apply_finish}};
    const char *op = json_string_value(json_object_get(record, "op"));

    for (size_t i = 0; op && i < sizeof ops / sizeof *ops; i++)
        if (strcmp(op, ops[i].op) == 0)
            return ops[i].apply(in, record, err);
    return nas_fail(err, NAS_E_DATA, "there is no operation '%.40s'", op ? op : "");
}

/* A record is one savepoint: what is refused changes nothing, and the rest counts. */
static nas_status take(void *user, const json_t *record, nas_err *err)
{
    const intake *in = user;
    nas_store *store = in->store;
    nas_err why = {0};

    nas_status status = nas_store__script(store->db, "begin", "SAVEPOINT record", err);

    if (status)
        return status;
    status = apply(in, record, &why);
    if (sqlite3_get_autocommit(store->db) || status == NAS_E_IO || status == NAS_E_NOMEM) {
        if (err)
            *err = why; /* the database, or this machine, failed: all of the chunk again, later */
        return status ? status : nas_fail(err, NAS_E_IO, "store: a transaction was rolled back");
    }
    if (status) {
        nas_log(NAS_LOG_WARN, "job %" PRId64 ", attempt %" PRId64 ": a record is refused: %s",
                in->job, in->attempt, why.message);
        in->taken->refused++;
    } else {
        in->taken->records++;
    }
    return nas_store__script(store->db, "take a record",
                             status ? "ROLLBACK TO record; RELEASE record" : "RELEASE record", err);
}

/* Removes what the operations of a committed chunk wanted removed; otherwise forgets it. */
static void settle_files(nas_store *store, bool committed)
{
    for (int i = 0; i < store->late_count; i++) {
        if (committed && unlink(store->late[i]) && errno != ENOENT)
            nas_log(NAS_LOG_WARN, "%s: could not be removed: %s", store->late[i], strerror(errno));
        free(store->late[i]);
    }
    free(store->late);
    store->late = NULL;
    store->late_count = 0;
}

static nas_status read_place(const intake *in, nas_spool_place *place, nas_err *err)
{
    static const char what[] = "look for the place in a spool";
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    nas_status status = nas_store__query(in->store, &stmt, what, err, "SELECT spool_bytes, "
                                         "spool_records FROM job_attempt WHERE job = ? AND number "
                                         "= ?", "ii", in->job, in->attempt);

    if (!status && !(status = nas_store__step(stmt, what, &row, err)) && row)
        *place = (nas_spool_place){sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1)};
    sqlite3_finalize(stmt);
    return status;
}

/* One chunk; `*more` says whether anything was read. */
static nas_status take_chunk(intake *in, int64_t loop, const char *path, bool *more, nas_err *err)
{
    nas_store *store = in->store;
    const nas_store_taken before = *in->taken;
    nas_spool_place place = {0}, from;
    nas_err damage = {0};
    nas_status status = nas_store__begin_as_loop(store, loop, err), read = NAS_OK;

    *more = false;
    if (status)
        return status;
    nas_store_act_for(store, in->job, in->attempt);
    if (!(status = nas_store__check_job(store, err)) && !(status = read_place(in, &place, err))) {
        from = place;
        store->nested = true;
        read = nas_spool_read(path, in->job, in->attempt, CHUNK_BYTES, &place, take, in, &damage);
        store->nested = false;
        *more = place.bytes > from.bytes;
        status = read == NAS_E_DATA ? NAS_OK : read; /* damage: what comes before it counts */
        if (status && err)
            *err = damage;
        if (!status && *more)
            status = nas_store__exec(store, "note the place in a spool", err,
                                     "UPDATE job_attempt SET spool_bytes = ?, spool_records = ? "
                                     "WHERE job = ? AND number = ?", "iiii", place.bytes,
                                     place.records, in->job, in->attempt);
    }
    nas_store_act_for(store, 0, 0);
    status = nas_store__end(store, status, err);
    settle_files(store, !status);
    if (status) {
        *in->taken = before;
        return status;
    }
    if (read && err)
        *err = damage;
    return read;
}

/* A look without a transaction: most of the time there is nothing new. */
static nas_status look(const intake *in, const char *path, bool *more, nas_err *err)
{
    struct stat info;
    nas_spool_place place = {0};

    *more = false;
    if (lstat(path, &info) != 0)
        return NAS_OK; /* nothing yet */
    const nas_status status = read_place(in, &place, err);
    *more = !status && (!S_ISREG(info.st_mode) || (int64_t)info.st_size > place.bytes);
    return status;
}

nas_status nas_store_spool_take(nas_store *store, int64_t loop, int64_t job, int64_t attempt,
                                nas_store_taken *out, nas_err *err)
{
    intake in = {.store = store, .job = job, .attempt = attempt, .taken = out};
    char *path = nas_store_spool_path(store, job, attempt, "records");
    bool more = false;
    nas_status status = path ? look(&in, path, &more, err) : nas_fail(err, NAS_E_NOMEM, "spool");

    *out = (nas_store_taken){0};
    while (!status && more)
        status = take_chunk(&in, loop, path, &more, err);
    free(path);
    return status;
}

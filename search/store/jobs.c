/* Jobs as the command line sees them: added, listed, cancelled, queued again. */
#include "search/store/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/options.h"
#include "search/store/private.h"

static const char *const state_names[] = {
    [NAS_JOB_QUEUED] = "queued", [NAS_JOB_RUNNING] = "running", [NAS_JOB_DONE] = "done",
    [NAS_JOB_FAILED] = "failed", [NAS_JOB_LOST] = "lost", [NAS_JOB_PREEMPTED] = "preempted",
    [NAS_JOB_TIMED_OUT] = "timed_out", [NAS_JOB_OUT_OF_MEMORY] = "out_of_memory",
    [NAS_JOB_QUARANTINED] = "quarantined", [NAS_JOB_CANCELLED] = "cancelled",
};

const char *nas_job_state_name(nas_job_state state)
{
    return (unsigned)state < NAS_JOB_ANY_STATE ? state_names[state] : "any";
}

bool nas_job_state_ended(nas_job_state state)
{
    return state != NAS_JOB_QUEUED && state != NAS_JOB_RUNNING;
}

static nas_job_state state_column(sqlite3_stmt *stmt, int column)
{
    const char *name = (const char *)sqlite3_column_text(stmt, column);

    for (int s = 0; name && s < NAS_JOB_ANY_STATE; s++)
        if (strcmp(name, state_names[s]) == 0)
            return s;
    return NAS_JOB_FAILED; /* the schema's CHECK allows no other */
}

/* ---- submit ---- */

static bool is_text(const json_t *word, size_t most)
{
    return json_is_string(word) && json_string_length(word) < most &&
           strlen(json_string_value(word)) == json_string_length(word);
}

static bool is_word(const json_t *word)
{
    const json_t *file = json_object_get(word, "file");

    if (!json_is_object(word))
        return is_text(word, NAS_JOB_ARG_SIZE);
    return is_text(json_object_get(word, "before"), NAS_JOB_ARG_SIZE) &&
           json_is_integer(json_object_get(word, "job")) && is_text(file, NAS_STORE_NAME_SIZE) &&
           nas_store_name_check(json_string_value(file), "file", NULL) == NAS_OK;
}

static nas_status check_args(const nas_job_spec *spec, nas_err *err)
{
    const size_t count = json_array_size(spec->args);
    const char *name = spec->name ? spec->name : "job";

    if (count < 1 || count > NAS_JOB_MAX_ARGS)
        return nas_fail(err, NAS_E_DATA, "%s: a command line of %zu words, not 1..%d", name, count,
                        NAS_JOB_MAX_ARGS);
    for (size_t i = 0; i < count; i++)
        if (!is_word(json_array_get(spec->args, i)))
            return nas_fail(err, NAS_E_DATA, "%s: word %zu of its command line is no string of at "
                            "most %d bytes without NUL", name, i + 1, NAS_JOB_ARG_SIZE - 1);
    return NAS_OK;
}

bool nas_store__is_utf8(const char *text)
{
    json_t *string = json_string(text); /* it refuses everything else */
    const bool fine = string != NULL;

    json_decref(string);
    return fine;
}

static nas_status check_path(const char *path, const char *what, nas_err *err)
{
    if (nas_store__is_utf8(path))
        return NAS_OK;
    const nas_status status = nas_fail(
        err, nas_json_fault(), "%s: the path of the %s is not UTF-8, as that of jobs must be", path,
        what);
    nas_hint(err, "give the folder another name");
    return status;
}

nas_status nas_store_jobs_check(nas_store *store, nas_err *err)
{
    char *path = realpath(store->dir, NULL);
    const nas_status status = path ? check_path(path, "store", err)
                                   : nas_fail_errno(err, "%s", store->dir);

    free(path);
    return status;
}

static nas_status check_spec(const nas_job_spec *spec, nas_err *err)
{
    nas_status status;

    if ((spec->name && (status = nas_store_name_check(spec->name, "job name", err))) ||
        (spec->group && (status = nas_store_name_check(spec->group, "group", err))))
        return status;
    if (spec->name && strspn(spec->name, "0123456789") == strlen(spec->name)) {
        nas_fail(err, NAS_E_USAGE, "job name '%s': only digits, which is how ids are written",
                 spec->name);
        nas_hint(err, "put a letter into the name");
        return NAS_E_USAGE;
    }
    if (spec->need_count > NAS_JOB_MAX_NEEDS)
        return nas_fail(err, NAS_E_DATA, "job %s: waits for more than %d jobs",
                        spec->name ? spec->name : "", NAS_JOB_MAX_NEEDS);
    if ((status = check_path(spec->folder, "job's directory", err)))
        return status;
    return check_args(spec, err);
}

/* Statements of one submission. */
typedef struct submission {
    nas_store *store;
    sqlite3_stmt *insert, *need;
    int64_t now, *ids;
} submission;

static nas_status check_name_free(nas_store *store, const char *name, nas_err *err)
{
    int64_t taken = 0;
    const nas_status status = nas_store__int(store, "look for the name", &taken, err,
                                             "SELECT id FROM job WHERE name = ?", "t", name);

    if (status || !taken)
        return status;
    nas_fail(err, NAS_E_USAGE, "job name '%s': job %lld has it already", name, (long long)taken);
    nas_hint(err, "give another name, or another --group");
    return NAS_E_USAGE;
}

/* "job-<id>", or with ".1", ".2"... behind it if that was given to another job. */
static nas_status name_job(nas_store *store, int64_t id, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int64_t n = 0; !status && (n == 0 || sqlite3_changes(store->db) == 0); n++)
        status = nas_store__exec(store, "name the job", err,
                                 "UPDATE OR IGNORE job SET name = 'job-' || id || "
                                 "CASE ?1 WHEN 0 THEN '' ELSE '.' || ?1 END WHERE id = ?2", "ii",
                                 n, id);
    return status;
}

/* The id that a job of a submission stands for: its own, or that of an earlier spec; 0 if
 * there is no such spec, which the schema refuses. */
static int64_t id_of(const submission *s, int index, int64_t job)
{
    const int64_t earlier = -1 - job;

    return job > 0 ? job : earlier < index ? s->ids[earlier] : 0;
}

/* The words as text, with ids in the place of indices; NULL: no memory. */
static char *dump_args(const submission *s, int index, const json_t *args)
{
    json_t *copy = json_deep_copy(args), *word;
    size_t i;

    json_array_foreach(copy, i, word)
        if (json_is_object(word))
            json_object_set_new(word, "job", json_integer(id_of(s, index, json_integer_value(
                                                 json_object_get(word, "job")))));
    char *text = copy ? json_dumps(copy, JSON_COMPACT) : NULL;
    json_decref(copy);
    return text;
}

static nas_status add_needs(const submission *s, int index, const nas_job_spec *spec, nas_err *err)
{
    static const char what[] = "add what a job waits for";
    nas_status status = NAS_OK;
    bool row;

    for (int i = 0; i < spec->need_count && !status; i++) {
        const nas_job_need *need = &spec->needs[i];

        if (!(status = nas_store__bind(s->need, what, err, "iii", s->ids[index],
                                       id_of(s, index, need->job), (int64_t)need->any)))
            status = nas_store__step(s->need, what, &row, err);
    }
    return status;
}

static nas_status add_job(const submission *s, int index, const nas_job_spec *spec, nas_err *err)
{
    static const char what[] = "add a job";
    char *args = dump_args(s, index, spec->args);
    bool row;
    nas_status status = args ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "job");

    if (!status && spec->name)
        status = check_name_free(s->store, spec->name, err);
    if (!status &&
        !(status = nas_store__bind(s->insert, what, err, "ttttiiiiiiii", spec->name,
                                   spec->group ? spec->group : "", args, spec->folder,
                                   (int64_t)spec->cores, spec->memory_mib, (int64_t)spec->priority,
                                   spec->time_limit_s, spec->hang_limit_s, (int64_t)spec->retries,
                                   s->now, s->now)))
        status = nas_store__step(s->insert, what, &row, err);
    sqlite3_reset(s->insert); /* it points to args */
    free(args);
    if (status)
        return status;
    s->ids[index] = sqlite3_last_insert_rowid(s->store->db);
    if (!spec->name && (status = name_job(s->store, s->ids[index], err)))
        return status;
    return add_needs(s, index, spec, err);
}

static nas_status add_jobs(submission *s, const nas_job_spec *specs, int count, nas_err *err)
{
    nas_status status;

    /* The name may depend on the id; until it is known one that nobody can give stands in. */
    if ((status = nas_store__query(s->store, &s->insert, "add a job", err,
                                   "INSERT INTO job (name, sweep, args, folder, cores, memory_mib,"
                                   " priority, time_limit_s, hang_limit_s, retries, state,"
                                   " created_ms, updated_ms) VALUES (coalesce(?, '*new*'), ?, ?, ?,"
                                   " ?, ?, ?, ?, ?, ?, 'queued', ?, ?)", "")) ||
        (status = nas_store__query(s->store, &s->need, "add a job", err,
                                   "INSERT OR IGNORE INTO job_need (job, needs, ended) "
                                   "VALUES (?, ?, ?)", "")))
        return status;
    for (int i = 0; i < count && !status; i++)
        status = add_job(s, i, &specs[i], err);
    return status;
}

static nas_status check_specs(const nas_job_spec *specs, int count, nas_err *err)
{
    nas_status status = NAS_OK;

    if (count < 1 || count > NAS_JOB_MAX_JOBS)
        return nas_fail(err, NAS_E_DATA, "%d jobs at once, not 1..%d", count, NAS_JOB_MAX_JOBS);
    for (int i = 0; i < count && !status; i++)
        status = check_spec(&specs[i], err);
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

nas_status nas_store_jobs_try(nas_store *store, const nas_job_spec *specs, int count,
                              nas_err *err)
{
    nas_status status = check_specs(specs, count, err);
    const char **names = status ? NULL : malloc((size_t)count * sizeof *names);
    int named = 0;

    if (status || (store && (status = nas_store_jobs_check(store, err))))
        goto done;
    if (!names) {
        status = nas_fail(err, NAS_E_NOMEM, "%d jobs", count);
        goto done;
    }
    for (int i = 0; i < count && !status; i++)
        if (specs[i].name) {
            names[named++] = specs[i].name;
            status = store ? check_name_free(store, specs[i].name, err) : NAS_OK;
        }
    qsort(names, (size_t)named, sizeof *names, by_text);
    for (int i = 1; i < named && !status; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = nas_fail(err, NAS_E_USAGE, "job name '%s': two of these jobs have it",
                              names[i]);

done:
    free(names);
    return status;
}

nas_status nas_store_jobs_submit(nas_store *store, const nas_job_spec *specs, int count,
                                 int64_t *ids, nas_err *err)
{
    submission s = {.store = store, .now = nas_clock_utc_ms()};
    nas_status status = check_specs(specs, count, err);

    if (status || (status = nas_store_jobs_check(store, err)))
        return status;
    if (!(s.ids = calloc((size_t)count, sizeof *s.ids)))
        return nas_fail(err, NAS_E_NOMEM, "%d jobs", count);
    if (!(status = nas_store__begin(store, err))) {
        status = add_jobs(&s, specs, count, err);
        sqlite3_finalize(s.insert);
        sqlite3_finalize(s.need);
        status = nas_store__end(store, status, err);
    }
    if (!status && ids)
        memcpy(ids, s.ids, (size_t)count * sizeof *ids);
    free(s.ids);
    return status;
}

/* ---- look up ---- */

#define JOB_QUERY                                                                                \
    "SELECT id, attempt, memory_mib, time_limit_s, hang_limit_s, created_ms, updated_ms, cores," \
    " priority, retries, failures, state, cancel, name, sweep, args, folder, state = 'running'"  \
    " AND EXISTS (SELECT 1 FROM job_attempt AS a WHERE a.job = job.id AND a.number ="            \
    " job.attempt AND a.batch <> '') FROM job "

static void fini(nas_job *job)
{
    free(job->args);
    free(job->folder);
}

void nas_job_free(nas_job *job)
{
    if (job)
        fini(job);
    free(job);
}

void nas_jobs_fini(nas_jobs *jobs)
{
    for (int i = 0; i < jobs->count; i++)
        fini(&jobs->jobs[i]);
    free(jobs->jobs);
    *jobs = (nas_jobs){0};
}

static nas_status read_job(sqlite3_stmt *stmt, nas_job *job, nas_err *err)
{
    nas_status status;

    *job = (nas_job){
        .id = sqlite3_column_int64(stmt, 0), .attempt = sqlite3_column_int64(stmt, 1),
        .memory_mib = sqlite3_column_int64(stmt, 2), .time_limit_s = sqlite3_column_int64(stmt, 3),
        .hang_limit_s = sqlite3_column_int64(stmt, 4), .created_ms = sqlite3_column_int64(stmt, 5),
        .updated_ms = sqlite3_column_int64(stmt, 6), .cores = sqlite3_column_int(stmt, 7),
        .priority = sqlite3_column_int(stmt, 8), .retries = sqlite3_column_int(stmt, 9),
        .failures = sqlite3_column_int(stmt, 10), .state = state_column(stmt, 11),
        .cancel = sqlite3_column_int(stmt, 12) != 0,
        .placed = sqlite3_column_int(stmt, 17) != 0,
    };
    nas_store__copy_text(stmt, 13, job->name, sizeof job->name);
    nas_store__copy_text(stmt, 14, job->group, sizeof job->group);
    if ((status = nas_store__dup_text(stmt, 15, &job->args, err)) ||
        (status = nas_store__dup_text(stmt, 16, &job->folder, err)))
        fini(job);
    return status;
}

/* Every row of a prepared query; the statement is finalised. */
static nas_status collect(sqlite3_stmt *stmt, nas_jobs *out, nas_err *err)
{
    bool row = false;
    nas_status status;

    while (!(status = nas_store__step(stmt, "list jobs", &row, err)) && row)
        if ((status = nas_store__grow((void **)&out->jobs, out->count, sizeof *out->jobs, err)) ||
            (status = read_job(stmt, &out->jobs[out->count], err)))
            break;
        else
            out->count++;
    sqlite3_finalize(stmt);
    if (status)
        nas_jobs_fini(out);
    return status;
}

nas_status nas_store_jobs_list(nas_store *store, const char *group, nas_job_state state, int limit,
                               nas_jobs *out, nas_err *err)
{
    sqlite3_stmt *stmt;
    const char *state_text = state == NAS_JOB_ANY_STATE ? NULL : nas_job_state_name(state);
    const nas_status status = nas_store__query(
        store, &stmt, "list jobs", err,
        JOB_QUERY "WHERE (?1 IS NULL OR sweep = ?1) AND (?2 IS NULL OR state = ?2)"
                  " ORDER BY id DESC LIMIT ?3",
        "tti", group, state_text, (int64_t)(limit > 0 ? limit : -1));

    *out = (nas_jobs){0};
    return status ? status : collect(stmt, out, err);
}

nas_status nas_store_jobs_news(nas_store *store, int64_t loop, bool all, nas_jobs *out,
                               nas_err *err)
{
    static const char what[] = "look for new jobs";
    sqlite3_stmt *stmt;
    int64_t count = all;
    nas_status status = NAS_OK;

    *out = (nas_jobs){0};
    if (!all)
        status = nas_store__int(store, what, &count, err,
                                "SELECT EXISTS (SELECT 1 FROM job WHERE unseen = 1)", "");
    if (status || !count || (status = nas_store__begin_as_loop(store, loop, err)))
        return status;
    if (!(status = nas_store__query(store, &stmt, what, err,
                                    all ? JOB_QUERY "WHERE state = 'queued' OR (state = 'running' AND "
                                                    "cancel = 1) OR unseen = 1 ORDER BY id"
                                        : JOB_QUERY "WHERE unseen = 1 ORDER BY id", "")) &&
        !(status = collect(stmt, out, err)))
        status = nas_store__exec(store, what, err, "UPDATE job SET unseen = 0 WHERE unseen = 1",
                                 "");
    if ((status = nas_store__end(store, status, err)))
        nas_jobs_fini(out);
    return status;
}

/* NAS_E_USAGE with the nearest name there is. */
static nas_status not_found(nas_store *store, const char *text, nas_err *err)
{
    nas_jobs all;
    const char **names = NULL, *nearest = NULL;

    nas_fail(err, NAS_E_USAGE, "there is no job '%.64s' in %s", text, store->dir);
    nas_hint(err, "see them with: nas jobs list");
    if (nas_store_jobs_list(store, NULL, NAS_JOB_ANY_STATE, 1000, &all, NULL))
        return NAS_E_USAGE;
    if ((names = calloc((size_t)all.count + 1, sizeof *names))) {
        for (int i = 0; i < all.count; i++)
            names[i] = all.jobs[i].name;
        if ((nearest = nas_nearest(text, names)))
            nas_hint(err, "did you mean '%s'?", nearest);
    }
    free(names);
    nas_jobs_fini(&all);
    return NAS_E_USAGE;
}

nas_status nas_store_job_get(nas_store *store, const char *text, nas_job **out, nas_err *err)
{
    sqlite3_stmt *stmt;
    nas_jobs found = {0};
    nas_status status;

    *out = NULL;
    if ((status = nas_store__query(store, &stmt, "look for the job", err,
                                   JOB_QUERY "WHERE name = ?1 OR id = CASE WHEN ?1 NOT GLOB "
                                             "'*[^0-9]*' THEN CAST(?1 AS INTEGER) END", "t",
                                   text)) ||
        (status = collect(stmt, &found, err)))
        return status;
    if (!found.count)
        return not_found(store, text, err);
    *out = found.jobs; /* names are no numbers: there is one */
    return NAS_OK;
}

nas_status nas_store_job_needs(nas_store *store, int64_t job, nas_job_need **out, int *count,
                               nas_err *err)
{
    static const char what[] = "read what a job waits for";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(store, &stmt, what, err,
                                         "SELECT needs, ended, state FROM job_need JOIN job ON "
                                         "job.id = needs WHERE job = ? ORDER BY needs", "i", job);

    *out = NULL;
    *count = 0;
    while (!status && !(status = nas_store__step(stmt, what, &row, err)) && row)
        if (!(status = nas_store__grow((void **)out, *count, sizeof **out, err)))
            (*out)[(*count)++] = (nas_job_need){.job = sqlite3_column_int64(stmt, 0),
                                                .any = sqlite3_column_int(stmt, 1) != 0,
                                                .state = state_column(stmt, 2)};
    sqlite3_finalize(stmt);
    if (status) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return status;
}

static nas_status read_attempt(sqlite3_stmt *stmt, nas_job_attempt *out, nas_err *err)
{
    *out = (nas_job_attempt){
        .number = sqlite3_column_int64(stmt, 0), .pid = sqlite3_column_int64(stmt, 1),
        .started_ms = sqlite3_column_int64(stmt, 2), .ended_ms = sqlite3_column_int64(stmt, 3),
        .step = sqlite3_column_int64(stmt, 4), .code = sqlite3_column_int(stmt, 5),
        .signal = sqlite3_column_int(stmt, 6), .peak_rss_mib = nas_store__real(stmt, 7),
        .state = state_column(stmt, 8), .slurm = sqlite3_column_int64(stmt, 13),
        .task = sqlite3_column_int(stmt, 14),
    };
    nas_store__copy_text(stmt, 9, out->cause, sizeof out->cause);
    nas_store__copy_text(stmt, 10, out->phase, sizeof out->phase);
    nas_store__copy_text(stmt, 11, out->host, sizeof out->host);
    return nas_store__dup_text(stmt, 12, &out->tail, err);
}

nas_status nas_store_job_attempts(nas_store *store, int64_t job, nas_job_attempt **out, int *count,
                                  nas_err *err)
{
    static const char what[] = "read the attempts of a job";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(store, &stmt, what, err,
                                         "SELECT number, pid, started_ms, ended_ms, step, code, "
                                         "signal, peak_rss_mib, state, cause, phase, host, tail, "
                                         "iif(batch = '', -1, slurm), task "
                                         "FROM job_attempt WHERE job = ? ORDER BY number", "i",
                                         job);

    *out = NULL;
    *count = 0;
    while (!status && !(status = nas_store__step(stmt, what, &row, err)) && row)
        if (!(status = nas_store__grow((void **)out, *count, sizeof **out, err)) &&
            !(status = read_attempt(stmt, &(*out)[*count], err)))
            (*count)++;
    sqlite3_finalize(stmt);
    if (status) {
        nas_job_attempts_free(*out, *count);
        *out = NULL;
        *count = 0;
    }
    return status;
}

void nas_job_attempts_free(nas_job_attempt *attempts, int count)
{
    for (int i = 0; i < count; i++)
        free(attempts[i].tail);
    free(attempts);
}

nas_status nas_store_job_runs(nas_store *store, int64_t job,
                              void (*visit)(void *user, const char *run), void *user,
                              nas_err *err)
{
    static const char what[] = "list the runs of a job";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(store, &stmt, what, err,
                                         "SELECT name FROM run WHERE job = ? ORDER BY id", "i",
                                         job);

    while (!status && !(status = nas_store__step(stmt, what, &row, err)) && row)
        visit(user, nas_store__text(stmt, 0));
    sqlite3_finalize(stmt);
    return status;
}

char *nas_store_job_log(const nas_store *store, int64_t job, int64_t attempt, const char *stream)
{
    char *path = NULL;

    return asprintf(&path, "%s/jobs/%lld.%lld.%s", store->dir, (long long)job, (long long)attempt,
                    stream) < 0 ? NULL : path;
}

/* ---- changes that people ask for ---- */

static nas_status cancel_job(nas_store *store, int64_t job, nas_err *err)
{
    return nas_store__exec(store, "cancel the job", err,
                           "UPDATE job SET cancel = (state = 'running'), unseen = 1, "
                           "state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END, "
                           "updated_ms = ?1 WHERE id = ?2 AND state IN ('queued', 'running')",
                           "ii", nas_clock_utc_ms(), job);
}

static nas_status retry_job(nas_store *store, int64_t job, nas_err *err)
{
    static const char what[] = "queue the job";
    int64_t done = 0;
    nas_status status = nas_store__int(store, what, &done, err,
                                       "SELECT state = 'done' FROM job WHERE id = ?", "i", job);

    if (!status && done) {
        status = nas_fail(err, NAS_E_USAGE, "job %lld is done: there is nothing to retry",
                          (long long)job);
        nas_hint(err, "to run it once more, submit it again");
    }
    return status ? status
                  : nas_store__exec(store, what, err,
                                    "UPDATE job SET state = 'queued', failures = 0, cancel = 0, "
                                    "unseen = 1, updated_ms = ?1 WHERE id = ?2 AND state NOT IN "
                                    "('queued', 'running')", "ii", nas_clock_utc_ms(), job);
}

static nas_status change_jobs(nas_store *store, const int64_t *jobs, int count,
                              nas_status (*change)(nas_store *, int64_t, nas_err *), nas_err *err)
{
    nas_status status = nas_store__begin(store, err);

    if (status)
        return status;
    for (int i = 0; i < count && !status; i++)
        status = change(store, jobs[i], err);
    return nas_store__end(store, status, err);
}

nas_status nas_store_jobs_cancel(nas_store *store, const int64_t *jobs, int count, nas_err *err)
{
    return change_jobs(store, jobs, count, cancel_job, err);
}

nas_status nas_store_jobs_retry(nas_store *store, const int64_t *jobs, int count, nas_err *err)
{
    return change_jobs(store, jobs, count, retry_job, err);
}

/* Jobs as the loop and its workers see them: one loop a store, one attempt a job, and every
 * write checked against both. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/system.h"
#include "search/store/remote.h"

/* ---- workers ---- */

void nas_store_act_for(nas_store *store, int64_t job, int64_t attempt)
{
    store->job = job;
    store->job_attempt = attempt;
}

nas_status nas_store__check_job(nas_store *store, nas_err *err)
{
    static const char what[] = "check the attempt of the job";
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    nas_status status;

    if (!store->job)
        return NAS_OK;
    if ((status = nas_store__query(store, &stmt, what, err, "SELECT attempt, state, name FROM job "
                                   "WHERE id = ?", "i", store->job)) ||
        (status = nas_store__step(stmt, what, &row, err)))
        goto done;
    if (!row)
        status = nas_fail(err, NAS_E_FAIL, "job %lld is not in the store", (long long)store->job);
    else if (sqlite3_column_int64(stmt, 0) != store->job_attempt)
        status = nas_fail(err, NAS_E_FAIL, "job '%s': attempt %lld was superseded by attempt %lld",
                          nas_store__text(stmt, 2), (long long)store->job_attempt,
                          (long long)sqlite3_column_int64(stmt, 0));
    else if (strcmp(nas_store__text(stmt, 1), "running") != 0)
        status = nas_fail(err, NAS_E_FAIL, "job '%s': attempt %lld was superseded: the job is %s",
                          nas_store__text(stmt, 2), (long long)store->job_attempt,
                          nas_store__text(stmt, 1));
done:
    sqlite3_finalize(stmt);
    return status;
}

nas_status nas_store__begin_as_job(nas_store *store, nas_err *err)
{
    nas_status status = nas_store__begin(store, err);

    if (!status && (status = nas_store__check_job(store, err)))
        return nas_store__end(store, status, err);
    return status;
}

nas_status nas_store_job_run(nas_store *store, const char *kind, const char *config_digest,
                             nas_store_run **out, nas_err *err)
{
    int64_t run = 0;
    char id[32];
    nas_status status = NAS_OK;

    *out = NULL;
    if (store->remote)
        return nas_store__remote_job_run(store, kind, config_digest, out, err);
    if (store->job)
        status = nas_store__int(store, "look for the job's run", &run, err,
                                "SELECT id FROM run WHERE job = ? AND kind = ? AND config_digest "
                                "= ? ORDER BY id DESC LIMIT 1", "itt",
                                store->job, kind, config_digest);
    if (status || !run)
        return status;
    snprintf(id, sizeof id, "%lld", (long long)run);
    return nas_store_run_get(store, id, out, err);
}

/* ---- one loop a store ---- */

nas_status nas_store_loop_get(nas_store *store, nas_job_loop *out, nas_err *err)
{
    static const char what[] = "look for the loop";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(store, &stmt, what, err, "SELECT number, pid, started_ms,"
                                         " ended, host, pid_start, cores, memory_mib FROM "
                                         "job_loop", "");

    *out = (nas_job_loop){0};
    if (!status && !(status = nas_store__step(stmt, what, &row, err)) && row) {
        *out = (nas_job_loop){
            .number = sqlite3_column_int64(stmt, 0), .pid = sqlite3_column_int64(stmt, 1),
            .started_ms = sqlite3_column_int64(stmt, 2), .ended = sqlite3_column_int(stmt, 3) != 0,
            .cores = sqlite3_column_int64(stmt, 6), .memory_mib = sqlite3_column_int64(stmt, 7),
        };
        nas_store__copy_text(stmt, 4, out->host, sizeof out->host);
        out->alive = !out->ended && nas_store__process_alive(out->host, out->pid,
                                                             sqlite3_column_int64(stmt, 5));
    }
    sqlite3_finalize(stmt);
    return status;
}

static nas_status check_loop_free(const nas_job_loop *loop, const char *here, bool take_over,
                                  nas_err *err)
{
    char since[25];

    if (loop->number == 0 || loop->ended)
        return NAS_OK;
    nas_clock_format(loop->started_ms, since);
    if (loop->alive) {
        nas_fail(err, NAS_E_FAIL, "process %lld on %s runs the jobs of this store since %s",
                 (long long)loop->pid, loop->host, since);
        nas_hint(err, "it takes new jobs by itself; to stop it: kill %lld", (long long)loop->pid);
        return NAS_E_FAIL;
    }
    if (strcmp(loop->host, here) == 0 || take_over)
        return NAS_OK;
    nas_fail(err, NAS_E_FAIL, "process %lld on %s runs the jobs of this store since %s, or died "
             "there", (long long)loop->pid, loop->host, since);
    nas_hint(err, "if it is gone, run again with --take-over");
    return NAS_E_FAIL;
}

nas_status nas_store_loop_claim(nas_store *store, int64_t cores, int64_t memory_mib,
                                bool take_over, int64_t *number, nas_err *err)
{
    const nas_store__process self = nas_store__this_process();
    nas_job_loop loop;
    nas_status status = nas_store__begin(store, err);

    if (status)
        return status;
    if (!(status = nas_store_loop_get(store, &loop, err)) &&
        !(status = check_loop_free(&loop, self.host, take_over, err)))
        status = nas_store__exec(store, "begin the loop", err,
                                 "INSERT OR REPLACE INTO job_loop (id, number, cores, memory_mib, "
                                 "pid, pid_start, host, started_ms, ended) "
                                 "VALUES (1, ?, ?, ?, ?, ?, ?, ?, 0)", "iiiiiti", loop.number + 1,
                                 cores, memory_mib, self.pid, self.start, self.host,
                                 nas_clock_utc_ms());
    if (!(status = nas_store__end(store, status, err)))
        *number = loop.number + 1;
    return status;
}

nas_status nas_store_loop_release(nas_store *store, int64_t number, bool *out, nas_err *err)
{
    const nas_status status = nas_store__exec(
        store, "end the loop", err, "UPDATE job_loop SET ended = 1 WHERE number = ? AND "
        "(? OR NOT EXISTS (SELECT 1 FROM job WHERE unseen = 1))", "ii", number, (int64_t)!out);

    if (out)
        *out = status == NAS_OK && sqlite3_changes(store->db) > 0;
    return status;
}

nas_status nas_store__begin_as_loop(nas_store *store, int64_t number, nas_err *err)
{
    nas_job_loop loop;
    nas_status status = nas_store__begin(store, err);

    if (status)
        return status;
    if (!(status = nas_store_loop_get(store, &loop, err)) && loop.number != number)
        status = nas_fail(err, NAS_E_FAIL, "process %lld on %s has taken the jobs of this store "
                          "over", (long long)loop.pid, loop.host);
    return status ? nas_store__end(store, status, err) : NAS_OK;
}

/* ---- what an earlier loop left ---- */

static nas_status find_orphans(nas_store *store, nas_job_orphan **out, int *count, nas_err *err)
{
    static const char what[] = "look for lost jobs";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(
        store, &stmt, what, err,
        "SELECT job.id, job.attempt, a.pid, a.pid_start, a.host FROM job LEFT JOIN job_attempt AS "
        "a ON a.job = job.id AND a.number = job.attempt WHERE job.state = 'running' "
        "AND coalesce(a.batch, '') = ''", "");

    while (!status && !(status = nas_store__step(stmt, what, &row, err)) && row) {
        const char *host = nas_store__text(stmt, 4);
        const int64_t pid = sqlite3_column_int64(stmt, 2);
        const bool alive = host && nas_store__process_alive(host, pid,
                                                            sqlite3_column_int64(stmt, 3));

        if (!(status = nas_store__grow((void **)out, *count, sizeof **out, err)))
            (*out)[(*count)++] = (nas_job_orphan){.job = sqlite3_column_int64(stmt, 0),
                                                  .attempt = sqlite3_column_int64(stmt, 1),
                                                  .pid = alive ? pid : 0};
    }
    sqlite3_finalize(stmt);
    return status;
}

nas_status nas_store_jobs_recover(nas_store *store, int64_t loop, nas_job_orphan **out, int *count,
                                  nas_err *err)
{
    static const char what[] = "queue lost jobs again";
    const int64_t now = nas_clock_utc_ms();
    nas_status status;

    *out = NULL;
    *count = 0;
    if ((status = nas_store__begin_as_loop(store, loop, err)))
        return status;
    if (!(status = find_orphans(store, out, count, err)) &&
        !(status = nas_store__exec(store, what, err,
                                   "UPDATE job_attempt SET state = 'lost', cause = 'loop-died', "
                                   "ended_ms = ? WHERE state = 'running' AND batch = ''", "i",
                                   now)))
        status = nas_store__exec(store, what, err,
                                 "UPDATE job SET state = CASE cancel WHEN 1 THEN 'cancelled' ELSE "
                                 "'queued' END, cancel = 0, updated_ms = ? WHERE state = "
                                 "'running' AND NOT EXISTS (SELECT 1 FROM job_attempt AS a WHERE "
                                 "a.job = job.id AND a.number = job.attempt AND a.batch <> '')",
                                 "i", now);
    if ((status = nas_store__end(store, status, err))) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return status;
}

nas_status nas_store_jobs_places(nas_store *store, nas_job_place **out, int *count, nas_err *err)
{
    static const char what[] = "look for tasks of a cluster";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(
        store, &stmt, what, err,
        "SELECT job.id, job.attempt, a.slurm, a.task, a.batch FROM job JOIN job_attempt AS a ON "
        "a.job = job.id AND a.number = job.attempt WHERE job.state = 'running' AND a.batch <> '' "
        "ORDER BY job.id", "");

    *out = NULL;
    *count = 0;
    while (!status && !(status = nas_store__step(stmt, what, &row, err)) && row) {
        if ((status = nas_store__grow((void **)out, *count, sizeof **out, err)))
            break;
        nas_job_place *place = &(*out)[(*count)++];
        *place = (nas_job_place){.job = sqlite3_column_int64(stmt, 0),
                                 .attempt = sqlite3_column_int64(stmt, 1),
                                 .slurm = sqlite3_column_int64(stmt, 2),
                                 .task = sqlite3_column_int(stmt, 3)};
        nas_store__copy_text(stmt, 4, place->batch, sizeof place->batch);
    }
    sqlite3_finalize(stmt);
    if (status) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return status;
}

/* ---- what the loop reads ---- */

nas_status nas_store_changed(nas_store *store, bool *out, nas_err *err)
{
    int64_t version = store->data_version;
    const nas_status status = nas_store__int(store, "look for changes", &version, err,
                                             "PRAGMA data_version", "");

    *out = version != store->data_version;
    store->data_version = version;
    return status;
}

bool nas_store_in_place(nas_store *store)
{
    int moved = 0;

    return sqlite3_file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK ||
           moved == 0;
}

/* The text of a word that names a file of another job's last run. */
static nas_status resolve(nas_store *store, const json_t *word, json_t **out, nas_err *err)
{
    const int64_t job = json_integer_value(json_object_get(word, "job"));
    const char *file = json_string_value(json_object_get(word, "file"));
    const char *before = json_string_value(json_object_get(word, "before"));
    int64_t run = 0;
    nas_status status = nas_store__int(store, "look for the run of a job", &run, err,
                                       "SELECT id FROM run WHERE job = ? ORDER BY id DESC LIMIT 1",
                                       "i", job);

    *out = NULL;
    if (status)
        return status;
    if (!before || nas_store_name_check(file, "file", NULL))
        return nas_fail(err, NAS_E_DATA, "a word of its command line makes no sense");
    char *path = run ? nas_store_path(store, run, file) : NULL;
    char *full = path ? realpath(path, NULL) : NULL;
    if (full && !nas_store__is_utf8(full))
        status = nas_fail(err, nas_json_fault(), "%s: the path is not UTF-8", full);
    else if (full)
        *out = json_sprintf("%s%s", before, full);
    if (!full)
        status = nas_fail(err, NAS_E_DATA, "job %lld left no %s", (long long)job, file);
    else if (!status && !*out)
        status = nas_fail(err, NAS_E_NOMEM, "job %lld: %s", (long long)job, file);
    free(full);
    free(path);
    return status;
}

nas_status nas_store_job_words(nas_store *store, const char *args, json_t **out, nas_err *err)
{
    json_t *words = json_loads(args, 0, NULL), *word;
    size_t i;
    nas_status status = NAS_OK;

    if (!json_is_array(words))
        status = nas_fail(err, nas_json_fault(), "its command line is unreadable");

    json_array_foreach(words, i, word) {
        json_t *text = NULL;

        if (status || !json_is_object(word))
            continue;
        if (!(status = resolve(store, word, &text, err)) &&
            json_array_set_new(words, i, text))
            status = nas_fail(err, NAS_E_NOMEM, "command line of a job");
    }
    if (status)
        json_decref(words);
    *out = status ? NULL : words;
    return status;
}

/* ---- what the loop writes ---- */

/* Only a job that is queued, and only the next attempt. */
static nas_status write_start(nas_store *store, nas_job_change *c, nas_err *err)
{
    static const char what[] = "start a job";
    const int64_t now = nas_clock_utc_ms();
    char host[256];
    nas_status status = nas_store__exec(store, what, err,
                                        "UPDATE job SET state = 'running', attempt = ?1, "
                                        "updated_ms = ?2 WHERE id = ?3 AND state = 'queued' AND "
                                        "attempt = ?1 - 1", "iii", c->attempt, now, c->job);
    if (status)
        return status;
    c->refused = sqlite3_changes(store->db) == 0;
    if (c->refused)
        return NAS_OK;
    nas_system_host(host, sizeof host);
    return nas_store__exec(store, what, err,
                           "INSERT OR REPLACE INTO job_attempt (job, number, state, host, "
                           "started_ms, batch, task, slurm) VALUES (?, ?, 'running', ?, ?, "
                           "coalesce(?, ''), ?, ?)", "iititii", c->job, c->attempt,
                           c->batch ? "" : host, now, c->batch, (int64_t)c->task, c->slurm);
}

static nas_status write_spawned(nas_store *store, nas_job_change *c, nas_err *err)
{
    return nas_store__exec(store, "note a process", err,
                           "UPDATE job_attempt SET pid = ?, pid_start = ? WHERE job = ? AND "
                           "number = ?", "iiii", c->pid, nas_store__process_start(c->pid), c->job,
                           c->attempt);
}

static nas_status write_placed(nas_store *store, nas_job_change *c, nas_err *err)
{
    return nas_store__exec(store, "note a task", err,
                           "UPDATE job_attempt SET slurm = coalesce(nullif(?, 0), slurm), host = "
                           "coalesce(?, host) WHERE job = ? AND number = ?", "itii", c->slurm,
                           c->host, c->job, c->attempt);
}

static nas_status write_step(nas_store *store, nas_job_change *c, nas_err *err)
{
    return nas_store__exec(store, "note a step", err,
                           "UPDATE job_attempt SET step = ?, phase = ?, peak_rss_mib = ? WHERE "
                           "job = ? AND number = ?", "itdii", c->step, c->phase, c->peak_rss_mib,
                           c->job, c->attempt);
}

/* A job that was cancelled meanwhile is not queued again; it stays unseen, so that the loop
 * hears of it. */
static nas_status write_end(nas_store *store, nas_job_change *c, nas_err *err)
{
    static const char what[] = "end an attempt";
    const int64_t now = nas_clock_utc_ms();
    nas_status status = nas_store__exec(
        store, what, err,
        "UPDATE job_attempt SET state = ?, cause = ?, ended_ms = ?, step = ?, phase = ?, code = ?,"
        " signal = ?, peak_rss_mib = ?, tail = coalesce(?, '') WHERE job = ? AND number = ?",
        "ttiitiidtii", nas_job_state_name(c->attempt_state), c->cause, now, c->step, c->phase,
        (int64_t)c->code, (int64_t)c->signal, c->peak_rss_mib, c->tail, c->job, c->attempt);

    /* There nobody else can say so. */
    if (!status && c->batch)
        status = nas_store__exec(store, what, err,
                                 "UPDATE run SET state = 'interrupted', updated_ms = ? WHERE "
                                 "state = 'running' AND id IN (SELECT run FROM job_run WHERE job "
                                 "= ?)", "ii", now, c->job);
    return status ? status
                  : nas_store__exec(store, what, err,
                                    "UPDATE job SET state = CASE WHEN ?1 = 'queued' AND cancel = "
                                    "1 THEN 'cancelled' ELSE ?1 END, failures = ?2, cancel = 0, "
                                    "updated_ms = ?3 WHERE id = ?4 AND attempt = ?5", "tiiii",
                                    nas_job_state_name(c->job_state), (int64_t)c->failures, now,
                                    c->job, c->attempt);
}

nas_status nas_store_jobs_write(nas_store *store, int64_t loop, nas_job_change *changes, int count,
                                nas_err *err)
{
    static nas_status (*const writers[])(nas_store *, nas_job_change *, nas_err *) = {
        [NAS_JOB_STARTS] = write_start, [NAS_JOB_SPAWNED] = write_spawned,
        [NAS_JOB_PLACED] = write_placed, [NAS_JOB_STEPPED] = write_step, [NAS_JOB_ENDS] = write_end,
    };
    nas_status status = nas_store__begin_as_loop(store, loop, err);

    if (status)
        return status;
    for (int i = 0; i < count && !status; i++)
        status = writers[changes[i].event](store, &changes[i], err);
    return nas_store__end(store, status, err);
}

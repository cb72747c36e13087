/* The store: what runs did, in `<dir>/store.db` (SQLite) and `<dir>/runs/<id>/`.
 *
 * Files come first and the database second: a file is complete and synced under
 * its name before a transaction names it, so the database never names a file that
 * is not there.  What no row names is an orphan (nas_store_gc).
 *
 * A run is written by one attempt at a time.  Claiming a run starts the next
 * attempt; every write carries its attempt, and one that was superseded is
 * refused.  The schema: docs/reference/store.md.
 *
 * Threads: a nas_store belongs to one thread; any number of processes may open the
 * same store.  Errors, beside those named: NAS_E_IO (disk, full disk), NAS_E_DATA
 * (damaged or not a store), NAS_E_NOMEM, NAS_E_FAIL (another process kept the store
 * locked for more than 10 s).  A call that fails changes nothing in the database. */
#ifndef NAS_SEARCH_STORE_STORE_H
#define NAS_SEARCH_STORE_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

enum {
    NAS_STORE_NAME_SIZE = 65, /* 64 characters of [A-Za-z0-9._-], no leading dot or dash */
    NAS_STORE_PATH_SIZE = 96, /* "runs/<id>/<file>"                              */
    NAS_STORE_TEXT_MAX = 16 << 20 /* bytes of one config, summary or table       */
};

typedef struct nas_store nas_store;

typedef enum nas_store_mode {
    NAS_STORE_CREATE,   /* made if missing, migrated if older            */
    NAS_STORE_EXISTING, /* NAS_E_IO if missing, migrated if older        */
    NAS_STORE_READ      /* NAS_E_IO if missing; every write is refused; older: NAS_E_DATA */
} nas_store_mode;

/** Opens `<dir>/store.db`.  NAS_E_DATA for a store made by a newer version.  Before a
 * migration the old database is kept as `store.db.v<N>`. */
nas_status nas_store_open(nas_store **out, const char *dir, nas_store_mode mode, nas_err *err);
/** A `dir` that begins so is the spool of a job's attempt (docs/reference/spool.md): what is
 * written becomes records, what is read is what the job's own attempts recorded. */
#define NAS_STORE_SPOOL "spool:"
void nas_store_close(nas_store *store);
/** The directory as given to nas_store_open (borrowed). */
const char *nas_store_dir(const nas_store *store);
/** How long a call waits while another process holds the store locked (10 s by default). */
void nas_store_set_patience(nas_store *store, int ms);
/** Name of the network file system that the store lies on, NULL if it is none that is known:
 * there SQLite's locks may not hold. */
const char *nas_store_network(const nas_store *store);
/** Schema version of this program. */
int nas_store_schema(void);

/** Names of runs, metrics, kinds and files of a run: [A-Za-z0-9._-], 1..64 characters, the
 * first no '.' and no '-'.  NAS_E_USAGE; `what` says for messages what it names ("run name"). */
nas_status nas_store_name_check(const char *name, const char *what, nas_err *err);
/** `<dir>/runs/<run>/<file>`, or the directory when `file` is NULL; malloc'ed (yours),
 * NULL when out of memory.  The caller checks `file` with nas_store_name_check. */
char *nas_store_path(const nas_store *store, int64_t run, const char *file);

/** Whether something else may be written to `path`: NAS_E_USAGE for the store's own database, token
 * and runs, and (`folder`) for the store itself. */
nas_status nas_store_check_output(const nas_store *store, const char *path, bool folder,
                                  nas_err *err);

/* ---- runs ---- */

typedef enum nas_store_state {
    NAS_STORE_RUNNING,     /* or killed: see nas_store_run.alive               */
    NAS_STORE_INTERRUPTED, /* stopped, and running again helps (also: disk full) */
    NAS_STORE_DONE,
    NAS_STORE_FAILED,      /* can be claimed, but only by name                 */
    NAS_STORE_ANY_STATE    /* in filters only                                  */
} nas_store_state;
/** "running", "interrupted", "done", "failed". */
const char *nas_store_state_name(nas_store_state state);

/** Who writes: given by begin and claim, shown with every write. */
typedef struct nas_store_attempt {
    int64_t run;
    int64_t number; /* 1, 2, ... */
} nas_store_attempt;

/** What a new run is.  Strings are borrowed; NULL where "optional". */
typedef struct nas_store_run_spec {
    const char *kind;          /* "search", "train", "profile", "eval", ...        */
    const char *name;          /* unique; optional: "<kind>-<id>"                  */
    const char *experiment;    /* optional; made if missing                        */
    const char *config;        /* merged configuration, JSON text                  */
    const char *config_digest; /* of what the result depends on; optional          */
    const char *version;       /* of the program                                   */
    uint64_t seed;
    int threads;
    int64_t parent;            /* run this one starts from, 0: none                */
} nas_store_run_spec;

/** Records a new run (state running, attempt 1, this process) and makes its directory.
 * NAS_E_USAGE if the name is bad or taken. */
nas_status nas_store_run_begin(nas_store *store, const nas_store_run_spec *spec,
                               nas_store_attempt *out, nas_err *err);
/** Takes an unfinished run over: attempt + 1, state running, this process.
 * NAS_E_USAGE if it is done; NAS_E_FAIL "is running as process N" if its process lives on
 * this host (this very process may claim again). */
nas_status nas_store_run_claim(nas_store *store, int64_t run, nas_store_attempt *out, nas_err *err);
/** Ends an attempt.  `state` is INTERRUPTED, DONE or FAILED; `summary` is the result as
 * JSON text, `error` the message of a failure; each NULL keeps what is there.
 * NAS_E_FAIL "superseded" as for every write of an attempt. */
nas_status nas_store_run_finish(nas_store *store, nas_store_attempt attempt, nas_store_state state,
                                const char *summary, const char *error, nas_err *err);
/** Ends an attempt as done and begins the run `spec` in one transaction: of a chain of runs one is
 * always unfinished, whenever the process dies.  (Not so as a job's task on another node: the job is
 * tried again, and finds what it has finished.) */
nas_status nas_store_run_follow(nas_store *store, nas_store_attempt attempt, const char *summary,
                                const nas_store_run_spec *spec, nas_store_attempt *out,
                                nas_err *err);
/** Deletes a run, its rows and its files.  NAS_E_FAIL if its process lives. */
nas_status nas_store_run_delete(nas_store *store, int64_t run, nas_err *err);

typedef struct nas_store_run {
    int64_t id, attempt, parent /* 0: none */, pid;
    int64_t step, epoch;      /* of the last progress, -1 before            */
    int64_t created_ms, updated_ms, finished_ms; /* UTC; finished 0: not yet */
    uint64_t seed;
    int threads;
    nas_store_state state;
    bool alive;               /* its process lives on this host             */
    char name[NAS_STORE_NAME_SIZE], kind[NAS_STORE_NAME_SIZE], experiment[NAS_STORE_NAME_SIZE];
    char host[256], version[64], config_digest[NAS_DIGEST_SIZE];
    char latency_table[NAS_DIGEST_SIZE]; /* "": none; nas_store_table_get    */
    char *config, *summary, *error; /* summary, error: NULL if there is none */
} nas_store_run;

typedef struct nas_store_runs {
    int count;
    nas_store_run *runs; /* newest first */
} nas_store_runs;

/** `text` is a name or an id in decimal; NULL: the newest run that is running or
 * interrupted by its state, but not alive.  NAS_E_USAGE if there is none (names the
 * nearest).  Yours: nas_store_run_free. */
nas_status nas_store_run_get(nas_store *store, const char *text, nas_store_run **out, nas_err *err);
void nas_store_run_free(nas_store_run *run);
/** `kind` NULL: all; `limit` 0: all. */
nas_status nas_store_run_list(nas_store *store, const char *kind, nas_store_state state, int limit,
                              nas_store_runs *out, nas_err *err);
/** The `limit` newest runs of those older than run `before` (0: of all), for lists of pages. */
nas_status nas_store_run_list_before(nas_store *store, int64_t before, int limit,
                                     nas_store_runs *out, nas_err *err);
/** How many runs there are in each state; a killed one counts as running. */
nas_status nas_store_run_counts(nas_store *store, int64_t out[NAS_STORE_ANY_STATE], nas_err *err);
void nas_store_runs_fini(nas_store_runs *runs);

/* ---- what a run records ---- */

typedef struct nas_store_metric {
    const char *name; /* "loss", "valid_top1", ...; checked as a name */
    double value;     /* NAN is kept as "no value"                    */
} nas_store_metric;

/** Records metrics of one step in one transaction, and the step and epoch as the run's
 * progress.  Writing a (run, name, step) again replaces it, so that a resumed run may
 * repeat steps.  `count` 0 only records the progress. */
nas_status nas_store_progress(nas_store *store, nas_store_attempt attempt, int64_t step,
                              int64_t epoch, const nas_store_metric *metrics, int count,
                              nas_err *err);

typedef struct nas_store_point {
    int64_t step, epoch;
    double value;
} nas_store_point;

/** Points of one metric by step (malloc'ed, yours: free). */
nas_status nas_store_metric_get(nas_store *store, int64_t run, const char *name,
                                nas_store_point **out, int *count, nas_err *err);
/** Calls `visit` with each metric name of the run, in alphabetical order. */
nas_status nas_store_metric_names(nas_store *store, int64_t run,
                                  void (*visit)(void *user, const char *name), void *user,
                                  nas_err *err);

/** Calls `visit` with the last point of each metric of the run, in alphabetical order. */
nas_status nas_store_metric_last(nas_store *store, int64_t run,
                                 void (*visit)(void *user, const char *name,
                                               const nas_store_point *point),
                                 void *user, nas_err *err);

/** Probabilities of one epoch: p holds counts[0] values of slot 0, then counts[1] of slot 1...
 * The entropy of each slot (nats) is recorded beside them.  Replaces that epoch's. */
nas_status nas_store_probabilities_put(nas_store *store, nas_store_attempt attempt, int64_t epoch,
                                       int slots, const int *counts, const double *p, nas_err *err);

typedef struct nas_store_probability {
    int64_t epoch;
    int slot, candidate;
    double p;
} nas_store_probability;

/** All of a run, by epoch, slot, candidate (malloc'ed, yours: free); `epoch` -1: every epoch. */
nas_status nas_store_probabilities_get(nas_store *store, int64_t run, int64_t epoch,
                                       nas_store_probability **out, int *count, nas_err *err);
/** Entropies (nats): `step` of a point is the slot.  malloc'ed, yours. */
nas_status nas_store_entropy_get(nas_store *store, int64_t run, nas_store_point **out, int *count,
                                 nas_err *err);

typedef struct nas_store_architecture {
    const char *digest; /* of nas_arch_digest */
    const char *json;   /* the architecture   */
    const char *space;  /* name; optional     */
    int64_t macs, parameters;
} nas_store_architecture;

/** Finds or adds an architecture by its digest; `*id` may be NULL. */
nas_status nas_store_architecture_put(nas_store *store, const nas_store_architecture *architecture,
                                      int64_t *id, nas_err *err);

/** One judgement of an architecture by a run; NAN: not known. */
typedef struct nas_store_evaluation {
    int64_t architecture;
    const char *source; /* "derived", "best-of-n", "trained", "predictor", ...; a name */
    int64_t rank;       /* 0: best of its source */
    double latency_ms, loss, top1, top5; /* top1, top5: fractions */
    bool selected;      /* the run's answer */
} nas_store_evaluation;

/** Records `count` evaluations in one transaction; (run, source, rank) is replaced. */
nas_status nas_store_evaluations_put(nas_store *store, nas_store_attempt attempt,
                                     const nas_store_evaluation *evaluations, int count,
                                     nas_err *err);

/** An evaluation as it is read, with its architecture. */
typedef struct nas_store_judged {
    int64_t rank, macs, parameters;
    double latency_ms, loss, top1, top5; /* NAN: not known */
    bool selected;
    char source[NAS_STORE_NAME_SIZE], digest[NAS_DIGEST_SIZE];
    char *json; /* the architecture */
} nas_store_judged;

/** All of a run, by source and rank; yours: nas_store_judged_free. */
nas_status nas_store_evaluations_get(nas_store *store, int64_t run, nas_store_judged **out,
                                     int *count, nas_err *err);
void nas_store_judged_free(nas_store_judged *list, int count);

/** Finds or adds a latency table by its digest; `meta` is JSON text, `content` the YAML. */
nas_status nas_store_table_put(nas_store *store, const char *digest, const char *path,
                               const char *device, const char *meta, const char *content,
                               int64_t *id, nas_err *err);
/** Notes which table a run was made with. */
nas_status nas_store_run_table(nas_store *store, nas_store_attempt attempt, int64_t table,
                               nas_err *err);
/** Content of a table by digest (malloc'ed, yours); NAS_E_USAGE if it is not there. */
nas_status nas_store_table_get(nas_store *store, const char *digest, char **content, nas_err *err);

/* ---- files of a run ---- */

typedef struct nas_store_artifact {
    int64_t id, run, step, bytes, created_ms;
    double score;  /* NAN: none */
    char kind[NAS_STORE_NAME_SIZE], file[NAS_STORE_NAME_SIZE];
    char path[NAS_STORE_PATH_SIZE]; /* "runs/<id>/<file>", relative to the store */
    char digest[NAS_DIGEST_SIZE];   /* of the whole file                         */
} nas_store_artifact;

/** Registers a file that is already complete in the run's directory (nas_writer, at
 * nas_store_path): size and digest are taken from it.  The same `file` is replaced.
 * `kind`: "model", "arch", "report", "table", ... */
nas_status nas_store_artifact_put(nas_store *store, nas_store_attempt attempt, const char *kind,
                                  const char *file, int64_t step, nas_err *err);
/** The same for kind "checkpoint", with retention: the two written last and the one of the
 * best score (higher is better, the earlier at a tie; NAN: no score) stay; the others' rows
 * go in the same transaction, their files after it.  Put the step into the file's name, and
 * record the metrics up to `step` before it: a resumed run does not repeat them. */
nas_status nas_store_checkpoint(nas_store *store, nas_store_attempt attempt, const char *file,
                                int64_t step, double score, nas_err *err);
/** Artifacts of a run (0: all runs), written last first (kind NULL: all); with "checkpoint"
 * this is the order in which resume tries them.  malloc'ed, yours: free. */
nas_status nas_store_artifact_list(nas_store *store, int64_t run, const char *kind,
                                   nas_store_artifact **out, int *count, nas_err *err);
/** Compares a file with its record: NAS_E_DATA if size or digest differ, NAS_E_IO if
 * it cannot be read. */
nas_status nas_store_artifact_check(const nas_store *store, const nas_store_artifact *artifact,
                                    nas_err *err);

/* ---- care ---- */

typedef struct nas_store_health {
    int64_t runs, artifacts, bytes; /* looked at */
    int problems;                   /* damage: database, references, files   */
    int orphans;                    /* files that no row names: nas_store_gc */
    int kept;                       /* of them, that could not be removed    */
    int64_t orphan_bytes;
} nas_store_health;

/** `what`: "database", "reference", "missing", "changed", "orphan"; `where`: a path relative
 * to the store or a table; `why`: one line. */
typedef void nas_store_problem_fn(void *user, const char *what, const char *where, const char *why);

/** Checks database and files; each finding goes to `report` (may be NULL).  NAS_OK also
 * when there are findings. */
nas_status nas_store_verify(nas_store *store, nas_store_health *out, nas_store_problem_fn *report,
                            void *user, nas_err *err);
/** Removes orphans (with `dry` only reports them).  Runs whose process lives, or may live on
 * another host, are left alone. */
nas_status nas_store_gc(nas_store *store, bool dry, nas_store_health *out,
                        nas_store_problem_fn *report, void *user, nas_err *err);
/** Writes a whole store into `dir` (must not hold one yet) while others may go on writing:
 * the database as of one moment, and the files it names; a checkpoint that was dropped
 * meanwhile is left out. To restore, put the directory in the store's place.  NAS_E_DATA after a
 * backup that is whole but for files that the store has lost; without a backup if its database is
 * damaged. */
nas_status nas_store_backup(nas_store *store, const char *dir, nas_err *err);

/** Calls `visit` for every row of what the store knows about `run` (0: all runs), as an
 * object with the columns in a fixed order; `table` is "run", "metric", "evaluation",
 * "artifact", "probability" or "entropy".  Values that JSON cannot hold (NaN, infinity)
 * are null.  A status other than NAS_OK from `visit` stops and is returned. */
nas_status nas_store_export(nas_store *store, int64_t run,
                            nas_status (*visit)(void *user, const char *table, const json_t *row,
                                                nas_err *err),
                            void *user, nas_err *err);

#endif

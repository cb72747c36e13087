/* The fault battery: every command is killed, refused memory and disk at each of its calls, and
 * must leave the old state or the new one, say what happened, and go on when it is run again.
 *
 *   faults [--trials N] [--only TEXT] [--part I/N] NAS SHIM SOURCE
 *
 * --trials: of each kind at most, evenly spread; default: every call.  --part: every Nth of them
 * from the Ith, so that several processes share the work.  Exit code 1 if something was found. */
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/faults/scenario.h"
#include "tests/faults/trial.h"

enum { SHOWN = 5, /* findings of a row that are printed in full */
       STOP_S = 10, /* that a checkpoint may take               */
       BEGUN_S = 1,   /* after that long a command has begun    */
       SIZES = 50,    /* of disks                                  */
       TOLD = 100,    /* trials from one sign of life to the next */
       PATIENCE_HITS = 4 }; /* refusals until a disk has room again  */

typedef struct fault {
    const char *name;
    fault_kind kind;
    int action, code;   /* code: with which the command shall end */
    bool persistent;
    bool changes;       /* only for what changes something        */
} fault;

/* A row of the table that is printed. */
typedef struct row {
    const scenario *scenario;
    const char *fault;
    long points, tried, found;
} row;

/* A scenario undisturbed. */
typedef struct golden {
    char *proof, *kept; /* kept: of scenario.kept */
    long calls[FAULT_KINDS], bytes;
    long tree_bytes;    /* that its jobs write, too */
    double seconds;
} golden;

static const char *only = "";
static long most = LONG_MAX, part = 1, parts = 1, all_tried, all_found;

/* ---- results ---- */

static const char *const volatile_keys[] = {
    "run", "arch", "model", "supernet", "samples", "seconds", "peak_rss_mib", "created", "updated",
    "store", "path", "images_per_second", "measured_ms", "measured_ms_before", "attempt", "artifacts",
    "findings", "orphans", "orphan_bytes", "core_seconds"};

static void strip(json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;

    for (i = 0; json_is_object(value) && i < sizeof volatile_keys / sizeof *volatile_keys; i++)
        json_object_del(value, volatile_keys[i]);
    json_object_foreach(value, key, member)
        strip(member);
    json_array_foreach(value, i, member)
        strip(member);
}

/* What was printed, without what differs from one run to the next; yours. */
static char *essence(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);

    if (json == NULL)
        return strdup(text);
    strip(json);
    char *out = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(json);
    return out;
}

/* FNV-1a of the last file of a pattern; 0 if there is none. */
static uint64_t file_sum(const char *pattern)
{
    char path[400];
    uint64_t sum = 14695981039346656037u;
    glob_t found;

    snprintf(path, sizeof path, "%s/%s", place.work, pattern);
    if (glob(path, 0, NULL, &found) != 0)
        return 0;
    FILE *file = fopen(found.gl_pathv[found.gl_pathc - 1], "r");
    globfree(&found);
    if (file == NULL)
        return 0;
    for (int c; (c = getc(file)) != EOF;)
        sum = (sum ^ (uint64_t)c) * 1099511628211u;
    fclose(file);
    return sum;
}

/* What `proof` (NULL: the command itself, which has just ended well) says of a result; yours. */
static char *proof_by(const scenario *s, const char *proof, const trial_end *end)
{
    char *said = NULL, *all = NULL;

    if (s->times)
        return strdup("");
    said = essence(proof != NULL ? trial_run(proof, false).out : end->out);
    if (asprintf(&all, "%s %llx", said, (unsigned long long)(s->file ? file_sum(s->file) : 0)) < 0)
        trial_die("no memory");
    free(said);
    return all;
}

static char *proof_of(const scenario *s, const trial_end *end)
{
    return proof_by(s, s->proof, end);
}

static char *kept_of(const scenario *s, const trial_end *end)
{
    return proof_by(s, s->kept, end);
}

/* How far the jobs of a store have got. */
typedef struct queue {
    int begun, again; /* jobs with an attempt, and with several */
} queue;

static queue look_at_queue(void)
{
    const trial_end end = trial_run("jobs list --quiet --json", false);
    json_t *list = json_loads(end.out, 0, NULL), *job;
    queue q = {0};
    size_t i;

    json_array_foreach(json_object_get(list, "jobs"), i, job) {
        const json_int_t attempts = json_integer_value(json_object_get(job, "attempt"));

        q.begun += attempts > 0;
        q.again += attempts > 1;
    }
    json_decref(list);
    return q;
}

/* ---- one trial ---- */

static void finding(row *r, const char *what, const trial_end *end)
{
    r->found++;
    if (r->found > SHOWN)
        return;
    printf("FOUND %s, %s, call %ld (%s): %s; exit code %d, %.2f s\n", r->scenario->name, r->fault,
           place.plan->at, place.plan->where, what, end->code, end->seconds);
    printf("    stderr: %.600s\n", end->err);
    fflush(stdout);
}

/* True if a file that is only there while it is written was left. */
static bool has_remains(void)
{
    char command[400];

    snprintf(command, sizeof command, "find %s -name '*.tmp-*' | grep -q .", place.work);
    return system(command) == 0;
}

/* The next start, as a person makes it: a run is continued, everything else is done again. */
static trial_end start_again(const scenario *s)
{
    trial_end end = {.code = 2};

    if (s->run) {
        end = trial_run("resume --quiet --json", false);
        if (end.code == 2 || end.code == 74) /* nothing was begun, or it is done already */
            end = trial_run(strncmp(s->command, "resume", 6) == 0 ? s->proof : s->command, false);
    } else {
        end = trial_run(s->command, false);
    }
    return end;
}

/* After a fault the next start must end as if there had been none. */
static void recover_to(row *r, char *(*prove)(const scenario *, const trial_end *),
                       const char *wanted)
{
    const scenario *s = r->scenario;
    trial_end end = start_again(s);

    if (end.code != 0 && end.code != s->repeated) {
        finding(r, "the next start failed", &end);
        return;
    }
    char *proof = prove(s, &end);
    if (strcmp(proof, wanted) != 0) {
        end.err = proof;
        finding(r, "the next start ended otherwise", &end);
    }
    free(proof);
    if (strcmp(s->folder, "inputs") == 0 && access("store", F_OK) != 0 && !s->run)
        return;
    end = trial_run("store gc --quiet", false);
    if (end.code == 0)
        end = trial_run("store verify --quiet", false);
    if (end.code != 0 && end.code != 74) /* there is none */
        finding(r, "the store is damaged", &end);
}

static void recover(row *r, const char *wanted)
{
    recover_to(r, proof_of, wanted);
}

/* Runs the scenario under place.plan; false if the fault did not come to pass. */
static bool try_kill(row *r, const char *wanted)
{
    trial_copy(r->scenario->folder);
    const trial_end end = trial_run(r->scenario->command, true);

    if (place.plan->hits == 0)
        return false;
    if (end.code != 128 + SIGKILL)
        finding(r, "was not killed", &end);
    recover(r, wanted);
    return true;
}

static bool try_error(row *r, const char *wanted, int code)
{
    const scenario *s = r->scenario;

    trial_copy(s->folder);
    trial_end end = trial_run(s->command, true);
    if (place.plan->hits == 0)
        return false;
    if (end.code == 0) {
        char *proof = proof_of(s, &end);

        if (strcmp(proof, wanted) != 0) {
            end.err = proof;
            finding(r, "it says that all went well, but the result is another", &end);
        }
        free(proof);
    } else if (end.code != code && end.code != s->judged) {
        finding(r, "wrong exit code", &end);
    } else if (end.err[0] == '\0') {
        finding(r, "no message", &end);
    }
    if (has_remains() && !place.plan->persistent && strncmp(place.plan->where, "unlink", 6) != 0)
        finding(r, "left a temporary file", &end);
    if (s->changes)
        recover(r, wanted);
    return true;
}

/* What waits for room on the disk gets it after some refusals, and then ends as if nothing had
 * been.  It may give up before the first job.  `alone`: its jobs had room all the time, so that
 * each of them ran once. */
static bool try_patience(row *r, const golden *g, bool alone)
{
    const scenario *s = r->scenario;

    place.plan->refusals = PATIENCE_HITS;
    trial_copy(s->folder);
    trial_end end = trial_run(s->command, true);
    if (place.plan->hits == 0)
        return false;
    char *message = strdup(end.err);
    const queue q = look_at_queue();

    end.err = message;
    if (end.code == 74 ? q.begun > 0 : end.code != 0)
        finding(r, "did not wait for room", &end);
    else if (alone && q.again > 0)
        finding(r, "a job ran twice", &end);
    free(message);
    recover_to(r, kept_of, g->kept);
    return true;
}

/* The same, but there is never room, and it is asked to stop `after` seconds. */
static bool try_stop(row *r, const golden *g, double after)
{
    const scenario *s = r->scenario;

    trial_copy(s->folder);
    const pid_t pid = trial_start(s->command, true);
    while (place.plan->hits == 0 && !trial_ended(pid))
        usleep(1000);
    usleep((useconds_t)(after * 1e6));
    kill(pid, SIGTERM);
    const trial_end end = trial_wait(pid);
    if (place.plan->hits == 0)
        return false;
    if (end.code != 0 && end.code != 74 && end.code != 75 && end.code != 128 + SIGTERM)
        finding(r, "wrong exit code", &end);
    if (end.seconds > STOP_S)
        finding(r, "took too long to stop", &end);
    recover_to(r, kept_of, g->kept);
    return true;
}

/* ---- batteries ---- */

static golden golden_of(const scenario *s)
{
    golden g = {0};

    for (int i = 0; i < 2; i++) {
        trial_copy(s->folder);
        trial_plan(i == 0 ? FAULT_CHANGE : FAULT_ALLOC, FAULT_NONE, 0, false, false);
        const trial_end end = trial_run(s->command, true);

        if (end.code != 0)
            trial_die("%s: exit code %d undisturbed: %s", s->name, end.code, end.err);
        if (s->file != NULL && file_sum(s->file) == 0)
            trial_die("%s: makes no %s", s->name, s->file);
        for (int k = 0; k < FAULT_KINDS; k++)
            g.calls[k] = place.plan->calls[k] > 0 ? place.plan->calls[k] : g.calls[k];
        g.bytes = place.plan->bytes;
        g.seconds = end.seconds;
        free(g.proof);
        g.proof = proof_of(s, &end);
    }
    if (s->waits) {
        trial_copy(s->folder);
        trial_plan(FAULT_CHANGE, FAULT_NONE, 0, false, true);
        const trial_end end = trial_run(s->command, true);
        g.tree_bytes = place.plan->bytes;
        g.kept = kept_of(s, &end);
    }
    return g;
}

static void print_row(const row *r)
{
    printf("%-18s %-22s %7ld %7ld %6ld\n", r->scenario->name, r->fault, r->points, r->tried,
           r->found);
    fflush(stdout);
    all_tried += r->tried;
    all_found += r->found;
}

/* True if trial `i` (from 0) is of our part. */
static bool is_ours(long i)
{
    return i % parts == part - 1;
}

/* After a trial: those that disturb little take hours in all. */
static void count_trial(row *r, bool tried)
{
    r->tried += tried;
    if (tried && r->tried % TOLD == 0)
        fprintf(stderr, "%s, %s: %ld of %ld, %ld found\n", r->scenario->name, r->fault, r->tried,
                r->points, r->found);
}

/* The i-th of `trials` numbers that are spread evenly over 1..`points`. */
static long spread(long i, long trials, long points)
{
    return trials > 1 ? 1 + (points - 1) * i / (trials - 1) : (points + 1) / 2;
}

/* One fault at each call of a kind, or at as many as were asked for. */
static void sweep(const scenario *s, const golden *g, const fault *f)
{
    row r = {.scenario = s, .fault = f->name, .points = g->calls[f->kind]};
    const long trials = r.points < most ? r.points : most;

    for (long i = 0; i < trials; i++) {
        if (!is_ours(i))
            continue;
        trial_plan(f->kind, f->action, spread(i, trials, r.points), f->persistent, false);
        count_trial(&r, f->action == FAULT_KILL ? try_kill(&r, g->proof)
                                                : try_error(&r, g->proof, f->code));
    }
    print_row(&r);
}

/* Disks of many sizes: a write that does not fit whole is cut. */
static void fill_disks(const scenario *s, const golden *g)
{
    row r = {.scenario = s, .fault = "disk of a size", .points = SIZES};
    const long trials = r.points < most ? r.points : most;

    for (long i = 0; i < trials; i++) {
        if (!is_ours(i))
            continue;
        trial_plan(FAULT_CHANGE, FAULT_NONE, 0, false, false);
        place.plan->disk_bytes = g->bytes * (i + 1) / (trials + 1) + 1;
        count_trial(&r, try_error(&r, g->proof, 74));
    }
    print_row(&r);
}

/* There is no room for a while, at each call of what starts jobs; these have room. */
static void refuse_for_a_while(const scenario *s, const golden *g, const char *name)
{
    row r = {.scenario = s, .fault = name, .points = g->calls[FAULT_CHANGE]};
    const long trials = r.points < most ? r.points : most;

    for (long i = 0; i < trials; i++) {
        if (!is_ours(i))
            continue;
        trial_plan(FAULT_CHANGE, ENOSPC, spread(i, trials, r.points), true, false);
        count_trial(&r, try_patience(&r, g, true));
    }
    print_row(&r);
}

/* Disks of many sizes, which it shares with its jobs: there is room after a while, or (`stop`)
 * it is asked to stop soon after the first write that fails. */
static void fill_shared_disks(const scenario *s, const golden *g, const char *name, bool stop)
{
    row r = {.scenario = s, .fault = name, .points = SIZES};
    const long trials = r.points < most ? r.points : most;

    for (long i = 0; i < trials; i++) {
        if (!is_ours(i))
            continue;
        trial_plan(FAULT_CHANGE, FAULT_NONE, 0, false, true);
        place.plan->disk_bytes = g->tree_bytes * (i + 1) / (trials + 1) + 1;
        count_trial(&r, stop ? try_stop(&r, g, 0.3 * (double)(i % 8)) : try_patience(&r, g, false));
    }
    print_row(&r);
}

/* A signal at an instant; SIGTERM leaves time for a checkpoint. */
static void signal_at_instants(const scenario *s, const golden *g, const char *name, int number)
{
    row r = {.scenario = s, .fault = name, .points = 1000};
    const long trials = r.points < most ? r.points : most;
    double slowest = 0;
    long stopped = 0;

    for (long i = 0; i < trials; i++) {
        const double after = g->seconds * ((double)i + 0.5) / (double)trials;

        if (!is_ours(i))
            continue;
        trial_plan(FAULT_CHANGE, FAULT_NONE, 0, false, false);
        place.plan->at = i;
        trial_copy(s->folder);
        const pid_t pid = trial_start(s->command, false);
        usleep((useconds_t)(after * 1e6));
        kill(pid, number);
        const trial_end end = trial_wait(pid);
        /* it may be over already, or not have begun: then it ends by the signal */
        if (end.code != 0 && end.code != 128 + number && (number != SIGTERM || end.code != 75))
            finding(&r, "wrong exit code", &end);
        if (end.code == 75 && end.seconds > STOP_S)
            finding(&r, "took too long to stop", &end);
        stopped += end.code == 75;
        slowest = end.code == 75 && end.seconds > slowest ? end.seconds : slowest;
        if (number == SIGTERM && end.code == 128 + SIGTERM && after > BEGUN_S)
            finding(&r, "ended without a checkpoint", &end);
        recover(&r, g->proof);
        count_trial(&r, true);
    }
    print_row(&r);
    if (number == SIGTERM)
        printf("    exit 75: %ld times, after %.2f s at most\n", stopped, slowest);
}

static bool is_asked_for(const scenario *s, const char *name)
{
    char label[64];

    snprintf(label, sizeof label, "%s: %s", s->name, name);
    return strstr(label, only) != NULL;
}

static void disturb(const scenario *s)
{
    static const fault faults[] = {
        {"killed", FAULT_CHANGE, FAULT_KILL, 0, false, true},
        {"disk full", FAULT_CHANGE, ENOSPC, 74, true, true},
        {"write error, once", FAULT_CHANGE, EIO, 74, false, true},
        {"read error", FAULT_READ, EIO, 74, true, false},
        {"read error, once", FAULT_READ, EIO, 74, false, false},
        {"no memory, once", FAULT_ALLOC, ENOMEM, 71, false, false},
        {"no memory", FAULT_ALLOC, ENOMEM, 71, true, false},
    };
    static const char no_room[] = "no room for a while", small_disk[] = "disk full for a while",
                      no_room_stop[] = "disk full, then stop";
    static const char *const others[] = {"disk of a size", "killed at an instant", "asked to stop",
                                         no_room, small_disk, no_room_stop};
    bool asked = false;

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        asked = asked || is_asked_for(s, faults[i].name);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        asked = asked || is_asked_for(s, others[i]);
    if (!asked)
        return;
    golden g = golden_of(s);

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        if (is_asked_for(s, faults[i].name) && (s->changes || !faults[i].changes) &&
            !(s->waits && faults[i].persistent && faults[i].kind != FAULT_ALLOC))
            sweep(s, &g, &faults[i]);
    if (s->changes && !s->waits && is_asked_for(s, "disk of a size"))
        fill_disks(s, &g);
    if (s->waits && is_asked_for(s, no_room))
        refuse_for_a_while(s, &g, no_room);
    if (s->waits && is_asked_for(s, small_disk))
        fill_shared_disks(s, &g, small_disk, false);
    if (s->waits && is_asked_for(s, no_room_stop))
        fill_shared_disks(s, &g, no_room_stop, true);
    if ((s->run || s->waits) && is_asked_for(s, "killed at an instant"))
        signal_at_instants(s, &g, "killed at an instant", SIGKILL);
    if ((s->run || s->waits) && is_asked_for(s, "asked to stop"))
        signal_at_instants(s, &g, "asked to stop", SIGTERM);
    free(g.proof);
    free(g.kept);
}

int main(int argc, char **argv)
{
    int at = 1;

    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2)
        if (strcmp(argv[at], "--trials") == 0)
            most = atol(argv[at + 1]);
        else if (strcmp(argv[at], "--only") == 0)
            only = argv[at + 1];
        else if (strcmp(argv[at], "--part") != 0 ||
                 sscanf(argv[at + 1], "%ld/%ld", &part, &parts) != 2)
            break;
    if (argc - at != 3 || most < 1 || part < 1 || part > parts) {
        fputs("usage: faults [--trials N] [--only TEXT] [--part I/N] NAS SHIM SOURCE\n", stderr);
        return 2;
    }
    trial_init(argv[at], argv[at + 1]);
    scenario_prepare(argv[at + 2]);
    printf("%-18s %-22s %7s %7s %6s\n", "command", "fault", "points", "tried", "found");
    for (int i = 0; i < scenario_count; i++)
        disturb(&scenarios[i]);
    trial_fini();
    printf("%ld trials, %ld findings\n", all_tried, all_found);
    return all_found > 0;
}

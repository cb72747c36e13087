/* What the dashboard tells Prometheus: its text format, version 0.0.4. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "search/report/private.h"
#include "search/store/jobs.h"

enum { MAX_RUNNING = 1000, LABEL_SIZE = 512 };

/* Everything from the store is a label's value, and is escaped as one. */
static void label(FILE *out, const char *name, const char *value)
{
    char shown[LABEL_SIZE];

    nas_text_escape(value, shown, sizeof shown);
    fprintf(out, "%s=\"", name);
    for (const char *c = shown; *c != '\0'; c++) {
        if (*c == '\\' || *c == '"')
            putc('\\', out);
        putc(*c, out);
    }
    putc('"', out);
}

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(FILE *out, double value)
{
    if (isnan(value))
        fputs(" NaN\n", out);
    else if (isinf(value))
        fputs(value < 0 ? " -Inf\n" : " +Inf\n", out);
    else
        fprintf(out, " %.17g\n", value);
}

static void state(FILE *out, const char *metric, const char *name, int64_t count)
{
    fprintf(out, "%s{", metric);
    label(out, "state", name);
    fprintf(out, "} %" PRId64 "\n", count);
}

static void count_metrics(FILE *out, const int64_t *runs, int64_t killed, const int64_t *jobs)
{
    head(out, "onepath_runs", "gauge", "Runs in the store by state.");
    for (int s = 0; s < NAS_STORE_ANY_STATE; s++)
        state(out, "onepath_runs", nas_store_state_name((nas_store_state)s),
              runs[s] - (s == NAS_STORE_RUNNING ? killed : 0));
    state(out, "onepath_runs", "killed", killed);
    head(out, "onepath_jobs", "gauge", "Jobs in the store by state.");
    for (int s = 0; s < NAS_JOB_ANY_STATE; s++)
        state(out, "onepath_jobs", nas_job_state_name((nas_job_state)s), jobs[s]);
}

/* One line a running run: a member of it. */
typedef double member_fn(const nas_store_run *run);

static double epoch_of(const nas_store_run *run)
{
    return (double)run->epoch;
}

static double step_of(const nas_store_run *run)
{
    return (double)run->step;
}

static double updated_of(const nas_store_run *run)
{
    return (double)run->updated_ms / 1000;
}

static void run_metrics(FILE *out, const nas_store_runs *runs)
{
    static const struct {
        const char *name, *help;
        member_fn *member;
    } metrics[] = {
        {"onepath_run_epoch", "Last epoch of a run that runs.", epoch_of},
        {"onepath_run_step", "Last step of a run that runs.", step_of},
        {"onepath_run_updated_timestamp_seconds", "When a run that runs last wrote.", updated_of},
    };

    for (size_t m = 0; m < sizeof metrics / sizeof *metrics; m++) {
        head(out, metrics[m].name, "gauge", metrics[m].help);
        for (int i = 0; i < runs->count; i++) {
            if (!runs->runs[i].alive)
                continue;
            fprintf(out, "%s{", metrics[m].name);
            label(out, "run", runs->runs[i].name);
            putc(',', out);
            label(out, "kind", runs->runs[i].kind);
            putc('}', out);
            number(out, metrics[m].member(&runs->runs[i]));
        }
    }
}

typedef struct last {
    FILE *out;
    const char *run;
} last;

static void put_last(void *user, const char *name, const nas_store_point *point)
{
    const last *l = user;

    fputs("onepath_run_metric{", l->out);
    label(l->out, "run", l->run);
    putc(',', l->out);
    label(l->out, "metric", name);
    putc('}', l->out);
    number(l->out, point->value);
}

static nas_status last_metrics(FILE *out, nas_store *store, const nas_store_runs *runs,
                               nas_err *err)
{
    nas_status status = NAS_OK;

    head(out, "onepath_run_metric", "gauge", "Last value of each metric of a run that runs.");
    for (int i = 0; i < runs->count && status == NAS_OK; i++)
        if (runs->runs[i].alive) {
            last l = {.out = out, .run = runs->runs[i].name};

            status = nas_store_metric_last(store, runs->runs[i].id, put_last, &l, err);
        }
    return status;
}

static void own_metrics(FILE *out, const nas_dashboard *d)
{
    head(out, "onepath_answers_total", "counter", "Requests answered, by code of HTTP.");
    for (int code = 0; code < (int)(sizeof d->answers / sizeof *d->answers); code++)
        if (d->answers[code] > 0)
            fprintf(out, "onepath_answers_total{code=\"%d\"} %" PRId64 "\n", code,
                    d->answers[code]);
    head(out, "onepath_event_streams", "gauge", "Viewers that are told of changes.");
    fprintf(out, "onepath_event_streams %d\n", d->streams);
    head(out, "onepath_build_info", "gauge", "The version, as a label.");
    fputs("onepath_build_info{", out);
    label(out, "version", d->version);
    fputs("} 1\n", out);
}

static nas_status write_all(FILE *out, nas_dashboard *d, nas_store_runs *runs, nas_err *err)
{
    int64_t by_state[NAS_STORE_ANY_STATE], jobs[NAS_JOB_ANY_STATE], killed = 0;
    nas_status status;

    if ((status = nas_store_run_counts(d->store, by_state, err)) ||
        (status = nas_store_job_counts(d->store, jobs, err)) ||
        (status = nas_store_run_list(d->store, NULL, NAS_STORE_RUNNING, MAX_RUNNING, runs, err)))
        return status;
    for (int i = 0; i < runs->count; i++)
        killed += !runs->runs[i].alive;
    count_metrics(out, by_state, killed, jobs);
    run_metrics(out, runs);
    if ((status = last_metrics(out, d->store, runs, err)) == NAS_OK)
        own_metrics(out, d);
    return status;
}

nas_status nas_report__metrics(nas_dashboard *dashboard, char **text, nas_err *err)
{
    nas_store_runs runs = {0};
    size_t size = 0;
    FILE *out = open_memstream(text, &size);

    if (out == NULL)
        return nas_fail(err, NAS_E_NOMEM, "metrics: out of memory");
    nas_status status = write_all(out, dashboard, &runs, err);
    if (fclose(out) != 0 && status == NAS_OK)
        status = nas_fail(err, NAS_E_NOMEM, "metrics: out of memory");
    nas_store_runs_fini(&runs);
    if (status != NAS_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}

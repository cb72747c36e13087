/* Progress on stderr: a line rewritten in place on a terminal, a plain line elsewhere. */
#include "cli/progress.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/system.h"
#include "cli/ranks.h"
#include "cli/signals.h"
#include "search/jobs/worker.h"

static const double terminal_seconds = 0.1, plain_seconds = 30;

void cli_progress_init(cli_progress *progress, const cli_common *common)
{
    const char *term = getenv("TERM");

    memset(progress, 0, sizeof *progress);
    progress->quiet = common->quiet || nas_comm_rank(cli_ranks()) > 0;
    progress->terminal = isatty(STDERR_FILENO) && (term == NULL || strcmp(term, "dumb") != 0);
    progress->begun = nas_clock_seconds();
    progress->next = progress->begun + (progress->terminal ? 0 : plain_seconds);
}

/* Appends to a line of fixed size; what does not fit is cut. */
__attribute__((format(printf, 3, 4))) static void add(char *line, size_t size, const char *format,
                                                      ...)
{
    const size_t used = strlen(line);
    va_list args;

    va_start(args, format);
    vsnprintf(line + used, size - used, format, args);
    va_end(args);
}

static void add_value(char *line, size_t size, const char *name, const char *format, double value)
{
    char number[32];

    if (!isfinite(value))
        return;
    snprintf(number, sizeof number, format, value);
    add(line, size, "  %s %s", name, number);
}

static void add_eta(char *line, size_t size, double seconds)
{
    const long s = isfinite(seconds) && seconds >= 0 && seconds < 1e7 ? (long)seconds : -1;

    if (s >= 3600)
        add(line, size, "  ETA %ld:%02ld h", s / 3600, s / 60 % 60);
    else if (s >= 0)
        add(line, size, "  ETA %ld:%02ld min", s / 60, s % 60);
}

/* True if a line is due now; then the next one is put off. */
static bool due(cli_progress *progress)
{
    const double now = nas_clock_seconds();

    if (progress->quiet || now < progress->next)
        return false;
    progress->next = now + (progress->terminal ? terminal_seconds : plain_seconds);
    return true;
}

static void put(cli_progress *progress, const char *line)
{
    if (progress->terminal) {
        fprintf(stderr, "\r\033[K%s", line);
        fflush(stderr);
        progress->shown = true;
    } else {
        nas_log(NAS_LOG_INFO, "%s", line);
    }
}

void cli_progress_show(cli_progress *progress, const nas_progress *at)
{
    const int64_t done = at->epoch * at->batches + at->batch;
    char line[256] = "";

    nas_worker_step(at->step, at->phase);
    if (strncmp(progress->phase, at->phase, sizeof progress->phase - 1) != 0) {
        snprintf(progress->phase, sizeof progress->phase, "%s", at->phase);
        progress->begun = nas_clock_seconds();
        progress->first = done;
    }
    if (!due(progress))
        return;
    const double seconds = nas_clock_seconds() - progress->begun;
    const double left = (double)(at->epochs * at->batches - done);
    add(line, sizeof line, "%s", at->phase);
    if (at->epochs > 0) /* the one that runs, counted from 1 */
        add(line, sizeof line, "  epoch %lld/%lld",
            (long long)(at->epoch < at->epochs ? at->epoch + 1 : at->epochs),
            (long long)at->epochs);
    if (at->batches > 0)
        add(line, sizeof line, "  %lld/%lld", (long long)at->batch, (long long)at->batches);
    add_value(line, sizeof line, "images/s", "%.0f", at->images_per_second);
    add_value(line, sizeof line, "loss", "%.3f", at->loss);
    add_value(line, sizeof line, "E[ms]", "%.3g", at->latency_ms);
    add_value(line, sizeof line, "entropy", "%.3f", at->entropy);
    if (done > progress->first)
        add_eta(line, sizeof line, seconds / (double)(done - progress->first) * left);
    add(line, sizeof line, "  %.0f MiB", nas_system_peak_rss_mib());
    put(progress, line);
}

static void on_progress(void *user, const nas_progress *at)
{
    cli_progress_show(user, at);
}

static bool on_stop(void *user)
{
    return cli_stop_requested();
}

nas_observer cli_progress_observer(cli_progress *progress)
{
    return (nas_observer){.user = progress, .progress = on_progress, .stop = on_stop};
}

bool cli_progress_images(void *user, uint32_t done, uint32_t total)
{
    cli_progress *progress = user;
    char line[96];

    nas_worker_step(done, "images");
    if (due(progress)) {
        snprintf(line, sizeof line, "images  %u/%u", done, total);
        put(progress, line);
    }
    return !cli_stop_requested();
}

void cli_progress_end(cli_progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}

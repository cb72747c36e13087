/* A line on an inherited pipe for each step, and SIGTERM from the kernel when the loop dies. */
#include "search/jobs/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/system.h"

static const double pause_seconds = 0.25;

static struct {
    long long job, attempt; /* job 0: this process is no job's */
    int fd;
    double next;
} worker;

void nas_worker_begin(void)
{
    const char *text = getenv(NAS_WORKER_VARIABLE);
    long long job, attempt;
    int fd, loop;

    if (!text)
        return;
    const int found = sscanf(text, "%lld %lld %d %d", &job, &attempt, &fd, &loop);
    unsetenv(NAS_WORKER_VARIABLE); /* it says nothing about processes that this one starts */
    if (found != 4 || job < 1 || attempt < 1 || fd <= STDERR_FILENO)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != loop) /* it died before the line above */
        raise(SIGTERM);
    worker.job = job;
    worker.attempt = attempt;
    worker.fd = fd;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK); /* a loop that does not read must not stop the work */
}

bool nas_worker_is(void)
{
    return worker.job != 0;
}

void nas_worker_act(nas_store *store)
{
    if (worker.job)
        nas_store_act_for(store, worker.job, worker.attempt);
}

void nas_worker_step(int64_t step, const char *phase)
{
    char line[NAS_WORKER_LINE_SIZE];

    if (!worker.job || nas_clock_seconds() < worker.next)
        return;
    worker.next = nas_clock_seconds() + pause_seconds;
    const int size = snprintf(line, sizeof line, "%lld %.1f %.60s\n", (long long)step,
                              nas_system_peak_rss_mib(), phase);
    /* nothing to be done if the loop is gone: the signal is on its way */
    const ssize_t ignored = write(worker.fd, line, (size_t)size);
    (void)ignored;
}

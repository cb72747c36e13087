/* nas-profile - measures the networks of a job on the machine that it runs on.
 *
 * Reads the job, writes one JSON object a line on stdout: what this machine is, then turn after
 * turn until its time is over or nobody listens (docs/reference/profile-protocol.md). */
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "latency/device/self_test.h"
#include "latency/profile/bench.h"
#include "latency/profile/deck.h"
#include "latency/profile/job.h"
#include "latency/profile/lines.h"

static const char usage[] =
    "nas-profile " NAS_VERSION " - measures networks for 'nas profile --via ...'\n"
    "usage: nas-profile JOB          measure what the file JOB says\n"
    "       nas-profile --self-test  check the kernels on this machine\n"
    "       nas-profile --version\n";

/* Each line is whole when it leaves; false once nobody reads. */
static bool flush(void)
{
    return fflush(stdout) == 0;
}

static nas_status measure(const nas_job *job, const nas_space *space, nas_err *err)
{
    double block_ms[NAS_MAX_SLOTS];
    nas_bench bench = {.model = NULL};
    nas_deck deck = {.slots = 0};
    nas_facts facts;
    int64_t turn = 0;
    nas_status status;

    nas_facts__here(&facts, "nas " NAS_VERSION); /* before a thread is bound: it tells all cores */
    if ((status = nas_bench__init(&bench, space, job->seed, job->cores, err)) ||
        (status = nas_deck__init(&deck, space, job->seed, err)))
        goto done;
    for (nas_deck__deal(&deck); turn < job->first; turn++)
        nas_deck__deal(&deck);
    nas_line__put_facts(stdout, &facts);
    if (!flush() || (status = nas_bench__warm_up(&bench, deck.choice, job->seconds / 4, err)))
        goto done;
    const double deadline = nas_clock_seconds() + job->seconds;
    do { /* a turn at least: who asks again and again gets on */
        status = nas_bench__turn(&bench, deck.choice, NULL, block_ms, err);
        if (status != NAS_OK)
            goto done;
        nas_line__put_turn(stdout, turn++, space->count, deck.choice, block_ms);
        if (!flush())
            goto done;
        nas_deck__deal(&deck);
    } while (nas_clock_seconds() < deadline);
    nas_line__put_end(stdout);
    flush();

done:
    nas_deck__fini(&deck);
    nas_bench__fini(&bench);
    return status;
}

static nas_status run(const char *path, nas_err *err)
{
    nas_space *space = NULL;
    char *text = NULL;
    nas_job job;
    size_t size;
    nas_status status;

    if ((status = nas_file_read(path, NAS_JOB_MAX_BYTES, &text, &size, err)) == NAS_OK &&
        (status = nas_job__parse(&job, &space, text, size, err)) == NAS_OK) {
        omp_set_dynamic(0);
        if (job.threads > 0)
            omp_set_num_threads(job.threads);
        status = measure(&job, space, err);
    }
    nas_space_free(space);
    free(text);
    return status;
}

int main(int argc, char **argv)
{
    nas_err err = {.status = NAS_OK};
    nas_status status;

    if (argc != 2 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, argc == 2 ? stdout : stderr);
        return argc == 2 ? 0 : NAS_E_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("nas-profile " NAS_VERSION);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(argv[1], "--self-test") == 0) {
        status = nas_device__self_test(&err);
        if (status == NAS_OK)
            status = nas_device__self_test_int8(&err);
    } else {
        status = run(argv[1], &err);
        if (status != NAS_OK) {
            nas_line__put_error(stdout, err.message);
            flush();
        }
    }
    if (status != NAS_OK)
        fprintf(stderr, "nas-profile: %s\n", err.message);
    return (int)status;
}

/* nas-profile - measures networks on the machine that it runs on.
 *
 * Reads the job, says on stdout what this machine is, then answers the requests that come on stdin,
 * a JSON object a line, until no more can come or nobody listens
 * (docs/reference/profile-protocol.md). */
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "latency/device/self_test.h"
#include "latency/profile/bench.h"
#include "latency/profile/facts.h"
#include "latency/profile/lines.h"

static const char usage[] =
    "nas-profile " NAS_VERSION " - measures networks for 'nas profile --via ...'\n"
    "usage: nas-profile JOB          measure what stdin asks of the space in the file JOB\n"
    "       nas-profile --self-test  check the kernels on this machine\n"
    "       nas-profile --version\n";

/* Each line is whole when it leaves; false once nobody reads. */
static bool flush(void)
{
    return fflush(stdout) == 0;
}

static nas_status answer_all(nas_bench *bench, const nas_space *space, nas_err *err)
{
    char text[NAS_REQUEST_SIZE];
    nas_request request;
    nas_answer answer;

    while (fgets(text, sizeof text, stdin) != NULL) {
        char *end = strchr(text, '\n');

        if (end == NULL) /* torn by the end of the link, or no request at all */
            return nas_fail(err, NAS_E_DATA, "'%.40s' is no request", text);
        *end = '\0';
        nas_status status = nas_request__parse(&request, space, text, err);
        if (status == NAS_OK)
            status = nas_bench__answer(bench, &request, &answer, err);
        if (status != NAS_OK)
            return status;
        nas_line__put_answer(stdout, &request, space->count, &answer);
        if (!flush())
            break;
    }
    return NAS_OK;
}

static nas_status measure(const nas_job *job, const nas_space *space, nas_err *err)
{
    nas_bench bench = {.model = NULL};
    nas_facts facts;

    nas_facts__here(&facts, "nas " NAS_VERSION); /* before a thread is bound: it tells all cores */
    nas_status status = nas_bench__init(&bench, space, job, err);
    if (status == NAS_OK) {
        nas_line__put_facts(stdout, &facts);
        if (flush()) {
            nas_bench__warm_up(&bench, job->warm_seconds);
            status = answer_all(&bench, space, err);
        }
    }
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

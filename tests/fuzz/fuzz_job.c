/* Fuzz target: any bytes as the job of a device, and what follows the job's last line as requests.
 * What is accepted must survive writing and reading again unchanged. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "latency/profile/job.h"
#include "latency/profile/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_request(const nas_space *space, const char *line)
{
    nas_request request = {0}, again = {0};
    char text[NAS_REQUEST_SIZE];

    if (nas_request__parse(&request, space, line, NULL) != NAS_OK)
        return;
    text[nas_request__text(&request, space->count, text) - 1] = '\0';
    if (nas_request__parse(&again, space, text, NULL) != NAS_OK ||
        memcmp(&again, &request, sizeof request) != 0)
        abort();
}

/* Where the job ends, behind "end"; NULL if it does not. */
static const uint8_t *end_of_job(const uint8_t *data, size_t size)
{
    const uint8_t *end = memmem(data, size, "\nend\n", 5);

    return end != NULL ? end + 5 : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nas_space *space, *again;
    nas_job job, job_again;
    char *text, *text_again;
    size_t length, length_again;
    const uint8_t *end = end_of_job(data, size);

    if (nas_job__parse(&job, &space, (const char *)data,
                       end != NULL ? (size_t)(end - data) : size, NULL) != NAS_OK)
        return 0;
    char *requests = strndup((const char *)end, size - (size_t)(end - data)), *rest = requests;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        try_request(space, line);
    free(requests);
    if (nas_job__text(&text, &length, &job, space, NULL) != NAS_OK ||
        nas_job__parse(&job_again, &again, text, length, NULL) != NAS_OK ||
        nas_job__text(&text_again, &length_again, &job_again, again, NULL) != NAS_OK ||
        length != length_again || memcmp(text, text_again, length) != 0)
        abort();
    free(text_again);
    free(text);
    nas_space_free(again);
    nas_space_free(space);
    return 0;
}

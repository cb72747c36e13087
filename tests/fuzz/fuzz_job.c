/* Fuzz target: any bytes as the job of a device.  What is accepted must survive writing and reading
 * again unchanged. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "latency/profile/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nas_space *space, *again;
    nas_job job, job_again;
    char *text, *text_again;
    size_t length, length_again;

    if (nas_job__parse(&job, &space, (const char *)data, size, NULL) != NAS_OK)
        return 0;
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

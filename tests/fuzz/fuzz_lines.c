/* Fuzz target: any bytes as what a device says, line by line.  An answer that is accepted must
 * survive writing and reading again unchanged. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "latency/profile/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(const nas_line *line)
{
    const size_t blocks = line->request.kind == NAS_REQUEST_TURN ? (size_t)line->slots : 0;
    static nas_line again;
    char *text = NULL;
    size_t length;
    FILE *f = open_memstream(&text, &length);

    if (f == NULL)
        abort();
    nas_line__put_answer(f, &line->request, line->slots, &line->answer);
    if (fclose(f) != 0 || nas_line__parse(&again, text, length, NULL) != NAS_OK ||
        again.request.kind != line->request.kind || again.request.number != line->request.number ||
        again.slots != line->slots ||
        memcmp(again.answer.block_ms, line->answer.block_ms,
               blocks * sizeof *line->answer.block_ms) != 0 ||
        (blocks == 0 && again.answer.ms != line->answer.ms))
        abort();
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static nas_line line;

    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        const size_t length = end != NULL ? (size_t)(end - data) - at : size - at;

        if (nas_line__parse(&line, (const char *)data + at, length, NULL) == NAS_OK &&
            line.kind == NAS_LINE_ANSWER)
            check_answer(&line);
        at += length + 1;
    }
    return 0;
}

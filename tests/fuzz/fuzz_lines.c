/* Fuzz target: any bytes as what a device says, line by line.  A turn that is accepted must survive
 * writing and reading again unchanged. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "latency/profile/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_turn(const nas_line *line)
{
    static nas_line again;
    char *text = NULL;
    size_t length;
    FILE *f = open_memstream(&text, &length);

    if (f == NULL)
        abort();
    nas_line__put_turn(f, line->turn, line->slots, line->choice, line->ms);
    if (fclose(f) != 0 || nas_line__parse(&again, text, length, NULL) != NAS_OK ||
        again.turn != line->turn || again.slots != line->slots ||
        memcmp(again.ms, line->ms, sizeof *line->ms * (size_t)line->slots) != 0)
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
            line.kind == NAS_LINE_TURN)
            check_turn(&line);
        at += length + 1;
    }
    return 0;
}

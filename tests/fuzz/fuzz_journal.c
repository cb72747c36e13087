/* Fuzz target: any bytes as the journal of a profile.  Its turns come in order; opened again, it tells
 * the same ones; what is no journal stays as it is. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latency/profile/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static nas_status count(void *user, const nas_line *line, nas_err *err)
{
    if (line->kind != NAS_LINE_ANSWER || line->request.kind != NAS_REQUEST_TURN ||
        line->request.number != *(int64_t *)user)
        abort();
    ++*(int64_t *)user;
    return NAS_OK;
}

/* How many turns it tells; -1: no journal. */
static int64_t turns_of(const char *path)
{
    nas_journal *journal;
    nas_facts facts;
    int64_t turns = 0;
    bool known;

    if (nas_journal__open(&journal, path, "job", &facts, &known, count, &turns, NULL) != NAS_OK)
        return -1;
    if (turns > 0 && !known)
        abort();
    nas_journal__close(journal);
    return turns;
}

static void expect_bytes(const char *path, const uint8_t *data, size_t size)
{
    uint8_t *found = malloc(size + 1);
    FILE *file = fopen(path, "rb");

    if (found == NULL || file == NULL || fread(found, 1, size + 1, file) != size ||
        memcmp(found, data, size) != 0)
        abort();
    fclose(file);
    free(found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "/tmp/nas-fuzz-journal-XXXXXX";
    const int fd = mkstemp(path);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) != 0)
        abort();
    const int64_t turns = turns_of(path);
    if (turns < 0)
        expect_bytes(path, data, size);
    else if (turns_of(path) != turns)
        abort();
    unlink(path);
    return 0;
}

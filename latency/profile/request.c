/* Requests as lines of words, like the job. */
#include "latency/profile/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {[NAS_REQUEST_TURN] = "turn", [NAS_REQUEST_NETWORK] = "network",
                                    [NAS_REQUEST_PROBE] = "probe"};

enum { KINDS = sizeof names / sizeof *names };

size_t nas_request__text(const nas_request *request, int slots, char out[NAS_REQUEST_SIZE])
{
    int used = snprintf(out, NAS_REQUEST_SIZE, "%s %lld", names[request->kind],
                        (long long)request->number);

    for (int s = 0; s < slots && request->kind != NAS_REQUEST_PROBE; s++)
        used += snprintf(out + used, NAS_REQUEST_SIZE - (size_t)used, " %d", request->choice[s]);
    return (size_t)(used + snprintf(out + used, NAS_REQUEST_SIZE - (size_t)used, "\n"));
}

/* A blank and a whole number of at most `max`, which *at is moved behind. */
static bool read_number(const char **at, int64_t max, int64_t *out)
{
    char *end;

    if (**at != ' ' || (*at)[1] < '0' || (*at)[1] > '9')
        return false;
    errno = 0;
    *out = strtoll(*at + 1, &end, 10);
    *at = end;
    return errno == 0 && *out <= max;
}

nas_status nas_request__parse(nas_request *out, const nas_space *space, const char *line,
                              nas_err *err)
{
    const size_t length = strcspn(line, " ");
    const char *at = line + length;
    int kind = 0;

    while (kind < KINDS && (strlen(names[kind]) != length || memcmp(names[kind], line, length)))
        kind++;
    if (kind == KINDS || !read_number(&at, INT64_C(1) << 40, &out->number))
        return nas_fail(err, NAS_E_DATA, "'%.40s' is no request", line);
    out->kind = (nas_request_kind)kind;
    for (int s = 0; s < space->count && out->kind != NAS_REQUEST_PROBE; s++) {
        int64_t choice;

        if (!read_number(&at, space->slots[s].count - 1, &choice))
            return nas_fail(err, NAS_E_DATA, "'%.40s': no candidate of slot %d", line, s);
        out->choice[s] = (int)choice;
    }
    return *at == '\0' ? NAS_OK
                       : nas_fail(err, NAS_E_DATA, "'%.40s': something follows its end", line);
}

/* Private to this folder: what is asked of whoever measures, this process or a program on another
 * device, and what comes back (docs/reference/profile-protocol.md). */
#ifndef NAS_LATENCY_PROFILE_REQUEST_H
#define NAS_LATENCY_PROFILE_REQUEST_H

#include "nas/space/space.h"

typedef enum nas_request_kind {
    NAS_REQUEST_TURN,    /* a network, block by block        */
    NAS_REQUEST_NETWORK, /* a network whole                  */
    NAS_REQUEST_PROBE    /* the network that the job names   */
} nas_request_kind;

typedef struct nas_request {
    nas_request_kind kind;
    int64_t number;            /* comes back with the answer */
    int choice[NAS_MAX_SLOTS]; /* not of a probe             */
} nas_request;

enum { NAS_BENCH_RUNS = 5 }; /* of which the median is a network's time */

typedef struct nas_answer {
    double ms;                      /* of a network or the probe                               */
    int disturbed;                  /* runs of a network that the scheduler interrupted        */
    double block_ms[NAS_MAX_SLOTS]; /* of a turn                                               */
} nas_answer;

enum { NAS_REQUEST_SIZE = 64 + 4 * NAS_MAX_SLOTS };

/** Writes a line, which ends with a newline, and returns its length. */
size_t nas_request__text(const nas_request *request, int slots, char out[NAS_REQUEST_SIZE]);
/** Reads one without its newline, for a network of `space`.  NAS_E_DATA. */
nas_status nas_request__parse(nas_request *out, const nas_space *space, const char *line,
                              nas_err *err);

#endif

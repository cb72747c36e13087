/* Private to this folder: what a device says, one JSON object a line; a journal holds the same
 * lines (docs/reference/profile-protocol.md). */
#ifndef NAS_LATENCY_PROFILE_LINES_H
#define NAS_LATENCY_PROFILE_LINES_H

#include <stdint.h>
#include <stdio.h>

#include "latency/profile/facts.h"
#include "nas/space/space.h"

typedef enum nas_line_kind {
    NAS_LINE_FACTS,
    NAS_LINE_TURN,
    NAS_LINE_ERROR, /* the device cannot do it: `text`  */
    NAS_LINE_END    /* its time is over                 */
} nas_line_kind;

typedef struct nas_line {
    nas_line_kind kind;
    nas_facts facts;
    int64_t turn;
    int slots; /* of choice and ms */
    int choice[NAS_MAX_SLOTS];
    double ms[NAS_MAX_SLOTS]; /* of each block */
    char text[400];
} nas_line;

void nas_line__put_facts(FILE *f, const nas_facts *facts);
void nas_line__put_turn(FILE *f, int64_t turn, int slots, const int *choice, const double *ms);
void nas_line__put_error(FILE *f, const char *text);
void nas_line__put_end(FILE *f);

/** Reads a line of someone who may say anything.  NAS_E_DATA, NAS_E_NOMEM. */
nas_status nas_line__parse(nas_line *out, const char *text, size_t size, nas_err *err);

#endif

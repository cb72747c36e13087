/* Private to this folder: what a device says, one JSON object a line; a journal holds the same
 * lines (docs/reference/profile-protocol.md). */
#ifndef NAS_LATENCY_PROFILE_LINES_H
#define NAS_LATENCY_PROFILE_LINES_H

#include <stdint.h>
#include <stdio.h>

#include "latency/profile/facts.h"
#include "latency/profile/request.h"

typedef enum nas_line_kind {
    NAS_LINE_FACTS,
    NAS_LINE_ANSWER, /* to `request`                        */
    NAS_LINE_ERROR   /* the device cannot do it: `text`     */
} nas_line_kind;

typedef struct nas_line {
    nas_line_kind kind;
    nas_facts facts;
    nas_request request; /* that it answers                                 */
    int slots;           /* of its choice, and of the answer's blocks if any */
    nas_answer answer;
    char text[400];
} nas_line;

void nas_line__put_facts(FILE *f, const nas_facts *facts);
void nas_line__put_answer(FILE *f, const nas_request *request, int slots,
                          const nas_answer *answer);
void nas_line__put_error(FILE *f, const char *text);

/** Reads a line of someone who may say anything.  NAS_E_DATA, NAS_E_NOMEM. */
nas_status nas_line__parse(nas_line *out, const char *text, size_t size, nas_err *err);

#endif

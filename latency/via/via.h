/* Another device: how to reach it, and nas-profile running there at the end of a link.
 *
 * Opening a link brings program and job to the device and starts it; it is talked to line by line
 * through nas_link_process.  Programs are run by argument vectors, never by a shell here. */
#ifndef NAS_LATENCY_VIA_VIA_H
#define NAS_LATENCY_VIA_VIA_H

#include "base/process.h"

enum { NAS_VIA_MAX_WORDS = 32 };

typedef struct nas_via_kind nas_via_kind;

typedef struct nas_via {
    const char *text;         /* as it was given; borrowed                        */
    const nas_via_kind *kind; /* NULL: this machine                               */
    char target[512];         /* what follows "kind:"; "" if nothing does         */
    char *words[NAS_VIA_MAX_WORDS + 1]; /* exec: its command, split at blanks     */
    const char *program;      /* nas-profile built for the device; borrowed       */
} nas_via;

/** Reads "local", "exec:COMMAND", "ssh:HOST", "adb" or "adb:SERIAL".  `*out` points into itself:
 * do not copy it.  NAS_E_USAGE. */
nas_status nas_via_parse(nas_via *out, const char *text, nas_err *err);

typedef struct nas_link nas_link;

/** Checks that the program is one for that device where the device can be asked, brings it and
 * the job, starts it.  `*out` is yours.  NAS_E_IO: it could not be reached, or had no room;
 * NAS_E_CONFIG: the program is for another machine; NAS_E_DATA: it is no program. */
nas_status nas_link_open(nas_link **out, const nas_via *via, const char *job, size_t size,
                         nas_err *err);
/** Ends the program and removes what was brought, as far as the device still answers. */
void nas_link_close(nas_link *link);

/** The program, to talk to (nas_process_talk); borrowed. */
nas_process *nas_link_process(const nas_link *link);
/** What the device calls itself (a phone's model); "" if it has no such name. */
const char *nas_link_model(const nas_link *link);

#endif

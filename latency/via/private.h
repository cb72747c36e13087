/* Private to this folder: what the kinds of links have in common. */
#ifndef NAS_LATENCY_VIA_PRIVATE_H
#define NAS_LATENCY_VIA_PRIVATE_H

#include "latency/via/via.h"

enum { NAS_LINK_MAX_ARGS = NAS_VIA_MAX_WORDS + 4, NAS_LINK_PATH = 512 };

struct nas_link {
    const nas_via *via;
    nas_process *process;
    char program[NAS_LINK_PATH]; /* here                                    */
    char folder[64], job[96];    /* here: of this link, and the job in it   */
    char there[64];              /* folder on the device                    */
    char model[96];
    char command[256];           /* what the device's shell runs            */
};

struct nas_via_kind {
    const char *name;
    const char *target; /* what follows the colon, for messages; NULL: nothing may */
    bool target_needed;
    nas_status (*check)(nas_via *via, nas_err *err);
    /** Brings what the program needs. */
    nas_status (*prepare)(nas_link *link, nas_err *err);
    /** Fills argv (NULL-terminated): runs the program on its job. */
    void (*start)(nas_link *link, const char **argv);
    void (*clean)(nas_link *link); /* where `there` is set */
};

extern const nas_via_kind nas_via__exec, nas_via__ssh, nas_via__adb;

#endif

/* Private to this folder: what a device says of itself. */
#ifndef NAS_LATENCY_PROFILE_FACTS_H
#define NAS_LATENCY_PROFILE_FACTS_H

#include <stdbool.h>

/** Texts are printable ASCII without quotes. */
typedef struct nas_facts {
    char device[128];  /* processor or model                     */
    char engine[40];   /* name and version of what measures       */
    char kernels[16];  /* set of kernels                          */
    char governor[32]; /* of the clock frequency; "unknown"       */
    int cores, threads;
    double load;       /* 1 minute; negative: unknown             */
    double mhz;        /* clock of the first core; 0: unknown     */
    bool emulated;     /* times are those of an emulator          */
} nas_facts;

/** Of this machine and process. */
void nas_facts__here(nas_facts *facts, const char *engine);
/** True if they can be those of the same device, set up in the same way. */
bool nas_facts__same(const nas_facts *a, const nas_facts *b);
/** Replaces what is not printable ASCII, quotes and backslashes by '?'. */
void nas_facts__plain(char *text);

#endif

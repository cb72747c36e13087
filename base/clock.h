/* Time: monotonic for durations, UTC for records. */
#ifndef NAS_BASE_CLOCK_H
#define NAS_BASE_CLOCK_H

#include <stdint.h>

/** Monotonic seconds since an arbitrary start. */
double nas_clock_seconds(void);
/** Milliseconds since 1970, UTC. */
int64_t nas_clock_utc_ms(void);
/** "2026-11-22T10:11:03.123Z"; out holds at least 25 bytes. */
void nas_clock_format(int64_t utc_ms, char out[25]);

#endif

/* Time: monotonic for durations, UTC for records. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

enum { SIZE = 25 };

double nas_clock_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int64_t nas_clock_utc_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void nas_clock_format(int64_t utc_ms, char out[25])
{
    const int ms = (int)((utc_ms % 1000 + 1000) % 1000); /* rounds down before 1970 too */
    const time_t seconds = (utc_ms - ms) / 1000;
    struct tm parts;

    out[0] = '\0';
    if (gmtime_r(&seconds, &parts) == NULL)
        return;
    const size_t used = strftime(out, SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out + used, SIZE - used, ".%03dZ", ms);
}

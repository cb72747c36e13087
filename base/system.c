/* What this process may use and has used, as Linux tells it. */
#include "base/system.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Copies what follows `key` and a colon in a file of such lines; false if there is none. */
static int read_field(const char *path, const char *key, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    char line[512];
    int found = 0;

    if (file == NULL)
        return 0;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        const char *value = strchr(line, ':');

        if (value == NULL || strncmp(line, key, strlen(key)) != 0)
            continue;
        value += 1 + strspn(value + 1, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(value, "\n"), value);
        found = 1;
    }
    fclose(file);
    return found;
}

int nas_system_cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    const long online = sysconf(_SC_NPROCESSORS_ONLN); /* more cores than a cpu_set_t holds */
    return online > 0 ? (int)online : 1;
}

/* The number that a file begins with; SIZE_MAX if there is none. */
static size_t read_limit(const char *path)
{
    FILE *file = fopen(path, "re");
    size_t limit = SIZE_MAX;

    if (file == NULL)
        return limit;
    if (fscanf(file, "%zu", &limit) != 1) /* "max" */
        limit = SIZE_MAX;
    fclose(file);
    return limit;
}

size_t nas_system_memory(void)
{
    static const char *const groups[] = {"/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    size_t memory = pages > 0 && size > 0 ? (size_t)pages * (size_t)size : SIZE_MAX;

    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        const size_t limit = read_limit(groups[i]);

        memory = limit < memory ? limit : memory;
    }
    return memory;
}

double nas_system_peak_rss_mib(void)
{
    char kib[64];
    struct rusage usage;

    /* VmHWM first: ru_maxrss survives exec and so can be that of whoever started us */
    if (read_field("/proc/self/status", "VmHWM", kib, sizeof kib))
        return strtod(kib, NULL) / 1024.0;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024.0;
}

/* The first line of a file; 0 if there is none. */
static int read_line(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    const int found = file != NULL && fgets(out, (int)size, file) != NULL;

    if (found)
        out[strcspn(out, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
    return found && out[0] != '\0';
}

/* ARM has no name in cpuinfo: the board's, the chip's, or the numbers of the core. */
void nas_system_cpu_name(char *out, size_t size)
{
    static const char cpuinfo[] = "/proc/cpuinfo";
    char implementer[16], part[16];

    if (read_field(cpuinfo, "model name", out, size) ||
        read_line("/sys/firmware/devicetree/base/model", out, size) ||
        read_field(cpuinfo, "Hardware", out, size))
        return;
    if (read_field(cpuinfo, "CPU implementer", implementer, sizeof implementer) &&
        read_field(cpuinfo, "CPU part", part, sizeof part))
        snprintf(out, size, "ARM implementer %s part %s", implementer, part);
    else
        snprintf(out, size, "unknown");
}

double nas_system_cpu_mhz(void)
{
    char text[64];
    double mhz = 0.0;

    if (read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", text, sizeof text))
        mhz = strtod(text, NULL) / 1000.0;
    else if (read_field("/proc/cpuinfo", "cpu MHz", text, sizeof text))
        mhz = strtod(text, NULL);
    return mhz > 0.0 && mhz < 1e6 ? mhz : 0.0;
}

/* It passes the process's own name through and, before version 8, the host's cpuinfo. */
bool nas_system_emulated(void)
{
    char text[64];
    bool emulated = read_line("/proc/self/comm", text, sizeof text) &&
                    strncmp(text, "qemu-", 5) == 0;

#ifdef __aarch64__
    emulated |= !read_field("/proc/cpuinfo", "CPU implementer", text, sizeof text);
#endif
    return emulated;
}

void nas_system_host(char *out, size_t size)
{
    if (size == 0)
        return;
    if (gethostname(out, size) != 0)
        snprintf(out, size, "unknown");
    out[size - 1] = '\0';
}

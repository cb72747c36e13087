/* What this machine tells about itself. */
#include "latency/profile/facts.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/system.h"
#include "ops/kernel/kernel.h"

void nas_facts__plain(char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~' || *text == '"' || *text == '\\')
            *text = '?';
}

static void read_governor(char *out, size_t size)
{
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "re");

    snprintf(out, size, "unknown");
    if (file != NULL && fgets(out, (int)size, file) != NULL)
        out[strcspn(out, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
}

void nas_facts__here(nas_facts *facts, const char *engine)
{
    *facts = (nas_facts){.cores = nas_system_cores(), .threads = omp_get_max_threads(),
                         .mhz = nas_system_cpu_mhz(),
                         .emulated = nas_system_emulated()};
    nas_system_cpu_name(facts->device, sizeof facts->device);
    read_governor(facts->governor, sizeof facts->governor);
    if (getloadavg(&facts->load, 1) != 1)
        facts->load = -1.0;
    snprintf(facts->engine, sizeof facts->engine, "%.30s", engine);
    snprintf(facts->kernels, sizeof facts->kernels, "%s", nas_kernels_get()->name);
    nas_facts__plain(facts->device);
    nas_facts__plain(facts->engine);
    nas_facts__plain(facts->governor);
}

bool nas_facts__same(const nas_facts *a, const nas_facts *b)
{
    return strcmp(a->device, b->device) == 0 && strcmp(a->engine, b->engine) == 0 &&
           strcmp(a->kernels, b->kernels) == 0 && a->cores == b->cores &&
           a->threads == b->threads;
}

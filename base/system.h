/* What this process may use and has used. */
#ifndef NAS_BASE_SYSTEM_H
#define NAS_BASE_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>

/** Cores in this process's affinity mask (at least 1). */
int nas_system_cores(void);
/** Bytes of memory that this process may fill: the machine's, or its control group's limit. */
size_t nas_system_memory(void);
/** Peak resident set of this process, MiB. */
double nas_system_peak_rss_mib(void);
/** CPU model name (ARM: the board's or the chip's) as the system tells it, "unknown" otherwise. */
void nas_system_cpu_name(char *out, size_t size);
/** The clock of the first core, now; 0 where the system does not tell it. */
double nas_system_cpu_mhz(void);
/** True if this process is known to run in QEMU's user mode, where times mean nothing.  An
 * emulator of whole machines is not recognised. */
bool nas_system_emulated(void);
/** Host name. */
void nas_system_host(char *out, size_t size);

#endif

/* What the system tells about this process. */
#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/system.h"

Test(base_system, cores_follow_the_affinity_mask)
{
    cpu_set_t one;
    int first = 0;

    cr_assert_geq(nas_system_cores(), 1);
    cr_assert_eq(sched_getaffinity(0, sizeof one, &one), 0);
    while (!CPU_ISSET(first, &one))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_assert_eq(nas_system_cores(), 1);
}

Test(base_system, peak_memory_grows_with_what_is_touched)
{
    const double before = nas_system_peak_rss_mib();
    const size_t size = 64u << 20;
    volatile char *block = malloc(size);

    cr_assert_not_null(block);
    for (size_t i = 0; i < size; i += 1024)
        block[i] = 1;
    const double grown = nas_system_peak_rss_mib() - before;
    cr_assert(grown > 60 && grown < 80, "%g MiB", grown);
    free((void *)block);
}

Test(base_system, memory_is_more_than_this_process_has_used)
{
    cr_assert_gt((double)nas_system_memory(), nas_system_peak_rss_mib() * 1024 * 1024);
    cr_assert_leq(nas_system_memory() / (size_t)sysconf(_SC_PAGESIZE),
                  (size_t)sysconf(_SC_PHYS_PAGES));
}

Test(base_system, names_are_cut_to_their_buffers)
{
    char name[256], host[256], tiny[4];

    nas_system_cpu_name(name, sizeof name);
    nas_system_host(host, sizeof host);
    cr_assert_gt(strlen(name), 0);
    cr_assert_gt(strlen(host), 0);
    cr_assert_null(strchr(name, '\n'));
    nas_system_cpu_name(tiny, sizeof tiny);
    cr_assert_lt(strlen(tiny), sizeof tiny);
    nas_system_host(tiny, sizeof tiny);
    cr_assert_lt(strlen(tiny), sizeof tiny);
}

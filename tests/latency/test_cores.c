/* Lists of cores, and threads on them. */
#include "latency/profile/cores.h"

#include <criterion/criterion.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

TestSuite(latency_cores);

static nas_err err;

Test(latency_cores, lists_are_numbers_and_ranges)
{
    nas_cores cores;

    cr_assert_eq(nas_cores__parse(&cores, "7,0,2-4", &err), NAS_OK);
    cr_assert_eq(cores.count, 5);
    cr_assert_eq(memcmp(cores.core, (int[]){7, 0, 2, 3, 4}, 5 * sizeof *cores.core), 0);
    cr_assert_str_eq(cores.text, "7,0,2-4");
    cr_assert_eq(nas_cores__parse(&cores, "0-63", &err), NAS_OK);
    cr_assert_eq(cores.count, NAS_MAX_CORES);
    for (const char *const *any = (const char *const[]){"any", NULL}; any != NULL;
         any = *any != NULL ? any + 1 : NULL) {
        cr_assert_eq(nas_cores__parse(&cores, *any, &err), NAS_OK);
        cr_assert_eq(cores.count, 0);
        cr_assert_str_eq(cores.text, "any");
    }
}

Test(latency_cores, what_is_no_list_is_refused)
{
    static const char *const wrong[] = {"",    ",",   "1,",    "-1",  "1-",      "3-2", "1,1",
                                        "0-2,1", "x", "1 ",    " 1",  "0-64",    "0x1", "1--2",
                                        "1.5", "99999999999", "1024", "any,1",   "+1"};
    nas_cores cores;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(nas_cores__parse(&cores, wrong[i], &err), NAS_E_CONFIG, "'%s'", wrong[i]);
}

static int cores_of_thread(void)
{
    cpu_set_t own;

    return sched_getaffinity(0, sizeof own, &own) == 0 ? CPU_COUNT(&own) : -1;
}

/* Every thread is on one core of its own, and goes back to all of them. */
Test(latency_cores, threads_are_bound_and_let_go)
{
    const int all = cores_of_thread(), threads = all < 2 ? 1 : 2;
    char list[32] = "";
    cpu_set_t allowed;
    nas_cores cores;
    int on[2] = {-1, -1}, bound = 0, freed = 0;

    cr_assert_eq(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    for (int core = 0, found = 0; core < CPU_SETSIZE && found < threads; core++)
        if (CPU_ISSET(core, &allowed))
            snprintf(list + strlen(list), sizeof list - strlen(list), found++ ? ",%d" : "%d", core);
    omp_set_num_threads(threads);
    cr_assert_eq(nas_cores__parse(&cores, list, &err), NAS_OK);
    cr_assert_eq(nas_cores__bind(&cores, &err), NAS_OK, "%s", err.message);
#pragma omp parallel reduction(+ : bound)
    {
        on[omp_get_thread_num()] = sched_getcpu();
        bound += cores_of_thread() == 1;
    }
    cr_assert_eq(bound, threads);
    for (int i = 0; i < threads; i++)
        cr_assert_eq(on[i], cores.core[i]);
    nas_cores__release(&cores);
#pragma omp parallel reduction(+ : freed)
    freed += cores_of_thread() == all;
    cr_assert_eq(freed, threads);
}

Test(latency_cores, too_few_cores_and_those_that_are_not_there_are_told)
{
    nas_cores cores;

    omp_set_num_threads(3);
    cr_assert_eq(nas_cores__parse(&cores, "0-1", &err), NAS_OK);
    cr_assert_eq(nas_cores__bind(&cores, &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "3 threads"));
    omp_set_num_threads(1);
    cr_assert_eq(nas_cores__parse(&cores, "1023", &err), NAS_OK);
    cr_assert_eq(nas_cores__bind(&cores, &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "1023"));
    nas_cores__release(&cores);
}

/* Affinity of OpenMP's threads. */
#include "latency/profile/cores.h"

#include <ctype.h>
#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number of at most four digits; NULL: none. */
static const char *read_number(const char *text, int *out)
{
    char digits[5] = "";
    size_t n = 0;

    while (n < sizeof digits && isdigit((unsigned char)text[n]))
        n++;
    if (n == 0 || n == sizeof digits)
        return NULL;
    memcpy(digits, text, n);
    *out = atoi(digits);
    return text + n;
}

static bool read_list(nas_cores *out, const char *text)
{
    for (;; text++) {
        int first, last;

        if ((text = read_number(text, &first)) == NULL)
            return false;
        last = first;
        if (*text == '-' && (text = read_number(text + 1, &last)) == NULL)
            return false;
        if (last < first || last >= CPU_SETSIZE)
            return false;
        for (int core = first; core <= last; core++) {
            if (out->count == NAS_MAX_CORES)
                return false;
            for (int i = 0; i < out->count; i++)
                if (out->core[i] == core)
                    return false;
            out->core[out->count++] = core;
        }
        if (*text != ',')
            return *text == '\0';
    }
}

nas_status nas_cores__parse(nas_cores *out, const char *text, nas_err *err)
{
    *out = (nas_cores){.text = "any"};
    if (text == NULL || strcmp(text, "any") == 0)
        return NAS_OK;
    if (strlen(text) < sizeof out->text && read_list(out, text)) {
        snprintf(out->text, sizeof out->text, "%s", text);
        return NAS_OK;
    }
    nas_fail(err, NAS_E_CONFIG, "cores '%.64s' are no list of different cores", text);
    nas_hint(err, "numbers and ranges with commas between them, as in 4-7 or 0,2; or any");
    return NAS_E_CONFIG;
}

static nas_status fail_number(const nas_cores *cores, int threads, nas_err *err)
{
    nas_fail(err, NAS_E_CONFIG, "%d threads need as many cores, not those of '%s'", threads,
             cores->text);
    nas_hint(err, "--threads %d, or a core for each thread", cores->count);
    return NAS_E_CONFIG;
}

static nas_status fail_core(const nas_cores *cores, int core, nas_err *err)
{
    char list[128] = "";
    size_t used = 0;

    for (int c = 0; c < CPU_SETSIZE && used < sizeof list - 8; c++)
        if (CPU_ISSET(c, &cores->before))
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%d", used > 0 ? "," : "",
                                     c);
    nas_fail(err, NAS_E_CONFIG, "core %d is none that this process may use", core);
    nas_hint(err, "it may use %s; or leave out --cores", list);
    return NAS_E_CONFIG;
}

/* Whether the list is one for this process. */
static nas_status check(nas_cores *cores, int threads, nas_err *err)
{
    if (cores->count < threads)
        return fail_number(cores, threads, err);
    if (sched_getaffinity(0, sizeof cores->before, &cores->before) != 0)
        return nas_fail(err, NAS_E_CONFIG, "the system does not tell what cores there are");
    for (int i = 0; i < threads; i++)
        if (!CPU_ISSET(cores->core[i], &cores->before))
            return fail_core(cores, cores->core[i], err);
    return NAS_OK;
}

nas_status nas_cores__bind(nas_cores *cores, nas_err *err)
{
    const int threads = omp_get_max_threads();
    int failed = 0;

    if (cores->count == 0)
        return NAS_OK;
    const nas_status status = check(cores, threads, err);
    if (status != NAS_OK) {
        cores->count = 0;
        return status;
    }
#pragma omp parallel num_threads(threads) reduction(+ : failed)
    {
        cpu_set_t own;

        CPU_ZERO(&own);
        CPU_SET(cores->core[omp_get_thread_num()], &own);
        failed += sched_setaffinity(0, sizeof own, &own) != 0;
    }
    if (failed == 0)
        return NAS_OK;
    nas_cores__release(cores);
    return nas_fail(err, NAS_E_CONFIG, "the system does not let threads be bound to cores %s",
                    cores->text);
}

void nas_cores__release(nas_cores *cores)
{
    if (cores->count == 0)
        return;
#pragma omp parallel
    sched_setaffinity(0, sizeof cores->before, &cores->before);
    cores->count = 0;
}

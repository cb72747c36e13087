/* Chooses the set of kernels for this CPU, and the few definitions that all
 * sets agree on. */
#include "ops/kernel/kernel.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifdef NAS_X86_SETS
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/log.h"

extern const nas_kernels nas_kernels_reference, nas_kernels_portable;

static bool runs_anywhere(void) { return true; }

#ifdef NAS_X86_SETS
extern const nas_kernels nas_kernels_avx2, nas_kernels_avx512, nas_kernels_amx;

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}

/* Whether the CPU has a tile unit, and Linux lets this process use it: it keeps room for its 8 KiB
 * of registers only for those that ask. */
static bool has_amx(void)
{
#ifdef __linux__
    enum { LEAF = 7, BF16 = 1 << 22, TILE = 1 << 24, REQUEST = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;

    return has_avx512() && __builtin_cpu_supports("avx512bw") &&
           __get_cpuid_count(LEAF, 0, &a, &b, &c, &d) && (d & BF16) && (d & TILE) &&
           syscall(SYS_arch_prctl, REQUEST /* ARCH_REQ_XCOMP_PERM */, TILE_DATA) == 0;
#else
    return false;
#endif
}
#endif

/* Best first. */
static const struct {
    const nas_kernels *kernels;
    bool (*runs)(void);
} sets[] = {
#ifdef NAS_X86_SETS
    {&nas_kernels_amx, has_amx},
    {&nas_kernels_avx512, has_avx512},
    {&nas_kernels_avx2, has_avx2},
#endif
    {&nas_kernels_portable, runs_anywhere},
    {&nas_kernels_reference, runs_anywhere},
};

enum { SETS = sizeof sets / sizeof *sets };

static _Atomic(const nas_kernels *) chosen;

const nas_kernels *nas_kernels_find(const char *name)
{
    for (int i = 0; i < SETS; i++)
        if (strcmp(sets[i].kernels->name, name) == 0)
            return sets[i].runs() ? sets[i].kernels : NULL;
    return NULL;
}

bool nas_kernels_use(const char *name)
{
    const nas_kernels *found = nas_kernels_find(name);

    if (found)
        atomic_store(&chosen, found);
    return found != NULL;
}

static const nas_kernels *best(void)
{
    int i = 0;

    while (!sets[i].runs())
        i++; /* the last ones run anywhere */
    return sets[i].kernels;
}

const nas_kernels *nas_kernels_get(void)
{
    const nas_kernels *kernels = atomic_load(&chosen);

    if (kernels == NULL) {
        const char *wish = getenv("NAS_KERNELS");

        kernels = wish && *wish ? nas_kernels_find(wish) : best();
        if (kernels == NULL) {
            kernels = best();
            nas_log(NAS_LOG_WARN, "NAS_KERNELS=%s is not a set of kernels that runs here; using %s",
                    wish, kernels->name);
        }
        atomic_store(&chosen, kernels);
    }
    return kernels;
}

const char *const *nas_kernels_names(void)
{
    static const char *names[SETS + 1];
    int count = 0;

    /* Every caller writes the same pointers. */
    for (int i = 0; i < SETS; i++)
        if (sets[i].runs())
            names[count++] = sets[i].kernels->name;
    return names;
}

int nas_kernel_chunks(int n) { return n < NAS_KERNEL_MAX_CHUNKS ? n : NAS_KERNEL_MAX_CHUNKS; }

static float relu6(float x) { return x < 0 ? 0 : x > 6 ? 6 : x; }

float nas_act_value(nas_act act, float x)
{
    switch (act) {
    case NAS_ACT_NONE: return x;
    case NAS_ACT_RELU: return x < 0 ? 0 : x; /* not-a-number passes through */
    case NAS_ACT_RELU6: return relu6(x);
    case NAS_ACT_HSWISH: return x * relu6(x + 3) / 6;
    case NAS_ACT_HSIGMOID: return relu6(x + 3) / 6;
    }
    return x;
}

float nas_act_slope(nas_act act, float x)
{
    switch (act) {
    case NAS_ACT_NONE: return 1;
    case NAS_ACT_RELU: return x > 0;
    case NAS_ACT_RELU6: return x > 0 && x < 6;
    case NAS_ACT_HSWISH: return x <= -3 ? 0 : x <= 3 ? x / 3 + 0.5f : 1;
    case NAS_ACT_HSIGMOID: return x > -3 && x < 3 ? 1.0f / 6 : 0;
    }
    return 1;
}

/* Counts allocations.  Include in one file of a test program that is linked with
 * nas_count_allocations (tests/CMakeLists.txt). */
#ifndef NAS_TESTS_SUPPORT_ALLOCATIONS_H
#define NAS_TESTS_SUPPORT_ALLOCATIONS_H

#include <stdatomic.h>
#include <stddef.h>

/** Calls so far of the functions below by code linked into the program. */
static atomic_long allocations;

#define COUNTED(type, name, parameters, arguments) \
    type __real_##name parameters;                 \
    type __wrap_##name parameters                  \
    {                                              \
        allocations++;                             \
        return __real_##name arguments;            \
    }

COUNTED(void *, malloc, (size_t size), (size))
COUNTED(void *, calloc, (size_t count, size_t size), (count, size))
COUNTED(void *, realloc, (void *old, size_t size), (old, size))
COUNTED(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size))
COUNTED(int, posix_memalign, (void **out, size_t alignment, size_t size), (out, alignment, size))

#endif

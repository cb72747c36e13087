/* Counts allocations, and refuses one.  Include in one file of a test program that is linked with
 * nas_count_allocations (tests/CMakeLists.txt). */
#ifndef NAS_TESTS_SUPPORT_ALLOCATIONS_H
#define NAS_TESTS_SUPPORT_ALLOCATIONS_H

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

/** Calls so far of the functions below by code linked into the program. */
static atomic_long allocations;
/** The call that is refused, by its number from 0; -1: none. */
static atomic_long allocation_refused = -1;

#define COUNTED(type, name, parameters, arguments, none)                             \
    type __real_##name parameters;                                                   \
    type __wrap_##name parameters                                                    \
    {                                                                                \
        return allocations++ == allocation_refused ? none : __real_##name arguments; \
    }

COUNTED(void *, malloc, (size_t size), (size), NULL)
COUNTED(void *, calloc, (size_t count, size_t size), (count, size), NULL)
COUNTED(void *, realloc, (void *old, size_t size), (old, size), NULL)
COUNTED(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size), NULL)
COUNTED(int, posix_memalign, (void **out, size_t alignment, size_t size), (out, alignment, size),
        ENOMEM)

#endif

/* A bump allocator over one reserved range of addresses.
 *
 * The range is reserved once (mmap, no memory behind it); pages are touched as
 * they are used, so an arena costs what was used at most, not what was reserved.
 * After init nothing here can fail: running over the reservation is our own
 * planning bug and asserts. */
#ifndef NAS_BASE_ARENA_H
#define NAS_BASE_ARENA_H

#include <stddef.h>

#include "base/status.h"

enum { NAS_ALIGN = 64 }; /* bytes; every allocation starts on a cache line */

typedef struct nas_arena {
    unsigned char *base;
    size_t size, used, peak; /* bytes */
} nas_arena;

/** Reserves `size` bytes of address space.  NAS_E_NOMEM if the system refuses. */
nas_status nas_arena_init(nas_arena *arena, size_t size, nas_err *err);
void nas_arena_fini(nas_arena *arena);

/** `size` bytes, 64-byte aligned, contents unspecified. */
void *nas_arena_alloc(nas_arena *arena, size_t size);
/** `count` floats, contents unspecified. */
float *nas_arena_floats(nas_arena *arena, size_t count);

/** Stack discipline: remember nas_arena_mark, give back with nas_arena_release. */
size_t nas_arena_mark(const nas_arena *arena);
void nas_arena_release(nas_arena *arena, size_t mark);

/** Rounds up to NAS_ALIGN: what one allocation of `size` bytes takes. */
size_t nas_arena_round(size_t size);

#endif

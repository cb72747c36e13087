/* The bump allocator over one reserved range of addresses. */
#include "base/arena.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/log.h"

nas_status nas_arena_init(nas_arena *arena, size_t size, nas_err *err)
{
    *arena = (nas_arena){0};
    if (size > SIZE_MAX / 2)
        return nas_fail(err, NAS_E_NOMEM, "arena: %zu bytes are more than can be addressed", size);
    size = nas_arena_round(size ? size : 1);
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return nas_fail_errno(err, "arena: cannot reserve %zu MiB", size >> 20);
    arena->base = base;
    arena->size = size;
    return NAS_OK;
}

void nas_arena_fini(nas_arena *arena)
{
    if (arena->base != NULL)
        munmap(arena->base, arena->size);
    *arena = (nas_arena){0};
}

/* Our own bug, but writing on would corrupt memory: stop in release builds too. */
static _Noreturn void overrun(const nas_arena *arena, size_t size)
{
    nas_log(NAS_LOG_ERROR, "internal error: arena of %zu bytes, %zu used, %zu more wanted",
            arena->size, arena->used, size);
    abort();
}

void *nas_arena_alloc(nas_arena *arena, size_t size)
{
    /* size and used are multiples of NAS_ALIGN, so the rounded size fits too */
    if (size > arena->size - arena->used)
        overrun(arena, size);
    void *block = arena->base + arena->used;
    arena->used += nas_arena_round(size);
    if (arena->used > arena->peak)
        arena->peak = arena->used;
    return block;
}

float *nas_arena_floats(nas_arena *arena, size_t count)
{
    if (count > SIZE_MAX / sizeof(float))
        overrun(arena, SIZE_MAX);
    return nas_arena_alloc(arena, count * sizeof(float));
}

size_t nas_arena_mark(const nas_arena *arena)
{
    return arena->used;
}

void nas_arena_release(nas_arena *arena, size_t mark)
{
    assert(mark <= arena->used);
    arena->used = mark;
}

size_t nas_arena_round(size_t size)
{
    return (size + NAS_ALIGN - 1) & ~(size_t)(NAS_ALIGN - 1);
}

/* The bump allocator. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/system.h"

Test(base_arena, blocks_are_aligned_and_do_not_overlap)
{
    nas_arena arena;

    cr_assert_eq(nas_arena_init(&arena, 1 << 16, NULL), NAS_OK);
    unsigned char *a = nas_arena_alloc(&arena, 1);
    float *b = nas_arena_floats(&arena, 17);
    unsigned char *c = nas_arena_alloc(&arena, 64);
    cr_assert_eq((uintptr_t)a % NAS_ALIGN, 0);
    cr_assert_eq((unsigned char *)b - a, 64);
    cr_assert_eq(c - (unsigned char *)b, 128); /* 17 floats are 68 bytes */
    nas_arena_fini(&arena);
    nas_arena_fini(&arena); /* twice is fine */
}

Test(base_arena, release_gives_back_to_the_mark_and_peak_remembers)
{
    nas_arena arena;

    cr_assert_eq(nas_arena_init(&arena, 1 << 16, NULL), NAS_OK);
    nas_arena_alloc(&arena, 100);
    const size_t mark = nas_arena_mark(&arena);
    void *first = nas_arena_alloc(&arena, 1000);
    nas_arena_release(&arena, mark);
    cr_assert_eq(arena.used, 128);
    cr_assert_eq(arena.peak, 128 + 1024);
    cr_assert_eq(nas_arena_alloc(&arena, 64), first);
    cr_assert_eq(arena.peak, 128 + 1024);
    nas_arena_fini(&arena);
}

Test(base_arena, a_whole_reservation_can_be_used)
{
    nas_arena arena;

    cr_assert_eq(nas_arena_init(&arena, 100, NULL), NAS_OK); /* 128 */
    memset(nas_arena_alloc(&arena, 100), 1, 100);
    cr_assert_eq(arena.used, arena.size);
    nas_arena_fini(&arena);
}

Test(base_arena, round_goes_up_to_cache_lines)
{
    cr_assert_eq(nas_arena_round(0), 0);
    cr_assert_eq(nas_arena_round(1), 64);
    cr_assert_eq(nas_arena_round(64), 64);
    cr_assert_eq(nas_arena_round(65), 128);
}

Test(base_arena, reserving_costs_no_memory)
{
    nas_arena arena;
    const double before = nas_system_peak_rss_mib();

    cr_assert_eq(nas_arena_init(&arena, (size_t)8 << 30, NULL), NAS_OK);
    memset(nas_arena_alloc(&arena, 16 << 20), 1, 16 << 20);
    const double grown = nas_system_peak_rss_mib() - before;
    cr_assert(grown > 15 && grown < 32, "%g MiB", grown);
    nas_arena_fini(&arena);
}

Test(base_arena, an_impossible_size_is_an_error)
{
    nas_arena arena;
    nas_err err;

    cr_assert_eq(nas_arena_init(&arena, SIZE_MAX, &err), NAS_E_NOMEM);
    cr_assert_eq(nas_arena_init(&arena, SIZE_MAX / 2 - 64, &err), NAS_E_NOMEM);
    cr_assert_null(arena.base);
}

Test(base_arena, running_over_stops_the_program, .signal = SIGABRT)
{
    nas_arena arena;

    cr_assert_eq(nas_arena_init(&arena, 128, NULL), NAS_OK);
    nas_arena_alloc(&arena, 64);
    nas_arena_alloc(&arena, 65);
}

/* A latency table for tests: every entry of a space, its time made from its MACs, so
 * that no clock is read and the same space gives the same table. */
#ifndef NAS_TESTS_SUPPORT_TABLE_H
#define NAS_TESTS_SUPPORT_TABLE_H

#include <criterion/criterion.h>
#include <stdlib.h>

#include "latency/lut.h"

static inline nas_latency_table *test_table(const nas_space *space)
{
    nas_latency_entry *entries;
    int count;
    nas_latency_table *table = nas_latency_table_new(NULL);

    cr_assert_eq(nas_latency_space_entries(&entries, &count, space, nas_latency_grammar_of(space),
                                           0, NULL), NAS_OK);
    count = nas_latency_entries_unique(entries, count);
    for (int i = 0; i < count; i++) {
        const nas_op_cost cost = nas_op_cost_at(&entries[i].op, entries[i].h, entries[i].w);
        const nas_latency_stat stat = {.count = 1, .mean = 0.01 + 1e-6 * (double)cost.macs};
        cr_assert_eq(nas_latency_table_add(table, entries[i].key, &stat, NULL), NAS_OK);
    }
    free(entries);
    return table;
}

static inline nas_latency_lut *test_lut(const nas_space *space)
{
    nas_latency_table *table = test_table(space);
    nas_latency_lut *lut = NULL;

    cr_assert_eq(nas_latency_lut_new(&lut, table, space, 0, NULL), NAS_OK);
    nas_latency_table_free(table);
    return lut;
}

#endif

/* Class-balanced splits. */
#include <criterion/criterion.h>

#include "nas/data/split.h"
#include "tests/nas/data/packed.h"

static nas_index train, valid;
static nas_err err;

static void fini(void)
{
    nas_index_fini(&train);
    nas_index_fini(&valid);
}

TestSuite(nas_data_split, .fini = fini);

enum { IMAGES = 60, CLASSES = 3 };

/* 30, 20 and 10 images of classes 0, 1, 2, mixed; then a test split. */
static nas_dataset *make(void)
{
    static uint32_t labels[IMAGES + 5];
    static nas_dataset data = {.classes = CLASSES, .images = IMAGES + 5, .splits = 2,
                               .split = {{"train", 0, IMAGES}, {"test", IMAGES, 5}},
                               .labels = labels};

    for (uint32_t i = 0; i < IMAGES; i++)
        labels[i] = i % 6 < 3 ? 0 : i % 6 < 5 ? 1 : 2;
    return &data;
}

static void count(const nas_dataset *data, const nas_index *list, uint32_t per_class[CLASSES])
{
    memset(per_class, 0, CLASSES * sizeof *per_class);
    for (uint32_t i = 0; i < list->count; i++) {
        cr_assert_lt(list->items[i], IMAGES);
        cr_assert(i == 0 || list->items[i] > list->items[i - 1]);
        per_class[data->labels[list->items[i]]]++;
    }
}

Test(nas_data_split, each_class_gives_its_share)
{
    const nas_dataset *data = make();
    uint32_t part[CLASSES], rest[CLASSES], seen[IMAGES] = {0};

    REQUIRE_OK(nas_split_make(data, 12, 1, &train, &valid, &err));
    cr_assert(train.count == 48 && valid.count == 12);
    count(data, &valid, part);
    count(data, &train, rest);
    cr_assert(part[0] == 6 && part[1] == 4 && part[2] == 2);
    cr_assert(rest[0] == 24 && rest[1] == 16 && rest[2] == 8);
    for (uint32_t i = 0; i < train.count; i++)
        seen[train.items[i]]++;
    for (uint32_t i = 0; i < valid.count; i++)
        seen[valid.items[i]]++;
    for (int i = 0; i < IMAGES; i++)
        cr_assert_eq(seen[i], 1);
}

Test(nas_data_split, odd_counts_go_to_the_largest_remainders)
{
    const nas_dataset *data = make();
    uint32_t part[CLASSES];

    /* shares of 7: 3.5, 2.33, 1.17 */
    REQUIRE_OK(nas_split_make(data, 7, 1, &train, &valid, &err));
    count(data, &valid, part);
    cr_assert(part[0] == 4 && part[1] == 2 && part[2] == 1);
}

Test(nas_data_split, the_seed_decides)
{
    const nas_dataset *data = make();
    nas_index again, other, unused;

    REQUIRE_OK(nas_split_make(data, 12, 7, &train, &valid, &err));
    REQUIRE_OK(nas_split_make(data, 12, 7, &unused, &again, &err));
    nas_index_fini(&unused);
    REQUIRE_OK(nas_split_make(data, 12, 8, &unused, &other, &err));
    nas_index_fini(&unused);
    cr_assert_arr_eq(valid.items, again.items, 12 * sizeof *again.items);
    cr_assert_arr_neq(valid.items, other.items, 12 * sizeof *other.items);
    nas_index_fini(&again);
    nas_index_fini(&other);
}

Test(nas_data_split, impossible_counts_are_refused)
{
    const nas_dataset *data = make();

    cr_assert_eq(nas_split_make(data, 0, 1, &train, &valid, &err), NAS_E_CONFIG);
    cr_assert_eq(nas_split_make(data, 60, 1, &train, &valid, &err), NAS_E_CONFIG);
    cr_assert_eq(nas_split_make(data, 59, 1, &train, &valid, &err), NAS_E_CONFIG);
    REQUIRE_IN(err.message, "without a training image");
    cr_assert(train.items == NULL && valid.items == NULL);
}

Test(nas_data_split, a_split_is_its_range)
{
    REQUIRE_OK(nas_index_split(&train, &make()->split[1], &err));
    cr_assert(train.count == 5 && train.items[0] == 60 && train.items[4] == 64);
}

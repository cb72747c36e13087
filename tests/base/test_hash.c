/* XXH3-128 against published digests. */
#include <criterion/criterion.h>
#include <stdint.h>

#include "base/hash.h"

/* The bytes of xxHash's own sanity checks (tests/sanity_test.c). */
static void fill(unsigned char *buffer, size_t size)
{
    uint64_t state = 2654435761u;

    for (size_t i = 0; i < size; i++) {
        buffer[i] = (unsigned char)(state >> 56);
        state *= 11400714785074694797u;
    }
}

/* xxHash 0.8, tests/sanity_test_vectors.h, XXH3-128 with seed 0 */
Test(base_hash, digests_are_the_published_ones)
{
    static const struct {
        size_t size;
        const char *digest;
    } known[] = {
        {0, "99aa06d3014798d86001c324468d497f"},   {1, "a6cd5e9392000f6ac44bdff4074eecdb"},
        {4, "970d585ac632bf8e2e7d8d6876a39fe9"},   {16, "c68c368ecf8a9c05562980258a998629"},
        {17, "955fa78643ed3669abbc12d11973d7db"},  {32, "98fc6458710dc2e8278410a17595e3f9"},
        {403, "1b6de21e332dd73dcdeb804d65c6dea4"},
    };
    unsigned char data[403];
    char hex[NAS_DIGEST_SIZE];

    fill(data, sizeof data);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        nas_digest(data, known[i].size, hex);
        cr_assert_str_eq(hex, known[i].digest, "%zu bytes: %s", known[i].size, hex);
    }
}

Test(base_hash, pieces_give_the_digest_of_the_whole)
{
    unsigned char data[5000];
    char whole[NAS_DIGEST_SIZE], half[NAS_DIGEST_SIZE], pieces[NAS_DIGEST_SIZE];
    nas_hash *hash = nas_hash_new();

    cr_assert_not_null(hash);
    fill(data, sizeof data);
    for (size_t at = 0, step = 0; at < 2485; step++) { /* 0 + 1 + ... + 70 bytes */
        nas_hash_add(hash, data + at, step);
        at += step;
    }
    nas_hash_hex(hash, pieces);
    nas_digest(data, 2485, half);
    cr_assert_str_eq(pieces, half);
    nas_hash_add(hash, data + 2485, sizeof data - 2485); /* a digest does not end the hash */
    nas_hash_hex(hash, pieces);
    nas_digest(data, sizeof data, whole);
    cr_assert_str_eq(pieces, whole);
    nas_hash_free(hash);
    nas_hash_free(NULL);
}

/* XXH3-128 as hex digits, in the order in which xxh128sum prints them. */
#include "base/hash.h"

#include <stdlib.h>
#include <xxhash.h>

struct nas_hash {
    XXH3_state_t *state; /* needs 64-byte alignment, so xxhash allocates it */
};

static void to_hex(XXH128_hash_t value, char out[NAS_DIGEST_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    XXH128_canonical_t bytes;

    XXH128_canonicalFromHash(&bytes, value);
    for (size_t i = 0; i < sizeof bytes.digest; i++) {
        out[2 * i] = digits[bytes.digest[i] >> 4];
        out[2 * i + 1] = digits[bytes.digest[i] & 15];
    }
    out[2 * sizeof bytes.digest] = '\0';
}

nas_hash *nas_hash_new(void)
{
    nas_hash *hash = malloc(sizeof *hash);

    if (hash == NULL)
        return NULL;
    hash->state = XXH3_createState();
    if (hash->state == NULL) {
        free(hash);
        return NULL;
    }
    XXH3_128bits_reset(hash->state);
    return hash;
}

void nas_hash_add(nas_hash *hash, const void *data, size_t size)
{
    if (size > 0)
        XXH3_128bits_update(hash->state, data, size);
}

void nas_hash_hex(const nas_hash *hash, char out[NAS_DIGEST_SIZE])
{
    to_hex(XXH3_128bits_digest(hash->state), out);
}

void nas_hash_free(nas_hash *hash)
{
    if (hash == NULL)
        return;
    XXH3_freeState(hash->state);
    free(hash);
}

void nas_digest(const void *data, size_t size, char out[NAS_DIGEST_SIZE])
{
    to_hex(XXH3_128bits(data, size), out);
}

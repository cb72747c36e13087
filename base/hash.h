/* XXH3-128: the digest that names data sets, tables, spaces and checkpoints. */
#ifndef NAS_BASE_HASH_H
#define NAS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { NAS_DIGEST_SIZE = 33 }; /* 32 hex digits and the NUL */

typedef struct nas_hash nas_hash;
nas_hash *nas_hash_new(void); /* NULL when out of memory */
void nas_hash_add(nas_hash *hash, const void *data, size_t size);
/** Digest of all added so far; the hash goes on. */
void nas_hash_hex(const nas_hash *hash, char out[NAS_DIGEST_SIZE]);
void nas_hash_free(nas_hash *hash);

void nas_digest(const void *data, size_t size, char out[NAS_DIGEST_SIZE]);

#endif

/* Packed files for tests: a small one of every kind, and rewriting of their bytes. */
#ifndef NAS_TESTS_NAS_DATA_PACKED_H
#define NAS_TESTS_NAS_DATA_PACKED_H

#include "base/file.h"
#include "nas/data/format.h"
#include "nas/data/import.h"
#include "nas/data/synth.h"
#include "tests/nas/data/pictures.h"
#include "tests/support/scratch.h"

/* Fails the test with the message of `err` unless `status` is NAS_OK. */
#define REQUIRE_OK(status) \
    do { \
        const nas_status require_ok_status = (status); \
        cr_assert_eq(require_ok_status, NAS_OK, "%s", err.message); \
    } while (0)

#define REQUIRE_IN(text, part) \
    cr_assert_not_null(strstr((text), (part)), "\"%s\" without \"%s\"", (text), (part))

/* The generated task, `train` + `test` images of 16 px in 4 classes. */
static inline const char *packed_synth(const char *name, uint32_t train, uint32_t test)
{
    const nas_synth_options options = {.size = 16, .classes = 4, .train = train, .test = test,
                                       .seed = 5};
    const char *path = scratch(name);
    nas_err err;

    REQUIRE_OK(nas_data_synth(path, &options, &err));
    return path;
}

/* A file of these bytes in the scratch folder, with the folders above it. */
static inline void folder_put(const char *name, const void *bytes, size_t size)
{
    static picture p;

    memcpy(p.bytes, bytes, size);
    p.size = size;
    picture_save(&p, scratch(name));
}

/* Image folders with `per_class` images for each of the classes a, b, c in train and 2
 * in test; sizes differ unless `same`. */
static inline const char *folder_make(const char *name, int per_class, bool same)
{
    static picture p;
    char path[512];
    const char *root = scratch(name);

    for (int split = 0; split < 2; split++)
        for (int class = 0; class < 3; class++)
            for (int i = 0; i < (split ? 2 : per_class); i++) {
                const uint8_t colour[] = {(uint8_t)(80 * class), (uint8_t)(9 * i), 100};
                const int wider = same ? 0 : 3 * i + class;

                snprintf(path, sizeof path, "%s/%s/%c/%02d.%s", root, split ? "test" : "train",
                         'a' + class, i, i % 2 ? "png" : "JPG");
                if (i % 2)
                    picture_png(&p, PNG_RGB8, 20 + wider, 12, false);
                else
                    picture_jpeg(&p, colour, 3, 20 + wider, 12, false);
                picture_save(&p, path);
            }
    return root;
}

/* A whole packed file in memory, malloc'ed; *header points at its start. */
static inline char *packed_read(const char *path, size_t *size, nas_data__header **header)
{
    char *bytes;
    nas_err err;

    REQUIRE_OK(nas_file_read(path, SIZE_MAX, &bytes, size, &err));
    *header = (nas_data__header *)(void *)bytes;
    return bytes;
}

/* Makes the checksum right again after a change, as an attacker would. */
static inline void packed_sign(char *bytes, size_t size)
{
    nas_data__header *h = (nas_data__header *)(void *)bytes;
    const uint64_t tables = nas_data__tables(h->record_bytes);
    char hex[NAS_DIGEST_SIZE];
    nas_hash *hash = nas_hash_new();

    nas_hash_add(hash, bytes, NAS_DATA_CHECKED);
    if (h->record_bytes < size && tables <= size)
        nas_hash_add(hash, bytes + tables, size - tables);
    nas_hash_hex(hash, hex);
    nas_hash_free(hash);
    memcpy(h->checksum, hex, sizeof h->checksum);
}

#endif

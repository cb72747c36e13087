/* Any bytes as a packed data set: refused, or every image, label and name lies inside.
 * The bytes are tried as they are, and with the checksum made right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nas/data/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sum; /* what was read must not be optimised away */

static void touch(const nas_dataset *data)
{
    for (int c = 0; c < data->classes; c++)
        sum += strlen(data->class_names[c]);
    for (int s = 0; s < data->splits; s++)
        if (data->split[s].first + (uint64_t)data->split[s].count > data->images)
            abort();
    for (uint32_t i = 0; i < data->images; i++) {
        size_t size;
        const unsigned char *bytes = nas_dataset_record(data, i, &size);

        if (size == 0 || data->labels[i] >= (uint32_t)data->classes)
            abort();
        sum += bytes[0] + bytes[size - 1];
    }
    sum += nas_dataset_test_split(data)->count + (size_t)nas_dataset_verify(data, NULL);
}

static void try_bytes(const uint8_t *bytes, size_t size)
{
    nas_dataset *data;
    char path[64];
    const int fd = memfd_create("fuzz", 0);

    if (fd < 0)
        return;
    if (write(fd, bytes, size) == (ssize_t)size) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (nas_dataset_open(&data, path, NULL) == NAS_OK) {
            touch(data);
            nas_dataset_close(data);
        }
    }
    close(fd);
}

static void sign(uint8_t *bytes, size_t size)
{
    nas_data__header h;
    char hex[NAS_DIGEST_SIZE];
    nas_hash *hash = nas_hash_new();

    memcpy(&h, bytes, sizeof h);
    const uint64_t tables = h.record_bytes < size ? nas_data__tables(h.record_bytes) : size;
    if (hash != NULL) {
        nas_hash_add(hash, bytes, NAS_DATA_CHECKED);
        if (tables < size)
            nas_hash_add(hash, bytes + tables, size - tables);
        nas_hash_hex(hash, hex);
        memcpy(bytes + NAS_DATA_CHECKED, hex, NAS_DATA_DIGITS);
    }
    nas_hash_free(hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    try_bytes(data, size);
    if (copy != NULL && size >= sizeof(nas_data__header)) {
        memcpy(copy, data, size);
        sign(copy, size);
        try_bytes(copy, size);
    }
    free(copy);
    return 0;
}

/* The packed file's layout: docs/reference/dataset.md.  Private to nas/data. */
#ifndef NAS_DATA_FORMAT_H
#define NAS_DATA_FORMAT_H

#include <stdint.h>

#include "nas/data/dataset.h"

#define NAS_DATA_MAGIC "NASDATA" /* and its zero byte: 8 bytes */
enum { NAS_DATA_VERSION = 1, NAS_DATA_DIGITS = NAS_DIGEST_SIZE - 1 };

typedef struct nas_data__header {
    char magic[8];
    uint32_t version, encoding, classes, splits;
    uint32_t height, width, channels, images;
    uint64_t record_bytes, name_bytes, file_bytes;
    double mean[NAS_DATA_CHANNELS_MAX], std[NAS_DATA_CHANNELS_MAX];
    unsigned char zero[80];
    char digest[NAS_DATA_DIGITS];   /* of all after the header, then of the fields above */
    char checksum[NAS_DATA_DIGITS]; /* of all above, then of the tables */
} nas_data__header;

_Static_assert(sizeof(nas_data__header) == 256, "the header is written as it lies in memory");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "packed files are little-endian");

enum { NAS_DATA_DIGESTED = 192, NAS_DATA_CHECKED = 224 }; /* bytes of the header */

typedef struct nas_data__range {
    uint64_t first, count;
} nas_data__range;

/* Where the tables start: records end there, rounded up to 8 bytes. */
static inline uint64_t nas_data__tables(uint64_t record_bytes)
{
    return sizeof(nas_data__header) + ((record_bytes + 7) & ~(uint64_t)7);
}

#endif

/* The container of checkpoints and models: the safetensors format, with a digest.
 *
 * Eight bytes of header length (little endian), a JSON header, the tensors' bytes.
 * Any safetensors reader reads our files; docs/reference/checkpoint.md has the
 * rules and what we put into the metadata. */
#ifndef NAS_NAS_TRAIN_SAFETENSORS_H
#define NAS_NAS_TRAIN_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

typedef enum nas_dtype {
    NAS_DTYPE_F64, NAS_DTYPE_I64, NAS_DTYPE_U64,
    NAS_DTYPE_F32, NAS_DTYPE_I32, NAS_DTYPE_U32,
    NAS_DTYPE_F16, NAS_DTYPE_BF16, NAS_DTYPE_I16, NAS_DTYPE_U16,
    NAS_DTYPE_I8, NAS_DTYPE_U8, NAS_DTYPE_BOOL,
    NAS_DTYPE_COUNT
} nas_dtype;

/** "F32", ... as the format spells it, and bytes of one element. */
const char *nas_dtype_name(nas_dtype dtype);
size_t nas_dtype_size(nas_dtype dtype);

enum { NAS_SAFETENSORS_RANK = 8, NAS_SAFETENSORS_HEADER_MAX = 64 << 20 /* bytes */ };

/* ---- writing ---- */

/** Collects tensors and metadata.  Errors are kept and reported by _write. */
typedef struct nas_safetensors_builder nas_safetensors_builder;

nas_safetensors_builder *nas_safetensors_builder_new(void); /* NULL: no memory, _write reports it */
void nas_safetensors_builder_free(nas_safetensors_builder *builder);
/** Adds a tensor, row-major.  `data` is borrowed until _write; `shape` is copied.  Rank 0 is a
 * scalar.  A name may be used once and is not "__metadata__". */
void nas_safetensors_builder_add(nas_safetensors_builder *builder, const char *name,
                                 nas_dtype dtype, int rank, const int64_t *shape,
                                 const void *data);
/** Sets a metadata string (UTF-8); the last value of a key stays.  "nas.digest" is ours. */
void nas_safetensors_builder_meta(nas_safetensors_builder *builder, const char *key,
                                  const char *value);
/** Writes the file, all or nothing (nas_writer).  The same content gives the same bytes.
 * `digest` (may be NULL) receives the content digest that is in the file. */
nas_status nas_safetensors_builder_write(nas_safetensors_builder *builder, const char *path,
                                         char digest[NAS_DIGEST_SIZE], nas_err *err);

/* ---- reading ---- */

typedef struct nas_safetensors_tensor {
    const char *name;
    nas_dtype dtype;
    int rank;
    int64_t shape[NAS_SAFETENSORS_RANK];
    int64_t count;    /* elements             */
    const void *data; /* aligned to its dtype */
} nas_safetensors_tensor;

typedef struct nas_safetensors nas_safetensors;

/** Maps a file and checks all of it: structure, shapes, offsets (no gap, no overlap), and the
 * digest.  A file without a digest (of another program) is NAS_E_DATA when `need_digest`.
 * NAS_E_IO, NAS_E_DATA "path: what is wrong", NAS_E_NOMEM. */
nas_status nas_safetensors_open(nas_safetensors **out, const char *path, bool need_digest,
                                nas_err *err);
/** The same on memory, which must outlive the result; `name` is for messages.  `data` must be
 * aligned to 8 bytes. */
nas_status nas_safetensors_parse(nas_safetensors **out, const void *data, size_t size,
                                 const char *name, bool need_digest, nas_err *err);
void nas_safetensors_close(nas_safetensors *file);

/** Number of tensors, and tensor 0..count-1 in the order of names. */
int nas_safetensors_count(const nas_safetensors *file);
const nas_safetensors_tensor *nas_safetensors_at(const nas_safetensors *file, int index);
/** NULL if there is none of that name. */
const nas_safetensors_tensor *nas_safetensors_find(const nas_safetensors *file, const char *name);
/** As _find, but it must be there with this dtype and shape: NAS_E_DATA says what differs. */
nas_status nas_safetensors_expect(const nas_safetensors *file, const char *name, nas_dtype dtype,
                                  int rank, const int64_t *shape,
                                  const nas_safetensors_tensor **out, nas_err *err);
/** Metadata string, NULL if there is none. */
const char *nas_safetensors_meta(const nas_safetensors *file, const char *key);
/** Calls `visit` with every metadata pair in file order. */
void nas_safetensors_each_meta(const nas_safetensors *file,
                               void (*visit)(void *user, const char *key, const char *value),
                               void *user);

#endif

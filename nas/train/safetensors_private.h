/* What the writer and the reader of safetensors must agree on. */
#ifndef NAS_NAS_TRAIN_SAFETENSORS_PRIVATE_H
#define NAS_NAS_TRAIN_SAFETENSORS_PRIVATE_H

#include <jansson.h>

#include "nas/train/safetensors.h"

#define NAS_SAFETENSORS__METADATA "__metadata__"
#define NAS_SAFETENSORS__DIGEST "nas.digest"

/** Starts the content digest: the header as compact JSON with sorted keys and without the
 * digest itself; the caller adds the data part.  NULL when out of memory. */
nas_hash *nas_safetensors__hash_header(json_t *header);

#endif

/* An architecture: one network, as data. */
#ifndef NAS_NAS_SPACE_ARCH_H
#define NAS_NAS_SPACE_ARCH_H

#include "base/hash.h"
#include "ops/layer/op.h"

typedef struct json_t json_t; /* jansson's: who has no use for JSON needs no jansson */

enum { NAS_MAX_BLOCKS = 256, NAS_MAX_IMAGE_SIZE = 4096 };

/** y = op(x), or x + op(x) with a shortcut.  Zero with a shortcut is y = x. */
typedef struct nas_block_spec {
    nas_op_spec op;
    bool shortcut; /* needs stride 1 and in == out */
    int stage;     /* number of the stage it belongs to, -1: none (stem, first block, head) */
} nas_block_spec;

/** A chain of blocks from image to logits: stem, first block, searched blocks,
 * head convolution, mean pool [, feature mix], linear classifier. */
typedef struct nas_arch {
    char name[64];
    int image_size;        /* pixels, square input it was made for            */
    bool size_assumed;     /* its file does not tell: a net.config alone      */
    int channels, classes;
    float bn_momentum;     /* PyTorch's convention: new = (1-m)*old + m*batch  */
    float bn_eps;
    int count;
    nas_block_spec *blocks; /* [count], yours (nas_arch_free)                 */
} nas_arch;

nas_arch *nas_arch_new(int count, nas_err *err); /* NULL: no memory */
nas_arch *nas_arch_copy(const nas_arch *arch, nas_err *err);
void nas_arch_free(nas_arch *arch);

/** Checks every block and that each fits the one before it; NAS_E_CONFIG names the block. */
nas_status nas_arch_check(const nas_arch *arch, nas_err *err);

/** Sums over blocks at image_size (0: the architecture's own); skipped blocks cost nothing. */
nas_op_cost nas_arch_cost(const nas_arch *arch, int image_size);

/** Our own JSON (docs/reference/arch.md), or net.config of ProxylessNAS / OFA (recognised
 * by content; the image size comes from run.config beside it, or is 224).  NAS_E_IO, NAS_E_DATA,
 * NAS_E_CONFIG with path and member. */
nas_status nas_arch_load(nas_arch **out, const char *path, nas_err *err);
nas_status nas_arch_from_json(nas_arch **out, const json_t *json, const char *where, nas_err *err);
json_t *nas_arch_to_json(const nas_arch *arch); /* NULL: no memory */
nas_status nas_arch_save(const nas_arch *arch, const char *path, nas_err *err);
/** net.config as the original code reads it: "ProxylessNASNets" or, with a feature mix
 * behind the mean pool, "MobileNetV3".  NAS_E_CONFIG if it cannot be said in that format. */
nas_status nas_arch_to_net_config(json_t **out, const nas_arch *arch, nas_err *err);
/** Digest of the canonical JSON without name, stages and skipped blocks: same network,
 * same digest. */
nas_status nas_arch_digest(const nas_arch *arch, char out[NAS_DIGEST_SIZE], nas_err *err);

#endif

/* The accuracy predictor of Once-for-All (Cai et al. 2020, section 3.4): a small network that
 * foretells the top-1 accuracy of an architecture from its kernels, expand ratios, depths and
 * image size.  Files: docs/reference/predictor.md. */
#ifndef NAS_SEARCH_OFA_PREDICTOR_H
#define NAS_SEARCH_OFA_PREDICTOR_H

#include "base/hash.h"
#include "nas/train/dense.h"
#include "search/evolution/problem.h"

typedef struct nas_predictor {
    nas_dense net;                        /* with one output                             */
    int sizes, image_size[NAS_MAX_SIZES]; /* that have an input, ascending; 0: none      */
    int untrained; /* the first so many of those it was never shown: not to be asked     */
    char digest[NAS_DIGEST_SIZE];         /* of its file                                 */
} nas_predictor;

/** Reads a file: safetensors, or the state dict of torch.save.  NAS_E_IO, NAS_E_NOMEM;
 * NAS_E_DATA says what is not as a predictor has it. */
nas_status nas_predictor_load(nas_predictor **out, const char *path, nas_err *err);
/** As _load, from memory; `name` stands for the path in messages. */
nas_status nas_predictor_parse(nas_predictor **out, const void *data, size_t size,
                               const char *name, nas_err *err);
/** Writes it as safetensors, atomically.  NAS_E_IO, NAS_E_NOMEM. */
nas_status nas_predictor_save(const nas_predictor *predictor, const char *path, nas_err *err);
/** An empty one of `layers` layers, all weights 0; NULL: no memory. */
nas_predictor *nas_predictor_new(int layers, const int *width, nas_err *err);
void nas_predictor_free(nas_predictor *predictor);

/** How the architectures of a space become inputs: for each block that is chosen, in order, one
 * of its kernels; then one of its expand ratios; then one of the image sizes.  A skipped block
 * has none of either. */
typedef struct nas_encoding {
    int inputs, sizes, untrained, image_size[NAS_MAX_SIZES]; /* as the predictor */
    int slots;
    int first[NAS_MAX_SLOTS + 1];
    int (*input)[2]; /* [first[slots]] of kernel and ratio by slot and candidate, -1: none */
} nas_encoding;

/** `sizes` image sizes in ascending order, 0: they have no inputs.  NAS_E_CONFIG if the space has
 * chosen blocks that are no MBConv, NAS_E_NOMEM.  After an error too it needs _fini. */
nas_status nas_encoding_init(nas_encoding *encoding, const nas_space *space, int sizes,
                             const int *image_size, nas_err *err);
/** As a predictor wants it; NAS_E_CONFIG if that has another number of inputs. */
nas_status nas_encoding_for(nas_encoding *encoding, const nas_space *space,
                            const nas_predictor *predictor, nas_err *err);
void nas_encoding_fini(nas_encoding *encoding);
/** Writes x[inputs], zeros and ones; the candidate's image size must be one of the encoding's,
 * where that has any. */
void nas_encoding_apply(const nas_encoding *encoding, const nas_candidate *candidate, float *x);
/** NAS_E_CONFIG names the image sizes that the predictor knows if `image_size` is none. */
nas_status nas_encoding_check_size(const nas_encoding *encoding, int image_size, nas_err *err);

/** A predictor as an evaluator: hand `evaluator` to a search while this lives. */
typedef struct nas_predictor_evaluator {
    nas_evaluator evaluator;
    const nas_predictor *predictor; /* below: private */
    const nas_encoding *encoding;
    float *x, *scratch, *y;
} nas_predictor_evaluator;

/** Borrows predictor and encoding.  NAS_E_NOMEM. */
nas_status nas_predictor_evaluator_new(nas_predictor_evaluator **out,
                                       const nas_predictor *predictor,
                                       const nas_encoding *encoding, nas_err *err);
void nas_predictor_evaluator_free(nas_predictor_evaluator *evaluator);

#endif

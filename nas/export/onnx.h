/* A trained network as an ONNX file, which the inference engines of phones, browsers and
 * servers run (docs/reference/export.md). */
#ifndef NAS_NAS_EXPORT_ONNX_H
#define NAS_NAS_EXPORT_ONNX_H

#include "nas/model/model.h"

enum { NAS_ONNX_OPSET = 13, NAS_ONNX_IR = 7 };

/** What the file says besides the network; borrowed. */
typedef struct nas_onnx_info {
    const char *version;            /* of this program                                        */
    const char *const *class_names; /* [classes], UTF-8; NULL: not known                      */
    const float *mean, *std;        /* [channels] of the images it was trained on, in 0..1;
                                       NULL: not known                                        */
} nas_onnx_info;

/** Writes `model`, a network of one candidate a slot made from `arch`, all or nothing
 * (nas_writer), in float32 with batch norm folded into the convolutions.  Of layers with equal
 * steps, inputs go through QuantizeLinear and DequantizeLinear, and weights are codes behind
 * DequantizeLinear; shared weights (kmeans) are written as the floats that they are.
 * Input   "image"  [batch][channels][image_size][image_size], batch is free
 * Output  "logits" [batch][classes]
 * NAS_E_CONFIG if it would be larger than the 2 GiB that the format can hold; NAS_E_IO,
 * NAS_E_NOMEM. */
nas_status nas_onnx_write(const nas_model *model, const nas_arch *arch, const nas_onnx_info *info,
                          const char *path, nas_err *err);

#endif

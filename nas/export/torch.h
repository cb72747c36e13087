/* A trained network as the published PyTorch code of ProxylessNAS and Once-for-All reads it:
 * net.config and a state_dict (docs/reference/export.md). */
#ifndef NAS_NAS_EXPORT_TORCH_H
#define NAS_NAS_EXPORT_TORCH_H

#include "nas/model/model.h"

/** Writes net.config of `arch` to `config` and the parameters of `model`, a network of one
 * candidate a slot made from it, to `weights`, under the names and in the shapes of that code's
 * state_dict.  A name of weights that ends in ".pth" or ".pt" gets what torch.save writes of
 * {"state_dict": ...}, any other a safetensors file.  Each may be NULL: not wanted; each
 * appears whole or not at all, the weights first.
 * NAS_E_CONFIG if the format cannot hold the network; NAS_E_IO, NAS_E_NOMEM. */
nas_status nas_torch_write(const nas_model *model, const nas_arch *arch, const char *config,
                           const char *weights, nas_err *err);

#endif

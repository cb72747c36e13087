/* Checkpoints and model files: a supernet's or a network's parameters by name, with
 * our state as JSON in the metadata (docs/reference/checkpoint.md). */
#ifndef NAS_NAS_TRAIN_CHECKPOINT_H
#define NAS_NAS_TRAIN_CHECKPOINT_H

#include <jansson.h>

#include "base/json.h"
#include "nas/model/model.h"
#include "nas/train/safetensors.h"

/** Starts a file of a kind ("model", "train", "search"); `state` becomes metadata "nas.state".
 * Errors are reported by nas_safetensors_builder_write. */
nas_safetensors_builder *nas_checkpoint_begin(const char *kind, const json_t *state);
/** Opens one, which must be of that kind; `*state` (yours) is its "nas.state".
 * NAS_E_DATA says what it is instead. */
nas_status nas_checkpoint_open(nas_safetensors **out, json_t **state, const char *path,
                               const char *kind, nas_err *err);

/** Adds every parameter ("slot3.op2.expand.weight"), and with `momentum` SGD's state of the
 * trained ones ("momentum/slot3..."). */
void nas_checkpoint_add_model(nas_safetensors_builder *builder, const nas_model *model,
                              bool momentum);
/** The same with `prefix` in front of every name: for a second network in one file. */
void nas_checkpoint_add_second(nas_safetensors_builder *builder, const char *prefix,
                               const nas_model *model);
/** Reads them back; each must be there with its shape.  The model is unchanged unless NAS_OK. */
nas_status nas_checkpoint_read_model(const nas_safetensors *file, nas_model *model, bool momentum,
                                     nas_err *err);

nas_status nas_checkpoint_read_second(const nas_safetensors *file, const char *prefix,
                                      nas_model *model, nas_err *err);

/** A trained network: architecture and parameters in one file; a quantised one (with records) with
 * its weights as codes of their bits (docs/reference/quantised-model.md). */
nas_status nas_model_save(const nas_model *model, const nas_arch *arch, const char *path,
                          nas_err *err);
/** Either result may be NULL if it is not wanted.  Yours. */
nas_status nas_model_load(nas_model **out, nas_arch **arch, const char *path, nas_err *err);

#endif

/* Private to nas/train: the file of a quantised network (docs/reference/quantised-model.md), and
 * what it shares with that of a float network. */
#ifndef NAS_NAS_TRAIN_QUANTISED_FILE_H
#define NAS_NAS_TRAIN_QUANTISED_FILE_H

#include "nas/train/checkpoint.h"

nas_status nas_quantised_save(const nas_model *model, const nas_arch *arch, const char *path,
                              nas_err *err);
/** Fills a network made from the file's architecture, which gets records.  NAS_E_DATA. */
nas_status nas_quantised_read(const nas_safetensors *file, const char *path, nas_model *model,
                              nas_err *err);

/** Called for every tensor of a network: its name, parameter, and where it lies. */
typedef nas_status nas_checkpoint__visit(void *user, const char *name, const nas_param *param,
                                         float *values, nas_err *err);
/** Visits all of them; `before` is put in front of the names. */
nas_status nas_checkpoint__each(const nas_model *model, const char *before, bool momentum,
                                nas_checkpoint__visit *visit, void *user, nas_err *err);
/** Visitors whose user is a builder, or a file: adds the tensor; it must be there; reads it. */
nas_checkpoint__visit nas_checkpoint__add, nas_checkpoint__expect, nas_checkpoint__copy;

#endif

/* Tensors from a file of torch.save: a dictionary of float tensors (a "state dict").
 *
 * Only the form from before torch 1.6 is read, in which the published predictors are; the
 * newer one, a zip archive, is recognised and refused with advice.  Nothing in the file is
 * run (nas/train/pickle.h).  docs/reference/predictor.md has the layout. */
#ifndef NAS_NAS_TRAIN_TORCH_FILE_H
#define NAS_NAS_TRAIN_TORCH_FILE_H

#include "nas/train/safetensors.h"

typedef struct nas_torch_file nas_torch_file;

/** True if it begins as torch.save writes it, in the older form or the newer one. */
bool nas_torch_file_is(const void *data, size_t size);

/** Reads a file and checks all of it.  The tensors are F32 and row-major.  `name` stands for the
 * path in messages; `data` may go afterwards.  NAS_E_DATA "name: what is wrong", NAS_E_NOMEM. */
nas_status nas_torch_file_parse(nas_torch_file **out, const void *data, size_t size,
                                const char *name, nas_err *err);
void nas_torch_file_free(nas_torch_file *file);

/** Number of tensors, and tensor 0..count-1 in the order of the dictionary. */
int nas_torch_file_count(const nas_torch_file *file);
const nas_safetensors_tensor *nas_torch_file_at(const nas_torch_file *file, int index);

#endif

/* Memory that activations need when a network is run, whatever engine runs it. */
#ifndef NAS_NAS_SPACE_MEMORY_H
#define NAS_NAS_SPACE_MEMORY_H

#include "nas/space/arch.h"

/** Bytes of the float32 feature maps of one image that must be there at once while an operation
 * runs on an input of h x w.  Every convolution writes a whole map: a block of three needs at worst
 * what one of them reads and writes, and, to be added at its end, its own input.  Vectors (of
 * squeeze-excite) are left out.  Whoever stores activations in 8 bits needs a quarter. */
int64_t nas_op_memory(const nas_op_spec *op, bool shortcut, int h, int w);
/** Of the block that needs most, at image_size (0: the architecture's own). */
int64_t nas_arch_memory(const nas_arch *arch, int image_size);

#endif

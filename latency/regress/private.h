/* Private to this folder: blocks as numbers. */
#ifndef NAS_LATENCY_REGRESS_PRIVATE_H
#define NAS_LATENCY_REGRESS_PRIVATE_H

#include "latency/regress/regressor.h"

/** What is known of a block before it is measured. */
void nas_regress__features(const nas_latency_entry *entry, float out[NAS_LATENCY_FEATURES]);
/** Features as the network wants them: -1 to 1 from low to high. */
void nas_regress__scale(const nas_regressor *regressor, const float *features, float *out);

#endif

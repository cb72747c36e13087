/* Private to nas/space: the published code's network files (net.config). */
#ifndef NAS_NAS_SPACE_NET_CONFIG_H
#define NAS_NAS_SPACE_NET_CONFIG_H

#include "nas/space/arch.h"

/** True if `json` looks like a net.config rather than our own format. */
bool nas_space__is_net_config(const json_t *json);
/** Reads one; image_size is 224, the name is empty, stages begin where a block has no shortcut. */
nas_status nas_space__net_config_read(nas_arch **out, const json_t *json, const char *where,
                                      nas_err *err);

#endif

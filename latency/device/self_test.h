/* Private to this folder: whether the kernels compute the right things on this machine. */
#ifndef NAS_LATENCY_DEVICE_SELF_TEST_H
#define NAS_LATENCY_DEVICE_SELF_TEST_H

#include "base/status.h"

/** Runs one network of every operation and shape class with every set of kernels, and prints a
 * line for each.  NAS_E_FAIL if one of them differs from the reference. */
nas_status nas_device__self_test(nas_err *err);

/** The same of convolutions on 8-bit integers, which are right to the bit.  NAS_E_FAIL,
 * NAS_E_NOMEM. */
nas_status nas_device__self_test_int8(nas_err *err);

#endif

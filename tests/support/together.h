/* Processes that compute one thing together, as threads of a test. */
#ifndef NAS_TESTS_SUPPORT_TOGETHER_H
#define NAS_TESTS_SUPPORT_TOGETHER_H

#include "base/comm.h"

enum { TOGETHER_MAX = 4 };

/** Calls work(comm, user) in `ranks` threads at once, each with a communicator of its own. */
void together(int ranks, void (*work)(const nas_comm *comm, void *user), void *user);

#endif

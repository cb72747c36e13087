/* Programs that tests ask for their opinion, where the machine has them. */
#ifndef NAS_TESTS_SUPPORT_TOOLS_H
#define NAS_TESTS_SUPPORT_TOOLS_H

#include "tests/support/process.h"

/** Runs a program by its name in PATH (arguments up to NULL); its result until the next call. */
const process_result *run_tool(const char *name, ...) __attribute__((sentinel));
#define RUN_TOOL(...) run_tool(__VA_ARGS__, NULL)

/** Skip the test if there is no such program, or Debian's Python lacks that module. */
void need_tool(const char *name);
void need_python(const char *module);

#endif

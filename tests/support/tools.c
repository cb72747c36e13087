/* Finding and running programs of PATH. */
#include "tests/support/tools.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>

const process_result *run_tool(const char *name, ...)
{
    static process_result last;
    const char *argv[PROCESS_MAX_ARGS] = {"/usr/bin/env", name};
    va_list list;

    va_start(list, name);
    for (int i = 2; i < PROCESS_MAX_ARGS - 1 && (argv[i] = va_arg(list, const char *)) != NULL; i++)
        ;
    va_end(list);
    process_free(&last);
    last = process_run(argv, NULL);
    return &last;
}

void need_tool(const char *name)
{
    if (RUN_TOOL("sh", "-c", "command -v \"$0\"", name)->code != 0)
        cr_skip_test("no %s here: scripts/setup can install it", name);
}

void need_python(const char *module)
{
    char import[64];

    snprintf(import, sizeof import, "import %s", module);
    if (RUN_TOOL("/usr/bin/python3", "-c", import)->code != 0)
        cr_skip_test("Debian's Python has no %s: scripts/setup --consumers", module);
}

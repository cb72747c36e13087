/* Status codes and the error record. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/status.h"

Test(base_status, values_are_the_documented_exit_codes)
{
    cr_assert_eq(NAS_OK, 0);
    cr_assert_eq(NAS_E_FAIL, 1);
    cr_assert_eq(NAS_E_USAGE, 2);
    cr_assert_eq(NAS_E_INFEASIBLE, 3);
    cr_assert_eq(NAS_E_DATA, 65);
    cr_assert_eq(NAS_E_NOMEM, 71);
    cr_assert_eq(NAS_E_IO, 74);
    cr_assert_eq(NAS_E_INTERRUPTED, 75);
    cr_assert_eq(NAS_E_CONFIG, 78);
}

Test(base_status, fail_records_and_returns_and_clears_the_hint)
{
    nas_err err = {.hint = "old"};

    cr_assert_eq(nas_fail(&err, NAS_E_DATA, "%s:%d: bad", "a.json", 3), NAS_E_DATA);
    cr_assert_eq(err.status, NAS_E_DATA);
    cr_assert_str_eq(err.message, "a.json:3: bad");
    cr_assert_str_eq(err.hint, "");
}

Test(base_status, a_message_may_quote_the_record_itself)
{
    nas_err err;

    nas_fail(&err, NAS_E_DATA, "inner");
    nas_fail(&err, NAS_E_CONFIG, "outer (%s)", err.message);
    cr_assert_str_eq(err.message, "outer (inner)");
    nas_hint(&err, "see %s", err.message);
    cr_assert_str_eq(err.hint, "see outer (inner)");
}

Test(base_status, everything_accepts_no_record)
{
    cr_assert_eq(nas_fail(NULL, NAS_E_IO, "x"), NAS_E_IO);
    errno = ENOENT;
    cr_assert_eq(nas_fail_errno(NULL, "x"), NAS_E_IO);
    nas_hint(NULL, "x");
    nas_err_prefix(NULL, "x");
}

Test(base_status, errno_gives_the_status_and_the_text)
{
    nas_err err;

    errno = ENOENT;
    cr_assert_eq(nas_fail_errno(&err, "%s: cannot open", "f"), NAS_E_IO);
    cr_assert_str_eq(err.message, "f: cannot open: No such file or directory");
    errno = EACCES;
    cr_assert_eq(nas_fail_errno(&err, "f"), NAS_E_IO);
    errno = ENOMEM;
    cr_assert_eq(nas_fail_errno(&err, "f"), NAS_E_NOMEM);
    errno = ENOSPC;
    cr_assert_eq(nas_fail_errno(&err, "f"), NAS_E_IO);
    cr_assert_not_null(strstr(err.hint, "free some space"), "%s", err.hint);
}

Test(base_status, the_reason_survives_a_long_path)
{
    char path[2000];
    nas_err err;

    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    errno = ENOENT;
    nas_fail_errno(&err, "%s", path);
    cr_assert_not_null(strstr(err.message, ": No such file or directory"));
}

Test(base_status, prefix_goes_in_front_and_cuts_at_the_end)
{
    char context[2000];
    nas_err err;

    nas_fail(&err, NAS_E_DATA, "inner");
    nas_hint(&err, "kept");
    nas_err_prefix(&err, "space %s", "tiny");
    cr_assert_str_eq(err.message, "space tiny: inner");
    cr_assert_str_eq(err.hint, "kept");
    memset(context, 'c', sizeof context - 1);
    context[sizeof context - 1] = '\0';
    nas_err_prefix(&err, "%s", context);
    cr_assert_eq(strlen(err.message), sizeof err.message - 1);
}

Test(base_status, every_status_has_a_name)
{
    static const nas_status all[] = {NAS_OK,      NAS_E_FAIL,  NAS_E_USAGE,
                                     NAS_E_INFEASIBLE, NAS_E_DATA,  NAS_E_NOMEM,
                                     NAS_E_IO,    NAS_E_INTERRUPTED, NAS_E_CONFIG};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cr_assert_str_neq(nas_status_name(all[i]), "unknown", "%d", (int)all[i]);
    cr_assert_str_eq(nas_status_name(NAS_E_DATA), "data");
}

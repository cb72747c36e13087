/* Ways to a device, as a person writes them. */
#include <criterion/criterion.h>
#include <string.h>

#include "latency/via/via.h"
#include "tests/latency/published.h"

static nas_err err;

Test(latency_via, ways_are_recognised)
{
    nas_via via;

    REQUIRE_OK(nas_via_parse(&via, "local", &err));
    cr_assert_null(via.kind);
    REQUIRE_OK(nas_via_parse(&via, "exec: nice  -n 5 ", &err));
    cr_assert_str_eq(via.words[0], "nice");
    cr_assert_str_eq(via.words[1], "-n");
    cr_assert_str_eq(via.words[2], "5");
    cr_assert_null(via.words[3]);
    REQUIRE_OK(nas_via_parse(&via, "adb", &err));
    cr_assert_str_eq(via.target, "");
    REQUIRE_OK(nas_via_parse(&via, "adb:127.0.0.1:5555", &err));
    cr_assert_str_eq(via.target, "127.0.0.1:5555");
    REQUIRE_OK(nas_via_parse(&via, "ssh:me@board.local", &err));
    cr_assert_str_eq(via.target, "me@board.local");
}

Test(latency_via, others_are_refused)
{
    static const char *const wrong[] = {
        "", "here", "exec", "exec:", "exec:   ", "ssh", "ssh:", "adb:", "local:x", "telnet:x",
        "ssh:-oProxyCommand=x", "adb:-d", "ssh:a b", "ssh:a;b", "ssh:$(x)", "adb:'x'",
    };
    nas_via via;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(nas_via_parse(&via, wrong[i], &err), NAS_E_USAGE, "%s", wrong[i]);
}

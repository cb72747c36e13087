/* Messages for people, and what hostile text may not do to a terminal. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <string.h>

#include "base/log.h"

Test(base_log, text_is_shown_with_controls_and_bad_utf8_escaped)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain text", "plain text"},
        {"naïve ☃ 😀", "naïve ☃ 😀"},
        {"a\x1b[31mred", "a\\x1b[31mred"},
        {"two\nlines\r\t", "two\\x0alines\\x0d\\x09"},
        {"\x7f", "\\x7f"},
        {"\xc2\x9b" "31m", "\\xc2\\x9b31m"}, /* U+009B, the one-character escape */
        {"\xc2\xa0", "\xc2\xa0"},           /* U+00A0 is a blank */
        {"\xff\xfe", "\\xff\\xfe"},
        {"\xc0\xaf", "\\xc0\\xaf"},                 /* overlong slash */
        {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},         /* overlong slash */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},         /* surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* above U+10FFFF */
        {"cut\xe2\x98", "cut\\xe2\\x98"},
        {"", ""},
    };
    char out[64];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nas_text_escape(cases[i].in, out, sizeof out);
        cr_assert_str_eq(out, cases[i].out, "case %zu: %s", i, out);
    }
}

Test(base_log, escaping_cuts_between_characters)
{
    char out[6] = "xxxxx";

    nas_text_escape("abc☃", out, sizeof out); /* 3 + 3 bytes and the NUL need 7 */
    cr_assert_str_eq(out, "abc");
    nas_text_escape("ab\n", out, sizeof out);
    cr_assert_str_eq(out, "ab");
    nas_text_escape("abcde", out, sizeof out);
    cr_assert_str_eq(out, "abcde");
    nas_text_escape("x", out, 1);
    cr_assert_str_eq(out, "");
}

Test(base_log, levels_decide_what_is_shown, .init = cr_redirect_stderr)
{
    cr_assert_eq(nas_log_get_level(), NAS_LOG_INFO);
    nas_log(NAS_LOG_INFO, "%d images", 7);
    nas_log(NAS_LOG_DEBUG, "hidden");
    nas_log_set_level(NAS_LOG_WARN);
    nas_log(NAS_LOG_INFO, "hidden");
    nas_log(NAS_LOG_WARN, "odd\nname");
    nas_log(NAS_LOG_ERROR, "broken");
    nas_log_set_level(NAS_LOG_DEBUG);
    nas_log(NAS_LOG_DEBUG, "detail");
    fflush(stderr);
    cr_assert_stderr_eq_str("nas: 7 images\nnas: warning: odd\\x0aname\nnas: broken\nnas: detail\n");
}

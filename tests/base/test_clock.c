/* Clocks and the written form of a time. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"

Test(base_clock, times_are_written_in_utc_with_milliseconds)
{
    static const struct {
        int64_t ms;
        const char *text;
    } known[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1700000000123, "2023-11-14T22:13:20.123Z"},
        {951782400007, "2000-02-29T00:00:00.007Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
    };
    char text[25];

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        nas_clock_format(known[i].ms, text);
        cr_assert_str_eq(text, known[i].text);
    }
}

Test(base_clock, an_absurd_time_stays_inside_its_buffer)
{
    char text[26] = {[25] = 'x'};

    nas_clock_format(INT64_MAX, text);
    nas_clock_format(INT64_MIN + 1000, text);
    nas_clock_format(400000000000000, text); /* a year of five digits */
    cr_assert_eq(text[25], 'x');
    cr_assert_lt(strnlen(text, 25), 25);
}

Test(base_clock, both_clocks_go_forward)
{
    const double start = nas_clock_seconds();
    const int64_t utc = nas_clock_utc_ms();

    while (nas_clock_seconds() < start + 0.005)
        ;
    cr_assert_geq(nas_clock_utc_ms(), utc);
    cr_assert_gt(utc, 1700000000000);
}

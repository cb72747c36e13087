/* Messages on stderr, one whole line a call, with nothing in them that a terminal would obey. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

static atomic_int chosen_level = NAS_LOG_INFO;

void nas_log_set_level(nas_log_level level)
{
    atomic_store(&chosen_level, (int)level);
}

nas_log_level nas_log_get_level(void)
{
    return (nas_log_level)atomic_load(&chosen_level);
}

void nas_log(nas_log_level level, const char *format, ...)
{
    char text[2048], line[4096];
    va_list args;

    if ((int)level > atomic_load(&chosen_level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    nas_text_escape(text, line, sizeof line);
    fprintf(stderr, "nas: %s%s\n", level == NAS_LOG_WARN ? "warning: " : "", line);
}

/* Bytes of the well-formed UTF-8 character at `s` (RFC 3629), 0 if there is none. */
static int character_size(const unsigned char *s)
{
    static const struct {
        unsigned char first, last; /* lead byte                  */
        unsigned char low, high;   /* what may follow it at once */
        int size;
    } forms[] = {
        {0x00, 0x7f, 0x00, 0xff, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (s[0] < forms[i].first || s[0] > forms[i].last)
            continue;
        if (forms[i].size > 1 && (s[1] < forms[i].low || s[1] > forms[i].high))
            return 0;
        for (int k = 2; k < forms[i].size; k++)
            if ((s[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].size;
    }
    return 0;
}

static bool is_control(const unsigned char *s, int size)
{
    if (size == 1)
        return s[0] < 0x20 || s[0] == 0x7f;
    if (size == 3 && s[0] == 0xe2) /* turn what follows around: U+202A to E, U+2066 to 9 */
        return (s[1] == 0x80 && s[2] >= 0xaa && s[2] <= 0xae) ||
               (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9);
    return size == 2 && s[0] == 0xc2 && s[1] < 0xa0; /* C1: U+0080 to U+009F */
}

void nas_text_escape(const char *in, char *out, int size)
{
    const unsigned char *s = (const unsigned char *)in;
    int used = 0;

    while (*s != '\0') {
        const int whole = character_size(s);
        const bool shown = whole > 0 && !is_control(s, whole);
        const int bytes = whole > 0 ? whole : 1;
        const int needed = shown ? bytes : 4 * bytes;

        if (used + needed >= size)
            break;
        for (int k = 0; k < bytes; k++)
            used += sprintf(out + used, shown ? "%c" : "\\x%02x", s[k]);
        s += bytes;
    }
    if (size > 0)
        out[used] = '\0';
}

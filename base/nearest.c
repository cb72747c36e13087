/* The nearest name: what a mistyped option, setting or command probably meant. */
#include <string.h>

#include "base/options.h"

enum { MAX_NAME = 64 }; /* longer texts are no mistyped names */

static int smallest(int a, int b, int c)
{
    const int least = a < b ? a : b;

    return least < c ? least : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that make b out of a
 * (optimal string alignment).  Both are shorter than MAX_NAME. */
static int edit_distance(const char *a, const char *b)
{
    int rows[3][MAX_NAME]; /* of a prefix of a: two characters ago, one ago, now */
    const int length = (int)strlen(b);

    for (int j = 0; j <= length; j++)
        rows[0][j] = j;
    for (int i = 1; a[i - 1] != '\0'; i++) {
        const int *before = rows[(i + 1) % 3], *last = rows[(i + 2) % 3];
        int *now = rows[i % 3];

        now[0] = i;
        for (int j = 1; j <= length; j++) {
            now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
    }
    return rows[strlen(a) % 3][length];
}

const char *nas_nearest(const char *text, const char *const *names)
{
    const char *nearest = NULL;
    int best = ((int)strlen(text) + 2) / 3; /* as near as a third of its letters, or nothing */

    if (strlen(text) >= MAX_NAME)
        return NULL;
    for (; *names != NULL; names++) {
        if (strlen(*names) >= MAX_NAME)
            continue;
        const int distance = edit_distance(text, *names);
        if (distance < best || (distance == best && nearest == NULL)) {
            best = distance;
            nearest = *names;
        }
    }
    return nearest;
}

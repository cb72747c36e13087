/* The nearest name: what a mistyped option, setting, command or file probably meant. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/options.h"

enum { MAX_FILES = 4096 }; /* of a folder */
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

/* The entry of the folder whose name is nearest (malloc'ed); NULL: none is near. */
static char *nearest_file(const char *folder, const char *name)
{
    char **names = calloc(MAX_FILES + 1, sizeof *names), *found = NULL;
    DIR *dir = names != NULL ? opendir(folder) : NULL;
    int count = 0;

    for (const struct dirent *entry; dir != NULL && count < MAX_FILES &&
                                     (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.' && (names[count] = strdup(entry->d_name)) != NULL)
            count++;
    if (dir != NULL)
        closedir(dir);
    const char *near = names != NULL ? nas_nearest(name, (const char *const *)names) : NULL;
    if (near != NULL)
        found = strdup(near);
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return found;
}

void nas_path_hint(const char *path, const char *otherwise, nas_err *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash != NULL ? strndup(path, slash > path ? (size_t)(slash - path) : 1)
                                 : strdup(".");
    char *near = NULL;

    if (err == NULL || err->hint[0] != '\0' || folder == NULL) {
        free(folder);
        return;
    }
    if (access(path, F_OK) == 0)
        nas_hint(err, "%s", otherwise);
    else if (access(folder, F_OK) != 0)
        nas_hint(err, "there is no folder %.200s", folder);
    else if ((near = nearest_file(folder, slash != NULL ? slash + 1 : path)) != NULL)
        nas_hint(err, "did you mean %.*s%s?", slash != NULL ? (int)(slash + 1 - path) : 0, path,
                 near);
    else
        nas_hint(err, "%s", otherwise);
    free(near);
    free(folder);
}

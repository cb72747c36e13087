/* A folder for the files of one test. Use scratch_init and scratch_fini as the
 * .init and .fini of the suite; scratch("name") is a path in the folder. */
#ifndef NAS_TESTS_SUPPORT_SCRATCH_H
#define NAS_TESTS_SUPPORT_SCRATCH_H

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char scratch_folder[64];

static inline void scratch_init(void)
{
    snprintf(scratch_folder, sizeof scratch_folder, "%s/nas-test-XXXXXX", P_tmpdir);
    cr_assert_not_null(mkdtemp(scratch_folder));
}

static inline int scratch__remove(const char *path, const struct stat *info, int kind,
                                  struct FTW *walk)
{
    return remove(path);
}

static inline void scratch_fini(void)
{
    nftw(scratch_folder, scratch__remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* The path stays valid for the next seven calls. */
static inline const char *scratch(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder, name);
    return path;
}

static inline const char *scratch_put(const char *name, const char *content)
{
    const char *path = scratch(name);
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    fputs(content, file);
    cr_assert_eq(fclose(file), 0);
    return path;
}

static inline void scratch_expect(const char *name, const char *content)
{
    char found[4096];
    FILE *file = fopen(scratch(name), "r");

    cr_assert_not_null(file, "%s is missing", name);
    found[fread(found, 1, sizeof found - 1, file)] = '\0';
    fclose(file);
    cr_assert_str_eq(found, content);
}

/* Number of entries in the folder. */
static inline int scratch_count(void)
{
    char command[128];
    int count = -1;

    snprintf(command, sizeof command, "ls -A %s | wc -l", scratch_folder);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    cr_assert_eq(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    return count;
}

#endif

/* Where the published tables and networks are, and tests that need them. */
#ifndef NAS_TESTS_LATENCY_PUBLISHED_H
#define NAS_TESTS_LATENCY_PUBLISHED_H

#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Path of a published file, in $NAS_TEST_DATA or a folder data/ beside the checkout; the test
 * that asks for it is skipped where it is absent. */
static inline const char *published(const char *name)
{
    static char path[512];
    const char *dir = getenv("NAS_TEST_DATA");
    glob_t found;

    snprintf(path, sizeof path, "%s/%s", dir ? dir : NAS_SOURCE_DIR "/../*/data", name);
    if (dir == NULL && glob(path, 0, NULL, &found) == 0) {
        snprintf(path, sizeof path, "%s", found.gl_pathv[0]);
        globfree(&found);
    }
    if (access(path, R_OK) != 0)
        cr_skip_test("%s is not here: set NAS_TEST_DATA", path);
    return path;
}

/* Fails the test with the message of `err` unless `status` is NAS_OK. */
#define REQUIRE_OK(status) \
    do { \
        const nas_status require_ok_status = (status); \
        cr_assert_eq(require_ok_status, NAS_OK, "%s", err.message); \
    } while (0)

#endif

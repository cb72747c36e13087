/* The token of the dashboard, in a file that only its owner may read. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "search/report/dashboard.h"

/* Opens what is there, if it is a file that nobody else may read, and no link. */
static nas_status read_token(const char *path, char out[NAS_TOKEN_SIZE], nas_err *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat info;
    nas_status status = NAS_OK;

    if (fd < 0)
        return nas_fail_errno(err, "%s", path);
    const ssize_t got = read(fd, out, NAS_TOKEN_SIZE - 1);
    if (fstat(fd, &info) != 0 || got < 0) {
        status = nas_fail_errno(err, "%s", path);
    } else if (!S_ISREG(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
        status = nas_fail(err, NAS_E_CONFIG, "%s: others can read or replace the token", path);
        nas_hint(err, "chmod 600 it, or remove it: a new one is made");
    } else if (got != NAS_TOKEN_SIZE - 1 || memchr(out, '\0', (size_t)got) != NULL ||
               (out[got] = '\0', strspn(out, "0123456789abcdef") != (size_t)got)) {
        status = nas_fail(err, NAS_E_CONFIG, "%s: holds no token", path);
        nas_hint(err, "remove it: a new one is made");
    }
    close(fd);
    return status;
}

/* A new token under its name, unless another process was faster: then NAS_OK, too.  The file is
 * whole before it has its name. */
static nas_status make_token(const char *path, nas_err *err)
{
    unsigned char bits[(NAS_TOKEN_SIZE - 1) / 2];
    char text[NAS_TOKEN_SIZE], *next = NULL;
    nas_status status = NAS_OK;
    int fd = -1;

    if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        return nas_fail_errno(err, "%s: no random numbers", path);
    for (size_t i = 0; i < sizeof bits; i++)
        snprintf(text + 2 * i, 3, "%02x", bits[i]);
    if (asprintf(&next, "%s.XXXXXX", path) < 0)
        return nas_fail(err, NAS_E_NOMEM, "%s: out of memory", path);
    if ((fd = mkostemp(next, O_CLOEXEC)) < 0) {
        status = nas_fail_errno(err, "%s", path);
        nas_hint(err, "--token-file FILE puts it elsewhere");
    } else {
        if (write(fd, text, NAS_TOKEN_SIZE - 1) != NAS_TOKEN_SIZE - 1 || fsync(fd) != 0 ||
            (link(next, path) != 0 && errno != EEXIST))
            status = nas_fail_errno(err, "%s", path);
        close(fd);
        unlink(next);
    }
    free(next);
    return status;
}

nas_status nas_token_load(const char *path, char out[NAS_TOKEN_SIZE], nas_err *err)
{
    struct stat about;
    const nas_status status =
        lstat(path, &about) == 0 || errno != ENOENT ? NAS_OK : make_token(path, err);

    return status == NAS_OK ? read_token(path, out, err) : status;
}

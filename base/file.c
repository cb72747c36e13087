/* Files: whole reads, maps, and writes that are all or nothing. */
#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_SIZE = 256 * 1024, TEMP_TRIES = 1000 };

struct nas_writer {
    int fd;
    int error;      /* first errno of a write; 0 while all is well */
    char *path;     /* what _commit makes */
    char *temp;     /* what is written until then */
    uint64_t begun; /* file offset of buffer[0] */
    size_t fill;
    unsigned char buffer[BUFFER_SIZE];
};

/* Reads until the end, growing *text by doubling; stops one byte past max_size. */
static nas_status read_all(int fd, const char *path, size_t max_size, size_t guess, char **text,
                           size_t *size, nas_err *err)
{
    size_t capacity = guess, used = 0;

    for (;;) {
        char *grown = realloc(*text, capacity + 1);
        if (grown == NULL)
            return nas_fail(err, NAS_E_NOMEM, "%s: no memory for %zu bytes", path, capacity);
        *text = grown;
        const ssize_t got = read(fd, grown + used, capacity - used);
        if (got < 0 && errno != EINTR)
            return nas_fail_errno(err, "%s: cannot read", path);
        if (got == 0)
            break;
        used += got > 0 ? (size_t)got : 0;
        if (used > max_size)
            return nas_fail(err, NAS_E_DATA, "%s: larger than %zu bytes, the most allowed here",
                            path, max_size);
        if (used == capacity)
            capacity = capacity < max_size / 2 ? 2 * capacity : max_size + 1;
    }
    (*text)[used] = '\0';
    *size = used;
    return NAS_OK;
}

nas_status nas_file_read(const char *path, size_t max_size, char **out, size_t *size, nas_err *err)
{
    struct stat info;
    char *text = NULL;
    nas_status status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    *out = NULL;
    *size = 0;
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = nas_fail_errno(err, "%s: cannot open", path);
        goto done;
    }
    if (max_size == SIZE_MAX)
        max_size--; /* there is always room for the byte that shows "too large" */
    /* one byte more than the file, so that its end is seen without growing */
    size_t guess = info.st_size > 0 ? (size_t)info.st_size + 1 : 4096;
    if (guess > max_size)
        guess = max_size + 1;
    status = read_all(fd, path, max_size, guess, &text, size, err);
    if (status == NAS_OK) {
        *out = text;
        text = NULL;
    }
done:
    free(text);
    if (fd >= 0)
        close(fd);
    return status;
}

nas_status nas_map_open(nas_map *map, const char *path, nas_err *err)
{
    struct stat info;
    nas_status status = NAS_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang */

    *map = (nas_map){0};
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = nas_fail_errno(err, "%s: cannot open", path);
    } else if (!S_ISREG(info.st_mode)) {
        status = nas_fail(err, NAS_E_IO, "%s: not a regular file", path);
    } else if (info.st_size == 0) {
        status = nas_fail(err, NAS_E_DATA, "%s: the file is empty", path);
    } else {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);

        if (data == MAP_FAILED)
            status = nas_fail_errno(err, "%s: cannot map", path);
        else
            *map = (nas_map){data, (size_t)info.st_size};
    }
    if (fd >= 0)
        close(fd);
    return status;
}

void nas_map_close(nas_map *map)
{
    if (map->data != NULL)
        munmap((void *)map->data, map->size);
    *map = (nas_map){0};
}

/* Writes all of `data` at `offset`; keeps the first error. */
static void write_at(nas_writer *writer, uint64_t offset, const void *data, size_t size)
{
    const unsigned char *next = data;

    while (size > 0 && writer->error == 0) {
        const ssize_t done = pwrite(writer->fd, next, size, (off_t)offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            writer->error = done < 0 ? errno : EIO;
            break;
        }
        next += done;
        offset += (uint64_t)done;
        size -= (size_t)done;
    }
}

static void flush(nas_writer *writer)
{
    write_at(writer, writer->begun, writer->buffer, writer->fill);
    writer->begun += writer->fill;
    writer->fill = 0;
}

/* Opens a new file beside writer->path. The umask decides its mode, as for any new file. */
static int open_temp(nas_writer *writer)
{
    const size_t size = strlen(writer->path) + 48;

    writer->temp = malloc(size);
    if (writer->temp == NULL)
        return -1;
    for (int i = 0; i < TEMP_TRIES; i++) {
        snprintf(writer->temp, size, "%s.tmp-%ld-%d", writer->path, (long)getpid(), i);
        const int fd = open(writer->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

static void writer_free(nas_writer *writer)
{
    free(writer->temp);
    free(writer->path);
    free(writer);
}

/* A store (SQLite's application_id says so) is written by SQLite alone: a wrong --out would lose
 * all that it remembers. */
static bool is_store(const char *path)
{
    enum { APPLICATION_AT = 68, HEAD = APPLICATION_AT + 4 };
    char text[HEAD];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool is = fd >= 0 && read(fd, text, sizeof text) == HEAD &&
                    memcmp(text, "SQLite format 3", 16) == 0 &&
                    memcmp(text + APPLICATION_AT, "OnPa", 4) == 0;

    if (fd >= 0)
        close(fd);
    return is;
}

nas_status nas_writer_open(nas_writer **out, const char *path, nas_err *err)
{
    struct stat info;
    nas_writer *writer = malloc(sizeof *writer);

    *out = NULL;
    /* a rename would replace a device or a directory's entry: only files are written */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        free(writer);
        return nas_fail(err, NAS_E_IO, "%s: cannot write: not a regular file", path);
    }
    if (is_store(path)) {
        free(writer);
        nas_fail(err, NAS_E_USAGE, "%s: is a store, and is not overwritten", path);
        nas_hint(err, "name another file");
        return NAS_E_USAGE;
    }
    if (writer == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory to write", path);
    writer->error = 0;
    writer->begun = writer->fill = 0;
    writer->temp = NULL;
    writer->path = realpath(path, NULL); /* a link stays, its file is replaced */
    if (writer->path == NULL)
        writer->path = strdup(path);
    writer->fd = writer->path != NULL ? open_temp(writer) : -1;
    if (writer->fd < 0) {
        const bool no_folder = errno == ENOENT || errno == ENOTDIR;
        const nas_status status = nas_fail_errno(err, "%s: cannot write", path);

        if (no_folder)
            nas_hint(err, "make its folder first (mkdir -p), or name another");
        writer_free(writer);
        return status;
    }
    *out = writer;
    return NAS_OK;
}

void nas_writer_put(nas_writer *writer, const void *data, size_t size)
{
    if (size > sizeof writer->buffer - writer->fill)
        flush(writer);
    if (size > sizeof writer->buffer) {
        write_at(writer, writer->begun, data, size);
        writer->begun += size;
    } else if (size > 0) {
        memcpy(writer->buffer + writer->fill, data, size);
        writer->fill += size;
    }
}

void nas_writer_put_at(nas_writer *writer, uint64_t offset, const void *data, size_t size)
{
    assert(offset <= nas_writer_offset(writer) && size <= nas_writer_offset(writer) - offset);
    flush(writer);
    write_at(writer, offset, data, size);
}

uint64_t nas_writer_offset(const nas_writer *writer)
{
    return writer->begun + writer->fill;
}

/* Makes the rename itself survive a power cut. */
static int sync_directory(char *path)
{
    const int fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    /* EINVAL: a file system that cannot; its directories are as safe as they get */
    const int error = fsync(fd) != 0 && errno != EINVAL ? errno : 0;
    close(fd);
    return error;
}

nas_status nas_writer_commit(nas_writer *writer, nas_err *err)
{
    nas_status status = NAS_OK;

    flush(writer);
    if (writer->error == 0 && fsync(writer->fd) != 0)
        writer->error = errno;
    if (close(writer->fd) != 0 && writer->error == 0)
        writer->error = errno;
    if (writer->error == 0 && rename(writer->temp, writer->path) != 0)
        writer->error = errno;
    if (writer->error != 0)
        unlink(writer->temp);
    else
        writer->error = sync_directory(writer->temp);
    if (writer->error != 0) {
        errno = writer->error;
        status = nas_fail_errno(err, "%s: cannot write", writer->path);
    }
    writer_free(writer);
    return status;
}

void nas_writer_abort(nas_writer *writer)
{
    if (writer == NULL)
        return;
    close(writer->fd);
    unlink(writer->temp);
    writer_free(writer);
}

nas_status nas_file_write(const char *path, const void *data, size_t size, nas_err *err)
{
    nas_writer *writer;
    const nas_status status = nas_writer_open(&writer, path, err);

    if (status != NAS_OK)
        return status;
    nas_writer_put(writer, data, size);
    return nas_writer_commit(writer, err);
}

nas_status nas_file_writable(const char *path, nas_err *err)
{
    nas_writer *writer;
    const nas_status status = nas_writer_open(&writer, path, err);

    if (status == NAS_OK)
        nas_writer_abort(writer);
    return status;
}

nas_status nas_dir_make(const char *path, nas_err *err)
{
    char *part = strdup(path);
    nas_status status = NAS_OK;

    if (part == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory", path);
    for (char *end = part; status == NAS_OK && *end != '\0';) {
        end += strspn(end, "/");
        end += strcspn(end, "/");
        const char kept = *end;
        *end = '\0';
        const int reason = mkdir(part, 0777) != 0 ? errno : 0;
        if (reason != 0 && !nas_path_is_dir(part)) {
            errno = reason;
            status = nas_fail_errno(err, "%s: cannot make the directory", part);
        }
        *end = kept;
    }
    free(part);
    return status;
}

bool nas_path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool nas_path_is_link(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The folder that a file would be in, and *name, its name there; NULL: no memory. */
static char *split_path(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');

    *name = slash != NULL ? slash + 1 : path;
    return slash == NULL ? strdup(".") : slash == path ? strdup("/")
                                                       : strndup(path, (size_t)(slash - path));
}

bool nas_path_same(const char *a, const char *b)
{
    const char *name_a, *name_b;

    if (strcmp(a, b) == 0 || same_file(a, b))
        return true;
    if (nas_path_exists(a) || nas_path_exists(b))
        return false;
    char *in_a = split_path(a, &name_a), *in_b = split_path(b, &name_b); /* not there yet */
    const bool same =
        in_a != NULL && in_b != NULL && strcmp(name_a, name_b) == 0 && same_file(in_a, in_b);
    free(in_a);
    free(in_b);
    return same;
}

bool nas_path_is_regular(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool nas_path_is_dir(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *nas_path_join(const char *dir, const char *name)
{
    size_t length = strlen(dir);
    char *path = malloc(length + strlen(name) + 2);

    if (path == NULL)
        return NULL;
    memcpy(path, dir, length);
    while (length > 0 && path[length - 1] == '/')
        length--;
    if (dir[0] != '\0') { /* "" is the current directory, not the root */
        path[length++] = '/';
        name += strspn(name, "/");
    }
    strcpy(path + length, name);
    return path;
}

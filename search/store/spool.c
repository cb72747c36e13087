/* Lines "<digest> <number> <object>": appended whole, and read as far as they are whole. */
#include "search/store/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

enum { VERSION = 1, DIGITS = NAS_DIGEST_SIZE - 1, CHUNK = 1 << 20 };

/* ---- reading ---- */

/* The object of a line (without its end), NULL unless it is whole and has that number. */
static json_t *parse_line(const char *line, size_t size, int64_t number)
{
    char digest[NAS_DIGEST_SIZE], expected[32];
    const int prefix = snprintf(expected, sizeof expected, "%" PRId64 " ", number);
    const char *body = line + DIGITS + 1;

    if (size < (size_t)(DIGITS + 1 + prefix) || line[DIGITS] != ' ' ||
        memcmp(body, expected, (size_t)prefix) != 0)
        return NULL;
    size -= DIGITS + 1;
    nas_digest(body, size, digest);
    if (memcmp(digest, line, DIGITS) != 0)
        return NULL;
    json_t *object = json_loadb(body + prefix, size - (size_t)prefix, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(object))
        return object;
    json_decref(object);
    return NULL;
}

static nas_status check_header(const json_t *object, const char *name, int64_t job,
                               int64_t attempt, nas_err *err)
{
    const json_t *version = json_object_get(object, "spool");

    if (json_integer_value(version) == VERSION &&
        json_integer_value(json_object_get(object, "job")) == job &&
        json_integer_value(json_object_get(object, "attempt")) == attempt)
        return NAS_OK;
    return nas_fail(err, NAS_E_DATA, "%s: not the spool (version %d) of attempt %" PRId64
                    " of job %" PRId64, name, VERSION, attempt, job);
}

nas_status nas_spool_parse(const char *text, size_t size, const char *name, int64_t job,
                           int64_t attempt, nas_spool_place *place, nas_spool_visit *visit,
                           void *user, nas_err *err)
{
    nas_status status = NAS_OK;

    for (size_t at = 0; at < size && !status;) {
        const char *line = text + at, *end = memchr(line, '\n', size - at);
        if (!end)
            break; /* torn, or not all of it was read */
        const size_t length = (size_t)(end - line);
        json_t *object = parse_line(line, length, place->records + 1);

        if (!object && at + length + 1 == size)
            break; /* torn: nothing is behind it */
        if (!object)
            return nas_fail(err, NAS_E_DATA, "%s: damaged at byte %" PRId64, name, place->bytes);
        if (place->records == 0)
            status = check_header(object, name, job, attempt, err);
        else if (visit)
            status = visit(user, object, err);
        json_decref(object);
        if (!status) {
            at += length + 1;
            place->bytes += (int64_t)length + 1;
            place->records++;
        }
    }
    return status;
}

/* Reads up to `size` bytes at `offset`; fewer at the end of the file only. */
static ssize_t read_at(int fd, char *out, size_t size, int64_t offset)
{
    size_t got = 0;

    while (got < size) {
        const ssize_t n = pread(fd, out + got, size - got, (off_t)(offset + (int64_t)got));

        if (n < 0 && errno != EINTR)
            return -1;
        if (n == 0)
            break;
        got += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)got;
}

/* One piece of the file, which must hold at least one record if there is one. */
static nas_status read_piece(int fd, const char *path, int64_t from, size_t size, char **text,
                             size_t *got, nas_err *err)
{
    for (size_t room = size;; room *= 2) {
        char *grown = realloc(*text, room);
        if (!grown)
            return nas_fail(err, NAS_E_NOMEM, "%s: a record of %zu bytes or more", path, room / 2);
        *text = grown;
        const ssize_t n = read_at(fd, *text, room, from);
        if (n < 0)
            return nas_fail_errno(err, "%s", path);
        *got = (size_t)n;
        if (*got < room || memchr(*text, '\n', *got))
            return NAS_OK;
        if (room >= NAS_SPOOL_RECORD_MAX)
            return nas_fail(err, NAS_E_DATA, "%s: a record of more than %d MiB at byte %" PRId64,
                            path, NAS_SPOOL_RECORD_MAX >> 20, from);
    }
}

/* `*got` becomes the part of a piece that ends with a line, unless the file ends there: a wrong
 * last line of a piece must not be taken for one that nothing is behind. */
static bool cut_piece(int fd, int64_t from, const char *text, size_t *got)
{
    struct stat info;

    if (fstat(fd, &info) != 0 || from + (int64_t)*got >= info.st_size)
        return true;
    while (*got > 0 && text[*got - 1] != '\n')
        --*got;
    return false;
}

static nas_status read_pieces(int fd, const char *path, int64_t job, int64_t attempt, size_t most,
                              nas_spool_place *place, nas_spool_visit *visit, void *user,
                              nas_err *err)
{
    const int64_t begun = place->bytes;
    char *text = NULL;
    size_t got = 0;
    bool last = false;
    nas_status status = NAS_OK;

    while (!status && !last && (most == 0 || place->bytes - begun < (int64_t)most)) {
        const int64_t from = place->bytes;

        if ((status = read_piece(fd, path, from, CHUNK, &text, &got, err)))
            break;
        last = cut_piece(fd, from, text, &got);
        status = nas_spool_parse(text, got, path, job, attempt, place, visit, user, err);
        if (!status && !last && place->bytes == from) /* a wrong line, and more behind it */
            status = nas_fail(err, NAS_E_DATA, "%s: damaged at byte %" PRId64, path, from);
    }
    free(text);
    return status;
}

static nas_status check_plain(int fd, const char *path, nas_err *err)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return nas_fail_errno(err, "%s", path);
    return S_ISREG(info.st_mode) ? NAS_OK
                                 : nas_fail(err, NAS_E_DATA, "%s: not a plain file", path);
}

nas_status nas_spool_read(const char *path, int64_t job, int64_t attempt, size_t most,
                          nas_spool_place *place, nas_spool_visit *visit, void *user, nas_err *err)
{
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    nas_status status;

    if (fd < 0 && errno == ENOENT)
        return NAS_OK;
    if (fd < 0)
        return errno == ELOOP ? nas_fail(err, NAS_E_DATA, "%s: not a plain file", path)
                              : nas_fail_errno(err, "%s", path);
    if (!(status = check_plain(fd, path, err)))
        status = read_pieces(fd, path, job, attempt, most, place, visit, user, err);
    close(fd);
    return status;
}

int64_t nas_spool_latest_attempt(const char *job_dir)
{
    DIR *dir = opendir(job_dir);
    int64_t latest = 0;

    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        const size_t length = strlen(entry->d_name);
        const int64_t number = length < 19 && strspn(entry->d_name, "0123456789") == length
                                   ? strtoll(entry->d_name, NULL, 10) : 0;

        latest = number > latest ? number : latest;
    }
    if (dir)
        closedir(dir);
    return latest;
}

/* ---- writing ---- */

struct nas_spool {
    char *path;
    int fd;
    nas_spool_place end;
};

void nas_spool_close(nas_spool *spool)
{
    if (!spool)
        return;
    if (spool->fd >= 0)
        close(spool->fd);
    free(spool->path);
    free(spool);
}

/* So that a new file is found after a power cut. */
static nas_status sync_folder(const char *path, nas_err *err)
{
    char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
    nas_status status = folder ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "%s", path);

    if (slash) {
        *slash = '\0';
        const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0)
            status = nas_fail_errno(err, "%s", folder);
        if (fd >= 0)
            close(fd);
    }
    free(folder);
    return status;
}

nas_status nas_spool_open(nas_spool **out, const char *path, int64_t job, int64_t attempt,
                          nas_spool_visit *visit, void *user, nas_err *err)
{
    nas_spool *spool = calloc(1, sizeof *spool);
    nas_status status = NAS_OK;

    *out = NULL;
    if (!spool || !(spool->path = strdup(path))) {
        free(spool);
        return nas_fail(err, NAS_E_NOMEM, "%s", path);
    }
    spool->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (spool->fd < 0)
        status = nas_fail_errno(err, "%s", path);
    else if (!(status = check_plain(spool->fd, path, err)) &&
             !(status = read_pieces(spool->fd, path, job, attempt, 0, &spool->end, visit, user,
                                    err)) &&
             ftruncate(spool->fd, (off_t)spool->end.bytes) != 0)
        status = nas_fail_errno(err, "%s", path);
    if (!status && spool->end.records == 0 && !(status = sync_folder(path, err)))
        status = nas_spool_put(spool, json_pack("{s:i, s:I, s:I}", "spool", VERSION, "job",
                                                (json_int_t)job, "attempt", (json_int_t)attempt),
                               true, err);
    if (status) {
        nas_spool_close(spool);
        return status;
    }
    *out = spool;
    return NAS_OK;
}

/* "<digest> <number> <object>\n"; NULL: no memory. */
static char *make_line(const json_t *record, int64_t number, size_t *size)
{
    char *object = json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(17)), *line = NULL;
    char digest[NAS_DIGEST_SIZE];
    const int length = object ? asprintf(&line, "%*s %" PRId64 " %s\n", DIGITS, "", number, object)
                              : -1;

    free(object);
    if (length < 0)
        return NULL;
    *size = (size_t)length;
    nas_digest(line + DIGITS + 1, *size - DIGITS - 2, digest);
    memcpy(line, digest, DIGITS);
    return line;
}

static nas_status append(nas_spool *spool, const char *line, size_t size, bool sync, nas_err *err)
{
    for (size_t done = 0; done < size;) {
        const ssize_t n = pwrite(spool->fd, line + done, size - done,
                                 (off_t)(spool->end.bytes + (int64_t)done));

        if (n < 0 && errno != EINTR)
            return nas_fail_errno(err, "%s", spool->path);
        done += n > 0 ? (size_t)n : 0;
    }
    if (sync && fdatasync(spool->fd) != 0)
        return nas_fail_errno(err, "%s", spool->path);
    return NAS_OK;
}

nas_status nas_spool_put(nas_spool *spool, json_t *record, bool sync, nas_err *err)
{
    size_t size = 0;
    char *line = record ? make_line(record, spool->end.records + 1, &size) : NULL;
    nas_status status;

    json_decref(record);
    if (!line)
        return nas_fail(err, NAS_E_NOMEM, "%s: a record", spool->path);
    if (size > NAS_SPOOL_RECORD_MAX)
        status = nas_fail(err, NAS_E_DATA, "%s: a record of %zu bytes", spool->path, size);
    else if ((status = append(spool, line, size, sync, err))) {
        if (ftruncate(spool->fd, (off_t)spool->end.bytes) != 0)
            status = nas_fail_errno(err, "%s", spool->path);
    } else {
        spool->end.bytes += (int64_t)size;
        spool->end.records++;
    }
    free(line);
    return status;
}

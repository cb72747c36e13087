/* Files: whole reads, maps, and writes that are all or nothing. */
#ifndef NAS_BASE_FILE_H
#define NAS_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/** Reads a whole file of at most `max_size` bytes into malloc'ed memory (yours;
 * one NUL byte follows the content).  NAS_E_IO, NAS_E_DATA if larger, NAS_E_NOMEM. */
nas_status nas_file_read(const char *path, size_t max_size, char **out, size_t *size, nas_err *err);

/** Maps a file read-only.  An empty file is an error (NAS_E_DATA). */
typedef struct nas_map {
    const unsigned char *data;
    size_t size;
} nas_map;
nas_status nas_map_open(nas_map *map, const char *path, nas_err *err);
void nas_map_close(nas_map *map);

/** A file that appears under its name complete or not at all: it is written
 * beside `path` under a temporary name, then fsync, rename, fsync of the
 * directory.  Errors are kept and reported by _commit; _abort removes the
 * temporary file.  One of the two must be called; both free the writer.
 * NAS_E_USAGE: `path` is the database of a store; NAS_E_IO, NAS_E_NOMEM. */
typedef struct nas_writer nas_writer;
nas_status nas_writer_open(nas_writer **out, const char *path, nas_err *err);
void nas_writer_put(nas_writer *writer, const void *data, size_t size);
/** Overwrites bytes already written at `offset` (for headers). */
void nas_writer_put_at(nas_writer *writer, uint64_t offset, const void *data, size_t size);
uint64_t nas_writer_offset(const nas_writer *writer);
nas_status nas_writer_commit(nas_writer *writer, nas_err *err);
void nas_writer_abort(nas_writer *writer);

/** nas_writer_open + put + commit. */
nas_status nas_file_write(const char *path, const void *data, size_t size, nas_err *err);

/** NAS_E_IO if nas_writer_open would fail: to notice before long work what stands in its way
 * after it.  Leaves nothing behind. */
nas_status nas_file_writable(const char *path, nas_err *err);

/** mkdir -p. */
nas_status nas_dir_make(const char *path, nas_err *err);
bool nas_path_exists(const char *path);
/** Adds a hint to an error about reading `path` that has none: a file with nearly its name, the
 * folder that is missing, or else `otherwise`, how such a file is made. */
void nas_path_hint(const char *path, const char *otherwise, nas_err *err);
bool nas_path_is_dir(const char *path);
bool nas_path_is_regular(const char *path); /* or a link to one */
/** A symbolic link, whatever it leads to. */
bool nas_path_is_link(const char *path);
/** Both name one file, existing or not. */
bool nas_path_same(const char *a, const char *b);
/** Joins with one '/'; the result is malloc'ed (yours), NULL when out of memory. */
char *nas_path_join(const char *dir, const char *name);

#endif

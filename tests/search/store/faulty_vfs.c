/* Each method counts, fails if it is its turn, and otherwise calls the one that it stands for. */
#include "tests/search/store/faulty_vfs.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* What a file of ours is; the real one lies behind it. */
typedef struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real;
    int reason; /* errno of the last failure, as SQLite's VFS remembers it */
} faulty_file;

static sqlite3_vfs *real_vfs;
static const faulty_plan *plan; /* NULL: nothing fails */
static long turn, counted, failed;
static int files;
static char where[64];

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((faulty_file *)file)->real;
}

/* True if this call shall fail; `file` may be NULL. */
static bool strikes(int call, const char *name, sqlite3_file *file)
{
    if (!plan || !(plan->calls & call))
        return false;
    counted++;
    if (plan->persistent ? counted < turn : counted != turn)
        return false;
    if (failed++ == 0)
        snprintf(where, sizeof where, "%s, call %ld", name, counted);
    if (file)
        ((faulty_file *)file)->reason = plan->full ? ENOSPC : EIO;
    return true;
}

/* What a call that fails returns; `now`: it was done, and gave that. */
static int code_of(int code)
{
    return plan->full ? SQLITE_FULL : code;
}

/* A call that changes something: it may fail before or after it was carried out. */
#define CHANGE(call, name, code, carried_out)             \
    do {                                                  \
        const bool fails = strikes(call, name, file);     \
        int result = SQLITE_OK;                           \
                                                          \
        if (!fails || plan->late)                         \
            result = carried_out;                         \
        return fails ? code_of(code) : result;            \
    } while (0)

/* ---- files ---- */

static int on_close(sqlite3_file *file)
{
    files--;
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int on_read(sqlite3_file *file, void *out, int size, sqlite3_int64 at)
{
    return strikes(FAULTY_READ, "read", file) ? SQLITE_IOERR_READ
                                              : real_of(file)->pMethods->xRead(real_of(file), out,
                                                                               size, at);
}

static int on_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 at)
{
    sqlite3_file *real = real_of(file);

    if (!strikes(FAULTY_WRITE, "write", file))
        return real->pMethods->xWrite(real, data, size, at);
    if (plan->full || plan->late)
        real->pMethods->xWrite(real, data, plan->full ? size / 2 : size, at);
    return code_of(SQLITE_IOERR_WRITE);
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    CHANGE(FAULTY_TRUNCATE, "truncate", SQLITE_IOERR_TRUNCATE,
           real_of(file)->pMethods->xTruncate(real_of(file), size));
}

/* Nothing here outlives its process: no need to wait for a disk. */
static int on_sync(sqlite3_file *file, int flags)
{
    return strikes(FAULTY_SYNC, "sync", file) ? code_of(SQLITE_IOERR_FSYNC) : SQLITE_OK;
}

static int on_size(sqlite3_file *file, sqlite3_int64 *out)
{
    return strikes(FAULTY_SIZE, "file size", file)
               ? SQLITE_IOERR_FSTAT : real_of(file)->pMethods->xFileSize(real_of(file), out);
}

static int on_lock(sqlite3_file *file, int level)
{
    return strikes(FAULTY_LOCK, "lock", file) ? SQLITE_IOERR_LOCK
                                              : real_of(file)->pMethods->xLock(real_of(file), level);
}

static int on_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int on_check_lock(sqlite3_file *file, int *out)
{
    return strikes(FAULTY_LOCK, "check of a lock", file)
               ? SQLITE_IOERR_CHECKRESERVEDLOCK
               : real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int on_control(sqlite3_file *file, int what, void *value)
{
    if (what == SQLITE_FCNTL_LAST_ERRNO && ((faulty_file *)file)->reason != 0) {
        *(int *)value = ((faulty_file *)file)->reason;
        return SQLITE_OK;
    }
    return real_of(file)->pMethods->xFileControl(real_of(file), what, value);
}

static int on_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int on_characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

/* Version 1: no shared memory, no mapped files. */
static const sqlite3_io_methods methods = {
    .iVersion = 1, .xClose = on_close, .xRead = on_read, .xWrite = on_write,
    .xTruncate = on_truncate, .xSync = on_sync, .xFileSize = on_size, .xLock = on_lock,
    .xUnlock = on_unlock, .xCheckReservedLock = on_check_lock, .xFileControl = on_control,
    .xSectorSize = on_sector_size, .xDeviceCharacteristics = on_characteristics};

/* ---- the VFS ---- */

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    faulty_file *ours = (faulty_file *)file;

    *ours = (faulty_file){.real = (sqlite3_file *)(ours + 1)};
    if (strikes(FAULTY_OPEN, "open", file))
        return SQLITE_CANTOPEN;
    const int result = real_vfs->xOpen(real_vfs, name, ours->real, flags, out);
    if (ours->real->pMethods) {
        ours->base.pMethods = &methods;
        files++;
    }
    return result;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    sqlite3_file *file = NULL;

    CHANGE(FAULTY_DELETE, "delete", plan->late ? SQLITE_IOERR_DIR_FSYNC : SQLITE_IOERR_DELETE,
           real_vfs->xDelete(real_vfs, name, sync));
}

static int on_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    return strikes(FAULTY_ACCESS, "access", NULL) ? SQLITE_IOERR_ACCESS
                                                  : real_vfs->xAccess(real_vfs, name, flags, out);
}

void faulty_install(void)
{
    static sqlite3_vfs vfs;

    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs; /* paths, times and random numbers are its own */
    vfs.zName = "faulty";
    vfs.pNext = NULL;
    vfs.szOsFile = (int)sizeof(faulty_file) + real_vfs->szOsFile;
    vfs.xOpen = on_open;
    vfs.xDelete = on_delete;
    vfs.xAccess = on_access;
    sqlite3_vfs_register(&vfs, 1);
}

void faulty_begin(const faulty_plan *next, long at)
{
    plan = next;
    turn = at;
    counted = failed = 0;
    where[0] = '\0';
}

long faulty_end(void)
{
    plan = NULL;
    return failed;
}

const char *faulty_where(void)
{
    return where;
}

int faulty_files(void)
{
    return files;
}

/* Opening and closing a store, names and paths in it, and who is alive. */
#include "search/store/store.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/system.h"
#include "search/store/remote.h"

enum { BUSY_MS = 10000 };

/* Settings of a connection; each must succeed before anything else is done. */
static nas_status configure(sqlite3 *db, nas_store_mode mode, nas_err *err)
{
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 2 * NAS_STORE_TEXT_MAX);
    return nas_store__script(db, "open",
                             mode == NAS_STORE_READ
                                 ? "PRAGMA cell_size_check = ON; PRAGMA query_only = ON"
                                 /* A rollback journal: Debian's SQLite 3.40.1 can lose data in
                                  * WAL mode when two connections write and checkpoint at once. */
                                 : "PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;"
                                   "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL", err);
}

static nas_status check_schema(sqlite3 *db, const char *path, nas_store_mode mode, nas_err *err)
{
    nas_store view = {.db = db};
    int64_t version = nas_store__schema;
    nas_status status;

    if (mode != NAS_STORE_READ)
        return nas_store__migrate(db, path, nas_store__migrations, nas_store__schema, err);
    if ((status = nas_store__int(&view, "open", &version, err, "PRAGMA user_version", "")))
        return status;
    if (version >= nas_store__schema) /* nothing to migrate: only the checks */
        return nas_store__migrate(db, path, nas_store__migrations, nas_store__schema, err);
    status = nas_fail(err, NAS_E_DATA, "%s: schema %lld is older than this program's %d", path,
                      (long long)version, nas_store__schema);
    nas_hint(err, "run `nas store migrate`; it keeps a copy");
    return status;
}

static nas_status open_database(nas_store *store, nas_store_mode mode, nas_err *err)
{
    char *path = nas_path_join(store->dir, "store.db");
    nas_status status = NAS_OK;

    if (!path)
        return nas_fail(err, NAS_E_NOMEM, "store %s", store->dir);
    if (mode != NAS_STORE_CREATE && !nas_path_exists(path)) {
        status = nas_fail(err, NAS_E_IO, "%s: there is no store", path);
        nas_hint(err, "give the right one with --store DIR or NAS_STORE; a search makes one");
        goto done;
    }
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                      (mode == NAS_STORE_CREATE ? SQLITE_OPEN_CREATE : 0);
    if (sqlite3_open_v2(path, &store->db, flags, NULL) != SQLITE_OK) {
        status = nas_store__fail(store->db, path, err);
        goto done;
    }
    if (!(status = configure(store->db, mode, err)))
        status = check_schema(store->db, path, mode, err);
done:
    free(path);
    return status;
}

static nas_status make_dirs(const char *dir, nas_err *err)
{
    char *runs = nas_path_join(dir, "runs");
    const nas_status status = runs ? nas_dir_make(runs, err)
                                   : nas_fail(err, NAS_E_NOMEM, "store %s", dir);
    free(runs);
    return status;
}

nas_status nas_store_open(nas_store **out, const char *dir, nas_store_mode mode, nas_err *err)
{
    nas_store *store = calloc(1, sizeof *store);
    const size_t prefix = sizeof NAS_STORE_SPOOL - 1;
    const bool remote = strncmp(dir, NAS_STORE_SPOOL, prefix) == 0;
    nas_status status = NAS_OK;

    *out = NULL;
    dir += remote ? prefix : 0;
    if (!store || !(store->dir = strdup(dir))) {
        status = nas_fail(err, NAS_E_NOMEM, "store %s", dir);
        goto done;
    }
    if (remote) {
        status = nas_store__remote_open(store, dir, err);
        goto done;
    }
    if (mode == NAS_STORE_CREATE && (status = make_dirs(dir, err)))
        goto done;
    status = open_database(store, mode, err);
done:
    if (status) {
        nas_store_close(store);
        return status;
    }
    *out = store;
    return NAS_OK;
}

void nas_store_close(nas_store *store)
{
    if (!store)
        return;
    sqlite3_close(store->db);
    nas_store__remote_close(store->remote);
    free(store->dir);
    free(store);
}

const char *nas_store_dir(const nas_store *store)
{
    return store->dir;
}

void nas_store_set_patience(nas_store *store, int ms)
{
    if (store->db)
        sqlite3_busy_timeout(store->db, ms);
}

const char *nas_store__network_name(uint64_t type)
{
    static const struct {
        uint64_t type; /* statfs(2), linux/magic.h */
        const char *name;
    } known[] = {{0x6969, "NFS"},         {0x517b, "SMB"},        {0xff534d42, "CIFS"},
                 {0xfe534d42, "SMB2"},    {0x65735546, "FUSE"},   {0x0bd00bd0, "Lustre"},
                 {0x47504653, "GPFS"},    {0x5346414f, "AFS"},    {0x00c36400, "Ceph"},
                 {0x01021997, "9P"}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].type == type)
            return known[i].name;
    return NULL;
}

const char *nas_store_network(const nas_store *store)
{
    struct statfs info;

    /* f_type is signed on some machines: its 32 bits are what counts */
    return statfs(store->dir, &info) == 0 ? nas_store__network_name((uint32_t)info.f_type) : NULL;
}

nas_status nas_store_name_check(const char *name, const char *what, nas_err *err)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const size_t length = name ? strnlen(name, NAS_STORE_NAME_SIZE) : 0;

    if (length > 0 && length < NAS_STORE_NAME_SIZE && name[0] != '.' && name[0] != '-' &&
        strspn(name, allowed) == length)
        return NAS_OK;
    nas_fail(err, NAS_E_USAGE, "%s '%.64s': not a name", what, name ? name : "");
    nas_hint(err, "use 1 to 64 letters, digits, '.', '_' or '-', and no '.' or '-' in front");
    return NAS_E_USAGE;
}

char *nas_store_path(const nas_store *store, int64_t run, const char *file)
{
    char *path = NULL;

    if (asprintf(&path, "%s/runs/%lld%s%s", store->dir, (long long)run, file ? "/" : "",
                 file ? file : "") < 0)
        return NULL;
    return path;
}

/* The absolute path of what is there, or could be made in a folder that is; NULL: of neither. */
static char *absolute(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *there = realpath(path, NULL), *folder = NULL, *joined = NULL;

    if (there)
        return there;
    folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    there = folder ? realpath(folder, NULL) : NULL;
    joined = there ? nas_path_join(there, name) : NULL;
    free(folder);
    free(there);
    return joined;
}

nas_status nas_store_check_output(const nas_store *store, const char *path, bool folder,
                                  nas_err *err)
{
    char *own = realpath(store->dir, NULL), *to = absolute(path);
    const size_t length = own ? strlen(own) : 0;
    nas_status status = NAS_OK;

    if (own && to && strncmp(own, to, length) == 0 && (to[length] == '/' || to[length] == '\0')) {
        const char *inside = to + length + (to[length] == '/');

        if ((*inside == '\0' && folder) || strncmp(inside, "store.db", 8) == 0 ||
            strcmp(inside, "serve.token") == 0 || strcmp(inside, "runs") == 0 ||
            strncmp(inside, "runs/", 5) == 0) {
            status = nas_fail(err, NAS_E_USAGE, "%s: is the store's own", path);
            nas_hint(err, "write to another place");
        }
    }
    free(own);
    free(to);
    return status;
}

int nas_store__run_dir_open(const nas_store *store, int64_t run)
{
    char *path = nas_store_path(store, run, NULL);
    const int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;

    free(path);
    return fd;
}

int64_t nas_store__process_start(int64_t pid)
{
    char path[64], text[1024];
    long long start = 0;
    char state = 'X';

    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    const size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    const char *rest = strrchr(text, ')'); /* the name before it may hold anything */
    if (!rest || sscanf(rest, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                              "%*d %*d %*d %lld", &state, &start) != 2)
        return 0;
    return state == 'Z' || state == 'X' ? 0 : start;
}

nas_store__process nas_store__this_process(void)
{
    nas_store__process p = {.pid = getpid()};

    nas_system_host(p.host, sizeof p.host);
    p.start = nas_store__process_start(p.pid);
    return p;
}

bool nas_store__process_alive(const char *host, int64_t pid, int64_t pid_start)
{
    char here[256];

    nas_system_host(here, sizeof here);
    return strcmp(here, host) == 0 && pid_start > 0 && nas_store__process_start(pid) == pid_start;
}

/* Preloaded into `nas`: counts the calls of a kind, and makes one fail or be its last.
 *
 * Memory is refused only to code that can be expected to do something about it: not to the
 * loader, OpenMP and BLAS, which end the process, and not before main. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "tests/faults/plan.h"

enum { MAX_RANGES = 64, PROC_MAGIC = 0x9fa0 };

static fault_plan *plan; /* NULL: nothing is done */

static struct {
    uintptr_t begin, end;
    bool program;
} ranges[MAX_RANGES]; /* whose calls for memory count */
static int range_count;
static uintptr_t base; /* of the program */

/* The next definition of a function, found once. */
#define NEXT(type, name, parameters)              \
    static type(*next) parameters;                \
    if (next == NULL)                             \
        *(void **)&next = dlsym(RTLD_NEXT, #name)

/* ---- the plan ---- */

static int add_range(struct dl_phdr_info *info, size_t size, void *first)
{
    static const char *const spared[] = {"ld-linux", "libgomp", "libopenblas", "libgfortran",
                                         "libgcc_s", "nas_fault", "libasan", "libubsan"};

    for (size_t i = 0; i < sizeof spared / sizeof *spared; i++)
        if (strstr(info->dlpi_name, spared[i]) != NULL)
            return 0;
    base = *(bool *)first ? info->dlpi_addr : base; /* the program comes first */
    for (int i = 0; i < info->dlpi_phnum && range_count < MAX_RANGES; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0)
            continue;
        ranges[range_count].begin = info->dlpi_addr + part->p_vaddr;
        ranges[range_count].end = ranges[range_count].begin + part->p_memsz;
        ranges[range_count++].program = *(bool *)first;
    }
    *(bool *)first = false;
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv(FAULT_PLAN_VARIABLE);
    const int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    bool first = true;

    if (fd < 0)
        return;
    void *shared = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED)
        return;
    dl_iterate_phdr(add_range, &first);
    if (!((fault_plan *)shared)->tree) {
        unsetenv("LD_PRELOAD");
        unsetenv(FAULT_PLAN_VARIABLE);
    }
    plan = shared;
}

/* True if the fault has passed. */
static bool is_over(void)
{
    return plan->refusals > 0 && atomic_load(&plan->hits) >= plan->refusals;
}

/* True if this call shall fail, with errno; does not return from one that shall be the last. */
static bool strikes(fault_kind kind, const char *name, const void *caller)
{
    const long call = atomic_fetch_add(&plan->calls[kind], 1) + 1;

    if ((int)kind != plan->kind || plan->at == 0 || plan->action == FAULT_NONE ||
        (plan->persistent ? call < plan->at : call != plan->at) || is_over())
        return false;
    if (atomic_fetch_add(&plan->hits, 1) == 0)
        snprintf(plan->where, sizeof plan->where, "%s (%#lx)", name,
                 (unsigned long)((uintptr_t)caller - base));
    if (plan->action == FAULT_KILL)
        kill(getpid(), SIGKILL);
    errno = plan->action;
    return true;
}

static bool is_file(int fd)
{
    struct stat info;
    struct statfs system;

    return fd > STDERR_FILENO && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
           fstatfs(fd, &system) == 0 && system.f_type != PROC_MAGIC;
}

static bool changes(int fd, const char *name)
{
    return plan != NULL && is_file(fd) && strikes(FAULT_CHANGE, name, NULL);
}

/* How much of a write there is room for; -1: none, with errno. */
static ssize_t room_for(int fd, size_t size)
{
    if (plan == NULL || size == 0 || !is_file(fd))
        return (ssize_t)size;
    const long used = atomic_fetch_add(&plan->bytes, (long)size);
    if (plan->disk_bytes <= 0 || used + (long)size <= plan->disk_bytes || is_over())
        return (ssize_t)size;
    atomic_fetch_add(&plan->hits, 1);
    if (used < plan->disk_bytes)
        return plan->disk_bytes - used;
    errno = ENOSPC;
    return -1;
}

/* ---- what changes a disk ---- */

#define WRITER(name, parameters, arguments)                \
    ssize_t name parameters                                \
    {                                                      \
        NEXT(ssize_t, name, parameters);                   \
        if (changes(fd, #name))                            \
            return -1;                                     \
        const ssize_t room = room_for(fd, size);           \
        if (room < 0)                                      \
            return -1;                                     \
        size = (size_t)room;                               \
        return next arguments;                             \
    }

WRITER(write, (int fd, const void *data, size_t size), (fd, data, size))
WRITER(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRITER(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))

#define CHANGE(name, condition, parameters, arguments)     \
    int name parameters                                    \
    {                                                      \
        NEXT(int, name, parameters);                       \
        return condition ? -1 : next arguments;            \
    }
#define ALWAYS(name) (plan != NULL && strikes(FAULT_CHANGE, #name, NULL))

CHANGE(fsync, plan != NULL && strikes(FAULT_CHANGE, "fsync", NULL), (int fd), (fd))
CHANGE(fdatasync, changes(fd, "fdatasync"), (int fd), (fd))
CHANGE(ftruncate, changes(fd, "ftruncate"), (int fd, off_t size), (fd, size))
CHANGE(ftruncate64, changes(fd, "ftruncate64"), (int fd, off64_t size), (fd, size))
CHANGE(rename, ALWAYS(rename), (const char *from, const char *to), (from, to))
CHANGE(unlink, ALWAYS(unlink), (const char *path), (path))
CHANGE(unlinkat, ALWAYS(unlinkat), (int dir, const char *path, int flags), (dir, path, flags))
CHANGE(rmdir, ALWAYS(rmdir), (const char *path), (path))
CHANGE(mkdir, ALWAYS(mkdir), (const char *path, mode_t mode), (path, mode))

/* ---- what opens and reads ---- */

static bool opens(const char *path, int flags)
{
    if (plan == NULL || strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0 ||
        strncmp(path, "/dev/", 5) == 0)
        return false;
    return strikes(flags & O_CREAT ? FAULT_CHANGE : FAULT_READ, "open", NULL);
}

static mode_t mode_of(int flags, va_list list)
{
    return flags & O_CREAT ? va_arg(list, mode_t) : 0;
}

#define OPEN(name)                                                  \
    int name(const char *path, int flags, ...)                      \
    {                                                               \
        NEXT(int, name, (const char *, int, ...));                  \
        va_list list;                                               \
        va_start(list, flags);                                      \
        const mode_t mode = mode_of(flags, list);                   \
        va_end(list);                                               \
        return opens(path, flags) ? -1 : next(path, flags, mode);   \
    }

OPEN(open)
OPEN(open64)

#define READER(name, parameters, arguments)                                       \
    ssize_t name parameters                                                       \
    {                                                                             \
        NEXT(ssize_t, name, parameters);                                          \
        if (plan != NULL && is_file(fd) && strikes(FAULT_READ, #name, NULL))            \
            return -1;                                                            \
        return next arguments;                                                    \
    }

READER(read, (int fd, void *data, size_t size), (fd, data, size))
READER(pread, (int fd, void *data, size_t size, off_t at), (fd, data, size, at))
READER(pread64, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at))

/* ---- memory ---- */

static bool counts(const void *caller, bool program_only)
{
    for (int i = 0; i < range_count; i++)
        if ((uintptr_t)caller >= ranges[i].begin && (uintptr_t)caller < ranges[i].end)
            return ranges[i].program || !program_only;
    return false;
}

static _Thread_local bool spared; /* this thread, for the moment */

static bool refuses(const void *caller, bool program_only, const char *name)
{
    return plan != NULL && plan->kind == FAULT_ALLOC && !spared && counts(caller, program_only) &&
           strikes(FAULT_ALLOC, name, caller);
}

/* With this AddressSanitizer looks at each thread that begins, and cannot do without. */
int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes)
{
    NEXT(int, pthread_getattr_np, (pthread_t, pthread_attr_t *));
    spared = true;
    const int failed = next(thread, attributes);
    spared = false;
    return failed;
}

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
} real;

/* What dlsym itself asks for while it looks for these comes from here, and is not given back. */
static char first_bytes[16384];
static size_t first_used;

static void *first_room(size_t size)
{
    void *room = first_bytes + first_used;

    first_used += (size + 15) & ~(size_t)15;
    return first_used <= sizeof first_bytes ? room : NULL;
}

static bool is_first(const void *block)
{
    return (const char *)block >= first_bytes && (const char *)block < first_bytes + first_used;
}

/* False while they are being found. */
static bool found(void)
{
    static bool asking;

    if (real.free != NULL)
        return true;
    if (asking)
        return false;
    asking = true;
    *(void **)&real.malloc = dlsym(RTLD_NEXT, "malloc");
    *(void **)&real.calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&real.realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&real.aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
    *(void **)&real.posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    *(void **)&real.free = dlsym(RTLD_NEXT, "free"); /* the last: now they can be used */
    return true;
}

#define REFUSED(name) refuses(__builtin_return_address(0), false, #name)

void *malloc(size_t size)
{
    if (!found())
        return first_room(size);
    return REFUSED(malloc) ? NULL : real.malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (!found())
        return first_room(count * size);
    return REFUSED(calloc) ? NULL : real.calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    if (!found() || is_first(old)) {
        void *room = first_room(size);
        const size_t most = old != NULL ? (size_t)((char *)room - (char *)old) : 0;

        return room != NULL && old != NULL ? memcpy(room, old, size < most ? size : most) : room;
    }
    return REFUSED(realloc) ? NULL : real.realloc(old, size);
}

void free(void *block)
{
    if (!is_first(block) && found())
        real.free(block);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return !found() || REFUSED(aligned_alloc) ? NULL : real.aligned_alloc(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    return !found() || REFUSED(posix_memalign) ? ENOMEM
                                               : real.posix_memalign(out, alignment, size);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    NEXT(void *, mmap, (void *, size_t, int, int, int, off_t));
    return refuses(__builtin_return_address(0), true, "mmap")
               ? MAP_FAILED : next(at, size, protection, flags, fd, offset);
}

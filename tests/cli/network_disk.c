/* Preloaded into `nas`: every disk looks like a network file system (NFS), and with NAS_TEST_NO_LOCKS set
 * its server gives no locks. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/vfs.h>

enum { NFS = 0x6969 };

#define STATFS(name, type)                                                   \
    int name(const char *path, struct type *out)                             \
    {                                                                        \
        int (*next)(const char *, struct type *);                            \
        *(void **)&next = dlsym(RTLD_NEXT, #name);                           \
        const int failed = next(path, out);                                  \
        out->f_type = failed ? out->f_type : NFS;                            \
        return failed;                                                       \
    }

STATFS(statfs, statfs)
STATFS(statfs64, statfs64)

#define FCNTL(name)                                                          \
    int name(int fd, int command, ...)                                       \
    {                                                                        \
        int (*next)(int, int, ...);                                          \
        va_list list;                                                        \
        va_start(list, command);                                             \
        void *argument = va_arg(list, void *);                               \
        va_end(list);                                                        \
        *(void **)&next = dlsym(RTLD_NEXT, #name);                           \
        if (command == F_SETLK && getenv("NAS_TEST_NO_LOCKS") != NULL) {     \
            errno = ENOLCK;                                                  \
            return -1;                                                       \
        }                                                                    \
        return next(fd, command, argument);                                  \
    }

FCNTL(fcntl)
FCNTL(fcntl64)

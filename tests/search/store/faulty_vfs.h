/* A VFS around SQLite's own whose calls can be made to fail: every connection of this process uses
 * it once it is there. */
#ifndef NAS_TESTS_SEARCH_STORE_FAULTY_VFS_H
#define NAS_TESTS_SEARCH_STORE_FAULTY_VFS_H

#include <stdbool.h>

/** Calls of a VFS, as bits of a set. */
enum {
    FAULTY_OPEN = 1 << 0,
    FAULTY_READ = 1 << 1,
    FAULTY_WRITE = 1 << 2,
    FAULTY_SYNC = 1 << 3,
    FAULTY_TRUNCATE = 1 << 4,
    FAULTY_DELETE = 1 << 5,
    FAULTY_SIZE = 1 << 6,
    FAULTY_LOCK = 1 << 7,
    FAULTY_ACCESS = 1 << 8,
    FAULTY_ALL = (1 << 9) - 1
};

/** How calls fail: with the code that SQLite's own VFS would give (SQLITE_IOERR_READ ...), or
 * (`full`) because the disk is full, half of what was to be written being there. */
typedef struct faulty_plan {
    const char *name;
    int calls;       /* set of those that are counted and fail    */
    bool full;
    bool persistent; /* all from the first on                     */
    bool late;       /* after the call has done what it should do */
} faulty_plan;

void faulty_install(void);
/** From now on the `at`th of the plan's calls fails, from 1; `plan` is borrowed. */
void faulty_begin(const faulty_plan *plan, long at);
/** No call fails any more; returns how many did. */
long faulty_end(void);
/** The first call that failed ("write ... of main"), "" if none did. */
const char *faulty_where(void);
/** Files that are open. */
int faulty_files(void);

#endif

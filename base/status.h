/* Status codes and the error record that every failing function fills.
 *
 * The value of a status is the exit code of the `nas` command for it, so that
 * nothing has to translate between the two (docs/reference/options.md). */
#ifndef NAS_BASE_STATUS_H
#define NAS_BASE_STATUS_H

typedef enum nas_status {
    NAS_OK = 0,
    NAS_E_FAIL = 1,         /* failed for a reason not named below              */
    NAS_E_USAGE = 2,        /* wrong command line                               */
    NAS_E_INFEASIBLE = 3,   /* no architecture meets the constraint, or a table
                               does not cover the space                         */
    NAS_E_DATA = 65,        /* a file's content is wrong                        */
    NAS_E_NOMEM = 71,       /* out of memory                                    */
    NAS_E_IO = 74,          /* read, write, disk full                           */
    NAS_E_INTERRUPTED = 75, /* stopped on request with a checkpoint written     */
    NAS_E_CONFIG = 78       /* a setting, space or architecture makes no sense  */
} nas_status;

/** What went wrong, for a person.  The caller owns it; every function that can
 * fail takes a pointer to one as its last argument and accepts NULL. */
typedef struct nas_err {
    nas_status status;
    char message[768]; /* what, where (file:line of the input), why */
    char hint[384];    /* what to do about it; "" if there is nothing to add */
} nas_err;

/** Records `status` and the formatted message in `err` (if not NULL), clears
 * the hint, and returns `status`, so that callers can `return nas_fail(...)`. */
nas_status nas_fail(nas_err *err, nas_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** As nas_fail, with ": " and the text of errno at the end; ENOMEM becomes
 * NAS_E_NOMEM, ENOENT, EACCES and every other errno become NAS_E_IO. */
nas_status nas_fail_errno(nas_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Sets the hint of an error already recorded. `err` may be NULL. */
void nas_hint(nas_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Puts "context: " in front of the message. `err` may be NULL. */
void nas_err_prefix(nas_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Short name of a status for machines: "ok", "usage", "data", ... */
const char *nas_status_name(nas_status status);

#endif

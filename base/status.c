/* The error record: formatting, errno, hints. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void record(nas_err *err, nas_status status, const char *message)
{
    err->status = status;
    snprintf(err->message, sizeof err->message, "%s", message);
    err->hint[0] = '\0';
}

nas_status nas_fail(nas_err *err, nas_status status, const char *format, ...)
{
    if (err != NULL) {
        char message[sizeof err->message]; /* the arguments may point into *err */
        va_list args;

        va_start(args, format);
        vsnprintf(message, sizeof message, format, args);
        va_end(args);
        record(err, status, message);
    }
    return status;
}

nas_status nas_fail_errno(nas_err *err, const char *format, ...)
{
    const int reason = errno;
    const nas_status status = reason == ENOMEM ? NAS_E_NOMEM : NAS_E_IO;

    if (err != NULL) {
        char what[sizeof err->message - 128], message[sizeof err->message], text[100];
        va_list args;

        va_start(args, format);
        vsnprintf(what, sizeof what, format, args);
        va_end(args);
        snprintf(message, sizeof message, "%s: %s", what, strerror_r(reason, text, sizeof text));
        record(err, status, message);
        if (reason == ENOSPC || reason == EDQUOT)
            nas_hint(err, "free some space there, or write to another disk");
        else if (reason == EFBIG)
            nas_hint(err, "raise the file size limit (ulimit -f), or write to another disk");
    }
    return status;
}

void nas_hint(nas_err *err, const char *format, ...)
{
    if (err == NULL)
        return;

    char hint[sizeof err->hint];
    va_list args;

    va_start(args, format);
    vsnprintf(hint, sizeof hint, format, args);
    va_end(args);
    memcpy(err->hint, hint, sizeof hint);
}

void nas_err_prefix(nas_err *err, const char *format, ...)
{
    if (err == NULL)
        return;

    char text[2 * sizeof err->message];
    va_list args;

    va_start(args, format);
    int used = vsnprintf(text, sizeof err->message, format, args);
    va_end(args);
    if (used < 0 || used >= (int)sizeof err->message)
        used = (int)strlen(text);
    snprintf(text + used, sizeof text - (size_t)used, ": %s", err->message);
    memcpy(err->message, text, sizeof err->message);
    err->message[sizeof err->message - 1] = '\0';
}

const char *nas_status_name(nas_status status)
{
    static const struct {
        nas_status status;
        const char *name;
    } names[] = {
        {NAS_OK, "ok"},
        {NAS_E_FAIL, "fail"},
        {NAS_E_USAGE, "usage"},
        {NAS_E_INFEASIBLE, "infeasible"},
        {NAS_E_DATA, "data"},
        {NAS_E_NOMEM, "nomem"},
        {NAS_E_IO, "io"},
        {NAS_E_INTERRUPTED, "interrupted"},
        {NAS_E_CONFIG, "config"},
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].status == status)
            return names[i].name;
    return "unknown";
}

/* libmicrohttpd, loaded when a server starts: linked, it and the nine libraries behind it would take more
 * than half of every start of `nas`.  Its functions keep their names in the file that includes this. */
#ifndef NAS_SEARCH_REPORT_HTTP_H
#define NAS_SEARCH_REPORT_HTTP_H

#include <microhttpd.h>

#include "base/status.h"

/* What is used of it; another one is a line more here and below. */
#define NAS_REPORT_HTTP_CALLS(CALL)                                                            \
    CALL(add_response_header)                                                                  \
    CALL(create_response_from_buffer)                                                          \
    CALL(create_response_from_callback)                                                        \
    CALL(destroy_response)                                                                     \
    CALL(get_connection_info)                                                                  \
    CALL(get_connection_values)                                                                \
    CALL(get_daemon_info)                                                                      \
    CALL(get_timeout)                                                                          \
    CALL(lookup_connection_value)                                                              \
    CALL(queue_response)                                                                       \
    CALL(resume_connection)                                                                    \
    CALL(run)                                                                                  \
    CALL(start_daemon)                                                                         \
    CALL(stop_daemon)                                                                          \
    CALL(suspend_connection)

#define NAS_REPORT_HTTP_MEMBER(name) __typeof__(MHD_##name) *name;
typedef struct nas_report__http {
    NAS_REPORT_HTTP_CALLS(NAS_REPORT_HTTP_MEMBER)
} nas_report__http;

/** Fills the table, once is enough; before that nothing below may be called.  NAS_E_FAIL if the
 * library is not here. */
nas_status nas_report__http_load(nas_err *err);
extern nas_report__http nas_report__mhd;

#define MHD_add_response_header nas_report__mhd.add_response_header
#define MHD_create_response_from_buffer nas_report__mhd.create_response_from_buffer
#define MHD_create_response_from_callback nas_report__mhd.create_response_from_callback
#define MHD_destroy_response nas_report__mhd.destroy_response
#define MHD_get_connection_info nas_report__mhd.get_connection_info
#define MHD_get_connection_values nas_report__mhd.get_connection_values
#define MHD_get_daemon_info nas_report__mhd.get_daemon_info
#define MHD_get_timeout nas_report__mhd.get_timeout
#define MHD_lookup_connection_value nas_report__mhd.lookup_connection_value
#define MHD_queue_response nas_report__mhd.queue_response
#define MHD_resume_connection nas_report__mhd.resume_connection
#define MHD_run nas_report__mhd.run
#define MHD_start_daemon nas_report__mhd.start_daemon
#define MHD_stop_daemon nas_report__mhd.stop_daemon
#define MHD_suspend_connection nas_report__mhd.suspend_connection

#endif

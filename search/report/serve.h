/* The dashboard over HTTP: libmicrohttpd on a libuv loop, in one thread. */
#ifndef NAS_SEARCH_REPORT_SERVE_H
#define NAS_SEARCH_REPORT_SERVE_H

#include "search/report/dashboard.h"

typedef struct nas_serve_options {
    const char *host;         /* numeric address, or "localhost"                          */
    int port;                 /* 0: any that is free                                      */
    bool allow_remote;        /* listen on an address that other machines reach           */
    const char *const *names; /* by which it may be called, NULL-terminated; may be NULL  */
    const char *token;
    const char *version;
    int64_t view_ms;          /* a stream of events ends after so long: its viewer asks anew  */
    /* Called once it listens, with the address of the page ("http://127.0.0.1:8790/"); a failure
     * ends it. */
    nas_status (*ready)(void *user, const char *url, int port, nas_err *err);
    void *user;
} nas_serve_options;

/** Serves until SIGINT, SIGTERM or SIGHUP; then closes everything and returns NAS_OK.
 * NAS_E_CONFIG for an address that other machines reach unless that is allowed, NAS_E_USAGE for
 * what is no address, NAS_E_IO if the port is taken. */
nas_status nas_serve(nas_store *store, const nas_serve_options *options, nas_err *err);

#endif

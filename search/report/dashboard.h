/* The dashboard: what it answers to a request.  No socket is known here, and nothing is ever
 * written: search/report/serve.h brings requests to it.
 *
 * `/` is a page without data; its script fetches the views with the token that it finds behind the
 * '#' of its address, which browsers send to nobody.  There are no cookies, so that no other
 * site can make a browser speak for its user.  docs/howto/serve.md. */
#ifndef NAS_SEARCH_REPORT_DASHBOARD_H
#define NAS_SEARCH_REPORT_DASHBOARD_H

#include "search/store/store.h"

enum {
    NAS_DASHBOARD_PAGE = 50,   /* runs on a page of the list     */
    NAS_DASHBOARD_STREAMS = 64 /* that may be open at a time     */
};

/** A request, of which nothing can be trusted.  NULL: there is no such header. */
typedef struct nas_request {
    const char *method, *target; /* as sent, not decoded; without the query */
    const char *host, *authorization;
    bool odd; /* has a body, or a header twice that must be there once */
} nas_request;

typedef struct nas_answer {
    int code;               /* of HTTP                              */
    const char *type;       /* of the content                       */
    char *body;             /* yours: nas_answer_fini; may be NULL  */
    size_t size;
    bool stream;            /* events follow instead of a body      */
} nas_answer;
void nas_answer_fini(nas_answer *answer);

typedef struct nas_dashboard {
    nas_store *store;        /* borrowed, as all of these                         */
    const char *token;
    const char *version;     /* of the program                                    */
    const char *const *hosts; /* names by which it may be called, NULL-terminated, beside
                                localhost, 127.0.0.1 and [::1]                    */
    int64_t answers[600];    /* given, by code                                    */
    int streams;             /* that are open: the server counts them             */
} nas_dashboard;

/** Always gives an answer; errors of the store are one, too. */
void nas_dashboard_answer(nas_dashboard *dashboard, const nas_request *request, nas_answer *out);

/** Headers that every answer has, with their values, NULL-terminated. */
extern const char *const nas_dashboard_headers[][2];

/** Makes a token of 256 random bits in the new file `path` (mode 0600), or reads the one that is
 * there.  NAS_E_CONFIG if others may read that file, or it holds none; NAS_E_IO. */
enum { NAS_TOKEN_SIZE = 65 };
nas_status nas_token_load(const char *path, char out[NAS_TOKEN_SIZE], nas_err *err);

#endif

/* Finds the functions of libmicrohttpd. */
#include "search/report/http.h"

#include <dlfcn.h>

nas_report__http nas_report__mhd;

nas_status nas_report__http_load(nas_err *err)
{
    void *library = dlopen(NAS_MICROHTTPD_NAME, RTLD_NOW | RTLD_LOCAL); /* stays until the end */

    if (library == NULL) {
        nas_fail(err, NAS_E_FAIL, "serve: %.300s", dlerror());
        nas_hint(err, "install libmicrohttpd 0.9 (Debian: libmicrohttpd12)");
        return NAS_E_FAIL;
    }
#define FIND(name)                                                                             \
    *(void **)&nas_report__mhd.name = dlsym(library, "MHD_" #name);                            \
    if (nas_report__mhd.name == NULL)                                                          \
        return nas_fail(err, NAS_E_FAIL, "serve: %.300s", dlerror());
    NAS_REPORT_HTTP_CALLS(FIND)
    return NAS_OK;
}

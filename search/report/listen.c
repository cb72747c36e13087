/* Where the dashboard listens: on this machine only, unless that is asked for. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "search/report/private.h"

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

    return address->ss_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == 127
                                         : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static nas_status read_address(const nas_serve_options *o, struct sockaddr_storage *out,
                               socklen_t *size, nas_err *err)
{
    const char *host = strcmp(o->host, "localhost") == 0 ? "127.0.0.1" : o->host;
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)o->port);
        *size = sizeof *v4;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)o->port);
        *size = sizeof *v6;
    } else {
        nas_fail(err, NAS_E_USAGE, "--host %.100s: is no numeric address", o->host);
        nas_hint(err, "for instance 127.0.0.1, ::1, or 0.0.0.0 for all of this machine's");
        return NAS_E_USAGE;
    }
    if (is_loopback(out) || o->allow_remote)
        return NAS_OK;
    nas_fail(err, NAS_E_CONFIG, "--host %s: other machines would reach the dashboard, and what it "
             "sends is not encrypted", o->host);
    nas_hint(err, "better: ssh -L %d:127.0.0.1:%d THIS-MACHINE; or say --allow-remote", o->port,
             o->port);
    return NAS_E_CONFIG;
}

nas_status nas_report__listen(const nas_serve_options *o, int *fd, int *port, nas_err *err)
{
    struct sockaddr_storage address;
    socklen_t size = 0;
    const int on = 1;
    const nas_status status = read_address(o, &address, &size, err);

    *fd = -1;
    if (status != NAS_OK)
        return status;
    *fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0 || setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(*fd, (struct sockaddr *)&address, size) != 0 || listen(*fd, SOMAXCONN) != 0 ||
        getsockname(*fd, (struct sockaddr *)&address, &size) != 0) {
        const bool taken = errno == EADDRINUSE;

        nas_fail_errno(err, "%s port %d", o->host, o->port);
        nas_hint(err, taken ? "take another --port, or 0 for any that is free"
                            : "--host must be an address of this machine");
        if (*fd >= 0)
            close(*fd);
        return NAS_E_IO;
    }
    *port = ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                               : ((struct sockaddr_in6 *)&address)->sin6_port);
    return NAS_OK;
}

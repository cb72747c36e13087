/* Life of a connection: on_connection makes a `peer` and gives it until a deadline to ask; on_request
 * answers; on_completed gives it until the next deadline to ask again.  A peer that misses its
 * deadline, or the longest waiting one when there are too many, has its socket shut down, which
 * libmicrohttpd sees as its end: so who is slow holds nobody up.
 *
 * A stream of events sleeps (is suspended) while it has nothing to say; the tick wakes it. It ends after
 * a while, and its viewer asks anew: one who is gone, or takes nothing, keeps no place for ever. */
#include "search/report/serve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "search/report/http.h"
#include "search/report/private.h"
#include "search/store/jobs.h"

enum {
    MAX_PEERS = 256,      /* beyond, the one that waits longest is closed  */
    HARD_LIMIT = 400,     /* libmicrohttpd's own, which stops accepting    */
    MEMORY = 24 << 10,    /* of a connection: head of the request and of the answer */
    BLOCK = 1024,         /* of a stream                                   */
    TICK_MS = 250,
    ASK_MS = 10000,       /* until a request must be complete              */
    TAKE_MS = 60000,      /* until an answer must be taken                 */
    ALIVE_MS = 5000,      /* between signs of life of a stream             */
    STORE_WAIT_MS = 500   /* for a lock; nobody else is served meanwhile   */
};

typedef struct peer {
    struct peer *next, **link;
    int fd;
    int64_t deadline;
    bool waiting;     /* for a request, not in the middle of an answer */
    bool closing;
} peer;

typedef struct stream {
    struct stream *next, **link;
    struct server *server;
    struct MHD_Connection *connection;
    int64_t end;
    bool asleep, changed, alive, over;
} stream;

typedef struct server {
    nas_dashboard dashboard;
    struct MHD_Daemon *daemon;
    peer *peers; /* newest first */
    stream *streams;
    int peer_count;
    int64_t view_ms;
    int64_t alive_at;
    bool stopping, lost; /* lost: the store */
    uv_loop_t uv;
    uv_poll_t poll;
    uv_timer_t timer, tick;
    uv_signal_t signals[3];
} server;

static int64_t now_ms(const server *s)
{
    return (int64_t)uv_now(&s->uv);
}

/* ---- connections ---- */

static void close_peer(peer *p)
{
    p->closing = true;
    shutdown(p->fd, SHUT_RDWR);
}

/* The one that waits longest, if there is one. */
static peer *longest_waiting(const server *s)
{
    peer *found = NULL;

    for (peer *p = s->peers; p != NULL; p = p->next)
        if (p->waiting && !p->closing)
            found = p;
    return found;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    server *s = user;
    peer *p = *context;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

        if ((p = calloc(1, sizeof *p)) == NULL)
            return; /* it is refused when it asks */
        *p = (peer){.fd = info->connect_fd, .deadline = now_ms(s) + ASK_MS, .waiting = true,
                    .next = s->peers, .link = &s->peers};
        if (p->next != NULL)
            p->next->link = &p->next;
        s->peers = *context = p;
        if (++s->peer_count > MAX_PEERS && (p = longest_waiting(s)) != NULL)
            close_peer(p);
    } else if (p != NULL) {
        *p->link = p->next;
        if (p->next != NULL)
            p->next->link = p->link;
        s->peer_count--;
        free(p);
        *context = NULL;
    }
}

static peer *peer_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode why)
{
    peer *p = peer_of(connection);

    if (p == NULL)
        return;
    p->waiting = true;
    p->deadline = now_ms(user) + ASK_MS;
}

/* ---- streams ---- */

static ssize_t read_stream(void *user, uint64_t position, char *buffer, size_t room)
{
    stream *st = user;
    int used = 0;

    if (st->server->stopping || st->over)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if ((st->over = now_ms(st->server) >= st->end))
        return snprintf(buffer, room, "event: again\ndata: {}\n\n");
    if (st->changed)
        used = snprintf(buffer, room, "event: change\ndata: {}\n\n");
    else if (st->alive)
        used = snprintf(buffer, room, "event: alive\ndata: {}\n\n");
    st->changed = st->alive = false;
    if (used == 0) {
        st->asleep = true;
        MHD_suspend_connection(st->connection);
    }
    return used;
}

static void free_stream(void *user)
{
    stream *st = user;

    *st->link = st->next;
    if (st->next != NULL)
        st->next->link = st->link;
    st->server->dashboard.streams--;
    free(st);
}

static struct MHD_Response *make_stream(server *s, struct MHD_Connection *connection)
{
    stream *st = calloc(1, sizeof *st);

    if (st == NULL)
        return NULL;
    *st = (stream){.server = s, .connection = connection, .alive = true, .next = s->streams,
                   .link = &s->streams, .end = now_ms(s) + s->view_ms};
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK, read_stream, st, free_stream);
    if (response == NULL) {
        free(st);
        return NULL;
    }
    if (st->next != NULL)
        st->next->link = &st->next;
    s->streams = st;
    s->dashboard.streams++;
    return response;
}

static void wake_streams(server *s)
{
    for (stream *st = s->streams; st != NULL; st = st->next)
        if (st->asleep && (st->changed || st->alive || s->stopping || now_ms(s) >= st->end)) {
            st->asleep = false;
            MHD_resume_connection(st->connection);
        }
}

/* ---- requests ---- */

/* Headers that must not be there twice; those that announce a body, or are named so that one
 * reader may take them for such a one and another not ("Transfer-Encoding : chunked"). */
typedef struct head {
    int hosts, authorizations;
    bool body;
} head;

/* A name as RFC 9110 allows, section 5.6.2. */
static bool is_token(const char *name)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    return *name != '\0' && name[strspn(name, allowed)] == '\0';
}

static enum MHD_Result on_header(void *user, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    head *h = user;

    h->hosts += strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0;
    h->authorizations += strcasecmp(key, MHD_HTTP_HEADER_AUTHORIZATION) == 0;
    h->body = h->body || !is_token(key) ||
              strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0 ||
              (strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0 &&
               (value == NULL || strcmp(value, "0") != 0));
    return MHD_YES;
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static struct MHD_Response *make_response(server *s, struct MHD_Connection *connection,
                                          const char *method, nas_answer *answer, bool *streams)
{
    struct MHD_Response *response = NULL;

    *streams = answer->stream && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0;
    if (*streams)
        return make_stream(s, connection);
    response = MHD_create_response_from_buffer(answer->size, answer->body, MHD_RESPMEM_MUST_FREE);
    if (response != NULL)
        answer->body = NULL; /* the response's */
    return response;
}

static void add_headers(struct MHD_Response *response, const nas_answer *answer)
{
    for (int i = 0; nas_dashboard_headers[i][0] != NULL; i++)
        MHD_add_response_header(response, nas_dashboard_headers[i][0], nas_dashboard_headers[i][1]);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
    if (answer->code == 401)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (answer->code == 405)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (answer->code == 503)
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "2");
    if (answer->code == 400 || answer->code == 405) /* what follows may be meant as a body */
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection,
                                  const char *target, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **context)
{
    server *s = user;
    peer *p = peer_of(connection);
    head h = {0};
    nas_answer answer;
    bool streams;

    if (p == NULL)
        return MHD_NO;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, on_header, &h);
    const nas_request request = {.method = method, .target = target,
                                 .host = header(connection, MHD_HTTP_HEADER_HOST),
                                 .authorization = header(connection,
                                                         MHD_HTTP_HEADER_AUTHORIZATION),
                                 .odd = h.body || h.hosts > 1 || h.authorizations > 1};
    nas_dashboard_answer(&s->dashboard, &request, &answer);
    struct MHD_Response *response = make_response(s, connection, method, &answer, &streams);
    enum MHD_Result result = MHD_NO; /* closes the connection */
    if (response != NULL) {
        add_headers(response, &answer);
        result = MHD_queue_response(connection, (unsigned)answer.code, response);
        MHD_destroy_response(response);
    }
    nas_answer_fini(&answer);
    p->waiting = false;
    p->deadline = now_ms(s) + TAKE_MS + (streams ? s->view_ms : 0);
    return result;
}

/* Targets are compared as they were sent. */
static size_t keep_escapes(void *user, struct MHD_Connection *connection, char *text)
{
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void on_complaint(void *user, const char *format,
                                                               va_list list)
{
    char text[512];

    vsnprintf(text, sizeof text, format, list);
    text[strcspn(text, "\r\n")] = '\0';
    nas_log(NAS_LOG_DEBUG, "serve: %s", text);
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer);

/* Lets libmicrohttpd do what is due. */
static void run_daemon(server *s)
{
    MHD_UNSIGNED_LONG_LONG ms;

    MHD_run(s->daemon);
    if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
        uv_timer_start(&s->timer, on_timer, ms, 0);
    else
        uv_timer_stop(&s->timer);
}

static void on_timer(uv_timer_t *timer)
{
    run_daemon(timer->data);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    run_daemon(poll->data);
}

/* Looks for changes of the store, for its end, and for who is late. */
static void on_tick(uv_timer_t *timer)
{
    server *s = timer->data;
    const int64_t now = now_ms(s);
    const bool alive = now >= s->alive_at;
    bool changed = false;

    if (s->streams != NULL)
        /* a store that is locked for a moment is asked again */
        nas_store_changed(s->dashboard.store, &changed, NULL);
    for (stream *st = s->streams; st != NULL; st = st->next) {
        st->changed = st->changed || changed;
        st->alive = st->alive || alive;
    }
    if (alive) {
        s->alive_at = now + ALIVE_MS;
        if ((s->lost = !nas_store_in_place(s->dashboard.store)))
            uv_stop(&s->uv);
    }
    for (peer *p = s->peers; p != NULL; p = p->next)
        if (!p->closing && now > p->deadline)
            close_peer(p);
    wake_streams(s);
    run_daemon(s);
}

static void on_signal(uv_signal_t *handle, int number)
{
    uv_stop(handle->loop);
}

static bool is_ignored(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static nas_status open_handles(server *s, nas_err *err)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const int fd = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    int failed = uv_poll_init(&s->uv, &s->poll, fd);

    if (failed != 0)
        return nas_fail(err, NAS_E_FAIL, "serve: %s", uv_strerror(failed));
    uv_timer_init(&s->uv, &s->timer);
    uv_timer_init(&s->uv, &s->tick);
    s->poll.data = s->timer.data = s->tick.data = s;
    failed = uv_poll_start(&s->poll, UV_READABLE, on_socket);
    uv_timer_start(&s->tick, on_tick, 0, TICK_MS);
    for (int i = 0; i < 3; i++) {
        uv_signal_init(&s->uv, &s->signals[i]);
        if (!is_ignored(numbers[i])) /* as nohup asks for */
            failed = failed != 0 ? failed : uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    }
    return failed == 0 ? NAS_OK : nas_fail(err, NAS_E_FAIL, "serve: %s", uv_strerror(failed));
}

static void close_walk(uv_handle_t *handle, void *user)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_all(server *s)
{
    uv_walk(&s->uv, close_walk, NULL);
    while (uv_run(&s->uv, UV_RUN_DEFAULT) != 0)
        ;
    uv_loop_close(&s->uv);
    if (s->daemon == NULL)
        return;
    s->stopping = true;
    wake_streams(s); /* none may be asleep when the daemon stops */
    MHD_run(s->daemon);
    MHD_stop_daemon(s->daemon);
}

/* ---- the whole ---- */

static nas_status start_daemon(server *s, int fd, nas_err *err)
{
    const nas_status status = nas_report__http_load(err);

    if (status != NAS_OK)
        return status;
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, s,
        MHD_OPTION_EXTERNAL_LOGGER, on_complaint, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HARD_LIMIT, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, 30u, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_END);
    return s->daemon != NULL ? NAS_OK : nas_fail(err, NAS_E_FAIL, "serve: libmicrohttpd");
}

static nas_status say_ready(const nas_serve_options *o, int port, nas_err *err)
{
    char url[128];

    snprintf(url, sizeof url, strchr(o->host, ':') != NULL ? "http://[%s]:%d/" : "http://%s:%d/",
             o->host, port);
    return o->ready(o->user, url, port, err);
}

nas_status nas_serve(nas_store *store, const nas_serve_options *options, nas_err *err)
{
    server s = {.dashboard = {.store = store, .token = options->token,
                              .version = options->version, .hosts = options->names},
                .view_ms = options->view_ms};
    int fd, port;
    nas_status status = nas_report__listen(options, &fd, &port, err);

    if (status != NAS_OK)
        return status;
    if (uv_loop_init(&s.uv) != 0 || (status = start_daemon(&s, fd, err)) != NAS_OK) {
        close(fd);
        return status != NAS_OK ? status : nas_fail(err, NAS_E_FAIL, "serve: libuv");
    }
    nas_store_set_patience(store, STORE_WAIT_MS);
    if ((status = open_handles(&s, err)) == NAS_OK &&
        (status = say_ready(options, port, err)) == NAS_OK)
        uv_run(&s.uv, UV_RUN_DEFAULT);
    close_all(&s);
    if (status == NAS_OK && s.lost) {
        nas_fail(err, NAS_E_IO, "%s: was removed or replaced", nas_store_dir(store));
        nas_hint(err, "start nas serve again to show what is there now");
        return NAS_E_IO;
    }
    return status;
}

/* nas serve from the outside: who is answered and how, clients that are slow, greedy or lie, and that
 * nothing is ever written. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/cli/nas.h"
#include "tests/cli/server.h"
#include "tests/support/tools.h"

enum { REPLY_SIZE = 1 << 20, CROWD = 500 };

static char reply[REPLY_SIZE];

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A store of two runs that are done, with different networks. */
static void begin(void)
{
    nas_begin();
    signal(SIGPIPE, SIG_IGN);
    const char *data = make_data(), *table = make_table();
    for (int i = 0; i < 2; i++)
        expect_exit(NAS("search", "--data", data, "--space", "tiny", "--table", table,
                        "--target-ms", "1.0", "--method", "random", "--warmup-epochs", "0",
                        "--epochs", "1", "--batch", "32", "--seed", i ? "2" : "1", "--quiet"),
                    0, NULL);
    server_start();
}

static void end(void)
{
    server_kill();
    nas_end();
}

TestSuite(cli_serve, .init = begin, .fini = end, .timeout = 120);

/* ---- a client ---- */

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "%s",
              strerror(errno));
    return fd;
}

static void say(int fd, const char *text)
{
    const ssize_t sent = send(fd, text, strlen(text), MSG_NOSIGNAL);

    (void)sent; /* it may have hung up already */
}

/* Reads into `reply` until it hangs up or `until` is there; false after `limit` seconds. */
static bool hear(int fd, const char *until, double limit)
{
    const double deadline = seconds() + limit;
    size_t used = 0;

    reply[0] = '\0';
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        const int left = (int)((deadline - seconds()) * 1000);

        if (left <= 0 || poll(&p, 1, left) <= 0)
            return false;
        const ssize_t got = recv(fd, reply + used, sizeof reply - 1 - used, 0);
        if (got <= 0)
            return until == NULL;
        used += (size_t)got;
        reply[used] = '\0';
        if (until != NULL && strstr(reply, until) != NULL)
            return true;
    }
}

/* Sends a raw request, reads the whole answer into `reply`, returns its code; 0: none. */
static int ask_raw(const char *request)
{
    const int fd = dial();
    int code = 0;

    say(fd, request);
    hear(fd, NULL, 15);
    close(fd);
    sscanf(reply, "HTTP/1.1 %d", &code);
    return code;
}

static const char *request_for(const char *method, const char *target)
{
    static char text[1024];

    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: localhost:%d\r\n"
             "Authorization: Bearer %s\r\nConnection: close\r\n\r\n", method, target, server_port, server_token);
    return text;
}

static int get(const char *target)
{
    return ask_raw(request_for("GET", target));
}

static int open_files(void)
{
    char path[64];
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)server_pid);
    DIR *dir = opendir(path);
    cr_assert_not_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* ---- what it answers ---- */

static const char *const routes[] = {"/", "/style.css", "/live.js", "/metrics", "/view/runs",
                                     "/view/run/1", "/view/run/2", "/view/difference/1/2"};
enum { ROUTES = sizeof routes / sizeof *routes };

Test(cli_serve, every_answer_has_the_headers_that_protect)
{
    static const char *const expected[] = {
        "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self';",
        "frame-ancestors 'none'", "X-Content-Type-Options: nosniff", "Cache-Control: no-store",
        "Referrer-Policy: no-referrer", "Cross-Origin-Resource-Policy: same-origin"};

    for (int i = 0; i <= ROUTES; i++) {
        cr_assert_eq(get(i < ROUTES ? routes[i] : "/nothing"), i < ROUTES ? 200 : 404);
        for (size_t k = 0; k < sizeof expected / sizeof *expected; k++)
            cr_assert_not_null(strstr(reply, expected[k]), "%s: no %s", routes[i % ROUTES],
                               expected[k]);
        cr_assert_null(strstr(reply, "Access-Control-"), "no other site may read");
        cr_assert_null(strstr(reply, "Set-Cookie"));
    }
    server_stop();
}

Test(cli_serve, a_view_shows_the_store)
{
    cr_assert_eq(get("/view/runs"), 200);
    cr_assert_not_null(strstr(reply, "2 of 2 runs"));
    cr_assert_not_null(strstr(reply, "<a href=\"#run-1\">search-1</a>"));
    cr_assert_not_null(strstr(reply, "Judged as"));
    cr_assert_eq(get("/view/difference/2/1"), 200);
    cr_assert_not_null(strstr(reply, "the difference is search-2 less search-1"));
    cr_assert_eq(ask_raw(request_for("HEAD", "/view/runs")), 200);
    cr_assert_str_eq(strstr(reply, "\r\n\r\n"), "\r\n\r\n", "no body");
    server_stop();
}

Test(cli_serve, without_the_token_or_under_a_foreign_name_there_is_no_data)
{
    char text[512];

    cr_assert_eq(ask_raw("GET /view/runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
                 401);
    cr_assert_null(strstr(reply, "search-1"));
    snprintf(text, sizeof text, "GET /view/runs?token=%s HTTP/1.1\r\nHost: localhost\r\n"
             "Cookie: token=%s\r\nConnection: close\r\n\r\n", server_token, server_token);
    cr_assert_eq(ask_raw(text), 401, "only the header counts");
    snprintf(text, sizeof text, "GET /view/runs HTTP/1.1\r\nHost: evil.example:%d\r\n"
             "Authorization: Bearer %s\r\nConnection: close\r\n\r\n", server_port, server_token);
    cr_assert_eq(ask_raw(text), 421);
    snprintf(text, sizeof text, "GET /view/runs HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n",
             server_token);
    cr_assert_eq(ask_raw(text), 421, "no name at all");
    server_stop();
}

Test(cli_serve, nothing_is_written_whatever_is_asked)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH",
                                          "OPTIONS", "TRACE"};
    const char *sum = "cd \"$0\" && find . -type f | sort | xargs sha256sum; ls -laR --time-style=+ .";
    char *before = strdup(RUN_TOOL("sh", "-c", sum, nas_file("store"))->out);

    for (int i = 0; i < ROUTES; i++)
        for (int m = 0; m < 8; m++) {
            const int code = ask_raw(request_for(methods[m], routes[i]));
            cr_assert_eq(code, m < 2 ? 200 : 405, "%s %s: %d", methods[m], routes[i], code);
        }
    cr_assert_str_eq(RUN_TOOL("sh", "-c", sum, nas_file("store"))->out, before);
    free(before);
    server_stop();
}

Test(cli_serve, who_watches_is_told_of_a_change)
{
    const int fd = dial();

    say(fd, request_for("GET", "/events"));
    cr_assert(hear(fd, "event: change", 10), "the first look");
    cr_assert_not_null(strstr(reply, "text/event-stream"));
    expect_exit(NAS("jobs", "submit", "--", "space", "list"), 0, NULL);
    cr_assert(hear(fd, "event: change", 10), "%s", reply);
    cr_assert(hear(fd, "event: alive", 10), "it says that it lives");
    cr_assert_eq(get("/metrics"), 200);
    cr_assert_not_null(strstr(reply, "onepath_event_streams 1\n"));
    cr_assert_not_null(strstr(reply, "onepath_jobs{state=\"queued\"} 1\n"));
    cr_assert_eq(kill(server_pid, SIGTERM), 0);
    cr_assert(hear(fd, NULL, 5), "its end is the stream's");
    close(fd);
    server_await_end();
}

Test(cli_serve, a_store_that_was_removed_is_shown_no_longer)
{
    cr_assert_eq(get("/view/runs"), 200);
    cr_assert_eq(rename(nas_file("store"), nas_file("old")), 0);
    cr_assert_eq(server_await_code(), 74);
}

Test(cli_serve, nobody_watches_for_ever)
{
    server_stop();
    server_start_for("0.02");
    const int fd = dial();
    const double begun = seconds();

    say(fd, request_for("GET", "/events"));
    cr_assert(hear(fd, "event: again", 10), "%s", reply);
    cr_assert_geq(seconds() - begun, 1.2);
    cr_assert(hear(fd, NULL, 5), "then the stream ends");
    close(fd);
    cr_assert_eq(get("/metrics"), 200);
    cr_assert_not_null(strstr(reply, "onepath_event_streams 0\n"));
    server_stop();
}

Test(cli_serve, promtool_accepts_its_metrics)
{
    need_tool("promtool");
    cr_assert_eq(get("/metrics"), 200);
    const char *path = nas_put("metrics.txt", strstr(reply, "\r\n\r\n") + 4);
    const process_result *result = RUN_TOOL("sh", "-c", "promtool check metrics < \"$0\"", path);
    cr_assert_eq(result->code, 0, "%s%s", result->out, result->err);
    cr_assert_str_eq(result->err, "", "%s", result->err);
    server_stop();
}

/* ---- who means it ill ---- */

/* Each must be refused, the connection closed, and what follows it never be taken for a request. */
Test(cli_serve, two_requests_are_never_smuggled_as_one)
{
    static const char *const heads[] = {
        "Content-Length: 60\r\n",
        "Content-Length: 60\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 60\r\n",
        "Content-Length: 60\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\tchunked\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +60\r\n",
        "Content-Length: 0x3c\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 60, 0\r\n",
    };
    char text[2048];

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n0\r\n\r\n"
                 "GET /view/run/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n",
                 heads[i], server_token);
        const int fd = dial();
        say(fd, text);
        cr_assert(hear(fd, NULL, 15), "%s: it stays open", heads[i]);
        close(fd);
        cr_assert_null(strstr(reply, "search-1"), "%s", heads[i]);
        cr_assert_null(strstr(reply, " 200 "), "%s\n%s", heads[i], reply);
    }
    cr_assert_eq(get("/view/runs"), 200);
    server_stop();
}

Test(cli_serve, requests_that_are_none_are_refused)
{
    static const char *const bad[] = {
        "GET\r\n\r\n", "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "GET /view/runs\r\n\r\n", "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n",
        "GET /..%2f..%2fetc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int fd = dial();
        say(fd, bad[i]);
        shutdown(fd, SHUT_WR);
        cr_assert(hear(fd, NULL, 15), "%zu: it stays open", i);
        close(fd);
        cr_assert_null(strstr(reply, " 200 "), "%zu: %s", i, reply);
        cr_assert_null(strstr(reply, "root:"), "%zu", i);
    }
    cr_assert_eq(get("/view/runs"), 200);
    server_stop();
}

Test(cli_serve, heads_that_are_too_large_are_refused)
{
    static char text[200000];
    const char *const forms[] = {"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                 "GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n",
                                 "GET / HTTP/1.1\r\nHost: %s\r\n\r\n"};
    static char filler[100001];

    memset(filler, 'a', sizeof filler - 1);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        snprintf(text, sizeof text, forms[i], filler);
        const int code = ask_raw(text);
        cr_assert(code == 0 || code == 413 || code == 414 || code == 431, "%zu: %d", i, code);
    }
    size_t used = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: localhost\r\n");
    while (used < sizeof text - 32)
        used += (size_t)sprintf(text + used, "X%zu: y\r\n", used);
    const int code = ask_raw(strcat(text, "\r\n"));
    cr_assert(code == 0 || code == 413 || code == 431, "many: %d", code);
    cr_assert_eq(get("/view/runs"), 200);
    server_stop();
}

/* More sockets than it allows, all of them silent in the middle of a request. */
Test(cli_serve, a_crowd_that_says_nothing_keeps_nobody_out)
{
    static int crowd[CROWD];
    const int before = open_files();

    for (int i = 0; i < CROWD; i++) {
        crowd[i] = dial();
        say(crowd[i], i % 2 ? "GET /view/runs HTTP/1.1\r\nHost: local" : "");
    }
    for (int i = 0; i < 5; i++) {
        const double begun = seconds();

        cr_assert_eq(get("/view/runs"), 200);
        cr_assert_lt(seconds() - begun, 2.0, "it kept us waiting");
    }
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
    cr_assert_eq(get("/"), 200);
    for (int i = 0; i < 50 && open_files() > before; i++)
        usleep(100000);
    cr_assert_leq(open_files(), before, "what was opened is closed");
    server_stop();
}

/* A byte now and then is a sign of life for many servers, but no request. */
Test(cli_serve, who_dribbles_is_cut_off)
{
    const char *request = request_for("GET", "/view/runs");
    const double begun = seconds();
    const int fd = dial();
    bool cut = false;

    for (int i = 0; i < 40 && !cut; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        send(fd, request + i, 1, MSG_NOSIGNAL);
        cut = poll(&p, 1, 500) > 0;
    }
    cr_assert(cut, "after %.0f s it still listens", seconds() - begun);
    cr_assert_lt(seconds() - begun, 15.0);
    close(fd);
    server_stop();
}

/* A thousand answers asked for in one breath and none of them read. */
Test(cli_serve, who_does_not_read_holds_nobody_up)
{
    const int fd = dial();
    char text[512];

    snprintf(text, sizeof text, "GET /live.js HTTP/1.1\r\nHost: localhost\r\n\r\n");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 1000; i++)
        say(fd, text);
    for (int i = 0; i < 5; i++) {
        const double begun = seconds();

        cr_assert_eq(get("/view/runs"), 200);
        cr_assert_lt(seconds() - begun, 2.0);
    }
    server_stop();
    close(fd);
}

/* ---- many runs ---- */

Test(cli_serve, ten_thousand_runs_are_listed_at_once)
{
    sqlite3 *db;

    cr_assert_eq(sqlite3_open(nas_file("store/store.db"), &db), SQLITE_OK);
    const char *sql =
        "BEGIN; CREATE TEMP TABLE n AS WITH RECURSIVE c(i) AS (SELECT 3 UNION ALL SELECT i + 1"
        " FROM c WHERE i < 10000) SELECT i FROM c;"
        "INSERT INTO run (id, name, kind, state, attempt, config, config_digest, version, seed,"
        " threads, step, epoch, pid, pid_start, host, created_ms, updated_ms, finished_ms, summary,"
        " latency_table) SELECT i, 'search-' || i, kind, state, attempt, config, config_digest,"
        " version, seed, threads, step, epoch, pid, pid_start, host, created_ms, updated_ms,"
        " finished_ms, summary, latency_table FROM run, n WHERE id = 1;"
        "INSERT INTO evaluation SELECT i, source, rank, architecture, latency_ms, loss, top1, top5,"
        " selected FROM evaluation, n WHERE run = 1; COMMIT;";
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
    static const char *const asked[] = {"/view/runs", "/view/runs/5000", "/view/run/10000",
                                        "/metrics"};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        double best = 1e9; /* others may use the machine, too */

        for (int try = 0; try < 5; try++) {
            const double begun = seconds();

            cr_assert_eq(get(asked[i]), 200);
            best = seconds() - begun < best ? seconds() - begun : best;
        }
        cr_log_info("%s: %.3f s, %zu bytes", asked[i], best, strlen(reply));
        cr_assert_lt(best, 1.0, "%s", asked[i]);
    }
    cr_assert_eq(get("/view/runs"), 200);
    cr_assert_not_null(strstr(reply, "50 of 10000 runs"));
    server_stop();
}

/* ---- how it is started ---- */

Test(cli_serve, what_would_be_unsafe_or_cannot_be_is_refused)
{
    char taken[16];

    expect_exit(NAS("serve", "--host", "0.0.0.0", "--port", "0"), 78, "--allow-remote");
    expect_exit(NAS("serve", "--host", "::", "--port", "0"), 78, "ssh -L");
    expect_exit(NAS("serve", "--host", "example.org", "--port", "0"), 2, "no numeric address");
    snprintf(taken, sizeof taken, "%d", server_port);
    expect_exit(NAS("serve", "--port", taken), 74, "take another --port");
    expect_exit(NAS("serve", "--store", nas_file("none")), 74, "there is no store");
    cr_assert_eq(chmod(nas_file("store/serve.token"), 0644), 0);
    expect_exit(NAS("serve", "--port", "0"), 78, "chmod 600");
    server_stop();
}

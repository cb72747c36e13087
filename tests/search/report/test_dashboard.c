/* What the dashboard answers, without a socket: who is let in, what a view shows, metrics, tokens. */
#include "search/report/dashboard.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/search/report/support.h"

#define TOKEN "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define BEARER "Bearer " TOKEN

static nas_store *store;
static nas_dashboard dashboard;
static nas_answer answer;

static void begin(void)
{
    static const char *const names[] = {"lab.example", "fd00::2", NULL};

    scratch_init();
    ok(nas_store_open(&store, scratch("store"), NAS_STORE_CREATE, &err));
    dashboard = (nas_dashboard){.store = store, .token = TOKEN, .version = "1.2.3",
                                .hosts = names};
}

static void end(void)
{
    nas_answer_fini(&answer);
    nas_store_close(store);
    scratch_fini();
}

TestSuite(search_dashboard, .init = begin, .fini = end);

/* The code; the body stays in `answer` until the next call. */
static int ask(nas_request request)
{
    nas_answer_fini(&answer);
    nas_dashboard_answer(&dashboard, &request, &answer);
    cr_assert(answer.stream || answer.body != NULL);
    return answer.code;
}

static int get(const char *target)
{
    return ask((nas_request){.method = "GET", .target = target, .host = "127.0.0.1:8790",
                             .authorization = BEARER});
}

static void expect_body(const char *text)
{
    char *body = strndup(answer.body, answer.size);

    cr_assert_not_null(strstr(body, text), "no '%s' in: %.2000s", text, body);
    free(body);
}

/* The view that was answered, within a page. */
static void expect_view(void)
{
    char *page;

    cr_assert_gt(asprintf(&page, "<!doctype html>\n<main>%.*s</main>", (int)answer.size,
                          answer.body), 0);
    expect_well_formed(page);
    free(page);
}

static nas_store_attempt begin_run(const char *name)
{
    const nas_store_run_spec spec = {.kind = "search", .name = name, .config = "{}",
                                     .version = "1"};
    nas_store_attempt attempt;

    ok(nas_store_run_begin(store, &spec, &attempt, &err));
    return attempt;
}

Test(search_dashboard, data_asks_for_the_token)
{
    static const char *const data[] = {"/view/runs", "/view/run/1", "/view/difference/1/2",
                                       "/metrics", "/events", "/nothing"};
    static const char *const wrong[] = {NULL, "", "Bearer", "Bearer ", "Basic " TOKEN, TOKEN,
                                        BEARER "0", "Bearer 0" TOKEN, "Bearer  " TOKEN,
                                        "Bearer 0123456789abcdef0123456789abcdef0123456789abcdef"
                                        "0123456789abcdee"};

    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
            cr_assert_eq(ask((nas_request){.method = "GET", .target = data[i], .host = "localhost",
                                           .authorization = wrong[k]}),
                         401, "%s with '%s'", data[i], wrong[k]);
    cr_assert_eq(ask((nas_request){.method = "GET", .target = "/view/runs", .host = "localhost",
                                   .authorization = "bearer " TOKEN}), 200);
}

Test(search_dashboard, the_page_itself_holds_no_data_and_needs_no_token)
{
    static const char *const files[] = {"/", "/style.css", "/live.js"};

    begin_run("mine");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        cr_assert_eq(ask((nas_request){.method = "GET", .target = files[i], .host = "localhost"}),
                     200);
        char *body = strndup(answer.body, answer.size);
        cr_assert_null(strstr(body, "mine"));
        cr_assert_null(strstr(body, TOKEN));
        cr_assert_null(strstr(body, "http:"));
        free(body);
    }
}

Test(search_dashboard, a_foreign_name_is_refused_whatever_the_token)
{
    static const char *const own[] = {"localhost", "LocalHost:1", "127.0.0.1", "127.0.0.1:65535",
                                      "[::1]", "[::1]:8790", "lab.example", "LAB.example:80",
                                      "[fd00::2]", "[FD00::2]:8790"};
    static const char *const foreign[] = {
        NULL, "", ":", "evil.example", "localhost.evil.example", "evil.example:8790", "127.0.0.2",
        "localhost:", "localhost:x", "localhost:1@evil", "localhost:1234567", "[::2]:80", "[::1",
        "[::1]x", "[fd00::22]", "[]", "[lab.exampleX", "lab.example.", "127.0.0.1 ", " localhost", "localhost\t"};
    nas_request r = {.method = "GET", .target = "/view/runs", .authorization = BEARER};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        r.host = own[i];
        cr_assert_eq(ask(r), 200, "%s", own[i]);
    }
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        r.host = foreign[i];
        /* "localhost:" is an empty port, which some clients send */
        cr_assert_eq(ask(r), foreign[i] != NULL && strcmp(foreign[i], "localhost:") == 0 ? 200
                                                                                         : 421,
                     "%s", foreign[i]);
    }
}

Test(search_dashboard, only_reading_is_possible)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT",
                                          "get", "PATCH", "", "GET "};
    nas_request r = {.target = "/view/runs", .host = "localhost", .authorization = BEARER};

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        r.method = methods[i];
        cr_assert_eq(ask(r), 405, "%s", methods[i]);
    }
    r.method = "HEAD";
    cr_assert_eq(ask(r), 200);
    r.odd = true;
    cr_assert_eq(ask(r), 400);
}

Test(search_dashboard, no_target_leads_out)
{
    static const char *const lost[] = {
        "/..", "/../etc/passwd", "/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/%00", "/style.css/",
        "/style.css%00", "/view/runs/../../etc", "//etc/passwd", "/view", "/view/", "/view/runs/",
        "/view/run", "/view/run/", "/view/run/x", "/view/run/1x", "/view/run/-1", "/view/run/1/2",
        "/view/run/+1", "/view/difference/1", "/view/difference/1/2/3", "/view/runs/1/2",
        "/view/run/9999999999999999999", "/view/run/1;DROP TABLE run", "/serve.token", "/store.db",
        "/METRICS", "/metrics/", "/\xc0\xae\xc0\xae/", "/view/run/\xef\xbc\x91"};

    begin_run("mine");
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++)
        cr_assert_eq(get(lost[i]), 404, "%s", lost[i]);
    cr_assert_eq(get("http://localhost/view/runs"), 400);
    cr_assert_eq(get("*"), 400);
    cr_assert_eq(get(""), 400);
    char longest[300] = "/";
    memset(longest + 1, '1', 250);
    cr_assert_eq(get(longest), 400);
    cr_assert_eq(get("/view/run/1"), 200);
    cr_assert_eq(get("/view/run/2"), 404);
    expect_body("there is no run '2'");
}

Test(search_dashboard, the_list_of_runs_comes_in_pages)
{
    for (int i = 1; i <= 120; i++)
        begin_run(NULL);
    cr_assert_eq(get("/view/runs"), 200);
    expect_view();
    expect_body("50 of 120 runs.");
    expect_body("search-120</a>");
    expect_body("search-71</a>");
    expect_body("<a href=\"#runs-71\">older</a>");
    cr_assert_null(memmem(answer.body, answer.size, "search-70<", 10));
    cr_assert_eq(get("/view/runs/71"), 200);
    expect_body("search-70</a>");
    expect_body("<a href=\"#runs\">newest</a>");
    cr_assert_eq(get("/view/runs/21"), 200);
    expect_body("20 of 120 runs.");
    cr_assert_null(memmem(answer.body, answer.size, ">older<", 7));
    cr_assert_eq(get("/view/runs/1"), 200);
    expect_body("0 of 120 runs.");
}

Test(search_dashboard, a_run_that_runs_and_is_silent_says_so)
{
    const nas_store_attempt attempt = begin_run("mine");

    ok(nas_store_progress(store, attempt, 10, 1, &(nas_store_metric){"train_loss", 0.5}, 1, &err));
    cr_assert_eq(get("/view/run/1"), 200);
    expect_body("search: running; epoch 1;");
    raw_sql("UPDATE run SET updated_ms = 1700000000000");
    cr_assert_eq(get("/view/run/1"), 200);
    expect_body("running, silent since 2023-11-14 22:13:20");
    cr_assert_eq(get("/view/runs"), 200);
    expect_body("running, silent since 2023-11-14 22:13:20");
}

Test(search_dashboard, names_of_others_are_text)
{
    begin_run("mine");
    raw_sql("UPDATE run SET name = '</td><script>x</script>' || char(10) || '\"} 7'");
    static const char *const views[] = {"/view/runs", "/view/run/1"};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(get(views[i]), 200);
        expect_view();
        expect_body("&lt;/td&gt;&lt;script&gt;");
        cr_assert_null(memmem(answer.body, answer.size, "<script", 7));
    }
    cr_assert_eq(get("/metrics"), 200);
    expect_body("onepath_run_epoch{run=\"</td><script>x</script>\\\\x0a\\\"} 7\",kind=\"search\"} -1");
}

Test(search_dashboard, metrics_tell_states_and_last_values)
{
    const nas_store_attempt a = begin_run("one"), b = begin_run("two");

    for (int step = 10; step <= 30; step += 10)
        ok(nas_store_progress(store, a, step, step / 10,
                              (nas_store_metric[]){{"train_loss", 1.0 / step}, {"lr", NAN}}, 2,
                              &err));
    ok(nas_store_run_finish(store, b, NAS_STORE_DONE, NULL, NULL, &err));
    cr_assert_eq(get("/metrics"), 200);
    expect_body("onepath_runs{state=\"running\"} 1\n");
    expect_body("onepath_runs{state=\"done\"} 1\n");
    expect_body("onepath_runs{state=\"killed\"} 0\n");
    expect_body("onepath_jobs{state=\"queued\"} 0\n");
    expect_body("onepath_run_step{run=\"one\",kind=\"search\"} 30\n");
    expect_body("onepath_run_metric{run=\"one\",metric=\"train_loss\"} 0.033333333333333333\n");
    expect_body("onepath_run_metric{run=\"one\",metric=\"lr\"} NaN\n");
    expect_body("onepath_build_info{version=\"1.2.3\"} 1\n");
    cr_assert_null(memmem(answer.body, answer.size, "run=\"two\"", 9), "it has ended");
    cr_assert_eq(get("/metrics"), 200);
    expect_body("onepath_answers_total{code=\"200\"} 1\n");
}

Test(search_dashboard, a_store_that_is_locked_is_an_answer_too)
{
    begin_run("mine");
    nas_store_set_patience(store, 50);
    sqlite3 *other;
    cr_assert_eq(sqlite3_open(scratch("store/store.db"), &other), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(get("/view/runs"), 503);
    cr_assert_eq(get("/metrics"), 503);
    cr_assert_eq(get("/"), 200);
    sqlite3_close(other);
    cr_assert_eq(get("/view/runs"), 200);
}

Test(search_dashboard, only_so_many_may_watch)
{
    cr_assert_eq(get("/events"), 200);
    cr_assert(answer.stream);
    dashboard.streams = NAS_DASHBOARD_STREAMS;
    cr_assert_eq(get("/events"), 503);
    cr_assert_not(answer.stream);
    cr_assert_eq(get("/view/runs"), 200);
}

Test(search_dashboard, a_token_is_made_once_and_only_its_owner_may_read_it)
{
    char first[NAS_TOKEN_SIZE], again[NAS_TOKEN_SIZE];
    const char *path = scratch("token");
    struct stat info;

    umask(0);
    ok(nas_token_load(path, first, &err));
    cr_assert_eq(strlen(first), 64);
    cr_assert_eq(strspn(first, "0123456789abcdef"), 64);
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0600);
    ok(nas_token_load(path, again, &err));
    cr_assert_str_eq(first, again);
    ok(nas_token_load(scratch("other"), again, &err));
    cr_assert_str_neq(first, again);
    cr_assert_eq(chmod(path, 0640), 0);
    cr_assert_eq(nas_token_load(path, again, &err), NAS_E_CONFIG);
    cr_assert_eq(symlink("other", scratch("link")), 0);
    cr_assert_neq(nas_token_load(scratch("link"), again, &err), NAS_OK);
    scratch_put("short", "abc");
    cr_assert_eq(chmod(scratch("short"), 0600), 0);
    cr_assert_eq(nas_token_load(scratch("short"), again, &err), NAS_E_CONFIG);
    cr_assert_eq(nas_token_load(scratch("no/folder"), again, &err), NAS_E_IO);
}

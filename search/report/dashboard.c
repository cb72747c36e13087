/* Which request gets what: checks in their order, a table of routes, the views. */
#include "search/report/dashboard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "search/report/private.h"

enum { MAX_IDS = 2, MAX_TARGET = 128, CHOICES = 50 };

const char *const nas_dashboard_headers[][2] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cache-Control", "no-store"},
    {NULL, NULL},
};

void nas_answer_fini(nas_answer *answer)
{
    free(answer->body);
    *answer = (nas_answer){0};
}

/* Adds text to the body; for want of memory the answer becomes an error. */
static void put(nas_answer *out, const char *text, size_t size)
{
    char *grown = realloc(out->body, out->size + size + 1);

    if (grown == NULL) {
        nas_answer_fini(out);
        out->code = 500;
        out->type = "text/plain; charset=utf-8";
        return;
    }
    memcpy(grown + out->size, text, size);
    out->body = grown;
    out->size += size;
}

static void say(nas_answer *out, int code, const char *text)
{
    nas_answer_fini(out);
    out->code = code;
    out->type = "text/plain; charset=utf-8";
    put(out, text, strlen(text));
    put(out, "\n", 1);
}

/* ---- views ---- */

static void link_to(nas_html *html, const char *text, const char *view, int64_t id)
{
    nas_html_open(html, "a");
    if (id > 0)
        nas_html_attr(html, "href", "#%s-%lld", view, (long long)id);
    else
        nas_html_attr(html, "href", "#%s", view);
    nas_html_text(html, text);
    nas_html_close(html, "a");
    nas_html_text(html, " ");
}

/* Where the list goes on. */
static nas_status pages(nas_report__page *page, int64_t before, nas_err *err)
{
    int64_t counts[NAS_STORE_ANY_STATE], all = 0;
    const nas_status status = nas_store_run_counts(page->store, counts, err);
    nas_html *html = &page->html;

    if (status != NAS_OK)
        return status;
    for (int s = 0; s < NAS_STORE_ANY_STATE; s++)
        all += counts[s];
    nas_html_open(html, "p");
    nas_html_attr(html, "class", "pages");
    nas_html_textf(html, "%d of %lld runs. ", page->count, (long long)all);
    if (before > 0)
        link_to(html, "newest", "runs", 0);
    if (page->count == NAS_DASHBOARD_PAGE && page->runs[page->count - 1].about->id > 1)
        link_to(html, "older", "runs", page->runs[page->count - 1].about->id);
    nas_html_close(html, "p");
    return NAS_OK;
}

/* A page of the list: what a report says of all runs, of these. */
static nas_status view_runs(nas_report__page *page, nas_store_runs *runs, const int64_t *ids,
                            int count, nas_err *err)
{
    const int64_t before = count > 0 ? ids[0] : 0;
    nas_status status;

    if ((status = nas_store_run_list_before(page->store, before, NAS_DASHBOARD_PAGE, runs, err)) ||
        (status = nas_report__page_load(page, runs, NULL, 0, err)))
        return status;
    nas_report__overview(page);
    if ((status = pages(page, before, err)) != NAS_OK ||
        (status = nas_report__pareto(page, err)) != NAS_OK)
        return status;
    nas_report__cost(page);
    return NAS_OK;
}

/* Finds the runs that are named by their ids, in this order. */
static nas_status find_runs(nas_report__page *page, nas_store_runs *runs, const int64_t *ids,
                            int count, nas_err *err)
{
    runs->runs = calloc((size_t)count, sizeof *runs->runs);
    if (runs->runs == NULL)
        return nas_fail(err, NAS_E_NOMEM, "view: out of memory");
    for (int i = 0; i < count; i++) {
        nas_store_run *run = NULL;
        char id[24];

        snprintf(id, sizeof id, "%lld", (long long)ids[i]);
        const nas_status status = nas_store_run_get(page->store, id, &run, err);
        if (status != NAS_OK)
            return status;
        runs->runs[runs->count++] = *run; /* moved */
        free(run);
    }
    return nas_report__page_load(page, runs, NULL, 0, err);
}

/* Runs whose network this one's can be compared with: the newest others. */
static nas_status choice(nas_report__page *page, const nas_store_run *run, nas_err *err)
{
    nas_store_runs others;
    nas_html *html = &page->html;
    const nas_status status = nas_store_run_list_before(page->store, 0, CHOICES, &others, err);

    if (status != NAS_OK)
        return status;
    nas_html_open(html, "p");
    nas_html_open(html, "label");
    nas_html_text(html, "Compare its network with that of ");
    nas_html_open(html, "select");
    nas_html_attr(html, "id", "compare");
    nas_html_attr(html, "data-run", "%lld", (long long)run->id);
    nas_html_open(html, "option");
    nas_html_attr(html, "value", "%s", "");
    nas_html_text(html, "another run");
    nas_html_close(html, "option");
    for (int i = 0; i < others.count; i++) {
        if (others.runs[i].id == run->id)
            continue;
        nas_html_open(html, "option");
        nas_html_attr(html, "value", "%lld", (long long)others.runs[i].id);
        nas_html_text(html, others.runs[i].name);
        nas_html_close(html, "option");
    }
    nas_html_close(html, "select");
    nas_html_close(html, "label");
    nas_html_close(html, "p");
    nas_store_runs_fini(&others);
    return NAS_OK;
}

static nas_status view_run(nas_report__page *page, nas_store_runs *runs, const int64_t *ids,
                           int count, nas_err *err)
{
    nas_html *html = &page->html;
    nas_status status = find_runs(page, runs, ids, count, err);
    char state[64], when[25];

    if (status != NAS_OK)
        return status;
    const nas_store_run *run = page->runs[0].about;
    nas_html_open(html, "section");
    nas_html_element(html, "h2", NULL, "%s", run->name);
    nas_report__state_text(page, run, state);
    nas_clock_format(run->updated_ms, when);
    nas_html_element(html, "p", NULL, "%s: %s; epoch %lld; last written %.10s %.8s UTC; %s %s",
                     run->kind, state, (long long)run->epoch, when, when + 11, "by nas",
                     run->version);
    if ((status = choice(page, run, err)) == NAS_OK)
        status = nas_report__run_sections(page, &page->runs[0], err);
    nas_html_close(html, "section");
    return status;
}

static nas_status view_difference(nas_report__page *page, nas_store_runs *runs, const int64_t *ids,
                                  int count, nas_err *err)
{
    nas_status status = find_runs(page, runs, ids, count, err);

    page->drawn = page->count;
    if (status != NAS_OK || (status = nas_report__difference(page, err)) != NAS_OK)
        return status;
    if (page->html.size == 0)
        nas_report__nothing(&page->html, "One of these runs has no network that can be read.");
    return NAS_OK;
}

/* ---- routes ---- */

typedef nas_status view_fn(nas_report__page *page, nas_store_runs *runs, const int64_t *ids,
                           int count, nas_err *err);

/* Below /view/: the name, and the numbers of runs behind it. */
static const struct {
    const char *name;
    int least, most; /* numbers */
    view_fn *view;
} views[] = {{"runs", 0, 1, view_runs}, {"run", 1, 1, view_run},
             {"difference", 2, 2, view_difference}};

/* Files of the page, which hold no data; each is two texts one after another. */
static const struct {
    const char *target, *type, *texts[2];
} files[] = {
    {"/", "text/html; charset=utf-8", {nas_report__frame, ""}},
    {"/style.css", "text/css; charset=utf-8", {nas_report__style, nas_report__live_style}},
    {"/live.js", "text/javascript; charset=utf-8", {nas_report__script, nas_report__live_script}},
};

/* "/7/12" as numbers; false for anything else. */
static bool read_ids(const char *text, int64_t ids[MAX_IDS], int *count)
{
    for (*count = 0; *text == '/'; (*count)++) {
        const size_t digits = strspn(++text, "0123456789");

        if (digits == 0 || digits > 15 || *count == MAX_IDS)
            return false;
        ids[*count] = strtoll(text, NULL, 10);
        text += digits;
    }
    return *text == '\0';
}

/* What the store says when it cannot answer. */
static void say_failure(nas_answer *out, nas_status status, const nas_err *err)
{
    say(out, status == NAS_E_USAGE ? 404 : status == NAS_E_NOMEM ? 500 : 503, err->message);
}

static void answer_view(nas_dashboard *d, view_fn *view, const int64_t *ids, int count,
                        nas_answer *out)
{
    nas_report__page page = {.store = d->store, .now_ms = nas_clock_utc_ms()};
    nas_store_runs runs = {0};
    nas_err err = {0};
    nas_status status = view(&page, &runs, ids, count, &err);

    if (status == NAS_OK)
        status = nas_html_check(&page.html, &err);
    if (status == NAS_OK) {
        out->code = 200;
        out->type = "text/html; charset=utf-8";
        put(out, page.html.text, page.html.size);
    } else {
        say_failure(out, status, &err);
    }
    nas_report__page_fini(&page);
    nas_store_runs_fini(&runs);
}

static void answer_metrics(nas_dashboard *d, nas_answer *out)
{
    nas_err err = {0};
    char *text = NULL;
    const nas_status status = nas_report__metrics(d, &text, &err);

    if (status != NAS_OK) {
        say_failure(out, status, &err);
        return;
    }
    out->code = 200;
    out->type = "text/plain; version=0.0.4; charset=utf-8";
    out->body = text;
    out->size = strlen(text);
}

/* True if the token was given; takes the same time wherever a wrong one differs. */
static bool authorized(const nas_dashboard *d, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    const size_t length = strlen(d->token);
    unsigned char different = 0;

    if (authorization == NULL || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *given = authorization + sizeof scheme - 1;
    if (strlen(given) != length)
        return false;
    for (size_t i = 0; i < length; i++)
        different |= (unsigned char)(given[i] ^ d->token[i]);
    return different == 0;
}

/* An address of IPv6 stands in brackets in a header, and without them after --host. */
static bool same_name(const char *host, size_t length, const char *name)
{
    if (length > 2 && host[0] == '[' && host[length - 1] == ']' && name[0] != '[') {
        host++;
        length -= 2;
    }
    return strlen(name) == length && strncasecmp(host, name, length) == 0;
}

/* True for a name that is ours, with or without a port: a page of another site whose name was made
 * to lead here (DNS rebinding) has another. */
static bool is_own_host(const nas_dashboard *d, const char *host)
{
    static const char *const always[] = {"localhost", "127.0.0.1", "[::1]", NULL};
    const char *bracket = host != NULL && *host == '[' ? strchr(host, ']') : NULL;

    if (host == NULL)
        return false;
    const size_t length = bracket != NULL ? (size_t)(bracket - host) + 1 : strcspn(host, ":");
    const char *port = host + length;
    if (*port != '\0' && (*port != ':' || strlen(port) > 6 ||
                          strspn(port + 1, "0123456789") != strlen(port + 1)))
        return false;
    for (const char *const *name = always; *name != NULL; name++)
        if (same_name(host, length, *name))
            return true;
    for (const char *const *name = d->hosts; name != NULL && *name != NULL; name++)
        if (same_name(host, length, *name))
            return true;
    return false;
}

/* What holds data, and so asks for the token. */
static void answer_data(nas_dashboard *d, const nas_request *request, nas_answer *out)
{
    static const char root[] = "/view/";
    const char *target = request->target;
    int64_t ids[MAX_IDS];
    int count;

    if (!authorized(d, request->authorization)) {
        say(out, 401, "the token is missing or wrong: Authorization: Bearer TOKEN");
        return;
    }
    if (strcmp(target, "/metrics") == 0) {
        answer_metrics(d, out);
        return;
    }
    if (strcmp(target, "/events") == 0 && d->streams >= NAS_DASHBOARD_STREAMS) {
        say(out, 503, "too many watch already");
        return;
    }
    if (strcmp(target, "/events") == 0) {
        *out = (nas_answer){.code = 200, .type = "text/event-stream", .stream = true};
        return;
    }
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        const size_t length = strlen(views[i].name);

        if (strncmp(target, root, sizeof root - 1) == 0 &&
            strncmp(target + sizeof root - 1, views[i].name, length) == 0 &&
            read_ids(target + sizeof root - 1 + length, ids, &count) &&
            count >= views[i].least && count <= views[i].most) {
            answer_view(d, views[i].view, ids, count, out);
            return;
        }
    }
    say(out, 404, "there is no such page");
}

static void answer(nas_dashboard *d, const nas_request *r, nas_answer *out)
{
    if (strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0) {
        say(out, 405, "only GET and HEAD: the dashboard changes nothing");
        return;
    }
    if (r->odd || r->target[0] != '/' || strlen(r->target) > MAX_TARGET) {
        say(out, 400, "a request without a body for a page of this server is expected");
        return;
    }
    if (!is_own_host(d, r->host)) {
        say(out, 421, "this server is not called so: nas serve --allowed-host NAME");
        return;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(r->target, files[i].target) == 0) {
            *out = (nas_answer){.code = 200, .type = files[i].type};
            for (int k = 0; k < 2; k++)
                put(out, files[i].texts[k], strlen(files[i].texts[k]));
            return;
        }
    answer_data(d, r, out);
}

void nas_dashboard_answer(nas_dashboard *dashboard, const nas_request *request, nas_answer *out)
{
    *out = (nas_answer){0};
    answer(dashboard, request, out);
    dashboard->answers[out->code]++;
}

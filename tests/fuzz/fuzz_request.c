/* Fuzz target: any bytes as a request to the dashboard, a line a part: method, target, host,
 * authorization, and whether it is odd.  Data must never be given without the token or to a foreign
 * name, and the store must stay as it is. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "search/report/dashboard.h"

#define TOKEN "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/nas-fuzz-XXXXXX";
static nas_store *store;

static void clean_up(void)
{
    static const char *const names[] = {"store.db", "runs/1", "runs", ""};
    char path[64];

    nas_store_close(store);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
}

static void open_store(void)
{
    const nas_store_run_spec spec = {.kind = "search", .name = "mine", .config = "{}"};
    nas_store_attempt attempt;

    if (mkdtemp(folder) == NULL ||
        nas_store_open(&store, folder, NAS_STORE_CREATE, NULL) != NAS_OK ||
        nas_store_run_begin(store, &spec, &attempt, NULL) != NAS_OK ||
        nas_store_run_finish(store, attempt, NAS_STORE_DONE, NULL, NULL, NULL) != NAS_OK)
        abort();
    atexit(clean_up);
}

static bool is_file(const char *target)
{
    return strcmp(target, "/") == 0 || strcmp(target, "/style.css") == 0 ||
           strcmp(target, "/live.js") == 0;
}

static bool is_own(const char *host)
{
    return strncasecmp(host, "localhost", 9) == 0 || strncmp(host, "127.0.0.1", 9) == 0 ||
           strncmp(host, "[::1]", 5) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *parts[5] = {0}, *at = text;
    nas_dashboard dashboard = {.token = TOKEN, .version = "0"};
    nas_answer answer;

    if (store == NULL)
        open_store();
    if (text == NULL)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    for (int i = 0; i < 5 && at != NULL; i++)
        parts[i] = strsep(&at, "\n");
    const nas_request request = {.method = parts[0], .target = parts[1] != NULL ? parts[1] : "",
                                 .host = parts[2], .authorization = parts[3],
                                 .odd = parts[4] != NULL && *parts[4] == '1'};
    dashboard.store = store;
    nas_dashboard_answer(&dashboard, &request, &answer);
    const bool let_in = parts[3] != NULL && strncasecmp(parts[3], "Bearer ", 7) == 0 &&
                        strcmp(parts[3] + 7, TOKEN) == 0;
    if (answer.code == 200 && (request.odd || request.host == NULL || !is_own(request.host) ||
                               (!is_file(request.target) && !let_in)))
        abort();
    if (answer.code < 200 || answer.code > 599 || answer.type == NULL ||
        (answer.size > 0 && memchr(answer.body, '\0', answer.size) != NULL))
        abort();
    nas_answer_fini(&answer);
    free(text);
    return 0;
}

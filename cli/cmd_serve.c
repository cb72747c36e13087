/* nas serve - the store in a browser, live. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/version.h"
#include "search/report/serve.h"

enum { MAX_NAMES = 16 };

typedef struct serve_options {
    cli_common common;
    const char *host, *allowed_host, *token_file;
    int64_t port;
    double view_minutes;
    bool allow_remote;
} serve_options;

#define AT(field) offsetof(serve_options, field)

static const nas_option serve_table[] = {
    {"--host", NAS_OPT_STRING, AT(host), "127.0.0.1", 0, 0, NULL, "ADDRESS",
     "address to listen on"},
    {"--port", NAS_OPT_INT, AT(port), "8790", 0, 65535, NULL, "N",
     "port to listen on; 0: any that is free"},
    {"--allow-remote", NAS_OPT_FLAG, AT(allow_remote), NULL, 0, 0, NULL, NULL,
     "listen on an address that other machines reach; nothing is encrypted"},
    {"--allowed-host", NAS_OPT_STRING, AT(allowed_host), NULL, 0, 0, NULL, "NAME[,NAME...]",
     "names by which browsers may call it, beside localhost and --host"},
    {"--token-file", NAS_OPT_STRING, AT(token_file), NULL, 0, 0, NULL, "FILE",
     "where the token is kept; default: serve.token in the store"},
    {"--view-minutes", NAS_OPT_REAL, AT(view_minutes), "10", 0.01, 1440, NULL, "MIN",
     "until a page that is open must connect anew, which it does by itself"},
    {0},
};

typedef struct ready {
    const cli_context *context;
    const char *token, *token_file;
} ready;

/* The address is for a browser: what is behind the '#' is sent to nobody. */
static nas_status say_ready(void *user, const char *url, int port, nas_err *err)
{
    const ready *r = user;

    return cli_emit(r->context,
                    json_pack("{s:o, s:i, s:s}", "open", json_sprintf("%s#token=%s", url, r->token),
                              "port", port, "token_file", r->token_file), err);
}

/* Cuts "a,b" into names, --host among them; `text` (yours: free) holds them. */
static nas_status split_names(const serve_options *o, const char *names[MAX_NAMES + 1],
                              char **text, nas_err *err)
{
    char *rest = NULL;
    int count = 0;

    *text = o->allowed_host != NULL ? strdup(o->allowed_host) : calloc(1, 1);
    if (*text == NULL)
        return nas_fail(err, NAS_E_NOMEM, "serve: out of memory");
    names[count++] = o->host;
    for (char *name = strtok_r(*text, ",", &rest); name != NULL;
         name = strtok_r(NULL, ",", &rest)) {
        if (count == MAX_NAMES)
            return nas_fail(err, NAS_E_USAGE, "--allowed-host: at most %d names", MAX_NAMES - 1);
        names[count++] = name;
    }
    names[count] = NULL;
    return NAS_OK;
}

static nas_status serve_run(const cli_context *context, const void *options, nas_err *err)
{
    const serve_options *o = options;
    const char *names[MAX_NAMES + 1];
    char token[NAS_TOKEN_SIZE], *text = NULL;
    char *path = o->token_file != NULL ? strdup(o->token_file)
                                       : nas_path_join(o->common.store, "serve.token");
    nas_store *store = NULL;
    nas_status status = path != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "serve: out of memory");

    if (status != NAS_OK || (status = split_names(o, names, &text, err)) ||
        (status = nas_store_open(&store, o->common.store, NAS_STORE_READ, err)) ||
        (status = nas_token_load(path, token, err)))
        goto done;
    ready r = {.context = context, .token = token, .token_file = path};
    const nas_serve_options serve = {.host = o->host, .port = (int)o->port,
                                     .allow_remote = o->allow_remote, .names = names,
                                     .token = token, .version = NAS_VERSION,
                                     .view_ms = (int64_t)(60000.0 * o->view_minutes),
                                     .ready = say_ready,
                                     .user = &r};
    status = nas_serve(store, &serve, err);

done:
    nas_store_close(store);
    free(path);
    free(text);
    return status;
}

const cli_command cmd_serve = {
    .name = "serve", .summary = "the store in a browser, live; for Prometheus, too",
    .example = "serve --port 8790", .tables = {serve_table}, .size = sizeof(serve_options),
    .run = serve_run,
};

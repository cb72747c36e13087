/* A bug report: what helps to understand a failure, and nothing that is nobody's business. */
#include "cli/bug_report.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/system.h"
#include "cli/describe.h"
#include "search/store/jobs.h"

enum { RUNS = 10, JOBS = 10, MIN_SECRET = 4 };

extern char **environ;

/* -- what is taken out ------------------------------------------------------------------ */

/* Parts of names behind which people keep secrets. */
static const char *const secret_names[] = {"TOKEN", "KEY",    "SECRET", "PASS",   "AUTH",
                                           "CRED",  "COOKIE", "PRIVATE"};
enum { SECRET_NAMES = sizeof secret_names / sizeof *secret_names };

/* Case-insensitive search for any of them in text[0..size-1].  A "key" alone is one of a latency
 * table, of which errors speak. */
static bool is_secret_name(const char *text, size_t size)
{
    if (size == 3 && strncasecmp(text, "key", 3) == 0)
        return false;
    for (int i = 0; i < SECRET_NAMES; i++) {
        const size_t length = strlen(secret_names[i]);

        for (size_t at = 0; at + length <= size; at++)
            if (strncasecmp(text + at, secret_names[i], length) == 0)
                return true;
    }
    return false;
}

static void add_word(cli_redaction *r, const char *text, const char *instead)
{
    const int most = sizeof r->word / sizeof *r->word;

    if (text == NULL || strlen(text) < MIN_SECRET || r->count == most)
        return;
    int at = r->count++; /* longer ones first: one may be a part of another */
    for (; at > 0 && strlen(r->word[at - 1].text) < strlen(text); at--)
        r->word[at] = r->word[at - 1];
    r->word[at].text = text;
    r->word[at].instead = instead;
}

void cli_redaction_init(cli_redaction *r)
{
    r->count = 0;
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');

        if (equals != NULL && is_secret_name(*entry, (size_t)(equals - *entry)))
            add_word(r, equals + 1, "[secret]");
    }
    add_word(r, getenv("HOME"), "~");
    add_word(r, getenv("USER"), "[user]");
    add_word(r, getenv("LOGNAME"), "[user]");
    nas_system_host(r->host, sizeof r->host);
    add_word(r, r->host, "[host]");
}

/* Where a value that begins with `quote` behind so many backslashes ends: behind the same again. */
static size_t quoted_size(const char *text, size_t escapes, char quote)
{
    for (size_t at = escapes + 1; text[at] != '\0'; at++) {
        size_t before = 0;

        if (text[at] != quote)
            continue;
        while (before < at - escapes - 1 && text[at - 1 - before] == '\\')
            before++;
        if (before == escapes)
            return at + 1;
    }
    return strlen(text); /* rather too much than too little */
}

/* Bytes of a value, with the word before it that only says how it is used ("Bearer abc"). */
static size_t value_size(const char *text)
{
    static const char *const schemes[] = {"Bearer ", "Basic ", "Token "};
    static const char ends[] = "\"' \t\r\n;&";
    const size_t escapes = strspn(text, "\\");
    size_t at = 0;

    if (text[escapes] == '"' || text[escapes] == '\'')
        return quoted_size(text, escapes, text[escapes]);
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strncasecmp(text, schemes[i], strlen(schemes[i])) == 0)
            at = strlen(schemes[i]);
    while (text[at] != '\0' && strchr(ends, text[at]) == NULL) {
        /* what is escaped belongs to it, but not the quote around all of it */
        const bool escaped = text[at] == '\\' && text[at + 1] != '\0' &&
                             (strchr("\"'", text[at + 1]) == NULL ||
                              (text[at + 2] != '\0' && strchr(" ,]", text[at + 2]) == NULL));
        if (text[at] == '\\' && !escaped)
            break;
        at += escaped ? 2 : 1;
    }
    return at;
}

/* Bytes of a secret that is told at `text`: "password=hunter2", "token: abc", "--token abc",
 * "--token" "abc"; 0: there is none.  `*name` bytes of them are its name. */
static size_t told_secret(const char *text, const char *start, size_t *name)
{
    size_t at = 0;

    if (text > start && (isalnum((unsigned char)text[-1]) || text[-1] == '_'))
        return 0; /* inside a word */
    while (isalnum((unsigned char)text[at]) || text[at] == '_' || text[at] == '-')
        at++;
    if (!is_secret_name(text, at))
        return 0;
    const bool option = text - start >= 2 && text[-1] == '-' && text[-2] == '-';
    const size_t quotes = strspn(text + at, "\\\"'"), blanks = strspn(text + at + quotes, " ");

    at += quotes + blanks;
    const bool listed = option && quotes > 0 && text[at] == ',';
    if (text[at] == '=' || text[at] == ':' || listed)
        at++;
    else if (!option || blanks == 0)
        return 0;
    *name = at + strspn(text + at, " ");
    return *name + value_size(text + *name);
}

/* "user:password@" behind "://"; 0: there is none. */
static size_t credentials(const char *text)
{
    const size_t length = strcspn(text, "/@ \t\r\n\"'");

    return text[length] == '@' ? length : 0;
}

char *cli_redact(const cli_redaction *r, const char *text)
{
    char *out = NULL;
    size_t size;
    FILE *f = open_memstream(&out, &size);

    for (const char *at = text; f != NULL && *at != '\0';) {
        size_t skip = 0, name = 0;

        if (at - text >= 3 && strncmp(at - 3, "://", 3) == 0 && (skip = credentials(at)) > 0)
            fputs("[secret]", f);
        for (int i = 0; i < r->count && skip == 0; i++)
            if (strncmp(at, r->word[i].text, strlen(r->word[i].text)) == 0) {
                skip = strlen(r->word[i].text);
                fputs(r->word[i].instead, f);
            }
        if (skip == 0 && (skip = told_secret(at, text, &name)) > 0)
            fprintf(f, "%.*s[secret]", (int)name, at);
        if (skip == 0)
            fputc(at[skip++], f);
        at += skip;
    }
    if (f == NULL || fclose(f) != 0) {
        free(out);
        return NULL;
    }
    return out;
}

static json_t *redacted(const cli_redaction *r, json_t *value, nas_err *err)
{
    if (!json_is_string(value))
        return cli_redact_json(r, value, err) == NAS_OK ? json_incref(value) : NULL;
    char *text = cli_redact(r, json_string_value(value));
    json_t *string = text != NULL ? json_string(text) : NULL;
    free(text);
    return string;
}

/* "--token", whose value is the next word of a list. */
static bool is_secret_option(const json_t *word)
{
    const char *text = json_string_value(word);

    return text != NULL && strncmp(text, "--", 2) == 0 && strchr(text, '=') == NULL &&
           is_secret_name(text + 2, strlen(text + 2));
}

nas_status cli_redact_json(const cli_redaction *r, json_t *json, nas_err *err)
{
    const char *key;
    json_t *value;
    size_t i;
    int failed = 0;

    json_object_foreach(json, key, value) {
        json_t *instead;

        if (strcmp(key, "host") == 0) /* whose name may be too short to be looked for */
            instead = json_string("[host]");
        else if (is_secret_name(key, strlen(key)) && json_is_string(value))
            instead = json_string("[secret]");
        else
            instead = redacted(r, value, err);
        failed |= json_object_set_new(json, key, instead);
    }
    bool secret = false; /* the word before was an option that has one */
    json_array_foreach(json, i, value) {
        const bool told = is_secret_option(value);

        failed |= json_array_set_new(json, i, secret && !told ? json_string("[secret]")
                                                              : redacted(r, value, err));
        secret = told;
    }
    return failed ? nas_fail(err, NAS_E_NOMEM, "bug report: out of memory") : NAS_OK;
}

/* -- what is told ------------------------------------------------------------------------- */

/* Variables that change what the program does, and no others. */
static json_t *environment_json(void)
{
    static const char *const told[] = {"NAS_", "OMP_", "GOMP_", "OPENBLAS_", "LANG", "LC_",
                                       "TERM=", "NO_COLOR", "SLURM_JOB_ID", "COLUMNS"};
    json_t *object = json_object();

    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        char name[128];

        for (size_t i = 0; equals != NULL && i < sizeof told / sizeof *told; i++)
            if (strncmp(*entry, told[i], strlen(told[i])) == 0) {
                snprintf(name, sizeof name, "%.*s", (int)(equals - *entry), *entry);
                json_object_set_new(object, name, json_string(equals + 1));
                break;
            }
    }
    return object;
}

static void add_runs(json_t *report, nas_store *store)
{
    nas_store_runs runs = {0};
    json_t *rows = json_array();

    if (nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, RUNS, &runs, NULL) == NAS_OK)
        for (int i = 0; i < runs.count; i++) {
            json_t *row = cli_run_json(&runs.runs[i]);

            json_object_set_new(row, "error", runs.runs[i].error != NULL
                                                  ? json_string(runs.runs[i].error)
                                                  : json_null());
            json_array_append_new(rows, row);
        }
    nas_store_runs_fini(&runs);
    json_object_set_new(report, "runs", rows);
}

/* Those that did not get done, with the cause of their last attempt. */
static void add_jobs(json_t *report, nas_store *store)
{
    nas_jobs jobs = {0};
    json_t *rows = json_array();

    if (nas_store_jobs_list(store, NULL, NAS_JOB_ANY_STATE, 0, &jobs, NULL) == NAS_OK)
        for (int i = 0; i < jobs.count && json_array_size(rows) < JOBS; i++) {
            const nas_job *job = &jobs.jobs[i];
            nas_job_attempt *attempts = NULL;
            int count = 0;

            if (job->state == NAS_JOB_DONE || job->state == NAS_JOB_QUEUED ||
                nas_store_job_attempts(store, job->id, &attempts, &count, NULL) != NAS_OK ||
                count == 0)
                continue;
            const nas_job_attempt *last = &attempts[count - 1];
            json_array_append_new(
                rows, json_pack("{s:s, s:s, s:i, s:s, s:i, s:i, s:o}", "name", job->name, "state",
                                nas_job_state_name(job->state), "attempts", count, "cause",
                                last->cause, "exit_code", last->code, "signal", last->signal,
                                "args", cli_stored_json(job->args)));
            nas_job_attempts_free(attempts, count);
        }
    nas_jobs_fini(&jobs);
    json_object_set_new(report, "failed_jobs", rows);
}

nas_status cli_bug_report(const cli_context *context, const json_t *doctor, const char *path,
                          nas_err *err)
{
    json_t *report = json_deep_copy(doctor);
    cli_redaction redaction;
    nas_store *store = NULL;
    char now[25];
    nas_status status;

    if (report == NULL)
        return nas_fail(err, NAS_E_NOMEM, "bug report: out of memory");
    nas_clock_format(nas_clock_utc_ms(), now);
    json_object_set_new(report, "made", json_string(now));
    json_object_set_new(report, "environment", environment_json());
    if (nas_path_exists(context->common->store) &&
        nas_store_open(&store, context->common->store, NAS_STORE_READ, NULL) == NAS_OK) {
        add_runs(report, store);
        add_jobs(report, store);
    }
    nas_store_close(store);
    cli_redaction_init(&redaction);
    const mode_t mask = umask(077);
    if ((status = cli_redact_json(&redaction, report, err)) == NAS_OK)
        status = nas_json_save(report, path, err);
    umask(mask);
    json_decref(report);
    return status;
}

/* A file that only grows, line by line; one that is torn loses its last line. */
#include "latency/profile/journal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

enum { MAX_BYTES = 256 << 20 };

struct nas_journal {
    FILE *file;
    const char *path; /* borrowed */
};

typedef struct reader {
    const char *text;
    size_t size, at;
} reader;

/* The next whole line; false at the end. */
static bool next_line(reader *r, const char **line, size_t *size)
{
    const char *start = r->text + r->at, *end = memchr(start, '\n', r->size - r->at);

    if (end == NULL)
        return false;
    *line = start;
    *size = (size_t)(end - start);
    r->at += *size + 1;
    return true;
}

/* The first line names the job: {"onepath_journal":1,"job":"..."}. */
static nas_status read_head(reader *r, const char *path, const char *digest, bool *same,
                            nas_err *err)
{
    const char *line, *job = "";
    int64_t version;
    size_t size;
    json_t *json = NULL;
    nas_status status = NAS_OK;

    *same = false;
    if (r->size == 0)
        return NAS_OK; /* killed before the first line */
    if (!next_line(r, &line, &size) || nas_json_parse(&json, line, size, path, NULL) != NAS_OK ||
        nas_json_int(json, path, "onepath_journal", true, 1, 1, &version, NULL) != NAS_OK ||
        nas_json_str(json, path, "job", true, &job, NULL) != NAS_OK) {
        status = nas_fail(err, NAS_E_DATA, "%s: exists, but is no journal of this version", path);
        nas_hint(err, "remove it, or write the table under another name");
    }
    *same = strcmp(job, digest) == 0;
    json_decref(json);
    return status;
}

/* Returns how many bytes of the text make sense. */
static nas_status read_turns(reader *r, nas_facts *facts, bool *known, nas_journal_turn *turn,
                             void *user, size_t *good, nas_err *err)
{
    nas_line *parsed = malloc(sizeof *parsed);
    nas_status status = NAS_OK;
    int64_t turns = 0;
    const char *line;
    size_t size;

    if (parsed == NULL)
        return nas_fail(err, NAS_E_NOMEM, "profile: no memory to read its journal");
    for (*good = r->at; status == NAS_OK && next_line(r, &line, &size); *good = r->at) {
        if (nas_line__parse(parsed, line, size, NULL) != NAS_OK)
            break;
        if (!*known && parsed->kind == NAS_LINE_FACTS) {
            *known = true;
            *facts = parsed->facts;
        } else if (*known && parsed->kind == NAS_LINE_ANSWER &&
                   parsed->request.kind == NAS_REQUEST_TURN && parsed->request.number == turns) {
            turns++;
            status = turn(user, parsed, err);
        } else {
            break;
        }
    }
    free(parsed);
    return status;
}

static nas_status open_file(nas_journal *journal, size_t good, const char *digest, nas_err *err)
{
    journal->file = fopen(journal->path, good > 0 ? "r+e" : "we");
    if (journal->file == NULL || ftruncate(fileno(journal->file), (off_t)good) != 0 ||
        fseeko(journal->file, (off_t)good, SEEK_SET) != 0)
        return nas_fail_errno(err, "%s: cannot be written", journal->path);
    if (good == 0)
        fprintf(journal->file, "{\"onepath_journal\":1,\"job\":\"%s\"}\n", digest);
    return NAS_OK;
}

nas_status nas_journal__open(nas_journal **out, const char *path, const char *digest,
                             nas_facts *facts, bool *known, nas_journal_turn *turn, void *user,
                             nas_err *err)
{
    nas_journal *journal = calloc(1, sizeof *journal);
    reader r = {.text = NULL};
    char *text = NULL;
    size_t good = 0;
    bool same = false;
    nas_status status = NAS_OK;

    *out = NULL;
    *known = false;
    if (journal == NULL)
        return nas_fail(err, NAS_E_NOMEM, "profile: out of memory");
    journal->path = path;
    if (nas_path_exists(path)) {
        if ((status = nas_file_read(path, MAX_BYTES, &text, &r.size, err)) != NAS_OK)
            goto done;
        r.text = text;
        if ((status = read_head(&r, path, digest, &same, err)) != NAS_OK)
            goto done;
        if (same)
            status = read_turns(&r, facts, known, turn, user, &good, err);
        else if (r.size > 0)
            nas_log(NAS_LOG_WARN, "%s is of another profile, which is forgotten", path);
    }
    if (status == NAS_OK)
        status = open_file(journal, good, digest, err);

done:
    free(text);
    if (status == NAS_OK)
        *out = journal;
    else
        nas_journal__close(journal);
    return status;
}

static nas_status flush(nas_journal *journal, nas_err *err)
{
    if (fflush(journal->file) == 0 && !ferror(journal->file))
        return NAS_OK;
    return nas_fail_errno(err, "%s: cannot be written", journal->path);
}

nas_status nas_journal__put_facts(nas_journal *journal, const nas_facts *facts, nas_err *err)
{
    nas_line__put_facts(journal->file, facts);
    return flush(journal, err);
}

nas_status nas_journal__put_turn(nas_journal *journal, const nas_request *request, int slots,
                                 const nas_answer *answer, nas_err *err)
{
    nas_line__put_answer(journal->file, request, slots, answer);
    return flush(journal, err);
}

void nas_journal__close(nas_journal *journal)
{
    if (journal == NULL)
        return;
    if (journal->file != NULL)
        fclose(journal->file);
    free(journal);
}

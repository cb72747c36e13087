/* Jobs as lines of words: a device's program reads them, which has no JSON. */
#include "latency/profile/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 3, MAX_WORDS = NAS_MAX_SLOTS + 2 };

static const char head[] = "onepath.profile";

/* ------------------------------------------------------------------ writer */

static void put_op(FILE *f, const nas_op_spec *op)
{
    fprintf(f, "op %s %d %d %d %d %d %d %.9g %s %d %d %d\n", nas_op_spec_name(op), op->in,
            op->out, op->kernel, op->stride, op->groups, op->mid, (double)op->expand,
            nas_act_name(op->act), op->se, op->bn, op->bias);
}

nas_status nas_job__text(char **text, size_t *size, const nas_job *job, const nas_space *space,
                         nas_err *err)
{
    FILE *f = open_memstream(text, size);

    if (f != NULL) {
        fprintf(f, "%s %d\nthreads %d\ncores %s\nseed %llu\nwarm_seconds %.9g\n", head, VERSION,
                job->threads, job->cores, (unsigned long long)job->seed, job->warm_seconds);
        fprintf(f, "image %d %d\nclasses %d\nslots %d\n", space->image_size, space->channels,
                space->classes, space->count);
        for (int s = 0; s < space->count; s++) {
            fprintf(f, "slot %d %d\n", space->slots[s].count, space->slots[s].shortcut);
            for (int c = 0; c < space->slots[s].count; c++)
                put_op(f, &space->slots[s].candidates[c]);
        }
        fputs("probe", f);
        for (int s = 0; s < space->count; s++)
            fprintf(f, " %d", job->probe[s]);
        fputs("\nend\n", f);
        const bool failed = ferror(f);
        if (fclose(f) == 0 && !failed)
            return NAS_OK;
        free(*text);
    }
    return nas_fail(err, NAS_E_NOMEM, "profile: no memory for the job of a device");
}

/* ------------------------------------------------------------------ reader */

typedef struct reader {
    char *at, *end;  /* what is left of the text */
    int line;
    char *word[MAX_WORDS];
    int words;
    nas_err *err;
} reader;

/* Splits the next line at single blanks; it must begin with `name` and have `words` words. */
static nas_status next_line(reader *r, const char *name, int words)
{
    char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));

    r->line++;
    if (stop == NULL)
        return nas_fail(r->err, NAS_E_DATA, "job:%d: it is cut off", r->line);
    *stop = '\0';
    r->words = 0;
    char *rest = r->at;
    while (rest != NULL && r->words < MAX_WORDS)
        r->word[r->words++] = strsep(&rest, " ");
    r->at = stop + 1;
    if (strcmp(r->word[0], name) != 0 || r->words != words)
        return nas_fail(r->err, NAS_E_DATA, "job:%d: expected '%s' and %d values", r->line, name,
                        words - 1);
    return NAS_OK;
}

static nas_status read_int(reader *r, int word, int64_t min, int64_t max, int64_t *out)
{
    const char *text = r->word[word];
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || *out < min || *out > max)
        return nas_fail(r->err, NAS_E_DATA, "job:%d: '%.40s' is not a whole number in %lld..%lld",
                        r->line, text, (long long)min, (long long)max);
    return NAS_OK;
}

static nas_status read_real(reader *r, int word, double max, double *out)
{
    const char *text = r->word[word];
    char *end;

    *out = strtod(text, &end);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || !(*out >= 0.0 && *out <= max))
        return nas_fail(r->err, NAS_E_DATA, "job:%d: '%.40s' is not a number in 0..%g", r->line,
                        text, max);
    return NAS_OK;
}

/* "name N": one whole number. */
static nas_status read_setting(reader *r, const char *name, int64_t min, int64_t max, int64_t *out)
{
    const nas_status status = next_line(r, name, 2);

    return status != NAS_OK ? status : read_int(r, 1, min, max, out);
}

static nas_status read_op(reader *r, nas_op_spec *op)
{
    enum { TYPE = 1, IN, OUT, KERNEL, STRIDE, GROUPS, MID, EXPAND, ACT, SE, BN, BIAS, WORDS };
    const struct {
        int word;
        int64_t max;
        int *out;
    } numbers[] = {{IN, 65536, &op->in},       {OUT, 65536, &op->out},
                   {KERNEL, 1024, &op->kernel}, {STRIDE, 1024, &op->stride},
                   {GROUPS, 65536, &op->groups}, {MID, 65536, &op->mid},
                   {SE, 65536, &op->se}};
    int64_t value;
    double expand;
    nas_status status = next_line(r, "op", WORDS);

    if (status != NAS_OK)
        return status;
    *op = (nas_op_spec){.type = nas_op_find(r->word[TYPE])};
    const int act = nas_act_find(r->word[ACT]);
    if (op->type >= NAS_OP_OWN || act < 0) /* a device has no operations of others */
        return nas_fail(r->err, NAS_E_DATA, "job:%d: operation '%.40s' or activation '%.40s' is "
                        "unknown", r->line, r->word[TYPE], r->word[ACT]);
    op->act = (nas_act)act;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if ((status = read_int(r, numbers[i].word, 0, numbers[i].max, &value)) != NAS_OK)
            return status;
        *numbers[i].out = (int)value;
    }
    if ((status = read_real(r, EXPAND, 1024.0, &expand)) != NAS_OK)
        return status;
    op->expand = (float)expand;
    if ((status = read_int(r, BN, 0, 1, &value)) != NAS_OK)
        return status;
    op->bn = value != 0;
    if ((status = read_int(r, BIAS, 0, 1, &value)) != NAS_OK)
        return status;
    op->bias = value != 0;
    return NAS_OK;
}

static nas_status read_slot(reader *r, nas_space *space)
{
    nas_op_spec candidates[NAS_MAX_CANDIDATES];
    int64_t count, shortcut;
    nas_status status = next_line(r, "slot", 3);

    if (status != NAS_OK || (status = read_int(r, 1, 1, NAS_MAX_CANDIDATES, &count)) != NAS_OK ||
        (status = read_int(r, 2, 0, 1, &shortcut)) != NAS_OK)
        return status;
    for (int c = 0; c < count; c++)
        if ((status = read_op(r, &candidates[c])) != NAS_OK)
            return status;
    return nas_space_add_slot(space, candidates, (int)count, shortcut != 0, -1, r->err);
}

static nas_status read_cores(reader *r, nas_job *job)
{
    nas_cores cores;

    if (nas_cores__parse(&cores, r->word[1], NULL) != NAS_OK)
        return nas_fail(r->err, NAS_E_DATA, "job:%d: '%.40s' are no cores", r->line, r->word[1]);
    memcpy(job->cores, cores.text, sizeof job->cores);
    return NAS_OK;
}

static nas_status read_head(reader *r, nas_job *job, nas_space *space, int64_t *slots)
{
    int64_t version, threads, seed, side, channels, classes;
    nas_status status = read_setting(r, head, 1, INT32_MAX, &version);

    if (status != NAS_OK)
        return status;
    if (version != VERSION)
        return nas_fail(r->err, NAS_E_DATA, "job:1: version %lld, this program knows %d",
                        (long long)version, VERSION);
    if ((status = read_setting(r, "threads", 0, 1024, &threads)) ||
        (status = next_line(r, "cores", 2)) || (status = read_cores(r, job)) ||
        (status = read_setting(r, "seed", 0, INT64_MAX, &seed)) ||
        (status = next_line(r, "warm_seconds", 2)) ||
        (status = read_real(r, 1, 1e7, &job->warm_seconds)) ||
        (status = next_line(r, "image", 3)) ||
        (status = read_int(r, 1, 1, NAS_MAX_IMAGE_SIZE, &side)) ||
        (status = read_int(r, 2, 1, 65536, &channels)) ||
        (status = read_setting(r, "classes", 1, 65536, &classes)) ||
        (status = read_setting(r, "slots", 1, NAS_MAX_SLOTS, slots)))
        return status;
    job->threads = (int)threads;
    job->seed = (uint64_t)seed;
    space->image_size = (int)side;
    space->channels = (int)channels;
    space->classes = (int)classes;
    space->bn_eps = 1e-3f; /* does not matter to time */
    return NAS_OK;
}

static nas_status read_probe(reader *r, nas_job *job, const nas_space *space)
{
    nas_status status = next_line(r, "probe", 1 + space->count);

    for (int s = 0; s < space->count && status == NAS_OK; s++) {
        int64_t choice = 0;

        status = read_int(r, 1 + s, 0, space->slots[s].count - 1, &choice);
        job->probe[s] = (int)choice;
    }
    return status;
}

static nas_status read_job(reader *r, nas_job *job, nas_space *space)
{
    int64_t slots = 0;
    nas_status status = read_head(r, job, space, &slots);

    for (int64_t s = 0; s < slots && status == NAS_OK; s++)
        status = read_slot(r, space);
    if (status != NAS_OK || (status = read_probe(r, job, space)) ||
        (status = next_line(r, "end", 1)))
        return status;
    if (r->at != r->end)
        return nas_fail(r->err, NAS_E_DATA, "job:%d: something follows its end", r->line + 1);
    status = nas_space_check(space, r->err);
    if (status != NAS_OK)
        nas_err_prefix(r->err, "job");
    return status;
}

nas_status nas_job__parse(nas_job *job, nas_space **space, const char *text, size_t size,
                          nas_err *err)
{
    char *copy = malloc(size + 1);
    nas_space *made = nas_space_new(err);
    reader r = {.at = copy, .end = copy + size, .err = err};
    nas_status status = NAS_E_NOMEM;

    *space = NULL;
    if (copy == NULL)
        nas_fail(err, NAS_E_NOMEM, "job: no memory to read it");
    else if (memchr(text, '\0', size) != NULL)
        status = nas_fail(err, NAS_E_DATA, "job: holds a NUL character");
    else if (made != NULL) {
        memcpy(copy, text, size);
        status = read_job(&r, job, made);
    }
    free(copy);
    if (status == NAS_OK)
        *space = made;
    else
        nas_space_free(made);
    return status;
}

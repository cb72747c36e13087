/* sbatch, squeue, scancel and sacct as programs; their answers are read defensively. */
#include "search/jobs/slurm.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"

static const double command_seconds = 60;

enum { MAX_TASKS = 1000000 /* that squeue may tell of */ };

/* ---- scripts ---- */

static nas_status check_name(const char *text, const char *option, nas_err *err)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._,:+@-";

    if (!text || (*text && *text != '-' && strlen(text) <= 256 &&
                  strspn(text, allowed) == strlen(text)))
        return NAS_OK;
    nas_fail(err, NAS_E_CONFIG, "%s '%.64s': not a name that Slurm could know", option, text);
    nas_hint(err, "use letters, digits and . _ , : + @ -, and no '-' in front");
    return NAS_E_CONFIG;
}

nas_status nas_slurm_check(const nas_slurm_options *o, nas_err *err)
{
    nas_status status;

    if ((status = check_name(o->partition, "--partition", err)) ||
        (status = check_name(o->account, "--account", err)))
        return status;
    return check_name(o->qos, "--qos", err);
}

/* A path as one word of sh: between single quotes everything but these stands for itself. */
static nas_status quote(FILE *out, const char *path, nas_err *err)
{
    for (const char *c = path; *c; c++)
        if (iscntrl((unsigned char)*c)) {
            nas_fail(err, NAS_E_CONFIG, "%s: a path with a control character cannot stand in a "
                     "script", path);
            nas_hint(err, "give the folder another name");
            return NAS_E_CONFIG;
        }
    fputc('\'', out);
    for (const char *c = path; *c; c++)
        if (*c == '\'')
            fputs("'\\''", out);
        else
            fputc(*c, out);
    fputc('\'', out);
    return NAS_OK;
}

static void write_needs(FILE *out, const nas_slurm_options *o, const nas_slurm_array *a)
{
    fprintf(out, "#!/bin/sh\n#SBATCH --job-name=%s\n#SBATCH --array=0-%d", a->name, a->count - 1);
    if (o->at_once > 0)
        fprintf(out, "%%%" PRId64, o->at_once);
    fprintf(out, "\n#SBATCH --nodes=1\n#SBATCH --ntasks=1\n#SBATCH --cpus-per-task=%d\n", a->cores);
    if (a->memory_mib > 0)
        fprintf(out, "#SBATCH --mem=%" PRId64 "M\n", a->memory_mib);
    if (o->minutes > 0)
        fprintf(out, "#SBATCH --time=%" PRId64 "\n", o->minutes);
    if (o->partition)
        fprintf(out, "#SBATCH --partition=%s\n", o->partition);
    if (o->account)
        fprintf(out, "#SBATCH --account=%s\n", o->account);
    if (o->qos)
        fprintf(out, "#SBATCH --qos=%s\n", o->qos);
    fprintf(out, "#SBATCH --signal=B:USR1@%" PRId64 "\n#SBATCH --requeue\n"
            "#SBATCH --output=/dev/null\n", o->warn_s);
}

nas_status nas_slurm_script(char **out, const nas_slurm_options *options,
                            const nas_slurm_array *array, nas_err *err)
{
    size_t size;
    nas_status status = nas_slurm_check(options, err);

    *out = NULL;
    if (status)
        return status;
    FILE *file = open_memstream(out, &size);
    if (!file)
        return nas_fail(err, NAS_E_NOMEM, "script");
    write_needs(file, options, array);
    fputs("exec ", file);
    status = quote(file, array->program, err);
    fputs(" jobs task ", file);
    status = status ? status : quote(file, array->batch, err);
    fputs(" >>", file);
    status = status ? status : quote(file, array->log, err);
    fputs(" 2>&1\n", file);
    if ((ferror(file) | fclose(file)) != 0 && !status)
        status = nas_fail(err, NAS_E_NOMEM, "script");
    if (status) {
        free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- commands ---- */

nas_status nas_slurm_available(nas_err *err)
{
    static const char *const argv[] = {"sbatch", "--version", NULL};
    const nas_status status = nas_process_run(argv, NULL, command_seconds, NULL, 0, err);

    if (status)
        nas_hint(err, "run this where Slurm's commands are, or on this machine: --on local");
    return status;
}

nas_status nas_slurm_submit(const char *script, int64_t *id, nas_err *err)
{
    const char *const argv[] = {"sbatch", "--parsable", script, NULL};
    char answer[128] = "", *end;
    const nas_status status = nas_process_run(argv, NULL, command_seconds, answer, sizeof answer,
                                              err);

    if (status)
        return status;
    *id = strtoll(answer, &end, 10); /* "<id>" or "<id>;<cluster>" */
    return *id > 0 && end > answer ? NAS_OK
                                   : nas_fail(err, NAS_E_IO, "sbatch answered '%.60s', not with "
                                              "the id of a job", answer);
}

nas_status nas_slurm_cancel(int64_t id, int task, nas_err *err)
{
    char which[64];
    const char *const argv[] = {"scancel", which, NULL};

    snprintf(which, sizeof which, "%" PRId64 "_%d", id, task);
    return nas_process_run(argv, NULL, command_seconds, NULL, 0, err);
}

/* What the words of squeue and sacct mean; every other one is a state of running. */
static nas_slurm_state meaning(const char *word, nas_job_cause *cause)
{
    static const struct {
        const char *word;
        nas_job_cause cause;
    } ends[] = {{"COMPLETED", NAS_CAUSE_KILLED}, /* it would have said how it ended */
                {"FAILED", NAS_CAUSE_KILLED}, {"CANCELLED", NAS_CAUSE_CANCELLED},
                {"TIMEOUT", NAS_CAUSE_INTERRUPTED}, {"PREEMPTED", NAS_CAUSE_INTERRUPTED},
                {"OUT_OF_MEMORY", NAS_CAUSE_MEMORY}, {"NODE_FAIL", NAS_CAUSE_KILLED},
                {"BOOT_FAIL", NAS_CAUSE_KILLED}, {"DEADLINE", NAS_CAUSE_TIME_LIMIT},
                {"REVOKED", NAS_CAUSE_KILLED}};

    *cause = NAS_CAUSE_COUNT;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(word, ends[i].word) == 0) {
            *cause = ends[i].cause;
            return NAS_SLURM_ENDED;
        }
    return strcmp(word, "PENDING") == 0 || strcmp(word, "REQUEUED") == 0 ? NAS_SLURM_PENDING
                                                                        : NAS_SLURM_RUNNING;
}

bool nas_slurm_parse(const char *line, nas_slurm_task *out)
{
    char state[32], name[NAS_STORE_NAME_SIZE];
    long long id;
    int task, end = 0;

    if (sscanf(line, "%18lld|%9d|%31[A-Z_]|%64[A-Za-z0-9._-]%n", &id, &task, state, name,
               &end) != 4 ||
        line[end] != '\0' || id < 1 || task < 0)
        return false;
    *out = (nas_slurm_task){.id = id, .task = task};
    out->state = meaning(state, &out->cause);
    snprintf(out->name, sizeof out->name, "%s", name);
    return true;
}

static nas_status add_task(nas_slurm_task **list, int *count, int *room, const nas_slurm_task *task,
                           nas_err *err)
{
    if (*count == *room) {
        const int more = 2 * *room + 64;
        nas_slurm_task *grown = more <= MAX_TASKS ? realloc(*list, (size_t)more * sizeof *grown)
                                                  : NULL;
        if (!grown)
            return nas_fail(err, NAS_E_NOMEM, "squeue: %d tasks", *count);
        *list = grown;
        *room = more;
    }
    (*list)[(*count)++] = *task;
    return NAS_OK;
}

nas_status nas_slurm_list(nas_slurm_task **out, int *count, nas_err *err)
{
    static const char *const argv[] = {"squeue", "--me", "--array", "--noheader", "--states=all",
                                       "--format=%F|%K|%T|%j", NULL};
    nas_process *process = NULL;
    nas_process_event event = NAS_PROCESS_LINE;
    const char *line;
    size_t size;
    int room = 0;
    nas_status status = nas_process_start(&process, argv, NULL, err);

    *out = NULL;
    *count = 0;
    while (!status && event == NAS_PROCESS_LINE) {
        nas_slurm_task task;

        status = nas_process_line(process, command_seconds, &event, &line, &size, err);
        if (!status && event == NAS_PROCESS_LINE && nas_slurm_parse(line, &task))
            status = add_task(out, count, &room, &task, err);
    }
    if (!status && event == NAS_PROCESS_QUIET)
        status = nas_fail(err, NAS_E_IO, "squeue: no answer");
    char complaint[256] = "";
    if (process)
        snprintf(complaint, sizeof complaint, "%s", nas_process_complaint(process));
    const int code = nas_process_end(process);
    if (!status && code != 0)
        status = nas_fail(err, NAS_E_IO, "squeue: exit code %d: %s", code, complaint);
    if (status) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return status;
}

bool nas_slurm_ended(int64_t id, int task, nas_job_cause *cause)
{
    char which[64], word[64] = "";
    const char *const argv[] = {"sacct", "--noheader", "--parsable2", "--allocations",
                                "--format=State", "-j", which, NULL};

    snprintf(which, sizeof which, "%" PRId64 "_%d", id, task);
    if (nas_process_run(argv, NULL, command_seconds, word, sizeof word, NULL) != NAS_OK)
        return false;
    word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_")] = '\0'; /* "CANCELLED by 1000" */
    return meaning(word, cause) == NAS_SLURM_ENDED;
}

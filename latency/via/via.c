/* The kinds of links by name; the life of a link. */
#include "latency/via/via.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "latency/via/private.h"

static const nas_via_kind *const kinds[] = {&nas_via__exec, &nas_via__ssh, &nas_via__adb};

enum { KINDS = sizeof kinds / sizeof *kinds };

nas_status nas_via_parse(nas_via *out, const char *text, nas_err *err)
{
    const size_t length = strcspn(text, ":");
    const char *target = text[length] == ':' ? text + length + 1 : "";

    *out = (nas_via){.text = text};
    if (strcmp(text, "local") == 0)
        return NAS_OK;
    for (int i = 0; i < KINDS && out->kind == NULL; i++)
        if (strlen(kinds[i]->name) == length && strncmp(kinds[i]->name, text, length) == 0)
            out->kind = kinds[i];
    if (out->kind == NULL) {
        nas_fail(err, NAS_E_USAGE, "--via %.60s: no such way to a device", text);
        nas_hint(err, "local, exec:COMMAND, ssh:HOST, adb or adb:SERIAL");
        return NAS_E_USAGE;
    }
    if ((*target == '\0' && (out->kind->target_needed || text[length] == ':')) ||
        strlen(target) >= sizeof out->target)
        return nas_fail(err, NAS_E_USAGE, "--via %.60s: needs its %s, of at most %zu bytes",
                        text, out->kind->target, sizeof out->target - 1);
    memcpy(out->target, target, strlen(target) + 1);
    return out->kind->check(out, err);
}

/* A folder of our own with the job in it. */
static nas_status stage_job(nas_link *link, const char *job, size_t size, nas_err *err)
{
    snprintf(link->folder, sizeof link->folder, "%s/nas-profile-XXXXXX", P_tmpdir);
    if (mkdtemp(link->folder) == NULL) {
        link->folder[0] = '\0';
        return nas_fail_errno(err, "%s: cannot make a folder for the job", P_tmpdir);
    }
    snprintf(link->job, sizeof link->job, "%s/job", link->folder);
    return nas_file_write(link->job, job, size, err);
}

/* Its full path: commands that run it need not look where we do. */
static nas_status find_program(nas_link *link, const char *program, nas_err *err)
{
    char *full = realpath(program, NULL);

    if (full == NULL)
        return nas_fail_errno(err, "%.300s: the program for the device", program);
    const int length = snprintf(link->program, sizeof link->program, "%s", full);
    free(full);
    return length < (int)sizeof link->program
               ? NAS_OK
               : nas_fail(err, NAS_E_CONFIG, "%.100s...: the path is too long", program);
}

nas_status nas_link_open(nas_link **out, const nas_via *via, const char *job, size_t size,
                         nas_err *err)
{
    const char *argv[NAS_LINK_MAX_ARGS + 1] = {NULL};
    nas_link *link = calloc(1, sizeof *link);
    nas_status status;

    *out = NULL;
    if (link == NULL)
        return nas_fail(err, NAS_E_NOMEM, "profile: out of memory");
    link->via = via;
    if ((status = find_program(link, via->program, err)) ||
        (status = stage_job(link, job, size, err)) ||
        (status = via->kind->prepare(link, err)))
        goto done;
    via->kind->start(link, argv);
    status = nas_process_talk(&link->process, argv, err);

done:
    if (status == NAS_OK)
        *out = link;
    else
        nas_link_close(link);
    return status;
}

void nas_link_close(nas_link *link)
{
    if (link == NULL)
        return;
    nas_process_end(link->process);
    if (link->there[0] != '\0')
        link->via->kind->clean(link);
    if (link->folder[0] != '\0') {
        unlink(link->job);
        rmdir(link->folder);
    }
    free(link);
}

nas_process *nas_link_process(const nas_link *link)
{
    return link->process;
}

const char *nas_link_model(const nas_link *link)
{
    return link->model;
}

/* ------------------------------------------------------------------ exec */

/* The command's words; quotes mean nothing, so that no shell's rules need to be known. */
static nas_status check_exec(nas_via *via, nas_err *err)
{
    char *rest = via->target, *word;
    int count = 0;

    while ((word = strtok_r(count == 0 ? via->target : NULL, " ", &rest)) != NULL) {
        if (count == NAS_VIA_MAX_WORDS)
            return nas_fail(err, NAS_E_USAGE, "--via exec: more than %d words", NAS_VIA_MAX_WORDS);
        via->words[count++] = word;
    }
    return count > 0 ? NAS_OK : nas_fail(err, NAS_E_USAGE, "--via exec: an empty command");
}

static nas_status prepare_exec(nas_link *link, nas_err *err)
{
    return NAS_OK;
}

static void start_exec(nas_link *link, const char **argv)
{
    int count = 0;

    for (; link->via->words[count] != NULL; count++)
        argv[count] = link->via->words[count];
    argv[count++] = link->program;
    argv[count] = link->job;
}

const nas_via_kind nas_via__exec = {
    .name = "exec", .target = "COMMAND", .target_needed = true, .check = check_exec,
    .prepare = prepare_exec, .start = start_exec,
};

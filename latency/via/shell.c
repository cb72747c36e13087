/* Devices that have a shell at the other end: ssh and adb.
 *
 * Every text that reaches that shell is made here of fixed words and six letters; host and serial
 * number only ever are arguments of ssh and adb. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "latency/via/private.h"

static const double ask_seconds = 60, push_seconds = 300, clean_seconds = 10;

/* A name that cannot be taken for an option. */
static nas_status check_name(nas_via *via, nas_err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@[]%/";

    if (via->target[0] != '-' && via->target[strspn(via->target, allowed)] == '\0')
        return NAS_OK;
    return nas_fail(err, NAS_E_USAGE, "--via %s: '%.100s' is no name of a device", via->kind->name,
                    via->target);
}

/* ------------------------------------------------------------------ the program's machine */

typedef struct machine {
    unsigned elf;     /* e_machine of ELF files */
    const char *name; /* as uname -m says       */
} machine;

static const machine machines[] = {
    {183, "aarch64"}, {62, "x86_64"}, {40, "armv7l"}, {40, "armv8l"}, {243, "riscv64"},
};

/* NAS_E_CONFIG if the program is known to be for another machine than `name`. */
static nas_status check_machine(const char *program, const char *name, nas_err *err)
{
    const char *made_for = NULL;
    unsigned char head[20];
    FILE *file = fopen(program, "re");
    const size_t got = file != NULL ? fread(head, 1, sizeof head, file) : 0;

    if (file != NULL)
        fclose(file);
    if (got < sizeof head || memcmp(head, "\177ELF", 4) != 0)
        return nas_fail(err, NAS_E_DATA, "%.300s: no program for a device (not an ELF file)",
                        program);
    const unsigned elf = head[18] | (unsigned)head[19] << 8;
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
        if (machines[i].elf == elf) {
            made_for = machines[i].name;
            if (strcmp(made_for, name) == 0)
                return NAS_OK;
        }
    nas_fail(err, NAS_E_CONFIG, "%.300s is for %s, but the device is %.40s", program,
             made_for != NULL ? made_for : "another machine", name);
    nas_hint(err, "name one that is built for it: --program FILE");
    return NAS_E_CONFIG;
}

/* ------------------------------------------------------------------ ssh and adb */

typedef struct shell {
    void (*run)(const nas_link *link, const char *command, const char **argv);
    nas_status (*push)(const nas_link *link, const char *from, const char *to, nas_err *err);
    const char *root, *hint;
} shell;

static void ssh_run(const nas_link *link, const char *command, const char **argv)
{
    static const char *const options[] = {"ssh", "-o", "ConnectTimeout=15", "-o",
                                          "ServerAliveInterval=5", "-o",
                                          "ServerAliveCountMax=3", "--"};
    const size_t count = sizeof options / sizeof *options;

    memcpy(argv, options, sizeof options);
    argv[count] = link->via->target;
    argv[count + 1] = command;
    argv[count + 2] = NULL;
}

static nas_status ssh_push(const nas_link *link, const char *from, const char *to, nas_err *err)
{
    const char *argv[NAS_LINK_MAX_ARGS + 1];
    char command[128];

    snprintf(command, sizeof command, "cat >%s", to);
    ssh_run(link, command, argv);
    return nas_process_run(argv, from, push_seconds, NULL, 0, err);
}

static int adb_begin(const nas_link *link, const char *verb, const char **argv)
{
    int count = 0;

    argv[count++] = "adb";
    if (link->via->target[0] != '\0') {
        argv[count++] = "-s";
        argv[count++] = link->via->target;
    }
    argv[count++] = verb;
    return count;
}

static void adb_run(const nas_link *link, const char *command, const char **argv)
{
    const int count = adb_begin(link, "shell", argv);

    argv[count] = command;
    argv[count + 1] = NULL;
}

static nas_status adb_push(const nas_link *link, const char *from, const char *to, nas_err *err)
{
    const char *argv[NAS_LINK_MAX_ARGS + 1];
    const int count = adb_begin(link, "push", argv);

    argv[count] = from;
    argv[count + 1] = to;
    argv[count + 2] = NULL;
    return nas_process_run(argv, NULL, push_seconds, NULL, 0, err);
}

static const shell ssh = {
    ssh_run, ssh_push, ".onepath-profile",
    "does 'ssh HOST true' work without asking for a password?",
};
static const shell adb = {
    adb_run, adb_push, "/data/local/tmp/onepath-profile",
    "'adb devices' lists what is attached; of several, name one: --via adb:SERIAL",
};

static const shell *shell_of(const nas_link *link)
{
    return link->via->kind == &nas_via__ssh ? &ssh : &adb;
}

static nas_status ask(nas_link *link, const char *command, double seconds, char *answer,
                      size_t size, nas_err *err)
{
    const char *argv[NAS_LINK_MAX_ARGS + 1];

    shell_of(link)->run(link, command, argv);
    const nas_status status = nas_process_run(argv, NULL, seconds, answer, size, err);
    if (status != NAS_OK)
        nas_hint(err, "%s", shell_of(link)->hint);
    return status;
}

static nas_status push(nas_link *link, const char *from, const char *name, nas_err *err)
{
    char to[96];

    snprintf(to, sizeof to, "%s/%s", link->there, name);
    const nas_status status = shell_of(link)->push(link, from, to, err);
    if (status != NAS_OK) {
        nas_err_prefix(err, "cannot bring %s to the device", name);
        nas_hint(err, "is there room for 2 MB at %s?", link->there);
    }
    return status;
}

/* Between marks: the shell's start-up files may say something, too.  What was being brought when its
 * owner was killed goes; a program that runs needs its files no more. */
static nas_status ask_machine(nas_link *link, char machine_name[64], nas_err *err)
{
    static const char mark[] = "onepath:";
    char command[320], answer[2048];
    nas_status status;

    snprintf(command, sizeof command,
             "find %s-* -maxdepth 0 -mmin +15 -exec rm -rf {} + 2>/dev/null; mkdir -p %s && "
             "echo onepath:$(uname -m):$(getprop ro.product.model 2>/dev/null):",
             shell_of(link)->root, link->there);
    if ((status = ask(link, command, ask_seconds, answer, sizeof answer, err)) != NAS_OK)
        return status;
    const char *found = strstr(answer, mark), *name = found != NULL ? found + strlen(mark) : "";
    const char *model = name + strcspn(name, ":\n");
    const size_t size = *model == ':' ? strcspn(model + 1, ":\n") : 0;
    if (*model != ':' || model[1 + size] != ':') /* a link that ends can look like success */
        return nas_fail(err, NAS_E_IO, "the device does not say what machine it is: %.100s",
                        answer);
    snprintf(machine_name, 64, "%.*s", (int)(model - name), name);
    snprintf(link->model, sizeof link->model, "%.*s", (int)size, model + 1);
    return NAS_OK;
}

static nas_status prepare_shell(nas_link *link, nas_err *err)
{
    char machine_name[64], command[96];
    nas_status status;

    snprintf(link->there, sizeof link->there, "%s-%s", shell_of(link)->root,
             strrchr(link->folder, '-') + 1); /* another one for each link */
    if ((status = ask_machine(link, machine_name, err)) ||
        (status = check_machine(link->program, machine_name, err)) ||
        (status = push(link, link->program, "nas-profile", err)) ||
        (status = push(link, link->job, "job", err)))
        return status;
    snprintf(command, sizeof command, "chmod 755 %s/nas-profile", link->there);
    return ask(link, command, ask_seconds, NULL, 0, err);
}

/* Threads that wait do not burn the cores that others need, as in our own process.  The program ends
 * with its input, and the shell then removes what was brought, even if the link is gone, or who
 * opened it was killed. */
static void start_shell(nas_link *link, const char **argv)
{
    snprintf(link->command, sizeof link->command,
             "trap '' HUP; (cd %s && GOMP_SPINCOUNT=5000 ./nas-profile job); rm -rf %s",
             link->there, link->there);
    shell_of(link)->run(link, link->command, argv);
}

static void clean_shell(nas_link *link)
{
    char command[96];

    snprintf(command, sizeof command, "rm -rf %s", link->there);
    ask(link, command, clean_seconds, NULL, 0, NULL);
}

const nas_via_kind nas_via__ssh = {
    .name = "ssh", .target = "HOST", .target_needed = true, .check = check_name,
    .prepare = prepare_shell, .start = start_shell, .clean = clean_shell,
};

const nas_via_kind nas_via__adb = {
    .name = "adb", .target = "SERIAL", .target_needed = false, .check = check_name,
    .prepare = prepare_shell, .start = start_shell, .clean = clean_shell,
};

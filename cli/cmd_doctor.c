/* nas doctor - what this machine offers, and whether the store is well. */
#include <stddef.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/system.h"
#include "cli/bug_report.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/version.h"
#include "ops/kernel/kernel.h"

static const double low_disk_mib = 512;

typedef struct doctor_options {
    cli_common common;
    const char *report;
} doctor_options;

static const nas_option doctor_table[] = {
    {"--report", NAS_OPT_STRING, offsetof(doctor_options, report), NULL, 0, 0, NULL, "FILE",
     "write a bug report there (JSON), without secrets, names and home folders", false, true},
    {0},
};

static json_t *machine_json(void)
{
    char cpu[128], host[128];
    struct utsname system;
    const double mib = 1024.0 * 1024.0;
    const double page = (double)sysconf(_SC_PAGESIZE);

    nas_system_cpu_name(cpu, sizeof cpu);
    nas_system_host(host, sizeof host);
    if (uname(&system) != 0)
        memset(&system, 0, sizeof system);
    return json_pack("{s:s, s:i, s:i, s:f, s:f, s:s, s:s, s:s}", "cpu", cpu, "cores",
                     nas_system_cores(), "cores_online", (int)sysconf(_SC_NPROCESSORS_ONLN),
                     "memory_mib", (double)sysconf(_SC_PHYS_PAGES) * page / mib,
                     "memory_free_mib", (double)sysconf(_SC_AVPHYS_PAGES) * page / mib, "system",
                     system.sysname, "machine", system.machine, "host", host);
}

static json_t *engine_json(const cli_context *context)
{
    json_t *names = json_array();

    for (const char *const *name = nas_kernels_names(); *name != NULL; name++)
        json_array_append_new(names, json_string(*name));
    return json_pack("{s:s, s:o, s:I}", "kernels", nas_kernels_get()->name, "kernel_sets", names,
                     "openmp_threads", (json_int_t)context->common->threads);
}

static json_t *build_json(void)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "version", NAS_VERSION,
                     "compiler", NAS_BUILD_COMPILER, "type", NAS_BUILD_TYPE, "jansson",
                     NAS_BUILD_JANSSON, "libyaml", NAS_BUILD_YAML, "sqlite", NAS_BUILD_SQLITE,
                     "openblas", NAS_BUILD_OPENBLAS, "libjpeg", NAS_BUILD_JPEG, "libpng",
                     NAS_BUILD_PNG, "xxhash", NAS_BUILD_XXHASH);
}

static void add_check(json_t *checks, const char *name, nas_status status, const char *detail)
{
    json_array_append_new(checks, json_pack("{s:s, s:b, s:s}", "check", name, "ok",
                                            status == NAS_OK, "detail", detail));
}

static nas_status check_store(const char *dir, char *detail, size_t size)
{
    nas_store *store = NULL;
    nas_store_health health = {0};
    nas_err err = {0};
    nas_status status;

    if (!nas_path_exists(dir)) {
        snprintf(detail, size, "%.200s: none yet", dir);
        return NAS_OK;
    }
    if ((status = nas_store_open(&store, dir, NAS_STORE_READ, &err)) == NAS_OK)
        status = nas_store_verify(store, &health, NULL, NULL, &err);
    const char *network = store != NULL ? nas_store_network(store) : NULL;
    nas_store_close(store);
    if (status != NAS_OK)
        snprintf(detail, size, "%s", err.message);
    else
        snprintf(detail, size, "%.200s: %lld runs, %d problems, %d orphans%s%s%s", dir,
                 (long long)health.runs, health.problems, health.orphans,
                 network != NULL ? "; on a network file system (" : "",
                 network != NULL ? network : "",
                 network != NULL ? "), whose locks may not hold: one host, one loop" : "");
    return status != NAS_OK ? status : health.problems > 0 ? NAS_E_DATA : NAS_OK;
}

static nas_status check_disk(const char *dir, char *detail, size_t size)
{
    const char *where = nas_path_exists(dir) ? dir : ".";
    struct statvfs disk;

    if (statvfs(where, &disk) != 0) {
        snprintf(detail, size, "%.200s: cannot be asked", where);
        return NAS_E_IO;
    }
    const double free_mib = (double)disk.f_bavail * (double)disk.f_frsize / (1024.0 * 1024.0);
    snprintf(detail, size, "%.0f MiB free for %.200s", free_mib, where);
    return free_mib < low_disk_mib ? NAS_E_IO : NAS_OK;
}

static nas_status doctor_run(const cli_context *context, const void *options, nas_err *err)
{
    static const struct {
        const char *name;
        nas_status (*check)(const char *dir, char *detail, size_t size);
    } checks[] = {{"store", check_store}, {"disk", check_disk}};
    const doctor_options *o = options;
    json_t *list = json_array();
    nas_status worst = NAS_OK;
    char detail[512];

    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const nas_status status = checks[i].check(context->common->store, detail, sizeof detail);

        add_check(list, checks[i].name, status, detail);
        if (status != NAS_OK && worst == NAS_OK)
            worst = nas_fail(err, status, "%s: %s", checks[i].name, detail);
    }
    json_t *result = json_pack("{s:b, s:o, s:o, s:o, s:o}", "ok", worst == NAS_OK, "machine",
                               machine_json(), "engine", engine_json(context), "build",
                               build_json(), "checks", list);
    if (o->report != NULL) {
        const nas_status written = cli_bug_report(context, result, o->report, err);

        if (written != NAS_OK) {
            json_decref(result);
            return written;
        }
        json_object_set_new(result, "report", json_string(o->report));
        nas_log(NAS_LOG_INFO, "read %s before you send it: it tells paths, settings and errors",
                o->report);
    }
    const nas_status status = cli_emit(context, result, worst == NAS_OK ? err : NULL);
    return status != NAS_OK ? status : worst;
}

const cli_command cmd_doctor = {
    .name = "doctor", .summary = "what this machine offers, and whether all is well",
    .example = "doctor --report report.json", .tables = {doctor_table},
    .size = sizeof(doctor_options), .run = doctor_run,
};

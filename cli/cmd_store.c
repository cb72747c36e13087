/* nas store - care for the store: verify, backup, gc, migrate. */
#include <stddef.h>

#include "cli/commands.h"
#include "cli/output.h"

static void collect(void *user, const char *what, const char *where, const char *why)
{
    json_array_append_new(user, json_pack("{s:s, s:s, s:s}", "what", what, "where", where, "why",
                                          why));
}

static json_t *health_json(const nas_store_health *health, json_t *findings)
{
    return json_pack("{s:b, s:I, s:I, s:I, s:i, s:i, s:I, s:o}", "ok", health->problems == 0,
                     "runs", (json_int_t)health->runs, "artifacts", (json_int_t)health->artifacts,
                     "bytes", (json_int_t)health->bytes, "problems", health->problems, "orphans",
                     health->orphans, "orphan_bytes", (json_int_t)health->orphan_bytes, "findings",
                     findings);
}

static nas_status verify_run(const cli_context *context, const void *options, nas_err *err)
{
    nas_store *store = NULL;
    nas_store_health health = {0};
    json_t *findings = json_array();
    nas_status status;

    if ((status = nas_store_open(&store, context->common->store, NAS_STORE_READ, err)) == NAS_OK &&
        (status = nas_store_verify(store, &health, collect, findings, err)) == NAS_OK)
        status = cli_emit(context, health_json(&health, json_incref(findings)), err);
    if (status == NAS_OK && health.problems > 0) {
        status = nas_fail(err, NAS_E_DATA, "%s: %d of the things it names are damaged or missing",
                          context->common->store, health.problems);
        nas_hint(err, "a run whose last checkpoint is damaged continues from the one before");
    }
    json_decref(findings);
    nas_store_close(store);
    return status;
}

const cli_command cmd_store_verify = {
    .name = "store verify", .summary = "check the database and every file it names",
    .run = verify_run,
};

static nas_status backup_run(const cli_context *context, const void *options, nas_err *err)
{
    nas_store *store = NULL;
    nas_status status;

    if ((status = nas_store_open(&store, context->common->store, NAS_STORE_READ, err)) == NAS_OK &&
        (status = nas_store_backup(store, context->args[0], err)) == NAS_OK)
        status = cli_emit(context, json_pack("{s:s, s:s}", "store", context->common->store,
                                             "backup", context->args[0]),
                          err);
    nas_store_close(store);
    return status;
}

const cli_command cmd_store_backup = {
    .name = "store backup", .summary = "a whole copy while runs go on", .arguments = "DIR",
    .example = "store backup /mnt/backup/nas", .min_args = 1, .max_args = 1, .run = backup_run,
};

typedef struct gc_options {
    cli_common common;
    bool dry_run;
} gc_options;

static const nas_option gc_table[] = {
    {"--dry-run", NAS_OPT_FLAG, offsetof(gc_options, dry_run), NULL, 0, 0, NULL, NULL,
     "only say what would go"},
    {0},
};

static nas_status gc_run(const cli_context *context, const void *options, nas_err *err)
{
    const gc_options *o = options;
    nas_store *store = NULL;
    nas_store_health health = {0};
    json_t *findings = json_array();
    nas_status status;

    if ((status = nas_store_open(&store, o->common.store, NAS_STORE_EXISTING, err)) == NAS_OK &&
        (status = nas_store_gc(store, o->dry_run, &health, collect, findings, err)) == NAS_OK)
        status = cli_emit(context, json_pack("{s:b, s:i, s:i, s:I, s:O}", "removed",
                                             !o->dry_run && health.kept == 0, "orphans",
                                             health.orphans, "kept", health.kept, "orphan_bytes",
                                             (json_int_t)health.orphan_bytes, "findings",
                                             findings),
                          err);
    if (status == NAS_OK && health.kept > 0)
        status = nas_fail(err, NAS_E_IO, "%s: %d files could not be removed", o->common.store,
                          health.kept);
    json_decref(findings);
    nas_store_close(store);
    return status;
}

const cli_command cmd_store_gc = {
    .name = "store gc", .summary = "remove files that no run names", .tables = {gc_table},
    .size = sizeof(gc_options), .run = gc_run,
};

static nas_status migrate_run(const cli_context *context, const void *options, nas_err *err)
{
    nas_store *store = NULL;
    nas_status status = nas_store_open(&store, context->common->store, NAS_STORE_EXISTING, err);

    if (status == NAS_OK)
        status = cli_emit(context, json_pack("{s:s, s:i}", "store", context->common->store,
                                             "schema", nas_store_schema()),
                          err);
    nas_store_close(store);
    return status;
}

const cli_command cmd_store_migrate = {
    .name = "store migrate", .summary = "bring an older store to this version, keeping a copy",
    .run = migrate_run,
};

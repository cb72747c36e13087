/* The network that a run ended with, and how operations are called. */
#include <stdio.h>
#include <stdlib.h>

#include "search/report/private.h"

void nas_report__op_text(const nas_op_spec *op, char out[32])
{
    switch (op->type) {
    case NAS_OP_MBCONV:
        snprintf(out, 32, "%dx%d e%.3g%s", op->kernel, op->kernel, (double)op->expand,
                 op->se > 0 ? " se" : "");
        break;
    case NAS_OP_ZERO:
        snprintf(out, 32, "skip");
        break;
    case NAS_OP_CONV:
    case NAS_OP_MAX_POOL:
    case NAS_OP_AVG_POOL:
        snprintf(out, 32, "%s %dx%d", nas_op_name(op->type), op->kernel, op->kernel);
        break;
    default:
        snprintf(out, 32, "%s", nas_op_spec_name(op));
    }
}

/* The chosen one among those that the run judged. */
static nas_arch *from_judged(const nas_report__run *run)
{
    nas_arch *arch = NULL;

    for (int i = 0; i < run->judged_count && arch == NULL; i++)
        if (run->judged[i].selected) {
            json_t *json = json_loads(run->judged[i].json, 0, NULL);

            if (json != NULL)
                nas_arch_from_json(&arch, json, "architecture", NULL);
            json_decref(json);
        }
    return arch;
}

nas_status nas_report__network(nas_report__page *page, const nas_report__run *run, nas_arch **out,
                               nas_err *err)
{
    nas_store_artifact *files = NULL;
    int count = 0;

    if ((*out = from_judged(run)) != NULL)
        return NAS_OK;
    const nas_status status =
        nas_store_artifact_list(page->store, run->about->id, "arch", &files, &count, err);
    for (int i = 0; i < count && *out == NULL; i++) {
        /* a name that comes from a database is checked before it is a path */
        char *path = nas_store_name_check(files[i].file, "file", NULL) == NAS_OK
                         ? nas_store_path(page->store, run->about->id, files[i].file)
                         : NULL;

        if (path != NULL)
            nas_arch_load(out, path, NULL);
        free(path);
    }
    free(files);
    return status;
}

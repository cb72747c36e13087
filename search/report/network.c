/* The network that a run ended with, what its blocks cost, and how operations are called. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latency/key.h"
#include "latency/table/table.h"
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

static nas_status find_arch(nas_report__page *page, const nas_report__run *run, nas_arch **out,
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

/* Latencies by the table that the run was made with, if it covers the network. */
static nas_status find_latencies(nas_report__page *page, const nas_report__run *run,
                                 nas_report__network *n, nas_err *err)
{
    const nas_arch *arch = n->arch;
    nas_latency_table *table = NULL;
    nas_latency_entry *entries = NULL;
    char *text = NULL;
    int count = 0;
    nas_status status = NAS_OK;

    for (int b = 0; b < arch->count; b++)
        n->ms[b] = NAN;
    if (run->about->latency_table[0] == '\0' ||
        nas_store_table_get(page->store, run->about->latency_table, &text, NULL) != NAS_OK ||
        nas_latency_table_parse(&table, text, strlen(text), "latency table", NULL) != NAS_OK)
        goto done;
    status = nas_latency_arch_entries(&entries, &count, arch, table->grammar, 0, err);
    n->by_latency = status == NAS_OK && count == arch->count;
    for (int b = 0; b < count && n->by_latency; b++) {
        const nas_latency_stat *stat = nas_latency_table_find(table, entries[b].key);

        if (entries[b].key[0] == '\0')
            n->ms[b] = 0;
        else if (stat != NULL)
            n->ms[b] = stat->mean;
        else
            n->by_latency = false;
    }

done:
    free(entries);
    nas_latency_table_free(table);
    free(text);
    return status;
}

static void find_costs(nas_report__network *n)
{
    const nas_arch *arch = n->arch;
    int h = arch->image_size, w = arch->image_size;

    for (int b = 0; b < arch->count; b++) {
        n->op[b] = nas_op_cost_at(&arch->blocks[b].op, h, w);
        h = n->op[b].out_h;
        w = n->op[b].out_w;
    }
}

nas_status nas_report__network_find(nas_report__page *page, const nas_report__run *run,
                                    nas_report__network **out, nas_err *err)
{
    nas_report__network *n = calloc(1, sizeof *n);
    nas_status status;

    *out = NULL;
    if (n == NULL)
        return nas_fail(err, NAS_E_NOMEM, "report: out of memory");
    if ((status = find_arch(page, run, &n->arch, err)) == NAS_OK && n->arch != NULL) {
        find_costs(n);
        status = find_latencies(page, run, n, err);
    }
    if (status != NAS_OK || n->arch == NULL) {
        nas_report__network_free(n);
        return status;
    }
    *out = n;
    return NAS_OK;
}

void nas_report__network_free(nas_report__network *network)
{
    if (network != NULL)
        nas_arch_free(network->arch);
    free(network);
}

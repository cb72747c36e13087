/* From names and files to a search that can run. */
#include "cli/search_task.h"

#include <string.h>

#include "cli/load.h"

static nas_status load_table(cli_search_task *task, bool emulated, nas_err *err)
{
    nas_status status;

    if (task->table_path == NULL)
        return NAS_OK;
    if ((status = cli_table_load(&task->tables, &task->table, task->table_path, task->space,
                                 err)) ||
        (status = cli_tables_trust(task->tables, emulated, err)))
        return status;
    return nas_latency_lut_new(&task->lut, task->table, task->space, 0, err);
}

nas_status cli_search_prepare(cli_search_task *task, const cli_search_options *o,
                              const nas_search_config *config, nas_err *err)
{
    nas_status status;

    memset(task, 0, sizeof *task);
    task->config = *config;
    task->table_path = o->table;
    if ((status = cli_verify_check(&o->verify, err)) ||
        (status = nas_dataset_open(&task->data, o->data, err)) ||
        (status = nas_space_load(&task->space, o->space, err)))
        return status;
    if ((status = cli_space_fit(task->space, task->data, err)) ||
        (status = load_table(task, o->allow_emulated, err)))
        return status;
    task->verifier = (cli_verifier){.options = &o->verify, .space = task->space,
                                    .tables = task->tables, .seed = config->seed,
                                    .allow_emulated = o->allow_emulated};
    if (config->verify_top > 0 && (status = cli_verifier_prepare(&task->verifier, err)) != NAS_OK)
        return status;
    task->config.measurer = cli_verifier_measurer(&task->verifier);
    return nas_search_new(&task->search, task->space, task->data, task->lut, &task->config, err);
}

void cli_search_finish(cli_search_task *task)
{
    nas_search_free(task->search);
    nas_latency_lut_free(task->lut);
    nas_latency_set_free(task->tables);
    nas_space_free(task->space);
    nas_dataset_close(task->data);
}

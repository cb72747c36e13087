/* From names and files to a search that can run. */
#include "cli/search_task.h"

#include <stdlib.h>
#include <string.h>

#include "cli/load.h"

nas_status cli_search_prepare(cli_search_task *task, const char *data, const char *space,
                              const char *table, const nas_search_config *config, nas_err *err)
{
    nas_status status;

    memset(task, 0, sizeof *task);
    task->config = *config;
    task->table_path = table;
    if ((status = nas_dataset_open(&task->data, data, err)) ||
        (status = nas_space_load(&task->space, space, err)))
        return status;
    if ((status = cli_space_fit(task->space, task->data, err)) ||
        (status = cli_table_load(&task->tables, &task->table, table, task->space->image_size,
                                 err)) ||
        (status = nas_latency_lut_new(&task->lut, task->table, task->space, 0, err)))
        return status;
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

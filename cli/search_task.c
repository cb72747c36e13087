/* From names and files to a search that can run. */
#include "cli/search_task.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cli/load.h"
#include "latency/profile/verify.h"

enum { VERIFY_ROUNDS = 9 };

/* Measures whole networks here, on as many threads as the table is for. */
static nas_status measure(void *user, nas_candidate *list, int count, const nas_observer *observer,
                          nas_err *err)
{
    const cli_search_task *task = user;
    const int threads = omp_get_max_threads(), of_table = task->table->meta.threads;
    int(*choice)[NAS_MAX_SLOTS] = calloc((size_t)count, sizeof *choice);
    nas_latency_verification found = {0};

    if (choice == NULL)
        return nas_fail(err, NAS_E_NOMEM, "verify: no memory for %d networks", count);
    for (int i = 0; i < count; i++)
        memcpy(choice[i], list[i].choice, sizeof choice[i]);
    const nas_latency_verify_options how = {
        .samples = count, .rounds = VERIFY_ROUNDS, .choice = (const int(*)[NAS_MAX_SLOTS])choice,
        .seed = task->config.seed, .observer = observer};
    omp_set_num_threads(of_table > 0 ? of_table : threads);
    const nas_status status = nas_latency_verify(&found, task->table, task->space, &how, err);
    omp_set_num_threads(threads);
    for (int i = 0; i < count && status == NAS_OK; i++)
        list[i].measured_ms = found.pairs[i].as_measured_ms; /* the target is one of now */
    nas_latency_verification_fini(&found);
    free(choice);
    return status;
}

nas_status cli_search_prepare(cli_search_task *task, const char *data, const char *space,
                              const char *table, bool emulated,
                              const nas_search_config *config, nas_err *err)
{
    nas_status status;

    memset(task, 0, sizeof *task);
    task->config = *config;
    task->table_path = table;
    if ((status = nas_dataset_open(&task->data, data, err)) ||
        (status = nas_space_load(&task->space, space, err)))
        return status;
    if ((status = cli_space_fit(task->space, task->data, err)) ||
        (status = cli_table_load(&task->tables, &task->table, table, task->space, err)) ||
        (status = cli_tables_trust(task->tables, emulated, err)) ||
        (config->verify_top > 0 && (status = cli_table_check_here(task->table, "--verify-top", err))) ||
        (status = nas_latency_lut_new(&task->lut, task->table, task->space, 0, err)))
        return status;
    task->config.measurer = (nas_measurer){.user = task, .measure = measure};
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

/* The file of `nas pipeline` (docs/reference/pipeline.md): stages as jobs of one group. */
#ifndef NAS_CLI_PIPELINE_H
#define NAS_CLI_PIPELINE_H

#include "latency/table/set.h"
#include "nas/data/dataset.h"
#include "nas/space/arch.h"
#include "search/jobs/sweep.h"

typedef struct cli_pipeline {
    nas_sweep sweep;         /* a job for each stage, in order; its group is the pipeline's name */
    const char *stage[4];    /* their names */
    nas_dataset *data;
    nas_latency_set *tables; /* NULL: none */
    nas_arch *before;        /* of the network that the first stage starts from; NULL: none */
} cli_pipeline;

/** Reads the file and checks all of it, with what it names; `folder` is where the jobs run; `seed`
 * is of the stages that have none of their own.
 * NAS_E_DATA or NAS_E_CONFIG for what is wrong in it or missing; NAS_E_IO if it cannot be read
 * itself.  After an error too it needs _fini. */
nas_status cli_pipeline_load(cli_pipeline *pipeline, const char *path, const char *folder,
                             int64_t seed, nas_err *err);
void cli_pipeline_fini(cli_pipeline *pipeline);

#endif

/* Before the common work the processes tell each other how they stand; after it has begun, a failure
 * of one ends all. */
#include "cli/ranks.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mpi.h"
#include "cli/output.h"

/* Before one ends all: what it failed of may have befallen process 0, too, which writes it down. */
enum { PATIENCE_S = 3 };

static const nas_comm *comm;
static enum { ALONE, BEGINNING, TOGETHER, FAILED } stand;

nas_status cli_ranks_open(nas_err *err)
{
    const nas_status status = nas_mpi_launched() > 1 ? nas_mpi_open(&comm, err) : NAS_OK;

    if (comm != NULL)
        stand = BEGINNING;
    return status;
}

const nas_comm *cli_ranks(void) { return comm; }

nas_status cli_ranks_alone(const char *what, nas_err *err)
{
    if (comm == NULL)
        return NAS_OK;
    nas_fail(err, NAS_E_USAGE, "%s is for one process, and here are %d", what, comm->ranks);
    nas_hint(err, "start it without mpirun or srun; search and train share their work");
    return NAS_E_USAGE;
}

nas_status cli_ranks_agree(nas_status status, nas_err *err)
{
    if (comm == NULL)
        return status;
    double *all = calloc((size_t)comm->ranks, sizeof *all);
    int failed = 0;

    if (all == NULL)
        nas_mpi_abort(NAS_E_NOMEM);
    all[comm->rank] = status;
    nas_comm_sum_doubles(comm, all, (size_t)comm->ranks);
    while (failed < comm->ranks - 1 && all[failed] == NAS_OK)
        failed++;
    const nas_status first = (nas_status)all[failed];
    free(all);
    if (first != NAS_OK)
        stand = FAILED;
    if (err != NULL && failed != comm->rank)
        *err = (nas_err){.status = first};
    return first;
}

void cli_ranks_begin(void)
{
    if (comm != NULL)
        stand = TOGETHER;
}

/* How all processes end alike. */
static bool is_common(nas_status status)
{
    return status == NAS_OK || status == NAS_E_INTERRUPTED || status == NAS_E_INFEASIBLE;
}

nas_status cli_ranks_close(nas_status status, nas_err *err)
{
    const bool follows = nas_comm_rank(comm) > 0, ends_all = stand == TOGETHER && !is_common(status);

    if (stand == BEGINNING)
        status = cli_ranks_agree(status, err);
    else if (stand == TOGETHER && follows && is_common(status))
        err->message[0] = '\0'; /* process 0 says it */
    if (ends_all && follows)
        sleep(PATIENCE_S);
    if (status != NAS_OK && err->message[0] != '\0') {
        if (follows)
            nas_err_prefix(err, "process %d of %d", comm->rank, comm->ranks);
        cli_error_print(err);
    }
    if (ends_all)
        nas_mpi_abort((int)status);
    if (comm != NULL)
        nas_mpi_close();
    return status;
}

/* Calls of a communicator that may be none. */
#include "base/comm.h"

int nas_comm_rank(const nas_comm *comm) { return comm != NULL ? comm->rank : 0; }

int nas_comm_ranks(const nas_comm *comm) { return comm != NULL ? comm->ranks : 1; }

void nas_comm_sum_floats(const nas_comm *comm, float *values, size_t count)
{
    if (comm != NULL)
        comm->sum_floats(comm->self, values, count);
}

void nas_comm_sum_doubles(const nas_comm *comm, double *values, size_t count)
{
    if (comm != NULL)
        comm->sum_doubles(comm->self, values, count);
}

void nas_comm_broadcast(const nas_comm *comm, void *bytes, size_t size)
{
    if (comm != NULL)
        comm->broadcast(comm->self, bytes, size);
}

bool nas_comm_any(const nas_comm *comm, bool mine)
{
    double any = mine;

    nas_comm_sum_doubles(comm, &any, 1);
    return any > 0.0;
}

bool nas_comm_first(const nas_comm *comm, bool mine)
{
    nas_comm_broadcast(comm, &mine, sizeof mine);
    return mine;
}

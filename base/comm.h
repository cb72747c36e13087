/* Processes that compute one thing together, as whoever computes sees them: which one am I, how many
 * are we, and sums over all.  base/mpi.h makes one of MPI, tests make one of threads; NULL stands for
 * a process alone.
 *
 * Each call is made by all processes, in the same order and with the same sizes.  A lost process ends
 * the others, so no call fails. */
#ifndef NAS_BASE_COMM_H
#define NAS_BASE_COMM_H

#include <stdbool.h>
#include <stddef.h>

typedef struct nas_comm {
    int rank, ranks; /* 0 <= rank < ranks */
    /* As the functions below. */
    void (*sum_floats)(void *self, float *values, size_t count);
    void (*sum_doubles)(void *self, double *values, size_t count);
    void (*broadcast)(void *self, void *bytes, size_t size);
    void *self;
} nas_comm;

/** 0 and 1 where `comm` is NULL. */
int nas_comm_rank(const nas_comm *comm);
int nas_comm_ranks(const nas_comm *comm);

/** values[i] = sum over the processes, added in order of rank: all of them get the same bits, and get
 * them again.  Nothing where `comm` is NULL. */
void nas_comm_sum_floats(const nas_comm *comm, float *values, size_t count);
void nas_comm_sum_doubles(const nas_comm *comm, double *values, size_t count);
/** All get what process 0 has in `bytes`. */
void nas_comm_broadcast(const nas_comm *comm, void *bytes, size_t size);

/** True for all if `mine` is true for any. */
bool nas_comm_any(const nas_comm *comm, bool mine);
/** True for all if process 0 says so. */
bool nas_comm_first(const nas_comm *comm, bool mine);

#endif

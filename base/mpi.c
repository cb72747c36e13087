/* A communicator of MPI.  Sums are made here and not by MPI_Allreduce, whose order of adding is its
 * own affair: each process adds up a share of the values in order of rank, then all get all shares. */
#include "base/mpi.h"

#include <assert.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum {
    BLOCK = 1 << 20, /* values that travel at a time: bounds the buffer                        */
    SMALL = 1 << 12  /* of all processes together: then all send all, which is one way less    */
};

static struct {
    nas_comm comm;
    int *count, *at; /* [ranks] share of each process in a block; where it begins              */
    int *mine, *mine_at; /* [ranks] my share, once for each process that sends its part         */
    double *parts;   /* [BLOCK + ranks]: of my share, one process after the other; all shares   */
} world;

/* sum[i] = parts[0][i] + parts[1][i] + ...; `sum` is not among the parts. */
static void add_floats(const void *parts, size_t count, void *sum)
{
    const float *from = parts;
    float *to = sum;

    memcpy(to, from, count * sizeof *to);
    for (int r = 1; r < world.comm.ranks; r++)
        for (size_t i = 0; i < count; i++)
            to[i] += from[(size_t)r * count + i];
}

static void add_doubles(const void *parts, size_t count, void *sum)
{
    const double *from = parts;
    double *to = sum;

    memcpy(to, from, count * sizeof *to);
    for (int r = 1; r < world.comm.ranks; r++)
        for (size_t i = 0; i < count; i++)
            to[i] += from[(size_t)r * count + i];
}

typedef struct kind {
    MPI_Datatype type;
    size_t size;
    void (*add)(const void *parts, size_t count, void *sum);
} kind;

static void share_out(int count)
{
    const int ranks = world.comm.ranks, rank = world.comm.rank;

    for (int r = 0; r < ranks; r++) {
        world.at[r] = (int)((long long)count * r / ranks);
        world.count[r] = (int)((long long)count * (r + 1) / ranks) - world.at[r];
    }
    for (int r = 0; r < ranks; r++) {
        world.mine[r] = world.count[rank];
        world.mine_at[r] = r * world.count[rank];
    }
}

static void sum_block(const kind *k, char *values, int count)
{
    if ((int64_t)count * world.comm.ranks <= SMALL) {
        MPI_Allgather(values, count, k->type, world.parts, count, k->type, MPI_COMM_WORLD);
        k->add(world.parts, (size_t)count, values);
        return;
    }
    share_out(count);
    char *share = values + (size_t)world.at[world.comm.rank] * k->size;
    MPI_Alltoallv(values, world.count, world.at, k->type, world.parts, world.mine, world.mine_at,
                  k->type, MPI_COMM_WORLD);
    k->add(world.parts, (size_t)world.mine[0], share);
    MPI_Allgatherv(MPI_IN_PLACE, 0, k->type, values, world.count, world.at, k->type, MPI_COMM_WORLD);
}

static void sum(const kind *k, void *values, size_t count)
{
    for (size_t done = 0; done < count; done += BLOCK)
        sum_block(k, (char *)values + done * k->size,
                  (int)(count - done < BLOCK ? count - done : BLOCK));
}

static void sum_floats(void *self, float *values, size_t count)
{
    sum(&(kind){MPI_FLOAT, sizeof *values, add_floats}, values, count);
}

static void sum_doubles(void *self, double *values, size_t count)
{
    sum(&(kind){MPI_DOUBLE, sizeof *values, add_doubles}, values, count);
}

static void broadcast(void *self, void *bytes, size_t size)
{
    assert(size <= BLOCK);
    MPI_Bcast(bytes, (int)size, MPI_BYTE, 0, MPI_COMM_WORLD);
}

/* Open MPI, which srun gives no way to the others, ends the process itself and names another reason. */
static void warn_of_srun(void)
{
#ifdef OPEN_MPI
    if (getenv("OMPI_COMM_WORLD_SIZE") == NULL && getenv("PMIX_NAMESPACE") == NULL)
        nas_log(NAS_LOG_WARN, "started without mpirun and without PMIx: processes of srun find each "
                              "other with --mpi=pmix_v4 (srun --mpi=list)");
#endif
}

nas_status nas_mpi_open(const nas_comm **out, nas_err *err)
{
    int level, rank, ranks;

    *out = NULL;
    warn_of_srun();
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS)
        return nas_fail(err, NAS_E_FAIL, "MPI does not start");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (ranks != nas_mpi_launched()) {
        nas_fail(err, NAS_E_CONFIG, "started as %d processes, of which MPI sees %d",
                 nas_mpi_launched(), ranks);
        nas_hint(err, "with srun: --mpi=pmix_v4 (srun --mpi=list shows what there is)");
        MPI_Finalize();
        return NAS_E_CONFIG;
    }
    int *shares = calloc(4 * (size_t)ranks, sizeof *shares);
    world.parts = malloc((BLOCK + (size_t)ranks) * sizeof *world.parts);
    if (shares == NULL || world.parts == NULL) {
        free(shares);
        return nas_fail(err, NAS_E_NOMEM, "MPI: out of memory");
    }
    world.count = shares;
    world.at = shares + ranks;
    world.mine = shares + 2 * ranks;
    world.mine_at = shares + 3 * ranks;
    world.comm = (nas_comm){.rank = rank, .ranks = ranks, .sum_floats = sum_floats,
                            .sum_doubles = sum_doubles, .broadcast = broadcast};
    *out = &world.comm;
    return NAS_OK;
}

void nas_mpi_close(void)
{
    free(world.count);
    free(world.parts);
    MPI_Barrier(MPI_COMM_WORLD); /* who is done first must not end the others */
    MPI_Finalize();
}

_Noreturn void nas_mpi_abort(int code)
{
    MPI_Abort(MPI_COMM_WORLD, code);
    abort(); /* not reached */
}

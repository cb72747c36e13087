/* A communicator of threads: everybody shows where its values are, and adds up everybody's. */
#include "tests/support/together.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct meeting {
    pthread_barrier_t barrier;
    int ranks;
    const void *shown[TOGETHER_MAX];
    size_t size[TOGETHER_MAX]; /* all must bring the same */
} meeting;

typedef struct member {
    nas_comm comm;
    meeting *at;
    void (*work)(const nas_comm *comm, void *user);
    void *user;
} member;

static void show(member *m, const void *bytes, size_t size)
{
    meeting *at = m->at;

    at->shown[m->comm.rank] = bytes;
    at->size[m->comm.rank] = size;
    pthread_barrier_wait(&at->barrier);
    for (int r = 0; r < at->ranks; r++)
        if (at->size[r] != size)
            abort(); /* in a thread, where assertions of Criterion are of no use */
}

/* Nobody may change what others still read. */
static void take(member *m, void *to, const void *from, size_t size)
{
    pthread_barrier_wait(&m->at->barrier);
    memcpy(to, from, size);
}

static void sum_floats(void *self, float *values, size_t count)
{
    member *m = self;
    float *sum = calloc(count + 1, sizeof *sum);

    show(m, values, count * sizeof *values);
    for (int r = 0; r < m->at->ranks; r++)
        for (size_t i = 0; i < count; i++)
            sum[i] += ((const float *)m->at->shown[r])[i];
    take(m, values, sum, count * sizeof *values);
    free(sum);
}

static void sum_doubles(void *self, double *values, size_t count)
{
    member *m = self;
    double *sum = calloc(count + 1, sizeof *sum);

    show(m, values, count * sizeof *values);
    for (int r = 0; r < m->at->ranks; r++)
        for (size_t i = 0; i < count; i++)
            sum[i] += ((const double *)m->at->shown[r])[i];
    take(m, values, sum, count * sizeof *values);
    free(sum);
}

static void broadcast(void *self, void *bytes, size_t size)
{
    member *m = self;
    void *copy = malloc(size + 1);

    show(m, bytes, size);
    memcpy(copy, m->at->shown[0], size);
    take(m, bytes, copy, size);
    free(copy);
}

static void *run(void *arg)
{
    member *m = arg;

    m->work(&m->comm, m->user);
    return NULL;
}

void together(int ranks, void (*work)(const nas_comm *comm, void *user), void *user)
{
    meeting at = {.ranks = ranks};
    member members[TOGETHER_MAX];
    pthread_t threads[TOGETHER_MAX];

    cr_assert_leq(ranks, TOGETHER_MAX);
    pthread_barrier_init(&at.barrier, NULL, (unsigned)ranks);
    for (int r = 0; r < ranks; r++) {
        members[r] = (member){.comm = {r, ranks, sum_floats, sum_doubles, broadcast, &members[r]},
                              .at = &at, .work = work, .user = user};
        cr_assert_eq(pthread_create(&threads[r], NULL, run, &members[r]), 0);
    }
    for (int r = 0; r < ranks; r++)
        pthread_join(threads[r], NULL);
    pthread_barrier_destroy(&at.barrier);
}

/* Runs one path of a supernet, forward and backward, in memory planned once.
 *
 * Only the active path is in memory: activations lie in an arena as on a stack,
 * and gate gradients of the other candidates are computed one after another in
 * the room that the backward pass has already given back. */
#ifndef NAS_NAS_MODEL_EXEC_H
#define NAS_NAS_MODEL_EXEC_H

#include "nas/model/model.h"

typedef struct nas_exec nas_exec;

/** Plans for at most `max_batch` images, any path, at the current number of OpenMP
 * threads.  `model` is borrowed.  NAS_E_NOMEM. */
nas_status nas_exec_new(nas_exec **out, nas_model *model, int max_batch, nas_err *err);
void nas_exec_free(nas_exec *exec);
/** Call it when nas_model_resize has made the images smaller: kernels may need more scratch for
 * them, though everything else needs less.  NAS_E_NOMEM: nothing was changed. */
nas_status nas_exec_fit(nas_exec *exec, nas_err *err);

/** Trades recomputation for memory from the next forward pass on; the results stay the
 * same to the bit.  Default: NAS_MEMORY_BALANCED. */
void nas_exec_set_memory(nas_exec *exec, nas_memory memory);

/** Bytes that were planned for the worst path (address space, not memory in use). */
size_t nas_exec_planned_bytes(const nas_exec *exec);
/** Bytes of activations and gradients used at most so far. */
size_t nas_exec_peak_bytes(const nas_exec *exec);

/** From the next forward pass on, the images are this process's part of a batch, as many as any
 * other's.  Borrowed; NULL: it is alone. */
void nas_exec_set_comm(nas_exec *exec, const nas_comm *comm);

typedef struct nas_forward {
    bool train;        /* batch statistics                                            */
    bool dropout;      /* train: apply dropout                                        */
    bool keep;         /* a backward pass follows (train)                             */
    bool sync;         /* train: batch statistics of the whole batch, not of each process's part */
    float bn_momentum; /* train: share of the batch in running statistics, 0: leave    */
    uint64_t seed, step; /* key of dropout's mask                                     */
} nas_forward;

/** Logits [n][classes] of images [n][h][w][c] along `choice` [slots]; valid until the
 * next call.  `images` must stay until the backward pass is done. */
const float *nas_exec_forward(nas_exec *exec, const int *choice, int n, const float *images,
                              const nas_forward *how);

/** What a backward pass is to give. */
typedef struct nas_backward {
    bool weights;       /* gradients of the active path's parameters                  */
    float *images;      /* gradient of the images, [n][h][w][c]; NULL: not wanted      */
    const uint64_t *gates; /* [slots] candidates whose gate gradient is wanted, as bits; or NULL */
    double *gate_grad;  /* [slots][NAS_MAX_CANDIDATES]: sum of dL/dy * op(x); others untouched */
    bool (*stop)(void *user); /* asked before the gates of a slot: true gives up, and nothing
                                 that this pass was to give is whole; NULL: never            */
    void *user;
} nas_backward;

/** Backward of the last nas_exec_forward with keep, from dlogits [n][classes]
 * (overwritten).  Once a forward pass. */
void nas_exec_backward(nas_exec *exec, float *dlogits, const nas_backward *want);

/** Several processes: sums the gradients of the last backward pass with `weights` over all of them.
 * Where the statistics were each process's own, the running ones become their mean. */
void nas_exec_sum(nas_exec *exec);

/** Gradient block of the active operation of a slot after a backward pass with
 * `weights`, shaped as its parameters; NULL when it has none. */
const float *nas_exec_grads(const nas_exec *exec, int slot);

typedef struct nas_sgd {
    float lr, momentum, decay;
    bool nesterov;
    bool decay_vectors; /* decay BN and biases as well (the search does, training does not) */
    float clip_norm;    /* longest gradient over all parameters of the path; 0: any          */
} nas_sgd;

/** One SGD step on the active path's parameters; no other candidate is read or written.
 * Gradients longer than clip_norm are shortened to it, in place. */
void nas_exec_sgd(nas_exec *exec, const nas_sgd *sgd);

#endif

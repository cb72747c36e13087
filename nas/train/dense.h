/* Networks of dense layers with ReLU between them: they foretell accuracies and latencies. */
#ifndef NAS_NAS_TRAIN_DENSE_H
#define NAS_NAS_TRAIN_DENSE_H

#include "nas/train/safetensors.h"

enum { NAS_DENSE_MAX_LAYERS = 16, NAS_DENSE_MAX_WIDTH = 8192 };

typedef struct nas_dense {
    int layers;
    int width[NAS_DENSE_MAX_LAYERS + 1]; /* inputs, then each layer's outputs */
    float *weight[NAS_DENSE_MAX_LAYERS]; /* [in][out]                         */
    float *bias[NAS_DENSE_MAX_LAYERS];   /* [out]                             */
} nas_dense;

/** All weights 0.  NAS_E_NOMEM; after an error too it needs _fini. */
nas_status nas_dense_init(nas_dense *net, int layers, const int *width, nas_err *err);
void nas_dense_fini(nas_dense *net);

/** From the tensors of a file, `name`: "0.weight" [out][in], "0.bias" [out], "2.weight", ..., of
 * float32, nothing else, and one output at the end.  NAS_E_DATA, NAS_E_NOMEM; after an error too
 * it needs _fini. */
nas_status nas_dense_read(nas_dense *net, const nas_safetensors_tensor *const *list, int count,
                          const char *name, nas_err *err);
/** Adds these tensors to a file; `*room` (yours, to be freed) holds some of them until it is
 * written.  NAS_E_NOMEM. */
nas_status nas_dense_write(const nas_dense *net, nas_safetensors_builder *file, float **room,
                           nas_err *err);

/** y[rows][outputs] for x[rows][inputs]; `scratch` holds 2 * rows * the widest layer. */
void nas_dense_run(const nas_dense *net, int rows, const float *x, float *scratch, float *y);
/** Outputs of its widest layer. */
int nas_dense_widest(const nas_dense *net);
bool nas_dense_is_finite(const nas_dense *net);

/* ---- training ---- */

/** Adam over a network.  A step: fill kept[0], _forward, fill delta[0] from kept[net->layers],
 * _backward, _step. */
typedef struct nas_dense_trainer {
    nas_dense *net;                           /* borrowed                                  */
    float *kept[NAS_DENSE_MAX_LAYERS + 1];    /* [rows][width]: inputs, then activations   */
    float *delta[2];                          /* [rows][widest]: dL/d(outputs) is delta[0] */
    float *grad[NAS_DENSE_MAX_LAYERS][2];     /* of weight and bias                        */
    float *moment[NAS_DENSE_MAX_LAYERS][2][2]; /* Adam's first and second                  */
    long step;                                /* steps done                                */
} nas_dense_trainer;

/** For at most `rows` rows at once.  NAS_E_NOMEM; after an error too it needs _fini. */
nas_status nas_dense_trainer_init(nas_dense_trainer *trainer, nas_dense *net, int rows,
                                  nas_err *err);
void nas_dense_trainer_fini(nas_dense_trainer *trainer);

/** PyTorch's default for a linear layer: uniform in +-1/sqrt(inputs), from the stream
 * `stream`. */
void nas_dense_draw(nas_dense *net, uint64_t seed, const char *stream);
void nas_dense_forward(nas_dense_trainer *trainer, int rows);
/** Sets the gradients; delta[] is overwritten. */
void nas_dense_backward(nas_dense_trainer *trainer, int rows);
/** Adam; `decay` is that of the weights, biases have none. */
void nas_dense_step(nas_dense_trainer *trainer, double lr, double decay);

#endif

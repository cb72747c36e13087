/* Private to search/rl: the dense networks of DDPG, two hidden layers with ReLU. */
#ifndef NAS_SEARCH_RL_NET_H
#define NAS_SEARCH_RL_NET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/rng.h"

enum { NAS_RL__LAYERS = 3 };

/** The shape; parameters are blocks of `floats`: weight [in][out] and bias [out] by layer. */
typedef struct nas_rl__net {
    int width[NAS_RL__LAYERS + 1]; /* inputs, then outputs of each layer */
    bool sigmoid;                  /* behind the last layer              */
    size_t floats, weight[NAS_RL__LAYERS], bias[NAS_RL__LAYERS];
} nas_rl__net;

/** What a pass over at most `rows` rows keeps; y[0] is the input, y[3] the output. */
typedef struct nas_rl__tape {
    float *y[NAS_RL__LAYERS + 1];
    float *delta[2]; /* [rows][widest] */
} nas_rl__tape;

nas_rl__net nas_rl__net_make(int in, int hidden, int out, bool sigmoid);
/** Uniform in +-1/sqrt(inputs), PyTorch's default; the first layer's inputs from `split` on count
 * as those of a second layer (the critic's action), whose bias is added to the first's. */
void nas_rl__net_reset(const nas_rl__net *net, int split, nas_rng *rng, float *params);

bool nas_rl__tape_init(nas_rl__tape *tape, const nas_rl__net *net, int rows); /* false: no memory */
void nas_rl__tape_fini(nas_rl__tape *tape);

/** y[1..3] from y[0][rows]. */
void nas_rl__net_forward(const nas_rl__net *net, const float *params, int rows,
                         const nas_rl__tape *tape);
/** From dy[rows][out] (in delta[0], overwritten): gradients of the parameters (overwritten;
 * NULL: not wanted) and of the input, dx[rows][in] (NULL: not wanted).  `restraint` (0 without
 * sigmoid) times the sigmoid's argument is added to the gradient of the argument. */
void nas_rl__net_backward(const nas_rl__net *net, const float *params, int rows,
                          const nas_rl__tape *tape, float restraint, float *grads, float *dx);

#endif

/* A supernet and its parameters: every candidate of every slot of a space, one
 * after another in one block of floats.  A plain network is the same thing with
 * one candidate a slot. */
#ifndef NAS_NAS_MODEL_MODEL_H
#define NAS_NAS_MODEL_MODEL_H

#include "nas/space/space.h"
#include "ops/layer/layer.h"

typedef struct nas_model_slot {
    int count;             /* candidates                                  */
    nas_layer *layer;      /* [count]                                     */
    size_t *offset;        /* [count] floats from nas_model.params        */
    bool shortcut;
    int in_h, in_w, in_c;
    int out_h, out_w, out_c;
} nas_model_slot;

typedef struct nas_model {
    char name[64];
    int image_size, channels, classes;
    float bn_eps, bn_momentum;
    int slots;
    nas_model_slot *slot;
    int64_t parameters; /* trained scalars over all candidates           */
    size_t floats;      /* of each of the two blocks below               */
    float *params;
    float *momentum;    /* SGD's; pages of candidates never trained stay untouched */
    int quants;         /* of a quantised network (nas/quant/sites.h): one record for each */
    nas_quant *quant;   /* convolution and linear layer, in order, to which the layers point; NULL */
} nas_model;

/** Lays out and allocates; all zero until nas_model_reset or a checkpoint is read.
 * NAS_E_CONFIG, NAS_E_NOMEM. */
nas_status nas_model_new(nas_model **out, const nas_space *space, nas_err *err);
nas_status nas_model_new_arch(nas_model **out, const nas_arch *arch, nas_err *err);
void nas_model_free(nas_model *model);

/** Lays the same network out for images of another size; parameters stay.  What was planned for
 * a larger size (nas_exec) serves a smaller one after nas_exec_fit.  NAS_E_CONFIG. */
nas_status nas_model_resize(nas_model *model, int image_size, nas_err *err);

/** Initial values from `seed`: those of nas_layer_reset, but that the candidates of a slot
 * start as crops of their largest relative (same operation; middle taps, first channels), and
 * that the last batch norm before a shortcut's sum starts with gamma 0. */
void nas_model_reset(nas_model *model, uint64_t seed);
/** Initial values of a kernel in whose middle a smaller one lies, of `least` taps a side: taps
 * outside of it become smaller from ring to ring, the deviation of all stays.  So the middle alone
 * says nearly what the whole does. */
void nas_param_fade(const nas_param *param, float *values, int least);

/** "slot3.op2": the prefix of a candidate's parameter names. */
void nas_model_prefix(int slot, int candidate, char out[32]);

/** Copies the parameters (and running statistics) of the operations that `arch`
 * and the supernet share, slot by slot; returns how many slots were copied. */
int nas_model_inherit(nas_model *to, const nas_model *supernet, const int *choice);

/** Trained scalars of the path `choice`. */
int64_t nas_model_path_parameters(const nas_model *model, const int *choice);

#endif

/* Folded layers in a row, on integers where they are quantised; two buffers take turns. */
#include "nas/model/infer.h"

#include <assert.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

typedef struct infer_block {
    nas_layer layer;
    float *params;
    bool shortcut, skip;
} infer_block;

struct nas_infer {
    int count, max_batch;
    const nas_kernels *kernels; /* those that the weights are laid out for */
    infer_block *block;
    size_t input_floats, output_floats;
    nas_arena arena; /* parameters, then the two buffers, then temporaries */
    size_t run_mark;
    float *buffer[2];
    void *scratch;
};

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

static size_t slot_floats(int h, int w, int c) { return (size_t)h * (size_t)w * (size_t)c; }

/* A block on integers keeps its batch norm beside them: the gate and biases are read from it. */
static void pack_int8(nas_infer *infer, const nas_model *model, const nas_layer *layer,
                      const float *params, infer_block *block)
{
    const size_t floats = nas_layer_floats(layer);
    void *packed = nas_arena_alloc(&infer->arena, nas_layer_int8_bytes(layer, infer->kernels));

    block->params = nas_arena_floats(&infer->arena, floats);
    memcpy(block->params, params, floats * sizeof *params);
    nas_layer_pack_int8(layer, infer->kernels, params, model->bn_eps, packed, &block->layer);
}

static void fold_block(nas_infer *infer, const nas_model *model, const nas_layer *layer,
                       const float *params, infer_block *block)
{
    nas_layer_fold(layer, NULL, model->bn_eps, &block->layer, NULL);
    block->params = nas_arena_floats(&infer->arena, nas_layer_floats(&block->layer));
    nas_layer_fold(layer, params, model->bn_eps, &block->layer, block->params);
    nas_layer_pack(&block->layer, infer->kernels, block->params,
                   nas_arena_floats(&infer->arena,
                                    nas_layer_packed_floats(&block->layer, infer->kernels)));
}

static void fold_blocks(nas_infer *infer, const nas_model *model, const int *choice, int first)
{
    for (int i = 0; i < infer->count; i++) {
        const nas_model_slot *slot = &model->slot[first + i];
        const nas_layer *layer = &slot->layer[choice[first + i]];
        infer_block *block = &infer->block[i];

        const float *params = model->params + slot->offset[choice[first + i]];

        if (nas_layer_is_int8(layer))
            pack_int8(infer, model, layer, params, block);
        else
            fold_block(infer, model, layer, params, block);
        block->shortcut = slot->shortcut;
        block->skip = slot->shortcut && layer->spec.type == NAS_OP_ZERO;
    }
}

nas_status nas_infer_new_part(nas_infer **out, const nas_model *model, const int *choice, int first,
                              int count, int max_batch, nas_err *err)
{
    const nas_model_slot *from = &model->slot[first], *to = &model->slot[first + count - 1];
    nas_infer *infer = calloc(1, sizeof *infer);
    nas_status status = NAS_OK;
    size_t bytes = 0, temporary = 0, scratch = 0, largest = 0;

    *out = NULL;
    if (infer == NULL)
        return nas_fail(err, NAS_E_NOMEM, "inference: out of memory");
    infer->count = count;
    infer->max_batch = max_batch;
    infer->kernels = nas_kernels_get();
    infer->input_floats = slot_floats(from->in_h, from->in_w, from->in_c);
    infer->output_floats = slot_floats(to->out_h, to->out_w, to->out_c);
    infer->block = calloc((size_t)count, sizeof *infer->block);
    for (int s = first; s < first + count; s++) {
        const nas_model_slot *slot = &model->slot[s];
        const nas_layer *layer = &slot->layer[choice[s]];
        bytes += nas_arena_round((nas_layer_floats(layer) + 64) * sizeof(float)) +
                 nas_arena_round(nas_layer_packed_floats(layer, infer->kernels) * sizeof(float));
        if (nas_layer_is_int8(layer))
            bytes += nas_arena_round(nas_layer_int8_bytes(layer, infer->kernels));
        temporary = max_size(temporary, nas_layer_temporary(layer, max_batch) +
                                            nas_layer_kept(layer, max_batch));
        scratch = max_size(scratch, nas_layer_scratch(layer, max_batch, omp_get_max_threads()));
        largest = max_size(largest, slot_floats(slot->out_h, slot->out_w, slot->out_c));
    }
    const size_t buffer = largest * (size_t)max_batch;
    infer->scratch = aligned_alloc(NAS_ALIGN, nas_arena_round(scratch + 1));
    if (infer->block == NULL || infer->scratch == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "inference: out of memory");
    else
        status = nas_arena_init(
            &infer->arena, bytes + temporary + 2 * nas_arena_round(buffer * sizeof(float)), err);
    if (status != NAS_OK) {
        nas_infer_free(infer);
        return status;
    }
    fold_blocks(infer, model, choice, first);
    for (int i = 0; i < 2; i++)
        infer->buffer[i] = nas_arena_floats(&infer->arena, buffer);
    infer->run_mark = nas_arena_mark(&infer->arena);
    *out = infer;
    return NAS_OK;
}

nas_status nas_infer_new(nas_infer **out, const nas_model *model, const int *choice, int max_batch,
                         nas_err *err)
{
    return nas_infer_new_part(out, model, choice, 0, model->slots, max_batch, err);
}

void nas_infer_free(nas_infer *infer)
{
    if (infer == NULL)
        return;
    nas_arena_fini(&infer->arena);
    free(infer->scratch);
    free(infer->block);
    free(infer);
}

/* `stamp` NULL: without looking at the clock. */
static const float *run_blocks(nas_infer *infer, int n, const float *input, double *stamp)
{
    const nas_run run = {.kernels = infer->kernels, .arena = &infer->arena,
                         .scratch = infer->scratch, .n = n};
    const float *x = input;
    int turn = 0;

    assert(n >= 1 && n <= infer->max_batch);
    nas_arena_release(&infer->arena, infer->run_mark);
    if (stamp != NULL)
        *stamp++ = nas_clock_seconds();
    for (int i = 0; i < infer->count; i++) {
        infer_block *block = &infer->block[i];
        if (!block->skip) {
            float *y = infer->buffer[turn ^= 1];
            nas_layer_forward(&block->layer, &run, block->params, x, block->shortcut ? x : NULL, y);
            x = y;
        }
        if (stamp != NULL)
            *stamp++ = nas_clock_seconds();
    }
    return x;
}

const float *nas_infer_run(nas_infer *infer, int n, const float *input)
{
    return run_blocks(infer, n, input, NULL);
}

const float *nas_infer_run_stamped(nas_infer *infer, int n, const float *input, double *stamp)
{
    return run_blocks(infer, n, input, stamp);
}

size_t nas_infer_input_floats(const nas_infer *infer) { return infer->input_floats; }
size_t nas_infer_output_floats(const nas_infer *infer) { return infer->output_floats; }

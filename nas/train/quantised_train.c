/* The hooks of a training of rounded weights. */
#include "nas/train/quantised_train.h"

#include <string.h>

static const nas_dtype dtypes[] = {
    [NAS_QUANTIZER_F32] = NAS_DTYPE_F32,
    [NAS_QUANTIZER_F64] = NAS_DTYPE_F64,
    [NAS_QUANTIZER_U8] = NAS_DTYPE_U8,
};

static void stepped(void *user, double lr)
{
    const nas_quantised_training *t = user;
    const nas_range_sgd sgd = {.lr = lr, .momentum = t->momentum, .decay = t->decay};

    nas_quantizer_step(t->quantizer, &sgd);
}

static nas_status put_array(void *user, const char *name, nas_quantizer_type type, int64_t count,
                            void *data, nas_err *err)
{
    nas_safetensors_builder_add(user, name, dtypes[type], 1, &count, data);
    return NAS_OK;
}

static void add(void *user, nas_safetensors_builder *builder)
{
    const nas_quantised_training *t = user;

    nas_quantizer_state(t->quantizer, put_array, builder, NULL);
}

static nas_status expect_array(void *user, const char *name, nas_quantizer_type type,
                               int64_t count, void *data, nas_err *err)
{
    const nas_safetensors_tensor *tensor;

    return nas_safetensors_expect(user, name, dtypes[type], 1, &count, &tensor, err);
}

static nas_status copy_array(void *user, const char *name, nas_quantizer_type type, int64_t count,
                             void *data, nas_err *err)
{
    memcpy(data, nas_safetensors_find(user, name)->data,
           (size_t)count * nas_dtype_size(dtypes[type]));
    return NAS_OK;
}

static nas_status read_arrays(void *user, const nas_safetensors *file, nas_err *err)
{
    const nas_quantised_training *t = user;
    nas_status status = nas_quantizer_state(t->quantizer, expect_array, (void *)file, err);

    if (status == NAS_OK)
        status = nas_quantizer_state(t->quantizer, copy_array, (void *)file, err);
    if (status == NAS_OK)
        nas_quantizer_refresh(t->quantizer);
    return status;
}

nas_status nas_quantised_training_policy(const nas_safetensors *file,
                                         const nas_quantizer *quantizer, nas_bits *bits,
                                         nas_err *err)
{
    const int sites = nas_quantizer_count(quantizer);
    const int64_t count = (int64_t)sites * NAS_QUANTIZER_NUMBERS;
    const nas_safetensors_tensor *tensor;
    const nas_status status = nas_safetensors_expect(file, NAS_QUANTIZER_SITES, NAS_DTYPE_F64, 1,
                                                     &count, &tensor, err);

    return status == NAS_OK ? nas_quantizer_read_bits(quantizer, tensor->data, bits, err) : status;
}

void nas_quantised_training_init(nas_quantised_training *training, nas_quantizer *quantizer,
                                 double momentum, double decay)
{
    *training = (nas_quantised_training){
        .quantizer = quantizer, .momentum = momentum, .decay = decay,
        .hooks = {.user = training, .stepped = stepped, .add = add, .read = read_arrays}};
}

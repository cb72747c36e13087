/* See golden_supernet.h. */
#include "tests/nas/model/golden_supernet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/golden_op.h"

static const json_t *only_case(const golden_supernet *net)
{
    return json_array_get(golden_cases(net->file), 0);
}

static void read_slots(golden_supernet *net)
{
    const json_t *slots = json_object_get(only_case(net), "slots");

    for (int s = 0; s < GOLDEN_SLOTS; s++) {
        const json_t *slot = json_array_get(slots, (size_t)s);
        const json_t *candidates = json_object_get(slot, "candidates");
        const int count = (int)json_array_size(candidates);
        for (int c = 0; c < count; c++)
            net->specs[s][c] = golden_op(json_array_get(candidates, (size_t)c));
        net->slots[s] = (nas_slot){.count = count,
                                   .candidates = net->specs[s],
                                   .shortcut = golden_int(slot, "shortcut"),
                                   .stage = -1};
    }
}

void golden_supernet_init(golden_supernet *net)
{
    nas_err err;

    *net = (golden_supernet){0};
    net->file = golden_open(NAS_SOURCE_DIR "/tests/golden/supernet.safetensors");
    const int side = golden_int(only_case(net), "side");
    read_slots(net);
    net->space = (nas_space){.name = "golden",
                             .image_size = side,
                             .channels = 3,
                             .classes = GOLDEN_CLASSES,
                             .bn_momentum = 0.1f,
                             .bn_eps = 1e-3f,
                             .count = GOLDEN_SLOTS,
                             .slots = net->slots};
    if (nas_model_new(&net->model, &net->space, &err) != NAS_OK) {
        fprintf(stderr, "golden supernet: %s\n", err.message);
        abort();
    }
    net->images = (size_t)(GOLDEN_BATCH * side * side * 3);
    net->x = golden_floats(net->file, NULL, "x", net->images);
    const float *labels = golden_floats(net->file, NULL, "labels", GOLDEN_BATCH);
    for (int i = 0; i < GOLDEN_BATCH; i++) {
        net->labels[i] = (int)labels[i];
        net->targets[i * GOLDEN_CLASSES + net->labels[i]] = 1.0f;
    }
    golden_supernet_reset(net);
}

void golden_supernet_fini(golden_supernet *net)
{
    nas_model_free(net->model);
    golden_close(net->file);
}

static void reset_candidate(golden_supernet *net, int slot, int candidate)
{
    const nas_layer *layer = &net->model->slot[slot].layer[candidate];
    float *params = net->model->params + net->model->slot[slot].offset[candidate];
    char prefix[32], name[80];

    nas_model_prefix(slot, candidate, prefix);
    for (int i = 0; i < layer->params; i++) {
        const nas_param *p = &layer->param[i];
        snprintf(name, sizeof name, "%s.%s", prefix, p->name);
        nas_param_from_torch(p, golden_floats(net->file, NULL, name, p->count), params);
    }
}

void golden_supernet_reset(golden_supernet *net)
{
    for (int s = 0; s < GOLDEN_SLOTS; s++)
        for (int c = 0; c < net->model->slot[s].count; c++)
            reset_candidate(net, s, c);
    memset(net->model->momentum, 0, net->model->floats * sizeof *net->model->momentum);
}

void golden_supernet_path(const golden_supernet *net, const char *name, int choice[GOLDEN_SLOTS],
                          int others[GOLDEN_SLOTS])
{
    const json_t *path = json_object_get(json_object_get(only_case(net), "paths"), name);

    for (int s = 0; s < GOLDEN_SLOTS; s++) {
        const size_t i = (size_t)s;
        choice[s] = (int)json_integer_value(json_array_get(json_object_get(path, "choice"), i));
        others[s] = (int)json_integer_value(json_array_get(json_object_get(path, "others"), i));
    }
}

/* Adds an operation of its own, and searches a space in which it competes with others.
 *
 *   cc own_operation.c $(pkg-config --cflags --libs libnas) -o own_operation
 *   ./own_operation FOLDER     makes FOLDER/photos.nasd, net.safetensors
 *
 * The operation scales every channel, and adds a scaled copy of the pixel to the left:
 * y[r][c][k] = a[k] * x[r][c][k] + b[k] * x[r][c-1][k]. */
#include <nas.h>

#include <stdio.h>
#include <string.h>

static size_t floats(const nas_op_shape *shape)
{
    return (size_t)shape->h * (size_t)shape->w * (size_t)shape->in;
}

static void lean_plan(void *user, const nas_op_shape *shape, nas_op_needs *needs)
{
    (void)user;
    needs->weights = 2 * (int64_t)shape->in;
    needs->fan_in = 2;
    needs->macs = 2 * (int64_t)floats(shape);
}

static void lean_forward(void *user, const nas_op_shape *shape, int images, const float *weights,
                         const float *x, float *y, float *kept)
{
    const size_t pixels = (size_t)images * (size_t)shape->h * (size_t)shape->w;
    const size_t width = (size_t)shape->w, channels = (size_t)shape->in;

    (void)user;
    (void)kept; /* x is all that backward needs */
    for (size_t p = 0; p < pixels; p++)
        for (size_t k = 0; k < channels; k++) {
            const size_t i = p * channels + k;
            y[i] = weights[k] * x[i];
            if (p % width > 0)
                y[i] += weights[channels + k] * x[i - channels];
        }
}

static void lean_backward(void *user, const nas_op_shape *shape, int images, const float *weights,
                          const float *x, const float *kept, const float *dy, float *dx,
                          float *dweights)
{
    const size_t pixels = (size_t)images * (size_t)shape->h * (size_t)shape->w;
    const size_t width = (size_t)shape->w, channels = (size_t)shape->in;

    (void)user;
    (void)kept;
    for (size_t p = 0; p < pixels; p++)
        for (size_t k = 0; k < channels; k++) {
            const size_t i = p * channels + k;
            if (dx != NULL) { /* written, and read by the pixel to the left alone */
                dx[i] = weights[k] * dy[i];
                if (p % width + 1 < width)
                    dx[i] += weights[channels + k] * dy[i + channels];
            }
            if (dweights != NULL) { /* added to */
                dweights[k] += dy[i] * x[i];
                if (p % width > 0)
                    dweights[channels + k] += dy[i] * x[i - channels];
            }
        }
}

/* One slot in which it competes with a pool and with nothing at all. */
static const char space_json[] =
    "{\"format\": \"onepath.space\", \"name\": \"leaning\", \"image_size\": 16, \"classes\": 4,\n"
    " \"layers\": [\n"
    "  {\"op\": \"conv\", \"out\": 16, \"kernel\": 3, \"stride\": 2, \"act\": \"relu6\"},\n"
    "  {\"shortcut\": true, \"candidates\": [\n"
    "   {\"op\": \"lean\"}, {\"op\": \"max_pool\", \"kernel\": 3}, {\"op\": \"zero\"}]},\n"
    "  {\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 4}]}";

static nas_status run(const char *folder, nas_err *err)
{
    nas_profile_options how_long;
    nas_search_options options;
    nas_train_options training;
    nas_dataset *data = NULL;
    nas_space *space = NULL;
    nas_latency_table *table = NULL;
    nas_network *network = NULL, *again = NULL;
    nas_scores scores, scores_again;
    char path[4096];
    nas_op_kind lean;
    nas_status status;

    nas_op_kind_init(&lean, sizeof lean);
    lean.name = "lean";
    lean.plan = lean_plan;
    lean.forward = lean_forward;
    lean.backward = lean_backward;
    snprintf(path, sizeof path, "%s/photos.nasd", folder);
    if ((status = nas_op_register(&lean, err)) ||
        (status = nas_dataset_synth(path, 16, 4, 400, 100, 1, err)) ||
        (status = nas_dataset_open(&data, path, err)) ||
        (status = nas_space_parse(&space, space_json, "leaning", err)) ||
        (status = nas_space_fit_data(space, data, err)))
        goto done;

    nas_profile_options_init(&how_long, sizeof how_long);
    how_long.max_seconds = 0.5;
    nas_search_options_init(&options, sizeof options);
    options.target_ms = 1000.0; /* anything is fast enough */
    options.warmup_epochs = 1;
    options.epochs = 2;
    options.batch = 32;
    nas_train_options_init(&training, sizeof training);
    training.epochs = 3;
    if ((status = nas_latency_measure(&table, space, &how_long, NULL, err)) ||
        (status = nas_search_network(&network, space, data, table, &options, NULL, NULL, err)) ||
        (status = nas_network_train(network, data, &training, NULL, NULL, err)) ||
        (status = nas_network_evaluate(network, data, "test", &scores, err)))
        goto done;
    printf("test: top-1 %.3f\n", scores.top1);

    snprintf(path, sizeof path, "%s/net.safetensors", folder);
    if ((status = nas_network_save(network, path, err)) ||
        (status = nas_network_load(&again, path, err)) ||
        (status = nas_network_evaluate(again, data, "test", &scores_again, err)))
        goto done;
    printf("read again: %s\n", scores.loss == scores_again.loss ? "the same" : "another");

done:
    nas_network_free(again);
    nas_network_free(network);
    nas_latency_table_free(table);
    nas_space_free(space);
    nas_dataset_close(data);
    return status;
}

int main(int argc, char **argv)
{
    nas_err err;

    if (argc != 2) {
        fprintf(stderr, "usage: own_operation FOLDER\n");
        return NAS_E_USAGE;
    }
    const nas_status status = run(argv[1], &err);
    if (status != NAS_OK)
        fprintf(stderr, "own_operation: %s\n%s\n", err.message, err.hint);
    return (int)status;
}

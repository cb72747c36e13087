/* Trains a network on images and writes it for other programs.
 *
 *   cc train.c $(pkg-config --cflags --libs libnas) -o train
 *   ./train FOLDER        makes FOLDER/photos.nasd, net.safetensors and net.onnx
 *
 * The images are drawn; your own come from a folder by nas_dataset_import. */
#include <nas.h>

#include <stdio.h>

static void show_epoch(void *user, int64_t epoch, const char *name, double value)
{
    (void)user;
    printf("epoch %lld: %s %.4f\n", (long long)epoch, name, value);
}

static const char *in_folder(char *out, size_t size, const char *folder, const char *file)
{
    snprintf(out, size, "%s/%s", folder, file);
    return out;
}

static nas_status run(const char *folder, nas_err *err)
{
    const nas_watch watch = {.metric = show_epoch};
    char path[4096];
    nas_dataset *data = NULL;
    nas_space *space = NULL;
    nas_arch *arch = NULL;
    nas_network *network = NULL;
    nas_train_options options;
    nas_train_report report;
    nas_scores scores;
    nas_status status;

    in_folder(path, sizeof path, folder, "photos.nasd");
    if ((status = nas_dataset_synth(path, 16, 4, 400, 100, 1, err)) ||
        (status = nas_dataset_open(&data, path, err)))
        goto done;

    /* Any architecture will do: this one is drawn from a small space. */
    if ((status = nas_space_load(&space, "tiny", err)) ||
        (status = nas_space_fit_data(space, data, err)) ||
        (status = nas_space_draw(&arch, space, 1, 0, err)) ||
        (status = nas_network_new(&network, arch, 1, err)))
        goto done;
    printf("%lld multiply-accumulates, %lld parameters\n", (long long)nas_arch_macs(arch),
           (long long)nas_arch_parameters(arch));

    nas_train_options_init(&options, sizeof options);
    options.epochs = 5;
    options.batch = 32;
    if ((status = nas_network_train(network, data, &options, &watch, &report, err)) ||
        (status = nas_network_evaluate(network, data, "test", &scores, err)))
        goto done;
    printf("test: top-1 %.3f over %lld images, loss %.3f\n", scores.top1,
           (long long)scores.images, scores.loss);

    if ((status = nas_network_save(network, in_folder(path, sizeof path, folder,
                                                      "net.safetensors"), err)) == NAS_OK)
        status = nas_network_export_onnx(network,
                                         in_folder(path, sizeof path, folder, "net.onnx"), err);

done:
    nas_network_free(network);
    nas_arch_free(arch);
    nas_space_free(space);
    nas_dataset_close(data);
    return status;
}

int main(int argc, char **argv)
{
    nas_err err;

    if (argc != 2) {
        fprintf(stderr, "usage: train FOLDER\n");
        return NAS_E_USAGE;
    }
    const nas_status status = run(argv[1], &err);
    if (status != NAS_OK)
        fprintf(stderr, "train: %s\n%s\n", err.message, err.hint);
    return (int)status;
}

/* Measures what operations cost on this machine, then searches a network that is fast enough.
 *
 *   cc profile_and_search.c $(pkg-config --cflags --libs libnas) -o profile_and_search
 *   ./profile_and_search FOLDER
 *
 * makes FOLDER/photos.nasd, here.yaml, arch.json and net.safetensors. */
#include <nas.h>

#include <math.h>
#include <stdio.h>

static void show_epoch(void *user, int64_t epoch, const char *name, double value)
{
    (void)user;
    if (!isnan(value))
        printf("epoch %lld: %s %.4f\n", (long long)epoch, name, value);
}

static const char *in_folder(char *out, size_t size, const char *folder, const char *file)
{
    snprintf(out, size, "%s/%s", folder, file);
    return out;
}

/* Images, and a space that fits them. */
static nas_status prepare(nas_dataset **data, nas_space **space, const char *folder, nas_err *err)
{
    char path[4096];
    nas_status status;

    in_folder(path, sizeof path, folder, "photos.nasd");
    if ((status = nas_dataset_synth(path, 16, 4, 400, 100, 1, err)) ||
        (status = nas_dataset_open(data, path, err)) ||
        (status = nas_space_load(space, "tiny", err)))
        return status;
    return nas_space_fit_data(*space, *data, err);
}

/* A table of this machine, which other programs may use, too. */
static nas_status profile(nas_latency_table **table, const nas_space *space, const char *folder,
                          nas_err *err)
{
    nas_profile_options options;
    char path[4096];
    nas_status status;

    nas_profile_options_init(&options, sizeof options);
    options.max_seconds = 1.0; /* a table that others rely on deserves minutes */
    if ((status = nas_latency_measure(table, space, &options, NULL, err)) != NAS_OK)
        return status;
    return nas_latency_table_save(*table, in_folder(path, sizeof path, folder, "here.yaml"), err);
}

static nas_status search(nas_network **network, const nas_space *space, const nas_dataset *data,
                         const nas_latency_table *table, const char *folder, nas_err *err)
{
    const nas_watch watch = {.metric = show_epoch};
    nas_search_options options;
    nas_search_report report;
    char path[4096];
    double fastest, slowest;
    nas_status status;

    if ((status = nas_latency_range(&fastest, &slowest, table, space, err)) != NAS_OK)
        return status;
    nas_search_options_init(&options, sizeof options);
    options.target_ms = (fastest + slowest) / 2;
    options.warmup_epochs = 1;
    options.epochs = 2;
    options.batch = 32;
    options.derive_samples = 3;
    printf("from %.4f to %.4f ms; at most %.4f\n", fastest, slowest, options.target_ms);
    if ((status = nas_search_network(network, space, data, table, &options, &watch, &report,
                                     err)) != NAS_OK)
        return status;
    printf("found: %.4f ms by the table\n", report.latency_ms);
    if ((status = nas_arch_save(nas_network_arch(*network),
                                in_folder(path, sizeof path, folder, "arch.json"), err)) != NAS_OK)
        return status;
    return nas_network_save(*network, in_folder(path, sizeof path, folder, "net.safetensors"),
                            err);
}

/* The same limit, but judged by something else: here, that more parameters are better. */
static nas_status parameters(void *user, const nas_arch *arch, double *worth, nas_err *err)
{
    (void)user;
    (void)err;
    *worth = (double)nas_arch_parameters(arch);
    return NAS_OK;
}

int main(int argc, char **argv)
{
    nas_dataset *data = NULL;
    nas_space *space = NULL;
    nas_latency_table *table = NULL;
    nas_network *network = NULL;
    nas_arch *largest = NULL;
    nas_err err;
    double most, ms;
    nas_status status;

    if (argc != 2) {
        fprintf(stderr, "usage: profile_and_search FOLDER\n");
        return NAS_E_USAGE;
    }
    if ((status = prepare(&data, &space, argv[1], &err)) ||
        (status = profile(&table, space, argv[1], &err)) ||
        (status = search(&network, space, data, table, argv[1], &err)) ||
        (status = nas_latency_of(&ms, table, nas_network_arch(network), &err)) ||
        (status = nas_search_evolve(&largest, space, table, ms, 1, parameters, NULL, &most, &err)))
        fprintf(stderr, "profile_and_search: %s\n%s\n", err.message, err.hint);
    else
        printf("as fast, with most parameters: %.0f\n", most);
    nas_arch_free(largest);
    nas_network_free(network);
    nas_latency_table_free(table);
    nas_space_free(space);
    nas_dataset_close(data);
    return (int)status;
}

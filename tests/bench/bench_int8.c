/* bench_int8 FLOATS INT8 [THREADS [TURNS]]: two forms of one network in turn, one image at a time; a
 * turn is 20 runs of the one, then 20 of the other.  Prints the median time of each block of both,
 * and the median, tenth and ninetieth percentile of the turns' ratios. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/stats.h"
#include "nas/model/infer.h"
#include "nas/train/checkpoint.h"

enum { NETWORKS = 2, RUNS = 20, MAX_TURNS = 1000 };

typedef struct network {
    nas_infer *infer;
    int blocks;
    double (*block)[MAX_TURNS]; /* [blocks]: seconds of one run of each turn */
    double total[MAX_TURNS];    /* of a turn */
} network;

static nas_status load(network *n, const char *path, nas_err *err)
{
    const int choice[NAS_MAX_SLOTS] = {0};
    nas_model *model = NULL;
    nas_arch *arch = NULL;
    nas_status status = nas_model_load(&model, &arch, path, err);

    if (status == NAS_OK) {
        n->blocks = model->slots;
        n->block = calloc((size_t)n->blocks, sizeof *n->block);
        status = n->block == NULL ? nas_fail(err, NAS_E_NOMEM, "out of memory")
                                  : nas_infer_new(&n->infer, model, choice, 1, err);
    }
    nas_model_free(model);
    nas_arch_free(arch);
    return status;
}

static void take_turn(network *n, const float *image, int turn)
{
    double stamp[NAS_MAX_SLOTS + 1];

    n->total[turn] = 0.0;
    for (int run = 0; run < RUNS; run++) {
        nas_infer_run_stamped(n->infer, 1, image, stamp);
        n->total[turn] += stamp[n->blocks] - stamp[0];
    }
    for (int i = 0; i < n->blocks; i++)
        n->block[i][turn] = stamp[i + 1] - stamp[i];
}

static void print(network *n, int turns)
{
    double ratio[MAX_TURNS];

    for (int i = 0; i < n[0].blocks; i++) {
        const double a = 1e6 * nas_quantile(n[0].block[i], turns, 0.5);
        const double b = 1e6 * nas_quantile(n[1].block[i], turns, 0.5);
        printf("block %2d  %8.2f us  %8.2f us  %.2f\n", i, a, b, a / b);
    }
    for (int t = 0; t < turns; t++)
        ratio[t] = n[0].total[t] / n[1].total[t];
    printf("all       %8.2f us  %8.2f us  %.2f (%.2f-%.2f)\n",
           1e6 / RUNS * nas_quantile(n[0].total, turns, 0.5),
           1e6 / RUNS * nas_quantile(n[1].total, turns, 0.5),
           nas_quantile(ratio, turns, 0.5), nas_quantile(ratio, turns, 0.1),
           nas_quantile(ratio, turns, 0.9));
}

int main(int argc, char **argv)
{
    static network n[NETWORKS];
    const int turns = argc > 4 ? atoi(argv[4]) : 100;
    nas_err err = {0};
    nas_status status = NAS_OK;

    if (argc < 3 || turns < 1 || turns > MAX_TURNS) {
        fprintf(stderr, "usage: bench_int8 FLOATS INT8 [THREADS [TURNS]]\n");
        return 2;
    }
    omp_set_num_threads(argc > 3 ? atoi(argv[3]) : 1);
    for (int i = 0; i < NETWORKS && status == NAS_OK; i++)
        status = load(&n[i], argv[1 + i], &err);
    if (status == NAS_OK && (n[0].blocks != n[1].blocks || nas_infer_input_floats(n[0].infer) !=
                                                               nas_infer_input_floats(n[1].infer)))
        status = nas_fail(&err, NAS_E_CONFIG, "these are not two forms of one network");
    float *image =
        status == NAS_OK ? calloc(nas_infer_input_floats(n[0].infer), sizeof *image) : NULL;
    for (int t = 0; t < turns && image != NULL; t++)
        for (int i = 0; i < NETWORKS; i++)
            take_turn(&n[i], image, t);
    if (image != NULL)
        print(n, turns);
    else
        fprintf(stderr, "bench_int8: %s\n", err.message);
    for (int i = 0; i < NETWORKS; i++) {
        nas_infer_free(n[i].infer);
        free(n[i].block);
    }
    free(image);
    return image == NULL;
}

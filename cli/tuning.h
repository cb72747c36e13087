/* The steps of training that a policy of `nas prune` or `nas quantize` gets before it is judged. */
#ifndef NAS_CLI_TUNING_H
#define NAS_CLI_TUNING_H

#include "nas/data/loader.h"
#include "nas/data/split.h"
#include "nas/train/train.h"

typedef struct cli_tuning {
    int steps, batch;     /* steps 0: none                                       */
    double lr, decay;     /* SGD with Nesterov, momentum 0.9; cosine to 0        */
    double distill;       /* share of a teacher's answers in the targets         */
    const char *augment;
    uint64_t seed;
    int threads;
    nas_loader *loader;   /* cli_tuning_open; NULL: no steps                     */
} cli_tuning;

/** Opens the images of the steps, the same for every policy: the first of `train` that they need.
 * Nothing is done without steps.  NAS_E_CONFIG if there are not enough. */
nas_status cli_tuning_open(cli_tuning *tuning, const nas_dataset *data, const nas_index *train,
                           int image_size, const char *stream, nas_err *err);
void cli_tuning_close(cli_tuning *tuning);

/** Trains `model`, whose momentum is zero before and after.  `teacher` is asked only where
 * `distill` is above 0; `hooks` (NULL: none) sees each step.  The observer may stop it. */
nas_status cli_tuning_run(const cli_tuning *tuning, nas_model *model, const nas_model *teacher,
                          const nas_train_hooks *hooks, const nas_observer *observer,
                          nas_err *err);

#endif

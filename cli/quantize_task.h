/* What `nas quantize` works with: a network, its quantizer, and images to calibrate and to judge
 * on, which are those that training holds out. */
#ifndef NAS_CLI_QUANTIZE_TASK_H
#define NAS_CLI_QUANTIZE_TASK_H

#include "cli/tuning.h"
#include "nas/model/exec.h"
#include "nas/quant/quantizer.h"
#include "nas/train/observer.h"
#include "search/haq/greedy.h"

typedef struct cli_quantize_config {
    nas_quantizer_config quantizer;
    int calibration_images;
    const char *augment; /* preset that the network was trained with: batch statistics follow it */
    cli_tuning tuning;   /* before a policy is judged; not opened yet                            */
    bool taught;         /* of a copy of the network of floats                                   */
    double valid_fraction;
    uint64_t seed;
    int threads;
} cli_quantize_config;

typedef struct cli_quantize_task {
    nas_arch *arch;
    nas_model *model, *teacher; /* the teacher: NULL but where it is asked for */
    nas_dataset *data;
    nas_quantizer *quantizer;
    nas_index train, valid;
    nas_loader *calibration, *judged; /* batches of train and of valid */
    cli_tuning tuning;
    nas_exec *exec;
    int choice[NAS_MAX_SLOTS];        /* all zero: one candidate a slot */
} cli_quantize_task;

/** Loads both and calibrates.  NAS_E_CONFIG if they do not fit each other, the network is
 * quantised already, there are too few images, or there is no such preset. */
nas_status cli_quantize_load(cli_quantize_task *task, const char *model, const char *data,
                             const cli_quantize_config *config, nas_err *err);
void cli_quantize_fini(cli_quantize_task *task);

/** Applies a policy and averages the batch statistics of the rounded network over the calibration
 * images, augmented as in training (where a site has fewer than 8 bits).  The observer may stop
 * it. */
nas_status cli_quantize_apply(cli_quantize_task *task, const nas_bits *bits,
                              const nas_observer *observer, nas_err *err);
/** What rounding each layer's weight alone (`inputs`: or its input alone) does to the loss on the
 * calibration images; harm[sites], complete from `least` on.  The network is left as floats. */
nas_status cli_quantize_harm(cli_quantize_task *task, int least, bool inputs, nas_harm *harm,
                             const nas_observer *observer, nas_err *err);
/** Trains the network as it is for the steps of `tuning`, on its levels by `hooks`.  The next
 * cli_quantize_apply forgets them. */
nas_status cli_quantize_tune(cli_quantize_task *task, const nas_train_hooks *hooks,
                             const nas_observer *observer, nas_err *err);
/** Share of the held out images that the network as it is recognises. */
nas_status cli_quantize_judge(cli_quantize_task *task, const nas_observer *observer, double *top1,
                              nas_err *err);

/** The policy in force as people and scripts see it: a list of {"layer", "weight_bits",
 * "input_bits", "weights", "macs"}. */
json_t *cli_quantize_policy(const cli_quantize_task *task);

#endif

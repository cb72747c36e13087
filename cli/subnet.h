/* Subnets of a supernet for the commands that judge them or take them out. */
#ifndef NAS_CLI_SUBNET_H
#define NAS_CLI_SUBNET_H

#include <stddef.h>

#include "cli/command.h"
#include "search/ofa/judge.h"

/** Options of such commands; embed. */
typedef struct cli_subnet_options {
    const char *model, *data;
    int64_t recalibrate_images, score_images;
} cli_subnet_options;
/** Their rows for a struct that has them at `base`. */
#define CLI_SUBNET_ROWS(base)                                                                      \
    {"--model", NAS_OPT_STRING, (base) + offsetof(cli_subnet_options, model), NULL, 0, 0, NULL,    \
     "FILE", "supernet.safetensors of a run of nas ofa shrink", true},                             \
    {"--data", NAS_OPT_STRING, (base) + offsetof(cli_subnet_options, data), NULL, 0, 0, NULL,      \
     "FILE", "packed images that it was trained on", true},                                        \
    CLI_JUDGE_ROWS((base) + offsetof(cli_subnet_options, recalibrate_images),                      \
                   (base) + offsetof(cli_subnet_options, score_images))
#define CLI_JUDGE_ROWS(recalibrate, score)                                                         \
    {"--recalibrate-images", NAS_OPT_INT, recalibrate, "2000", 1, 1e9, NULL, "N",                  \
     "training images for the statistics of batch norm, before a subnet is judged"},               \
    {"--score-images", NAS_OPT_INT, score, "0", 0, 1e9, NULL, "N",                                 \
     "held-out images that judge a subnet at most; 0: all"}

typedef struct cli_subnets {
    nas_supernet *net;
    nas_dataset *data;
    nas_judge *judge;
} cli_subnets;

/** True if the file is a supernet. */
bool cli_is_supernet(const char *path);
/** Loads supernet and data and gets ready to judge.  NAS_E_CONFIG where these are not the images that
 * it was trained on, unless `others` will do.  After an error too, what was made is there until
 * cli_subnets_close. */
nas_status cli_subnets_open(cli_subnets *out, const cli_subnet_options *options,
                            const cli_common *common, bool others, nas_err *err);
void cli_subnets_close(cli_subnets *subnets);
/** Digests of both, by the names of the options (yours). */
nas_status cli_subnets_inputs(json_t **out, const cli_subnets *subnets, nas_err *err);

/** Choice of an architecture file (NULL: the largest subnet that was trained) and its image size,
 * which the supernet must have been trained on; `image_size` above 0 is taken instead. */
nas_status cli_subnet_find(const cli_subnets *subnets, const char *arch, int image_size,
                           int *choice, int *size, nas_err *err);
/** The subnet as a model of its own, re-calibrated, and its score on the held-out images (NULL:
 * not wanted). */
nas_status cli_subnet_take(nas_model **model, nas_arch **arch, nas_score *score,
                           cli_subnets *subnets, const int *choice, int image_size,
                           const nas_observer *observer, nas_err *err);

#endif

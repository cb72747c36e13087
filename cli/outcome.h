/* What commands that end with a network have in common: its files and its numbers. */
#ifndef NAS_CLI_OUTCOME_H
#define NAS_CLI_OUTCOME_H

#include "cli/run_session.h"
#include "nas/train/evaluate.h"
#include "search/evolution/evolution.h"

/** Writes arch.json and model.safetensors into the run, registers both, and puts `run`,
 * `arch`, `model`, `macs` and `parameters` into `result`. */
nas_status cli_outcome_save(cli_session *session, const nas_model *model, const nas_arch *arch,
                            int64_t step, json_t *result, nas_err *err);
/** The same for one network of several, into arch<suffix>.json and model<suffix>.safetensors. */
nas_status cli_outcome_save_one(cli_session *session, const nas_model *model, const nas_arch *arch,
                                const char *suffix, int64_t step, json_t *result, nas_err *err);

/** Id of the run of `store` whose file `model` is; 0: of none. */
int64_t cli_model_run(const char *store, const char *model);

/** Warns where the run `parent` (0: none) has trained on images that are held out here: they are
 * drawn by the seed, and a larger share holds all of a smaller one. */
void cli_warn_trained_on(const cli_session *session, int64_t parent, double valid_fraction);

/** The network of a candidate, for its image size. */
nas_status cli_candidate_arch(nas_arch **out, const nas_space *space,
                              const nas_candidate *candidate, nas_err *err);

/** Records how `count` networks of `space` were judged, the answer first, as evaluations of the
 * attempt's run; `source` names the way of judging. */
nas_status cli_outcome_record(nas_store *store, nas_store_attempt attempt, const char *source,
                              const nas_space *space, const nas_candidate *list, int count,
                              nas_err *err);

/** Scores all images of a split; `visit` (NULL: none) as in nas_evaluate. */
nas_status cli_score_split(nas_score *score, const nas_model *model, const nas_dataset *data,
                           const nas_data_split *split, int threads,
                           nas_status (*visit)(void *user, const nas_batch *batch,
                                               const float *logits, nas_err *err),
                           void *user, nas_err *err);

/** Median time of one image through a network, on this machine. */
nas_status cli_measure_ms(double *out, const nas_model *model, nas_err *err);

#endif

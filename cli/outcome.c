/* The files of a finished run, and how good its network is. */
#include "cli/outcome.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/stats.h"
#include "nas/train/checkpoint.h"

nas_status cli_outcome_save(cli_session *session, const nas_model *model, const nas_arch *arch,
                            int64_t step, json_t *result, nas_err *err)
{
    return cli_outcome_save_one(session, model, arch, "", step, result, err);
}

nas_status cli_outcome_save_one(cli_session *session, const nas_model *model, const nas_arch *arch,
                                const char *suffix, int64_t step, json_t *result, nas_err *err)
{
    char arch_file[NAS_STORE_NAME_SIZE + 32], model_file[NAS_STORE_NAME_SIZE + 32];
    const nas_op_cost cost = nas_arch_cost(arch, 0);

    snprintf(arch_file, sizeof arch_file, "arch%s.json", suffix);
    snprintf(model_file, sizeof model_file, "model%s.safetensors", suffix);
    char *arch_path = cli_session_path(session, arch_file);
    char *model_path = cli_session_path(session, model_file);
    nas_status status;

    if (arch_path == NULL || model_path == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "result: out of memory");
        goto done;
    }
    if ((status = nas_arch_save(arch, arch_path, err)) ||
        (status = nas_model_save(model, arch, model_path, err)) ||
        (status = cli_session_artifact(session, "arch", arch_file, step, err)) ||
        (status = cli_session_artifact(session, "model", model_file, step, err)))
        goto done;
    json_object_set_new(result, "run", json_string(session->name));
    json_object_set_new(result, "arch", json_string(arch_path));
    json_object_set_new(result, "model", json_string(model_path));
    json_object_set_new(result, "macs", json_integer(cost.macs));
    json_object_set_new(result, "parameters", json_integer(cost.parameters));

done:
    free(arch_path);
    free(model_path);
    return status;
}

int64_t cli_model_run(const char *folder, const char *model)
{
    nas_store_artifact *list = NULL;
    nas_store *store = NULL;
    int64_t run = 0;
    int count = 0;

    /* Not to read only: that refuses a store of an older version, which the run will migrate. */
    if (nas_store_open(&store, folder, NAS_STORE_EXISTING, NULL) == NAS_OK &&
        nas_store_artifact_list(store, 0, NULL, &list, &count, NULL) == NAS_OK)
        for (int i = 0; i < count && run == 0; i++) {
            char *path = nas_store_path(store, list[i].run, list[i].file);

            if (path != NULL && nas_path_same(path, model))
                run = list[i].run;
            free(path);
        }
    free(list);
    nas_store_close(store);
    return run;
}

void cli_warn_trained_on(const cli_session *session, int64_t parent, double valid_fraction)
{
    static const char *const kinds[] = {"train", "prune", "quantize"};
    nas_store_run *run = NULL;
    json_t *config = NULL;
    bool trained = false;
    char id[32];

    snprintf(id, sizeof id, "%lld", (long long)parent);
    if (parent > 0 && nas_store_run_get(session->store, id, &run, NULL) == NAS_OK &&
        cli_session_config(&config, run, NULL) == NAS_OK) {
        const double share = json_number_value(json_object_get(config, "valid_fraction"));

        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            trained = trained || strcmp(run->kind, kinds[i]) == 0;
        if (trained && ((int64_t)run->seed != session->context->common->seed ||
                        share < valid_fraction))
            nas_log(NAS_LOG_WARN, "run %s held other images out (--seed %lld --valid-fraction %g): "
                    "accuracies of this one are too good, as some that judge here were trained on",
                    run->name, (long long)run->seed, share);
    }
    json_decref(config);
    nas_store_run_free(run);
}

nas_status cli_candidate_arch(nas_arch **out, const nas_space *space,
                              const nas_candidate *candidate, nas_err *err)
{
    const nas_status status = nas_space_arch(out, space, candidate->choice, err);

    if (status == NAS_OK && candidate->image_size > 0)
        (*out)->image_size = candidate->image_size;
    return status;
}

/* Finds or adds a network in the store. */
static nas_status record_arch(nas_store *store, const nas_space *space,
                              const nas_candidate *candidate, int64_t *id, nas_err *err)
{
    nas_arch *arch = NULL;
    char digest[NAS_DIGEST_SIZE];
    nas_status status;

    if ((status = cli_candidate_arch(&arch, space, candidate, err)) == NAS_OK &&
        (status = nas_arch_digest(arch, digest, err)) == NAS_OK) {
        const nas_op_cost cost = nas_arch_cost(arch, 0);
        json_t *json = nas_arch_to_json(arch);
        char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
        const nas_store_architecture row = {.digest = digest, .json = text, .space = space->name,
                                            .macs = cost.macs, .parameters = cost.parameters};

        status = text != NULL ? nas_store_architecture_put(store, &row, id, err)
                              : nas_fail(err, NAS_E_NOMEM, "result: out of memory");
        free(text);
        json_decref(json);
    }
    nas_arch_free(arch);
    return status;
}

nas_status cli_outcome_record(nas_store *store, nas_store_attempt attempt, const char *source,
                              const nas_space *space, const nas_candidate *list, int count,
                              nas_err *err)
{
    nas_store_evaluation *rows = calloc((size_t)count + 1, sizeof *rows);
    nas_status status = rows != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "result: no memory");

    for (int i = 0; i < count && status == NAS_OK; i++) {
        rows[i] = (nas_store_evaluation){.source = source, .rank = i,
                                         .latency_ms = list[i].latency_ms, .loss = NAN,
                                         .top1 = list[i].score, .top5 = NAN, .selected = i == 0};
        status = record_arch(store, space, &list[i], &rows[i].architecture, err);
    }
    if (status == NAS_OK)
        status = nas_store_evaluations_put(store, attempt, rows, count, err);
    free(rows);
    return status;
}

nas_status cli_score_split(nas_score *score, const nas_model *model, const nas_dataset *data,
                           const nas_data_split *split, int threads,
                           nas_status (*visit)(void *user, const nas_batch *batch,
                                               const float *logits, nas_err *err),
                           void *user, nas_err *err)
{
    return nas_evaluate_split(score, model, data, split, threads, visit, user, err);
}

nas_status cli_measure_ms(double *out, const nas_model *model, nas_err *err)
{
    enum { TIMED_RUNS = 30, WARM_RUNS = 3 };
    const int choice[NAS_MAX_SLOTS] = {0};
    double ms[TIMED_RUNS];
    nas_infer *infer = NULL;
    nas_status status = nas_infer_new(&infer, model, choice, 1, err);
    float *image = status == NAS_OK ? calloc(nas_infer_input_floats(infer), sizeof *image) : NULL;

    if (status == NAS_OK && image == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "timing: out of memory");
    for (int i = -WARM_RUNS; i < TIMED_RUNS && status == NAS_OK; i++) {
        const double start = nas_clock_seconds();

        nas_infer_run(infer, 1, image);
        if (i >= 0)
            ms[i] = 1e3 * (nas_clock_seconds() - start);
    }
    if (status == NAS_OK)
        *out = nas_quantile(ms, TIMED_RUNS, 0.5);
    free(image);
    nas_infer_free(infer);
    return status;
}

/* nas ofa extract - takes a subnet out of a supernet as a model of its own. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/subnet.h"
#include "nas/train/train.h"

typedef struct extract_options {
    cli_run_options run;
    cli_subnet_options subnet;
    const char *arch, *out, *net_config, *augment;
    int64_t image_size, epochs, batch;
    double lr, momentum, decay, label_smoothing, valid_fraction;
    bool dry_run;
} extract_options;

#define AT(field) offsetof(extract_options, field)

static const nas_option extract_table[] = {
    CLI_SUBNET_ROWS(AT(subnet)),
    {"--arch", NAS_OPT_STRING, AT(arch), NULL, 0, 0, NULL, "FILE",
     "architecture, or net.config; default: the largest"},
    {"--image-size", NAS_OPT_INT, AT(image_size), NULL, 1, NAS_MAX_IMAGE_SIZE, NULL, "PX",
     "side of the images; default: the architecture's"},
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "FILE", "model to write", true, true},
    {"--net-config", NAS_OPT_STRING, AT(net_config), NULL, 0, 0, NULL, "FILE",
     "also write the architecture as net.config", false, true},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

static const nas_option tune_table[] = {
    {"--epochs", NAS_OPT_INT, AT(epochs), "0", 0, 1e6, NULL, "N",
     "fine-tune the model for so many, as a run of the store; 0: as it is"},
    {"--batch", NAS_OPT_INT, AT(batch), "64", 2, 4096, NULL, "N", "images a step"},
    {"--lr", NAS_OPT_REAL, AT(lr), "0.005", 0, 100, NULL, "X",
     "first learning rate; follows a cosine to 0"},
    {"--momentum", NAS_OPT_REAL, AT(momentum), "0.9", 0, 0.9999, NULL, "X", "of SGD (Nesterov)"},
    {"--decay", NAS_OPT_REAL, AT(decay), "3e-5", 0, 1, NULL, "X", "weight decay"},
    {"--label-smoothing", NAS_OPT_REAL, AT(label_smoothing), "0.1", 0, 0.99, NULL, "X",
     "share of the label given to all classes"},
    {"--augment", NAS_OPT_STRING, AT(augment), "cifar", 0, 0, NULL, "PRESET",
     "none, cifar (shift, flip) or imagenet (crop, flip, colour)"},
    {0},
};

static nas_status load_checkpoint(void *self, const char *path, nas_err *err)
{
    return nas_trainer_load(self, path, err);
}

static nas_status inputs_of(json_t **out, const cli_subnets *subnets, const nas_arch *arch,
                            nas_err *err)
{
    char digest[NAS_DIGEST_SIZE];
    nas_status status;

    if ((status = nas_arch_digest(arch, digest, err)) ||
        (status = cli_subnets_inputs(out, subnets, err)))
        return status;
    json_object_set_new(*out, "arch", json_string(digest));
    return NAS_OK;
}

static nas_status new_trainer(nas_trainer **out, const extract_options *o,
                              const cli_subnets *subnets, nas_model *model, nas_err *err)
{
    const nas_train_config config = {
        .epochs = o->epochs, .batch = (int)o->batch, .lr = o->lr, .momentum = o->momentum,
        .decay = o->decay, .label_smoothing = o->label_smoothing, .augment = o->augment,
        .valid_fraction = subnets->net->valid_fraction, .seed = subnets->net->seed,
        .loader_threads = (int)o->run.common.threads, .memory = (nas_memory)o->run.memory};

    return nas_trainer_new(out, model, subnets->data, &config, err);
}

static nas_status write_net_config(const nas_arch *arch, const char *path, nas_err *err)
{
    json_t *json = NULL;
    nas_status status = nas_arch_to_net_config(&json, arch, err);

    if (status == NAS_OK)
        status = nas_json_save(json, path, err);
    json_decref(json);
    return status;
}

static nas_status write_outputs(const extract_options *o, const nas_model *model,
                                const nas_arch *arch, nas_err *err)
{
    const nas_status status = nas_model_save(model, arch, o->out, err);

    return status == NAS_OK && o->net_config != NULL ? write_net_config(arch, o->net_config, err)
                                                     : status;
}

/* The run is done when all is written: otherwise it can be continued. */
static nas_status tune_in_run(cli_session *session, const extract_options *o, nas_trainer *trainer,
                              nas_model *model, const nas_arch *arch, json_t *result, nas_err *err)
{
    nas_train_result trained;
    nas_status status;

    if ((status = cli_session_restore(session, load_checkpoint, trainer, err)) == NAS_OK &&
        (status = nas_trainer_run(trainer, &session->observer, &trained, err)) == NAS_OK &&
        (status = cli_outcome_save(session, model, arch, trained.steps, result, err)) == NAS_OK &&
        (status = write_outputs(o, model, arch, err)) == NAS_OK) {
        json_object_set_new(result, "epochs", json_integer(o->epochs));
        json_object_set_new(result, "valid_top1_tuned", cli_real(trained.valid_top1));
    }
    return status;
}

/* Fine-tuning, with the images held out that the supernet held out. */
static nas_status tune(const cli_context *context, const extract_options *o,
                       const cli_subnets *subnets, nas_model *model, const nas_arch *arch,
                       json_t *result, nas_err *err)
{
    nas_trainer *trainer = NULL;
    json_t *inputs = NULL;
    cli_session session;
    nas_status status; /* what makes no sense is refused before there is a run */

    if ((status = new_trainer(&trainer, o, subnets, model, err)) == NAS_OK &&
        (status = inputs_of(&inputs, subnets, arch, err)) == NAS_OK &&
        (status = cli_session_open(&session, context, inputs, err)) == NAS_OK) {
        status = tune_in_run(&session, o, trainer, model, arch, result, err);
        status = cli_session_close(&session, status, status == NAS_OK ? result : NULL, err);
    }
    json_decref(inputs);
    nas_trainer_free(trainer);
    return status;
}

/* Nothing is written over what is read, or over the other output. */
static nas_status check_outputs(const extract_options *o, nas_err *err)
{
    const char *const read[] = {o->subnet.model, o->subnet.data, o->arch};
    nas_status status = cli_check_output(read, 3, "--out", o->out, o->dry_run, err);

    if (status == NAS_OK)
        status = cli_check_out(o->out, "--net-config", o->net_config, err);
    if (status == NAS_OK)
        status = cli_check_output(read, 3, "--net-config", o->net_config, o->dry_run, err);
    return status;
}

/* What it would take; the subnet was taken out since `started`. */
static nas_status dry_run(const cli_context *context, const extract_options *o,
                          const cli_subnets *subnets, nas_model *model, const nas_arch *arch,
                          double started, nas_err *err)
{
    const nas_op_cost cost = nas_arch_cost(arch, 0);
    const double floats = (double)model->floats;
    cli_demand demand = {.folder = o->run.common.store, .disk_bytes = sizeof(float) * floats};
    nas_trainer *trainer = NULL;
    nas_status status = NAS_OK;

    cli_demand_add(&demand, 1, nas_clock_seconds() - started);
    if (o->epochs > 0) {
        demand.disk_bytes += cli_demand_run_bytes(floats);
        if ((status = new_trainer(&trainer, o, subnets, model, err)) == NAS_OK)
            status = cli_demand_training(&demand, trainer, o->epochs, o->batch,
                                         subnets->net->valid_fraction *
                                             nas_dataset_split(subnets->data, "train")->count,
                                         err);
        nas_trainer_free(trainer);
    }
    demand.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0;
    return status == NAS_OK
               ? cli_demand_emit(context, json_pack("{s:I, s:I}", "macs", (json_int_t)cost.macs,
                                                    "parameters", (json_int_t)cost.parameters),
                                 &demand, err)
               : status;
}

static nas_status extract_run(const cli_context *context, const void *options, nas_err *err)
{
    const extract_options *o = options;
    json_t *result = json_object();
    cli_subnets subnets = {0};
    nas_model *model = NULL;
    nas_arch *arch = NULL;
    nas_score score;
    int choice[NAS_MAX_SLOTS], size;
    cli_progress progress;
    nas_status status;

    const double started = nas_clock_seconds();
    cli_progress_init(&progress, context->common);
    const nas_observer observer = cli_progress_observer(&progress);
    const char *idle = o->epochs == 0 ? cli_option_changed(tune_table, o, sizeof *o) : NULL;
    if (idle == NULL && o->epochs == 0 && o->run.name != NULL)
        idle = "--name"; /* of a run */
    if (idle != NULL) {
        status = nas_fail(err, NAS_E_USAGE, "%s is of fine-tuning: it goes with --epochs", idle);
        goto done;
    }
    if ((status = check_outputs(o, err)) ||
        (status = cli_subnets_open(&subnets, &o->subnet, &o->run.common, false, err)) ||
        (status = cli_subnet_find(&subnets, o->arch, (int)o->image_size, choice, &size, err)))
        goto done;
    nas_log(NAS_LOG_DEBUG, "judging the subnet at %d pixels", size);
    status = cli_subnet_take(&model, &arch, &score, &subnets, choice, size, &observer, err);
    if (status == NAS_E_INTERRUPTED) {
        nas_hint(err, "nothing was written; to do it: the same command again");
        cli_keeps_nothing();
    }
    if (status == NAS_OK && o->dry_run) {
        status = dry_run(context, o, &subnets, model, arch, started, err);
        goto done;
    }
    if (status == NAS_OK)
        status = o->epochs > 0 ? tune(context, o, &subnets, model, arch, result, err)
                               : write_outputs(o, model, arch, err);
    if (status != NAS_OK)
        goto done;
    const nas_op_cost cost = nas_arch_cost(arch, 0);
    json_object_update_new(
        result, json_pack("{s:s, s:i, s:o, s:o, s:I, s:I, s:I}", "model", o->out, "image_size",
                          size, "valid_top1", cli_real((double)score.top1 / (double)score.images),
                          "valid_loss", cli_real(score.loss / (double)score.images), "images",
                          (json_int_t)score.images, "macs", (json_int_t)cost.macs, "parameters",
                          (json_int_t)cost.parameters));
    status = cli_emit(context, json_incref(result), err);

done:
    json_decref(result);
    nas_model_free(model);
    nas_arch_free(arch);
    cli_subnets_close(&subnets);
    return status;
}

const cli_command cmd_ofa_extract = {
    .name = "ofa extract", .summary = "a subnet of a supernet as a model of its own",
    .example = "ofa extract --model .nas/runs/6/supernet.safetensors --data photos.nasd --arch "
               "net.json --out net.safetensors",
    .tables = {extract_table, tune_table, cli_run_table}, .size = sizeof(extract_options),
    .stop = CLI_STOP_RESUMES, .run = extract_run,
};

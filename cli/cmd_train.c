/* nas train - trains one architecture, from scratch or from the weights of a search. */
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/ranks.h"
#include "nas/train/checkpoint.h"
#include "nas/train/train.h"

typedef struct train_options {
    cli_run_options run;
    const char *data, *arch, *from, *teacher;
    int64_t epochs, batch;
    double lr, momentum, decay, label_smoothing, distill, valid_fraction;
    const char *augment;
    bool dry_run, sync_bn;
} train_options;

#define AT(field) offsetof(train_options, field)

#define DISTILL "0.5"
static const double default_distill = 0.5;

static const nas_option train_table[] = {
    {"--data", NAS_OPT_STRING, AT(data), NULL, 0, 0, NULL, "FILE", "packed images", true},
    {"--arch", NAS_OPT_STRING, AT(arch), NULL, 0, 0, NULL, "FILE",
     "architecture, or net.config; default: that of --from"},
    {"--from", NAS_OPT_STRING, AT(from), NULL, 0, 0, NULL, "FILE",
     "model whose weights it starts from; default: fresh ones"},
    {"--epochs", NAS_OPT_INT, AT(epochs), "60", 1, 1e6, NULL, "N", "passes over the images"},
    {"--batch", NAS_OPT_INT, AT(batch), "64", 2, 4096, NULL, "N", "images a step"},
    {"--lr", NAS_OPT_REAL, AT(lr), "0.05", 0, 100, NULL, "X",
     "first learning rate; follows a cosine to 0"},
    {"--momentum", NAS_OPT_REAL, AT(momentum), "0.9", 0, 0.9999, NULL, "X", "of SGD (Nesterov)"},
    {"--decay", NAS_OPT_REAL, AT(decay), "4e-5", 0, 1, NULL, "X", "weight decay"},
    {"--label-smoothing", NAS_OPT_REAL, AT(label_smoothing), "0.1", 0, 0.99, NULL, "X",
     "share of the label given to all classes"},
    {"--teacher", NAS_OPT_STRING, AT(teacher), NULL, 0, 0, NULL, "FILE",
     "trained network whose answers it learns beside the labels; default: none"},
    {"--distill", NAS_OPT_REAL, AT(distill), DISTILL, 0, 1, NULL, "X",
     "share of the teacher's answers in what is learnt"},
    {"--augment", NAS_OPT_STRING, AT(augment), "cifar", 0, 0, NULL, "PRESET",
     "none, cifar (shift, flip) or imagenet (crop, flip, colour)"},
    {"--valid-fraction", NAS_OPT_REAL, AT(valid_fraction), "0.1", 0, 0.9, NULL, "X",
     "of the training images, held out to watch; 0: none"},
    CLI_SYNC_BN(AT(sync_bn)),
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

static nas_status check(const void *options, nas_err *err)
{
    const train_options *o = options;

    if (o->arch == NULL && o->from == NULL) {
        nas_fail(err, NAS_E_USAGE, "--arch is required, or --from");
        nas_hint(err, "nas search ends with an architecture; nas space sample draws one");
        return NAS_E_USAGE;
    }
    return o->teacher == NULL && o->distill != default_distill
               ? nas_fail(err, NAS_E_USAGE, "--distill: is of what a --teacher says")
               : NAS_OK;
}

/* A net.config alone does not tell the size of its images: those that it is trained on. */
static void fit_size(nas_arch *arch, const nas_arch *from, const nas_dataset *data)
{
    const int side = data->height == data->width ? data->height : 0; /* 0: of several sizes */

    if (arch->size_assumed && (from != NULL || side > 0)) {
        arch->image_size = from != NULL ? from->image_size : side;
        nas_log(NAS_LOG_INFO, "%s does not tell its image size: %d pixels", arch->name,
                arch->image_size);
    }
    if (side > 0 && arch->image_size > side)
        nas_log(NAS_LOG_WARN, "images of %d pixels are enlarged to %d", side, arch->image_size);
}

/* A network of the architecture, with the weights that training starts from. */
static nas_status build(nas_model **model, nas_arch **arch, const train_options *o,
                        const nas_dataset *data, nas_err *err)
{
    nas_model *from = NULL;
    nas_arch *from_arch = NULL;
    nas_status status = NAS_OK;

    if ((o->from != NULL && (status = nas_model_load(&from, &from_arch, o->from, err))) ||
        (o->arch != NULL && (status = nas_arch_load(arch, o->arch, err))))
        goto done;
    if (from != NULL && from->quant != NULL) {
        status = nas_fail(err, NAS_E_CONFIG, "--from: %s is quantised, and training takes floats",
                          o->from);
        nas_hint(err, "train the network that it was made from; nas quantize --finetune-epochs "
                 "goes on with rounded numbers");
        goto done;
    }
    if (o->arch == NULL) {
        *arch = from_arch;
        *model = from;
        from_arch = NULL;
        from = NULL;
        goto done;
    }
    fit_size(*arch, from_arch, data);
    if ((status = nas_model_new_arch(model, *arch, err)) != NAS_OK)
        goto done;
    nas_model_reset(*model, (uint64_t)o->run.common.seed);
    if (from != NULL) {
        int choice[NAS_MAX_SLOTS] = {0};
        const int copied = nas_model_inherit(*model, from, choice);

        nas_log(NAS_LOG_INFO, "%d of %d blocks start from %s", copied, (*model)->slots, o->from);
        if (copied == 0)
            status = nas_fail(err, NAS_E_CONFIG, "%s shares no block with %s", o->from, o->arch);
    }

done:
    nas_model_free(from);
    nas_arch_free(from_arch);
    return status;
}

static nas_status load(void *self, const char *path, nas_err *err)
{
    return nas_trainer_load(self, path, err);
}

/* A command line's work. */
typedef struct work {
    const train_options *o;
    nas_dataset *data;
    nas_arch *arch, *teacher_arch;
    nas_model *model, *teacher; /* the teacher: NULL without --teacher */
    nas_trainer *trainer;
    json_t *result;
} work;

static void add_weights(json_t *to, const char *key, const nas_model *model)
{
    char digest[NAS_DIGEST_SIZE];

    nas_digest(model->params, model->floats * sizeof *model->params, digest);
    json_object_set_new(to, key, json_string(digest));
}

/* What the training is made from, by the names of the options; the weights it starts with
 * stand for the model that they are from. */
static nas_status input_digests(json_t **out, const work *w, nas_err *err)
{
    char network[NAS_DIGEST_SIZE];
    const nas_status status = nas_arch_digest(w->arch, network, err);

    if (status != NAS_OK)
        return status;
    *out = json_pack("{s:s, s:s}", "data", w->data->digest, "arch", network);
    if (*out == NULL)
        return nas_fail(err, NAS_E_NOMEM, "training: out of memory");
    if (w->o->from != NULL)
        add_weights(*out, "from", w->model);
    if (w->teacher != NULL)
        add_weights(*out, "teacher", w->teacher);
    return NAS_OK;
}

static nas_status train(work *w, const cli_context *context, nas_err *err)
{
    const train_options *o = w->o;
    const char *begun_from = o->from != NULL ? o->from : o->arch;
    const int64_t parent = nas_comm_rank(context->comm) == 0
                               ? cli_model_run(context->common->store, begun_from)
                               : 0; /* who has no business with the store */
    cli_session session;
    nas_train_result trained;
    json_t *inputs = NULL;
    nas_status status;

    if ((status = input_digests(&inputs, w, err)) == NAS_OK)
        status = cli_session_open_from(&session, context, parent, inputs, err);
    json_decref(inputs);
    if (status != NAS_OK)
        return status;
    if (o->from != NULL && cli_session_leads(&session))
        cli_warn_trained_on(&session, parent, o->valid_fraction);
    if ((status = cli_session_restore(&session, load, w->trainer, err)) == NAS_OK &&
        (status = nas_trainer_run(w->trainer, &session.observer, &trained, err)) == NAS_OK &&
        cli_session_leads(&session) &&
        (status = cli_outcome_save(&session, w->model, w->arch, trained.steps, w->result, err)) ==
            NAS_OK)
        json_object_update_new(
            w->result, json_pack("{s:I, s:I, s:o, s:o, s:o, s:f, s:f}", "epochs",
                                 (json_int_t)o->epochs, "steps", (json_int_t)trained.steps,
                                 "train_loss", cli_real(trained.train_loss), "valid_top1",
                                 cli_real(trained.valid_top1), "valid_top5",
                                 cli_real(trained.valid_top5), "seconds",
                                 nas_clock_seconds() - session.started, "peak_rss_mib",
                                 nas_system_peak_rss_mib()));
    return cli_session_close(&session, status, status == NAS_OK ? w->result : NULL, err);
}

/* What the training would take, by its first steps. */
static nas_status dry_run(work *w, const cli_context *context, nas_err *err)
{
    const train_options *o = w->o;
    const nas_op_cost cost = nas_arch_cost(w->arch, 0);
    cli_demand demand = {.disk_bytes = cli_demand_run_bytes((double)w->model->floats),
                         .folder = o->run.common.store};
    const nas_status status = cli_demand_training(
        &demand, w->trainer, o->epochs, o->batch,
        o->valid_fraction * nas_dataset_split(w->data, "train")->count, err);

    if (status != NAS_OK)
        return status;
    demand.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0;
    return cli_demand_emit(context,
                           json_pack("{s:I, s:I}", "macs", (json_int_t)cost.macs, "parameters",
                                     (json_int_t)cost.parameters),
                           &demand, err);
}

static nas_status open_trainer(work *w, nas_err *err)
{
    const train_options *o = w->o;
    const nas_train_config config = {
        .epochs = o->epochs, .batch = (int)o->batch, .lr = o->lr, .momentum = o->momentum,
        .decay = o->decay, .label_smoothing = o->label_smoothing, .teacher = w->teacher,
        .distill = o->distill, .augment = o->augment, .valid_fraction = o->valid_fraction,
        .seed = (uint64_t)o->run.common.seed, .loader_threads = (int)o->run.common.threads,
        .memory = (nas_memory)o->run.memory, .comm = cli_ranks(), .sync_bn = o->sync_bn};

    return nas_trainer_new(&w->trainer, w->model, w->data, &config, err);
}

static nas_status train_run(const cli_context *context, const void *options, nas_err *err)
{
    const train_options *o = options;
    work w = {.o = o, .result = json_object()};
    nas_status status;

    if ((!o->dry_run || (status = cli_ranks_alone("--dry-run", err)) == NAS_OK) &&
        (status = nas_dataset_open(&w.data, o->data, err)) == NAS_OK &&
        (status = build(&w.model, &w.arch, o, w.data, err)) == NAS_OK &&
        (o->teacher == NULL ||
         (status = nas_model_load(&w.teacher, &w.teacher_arch, o->teacher, err)) == NAS_OK) &&
        (status = open_trainer(&w, err)) == NAS_OK) {
        if (o->dry_run)
            status = dry_run(&w, context, err);
        else if ((status = train(&w, context, err)) == NAS_OK)
            status = cli_emit(context, json_incref(w.result), err);
    }
    json_decref(w.result);
    nas_trainer_free(w.trainer);
    nas_model_free(w.model);
    nas_model_free(w.teacher);
    nas_arch_free(w.arch);
    nas_arch_free(w.teacher_arch);
    nas_dataset_close(w.data);
    return status;
}

const cli_command cmd_train = {
    .name = "train", .summary = "train one architecture on images",
    .example = "train --data photos.nasd --arch .nas/runs/1/arch.json --epochs 60",
    .tables = {train_table, cli_run_table}, .size = sizeof(train_options),
    .stop = CLI_STOP_RESUMES, .shared = true, .check = check, .run = train_run,
};

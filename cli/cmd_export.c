/* nas export - a trained network for other programs: ONNX, or net.config with PyTorch weights. */
#include <stddef.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/version.h"
#include "nas/data/dataset.h"
#include "nas/export/onnx.h"
#include "nas/export/torch.h"
#include "nas/train/checkpoint.h"

typedef struct export_options {
    cli_common common;
    const char *model, *onnx, *net_config, *weights, *data;
} export_options;

#define AT(field) offsetof(export_options, field)

static const nas_option export_table[] = {
    {"--model", NAS_OPT_STRING, AT(model), NULL, 0, 0, NULL, "FILE",
     "trained network: model.safetensors of a run", true},
    {"--onnx", NAS_OPT_STRING, AT(onnx), NULL, 0, 0, NULL, "FILE",
     "write it as ONNX there: float32 or, quantised, QDQ; batch norm folded", false, true},
    {"--net-config", NAS_OPT_STRING, AT(net_config), NULL, 0, 0, NULL, "FILE",
     "write net.config of ProxylessNAS and Once-for-All there", false, true},
    {"--weights", NAS_OPT_STRING, AT(weights), NULL, 0, 0, NULL, "FILE",
     "their PyTorch weights there: .pth as torch.save does, else safetensors", false, true},
    {"--data", NAS_OPT_STRING, AT(data), NULL, 0, 0, NULL, "FILE",
     "packed images it was trained on: class names and normalisation for ONNX"},
    {0},
};

static nas_status check_targets(const export_options *o, nas_err *err)
{
    const char *const files[] = {o->model, o->data, o->onnx, o->net_config, o->weights};
    enum { INPUTS = 2, FILES = sizeof files / sizeof *files };

    if (o->onnx == NULL && o->net_config == NULL && o->weights == NULL) {
        nas_fail(err, NAS_E_USAGE, "export: nothing to write");
        nas_hint(err, "say --onnx FILE, or --net-config FILE --weights FILE");
        return NAS_E_USAGE;
    }
    if (o->data != NULL && o->onnx == NULL)
        return nas_fail(err, NAS_E_USAGE, "export: --data is for --onnx");
    for (int i = INPUTS; i < FILES; i++)
        for (int k = 0; k < i; k++)
            if (files[i] != NULL && files[k] != NULL && nas_path_same(files[i], files[k])) {
                nas_fail(err, NAS_E_USAGE, "export: would write %s over %s", files[i],
                         k < INPUTS ? "what it reads" : "what it has just written");
                nas_hint(err, "give each output a name of its own");
                return NAS_E_USAGE;
            }
    return NAS_OK;
}

static nas_status open_data(nas_dataset **out, const export_options *o, const nas_model *model,
                            nas_err *err)
{
    const nas_status status = o->data != NULL ? nas_dataset_open(out, o->data, err) : NAS_OK;

    if (status != NAS_OK || o->data == NULL)
        return status;
    if ((*out)->classes == model->classes && (*out)->channels == model->channels)
        return NAS_OK;
    return nas_fail(err, NAS_E_CONFIG, "%s has %d channels and %d classes, %s has %d and %d",
                    o->model, model->channels, model->classes, o->data, (*out)->channels,
                    (*out)->classes);
}

static nas_status export_run(const cli_context *context, const void *options, nas_err *err)
{
    const export_options *o = options;
    nas_onnx_info info = {.version = NAS_VERSION};
    nas_dataset *data = NULL;
    nas_model *model = NULL;
    nas_arch *arch = NULL;
    nas_status status;

    if ((status = check_targets(o, err)) ||
        (status = nas_model_load(&model, &arch, o->model, err)) ||
        (status = open_data(&data, o, model, err)))
        goto done;
    if (data != NULL) {
        info.class_names = data->class_names;
        info.mean = data->mean;
        info.std = data->std;
    }
    if (((o->net_config != NULL || o->weights != NULL) && /* first: it may be unable to say all */
         (status = nas_torch_write(model, arch, o->net_config, o->weights, err))) ||
        (o->onnx != NULL && (status = nas_onnx_write(model, arch, &info, o->onnx, err))))
        goto done;
    status = cli_emit(context,
                      json_pack("{s:s*, s:s*, s:s*, s:i, s:i, s:i, s:I}", "onnx", o->onnx,
                                "net_config", o->net_config, "weights", o->weights, "image_size",
                                arch->image_size, "channels", arch->channels, "classes",
                                arch->classes, "parameters", (json_int_t)model->parameters),
                      err);

done:
    nas_dataset_close(data);
    nas_arch_free(arch);
    nas_model_free(model);
    return status;
}

const cli_command cmd_export = {
    .name = "export",
    .summary = "a trained network for other programs: ONNX, PyTorch",
    .example = "export --model .nas/runs/2/model.safetensors --onnx net.onnx --data photos.nasd",
    .tables = {export_table},
    .size = sizeof(export_options),
    .run = export_run,
};

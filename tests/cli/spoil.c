/* Written by the product's own code: a file has a digest, so that nobody else can. */
#include "tests/cli/spoil.h"

#include "nas/train/checkpoint.h"

bool spoil_model(const char *from, const char *to, float value)
{
    nas_model *net = NULL;
    nas_arch *arch = NULL;
    bool done = nas_model_load(&net, &arch, from, NULL) == NAS_OK;

    if (done) {
        net->params[net->slot[2].offset[0]] = value;
        done = nas_model_save(net, arch, to, NULL) == NAS_OK;
    }
    nas_model_free(net);
    nas_arch_free(arch);
    return done;
}

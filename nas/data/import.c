/* Import: looks what a directory holds and hands it to the reader of that kind. */
#include "nas/data/import.h"

#include <stdlib.h>

#include "base/file.h"
#include "nas/data/dataset.h"
#include "nas/data/import_sources.h"

/* In the order in which they are tried: folders take whatever is left. */
static const nas_data__format *const formats[] = {&nas_data__cifar10, &nas_data__cifar100,
                                                  &nas_data__idx, &nas_data__folders};

enum { SIZE_MAX_PX = 4096 };

bool nas_data__has(const char *src, const char *name)
{
    char *path = nas_path_join(src, name);
    const bool there = path != NULL && nas_path_exists(path);

    free(path);
    return there;
}

nas_status nas_data_import(const char *src, const char *out, const nas_import_options *options,
                           nas_import_report *report, nas_err *err)
{
    static const nas_import_options defaults;
    nas_import_report unused;

    if (options == NULL)
        options = &defaults;
    if (report == NULL)
        report = &unused;
    *report = (nas_import_report){0};
    if (options->size < 0 || options->size > SIZE_MAX_PX)
        return nas_fail(err, NAS_E_CONFIG, "image size %d is not in 1..%d pixels", options->size,
                        SIZE_MAX_PX);
    if (!nas_path_exists(src)) {
        nas_fail(err, NAS_E_IO, "%s: no such directory", src);
        nas_path_hint(src, "name the directory that holds train/", err);
        return NAS_E_IO;
    }
    if (!nas_path_is_dir(src)) {
        nas_fail(err, NAS_E_DATA, "%s: not a directory of images", src);
        nas_hint(err, "unpack archives first, and name the directory that holds train/");
        return NAS_E_DATA;
    }
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i]->detect(src)) {
            report->format = formats[i]->name;
            return formats[i]->import(src, out, options, report, err);
        }
    nas_fail(err, NAS_E_DATA, "%s: no images found", src);
    nas_hint(err, "a directory with train/<class>/*.jpg and test/<class>/*.jpg (or PNG) is "
                  "expected, or the binary files of CIFAR-10, CIFAR-100 or MNIST");
    return NAS_E_DATA;
}

/* The kinds of data that import understands.  Private to nas/data. */
#ifndef NAS_DATA_IMPORT_SOURCES_H
#define NAS_DATA_IMPORT_SOURCES_H

#include "nas/data/import.h"

/* One kind of source directory.  `import` packs it into `out` and fills the report. */
typedef struct nas_data__format {
    const char *name;
    bool (*detect)(const char *src);
    nas_status (*import)(const char *src, const char *out, const nas_import_options *options,
                         nas_import_report *report, nas_err *err);
} nas_data__format;

extern const nas_data__format nas_data__cifar10, nas_data__cifar100, nas_data__idx,
    nas_data__folders;

/* Whether the directory `src` has an entry `name`. */
bool nas_data__has(const char *src, const char *name);

#endif

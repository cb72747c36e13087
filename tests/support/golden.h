/* Golden files: tensors that another program computed (scripts/make-golden), in
 * the safetensors layout.  The files are ours, so what is wrong in one aborts. */
#ifndef NAS_TESTS_SUPPORT_GOLDEN_H
#define NAS_TESTS_SUPPORT_GOLDEN_H

#include <jansson.h>
#include <stddef.h>

typedef struct golden golden;

golden *golden_open(const char *path);
void golden_close(golden *file);

/** What the file's metadata says about its cases: an array, borrowed. */
const json_t *golden_cases(const golden *file);

/** Tensor "scope/name" (or "name" for scope NULL) of `count` floats. */
const float *golden_floats(const golden *file, const char *scope, const char *name, size_t count);

/** Integer, flag and real of a case; 0 if it does not say. */
int golden_int(const json_t *object, const char *key);
double golden_real(const json_t *object, const char *key);

#endif

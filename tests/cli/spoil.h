/* A trained network with a number in it that no training leaves. */
#ifndef NAS_TESTS_CLI_SPOIL_H
#define NAS_TESTS_CLI_SPOIL_H

#include <stdbool.h>

/** Copies a model and sets the first parameter of its block 2; false: it could not. */
bool spoil_model(const char *from, const char *to, float value);

#endif

/* Networks with lively parameters, and what other programs say of their exports. */
#ifndef NAS_TESTS_NAS_EXPORT_NETWORK_H
#define NAS_TESTS_NAS_EXPORT_NETWORK_H

#include "nas/model/model.h"
#include "tests/support/tools.h"

typedef struct network {
    nas_arch *arch;
    nas_model *model;
} network;

/** Of an architecture's JSON, or drawn from a built-in space fitted to images.  All parameters
 * and running statistics are away from their initial values. */
network network_of_text(const char *json);
network network_of_space(const char *space, int image_size, int classes, unsigned seed);
void network_free(network *net);

/** One block of each kind, shortcuts, all activations, odd sides. */
extern const char *const network_every_op;

/** The folder of npm's modules that scripts/setup --consumers makes; skips the test if there is
 * none, or no node. */
const char *need_modules(void);

/** Writes images [n][h][w][c] as plain floats [n][c][h][w] to a file, and gives our own logits
 * [n][classes] (yours). */
float *network_logits(const network *net, int n, const float *images, const char *path);
/** Asserts that a file of plain floats holds the same logits but for `tolerance`, and the same
 * best class but for one image in a thousand. */
void expect_logits(const network *net, int n, const float *ours, const char *path,
                   double tolerance);

#endif

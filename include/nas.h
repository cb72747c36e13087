/* nas.h - OnePath as a library: hardware-aware neural architecture search in C.
 *
 * This is the one public header of libnas.  It compiles as C11 and C++17 and needs nothing but
 * the standard library; programs find it with `pkg-config --cflags --libs libnas`.
 *
 * Errors      What can fail for an outside reason returns a nas_status and takes a nas_err *
 *             last, which may be NULL: what went wrong, where, why, and (hint) what to do.
 * Ownership   A `T **out` is yours, until the handle's _free or _close, which take NULL; a
 *             returned `const T *` is borrowed.  After an error *out is NULL.
 * Threads     A handle is used by one thread at a time; different handles by different ones.
 *             Only nas_op_register and nas_messages_set act on the whole process: call them before
 *             anything else.  A process that has used the library must not fork without exec.
 * Bits        The same seed gives the same bits at any number of threads and after any
 *             interruption that was continued.
 * Structs     Those with a member `size` are filled by their _init function and may grow at their
 *             end in later versions: a program that was built with an older one keeps working. */
#ifndef NAS_H
#define NAS_H

#include <stddef.h>
#include <stdint.h>

/* On everything that libnas exports, and on nothing else. */
#if defined(__GNUC__)
#define NAS_API __attribute__((visibility("default")))
#else
#define NAS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* -- errors --------------------------------------------------------------------------- */

#ifndef NAS_BASE_STATUS_H /* inside libnas these are already known */
typedef enum nas_status {
    NAS_OK = 0,
    NAS_E_FAIL = 1,         /* failed for a reason not named below              */
    NAS_E_USAGE = 2,        /* wrong command line                               */
    NAS_E_INFEASIBLE = 3,   /* no architecture meets the constraint, or a table
                               does not cover the space                         */
    NAS_E_DATA = 65,        /* a file's content is wrong                        */
    NAS_E_NOMEM = 71,       /* out of memory                                    */
    NAS_E_IO = 74,          /* read, write, disk full                           */
    NAS_E_INTERRUPTED = 75, /* stopped on request with a checkpoint written     */
    NAS_E_CONFIG = 78       /* a setting, space or architecture makes no sense  */
} nas_status;

/** What went wrong, for a person.  The caller owns it; every function that can
 * fail takes a pointer to one as its last argument and accepts NULL. */
typedef struct nas_err {
    nas_status status;
    char message[768]; /* what, where (file:line of the input), why */
    char hint[384];    /* what to do about it; "" if there is nothing to add */
} nas_err;
#endif

/** Short name of a status for machines: "ok", "config", "data", ... */
NAS_API const char *nas_status_name(nas_status status);

/* -- the library itself ----------------------------------------------------------------- */

/** "0.1.0". */
NAS_API const char *nas_version(void);
/** How many threads computations of the calling thread use from now on; 0: the cores that this
 * process may use.  Before any call: what OMP_NUM_THREADS says, else those cores.  Changes no
 * result.  What a callback sets holds until it returns. */
NAS_API void nas_threads_set(int threads);
/** Which messages go to stderr: 0 errors, 1 warnings (before any call), 2 notes, 3 all. */
NAS_API void nas_messages_set(int level);

/* -- images ----------------------------------------------------------------------------- */

/** A packed file of labelled images, mapped into memory. */
typedef struct nas_dataset nas_dataset;

/** Packs a folder of images (train/<class>/..., test/ or val/ likewise; JPEG, PNG), CIFAR-10 or
 * -100 binary files, or IDX files into `path`, which appears whole or not at all.
 * pixels  0: as they are; else the shorter side is resized and the centre cut out
 * NAS_E_IO, NAS_E_DATA naming the file, NAS_E_NOMEM. */
NAS_API nas_status nas_dataset_import(const char *source, const char *path, int pixels,
                                      nas_err *err);
/** Draws the embedded task (shapes filled with textures) into `path`; zeros: 24 pixels, 10
 * classes, 4000 images to train on and 1000 to test. */
NAS_API nas_status nas_dataset_synth(const char *path, int pixels, int classes, uint32_t train,
                                     uint32_t test, uint64_t seed, nas_err *err);
NAS_API nas_status nas_dataset_open(nas_dataset **out, const char *path, nas_err *err);
NAS_API void nas_dataset_close(nas_dataset *data);
/** Reads all of it and compares with its digest; NAS_E_DATA if it differs. */
NAS_API nas_status nas_dataset_verify(const nas_dataset *data, nas_err *err);
NAS_API int nas_dataset_classes(const nas_dataset *data);
/** Name of a class, 0..classes-1. */
NAS_API const char *nas_dataset_class(const nas_dataset *data, int index);
/** Images of a split ("train", "test", "val"); 0 if there is none. */
NAS_API uint32_t nas_dataset_images(const nas_dataset *data, const char *split);

/* -- architectures and spaces of them ----------------------------------------------------- */

/** One network, as data: a chain of operations from the image to the classes. */
typedef struct nas_arch nas_arch;

/** Reads a JSON file of ours, or net.config of ProxylessNAS or Once-for-All. */
NAS_API nas_status nas_arch_load(nas_arch **out, const char *path, nas_err *err);
/** The same from text; `name` stands for the path in messages. */
NAS_API nas_status nas_arch_parse(nas_arch **out, const char *json, const char *name, nas_err *err);
NAS_API nas_status nas_arch_save(const nas_arch *arch, const char *path, nas_err *err);
NAS_API void nas_arch_free(nas_arch *arch);
/** Its JSON (yours: free()). */
NAS_API nas_status nas_arch_text(char **out, const nas_arch *arch, nas_err *err);
/** Multiply-accumulates for one image, as the field counts them, and trained scalars. */
NAS_API int64_t nas_arch_macs(const nas_arch *arch);
NAS_API int64_t nas_arch_parameters(const nas_arch *arch);
/** Side in pixels of the square images that it was made for. */
NAS_API int nas_arch_image_size(const nas_arch *arch);

/** A chain of slots, each with candidate operations: architectures are choices in it. */
typedef struct nas_space nas_space;

/** A built-in space ("tiny", "proxyless-cifar", ...: `nas space list`) or a JSON file. */
NAS_API nas_status nas_space_load(nas_space **out, const char *name_or_path, nas_err *err);
/** The same from text; `name` stands for the path in messages. */
NAS_API nas_status nas_space_parse(nas_space **out, const char *json, const char *name,
                                   nas_err *err);
NAS_API void nas_space_free(nas_space *space);
/** Makes it one for these images: their size (if they are square and all alike), channels and
 * classes.  NAS_E_CONFIG where they are
 * too small; after an error the space can only be freed. */
NAS_API nas_status nas_space_fit_data(nas_space *space, const nas_dataset *data, nas_err *err);
/** Makes it one for square images of `pixels`. */
NAS_API nas_status nas_space_fit_pixels(nas_space *space, int pixels, nas_err *err);
/** Exact number of its architectures in decimal (yours: free()), and its logarithm to base 10;
 * either may be NULL. */
NAS_API nas_status nas_space_count(const nas_space *space, char **decimal, double *log10_count,
                                   nas_err *err);
/** The `index`-th of a random sequence of architectures, all equally likely. */
NAS_API nas_status nas_space_draw(nas_arch **out, const nas_space *space, uint64_t seed,
                                  uint64_t index, nas_err *err);

/* -- progress ----------------------------------------------------------------------------- */

/** Where a long computation stands; NAN where a number has no meaning. */
typedef struct nas_stage {
    const char *phase;      /* "train", "warm-up", "search", "derive", "profile" */
    int64_t epoch, epochs;  /* counted from 0                                    */
    int64_t batch, batches; /* of this epoch                                     */
    int64_t step;           /* batches since the start                           */
    double images_per_second, loss, latency_ms, entropy;
} nas_stage;

/** Callbacks of a long computation, from the thread that called it.  Any may be NULL, and so may
 * the pointer to this struct. */
typedef struct nas_watch {
    void *user;
    /** After every batch. */
    void (*progress)(void *user, const nas_stage *stage);
    /** At the end of an epoch, each of its numbers: "train_loss", "valid_top1", ... */
    void (*metric)(void *user, int64_t epoch, const char *name, double value);
    /** Nonzero ends the computation: NAS_E_INTERRUPTED, after its checkpoint if it has one. */
    int (*stop)(void *user);
} nas_watch;

/* -- latency ------------------------------------------------------------------------------ */

/** What each operation of a space costs on one device. */
typedef struct nas_latency_table nas_latency_table;

/** A YAML file of ours, or one published by ProxylessNAS or Once-for-All. */
NAS_API nas_status nas_latency_table_load(nas_latency_table **out, const char *path, nas_err *err);
NAS_API nas_status nas_latency_table_save(const nas_latency_table *table, const char *path,
                                          nas_err *err);
NAS_API void nas_latency_table_free(nas_latency_table *table);

typedef struct nas_profile_options {
    size_t size;
    double max_seconds; /* 240; the goal may be missed then                             */
    double interval;    /* 0.015: half the 95 % confidence interval, as a part of the mean */
    uint64_t seed;      /* of the networks in which operations are timed                */
} nas_profile_options;
NAS_API void nas_profile_options_init(nas_profile_options *options, size_t size);

/** Measures every operation of `space` on this machine, one image at a time.
 * options  may be NULL: the defaults */
NAS_API nas_status nas_latency_measure(nas_latency_table **out, const nas_space *space,
                                       const nas_profile_options *options, const nas_watch *watch,
                                       nas_err *err);
/** Milliseconds of `arch` by the table.  NAS_E_INFEASIBLE names what the table lacks. */
NAS_API nas_status nas_latency_of(double *ms, const nas_latency_table *table, const nas_arch *arch,
                                  nas_err *err);
/** The fastest and the slowest architecture of `space` by the table. */
NAS_API nas_status nas_latency_range(double *fastest_ms, double *slowest_ms,
                                     const nas_latency_table *table, const nas_space *space,
                                     nas_err *err);

/* -- networks ------------------------------------------------------------------------------ */

/** An architecture with its parameters. */
typedef struct nas_network nas_network;

/** Fresh parameters from `seed`. */
NAS_API nas_status nas_network_new(nas_network **out, const nas_arch *arch, uint64_t seed,
                                   nas_err *err);
/** A model file: what _save and `nas train` write (safetensors). */
NAS_API nas_status nas_network_load(nas_network **out, const char *path, nas_err *err);
NAS_API nas_status nas_network_save(const nas_network *network, const char *path, nas_err *err);
NAS_API void nas_network_free(nas_network *network);
NAS_API const nas_arch *nas_network_arch(const nas_network *network);

typedef struct nas_train_options {
    size_t size;
    int64_t epochs;         /* 60; at most 1000000                                         */
    int batch;              /* 64 images a step; 2 to 4096                                 */
    double lr, momentum;    /* 0.05, 0.9: SGD with Nesterov's momentum, cosine to 0        */
    double decay;           /* 4e-5: of weights                                            */
    double label_smoothing; /* 0.1                                                         */
    const char *augment;    /* "cifar", "imagenet" or "none"                               */
    double valid_fraction;  /* 0.1 of the training images, held out to watch               */
    uint64_t seed;          /* 1                                                           */
    const char *checkpoint; /* NULL: none.  A file that is written after every epoch, once a
                               minute and on a stop; where it exists, training continues from
                               it: that it is of the same images, options and seed is not
                               checked.  Yours to remove                                   */
} nas_train_options;
NAS_API void nas_train_options_init(nas_train_options *options, size_t size);

typedef struct nas_train_report {
    double train_loss;             /* of the last epoch           */
    double valid_top1, valid_top5; /* NAN without held-out images */
    int64_t steps;
} nas_train_report;

/** Trains on the split "train".  A quantised network is NAS_E_CONFIG.
 * options, report  may be NULL */
NAS_API nas_status nas_network_train(nas_network *network, const nas_dataset *data,
                                     const nas_train_options *options, const nas_watch *watch,
                                     nas_train_report *report, nas_err *err);

typedef struct nas_scores {
    double top1, top5; /* fractions of the images */
    double loss;       /* mean cross-entropy      */
    int64_t images;
} nas_scores;

/** Scores every image of a split; NULL: "test", else "val". */
NAS_API nas_status nas_network_evaluate(const nas_network *network, const nas_dataset *data,
                                        const char *split, nas_scores *scores, nas_err *err);
/** logits[count][classes] of pixels[count][side][side][channels], rows of interleaved channels
 * and of the network's image size; they are normalised as the images of `data` are. */
NAS_API nas_status nas_network_logits(const nas_network *network, const nas_dataset *data,
                                      const unsigned char *pixels, int count, float *logits,
                                      nas_err *err);
/** Writes ONNX (opset 13, float32).  NAS_E_CONFIG if an operation is not ONNX's. */
NAS_API nas_status nas_network_export_onnx(const nas_network *network, const char *path,
                                           nas_err *err);
/** Writes net.config and weights as the published PyTorch code reads them; either may be NULL. */
NAS_API nas_status nas_network_export_torch(const nas_network *network, const char *net_config,
                                            const char *weights, nas_err *err);

/* -- search -------------------------------------------------------------------------------- */

typedef enum nas_method { /* how architectures are chosen */
    NAS_METHOD_GRADIENT,
    NAS_METHOD_REINFORCE,
    NAS_METHOD_EVOLUTION,
    NAS_METHOD_RANDOM
} nas_method;

typedef struct nas_search_options {
    size_t size;
    double target_ms;       /* by the table; no default: must be set                       */
    nas_method method;      /* gradient                                                    */
    int64_t warmup_epochs;  /* 40: weights alone                                           */
    int64_t epochs;         /* 120: weights and architecture                               */
    int batch;              /* 64                                                          */
    int derive_samples;     /* 10 networks judged at the end                               */
    double max_minutes;     /* 0: no limit                                                 */
    const char *augment;    /* "cifar"                                                     */
    uint64_t seed;          /* 1                                                           */
    const char *checkpoint; /* as in nas_train_options                                     */
} nas_search_options;
NAS_API void nas_search_options_init(nas_search_options *options, size_t size);

typedef struct nas_search_report {
    double latency_ms; /* by the table                                */
    double valid_top1; /* with the supernet's weights, on held-out images */
    double seconds;
    int64_t steps;
} nas_search_report;

/** Trains a supernet of `space` (fitted to `data`) and chooses the architecture whose latency by
 * the table is at most the target; the network has the weights of the supernet and is to be
 * trained on.  The test images are not touched.  NAS_E_INFEASIBLE: nothing is that fast (the hint
 * tells the range).
 * report  may be NULL */
NAS_API nas_status nas_search_network(nas_network **out, const nas_space *space,
                                      const nas_dataset *data, const nas_latency_table *table,
                                      const nas_search_options *options, const nas_watch *watch,
                                      nas_search_report *report, nas_err *err);

/** What an architecture is worth to you; higher is better.  A failure ends the evolution, with
 * what `err` was given as its message, if that was filled. */
typedef nas_status nas_worth(void *user, const nas_arch *arch, double *worth, nas_err *err);

/** Evolution by a measure of your own among the architectures whose latency is at most target_ms;
 * no architecture is asked for twice.  `worth_of_best` may be NULL. */
NAS_API nas_status nas_search_evolve(nas_arch **out, const nas_space *space,
                                     const nas_latency_table *table, double target_ms,
                                     uint64_t seed, nas_worth *worth, void *user,
                                     double *worth_of_best, nas_err *err);

/* -- operations of your own ---------------------------------------------------------------- */

/** Where an operation stands: tensors are [images][h][w][channels]. */
typedef struct nas_op_shape {
    int h, w, in;       /* input                                              */
    int oh, ow, out;    /* output: a stride s gives (h-1)/s + 1 rows           */
    int kernel, stride; /* of an operation with a window; otherwise 0 and 1    */
} nas_op_shape;

/** What an operation needs there. */
typedef struct nas_op_needs {
    int64_t macs;        /* multiply-accumulates for one image                              */
    int64_t weights;     /* trained floats; the same for every h and w                      */
    int fan_in;          /* weights begin as U(+-1/sqrt(fan_in)); divides their number      */
    int64_t kept_floats; /* that forward keeps of an image for backward                     */
} nas_op_needs;

/** An operation.  Callbacks get whole images, must not fail, and are called from several threads
 * at once for different images. */
typedef struct nas_op_kind {
    size_t size;
    const char *name; /* "op" in JSON: a small letter, then small letters, digits and _, at most
                         23; keys of latency tables say "own_" before it                      */
    int has_window;   /* nonzero: has "kernel" (odd) and "stride"                             */
    int widens;       /* nonzero: "out" may differ from what comes in                         */
    void *user;       /* handed to the callbacks                                              */
    /** Fills `needs`, which is zero but for fan_in 1. */
    void (*plan)(void *user, const nas_op_shape *shape, nas_op_needs *needs);
    /** Writes y, and kept [images][kept_floats] unless it is NULL. */
    void (*forward)(void *user, const nas_op_shape *shape, int images, const float *weights,
                    const float *x, float *y, float *kept);
    /** From dy = dL/dy: writes dx and ADDS to dweights; each may be NULL: not wanted. */
    void (*backward)(void *user, const nas_op_shape *shape, int images, const float *weights,
                     const float *x, const float *kept, const float *dy, float *dx,
                     float *dweights);
} nas_op_kind;
NAS_API void nas_op_kind_init(nas_op_kind *kind, size_t size);

/** Adds an operation for the life of the process: spaces and architectures may name it, and it is
 * searched, trained, saved, profiled and evaluated like those that are built in.  A program that
 * reads such files must have registered it, too.  NAS_E_CONFIG: the name is none or is taken. */
NAS_API nas_status nas_op_register(const nas_op_kind *kind, nas_err *err);

#ifdef __cplusplus
}
#endif
#endif

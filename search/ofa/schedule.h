/* Schedules of supernet training: phases one after another, each with what it may use of the
 * space and its own settings (docs/reference/schedule.md). */
#ifndef NAS_SEARCH_OFA_SCHEDULE_H
#define NAS_SEARCH_OFA_SCHEDULE_H

#include "nas/elastic/supernet.h"

typedef enum nas_shrink_rule {
    NAS_RULE_PROGRESSIVE, /* subnets drawn from the phase's limits; a teacher's soft labels   */
    NAS_RULE_SANDWICH,    /* largest, smallest and random ones; the largest one may teach     */
    NAS_RULE_UNIFORM      /* as progressive, but all limits at once                           */
} nas_shrink_rule;

typedef enum nas_distill {
    NAS_DISTILL_NONE,
    NAS_DISTILL_CROSS_ENTROPY,
    NAS_DISTILL_MSE
} nas_distill;

enum { NAS_MAX_TRAIN_SIZES = 64 };

typedef struct nas_phase {
    char name[NAS_PHASE_NAME_SIZE];
    nas_elastic_dims limits;
    int rule, distill;            /* nas_shrink_rule, nas_distill                          */
    bool faded_kernels;           /* as the first phase begins (nas_elastic_fade_kernels)  */
    double distill_ratio;         /* weight of what a teacher says; hard labels have 1     */
    int64_t epochs, warmup_epochs; /* cosine from lr to 0; before it linear from warmup_lr  */
    double warmup_lr, lr, momentum, decay, label_smoothing;
    int64_t batch, subnets;       /* images; subnets whose gradients make one step          */
    char augment[16];             /* preset of the loader                                  */
    double brightness, contrast, saturation, hue; /* below 0: the preset's                  */
    int64_t validate_every;       /* epochs; 0: at the end of the phase only               */
    int sizes, size[NAS_MAX_TRAIN_SIZES]; /* of images, one a batch                        */
} nas_phase;

typedef struct nas_ofa_schedule {
    char name[64];
    int count;
    nas_phase phase[NAS_MAX_PHASES];
} nas_ofa_schedule;

/** Names of the presets, NULL-terminated. */
extern const char *const nas_ofa_schedule_presets[];

/** A preset, made for a space: a dimension that is not elastic has no phase.  NAS_E_CONFIG for an
 * unknown name or a space that is not elastic. */
nas_status nas_ofa_schedule_preset(nas_ofa_schedule *out, const char *name, const nas_space *space,
                                   nas_err *err);
/** Reads and checks a file.  NAS_E_IO, NAS_E_DATA, NAS_E_CONFIG. */
nas_status nas_ofa_schedule_load(nas_ofa_schedule *out, const char *path, const nas_space *space,
                                 nas_err *err);
nas_status nas_ofa_schedule_from_json(nas_ofa_schedule *out, const json_t *json, const char *where,
                                      const nas_space *space, nas_err *err);
json_t *nas_ofa_schedule_json(const nas_ofa_schedule *schedule); /* NULL: no memory */

/** Progressive phases begin with the largest network alone; each next one allows all that the one
 * before did and more of one dimension (of depth and ratio one value more); the other rules may
 * allow everything at once.  Sizes are the space's.  NAS_E_CONFIG names the phase. */
nas_status nas_ofa_schedule_check(const nas_ofa_schedule *schedule, const nas_space *space,
                                  nas_err *err);

/** Which phase comes next for a supernet: the one behind those it has done.  NAS_E_CONFIG if it
 * has done others, or all (status NAS_OK and *next == count). */
nas_status nas_ofa_schedule_next(int *next, const nas_ofa_schedule *schedule,
                                 const nas_supernet *supernet, nas_err *err);

/** Multiplies the epochs of every phase, at least 1 remains. */
void nas_ofa_schedule_scale(nas_ofa_schedule *schedule, double factor);

#endif

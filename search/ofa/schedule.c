/* Schedules: presets, JSON, and the rules that phases keep. */
#include "search/ofa/schedule.h"

#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "nas/data/augment.h"

static const char *const rules[] = {"progressive", "sandwich", "uniform", NULL};
static const char *const distills[] = {"none", "cross-entropy", "mse", NULL};
enum { UNSAID = -1 }; /* of nas_phase.distill, while a file is read */

/* ---- presets ---- */

/* What differs between phases of a preset. */
typedef struct pace {
    int64_t epochs, warmup_epochs, subnets;
    double lr;
} pace;

typedef struct preset {
    nas_phase common;
    pace teacher, kernel, depth[2], expand[2]; /* [0]: phases of a dimension but its last   */
    pace whole;                        /* of the schedule's last phase, whatever it adds;
                                          no epochs: as above                              */
    const char *alone;                 /* one phase of this name, of everything, paced as
                                          `teacher`, by common's rule                      */
} preset;

#define COMMON                                                                                   \
    .momentum = 0.9, .decay = 3e-5, .label_smoothing = 0.1, .batch = 64, .distill_ratio = 1.0
#define TAUGHT .distill = NAS_DISTILL_CROSS_ENTROPY
#define CIFAR                                                                                    \
    COMMON, .augment = "cifar", .brightness = -1, .contrast = -1, .saturation = -1, .hue = -1

static const preset presets[] = {
    {.common = {COMMON, TAUGHT, .augment = "imagenet", .brightness = 32.0 / 255.0,
                .saturation = 0.5, .validate_every = 1}, /* contrast and hue: 0 */
     .teacher = {180, 0, 1, 2.6 / 32}, .kernel = {120, 5, 1, 3e-2},
     .depth = {{25, 0, 2, 2.5e-3}, {120, 5, 2, 7.5e-3}},
     .expand = {{25, 0, 4, 2.5e-3}, {120, 5, 4, 7.5e-3}}},
    {.common = {CIFAR, .faded_kernels = true},
     .teacher = {5, 1, 1, 0.1}, .kernel = {1, 0, 1, 0.05},
     .depth = {{1, 0, 2, 0.05}, {1, 0, 2, 0.05}}, .expand = {{2, 0, 2, 0.05}, {2, 0, 2, 0.05}},
     .whole = {19, 1, 2, 0.1}},
    {.common = {CIFAR, TAUGHT},
     .teacher = {28, 1, 1, 0.08}, .kernel = {10, 0, 1, 0.03},
     .depth = {{2, 0, 2, 0.01}, {9, 0, 2, 0.02}}, .expand = {{2, 0, 2, 0.01}, {9, 0, 2, 0.02}}},
    {.common = {CIFAR, TAUGHT, .rule = NAS_RULE_SANDWICH},
     .teacher = {40, 1, 4, 0.05}, .alone = "sandwich"},
    {.common = {CIFAR, .rule = NAS_RULE_UNIFORM, .faded_kernels = true},
     .teacher = {30, 1, 2, 0.1}, .alone = "labels"},
};
enum { TAUGHT_PRESET = 2 };
const char *const nas_ofa_schedule_presets[] = {"ofa", "cifar-small", "taught", "sandwich",
                                                "uniform", NULL};

static void set_pace(nas_phase *phase, const pace *at)
{
    phase->epochs = at->epochs;
    phase->warmup_epochs = at->warmup_epochs;
    phase->subnets = at->subnets;
    phase->lr = at->lr;
    phase->warmup_lr = at->warmup_epochs > 0 ? at->lr / 10 : at->lr;
}

static nas_phase *add_phase(nas_ofa_schedule *s, const preset *p, const pace *at, const char *name,
                            const nas_elastic_dims *limits)
{
    nas_phase *phase = &s->phase[s->count++];

    *phase = p->common;
    set_pace(phase, at);
    phase->limits = *limits;
    snprintf(phase->name, sizeof phase->name, "%s", name);
    return phase;
}

/* The n greatest values. */
static void greatest(nas_elastic_dims *limits, const nas_elastic_dims *all, int kernels,
                     int expands)
{
    limits->kernels = kernels;
    memcpy(limits->kernel, all->kernel + all->kernels - kernels,
           (size_t)kernels * sizeof *limits->kernel);
    limits->expands = expands;
    memcpy(limits->expand, all->expand + all->expands - expands,
           (size_t)expands * sizeof *limits->expand);
}

static void fill_progressive(nas_ofa_schedule *s, const preset *p, const nas_elastic_dims *all)
{
    nas_elastic_dims limits = {0};
    char name[NAS_PHASE_NAME_SIZE];

    greatest(&limits, all, 1, 1);
    add_phase(s, p, &p->teacher, "teacher", &limits)->distill = NAS_DISTILL_NONE;
    greatest(&limits, all, all->kernels, 1);
    if (all->kernels > 1)
        add_phase(s, p, &p->kernel, "kernel", &limits);
    for (int skip = 1; skip <= all->skip && s->count < NAS_MAX_PHASES; skip++) {
        limits.skip = skip;
        snprintf(name, sizeof name, "depth-%d", skip);
        add_phase(s, p, &p->depth[skip == all->skip], name, &limits);
    }
    for (int e = 2; e <= all->expands && s->count < NAS_MAX_PHASES; e++) {
        greatest(&limits, all, all->kernels, e);
        snprintf(name, sizeof name, "expand-%d", e - 1);
        add_phase(s, p, &p->expand[e == all->expands], name, &limits);
    }
    if (p->whole.epochs > 0)
        set_pace(&s->phase[s->count - 1], &p->whole);
}

/* Every size of the space. */
static void fill_sizes(nas_phase *phase, const nas_space *space)
{
    phase->sizes = space->resolutions > 0 ? space->resolutions : 1;
    phase->size[0] = space->image_size;
    if (space->resolutions > 0)
        memcpy(phase->size, space->resolution, (size_t)phase->sizes * sizeof *phase->size);
}

static int index_of(const char *const *names, const char *name)
{
    int i = 0;

    while (names[i] != NULL && strcmp(names[i], name) != 0)
        i++;
    return names[i] != NULL ? i : -1;
}

nas_status nas_ofa_schedule_preset(nas_ofa_schedule *out, const char *name, const nas_space *space,
                                   nas_err *err)
{
    const int at = index_of(nas_ofa_schedule_presets, name);
    nas_elastic_dims all;
    const nas_status status = nas_elastic_dims_of(&all, space, err);

    memset(out, 0, sizeof *out);
    if (status != NAS_OK)
        return status;
    if (at < 0) {
        nas_fail(err, NAS_E_CONFIG, "no schedule is called \"%.64s\"", name);
        nas_hint(err, "there are ofa, cifar-small, taught, sandwich and uniform; --schedule takes "
                 "a file");
        return NAS_E_CONFIG;
    }
    snprintf(out->name, sizeof out->name, "%s", name);
    if (presets[at].alone != NULL)
        add_phase(out, &presets[at], &presets[at].teacher, presets[at].alone, &all);
    else
        fill_progressive(out, &presets[at], &all);
    for (int i = 0; i < out->count; i++)
        fill_sizes(&out->phase[i], space);
    return NAS_OK;
}

/* ---- JSON ---- */

typedef struct number {
    const char *key;
    size_t offset;
    bool whole; /* int64_t, otherwise double */
    double min, max;
} number;

#define AT(field) offsetof(nas_phase, field)

static const number numbers[] = {
    {"epochs", AT(epochs), true, 1, 1e6},
    {"warmup_epochs", AT(warmup_epochs), true, 0, 1e6},
    {"warmup_lr", AT(warmup_lr), false, 0, 100},
    {"lr", AT(lr), false, 0, 100},
    {"momentum", AT(momentum), false, 0, 0.9999},
    {"decay", AT(decay), false, 0, 1},
    {"label_smoothing", AT(label_smoothing), false, 0, 0.99},
    {"batch", AT(batch), true, 2, 4096},
    {"subnets", AT(subnets), true, 1, 64},
    {"distill_ratio", AT(distill_ratio), false, 0, 1000},
    {"brightness", AT(brightness), false, -1, 10},
    {"contrast", AT(contrast), false, -1, 10},
    {"saturation", AT(saturation), false, -1, 10},
    {"hue", AT(hue), false, -1, 0.5},
    {"validate_every", AT(validate_every), true, 0, 1e6},
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static const char *const members[] = {
    "name", "kernel", "expand", "skip", "rule", "distill", "faded_kernels", "augment",
    "resolutions", "epochs", "warmup_epochs", "warmup_lr", "lr", "momentum", "decay",
    "label_smoothing", "batch", "subnets", "distill_ratio", "brightness", "contrast", "saturation",
    "hue", "validate_every", NULL};

static nas_status read_numbers(nas_phase *phase, const json_t *json, const char *where,
                               nas_err *err)
{
    nas_status status = NAS_OK;

    for (int i = 0; i < NUMBERS && status == NAS_OK; i++) {
        const number *n = &numbers[i];
        void *field = (char *)phase + n->offset;

        status = n->whole ? nas_json_int(json, where, n->key, false, (int64_t)n->min,
                                         (int64_t)n->max, field, err)
                          : nas_json_real(json, where, n->key, false, n->min, n->max, field, err);
    }
    return status;
}

static nas_status read_choice(int *out, const json_t *json, const char *where, const char *key,
                              const char *const *names, nas_err *err)
{
    const char *text = NULL;
    const nas_status status = nas_json_str(json, where, key, false, &text, err);

    if (status != NAS_OK || text == NULL)
        return status;
    if ((*out = index_of(names, text)) >= 0)
        return NAS_OK;
    nas_fail(err, NAS_E_DATA, "%s.%s: \"%.64s\" is none of its values", where, key, text);
    const char *near = nas_nearest(text, names);
    if (near != NULL)
        nas_hint(err, "did you mean \"%s\"?", near);
    return NAS_E_DATA;
}

static nas_status read_text(char *out, size_t size, const json_t *json, const char *where,
                            const char *key, nas_err *err)
{
    const char *text = NULL;
    const nas_status status = nas_json_str(json, where, key, false, &text, err);

    if (status != NAS_OK || text == NULL)
        return status;
    if (text[0] == '\0' || strlen(text) >= size)
        return nas_fail(err, NAS_E_DATA, "%s.%s: must have 1 to %zu bytes", where, key, size - 1);
    snprintf(out, size, "%s", text);
    return NAS_OK;
}

static nas_status read_sizes(nas_phase *phase, const json_t *json, const char *where, nas_err *err)
{
    const json_t *list = json_object_get(json, "resolutions");
    const size_t count = json_array_size(list);

    if (list == NULL)
        return NAS_OK;
    if (count < 1 || count > NAS_MAX_TRAIN_SIZES)
        return nas_fail(err, NAS_E_DATA, "%s.resolutions: must be a list of 1 to %d sizes", where,
                        NAS_MAX_TRAIN_SIZES);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        const json_int_t size = json_integer_value(value);

        if (!json_is_integer(value) || size < 1 || size > NAS_MAX_IMAGE_SIZE ||
            (i > 0 && size <= phase->size[i - 1]))
            return nas_fail(err, NAS_E_DATA,
                            "%s.resolutions[%zu]: must be a size above the one before", where, i);
        phase->size[i] = (int)size;
    }
    phase->sizes = (int)count;
    return NAS_OK;
}

static nas_status read_phase(nas_phase *phase, const json_t *json, const char *where, nas_err *err)
{
    nas_status status;

    if ((status = nas_json_members(json, where, members, err)) ||
        (status = read_text(phase->name, sizeof phase->name, json, where, "name", err)) ||
        (status = nas_elastic_dims_read(&phase->limits, json, where, err)) ||
        (status = read_choice(&phase->rule, json, where, "rule", rules, err)) ||
        (status = read_choice(&phase->distill, json, where, "distill", distills, err)) ||
        (status = nas_json_bool(json, where, "faded_kernels", false, &phase->faded_kernels,
                                err)) ||
        (status = read_text(phase->augment, sizeof phase->augment, json, where, "augment", err)) ||
        (status = read_sizes(phase, json, where, err)))
        return status;
    return read_numbers(phase, json, where, err);
}

/* What a phase has where the file says nothing: the largest network, of the presets' settings. */
static void fill_default(nas_phase *phase, const nas_space *space, const nas_elastic_dims *all)
{
    *phase = presets[TAUGHT_PRESET].common;
    phase->distill = UNSAID;
    phase->epochs = 1;
    phase->subnets = 1;
    phase->lr = phase->warmup_lr = 0.01;
    greatest(&phase->limits, all, 1, 1);
    fill_sizes(phase, space);
}

nas_status nas_ofa_schedule_from_json(nas_ofa_schedule *out, const json_t *json, const char *where,
                                      const nas_space *space, nas_err *err)
{
    static const char *const known[] = {"format", "version", "name", "defaults", "phases", NULL};
    const char *format = "onepath.schedule";
    int64_t version = 1;
    char inside[256];
    nas_phase base;
    nas_elastic_dims all;
    nas_status status;

    memset(out, 0, sizeof *out);
    if ((status = nas_elastic_dims_of(&all, space, err)) ||
        (status = nas_json_members(json, where, known, err)) ||
        (status = nas_json_str(json, where, "format", false, &format, err)) ||
        (status = nas_json_int(json, where, "version", false, 1, 1, &version, err)) ||
        (status = read_text(out->name, sizeof out->name, json, where, "name", err)))
        return status;
    if (strcmp(format, "onepath.schedule") != 0)
        return nas_fail(err, NAS_E_DATA, "%s: its format is \"%.64s\", not onepath.schedule", where,
                        format);
    fill_default(&base, space, &all);
    snprintf(inside, sizeof inside, "%.200s: defaults", where);
    if (json_object_get(json, "defaults") != NULL &&
        (status = read_phase(&base, json_object_get(json, "defaults"), inside, err)))
        return status;
    const json_t *list = json_object_get(json, "phases");
    if (json_array_size(list) < 1 || json_array_size(list) > NAS_MAX_PHASES)
        return nas_fail(err, NAS_E_DATA, "%s: 'phases' must be a list of 1 to %d", where,
                        NAS_MAX_PHASES);
    for (out->count = 0; out->count < (int)json_array_size(list); out->count++) {
        nas_phase *phase = &out->phase[out->count];

        snprintf(inside, sizeof inside, "%.200s: phases[%d]", where, out->count);
        *phase = base;
        snprintf(phase->name, sizeof phase->name, "phase-%d", out->count + 1);
        status = read_phase(phase, json_array_get(list, (size_t)out->count), inside, err);
        if (status != NAS_OK)
            return status;
        if (phase->distill == UNSAID)
            phase->distill = phase->rule == NAS_RULE_SANDWICH ? NAS_DISTILL_CROSS_ENTROPY
                                                              : NAS_DISTILL_NONE;
    }
    if ((status = nas_ofa_schedule_check(out, space, err)) != NAS_OK)
        nas_err_prefix(err, "%s", where);
    return status;
}

nas_status nas_ofa_schedule_load(nas_ofa_schedule *out, const char *path, const nas_space *space,
                                 nas_err *err)
{
    json_t *json = NULL;
    nas_status status = nas_json_load(&json, path, err);

    if (status == NAS_OK)
        status = nas_ofa_schedule_from_json(out, json, path, space, err);
    json_decref(json);
    return status;
}

static json_t *phase_json(const nas_phase *phase)
{
    json_t *json = json_pack("{s:s}", "name", phase->name), *sizes = json_array();
    json_t *limits = nas_elastic_dims_json(&phase->limits);

    json_object_update(json, limits);
    json_decref(limits);
    json_object_set_new(json, "rule", json_string(rules[phase->rule]));
    json_object_set_new(json, "distill", json_string(distills[phase->distill]));
    if (phase->faded_kernels) /* phases without it read as they did before it was there */
        json_object_set_new(json, "faded_kernels", json_true());
    json_object_set_new(json, "augment", json_string(phase->augment));
    for (int i = 0; i < phase->sizes; i++)
        json_array_append_new(sizes, json_integer(phase->size[i]));
    json_object_set_new(json, "resolutions", sizes);
    for (int i = 0; i < NUMBERS; i++) {
        const char *field = (const char *)phase + numbers[i].offset;

        json_object_set_new(json, numbers[i].key,
                            numbers[i].whole ? json_integer(*(const int64_t *)field)
                                             : json_real(*(const double *)field));
    }
    return json;
}

json_t *nas_ofa_schedule_json(const nas_ofa_schedule *schedule)
{
    const char *name = schedule->name[0] != '\0' ? schedule->name : NULL; /* as in files */
    json_t *phases = json_array();

    for (int i = 0; i < schedule->count; i++)
        json_array_append_new(phases, phase_json(&schedule->phase[i]));
    return json_pack("{s:s, s:i, s:s*, s:o}", "format", "onepath.schedule", "version", 1, "name",
                     name, "phases", phases);
}

/* ---- rules ---- */

/* The phase makes one dimension wider than `before`, and not by more than is trained at once. */
static nas_status check_step(const nas_phase *phase, const nas_phase *before, nas_err *err)
{
    const nas_elastic_dims *a = &before->limits, *b = &phase->limits;
    const int kernels = b->kernels - a->kernels, expands = b->expands - a->expands;
    const int skip = b->skip - a->skip;

    if ((kernels > 0) + (expands > 0) + (skip > 0) <= 1 && expands <= 1 && skip <= 1)
        return NAS_OK;
    nas_fail(err, NAS_E_CONFIG, "phase %s skips a phase: it adds %d kernels, %d expand ratios and "
             "%d skipped blocks to phase %s", phase->name, kernels, expands, skip, before->name);
    nas_hint(err, "kernels, depth and width in phases of their own, depth and width one value at a "
             "time; or rule \"uniform\" or \"sandwich\" for all at once");
    return NAS_E_CONFIG;
}

/* What was trained once stays trained, the largest network first of all: it is what teaches. */
static nas_status check_growth(const nas_phase *phase, const nas_phase *before,
                               const nas_elastic_dims *all, nas_err *err)
{
    const nas_elastic_dims *limits = &phase->limits;

    if (before != NULL && !nas_elastic_dims_cover(limits, &before->limits)) {
        nas_fail(err, NAS_E_CONFIG, "takes back what phase %s allows", before->name);
        nas_hint(err, "each phase lists all kernels and ratios of the one before, and its own");
        return NAS_E_CONFIG;
    }
    if (limits->kernel[limits->kernels - 1] == all->kernel[all->kernels - 1] &&
        limits->expand[limits->expands - 1] == all->expand[all->expands - 1])
        return NAS_OK;
    return nas_fail(err, NAS_E_CONFIG, "every phase has the largest kernel and ratio");
}

static nas_status check_sizes(const nas_phase *phase, const nas_space *space, nas_err *err)
{
    for (int i = 0; i < phase->sizes; i++) {
        bool known = phase->size[i] == space->image_size;

        for (int k = 0; k < space->resolutions; k++)
            known = known || phase->size[i] == space->resolution[k];
        if (known)
            continue;
        nas_fail(err, NAS_E_CONFIG,
                 "images of %d pixels are not of space %s, whose largest are of %d", phase->size[i],
                 space->name, nas_space_largest_size(space));
        nas_hint(err, "the data set's images bound the sizes: import larger ones, or leave it out");
        return NAS_E_CONFIG;
    }
    return NAS_OK;
}

/* Runs and random streams are named by it. */
static nas_status check_name(const char *name, nas_err *err)
{
    const char *at = name;

    while (isalnum((unsigned char)*at) || *at == '_' || (at > name && strchr(".-", *at) && *at))
        at++;
    if (at > name && *at == '\0')
        return NAS_OK;
    return nas_fail(err, NAS_E_CONFIG, "'%s' is not a name of letters, digits, '.', '_' and '-'",
                    name);
}

static nas_status check_phase(const nas_ofa_schedule *s, int i, const nas_space *space,
                              nas_err *err)
{
    const nas_phase *phase = &s->phase[i];
    nas_augment augment;
    nas_elastic_dims all;
    nas_elastic_mask mask;
    nas_status status;

    if ((status = check_name(phase->name, err)) ||
        (status = nas_augment_preset(&augment, phase->augment, 0, err)) ||
        (status = nas_elastic_dims_of(&all, space, err)) ||
        (status = nas_elastic_mask_make(&mask, space, &phase->limits, err)) ||
        (status = check_sizes(phase, space, err)))
        goto done;
    for (int k = 0; k < i; k++)
        if (strcmp(s->phase[k].name, phase->name) == 0)
            return nas_fail(err, NAS_E_CONFIG, "two phases are called %s", phase->name);
    if (!nas_elastic_dims_cover(&all, &phase->limits))
        status = nas_fail(err, NAS_E_CONFIG, "allows more than space %s has", space->name);
    else if ((status = check_growth(phase, i > 0 ? &s->phase[i - 1] : NULL, &all, err)) != NAS_OK)
        goto done;
    else if (phase->rule == NAS_RULE_SANDWICH)
        status = phase->subnets >= 2 ? NAS_OK
                                     : nas_fail(err, NAS_E_CONFIG, "sandwich needs 2 subnets");
    else if (phase->rule == NAS_RULE_UNIFORM)
        status = NAS_OK;
    else if (i > 0)
        return check_step(phase, &s->phase[i - 1], err);
    else if (phase->limits.kernels > 1 || phase->limits.expands > 1 || phase->limits.skip > 0)
        status = nas_fail(err, NAS_E_CONFIG, "the first phase is the largest network alone");
done:
    if (status != NAS_OK)
        nas_err_prefix(err, "phase %s", phase->name);
    return status;
}

nas_status nas_ofa_schedule_check(const nas_ofa_schedule *schedule, const nas_space *space,
                                  nas_err *err)
{
    nas_status status = NAS_OK;

    for (int i = 0; i < schedule->count && status == NAS_OK; i++)
        status = check_phase(schedule, i, space, err);
    return status;
}

nas_status nas_ofa_schedule_next(int *next, const nas_ofa_schedule *schedule, const nas_supernet *n,
                                 nas_err *err)
{
    *next = n->phases;
    for (int i = 0; i < n->phases; i++) {
        if (i < schedule->count && strcmp(n->phase[i], schedule->phase[i].name) == 0)
            continue;
        nas_fail(err, NAS_E_CONFIG, "the supernet's phase %d was %s, but the schedule has %s there",
                 i + 1, n->phase[i], i < schedule->count ? schedule->phase[i].name : "none");
        nas_hint(err, "go on with the schedule that it was begun with");
        return NAS_E_CONFIG;
    }
    if (n->phases > 0) {
        const nas_elastic_dims *then = &schedule->phase[n->phases - 1].limits;

        if (!nas_elastic_dims_cover(then, &n->trained) ||
            !nas_elastic_dims_cover(&n->trained, then))
            return nas_fail(err, NAS_E_CONFIG,
                            "the supernet's phase %s had other limits than the schedule's",
                            n->phase[n->phases - 1]);
    }
    return NAS_OK;
}

void nas_ofa_schedule_scale(nas_ofa_schedule *schedule, double factor)
{
    for (int i = 0; i < schedule->count; i++) {
        nas_phase *p = &schedule->phase[i];

        p->epochs = (int64_t)fmax(1.0, rint((double)p->epochs * factor));
        p->warmup_epochs = (int64_t)rint((double)p->warmup_epochs * factor);
    }
}

/* From judged networks to studies: a trial is a network, its parameters are the operations of
 * its blocks, its values are top-1 and latency. */
#include "search/report/optuna.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/report/private.h"
#include "search/store/optuna.h"

/* The networks of one study, judged[0..count-1]; NULL where one cannot be read. */
typedef struct study {
    const nas_store_run *run;
    const nas_store_judged *judged;
    size_t count;
    nas_arch **arch;                 /* [count]                                         */
    json_t *choices[NAS_MAX_BLOCKS]; /* texts of the operations seen at a searched block */
} study;

static bool is_searched(const nas_arch *arch, int block)
{
    return arch != NULL && block < arch->count && arch->blocks[block].stage >= 0;
}

/* The number of a text in a list, which gets it if it is new; -1: no memory. */
static int choice_of(json_t **choices, const char *text)
{
    if (*choices == NULL && (*choices = json_array()) == NULL)
        return -1;
    const size_t count = json_array_size(*choices);
    for (size_t i = 0; i < count; i++)
        if (strcmp(json_string_value(json_array_get(*choices, i)), text) == 0)
            return (int)i;
    return json_array_append_new(*choices, json_string(text)) == 0 ? (int)count : -1;
}

static void read_archs(study *s)
{
    for (size_t i = 0; i < s->count; i++) {
        json_t *json = json_loads(s->judged[i].json, 0, NULL);

        if (json != NULL)
            nas_arch_from_json(&s->arch[i], json, "architecture", NULL);
        json_decref(json);
    }
}

/* All choices must be known before the first trial names its own. */
static nas_status collect_choices(study *s, nas_err *err)
{
    char text[32];

    for (size_t i = 0; i < s->count; i++)
        for (int b = 0; b < NAS_MAX_BLOCKS; b++) {
            if (!is_searched(s->arch[i], b))
                continue;
            nas_report__op_text(&s->arch[i]->blocks[b].op, text);
            if (choice_of(&s->choices[b], text) < 0)
                return nas_fail(err, NAS_E_NOMEM, "Optuna export: out of memory");
        }
    return NAS_OK;
}

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static nas_status add_trial(nas_optuna *optuna, study *s, size_t index, nas_err *err)
{
    const nas_store_judged *j = &s->judged[index];
    nas_optuna_param params[NAS_MAX_BLOCKS];
    nas_optuna_trial trial = {
        .start_ms = s->run->created_ms,
        .complete_ms = s->run->finished_ms > 0 ? s->run->finished_ms : s->run->updated_ms,
        .values = {j->top1, j->latency_ms},
        .param = params,
    };
    char text[32];

    for (int b = 0; b < NAS_MAX_BLOCKS; b++) {
        if (!is_searched(s->arch[index], b))
            continue;
        nas_optuna_param *p = &params[trial.params++];
        nas_report__op_text(&s->arch[index]->blocks[b].op, text);
        snprintf(p->name, sizeof p->name, "block%02d", b);
        p->choice = choice_of(&s->choices[b], text);
        p->choices = s->choices[b];
    }
    json_t *attributes = json_pack("{s:s, s:I, s:I, s:I, s:b, s:o, s:o}", "digest", j->digest,
                                   "rank", (json_int_t)j->rank, "macs", (json_int_t)j->macs,
                                   "parameters", (json_int_t)j->parameters, "selected", j->selected,
                                   "loss", real_or_null(j->loss), "top5", real_or_null(j->top5));
    if (attributes == NULL)
        return nas_fail(err, NAS_E_NOMEM, "Optuna export: out of memory, or not UTF-8");
    trial.attributes = attributes;
    const nas_status status = nas_optuna_trial_add(optuna, &trial, err);
    json_decref(attributes);
    return status;
}

static nas_status add_study(nas_optuna *optuna, study *s, nas_err *err)
{
    char name[2 * NAS_STORE_NAME_SIZE];
    nas_optuna_study about = {
        .name = name, .objectives = 1, .metric = {"top1", "latency_ms"}, .maximize = {true, false}};
    nas_status status;

    snprintf(name, sizeof name, "%s/%s", s->run->name, s->judged[0].source);
    for (size_t i = 0; i < s->count; i++)
        if (isfinite(s->judged[i].latency_ms))
            about.objectives = 2;
    s->arch = calloc(s->count, sizeof *s->arch);
    if (s->arch == NULL)
        return nas_fail(err, NAS_E_NOMEM, "Optuna export: out of memory");
    read_archs(s);
    if ((status = collect_choices(s, err)) == NAS_OK)
        status = nas_optuna_study_add(optuna, &about, err);
    for (size_t i = 0; i < s->count && status == NAS_OK; i++)
        status = add_trial(optuna, s, i, err);
    for (size_t i = 0; i < s->count; i++)
        nas_arch_free(s->arch[i]);
    for (int b = 0; b < NAS_MAX_BLOCKS; b++)
        json_decref(s->choices[b]);
    free(s->arch);
    return status;
}

/* How many from judged[0] on were judged in the same way: they come sorted by it. */
static size_t same_source(const nas_store_judged *judged, size_t count)
{
    size_t same = 1;

    while (same < count && strcmp(judged[same].source, judged[0].source) == 0)
        same++;
    return same;
}

static nas_status add_run(nas_optuna *optuna, nas_store *store, const nas_store_run *run,
                          int64_t *trials, nas_err *err)
{
    nas_store_judged *judged = NULL;
    int count = 0;
    nas_status status = nas_store_evaluations_get(store, run->id, &judged, &count, err);
    const nas_store_judged *at = judged;

    for (size_t left = (size_t)count; left > 0 && status == NAS_OK;) {
        study s = {.run = run, .judged = at, .count = same_source(at, left)};

        status = add_study(optuna, &s, err);
        at += s.count;
        left -= s.count;
    }
    *trials += count;
    nas_store_judged_free(judged, count);
    return status;
}

nas_status nas_optuna_write(nas_store *store, const nas_store_run *runs, int count,
                            const char *path, int64_t *trials, nas_err *err)
{
    nas_optuna *optuna;
    nas_status status = nas_optuna_new(&optuna, err);

    *trials = 0;
    for (int r = 0; r < count && status == NAS_OK; r++)
        status = add_run(optuna, store, &runs[r], trials, err);
    if (status == NAS_OK)
        status = nas_optuna_save(optuna, path, err);
    nas_optuna_free(optuna);
    return status;
}

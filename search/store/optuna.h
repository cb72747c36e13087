/* A database that Optuna (3.2 and later) and its dashboard open: docs/reference/export.md.
 *
 * Studies and their trials are added one after another; the file appears at the end. */
#ifndef NAS_SEARCH_STORE_OPTUNA_H
#define NAS_SEARCH_STORE_OPTUNA_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct nas_optuna nas_optuna;

/** An empty database in memory.  NAS_E_NOMEM. */
nas_status nas_optuna_new(nas_optuna **out, nas_err *err);
void nas_optuna_free(nas_optuna *optuna);

enum { NAS_OPTUNA_OBJECTIVES = 2 };

typedef struct nas_optuna_study {
    const char *name; /* unique */
    int objectives;   /* 1..NAS_OPTUNA_OBJECTIVES */
    const char *metric[NAS_OPTUNA_OBJECTIVES];
    bool maximize[NAS_OPTUNA_OBJECTIVES];
} nas_optuna_study;

/** Trials added later belong to it. */
nas_status nas_optuna_study_add(nas_optuna *optuna, const nas_optuna_study *study, nas_err *err);

/** One of a list of choices, which is the same for this parameter in all trials of a study. */
typedef struct nas_optuna_param {
    char name[32];
    int choice;
    const json_t *choices; /* array */
} nas_optuna_param;

typedef struct nas_optuna_trial {
    int64_t start_ms, complete_ms;        /* since 1970, UTC                             */
    double values[NAS_OPTUNA_OBJECTIVES]; /* a NAN among them: the trial counts as failed */
    int params;
    const nas_optuna_param *param;
    const json_t *attributes; /* object: what else is known of it */
} nas_optuna_trial;

nas_status nas_optuna_trial_add(nas_optuna *optuna, const nas_optuna_trial *trial, nas_err *err);

/** Writes the database to `path`, all or nothing.  NAS_E_USAGE if another file than an earlier
 * export is there. */
nas_status nas_optuna_save(nas_optuna *optuna, const char *path, nas_err *err);

#endif

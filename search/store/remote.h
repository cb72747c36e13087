/* A store that is a spool: what the process of a job uses on another host, where the database
 * must not be touched.  It knows the runs of its job alone, from the records of the attempts. */
#ifndef NAS_SEARCH_STORE_REMOTE_H
#define NAS_SEARCH_STORE_REMOTE_H

#include "search/store/private.h"

/** Opens the spool of an attempt: `dir` ends with "/<job>/<attempt>".  Fills store->remote. */
nas_status nas_store__remote_open(nas_store *store, const char *dir, nas_err *err);
void nas_store__remote_close(nas_store__remote *remote);

/* Each is what the public function of that name does when the store is a spool. */
nas_status nas_store__remote_run_begin(nas_store *store, const nas_store_run_spec *spec,
                                       nas_store_attempt *out, nas_err *err);
nas_status nas_store__remote_run_claim(nas_store *store, int64_t run, nas_store_attempt *out,
                                       nas_err *err);
nas_status nas_store__remote_run_finish(nas_store *store, nas_store_attempt attempt,
                                        nas_store_state state, const char *summary,
                                        const char *error, nas_err *err);
nas_status nas_store__remote_run_get(nas_store *store, const char *text, nas_store_run **out,
                                     nas_err *err);
nas_status nas_store__remote_job_run(nas_store *store, const char *kind, const char *config_digest,
                                     nas_store_run **out, nas_err *err);
nas_status nas_store__remote_progress(nas_store *store, nas_store_attempt attempt, int64_t step,
                                      int64_t epoch, const nas_store_metric *metrics, int count,
                                      nas_err *err);
nas_status nas_store__remote_probabilities(nas_store *store, nas_store_attempt attempt,
                                           int64_t epoch, int slots, const int *counts,
                                           const double *p, nas_err *err);
nas_status nas_store__remote_architecture(nas_store *store,
                                          const nas_store_architecture *architecture, int64_t *id,
                                          nas_err *err);
nas_status nas_store__remote_evaluations(nas_store *store, nas_store_attempt attempt,
                                         const nas_store_evaluation *evaluations, int count,
                                         nas_err *err);
nas_status nas_store__remote_table(nas_store *store, const char *digest, const char *path,
                                   const char *device, const char *meta, const char *content,
                                   int64_t *id, nas_err *err);
nas_status nas_store__remote_run_table(nas_store *store, nas_store_attempt attempt, int64_t table,
                                       nas_err *err);
/** A file that is complete, with its size and digest. */
nas_status nas_store__remote_file(nas_store *store, nas_store_attempt attempt, const char *kind,
                                  const char *file, int64_t step, double score, int64_t bytes,
                                  const char *digest, nas_err *err);
nas_status nas_store__remote_file_list(nas_store *store, int64_t run, const char *kind,
                                       nas_store_artifact **out, int *count, nas_err *err);

#endif

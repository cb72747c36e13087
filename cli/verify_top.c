/* The device that the tables are of, and whole networks on it. */
#include "cli/verify_top.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/version.h"
#include "latency/profile/profile.h"
#include "latency/profile/verify.h"

enum { VERIFY_ROUNDS = 9 };

nas_status cli_verify_check(const cli_verify_options *o, nas_err *err)
{
    if (o->top > 0 || (strcmp(o->device.via, "local") == 0 && o->device.program == NULL &&
                       strcmp(o->device.cores, "any") == 0))
        return NAS_OK;
    return nas_fail(err, NAS_E_USAGE, "--via, --program and --cores say where the best networks are "
                    "measured: they go with --verify-top");
}

/* Whether what answers is the device of the table. */
static nas_status check_device(const cli_verifier *v, const nas_latency_table *table,
                               const char *device, bool emulated, nas_err *err)
{
    const char *where = cli_device_remote(&v->device) ? v->device.via.text : "this machine";
    const nas_status status = cli_table_check_device(table, device, where, "--verify-top", err);

    if (status != NAS_OK) {
        nas_hint(err, "name the way to that device, as nas profile did: --via");
        return status;
    }
    if (emulated && !v->allow_emulated) {
        nas_fail(err, NAS_E_CONFIG, "%.60s is an emulator: its times say nothing about a device",
                 where);
        nas_hint(err, "measure on the device itself, or to try things out: --allow-emulated");
        return NAS_E_CONFIG;
    }
    return NAS_OK;
}

nas_status cli_verifier_prepare(cli_verifier *v, nas_err *err)
{
    const cli_device_options *o = &v->options->device;
    const nas_latency_table *table;
    nas_latency_meta is;
    nas_status status;

    if (v->options->top == 0)
        return NAS_OK;
    if (v->tables == NULL)
        return nas_fail(err, NAS_E_USAGE, "--verify-top measures what a latency table predicts: it "
                        "goes with --table");
    table = v->tables->tables[0];
    if ((status = cli_device_find(&v->device, o, err)) != NAS_OK)
        return status;
    if (cli_device_remote(&v->device))
        status = nas_latency_meta_there(&is, &v->device.via, v->space, table->meta.threads,
                                        o->cores, err);
    else
        nas_latency_meta_here(&is, "nas " NAS_VERSION);
    return status == NAS_OK ? check_device(v, table, is.device, is.emulated, err) : status;
}

/* The space for images of another size. */
static nas_status resized(nas_space **out, const nas_space *space, int image_size, nas_err *err)
{
    json_t *json = nas_space_to_json(space);
    nas_status status = json != NULL ? nas_space_from_json(out, json, "space", err)
                                     : nas_fail(err, NAS_E_NOMEM, "verify: out of memory");

    json_decref(json);
    return status == NAS_OK
               ? nas_space_fit(*out, image_size, space->channels, space->classes, err)
               : status;
}

/* Measures networks of one image size; `space` is for it. */
static nas_status measure_in(const cli_verifier *v, const nas_space *space,
                             nas_candidate *const *list, int count, const nas_observer *observer,
                             nas_err *err)
{
    const int threads = omp_get_max_threads();
    int(*choice)[NAS_MAX_SLOTS] = calloc((size_t)count, sizeof *choice);
    nas_latency_verification found = {0};
    const nas_latency_table *table;
    nas_status status = nas_latency_set_pick(&table, v->tables, space->image_size, err);

    if (status == NAS_OK && choice == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "verify: no memory for %d networks", count);
    if (status != NAS_OK)
        goto done;
    for (int i = 0; i < count; i++)
        memcpy(choice[i], list[i]->choice, sizeof choice[i]);
    const nas_latency_verify_options how = {
        .samples = count, .rounds = VERIFY_ROUNDS, .choice = (const int(*)[NAS_MAX_SLOTS])choice,
        .seed = v->seed, .via = &v->device.via, .threads = table->meta.threads,
        .cores = v->options->device.cores, .observer = observer};
    if (!cli_device_remote(&v->device) && table->meta.threads > 0)
        omp_set_num_threads(table->meta.threads);
    status = nas_latency_verify(&found, table, space, &how, err);
    omp_set_num_threads(threads);
    if (status == NAS_OK)
        status = check_device(v, table, found.device, found.emulated, err);
    for (int i = 0; i < count && status == NAS_OK; i++)
        list[i]->measured_ms = found.pairs[i].as_measured_ms; /* the target is one of now */

done:
    nas_latency_verification_fini(&found);
    free(choice);
    return status;
}

/* Networks of one image size after the other. */
static nas_status measure(void *user, nas_candidate *list, int count, const nas_observer *observer,
                          nas_err *err)
{
    const cli_verifier *v = user;
    nas_candidate **same = calloc((size_t)count + 1, sizeof *same);
    nas_status status =
        same != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "verify: no memory for %d networks", count);

    for (int i = 0; i < count; i++)
        list[i].measured_ms = 0.0;
    for (int i = 0; i < count && status == NAS_OK; i++) {
        const int size = list[i].image_size;
        const bool own = size == 0 || size == v->space->image_size;
        nas_space *other = NULL;
        int found = 0;

        if (list[i].measured_ms > 0.0)
            continue;
        for (int k = i; k < count; k++)
            if (list[k].image_size == size)
                same[found++] = &list[k];
        if (own || (status = resized(&other, v->space, size, err)) == NAS_OK)
            status = measure_in(v, own ? v->space : other, same, found, observer, err);
        nas_space_free(other);
    }
    free(same);
    return status;
}

nas_measurer cli_verifier_measurer(const cli_verifier *verifier)
{
    return (nas_measurer){.user = (void *)verifier, .measure = measure};
}

nas_status cli_verified_save(cli_session *session, const nas_space *space,
                             const nas_candidate *measured, int count, double target_ms,
                             json_t *result, nas_err *err)
{
    nas_candidate *list = calloc((size_t)count + 1, sizeof *list);
    json_t *verified = json_array();
    nas_status status = NAS_OK;

    if (list == NULL || verified == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "search: out of memory");
        goto done;
    }
    for (int i = 0; i < count; i++) {
        list[i] = measured[i];
        list[i].latency_ms = list[i].measured_ms;
        json_array_append_new(
            verified, json_pack("{s:i, s:f, s:f, s:f, s:b, s:b}", "image_size",
                                list[i].image_size > 0 ? list[i].image_size : space->image_size,
                                "predicted_ms", measured[i].latency_ms, "measured_ms",
                                list[i].measured_ms, "score", list[i].score, "meets_target",
                                list[i].measured_ms <= target_ms, "chosen", i == 0));
    }
    status = cli_outcome_record(session->store, session->attempt, "verified", space, list, count,
                                err);
    json_object_set_new(result, "measured_ms", json_real(list[0].measured_ms));
    json_object_set(result, "verified", verified);

done:
    json_decref(verified);
    free(list);
    return status;
}

nas_status cli_verified_fail(const nas_candidate *list, int count, double target_ms, nas_err *err)
{
    nas_fail(err, NAS_E_INFEASIBLE,
             "none of the %d networks measured takes at most %g ms: the fastest takes %.4g, by the "
             "table %.4g", count, target_ms, list[0].measured_ms, list[0].latency_ms);
    nas_hint(err, "raise --verify-top, or make the table again: nas latency verify tells how far "
             "it is off");
    return NAS_E_INFEASIBLE;
}

/* Private to this folder: asking someone who measures, here or elsewhere, until there is an answer.
 * A link that is lost is opened again, and what was in flight asked again. */
#ifndef NAS_LATENCY_PROFILE_SESSION_H
#define NAS_LATENCY_PROFILE_SESSION_H

#include "base/hash.h"
#include "latency/profile/source.h"

/** Zeroed; fill in the first part. */
typedef struct nas_session {
    const nas_space *space;
    const nas_via *via;           /* NULL or its kind NULL: this machine                    */
    const nas_observer *observer; /* may be NULL                                            */
    const char *engine;           /* what measures here, for the facts                      */
    const char *journal;          /* that knows the device; a message names it; NULL: none  */
    nas_job job;                  /* threads, cores, seed, warm_seconds; _init sets probe   */
    bool emulated;                /* the device is an emulator, whatever it says            */
    nas_facts facts;              /* of the device, once it is known                        */
    bool known;
    char probe[NAS_DIGEST_SIZE];  /* below: _init sets it; the network that is the probe    */
    nas_source *source;
} nas_session;

bool nas_session__remote(const nas_session *session);
/** NAS_E_NOMEM. */
nas_status nas_session__init(nas_session *session, nas_err *err);
/** Opens the way.  NAS_E_DATA if another device answers than the one that is known. */
nas_status nas_session__open(nas_session *session, nas_err *err);
/** As nas_latency_profile. */
nas_status nas_session__ask(nas_session *session, const nas_request *request, nas_answer *answer,
                            nas_err *err);
void nas_session__close(nas_session *session);

#endif

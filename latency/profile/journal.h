/* Private to this folder: what has been measured so far, in a file beside the table to be, so
 * that a profile that was ended continues (docs/reference/profile-protocol.md). */
#ifndef NAS_LATENCY_PROFILE_JOURNAL_H
#define NAS_LATENCY_PROFILE_JOURNAL_H

#include "latency/profile/lines.h"

typedef struct nas_journal nas_journal;

/** Called for each turn that the file has, in order. */
typedef nas_status nas_journal_turn(void *user, const nas_line *line, nas_err *err);

/** Opens `path` for the job named by `digest`.  What it has of that job is read: *known says
 * whether there is any, *facts of which device, `turn` gets its turns; what a kill left
 * unfinished is cut off.  A journal of another job begins anew.  NAS_E_DATA if the file is no
 * journal (it stays as it is), NAS_E_IO, NAS_E_NOMEM.  `*out` is yours. */
nas_status nas_journal__open(nas_journal **out, const char *path, const char *digest,
                             nas_facts *facts, bool *known, nas_journal_turn *turn, void *user,
                             nas_err *err);
/** Each writes a line through to the file.  NAS_E_IO. */
nas_status nas_journal__put_facts(nas_journal *journal, const nas_facts *facts, nas_err *err);
nas_status nas_journal__put_turn(nas_journal *journal, const nas_request *request, int slots,
                                 const nas_answer *answer, nas_err *err);
void nas_journal__close(nas_journal *journal);

#endif

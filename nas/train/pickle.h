/* Reads what a pickle describes, and runs nothing of it.
 *
 * Python's unpickler calls what a file names.  This one only notes it: the result is a tree
 * of numbers, texts and containers, in which a call is a node with the callee's name and its
 * arguments.  Names that are not expected are refused on sight, and so is every opcode that
 * tensors' files do not need. */
#ifndef NAS_NAS_TRAIN_PICKLE_H
#define NAS_NAS_TRAIN_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum nas_pickle_kind {
    NAS_PICKLE_NONE,
    NAS_PICKLE_BOOL,      /* integer: 0 or 1                                    */
    NAS_PICKLE_INT,
    NAS_PICKLE_TEXT,
    NAS_PICKLE_GLOBAL,    /* text: "module name"                                */
    NAS_PICKLE_TUPLE,     /* items without keys, as of a list                   */
    NAS_PICKLE_LIST,
    NAS_PICKLE_DICT,
    NAS_PICKLE_CALL,      /* items: callee, arguments; then pairs set into it   */
    NAS_PICKLE_PERSISTENT /* one item: what names it                            */
} nas_pickle_kind;

typedef struct nas_pickle_node {
    nas_pickle_kind kind;
    int64_t integer;
    const char *text; /* in the file: not terminated */
    size_t length;
    int first, last, count; /* items */
} nas_pickle_node;

/** One item of a container. */
typedef struct nas_pickle_item {
    int key, value; /* nodes; key -1: none        */
    int next;       /* next item, -1: the last one */
} nas_pickle_item;

typedef struct nas_pickle {
    int nodes, items, root;
    nas_pickle_node *node;
    nas_pickle_item *item;
} nas_pickle;

/** Reads the pickle at `data`; `*used` is its length.  `globals` (NULL-terminated) are the names
 * that may occur.  Texts point into `data`.  A container may hold itself.  NAS_E_DATA says at
 * which byte what is wrong, NAS_E_NOMEM; `out` needs nas_pickle_fini in every case. */
nas_status nas_pickle_read(nas_pickle *out, const unsigned char *data, size_t size,
                           const char *const *globals, size_t *used, nas_err *err);
void nas_pickle_fini(nas_pickle *pickle);

/** Item `index` of a container without keys (a tuple, list or call), as a node; NULL if there
 * are not that many or `node` is NULL. */
const nas_pickle_node *nas_pickle_at(const nas_pickle *p, const nas_pickle_node *node, int index);
/** Value of a key in a dict, the last one set; NULL if there is none. */
const nas_pickle_node *nas_pickle_get(const nas_pickle *p, const nas_pickle_node *node,
                                      const char *key);
/** True if `node` is a text (or, for GLOBAL, a name) that equals `text`. */
bool nas_pickle_is(const nas_pickle_node *node, nas_pickle_kind kind, const char *text);

#endif

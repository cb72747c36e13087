/* A stack machine that builds nodes.  The file is somebody else's: every length, index and
 * depth is checked, and the number of nodes is bounded. */
#include "nas/train/pickle.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 1 << 16, MAX_ITEMS = 1 << 17, MAX_STACK = 1 << 14, MAX_MEMO = 1 << 14,
       MARK = -1 };

typedef struct reader {
    nas_pickle *out;
    const unsigned char *data;
    size_t size, at;
    const char *const *globals;
    const char *wrong; /* what is wrong, NULL: nothing */
    int depth;
    int stack[MAX_STACK]; /* nodes, or MARK */
    int memo[MAX_MEMO];   /* nodes, -1: empty */
    bool done;
} reader;

static void fail(reader *r, const char *wrong)
{
    if (r->wrong == NULL)
        r->wrong = wrong;
}

/* The next `count` bytes, NULL if there are not that many. */
static const unsigned char *take(reader *r, size_t count)
{
    if (count > r->size - r->at) {
        fail(r, "ends in the middle");
        return NULL;
    }
    r->at += count;
    return r->data + r->at - count;
}

/* An unsigned number of `bytes` bytes, little endian. */
static uint32_t number(reader *r, int bytes)
{
    const unsigned char *p = take(r, (size_t)bytes);
    uint32_t value = 0;

    for (int i = 0; p != NULL && i < bytes; i++)
        value |= (uint32_t)p[i] << (8 * i);
    return value;
}

static void push(reader *r, int node)
{
    if (r->depth == MAX_STACK)
        fail(r, "is nested too deeply");
    else
        r->stack[r->depth++] = node;
}

/* The node on top, taken off; -1 if there is none. */
static int pop(reader *r)
{
    if (r->depth == 0 || r->stack[r->depth - 1] == MARK) {
        fail(r, "takes from an empty stack");
        return -1;
    }
    return r->stack[--r->depth];
}

/* A new node, not on the stack yet; NULL after an error. */
static nas_pickle_node *create(reader *r, nas_pickle_kind kind)
{
    nas_pickle *out = r->out;

    if (r->wrong == NULL && out->nodes == MAX_NODES)
        fail(r, "holds too many values");
    if (r->wrong != NULL)
        return NULL;
    out->node[out->nodes] = (nas_pickle_node){.kind = kind, .first = -1, .last = -1};
    return &out->node[out->nodes++];
}

/* A new node on the stack; NULL after an error. */
static nas_pickle_node *make(reader *r, nas_pickle_kind kind)
{
    nas_pickle_node *node = create(r, kind);

    if (node != NULL)
        push(r, r->out->nodes - 1);
    return node;
}

static void add_item(reader *r, nas_pickle_node *node, int key, int value)
{
    nas_pickle *out = r->out;

    if (node == NULL || value < 0 || r->wrong != NULL)
        return;
    if (out->items == MAX_ITEMS) {
        fail(r, "holds too many values");
        return;
    }
    out->item[out->items] = (nas_pickle_item){.key = key, .value = value, .next = -1};
    if (node->last >= 0)
        out->item[node->last].next = out->items;
    else
        node->first = out->items;
    node->last = out->items++;
    node->count++;
}

/* Place of the topmost mark, -1 if there is none. */
static int mark_of(reader *r)
{
    int at = r->depth - 1;

    while (at >= 0 && r->stack[at] != MARK)
        at--;
    if (at < 0)
        fail(r, "closes what was never opened");
    return at;
}

/* ---- opcodes; `arg` comes from the table ------------------------------------------ */

static void op_proto(reader *r, int arg)
{
    if (number(r, 1) != 2)
        fail(r, "is of another pickle protocol than 2");
}

static void op_stop(reader *r, int arg)
{
    r->out->root = pop(r);
    r->done = true;
}

static void op_mark(reader *r, int arg) { push(r, MARK); }

static void op_make(reader *r, int arg) { make(r, (nas_pickle_kind)arg); }

static void op_bool(reader *r, int arg)
{
    nas_pickle_node *node = make(r, NAS_PICKLE_BOOL);

    if (node != NULL)
        node->integer = arg;
}

static void op_int(reader *r, int arg)
{
    const uint32_t value = number(r, arg);
    nas_pickle_node *node = make(r, NAS_PICKLE_INT);

    if (node != NULL) /* only the widest has a sign */
        node->integer = arg == 4 ? (int64_t)(int32_t)value : (int64_t)value;
}

static void op_text(reader *r, int arg)
{
    const uint32_t length = number(r, 4);
    const unsigned char *text = take(r, length);
    nas_pickle_node *node = make(r, NAS_PICKLE_TEXT);

    if (node != NULL) {
        node->text = (const char *)text;
        node->length = length;
    }
}

/* "module\nname\n": as written in `globals`, with a blank for the newline. */
static void op_global(reader *r, int arg)
{
    const unsigned char *start = r->data + r->at;
    const size_t left = r->size - r->at;

    for (int i = 0; r->globals[i] != NULL; i++) {
        const char *name = r->globals[i], *blank = strchr(name, ' ');
        const size_t length = strlen(name), module = (size_t)(blank - name);

        if (left < length + 1 || memcmp(start, name, module) != 0 || start[module] != '\n' ||
            memcmp(start + module + 1, blank + 1, length - module - 1) != 0 ||
            start[length] != '\n')
            continue;
        nas_pickle_node *node = make(r, NAS_PICKLE_GLOBAL);
        if (node != NULL) {
            node->text = name;
            node->length = length;
        }
        r->at += length + 1;
        return;
    }
    fail(r, "names something that tensors do not need");
}

/* arg: elements, -1: all above the mark. */
static void op_tuple(reader *r, int arg)
{
    const int from = arg >= 0 ? r->depth - arg : mark_of(r) + 1;
    nas_pickle_node *node = create(r, NAS_PICKLE_TUPLE);
    const int self = r->out->nodes - 1;

    for (int i = from; i < r->depth && r->wrong == NULL; i++)
        if (i < 0 || r->stack[i] == MARK)
            fail(r, "takes from an empty stack");
        else
            add_item(r, node, -1, r->stack[i]);
    if (r->wrong != NULL)
        return;
    r->depth = from - (arg < 0);
    push(r, self);
}

static void op_put(reader *r, int arg)
{
    const uint32_t index = number(r, arg);

    if (index >= MAX_MEMO || r->depth == 0 || r->stack[r->depth - 1] == MARK)
        fail(r, "remembers what it cannot");
    else
        r->memo[index] = r->stack[r->depth - 1];
}

static void op_get(reader *r, int arg)
{
    const uint32_t index = number(r, arg);

    if (index >= MAX_MEMO || r->memo[index] < 0)
        fail(r, "recalls what it never remembered");
    else
        push(r, r->memo[index]);
}

/* The container at a place of the stack, NULL if it is none of these. */
static nas_pickle_node *container(reader *r, int at, bool pairs)
{
    nas_pickle_node *node = at >= 0 && r->stack[at] != MARK ? &r->out->node[r->stack[at]] : NULL;

    if (node != NULL && (pairs ? node->kind == NAS_PICKLE_DICT || node->kind == NAS_PICKLE_CALL
                               : node->kind == NAS_PICKLE_LIST))
        return node;
    fail(r, "adds to what is no container");
    return NULL;
}

/* arg: values for each item (1: list, 2: pairs), negative: all above the mark. */
static void op_add(reader *r, int arg)
{
    const int each = arg < 0 ? -arg : arg;
    const int from = arg < 0 ? mark_of(r) + 1 : r->depth - each;
    nas_pickle_node *node = r->wrong == NULL ? container(r, from - 1 - (arg < 0), each == 2) : NULL;

    if (node != NULL && (r->depth - from) % each != 0)
        fail(r, "has a key without a value");
    for (int i = from; node != NULL && i < r->depth && r->wrong == NULL; i += each) {
        if (r->stack[i] == MARK || r->stack[i + each - 1] == MARK)
            fail(r, "takes from an empty stack");
        else
            add_item(r, node, each == 2 ? r->stack[i] : -1, r->stack[i + each - 1]);
    }
    if (r->wrong == NULL)
        r->depth = from - (arg < 0);
}

static void op_call(reader *r, int arg)
{
    const int arguments = pop(r), callee = pop(r);

    if (r->wrong != NULL)
        return;
    if (r->out->node[callee].kind != NAS_PICKLE_GLOBAL ||
        r->out->node[arguments].kind != NAS_PICKLE_TUPLE) {
        fail(r, "calls what cannot be called");
        return;
    }
    nas_pickle_node *node = make(r, NAS_PICKLE_CALL);
    add_item(r, node, -1, callee);
    add_item(r, node, -1, arguments);
}

static void op_persistent(reader *r, int arg)
{
    const int name = pop(r);

    add_item(r, make(r, NAS_PICKLE_PERSISTENT), -1, name);
}

/* Attributes (a state dict's _metadata): nobody reads them. */
static void op_build(reader *r, int arg) { pop(r); }

static const struct {
    void (*run)(reader *r, int arg);
    int arg;
} opcodes[256] = {
    [0x80] = {op_proto, 0}, ['.'] = {op_stop, 0}, ['('] = {op_mark, 0},
    ['N'] = {op_make, NAS_PICKLE_NONE}, [')'] = {op_make, NAS_PICKLE_TUPLE},
    [']'] = {op_make, NAS_PICKLE_LIST}, ['}'] = {op_make, NAS_PICKLE_DICT},
    [0x88] = {op_bool, 1}, [0x89] = {op_bool, 0},
    ['K'] = {op_int, 1}, ['M'] = {op_int, 2}, ['J'] = {op_int, 4},
    ['X'] = {op_text, 0}, ['c'] = {op_global, 0},
    [0x85] = {op_tuple, 1}, [0x86] = {op_tuple, 2}, [0x87] = {op_tuple, 3}, ['t'] = {op_tuple, -1},
    ['q'] = {op_put, 1}, ['r'] = {op_put, 4}, ['h'] = {op_get, 1}, ['j'] = {op_get, 4},
    ['a'] = {op_add, 1}, ['e'] = {op_add, -1}, ['s'] = {op_add, 2}, ['u'] = {op_add, -2},
    ['R'] = {op_call, 0}, ['Q'] = {op_persistent, 0}, ['b'] = {op_build, 0},
};

static void run(reader *r)
{
    while (!r->done && r->wrong == NULL) {
        const uint32_t opcode = number(r, 1);

        if (r->wrong != NULL)
            return;
        if (opcodes[opcode].run == NULL)
            fail(r, "does more than tensors need");
        else
            opcodes[opcode].run(r, opcodes[opcode].arg);
    }
}

nas_status nas_pickle_read(nas_pickle *out, const unsigned char *data, size_t size,
                           const char *const *globals, size_t *used, nas_err *err)
{
    reader *r = malloc(sizeof *r);
    nas_status status = NAS_OK;

    *out = (nas_pickle){.node = malloc(MAX_NODES * sizeof *out->node),
                        .item = malloc(MAX_ITEMS * sizeof *out->item)};
    if (r == NULL || out->node == NULL || out->item == NULL) {
        free(r);
        return nas_fail(err, NAS_E_NOMEM, "no memory for a pickle");
    }
    *r = (reader){.out = out, .data = data, .size = size, .globals = globals};
    memset(r->memo, -1, sizeof r->memo);
    run(r);
    *used = r->at;
    if (r->wrong != NULL)
        status = nas_fail(err, NAS_E_DATA, "its pickle, byte %zu: %s", r->at, r->wrong);
    free(r);
    return status;
}

void nas_pickle_fini(nas_pickle *pickle)
{
    free(pickle->node);
    free(pickle->item);
    *pickle = (nas_pickle){0};
}

const nas_pickle_node *nas_pickle_at(const nas_pickle *p, const nas_pickle_node *node, int index)
{
    if (node == NULL || index < 0 || index >= node->count)
        return NULL;
    int item = node->first;

    while (index-- > 0)
        item = p->item[item].next;
    return &p->node[p->item[item].value];
}

bool nas_pickle_is(const nas_pickle_node *node, nas_pickle_kind kind, const char *text)
{
    return node != NULL && node->kind == kind && node->length == strlen(text) &&
           memcmp(node->text, text, node->length) == 0;
}

const nas_pickle_node *nas_pickle_get(const nas_pickle *p, const nas_pickle_node *node,
                                      const char *key)
{
    const nas_pickle_node *found = NULL;

    for (int i = node != NULL ? node->first : -1; i >= 0; i = p->item[i].next)
        if (p->item[i].key >= 0 && nas_pickle_is(&p->node[p->item[i].key], NAS_PICKLE_TEXT, key))
            found = &p->node[p->item[i].value];
    return found;
}

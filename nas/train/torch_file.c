/* What the pickles of a torch file say, as tensors.  Somebody else's file: nothing in it is
 * used unchecked. */
#include "nas/train/torch_file.h"

#include <stdlib.h>
#include <string.h>

#include "nas/train/pickle.h"

/* The file: four pickles (a magic number, a version, sizes of C types, the dictionary), one
 * more with the storages' names in order, then of each its element count and its bytes. */
static const unsigned char magic[] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46,
                                      0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};
enum { VERSION = 1001, MAX_STORAGES = 4096, NAME_MAX_LENGTH = 255 };

#define CALLEE_DICT "collections OrderedDict"
#define CALLEE_TENSOR "torch._utils _rebuild_tensor_v2"
#define STORAGE_TYPE "torch FloatStorage"
static const char *const globals[] = {CALLEE_DICT, CALLEE_TENSOR, STORAGE_TYPE, NULL};

typedef struct storage {
    const char *key; /* in the pickle */
    size_t length;
    int64_t elements;
    float *data;     /* NULL until it was read */
} storage;

struct nas_torch_file {
    int count, storages;
    nas_safetensors_tensor *tensors;
    char **names;
    storage *storage;
};

/* What is read from, and where it stands. */
typedef struct source {
    const unsigned char *data;
    size_t size, at;
    const char *name;
} source;

static nas_status bad(const source *s, const char *why, nas_err *err)
{
    nas_fail(err, NAS_E_DATA, "%s: %s", s->name, why);
    nas_hint(err, "the file is damaged or holds more than a state dict of float tensors");
    return NAS_E_DATA;
}

bool nas_torch_file_is(const void *data, size_t size)
{
    return size >= 4 && (memcmp(data, magic, 4) == 0 || memcmp(data, "PK\3\4", 4) == 0);
}

static nas_status next_pickle(source *s, nas_pickle *out, nas_err *err)
{
    size_t used;
    const nas_status status =
        nas_pickle_read(out, s->data + s->at, s->size - s->at, globals, &used, err);

    if (status == NAS_OK) {
        s->at += used;
        return NAS_OK;
    }
    nas_err_prefix(err, "%s", s->name);
    if (status == NAS_E_DATA)
        nas_hint(err, "the file is damaged or holds more than a state dict of float tensors");
    return status;
}

static nas_status read_head(source *s, nas_err *err)
{
    nas_pickle version = {0}, system = {0};
    nas_status status;

    if (s->size < sizeof magic || memcmp(s->data, magic, sizeof magic) != 0)
        return bad(s, "not a file of torch.save", err);
    s->at = sizeof magic;
    if ((status = next_pickle(s, &version, err)) || (status = next_pickle(s, &system, err)))
        goto done;
    const nas_pickle_node *number = &version.node[version.root];
    const nas_pickle_node *little =
        nas_pickle_get(&system, &system.node[system.root], "little_endian");

    if (number->kind != NAS_PICKLE_INT || number->integer != VERSION)
        status = bad(s, "of another version of torch.save's format than 1001", err);
    else if (little == NULL || little->kind != NAS_PICKLE_BOOL || !little->integer)
        status = bad(s, "written by a big-endian machine", err);

done:
    nas_pickle_fini(&version);
    nas_pickle_fini(&system);
    return status;
}

/* A node that must be an integer of at least 0; -1 if it is not. */
static int64_t natural(const nas_pickle_node *node)
{
    return node != NULL && node->kind == NAS_PICKLE_INT && node->integer >= 0 ? node->integer : -1;
}

/* The storage that ("storage", type, key, location, elements, view) names; NULL if it is none,
 * or one that was there before with another size. */
static storage *storage_of(nas_torch_file *file, const nas_pickle *p, const nas_pickle_node *node)
{
    const nas_pickle_node *id =
        node != NULL && node->kind == NAS_PICKLE_PERSISTENT ? nas_pickle_at(p, node, 0) : NULL;
    const nas_pickle_node *key = nas_pickle_at(p, id, 2);
    const int64_t elements = natural(nas_pickle_at(p, id, 4));

    if (id == NULL || id->kind != NAS_PICKLE_TUPLE || key == NULL || elements < 0 ||
        key->kind != NAS_PICKLE_TEXT ||
        !nas_pickle_is(nas_pickle_at(p, id, 0), NAS_PICKLE_TEXT, "storage") ||
        !nas_pickle_is(nas_pickle_at(p, id, 1), NAS_PICKLE_GLOBAL, STORAGE_TYPE))
        return NULL;
    for (int i = 0; i < file->storages; i++) {
        storage *s = &file->storage[i];

        if (s->length == key->length && memcmp(s->key, key->text, s->length) == 0)
            return s->elements == elements ? s : NULL;
    }
    if (file->storages == MAX_STORAGES)
        return NULL;
    file->storage[file->storages] =
        (storage){.key = key->text, .length = key->length, .elements = elements};
    return &file->storage[file->storages++];
}

/* Dimensions, which must be those of a row-major tensor inside its storage. */
static bool read_shape(const nas_pickle *p, const nas_pickle_node *sizes,
                       const nas_pickle_node *strides, int64_t room, nas_safetensors_tensor *t)
{
    int64_t step = 1;

    if (sizes == NULL || strides == NULL || sizes->kind != NAS_PICKLE_TUPLE ||
        strides->kind != NAS_PICKLE_TUPLE || sizes->count > NAS_SAFETENSORS_RANK ||
        sizes->count != strides->count)
        return false;
    t->rank = sizes->count;
    t->count = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        t->shape[i] = natural(nas_pickle_at(p, sizes, i));
        if (t->shape[i] < 0 || (t->shape[i] > 1 && natural(nas_pickle_at(p, strides, i)) != step) ||
            __builtin_mul_overflow(step, t->shape[i] > 1 ? t->shape[i] : 1, &step) ||
            __builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return false;
    }
    return t->count <= room;
}

/* A call (storage, offset, sizes, strides, needs gradient, hooks).  `data` is an offset in the
 * storage until that is read; `place` says in which. */
static bool read_tensor(nas_torch_file *file, const nas_pickle *p, const nas_pickle_node *call,
                        nas_safetensors_tensor *t, int *place, int64_t *offset)
{
    if (call->kind != NAS_PICKLE_CALL ||
        !nas_pickle_is(nas_pickle_at(p, call, 0), NAS_PICKLE_GLOBAL, CALLEE_TENSOR))
        return false;
    const nas_pickle_node *arguments = nas_pickle_at(p, call, 1);
    const storage *s = storage_of(file, p, nas_pickle_at(p, arguments, 0));

    *offset = natural(nas_pickle_at(p, arguments, 1));
    if (s == NULL || *offset < 0 || *offset > s->elements)
        return false;
    t->dtype = NAS_DTYPE_F32;
    *place = (int)(s - file->storage);
    return read_shape(p, nas_pickle_at(p, arguments, 2), nas_pickle_at(p, arguments, 3),
                      s->elements - *offset, t);
}

/* The bytes of each storage, in the order of their keys. */
static nas_status read_storages(nas_torch_file *file, source *s, const nas_pickle *keys,
                                nas_err *err)
{
    const nas_pickle_node *list = &keys->node[keys->root];
    int read = 0;

    if (list->kind != NAS_PICKLE_LIST)
        return bad(s, "its list of storages is none", err);
    for (int i = list->first; i >= 0; i = keys->item[i].next) {
        const nas_pickle_node *key = &keys->node[keys->item[i].value];
        storage *found = NULL;
        uint64_t elements = 0;

        for (int k = 0; k < file->storages && key->kind == NAS_PICKLE_TEXT; k++)
            if (file->storage[k].length == key->length &&
                memcmp(file->storage[k].key, key->text, key->length) == 0)
                found = &file->storage[k];
        if (found == NULL || found->data != NULL)
            return bad(s, "lists a storage that no tensor has, or one twice", err);
        for (int b = 0; b < 8 && s->size - s->at >= 8; b++)
            elements |= (uint64_t)s->data[s->at + (size_t)b] << (8 * b);
        if (s->size - s->at < 8 || elements != (uint64_t)found->elements ||
            elements > (s->size - s->at - 8) / sizeof(float))
            return bad(s, "a storage is not as long as its tensors say", err);
        found->data = malloc((size_t)elements * sizeof(float) + 1);
        if (found->data == NULL)
            return nas_fail(err, NAS_E_NOMEM, "%s: no memory for its tensors", s->name);
        memcpy(found->data, s->data + s->at + 8, (size_t)elements * sizeof(float));
        s->at += 8 + (size_t)elements * sizeof(float);
        read++;
    }
    if (read != file->storages || s->at != s->size)
        return bad(s, read != file->storages ? "a storage is missing" : "more data than storages",
                   err);
    return NAS_OK;
}

/* The dictionary's tensors; place[i] and offset[i] say where the data of each are. */
static nas_status list_tensors(nas_torch_file *file, const source *s, const nas_pickle *p,
                               int *place, int64_t *offset, nas_err *err)
{
    const nas_pickle_node *dict = &p->node[p->root];
    const bool ordered = dict->kind == NAS_PICKLE_CALL &&
                         nas_pickle_is(nas_pickle_at(p, dict, 0), NAS_PICKLE_GLOBAL, CALLEE_DICT);

    if (dict->kind != NAS_PICKLE_DICT && !ordered)
        return bad(s, "holds something other than a dictionary", err);
    for (int i = dict->first; i >= 0; i = p->item[i].next) {
        const int key = p->item[i].key;
        nas_safetensors_tensor *t = &file->tensors[file->count];

        if (key < 0) /* callee and arguments of the dictionary itself */
            continue;
        if (p->node[key].kind != NAS_PICKLE_TEXT || p->node[key].length > NAME_MAX_LENGTH ||
            !read_tensor(file, p, &p->node[p->item[i].value], t, &place[file->count],
                         &offset[file->count]))
            return bad(s, "an entry of its dictionary is no row-major float tensor", err);
        file->names[file->count] = strndup(p->node[key].text, p->node[key].length);
        if (file->names[file->count] == NULL)
            return nas_fail(err, NAS_E_NOMEM, "%s: no memory for its tensors", s->name);
        t->name = file->names[file->count++];
    }
    return NAS_OK;
}

static nas_status read_tensors(nas_torch_file *file, source *s, nas_err *err)
{
    nas_pickle dict = {0}, keys = {0};
    int *place = NULL;
    int64_t *offset = NULL;
    nas_status status = next_pickle(s, &dict, err);

    if (status != NAS_OK)
        goto done;
    const size_t most = (size_t)dict.node[dict.root].count + 1;
    place = calloc(most, sizeof *place);
    offset = calloc(most, sizeof *offset);
    file->tensors = calloc(most, sizeof *file->tensors);
    file->names = calloc(most, sizeof *file->names);
    file->storage = calloc(MAX_STORAGES, sizeof *file->storage);
    if (!place || !offset || !file->tensors || !file->names || !file->storage) {
        status = nas_fail(err, NAS_E_NOMEM, "%s: no memory for its tensors", s->name);
        goto done;
    }
    if ((status = list_tensors(file, s, &dict, place, offset, err)) ||
        (status = next_pickle(s, &keys, err)) || (status = read_storages(file, s, &keys, err)))
        goto done;
    for (int i = 0; i < file->count; i++)
        file->tensors[i].data = file->storage[place[i]].data + offset[i];

done:
    nas_pickle_fini(&dict);
    nas_pickle_fini(&keys);
    free(place);
    free(offset);
    return status;
}

nas_status nas_torch_file_parse(nas_torch_file **out, const void *data, size_t size,
                                const char *name, nas_err *err)
{
    source s = {.data = data, .size = size, .name = name};
    nas_torch_file *file = calloc(1, sizeof *file);
    nas_status status;

    *out = NULL;
    if (file == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory", name);
    if (size >= 4 && memcmp(data, "PK\3\4", 4) == 0) {
        status = nas_fail(err, NAS_E_DATA, "%s: a zip archive of torch.save, which is not read",
                          name);
        nas_hint(err, "save it as safetensors, or with _use_new_zipfile_serialization=False");
    } else if ((status = read_head(&s, err)) == NAS_OK) {
        status = read_tensors(file, &s, err);
    }
    if (status != NAS_OK) {
        nas_torch_file_free(file);
        return status;
    }
    *out = file;
    return NAS_OK;
}

void nas_torch_file_free(nas_torch_file *file)
{
    if (file == NULL)
        return;
    for (int i = 0; i < file->count; i++)
        free(file->names[i]);
    for (int i = 0; i < file->storages; i++)
        free(file->storage[i].data);
    free(file->tensors);
    free(file->names);
    free(file->storage);
    free(file);
}

int nas_torch_file_count(const nas_torch_file *file)
{
    return file->count;
}

const nas_safetensors_tensor *nas_torch_file_at(const nas_torch_file *file, int index)
{
    return &file->tensors[index];
}

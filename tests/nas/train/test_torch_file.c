/* Files of torch.save: one that PyTorch wrote, and many that mean harm. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nas/train/torch_file.h"

static nas_err err;

static const char golden_path[] = NAS_SOURCE_DIR "/tests/golden/predictor.pth";

static nas_status parse(const void *data, size_t size)
{
    nas_torch_file *file;
    const nas_status status = nas_torch_file_parse(&file, data, size, "file", &err);

    nas_torch_file_free(file);
    return status;
}

Test(nas_torch_file, holds_the_tensors_that_pytorch_saved)
{
    static const struct {
        const char *name;
        int rank;
        int64_t shape[2];
    } expected[] = {{"0.weight", 2, {16, 24}}, {"0.bias", 1, {16}}, {"2.weight", 2, {12, 16}},
                    {"2.bias", 1, {12}},       {"4.weight", 2, {1, 12}}, {"4.bias", 1, {1}}};
    nas_torch_file *file;
    nas_safetensors *same;
    nas_map map;

    cr_assert_eq(nas_map_open(&map, golden_path, &err), NAS_OK);
    cr_assert_eq(nas_torch_file_parse(&file, map.data, map.size, "golden", &err), NAS_OK, "%s",
                 err.message);
    nas_map_close(&map);
    cr_assert_eq(nas_safetensors_open(&same, NAS_SOURCE_DIR "/tests/golden/predictor.safetensors",
                                      false, &err), NAS_OK);
    cr_assert_eq(nas_torch_file_count(file), 6);
    for (int i = 0; i < 6; i++) {
        const nas_safetensors_tensor *t = nas_torch_file_at(file, i), *other;
        cr_expect_str_eq(t->name, expected[i].name);
        cr_assert_eq(t->rank, expected[i].rank);
        cr_assert_eq(nas_safetensors_expect(same, t->name, t->dtype, t->rank, expected[i].shape,
                                            &other, &err), NAS_OK, "%s", err.message);
        cr_assert_eq(t->count, other->count);
        cr_expect(memcmp(t->data, other->data, (size_t)t->count * sizeof(float)) == 0);
    }
    nas_safetensors_close(same);
    nas_torch_file_free(file);
}

Test(nas_torch_file, every_cut_is_refused)
{
    char *data;
    size_t size;

    cr_assert_eq(nas_file_read(golden_path, 1 << 20, &data, &size, &err), NAS_OK);
    cr_assert_eq(parse(data, size), NAS_OK);
    for (size_t cut = 0; cut < size; cut++)
        cr_assert_eq(parse(data, cut), NAS_E_DATA, "cut at %zu", cut);
    cr_expect_eq(parse(data, size + 1), NAS_E_DATA); /* the NUL behind it */
    free(data);
}

/* The head of a file, then `pickle` (without its protocol) as the dictionary. */
static nas_status try_pickle(const char *pickle, size_t length)
{
    static const char head[] = "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
                               "\x80\x02}(X\r\0\0\0little_endian\x88u.\x80\x02";
    char data[1024];

    memcpy(data, head, sizeof head - 1);
    memcpy(data + sizeof head - 1, pickle, length);
    return parse(data, sizeof head - 1 + length);
}
#define TRY(pickle) try_pickle(pickle, sizeof(pickle) - 1)

#define STORAGE(elements)                                                                          \
    "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0aX\3\0\0\0cpu" elements "NtQ"
#define TENSOR(elements, offset, sizes, strides)                                                   \
    "ctorch._utils\n_rebuild_tensor_v2\n" STORAGE(elements) offset sizes strides                   \
    "\x89" "ccollections\nOrderedDict\n)RtR"
#define DICT(tensor) "}X\1\0\0\0w" tensor "s."
/* one storage "a" of two floats */
#define DATA "\x80\2](X\1\0\0\0ae.\2\0\0\0\0\0\0\0\0\0\x80?\0\0\0@"

Test(nas_torch_file, a_file_made_by_hand_is_read)
{
    cr_expect_eq(TRY(DICT(TENSOR("K\2", "K\0", "K\2\x85", "K\1\x85")) DATA), NAS_OK, "%s",
                 err.message);
    cr_expect_eq(TRY(DICT(TENSOR("K\2", "K\1", "K\1\x85", "K\1\x85")) DATA), NAS_OK, "%s",
                 err.message);
}

Test(nas_torch_file, a_tensor_must_lie_in_its_storage_row_by_row)
{
    cr_expect_eq(TRY(DICT(TENSOR("K\2", "K\1", "K\2\x85", "K\1\x85")) DATA), NAS_E_DATA);
    cr_expect_eq(TRY(DICT(TENSOR("K\2", "K\3", "K\0\x85", "K\1\x85")) DATA), NAS_E_DATA);
    cr_expect_eq(TRY(DICT(TENSOR("K\2", "K\0", "K\2\x85", "K\0\x85")) DATA), NAS_E_DATA);
    cr_expect_eq(TRY(DICT(TENSOR("K\2", "K\0", "J\xff\xff\xff\xff\x85", "K\1\x85")) DATA),
                 NAS_E_DATA);
    cr_expect_eq(TRY(DICT(TENSOR("J\xff\xff\xff\x7f", "K\0", "K\2\x85", "K\1\x85")) DATA),
                 NAS_E_DATA);
    cr_expect_eq(TRY(DICT(TENSOR("K\3", "K\0", "K\2\x85", "K\1\x85")) DATA), NAS_E_DATA);
}

Test(nas_torch_file, nothing_but_tensors_is_named_or_called)
{
    cr_expect_eq(TRY("cos\nsystem\nX\4\0\0\0true\x85R."), NAS_E_DATA);
    cr_expect(strstr(err.message, "names something") != NULL, "%s", err.message);
    cr_expect(strstr(err.hint, "state dict") != NULL);
    cr_expect_eq(TRY("ctorch\nFloatStorag\n."), NAS_E_DATA);
    cr_expect_eq(TRY("ios\nsystem\n."), NAS_E_DATA); /* INST, an opcode that is not known */
    cr_expect(strstr(err.message, "does more") != NULL, "%s", err.message);
    cr_expect_eq(TRY("X\4\0\0\0true)R."), NAS_E_DATA);
    cr_expect_eq(TRY("K\1."), NAS_E_DATA);
    cr_expect_eq(TRY("}X\1\0\0\0wK\1s."), NAS_E_DATA);
}

Test(nas_torch_file, a_broken_stack_is_refused)
{
    static const struct {
        const char *pickle;
        size_t length;
    } broken[] = {
#define CASE(text) {text, sizeof(text) - 1}
        CASE("."), CASE("("), CASE("(."), CASE("\x85."), CASE("(\x85."), CASE("K\1(\x86."),
        CASE("t."), CASE("u."), CASE("s."), CASE("R."), CASE("Q."), CASE("b."), CASE("q\0."),
        CASE("h\0."), CASE("j\xff\xff\xff\xff."), CASE("}K\1u."), CASE("}(K\1u."),
        CASE("}(K\1(K\2u."), CASE("K\1K\2K\3s."), CASE("](K\1u."), CASE("}K\1a."),
        CASE("}X\xff\xff\xff\xffw."), CASE("K"), CASE("\x80\3."), CASE("}r\0\0\1\0."),
    };

    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        cr_expect_eq(try_pickle(broken[i].pickle, broken[i].length), NAS_E_DATA, "case %zu", i);
}

Test(nas_torch_file, a_container_in_itself_ends)
{
    cr_expect_eq(TRY("}q\0X\1\0\0\0wh\0s."), NAS_E_DATA);
    cr_expect_eq(TRY("]q\0h\0a."), NAS_E_DATA);
}

Test(nas_torch_file, endless_values_and_depth_are_bounded)
{
    const size_t size = 1 << 20;
    char *data = malloc(size);

    memcpy(data, "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02", 17);
    memset(data + 17, '(', size - 17);
    cr_expect_eq(parse(data, size), NAS_E_DATA);
    data[17] = ')'; /* then one tuple in another */
    memset(data + 18, 0x85, size - 18);
    cr_expect_eq(parse(data, size), NAS_E_DATA);
    memset(data + 17, ']', size - 17);
    cr_expect_eq(parse(data, size), NAS_E_DATA);
    free(data);
}

Test(nas_torch_file, a_zip_archive_gets_advice)
{
    cr_expect(nas_torch_file_is("PK\3\4....", 8));
    cr_expect_eq(parse("PK\3\4....", 8), NAS_E_DATA);
    cr_expect(strstr(err.hint, "safetensors") != NULL);
    cr_expect_not(nas_torch_file_is("{}", 2));
}

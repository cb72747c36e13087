/* The checkpoint container: round trips, the format's own rules, and hostile files. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nas/train/safetensors.h"
#include "tests/support/scratch.h"

static nas_err err;
static const char *path;

#define says(text) cr_assert_not_null(strstr(err.message, text), "message: %s", err.message)

static void setup(void)
{
    static char text[256];

    scratch_init();
    path = strcpy(text, scratch("a.safetensors"));
}

TestSuite(nas_safetensors, .init = setup, .fini = scratch_fini);

static const float weights[6] = {1.5f, -2, 0, 3e-40f, 4, 5};
static const int64_t counters[2] = {-1, INT64_MAX};
static const uint8_t flags[3] = {0, 1, 255};

/* flags first: the writer has to put it last to keep the others aligned */
static void write_example(void)
{
    nas_safetensors_builder *b = nas_safetensors_builder_new();

    nas_safetensors_builder_add(b, "flags", NAS_DTYPE_U8, 1, (int64_t[]){3}, flags);
    nas_safetensors_builder_add(b, "conv.weight", NAS_DTYPE_F32, 2, (int64_t[]){2, 3}, weights);
    nas_safetensors_builder_add(b, "counters", NAS_DTYPE_I64, 1, (int64_t[]){2}, counters);
    nas_safetensors_builder_add(b, "empty", NAS_DTYPE_F32, 2, (int64_t[]){0, 4}, NULL);
    nas_safetensors_builder_meta(b, "epoch", "7");
    nas_safetensors_builder_meta(b, "arch", "{\"name\": \"\xc3\xa4\"}");
    cr_assert_eq(nas_safetensors_builder_write(b, path, NULL, &err), NAS_OK, "%s", err.message);
    nas_safetensors_builder_free(b);
}

Test(nas_safetensors, what_is_written_is_read)
{
    nas_safetensors *file;
    const nas_safetensors_tensor *t;

    write_example();
    cr_assert_eq(nas_safetensors_open(&file, path, true, &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_safetensors_count(file), 4);
    cr_assert_str_eq(nas_safetensors_at(file, 0)->name, "conv.weight");
    cr_assert_str_eq(nas_safetensors_at(file, 3)->name, "flags");

    cr_assert_eq(nas_safetensors_expect(file, "conv.weight", NAS_DTYPE_F32, 2, (int64_t[]){2, 3},
                                        &t, &err), NAS_OK);
    cr_assert_arr_eq(t->data, weights, sizeof weights);
    t = nas_safetensors_find(file, "counters");
    cr_assert_eq(t->dtype, NAS_DTYPE_I64);
    cr_assert_arr_eq(t->data, counters, sizeof counters);
    cr_assert_arr_eq(nas_safetensors_find(file, "flags")->data, flags, sizeof flags);
    cr_assert_eq(nas_safetensors_find(file, "empty")->count, 0);
    cr_assert_null(nas_safetensors_find(file, "nothing"));

    cr_assert_str_eq(nas_safetensors_meta(file, "epoch"), "7");
    cr_assert_str_eq(nas_safetensors_meta(file, "arch"), "{\"name\": \"\xc3\xa4\"}");
    cr_assert_null(nas_safetensors_meta(file, "nothing"));
    nas_safetensors_close(file);
}

Test(nas_safetensors, an_unexpected_tensor_is_described)
{
    nas_safetensors *file;
    const nas_safetensors_tensor *t;

    write_example();
    cr_assert_eq(nas_safetensors_open(&file, path, true, &err), NAS_OK);
    cr_assert_eq(nas_safetensors_expect(file, "conv.weight", NAS_DTYPE_F32, 2, (int64_t[]){2, 4},
                                        &t, &err), NAS_E_DATA);
    says("3 in dimension 1, not 4");
    cr_assert_eq(nas_safetensors_expect(file, "flags", NAS_DTYPE_I8, 1, (int64_t[]){3}, &t, &err),
                 NAS_E_DATA);
    says("is U8, not I8");
    cr_assert_eq(nas_safetensors_expect(file, "gone", NAS_DTYPE_I8, 0, NULL, &t, &err), NAS_E_DATA);
    nas_safetensors_close(file);
}

Test(nas_safetensors, the_same_content_gives_the_same_bytes)
{
    char *first, *second;
    size_t n_first, n_second;

    write_example();
    cr_assert_eq(nas_file_read(path, 1 << 20, &first, &n_first, &err), NAS_OK);
    write_example();
    cr_assert_eq(nas_file_read(path, 1 << 20, &second, &n_second, &err), NAS_OK);
    cr_assert_eq(n_first, n_second);
    cr_assert_arr_eq(first, second, n_first);
    /* what every safetensors reader expects: the length, then '{', then at its end the data */
    cr_assert_eq((unsigned char)first[8], '{');
    const size_t header = (unsigned char)first[0] | (size_t)(unsigned char)first[1] << 8;
    cr_assert_eq((8 + header) % 64, 0);
    cr_assert_eq(n_first, 8 + header + 16 + 24 + 3);
    cr_assert_arr_eq(first + 8 + header, counters, sizeof counters);
    cr_assert_arr_eq(first + 8 + header + 16, weights, sizeof weights);
    free(first);
    free(second);
}

Test(nas_safetensors, misuse_of_the_builder_is_reported_when_writing)
{
    nas_safetensors_builder *b = nas_safetensors_builder_new();

    nas_safetensors_builder_add(b, "a", NAS_DTYPE_U8, 1, (int64_t[]){3}, flags);
    nas_safetensors_builder_add(b, "a", NAS_DTYPE_U8, 1, (int64_t[]){3}, flags);
    cr_assert_eq(nas_safetensors_builder_write(b, path, NULL, &err), NAS_E_FAIL);
    says("the name is taken");
    cr_assert_not(nas_path_exists(path));
    nas_safetensors_builder_free(b);
    cr_assert_eq(nas_safetensors_builder_write(NULL, path, NULL, &err), NAS_E_NOMEM);
}

/* Parses a copy that ends where its memory ends, so that a sanitizer sees any step over it. */
static nas_status parse(const void *bytes, size_t size)
{
    nas_safetensors *file = NULL;
    void *copy = malloc(size ? size : 1);

    memcpy(copy, bytes, size);
    const nas_status status = nas_safetensors_parse(&file, copy, size, "x", true, &err);
    cr_assert((status == NAS_OK) == (file != NULL));
    nas_safetensors_close(file);
    free(copy);
    return status;
}

Test(nas_safetensors, every_flipped_bit_is_found)
{
    char *bytes;
    size_t size;

    write_example();
    cr_assert_eq(nas_file_read(path, 1 << 20, &bytes, &size, &err), NAS_OK);
    cr_assert_eq(parse(bytes, size), NAS_OK);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        cr_assert_eq(parse(bytes, size), NAS_E_DATA, "bit %zu of byte %zu", bit % 8, bit / 8);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    free(bytes);
}

Test(nas_safetensors, every_truncation_is_found)
{
    char *bytes;
    size_t size;

    write_example();
    cr_assert_eq(nas_file_read(path, 1 << 20, &bytes, &size, &err), NAS_OK);
    const size_t header = (unsigned char)bytes[0] | (size_t)(unsigned char)bytes[1] << 8;
    for (size_t n = 0; n < size; n++) {
        cr_assert_eq(parse(bytes, n), NAS_E_DATA, "%zu bytes", n);
        if (n < 8 + header) /* nothing behind the end was looked at */
            says(n < 8 ? "8-byte prefix" : "header length");
    }
    bytes[size] = 0; /* the NUL of nas_file_read: one byte too many */
    cr_assert_eq(parse(bytes, size + 1), NAS_E_DATA);
    free(bytes);
}

/* A file with this header and `data_size` zero bytes; no digest. */
static nas_status parse_header(const char *header, size_t data_size, bool need_digest)
{
    nas_safetensors *file = NULL;
    const size_t length = (strlen(header) + 7) / 8 * 8;
    unsigned char *bytes = calloc(1, 8 + length + data_size);

    memset(bytes + 8, ' ', length);
    memcpy(bytes + 8, header, strlen(header));
    bytes[0] = (unsigned char)length;
    bytes[1] = (unsigned char)(length >> 8);
    const nas_status status =
        nas_safetensors_parse(&file, bytes, 8 + length + data_size, "x", need_digest, &err);
    nas_safetensors_close(file);
    free(bytes);
    return status;
}

Test(nas_safetensors, files_of_others_need_no_digest_unless_asked)
{
    const char *header = "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}";

    cr_assert_eq(parse_header(header, 4, false), NAS_OK, "%s", err.message);
    cr_assert_eq(parse_header(header, 4, true), NAS_E_DATA);
    says("no digest");
    cr_assert_eq(parse_header("{}", 0, false), NAS_OK, "%s", err.message);
}

#define T(dtype, shape, offsets) \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

Test(nas_safetensors, headers_that_lie_are_refused)
{
    static const struct {
        const char *header, *message;
    } cases[] = {
        {"{\"a\":" T("F32", "[4]", "[0,12]") "}", "do not fit"},
        {"{\"a\":" T("F32", "[4]", "[0,20]") "}", "outside the file"},
        {"{\"a\":" T("F32", "[4]", "[16,0]") "}", "outside the file"},
        {"{\"a\":" T("F32", "[4]", "[-16,0]") "}", "outside the file"},
        {"{\"a\":" T("F32", "[4]", "[0]") "}", "outside the file"},
        {"{\"a\":" T("F32", "[4]", "[0,1.6e1]") "}", "outside the file"},
        {"{\"a\":" T("F32", "[-4]", "[0,16]") "}", "impossible shape"},
        {"{\"a\":" T("F32", "[4294967296,4294967296]", "[0,16]") "}", "impossible shape"},
        {"{\"a\":" T("F64", "[2305843009213693952]", "[0,16]") "}", "impossible shape"},
        {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]") "}", "impossible shape"},
        {"{\"a\":" T("F32", "\"4\"", "[0,16]") "}", "impossible shape"},
        {"{\"a\":" T("F8", "[16]", "[0,16]") "}", "unknown dtype"},
        {"{\"a\":[]}", "unknown dtype"},
        {"{\"a\":" T("U8", "[8]", "[0,8]") "}", "behind the last tensor"},
        {"{\"a\":" T("U8", "[8]", "[8,16]") "}", "a gap"},
        {"{\"a\":" T("U8", "[8]", "[0,8]") ",\"b\":" T("U8", "[7]", "[9,16]") "}", "a gap"},
        {"{\"a\":" T("U8", "[9]", "[0,9]") ",\"b\":" T("U8", "[8]", "[8,16]") "}", "overlaps"},
        {"{\"a\":" T("U8", "[16]", "[0,16]") ",\"b\":" T("U8", "[0]", "[8,8]") "}", "overlaps"},
        {"{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("F32", "[3]", "[2,14]") "}", "not aligned"},
        {"{\"a\":" T("U8", "[16]", "[0,16]") ",\"a\":" T("U8", "[16]", "[0,16]") "}", "duplicate"},
        {"{\"a\":" T("U8", "[16]", "[0,16]") ",\"__metadata__\":[]}", "no object"},
        {"{\"a\":" T("U8", "[16]", "[0,16]") ",\"__metadata__\":{\"k\":1}}", "other than strings"},
        {"{\"a\":" T("U8", "[16]", "[0,16]") "} x", "end of file expected"},
        {"[]", "no JSON object"},
        {"{\"a\":", "header, byte"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(parse_header(cases[i].header, 16, false), NAS_E_DATA, "%s", cases[i].header);
        cr_assert_not_null(strstr(err.message, cases[i].message), "%s: %s", cases[i].header,
                           err.message);
        cr_assert_neq(err.hint[0], '\0');
    }
}

Test(nas_safetensors, deep_nesting_and_huge_lengths_are_refused)
{
    char deep[8192] = "{\"a\":";
    unsigned char huge[16] = {255, 255, 255, 255, 255, 255, 255, 255, '{', '}'};

    memset(deep + 5, '[', 8000);
    cr_assert_eq(parse_header(deep, 0, false), NAS_E_DATA);
    cr_assert_eq(parse(huge, sizeof huge), NAS_E_DATA);
    says("header length");
}

Test(nas_safetensors, missing_and_empty_files_are_named)
{
    nas_safetensors *file;

    cr_assert_eq(nas_safetensors_open(&file, path, true, &err), NAS_E_IO);
    says(path);
    cr_assert_eq(nas_file_write(path, "", 0, &err), NAS_OK);
    cr_assert_eq(nas_safetensors_open(&file, path, true, &err), NAS_E_DATA);
}

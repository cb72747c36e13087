/* JSON with comments, checked look-ups, exact writing. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/json.h"
#include "tests/support/scratch.h"

TestSuite(base_json, .init = scratch_init, .fini = scratch_fini);

static json_t *parse(const char *text)
{
    json_t *json;
    nas_err err;

    cr_assert_eq(nas_json_parse(&json, text, strlen(text), "text", &err), NAS_OK, "%s",
                 err.message);
    return json;
}

static void expect_error(const char *text, const char *message)
{
    json_t *json;
    nas_err err;

    cr_assert_eq(nas_json_parse(&json, text, strlen(text), "f.json", &err), NAS_E_DATA, "%s", text);
    cr_assert_eq(strncmp(err.message, message, strlen(message)), 0, "%s", err.message);
    cr_assert_null(json);
}

Test(base_json, comments_are_skipped_outside_strings)
{
    json_t *json = parse("// first\n{ /* two\nlines */ \"a\": \"//kept /* too */\", // rest\n"
                         "\"q\\\"//\": 1 /**/ } // end");

    cr_assert_str_eq(json_string_value(json_object_get(json, "a")), "//kept /* too */");
    cr_assert_eq(json_integer_value(json_object_get(json, "q\"//")), 1);
    json_decref(json);
}

Test(base_json, a_byte_order_mark_is_skipped)
{
    json_decref(parse("\xef\xbb\xbf{}"));
    expect_error("\xef\xbb{}", "f.json:1:");
    expect_error("{}\xef\xbb\xbf", "f.json:1:");
}

Test(base_json, errors_name_line_and_column)
{
    expect_error("{\n/* a\nb */ \"a\": }", "f.json:3:");
    expect_error("{\"a\": 1, \"a\": 2}", "f.json:1:");
    expect_error("{\n\n/* never ends *", "f.json:3: the comment that begins here has no end");
    expect_error("{}\n/*/", "f.json:2: the comment");
    expect_error("", "f.json:1:");
    expect_error("{} {}", "f.json:1:");
    expect_error("{\"a\": \"\xff\"}", "f.json:1:");
    expect_error("{\"a\": NaN}", "f.json:1:");
    expect_error("{\"a\": 1e999}", "f.json:");
    expect_error("{\"a\": 99999999999999999999}", "f.json:");
    expect_error("\"open\\", "f.json:1:");
}

Test(base_json, deep_nesting_is_an_error_not_a_crash)
{
    const size_t depth = 1000000;
    char *text = malloc(depth);
    json_t *json;

    cr_assert_not_null(text);
    memset(text, '[', depth);
    cr_assert_eq(nas_json_parse(&json, text, depth, "bomb", NULL), NAS_E_DATA);
    free(text);
}

Test(base_json, a_missing_file_is_an_io_error)
{
    json_t *json;
    nas_err err;

    cr_assert_eq(nas_json_load(&json, scratch("none"), &err), NAS_E_IO);
    cr_assert_null(json);
    cr_assert_eq(nas_json_load(&json, scratch_put("f", "{\n\"a\" 1}"), &err), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "/f:2:"), "%s", err.message);
}

Test(base_json, save_keeps_order_and_every_bit)
{
    static const double values[] = {0.1, 1.0 / 3.0, 1e-300, 123456789.123456789, -0.0};
    json_t *json = json_object(), *list = json_array(), *again;

    json_object_set_new(json, "z", json_integer(1));
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        json_array_append_new(list, json_real(values[i]));
    json_object_set_new(json, "a", list);
    cr_assert_eq(nas_json_save(json, scratch("f"), NULL), NAS_OK);
    cr_assert_eq(nas_json_load(&again, scratch("f"), NULL), NAS_OK);
    cr_assert_str_eq(json_object_iter_key(json_object_iter(again)), "z");
    list = json_object_get(again, "a");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const double found = json_real_value(json_array_get(list, i));
        cr_assert_arr_eq(&found, &values[i], sizeof found, "%.17g", found);
    }
    json_decref(json);
    json_decref(again);
}

Test(base_json, save_is_indented_and_ends_its_line)
{
    json_t *json = parse("{\"a\": 1}");

    cr_assert_eq(nas_json_save(json, scratch("f"), NULL), NAS_OK);
    scratch_expect("f", "{\n  \"a\": 1\n}\n");
    cr_assert_eq(nas_json_save(json, scratch("none/f"), NULL), NAS_E_IO);
    json_decref(json);
}

Test(base_json, members_are_read)
{
    json_t *json = parse("{\"i\": -7, \"r\": 2.5, \"w\": 3, \"b\": true, \"s\": \"text\"}");
    int64_t i = 0;
    double r = 0, w = 0;
    bool b = false;
    const char *s = NULL;

    cr_assert_eq(nas_json_int(json, "x", "i", true, -7, 7, &i, NULL), NAS_OK);
    cr_assert_eq(nas_json_real(json, "x", "r", true, 0, 2.5, &r, NULL), NAS_OK);
    cr_assert_eq(nas_json_real(json, "x", "w", true, 3, 4, &w, NULL), NAS_OK);
    cr_assert_eq(nas_json_bool(json, "x", "b", true, &b, NULL), NAS_OK);
    cr_assert_eq(nas_json_str(json, "x", "s", true, &s, NULL), NAS_OK);
    cr_assert(i == -7 && r == 2.5 && w == 3.0 && b && strcmp(s, "text") == 0);
    json_decref(json);
}

Test(base_json, missing_members_keep_what_was_there)
{
    json_t *json = parse("{}");
    int64_t i = 5;
    nas_err err;

    cr_assert_eq(nas_json_int(json, "x", "i", false, 0, 1, &i, &err), NAS_OK);
    cr_assert_eq(i, 5);
    cr_assert_eq(nas_json_int(json, "blocks[3]", "i", true, 0, 1, &i, &err), NAS_E_DATA);
    cr_assert_str_eq(err.message, "blocks[3].i: missing");
    cr_assert_eq(nas_json_int(json, "", "i", true, 0, 1, &i, &err), NAS_E_DATA);
    cr_assert_str_eq(err.message, "i: missing");
    cr_assert_eq(nas_json_int(NULL, "x", "i", false, 0, 1, &i, &err), NAS_E_DATA);
    json_decref(json);
}

Test(base_json, wrong_members_are_named_and_change_nothing)
{
    json_t *json = parse("{\"i\": 12, \"r\": 0.5, \"s\": \"text\", \"n\": null}");
    int64_t i = 5;
    double r = 5;
    bool b = true;
    const char *s = "kept";
    nas_err err;

    cr_assert_eq(nas_json_int(json, "x", "i", true, 1, 10, &i, &err), NAS_E_DATA);
    cr_assert_str_eq(err.message, "x.i: 12 is not in 1..10");
    cr_assert_eq(nas_json_int(json, "x", "r", true, 0, 1, &i, &err), NAS_E_DATA);
    cr_assert_str_eq(err.message, "x.r: should be a whole number, not a number");
    cr_assert_eq(nas_json_real(json, "x", "r", true, 1, INFINITY, &r, &err), NAS_E_DATA);
    cr_assert_str_eq(err.message, "x.r: 0.5 is not in 1..inf");
    cr_assert_eq(nas_json_real(json, "x", "s", false, 0, 1, &r, &err), NAS_E_DATA);
    cr_assert_str_eq(err.message, "x.s: should be a number, not a string");
    cr_assert_eq(nas_json_bool(json, "x", "i", true, &b, &err), NAS_E_DATA);
    cr_assert_str_eq(err.message, "x.i: should be true or false, not a whole number");
    cr_assert_eq(nas_json_str(json, "x", "n", true, &s, &err), NAS_E_DATA);
    cr_assert_str_eq(err.message, "x.n: should be a string, not null");
    cr_assert(i == 5 && r == 5 && b && strcmp(s, "kept") == 0);
    json_decref(json);
}

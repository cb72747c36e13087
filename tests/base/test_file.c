/* Whole reads, maps, and writes that are all or nothing. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/support/scratch.h"

TestSuite(base_file, .init = scratch_init, .fini = scratch_fini);

Test(base_file, read_gives_all_bytes_and_a_nul)
{
    char *text;
    size_t size;

    cr_assert_eq(nas_file_read(scratch_put("f", "hello"), 5, &text, &size, NULL), NAS_OK);
    cr_assert_eq(size, 5);
    cr_assert_str_eq(text, "hello");
    free(text);
    cr_assert_eq(nas_file_read(scratch_put("empty", ""), 5, &text, &size, NULL), NAS_OK);
    cr_assert_eq(size, 0);
    cr_assert_str_eq(text, "");
    free(text);
}

Test(base_file, read_takes_files_that_tell_no_size)
{
    char *text;
    size_t size;

    cr_assert_eq(nas_file_read("/proc/self/status", 1 << 20, &text, &size, NULL), NAS_OK);
    cr_assert_gt(size, 100);
    cr_assert_eq(strncmp(text, "Name:", 5), 0);
    free(text);
    cr_assert_eq(nas_file_read("/dev/zero", 100000, &text, &size, NULL), NAS_E_DATA);
}

Test(base_file, read_errors_say_which_file)
{
    char *text;
    size_t size;
    nas_err err;

    cr_assert_eq(nas_file_read(scratch("none"), 9, &text, &size, &err), NAS_E_IO);
    cr_assert_not_null(strstr(err.message, "/none: cannot open: No such file"), "%s", err.message);
    cr_assert_null(text);
    cr_assert_eq(nas_file_read(scratch_put("f", "hello"), 4, &text, &size, &err), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "larger than 4 bytes"), "%s", err.message);
    cr_assert_null(text);
    cr_assert_eq(nas_file_read(scratch_folder, 9, &text, &size, &err), NAS_E_IO);
}

Test(base_file, map_shows_the_content)
{
    nas_map map;
    nas_err err;

    cr_assert_eq(nas_map_open(&map, scratch_put("f", "hello"), NULL), NAS_OK);
    cr_assert_eq(map.size, 5);
    cr_assert_eq(memcmp(map.data, "hello", 5), 0);
    nas_map_close(&map);
    nas_map_close(&map);
    cr_assert_eq(nas_map_open(&map, scratch_put("empty", ""), &err), NAS_E_DATA);
    cr_assert_eq(nas_map_open(&map, scratch("none"), &err), NAS_E_IO);
    cr_assert_eq(nas_map_open(&map, scratch_folder, &err), NAS_E_IO);
    cr_assert_null(map.data);
}

Test(base_file, commit_replaces_and_leaves_nothing_else)
{
    nas_writer *writer;

    scratch_put("f", "old");
    cr_assert_eq(nas_writer_open(&writer, scratch("f"), NULL), NAS_OK);
    nas_writer_put(writer, "new ", 4);
    nas_writer_put(writer, "content", 7);
    cr_assert_eq(nas_writer_offset(writer), 11);
    scratch_expect("f", "old"); /* not before it is complete */
    cr_assert_eq(nas_writer_commit(writer, NULL), NAS_OK);
    scratch_expect("f", "new content");
    cr_assert_eq(scratch_count(), 1);
}

Test(base_file, abort_leaves_the_old_file)
{
    nas_writer *writer;

    scratch_put("f", "old");
    cr_assert_eq(nas_writer_open(&writer, scratch("f"), NULL), NAS_OK);
    nas_writer_put(writer, "new", 3);
    nas_writer_abort(writer);
    nas_writer_abort(NULL);
    scratch_expect("f", "old");
    cr_assert_eq(scratch_count(), 1);
}

/* Pieces around the size of the buffer, and a header filled in afterwards. */
Test(base_file, large_writes_arrive_in_order)
{
    static const size_t pieces[] = {10, 300000, 262144, 1, 262143, 2, 70000, 700000};
    const size_t most = 2 << 20;
    unsigned char *data = malloc(most);
    nas_writer *writer;
    nas_map map;
    size_t total = 0;

    cr_assert_not_null(data);
    for (size_t i = 0; i < most; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 13);
    cr_assert_eq(nas_writer_open(&writer, scratch("f"), NULL), NAS_OK);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        nas_writer_put(writer, data + total, pieces[i]);
        total += pieces[i];
        cr_assert_eq(nas_writer_offset(writer), total);
        if (i == 4) {
            memcpy(data + 6, "patched", 7);
            nas_writer_put_at(writer, 6, "patched", 7);
        }
    }
    cr_assert_eq(nas_writer_commit(writer, NULL), NAS_OK);
    cr_assert_eq(nas_map_open(&map, scratch("f"), NULL), NAS_OK);
    cr_assert_eq(map.size, total);
    cr_assert_eq(memcmp(map.data, data, total), 0);
    nas_map_close(&map);
    free(data);
}

Test(base_file, bytes_still_buffered_can_be_overwritten)
{
    nas_writer *writer;

    cr_assert_eq(nas_writer_open(&writer, scratch("f"), NULL), NAS_OK);
    nas_writer_put(writer, "....body", 8);
    nas_writer_put_at(writer, 0, "head", 4);
    nas_writer_put(writer, ", tail", 6);
    cr_assert_eq(nas_writer_commit(writer, NULL), NAS_OK);
    scratch_expect("f", "headbody, tail");
}

/* Stands in for a full disk: the kernel refuses to let the file grow. */
Test(base_file, a_refused_write_keeps_the_old_file)
{
    const struct rlimit limit = {100000, 100000};
    static char data[1 << 20];
    nas_err err;

    scratch_put("f", "old");
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(nas_file_write(scratch("f"), data, sizeof data, &err), NAS_E_IO);
    cr_assert_not_null(strstr(err.message, "/f: cannot write: File too large"), "%s", err.message);
    cr_assert_not_null(strstr(err.hint, "ulimit"), "%s", err.hint);
    scratch_expect("f", "old");
    cr_assert_eq(scratch_count(), 1);
}

/* A failed write is not forgotten because later ones succeed. */
Test(base_file, write_errors_stay)
{
    const struct rlimit limit = {100000, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
    static char data[1 << 20];
    nas_writer *writer;

    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(nas_writer_open(&writer, scratch("f"), NULL), NAS_OK);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    nas_writer_put(writer, data, sizeof data);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    nas_writer_put_at(writer, 0, data, 10);
    cr_assert_eq(nas_writer_commit(writer, NULL), NAS_E_IO);
    cr_assert_eq(scratch_count(), 0);
}

Test(base_file, only_files_are_written)
{
    nas_writer *writer = (void *)1;
    nas_err err;

    cr_assert_eq(nas_writer_open(&writer, "/dev/null", &err), NAS_E_IO);
    cr_assert_null(writer);
    cr_assert_eq(nas_writer_open(&writer, scratch_folder, &err), NAS_E_IO);
    cr_assert_eq(nas_writer_open(&writer, scratch("none/f"), &err), NAS_E_IO);
    cr_assert_not_null(strstr(err.message, "none/f: cannot write: No such"), "%s", err.message);
}

Test(base_file, a_link_stays_and_its_file_is_replaced)
{
    struct stat info;

    scratch_put("f", "old");
    cr_assert_eq(symlink(scratch("f"), scratch("link")), 0);
    cr_assert_eq(nas_file_write(scratch("link"), "new", 3, NULL), NAS_OK);
    scratch_expect("f", "new");
    cr_assert_eq(lstat(scratch("link"), &info), 0);
    cr_assert(S_ISLNK(info.st_mode));
}

Test(base_file, new_files_follow_the_umask)
{
    struct stat info;

    umask(027);
    cr_assert_eq(nas_file_write(scratch("f"), "x", 1, NULL), NAS_OK);
    cr_assert_eq(stat(scratch("f"), &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0640);
}

Test(base_file, two_writers_of_one_file_do_not_mix)
{
    nas_writer *a, *b;

    cr_assert_eq(nas_writer_open(&a, scratch("f"), NULL), NAS_OK);
    cr_assert_eq(nas_writer_open(&b, scratch("f"), NULL), NAS_OK);
    nas_writer_put(a, "first", 5);
    nas_writer_put(b, "second", 6);
    cr_assert_eq(nas_writer_commit(b, NULL), NAS_OK);
    scratch_expect("f", "second");
    cr_assert_eq(nas_writer_commit(a, NULL), NAS_OK);
    scratch_expect("f", "first");
}

Test(base_file, directories_are_made_with_their_parents)
{
    nas_err err;

    cr_assert_eq(nas_dir_make(scratch("a/b//c/"), NULL), NAS_OK);
    cr_assert(nas_path_is_dir(scratch("a/b/c")));
    cr_assert_eq(nas_dir_make(scratch("a/b/c"), NULL), NAS_OK);
    scratch_put("file", "");
    cr_assert_eq(nas_dir_make(scratch("file/d"), &err), NAS_E_IO);
    cr_assert_eq(nas_dir_make(scratch("file"), &err), NAS_E_IO);
    cr_assert(nas_path_exists(scratch("file")));
    cr_assert_not(nas_path_is_dir(scratch("file")));
    cr_assert_not(nas_path_exists(scratch("none")));
}

Test(base_file, join_puts_one_slash)
{
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"},  {"a//", "/b", "a/b"},
        {"/", "b", "/b"},  {"", "b", "b"},      {"a/b", "c/d", "a/b/c/d"},
        {"", "/b", "/b"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = nas_path_join(cases[i][0], cases[i][1]);

        cr_assert_str_eq(path, cases[i][2]);
        free(path);
    }
}

Test(base_file, what_cannot_be_written_is_told_beforehand)
{
    const char *path = scratch("later");

    cr_expect_eq(nas_file_writable(path, NULL), NAS_OK);
    cr_expect_not(nas_path_exists(path));
    cr_assert_eq(nas_file_write(path, "old", 3, NULL), NAS_OK);
    cr_expect_eq(nas_file_writable(path, NULL), NAS_OK);
    char *kept;
    size_t size;
    cr_assert_eq(nas_file_read(path, 100, &kept, &size, NULL), NAS_OK);
    cr_expect_str_eq(kept, "old");
    free(kept);
    cr_expect_eq(nas_file_writable(scratch("absent/file"), NULL), NAS_E_IO);
    cr_expect_eq(nas_file_writable(scratch(""), NULL), NAS_E_IO);
}

Test(base_file, one_file_has_many_spellings_also_before_it_is_there)
{
    char plain[512], dotted[512], other[512];

    snprintf(plain, sizeof plain, "%s", scratch("new"));
    snprintf(dotted, sizeof dotted, "%s", scratch("./new"));
    snprintf(other, sizeof other, "%s", scratch("./newer"));
    for (int i = 0; i < 2; i++) {
        cr_expect(nas_path_same(plain, dotted));
        cr_expect_not(nas_path_same(plain, other));
        fclose(fopen(plain, "w"));
    }
    cr_expect_not(nas_path_same(other, scratch("none/newer")));
}

/* What a hostile store, folder or log may try, from the outside. */
#include "tests/cli/nas.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(cli_security, .init = nas_begin, .fini = nas_end, .timeout = 120);

#define SEARCH                                                                             \
    "search", "--data", data, "--space", "tiny", "--table", table, "--target-ms", "1.0",   \
        "--warmup-epochs", "1", "--epochs", "1", "--batch", "32", "--arch-every", "2"

/* In a store of unknown origin the names that a run will write may be links already. */
Test(cli_security, a_run_does_not_write_through_links_in_its_store)
{
    const char *data = make_data(), *table = make_table(), *victim = nas_put("victim", "keep me\n");
    const process_options stop = {.signal_on = "epoch 1", .signal = SIGTERM};
    struct stat info;
    char text[16] = "";

    expect_exit(nas_run(&stop, SEARCH, NULL), 75, NULL);
    cr_assert_eq(symlink(victim, nas_file("store/runs/1/arch.json")), 0);
    cr_assert_eq(symlink(victim, nas_file("store/runs/1/model.safetensors")), 0);
    expect_exit(NAS("resume"), 0, "a symbolic link was removed");
    FILE *file = fopen(victim, "r");
    cr_assert_not_null(fgets(text, sizeof text, file));
    fclose(file);
    cr_assert_str_eq(text, "keep me\n");
    cr_assert_eq(lstat(nas_file("store/runs/1/arch.json"), &info), 0);
    cr_assert(S_ISREG(info.st_mode));
    expect_exit(NAS("store", "verify"), 0, NULL);
}

/* ---- secrets ---- */

static const char canary[] = "canary-of-a-secret-4711";

/* Of the environment, which tokens are kept in, nothing is stored, logged or shown. */
Test(cli_security, secrets_of_the_environment_are_written_nowhere)
{
    const char *data = make_data(), *table = make_table();

    setenv("API_TOKEN", canary, 1);
    setenv("DB_PASSWORD", canary, 1);
    expect_exit(NAS("jobs", "submit", "--name", "s", "--", SEARCH, "--verbose"), 0, NULL);
    expect_exit(NAS("jobs", "submit", "--name", "bad", "--retries", "0", "--", "data", "info",
                    nas_file("none"), "--verbose"), 0, NULL);
    expect_exit(NAS("jobs", "run", "--verbose"), 1, NULL);
    expect_exit(NAS("report", "--out", nas_file("store/report.html")), 0, NULL);
    expect_exit(NAS("store", "backup", nas_file("store/copy")), 0, NULL);
    cr_assert_null(strstr(NAS("doctor")->out, canary));
    cr_assert_null(strstr(NAS("jobs", "why", "bad")->out, canary));
    cr_assert_gt(nas_store_without(canary), 10);
}

/* ---- libraries ---- */

/* The loader must not take libraries from where the program is started. */
Test(cli_security, no_library_is_loaded_from_the_current_directory)
{
    const char *fake = nas_put("libjansson.so.4", "this is no library");
    char folder[256];

    snprintf(folder, sizeof folder, "%s", fake);
    *strrchr(folder, '/') = '\0';
    cr_assert_eq(chdir(folder), 0);
    expect_exit(NAS("space", "list"), 0, NULL);
}

/* ---- network file systems ---- */

/* Their locks may not hold: the loop and the doctor say so, and where they are refused nothing is
 * written without them. */
Test(cli_security, a_store_on_a_network_file_system_is_warned_of)
{
    expect_exit(NAS("jobs", "submit", "--name", "j", "--", "space", "list"), 0, NULL);
    setenv("LD_PRELOAD", NAS_NETWORK_DISK, 1);
    expect_exit(NAS("jobs", "run"), 0, "network file system (NFS): keep the store");
    cr_assert_not_null(strstr(NAS("doctor")->out, "on a network file system (NFS)"));
    expect_exit(NAS("jobs", "submit", "--name", "k", "--", "space", "list"), 0, NULL);
    setenv("NAS_TEST_NO_LOCKS", "1", 1);
    expect_exit(NAS("jobs", "run"), 1, "locked");
    unsetenv("LD_PRELOAD");
    cr_assert_null(strstr(NAS("jobs", "why", "k")->out, "done"));
    expect_exit(NAS("jobs", "run"), 0, NULL);
    expect_exit(NAS("store", "verify"), 0, NULL);
}

/* Reports and the dashboard in a real browser (tests/browser), where there is one. */
#include <signal.h>
#include <sqlite3.h>
#include <unistd.h>

#include "tests/cli/nas.h"
#include "tests/cli/server.h"
#include "tests/support/tools.h"

#define SCRIPT(name) NAS_SOURCE_DIR "/tests/browser/" name

static void need_browser(void)
{
    need_tool("node");
    need_tool("chromium");
    if (access(NAS_SOURCE_DIR "/build/browser/node_modules/axe-core", F_OK) != 0)
        cr_skip_test("no playwright-core and axe-core here: scripts/setup --browser");
}

static void end(void)
{
    server_kill();
    nas_end();
}

TestSuite(cli_browser, .init = nas_begin, .fini = end, .timeout = 600);

/* A script of tests/browser with its arguments, which must find nothing wrong; what it prints. */
static const char *run_script(const char *const *words)
{
    static process_result result;
    const process_options options = {.timeout_s = 540};
    const char *argv[PROCESS_MAX_ARGS] = {"/usr/bin/env"};

    for (int i = 0; words[i] != NULL; i++)
        argv[i + 1] = words[i];
    process_free(&result);
    result = process_run(argv, &options);
    cr_assert_eq(result.code, 0, "exit code %d: %s%s", result.code, result.out, result.err);
    return result.out;
}
#define RUN_SCRIPT(...) run_script((const char *const[]){__VA_ARGS__, NULL})

static void run_sql(const char *sql)
{
    sqlite3 *db;

    cr_assert_eq(sqlite3_open(nas_file("store/store.db"), &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void search(const char *name, const char *seed)
{
    expect_exit(NAS("search", "--data", make_data(), "--space", "tiny", "--table", make_table(),
                    "--target-ms", "1.0", "--warmup-epochs", "1", "--epochs", "2", "--batch", "32",
                    "--quiet", "--name", name, "--seed", seed), 0, NULL);
}

/* A run of each command that leaves a policy. */
static void choose_policies(void)
{
    const char *model = nas_file("store/runs/1/model.safetensors"), *data = nas_file("task.nasd");

    expect_exit(NAS("prune", "--model", model, "--data", data, "--ratio", "0.6", "--episodes", "3",
                    "--calibration-images", "64", "--quiet"), 0, NULL);
    expect_exit(NAS("quantize", "--model", model, "--data", data, "--agent", "random", "--bitops",
                    "0.5", "--episodes", "3", "--quiet"), 0, NULL);
}

/* A run whose every name is meant to do harm; its space is 10 KB of emoji. */
static void add_hostile_run(void)
{
    run_sql("INSERT INTO run (name, kind, state, attempt, config, config_digest, version, seed,"
            " threads, step, epoch, pid, pid_start, host, created_ms, updated_ms, error, summary)"
            " SELECT"
            " '<img src=x onerror=window.hacked=1>', '</script><script>window.hacked=1</script>',"
            " 'failed', 1, json_object('space', replace(hex(zeroblob(2500)), '00', char(128512))),"
            " '', '=1+1', 1, 1, 1, 1, 1, 1, 'h', created_ms, updated_ms,"
            " char(27) || '[31m' || char(8238) || '\" onload=\"window.hacked=1',"
            " json_object('policy', json_array(json_object('share', 0.5, 'layer',"
            " '<img src=x onerror=window.hacked=1>')))"
            " FROM run WHERE id = 1");
}

Test(cli_browser, a_report_shows_what_the_store_holds)
{
    const char *page = nas_file("report.html"), *rows = nas_file("rows.jsonl");

    need_browser();
    search("search-1", "1");
    search("search-2", "2");
    choose_policies();
    expect_exit(NAS("latency", "verify", "--data", make_data(), "--space", "tiny", "--table",
                    make_table(), "--threads", "1", "--samples", "4", "--rounds", "2", "--quiet"),
                0, NULL);
    add_hostile_run();
    expect_exit(NAS("report", "--out", page), 0, NULL);
    expect_exit(NAS("runs", "export", "--format", "jsonl", "--out", rows), 0, NULL);
    RUN_SCRIPT("node", SCRIPT("report.js"), page, rows);
}

Test(cli_browser, the_dashboard_lives)
{
    const char *go = nas_file("go");
    char base[64], pid[16], command[2048];

    need_browser();
    search("search-1", "1");
    search("search-2", "2");
    server_start_for("0.05"); /* it connects anew again and again, and says nothing of it */
    snprintf(base, sizeof base, "http://127.0.0.1:%d/", server_port);
    snprintf(pid, sizeof pid, "%d", (int)server_pid);
    /* adds a run when the page asks for it */
    snprintf(command, sizeof command,
             "(while [ ! -e '%s' ]; do sleep 0.1; done; sqlite3 '%s' \"INSERT INTO run (name, kind,"
             " state, attempt, config, config_digest, version, seed, threads, step, epoch, pid,"
             " pid_start, host, created_ms, updated_ms) SELECT 'later', kind, 'done', 1, config, '',"
             " version, 1, 1, 1, 1, 1, 1, host, created_ms, updated_ms FROM run WHERE id = 1\") &"
             " node '%s' '%s' '%s' '%s' %s",
             go, nas_file("store/store.db"), SCRIPT("serve.js"), base, server_token, go, pid);
    RUN_SCRIPT("sh", "-c", command);
    server_await_end();
}

Test(cli_browser, ten_thousand_runs_are_painted_within_a_second)
{
    char base[64];

    need_browser();
    search("search-1", "1");
    run_sql("BEGIN; CREATE TEMP TABLE n AS WITH RECURSIVE c(i) AS (SELECT 2 UNION ALL SELECT i + 1"
            " FROM c WHERE i < 10000) SELECT i FROM c;"
            "INSERT INTO run (id, name, kind, state, attempt, config, config_digest, version, seed,"
            " threads, step, epoch, pid, pid_start, host, created_ms, updated_ms, finished_ms,"
            " summary, latency_table) SELECT i, 'search-' || i, kind, state, attempt, config,"
            " config_digest, version, seed, threads, step, epoch, pid, pid_start, host, created_ms,"
            " updated_ms, finished_ms, summary, latency_table FROM run, n WHERE id = 1;"
            "INSERT INTO evaluation SELECT i, source, rank, architecture, latency_ms, loss, top1,"
            " top5, selected FROM evaluation, n WHERE run = 1; COMMIT;");
    server_start();
    snprintf(base, sizeof base, "http://127.0.0.1:%d/", server_port);
    const double ms = atof(RUN_SCRIPT("node", SCRIPT("paint.js"), base, server_token, "1000"));
    cr_log_info("%.0f ms", ms);
    cr_assert_lt(ms, 1000.0);
    server_stop();
}

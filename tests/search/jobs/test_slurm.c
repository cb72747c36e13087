/* Slurm from the outside of its commands: scripts that nothing can break out of, and answers that
 * are read with suspicion. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "search/jobs/slurm.h"
#include "tests/search/jobs/payloads.h"
#include "tests/support/process.h"
#include "tests/support/scratch.h"

TestSuite(search_jobs_slurm, .init = scratch_init, .fini = scratch_fini, .timeout = 60);

static nas_err err;

static const nas_slurm_options plain = {.warn_s = 120};

static int lines_with(const char *text, const char *start)
{
    int count = 0;

    for (const char *line = text; line != NULL; line = strchr(line, '\n'), line += line != NULL)
        count += strncmp(line, start, strlen(start)) == 0;
    return count;
}

Test(search_jobs_slurm, a_script_asks_for_what_was_said)
{
    const nas_slurm_options o = {.partition = "big", .account = "me", .qos = "low", .minutes = 90,
                                 .warn_s = 60, .at_once = 4};
    const nas_slurm_array a = {.name = "nas-1-1", .count = 10, .cores = 3, .memory_mib = 500,
                               .program = "/bin/nas", .batch = "/s/b.json", .log = "/s/b.log"};
    char *script;

    cr_assert_eq(nas_slurm_script(&script, &o, &a, &err), NAS_OK);
    cr_assert_str_eq(script, "#!/bin/sh\n"
                             "#SBATCH --job-name=nas-1-1\n"
                             "#SBATCH --array=0-9%4\n"
                             "#SBATCH --nodes=1\n"
                             "#SBATCH --ntasks=1\n"
                             "#SBATCH --cpus-per-task=3\n"
                             "#SBATCH --mem=500M\n"
                             "#SBATCH --time=90\n"
                             "#SBATCH --partition=big\n"
                             "#SBATCH --account=me\n"
                             "#SBATCH --qos=low\n"
                             "#SBATCH --signal=B:USR1@60\n"
                             "#SBATCH --requeue\n"
                             "#SBATCH --output=/dev/null\n"
                             "exec '/bin/nas' jobs task '/s/b.json' >>'/s/b.log' 2>&1\n");
    free(script);
}

/* A shell that runs the script hands the path over as it is, and does nothing else. */
Test(search_jobs_slurm, no_path_breaks_out_of_a_script)
{
    const char *canary = scratch("canary");
    char log[256], path[256];
    size_t size;

    snprintf(log, sizeof log, "%s", scratch("log"));
    snprintf(path, sizeof path, "%s", scratch("script"));
    cr_assert_geq(PAYLOADS, 200);
    for (int i = 0; i < PAYLOADS; i++) {
        char payload[512], expected[600], *script, *seen;

        payload_make(payload, sizeof payload, i, canary);
        const nas_slurm_array a = {.name = "n", .count = 1, .cores = 1, .program = "/bin/echo",
                                   .batch = payload, .log = log};
        const nas_status status = nas_slurm_script(&script, &plain, &a, &err);
        if (strpbrk(payload, "\n\r\t\033\007") != NULL) {
            cr_assert_eq(status, NAS_E_CONFIG, "%s", payload);
            continue;
        }
        cr_assert_eq(status, NAS_OK, "%s", err.message);
        cr_assert_eq(lines_with(script, "#SBATCH"), 8);
        cr_assert_eq(nas_file_write(path, script, strlen(script), &err), NAS_OK);
        unlink(log);
        const char *const argv[] = {"/bin/sh", path, NULL};
        process_result result = process_run(argv, NULL);
        cr_assert_eq(result.code, 0, "%s", result.err);
        process_free(&result);
        cr_assert_eq(nas_file_read(log, 4096, &seen, &size, &err), NAS_OK);
        snprintf(expected, sizeof expected, "jobs task %s\n", payload);
        cr_assert_str_eq(seen, expected);
        cr_assert_not(nas_path_exists(canary), "%s", payload);
        free(seen);
        free(script);
    }
}

Test(search_jobs_slurm, names_with_anything_else_are_refused)
{
    for (int i = 0; i < PAYLOADS; i++) {
        char payload[512];

        payload_make(payload, sizeof payload, i, "/tmp/c");
        cr_assert_eq(nas_slurm_check(&(nas_slurm_options){.partition = payload}, &err),
                     NAS_E_CONFIG, "%s", payload);
        cr_assert_eq(nas_slurm_check(&(nas_slurm_options){.account = payload}, &err), NAS_E_CONFIG);
        cr_assert_eq(nas_slurm_check(&(nas_slurm_options){.qos = payload}, &err), NAS_E_CONFIG);
    }
    cr_assert_eq(nas_slurm_check(&(nas_slurm_options){.partition = "gpu,cpu.a-b_1"}, &err), NAS_OK);
    cr_assert_eq(nas_slurm_check(&(nas_slurm_options){.qos = ""}, &err), NAS_E_CONFIG);
}

Test(search_jobs_slurm, lines_of_squeue)
{
    static const struct {
        const char *line;
        bool ours;
        nas_slurm_state state;
        nas_job_cause cause;
    } cases[] = {
        {"12|3|PENDING|nas-a-1", true, NAS_SLURM_PENDING, NAS_CAUSE_COUNT},
        {"12|3|RUNNING|nas-a-1", true, NAS_SLURM_RUNNING, NAS_CAUSE_COUNT},
        {"12|3|COMPLETING|nas-a-1", true, NAS_SLURM_RUNNING, NAS_CAUSE_COUNT},
        {"12|3|SOMETHING_NEW|nas-a-1", true, NAS_SLURM_RUNNING, NAS_CAUSE_COUNT},
        {"12|3|CANCELLED|nas-a-1", true, NAS_SLURM_ENDED, NAS_CAUSE_CANCELLED},
        {"12|3|TIMEOUT|nas-a-1", true, NAS_SLURM_ENDED, NAS_CAUSE_INTERRUPTED},
        {"12|3|OUT_OF_MEMORY|nas-a-1", true, NAS_SLURM_ENDED, NAS_CAUSE_MEMORY},
        {"12|3|NODE_FAIL|nas-a-1", true, NAS_SLURM_ENDED, NAS_CAUSE_KILLED},
        {"12|N/A|RUNNING|bash", false, 0, 0}, {"12|3|RUNNING|a b", false, 0, 0},
        {"0|3|RUNNING|x", false, 0, 0}, {"12|-3|RUNNING|x", false, 0, 0},
        {"", false, 0, 0}, {"slurm_load_jobs error", false, 0, 0},
        {"99999999999999999999|3|RUNNING|x", false, 0, 0}, {"12|3|RUNNING|x|y", false, 0, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nas_slurm_task task;

        cr_assert_eq(nas_slurm_parse(cases[i].line, &task), cases[i].ours, "%s", cases[i].line);
        if (cases[i].ours) {
            cr_assert(task.id == 12 && task.task == 3 && strcmp(task.name, "nas-a-1") == 0);
            cr_assert_eq(task.state, cases[i].state);
            cr_assert_eq(task.cause, cases[i].cause);
        }
    }
}

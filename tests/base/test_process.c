/* Running programs: their lines, their complaints, their ends. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/process.h"

static nas_err err;

static nas_process *start(const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    nas_process *process;

    cr_assert_eq(nas_process_start(&process, argv, NULL, &err), NAS_OK, "%s", err.message);
    return process;
}

static nas_process_event next(nas_process *process, const char **line)
{
    nas_process_event event;
    size_t size;

    cr_assert_eq(nas_process_line(process, 10, &event, line, &size, &err), NAS_OK);
    if (event == NAS_PROCESS_LINE)
        cr_assert_eq(strlen(*line), size);
    return event;
}

Test(base_process, lines_come_whole_and_a_torn_one_is_dropped)
{
    nas_process *process = start("printf 'one\\r\\ntw'; sleep 0.1; printf 'o\\n\\nthree'; exit 5");
    const char *line;

    cr_assert_eq(next(process, &line), NAS_PROCESS_LINE);
    cr_assert_str_eq(line, "one");
    cr_assert_eq(next(process, &line), NAS_PROCESS_LINE);
    cr_assert_str_eq(line, "two");
    cr_assert_eq(next(process, &line), NAS_PROCESS_LINE);
    cr_assert_str_eq(line, "");
    cr_assert_eq(next(process, &line), NAS_PROCESS_DONE);
    cr_assert_eq(nas_process_end(process), 5);
}

Test(base_process, what_is_said_is_heard_until_the_program_is_gone)
{
    const char *const argv[] = {"sh", "-c", "read a; echo \"heard $a\"; exec <&-; sleep 0.1", NULL};
    nas_process *process;
    const char *line;

    cr_assert_eq(nas_process_talk(&process, argv, &err), NAS_OK, "%s", err.message);
    nas_process_say(process, "this\n", 5);
    cr_assert_eq(next(process, &line), NAS_PROCESS_LINE);
    cr_assert_str_eq(line, "heard this");
    cr_assert_eq(next(process, &line), NAS_PROCESS_DONE);
    for (int i = 0; i < 3; i++) /* no SIGPIPE */
        nas_process_say(process, "that\n", 5);
    cr_assert_eq(nas_process_end(process), 0);
}

Test(base_process, a_program_that_is_talked_to_sees_the_end)
{
    const char *const argv[] = {"sh", "-c", "cat >/dev/null; exit 7", NULL};
    nas_process *process;

    cr_assert_eq(nas_process_talk(&process, argv, &err), NAS_OK, "%s", err.message);
    cr_assert_not(nas_process_wait(process, 0.1));
    const int code = nas_process_end(process); /* its end or our signal: whichever it sees first */
    cr_assert(code == 7 || code == 128 + 15, "%d", code);
}

Test(base_process, much_output_on_both_sides_does_not_block)
{
    nas_process *process =
        start("i=0; while [ $i -lt 3000 ]; do echo \"line $i, somewhat longer than the others\";"
              " echo \"complaint $i\" >&2; i=$((i+1)); done");
    const char *line;
    int lines = 0;

    while (next(process, &line) == NAS_PROCESS_LINE)
        lines++;
    cr_assert_eq(lines, 3000);
    cr_assert_not_null(strstr(nas_process_complaint(process), "complaint 2999"));
    cr_assert_eq(nas_process_end(process), 0);
}

Test(base_process, a_line_without_end_is_refused)
{
    nas_process *process =
        start("while :; do printf 0123456789012345678901234567890123456789; done");
    nas_process_event event;
    const char *line;
    size_t size;

    cr_assert_eq(nas_process_line(process, 10, &event, &line, &size, &err), NAS_E_DATA);
    cr_assert_neq(nas_process_end(process), 0);
}

Test(base_process, silence_is_told_and_ended)
{
    nas_process *process = start("exec sleep 60");
    const double begin = nas_clock_seconds();
    nas_process_event event;
    const char *line;
    size_t size;

    cr_assert_eq(nas_process_line(process, 0.1, &event, &line, &size, &err), NAS_OK);
    cr_assert_eq(event, NAS_PROCESS_QUIET);
    cr_assert_eq(nas_process_end(process), 128 + 15);
    cr_assert_lt(nas_clock_seconds() - begin, 5.0);
}

Test(base_process, what_does_not_heed_the_request_is_killed)
{
    nas_process *process = start("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    const char *line;

    cr_assert_eq(next(process, &line), NAS_PROCESS_LINE);
    cr_assert_eq(nas_process_end(process), 128 + 9);
}

Test(base_process, a_daemon_that_keeps_the_pipes_is_not_waited_for)
{
    nas_process *process = start("sleep 20 & echo started");
    const double begin = nas_clock_seconds();
    const char *line;

    cr_assert_eq(next(process, &line), NAS_PROCESS_LINE);
    cr_assert_eq(next(process, &line), NAS_PROCESS_DONE);
    cr_assert_eq(nas_process_end(process), 0);
    cr_assert_lt(nas_clock_seconds() - begin, 10.0);
}

Test(base_process, run_keeps_output_and_tells_failures)
{
    const char *const hello[] = {"echo", "hello", NULL};
    const char *const fails[] = {"sh", "-c", "echo no room >&2; exit 3", NULL};
    const char *const missing[] = {"no-such-program-of-ours", NULL};
    const char *const slow[] = {"sleep", "20", NULL};
    char out[16];

    cr_assert_eq(nas_process_run(hello, NULL, 10, out, sizeof out, &err), NAS_OK);
    cr_assert_str_eq(out, "hello\n");
    cr_assert_eq(nas_process_run(fails, NULL, 10, NULL, 0, &err), NAS_E_IO);
    cr_assert_not_null(strstr(err.message, "exit code 3: no room"), "%s", err.message);
    cr_assert_eq(nas_process_run(missing, NULL, 10, NULL, 0, &err), NAS_E_IO);
    cr_assert_not_null(strstr(err.message, "no-such-program-of-ours"), "%s", err.message);
    cr_assert_eq(nas_process_run(slow, NULL, 0.2, NULL, 0, &err), NAS_E_IO);
}

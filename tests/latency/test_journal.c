/* Journals: what they know is told again, a torn end is cut off, nothing foreign is touched. */
#include "latency/profile/journal.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

#include <sys/stat.h>
#include <unistd.h>

TestSuite(latency_journal, .init = scratch_init, .fini = scratch_fini);

static nas_err err;
static const nas_facts device = {.device = "d", .engine = "e", .kernels = "k", .governor = "g",
                                 .cores = 2, .threads = 1};
static int told;

static nas_status count(void *user, const nas_line *line, nas_err *e)
{
    cr_assert_eq(line->request.number, told);
    cr_assert_eq(line->answer.block_ms[1], 0.5 * (double)told);
    told++;
    return NAS_OK;
}

static nas_journal *open_it(const char *digest, bool *known)
{
    nas_journal *journal;
    nas_facts facts;

    told = 0;
    REQUIRE_OK(nas_journal__open(&journal, scratch("j"), digest, &facts, known, count, NULL, &err));
    if (*known)
        cr_assert(nas_facts__same(&facts, &device));
    return journal;
}

static void put_turns(nas_journal *journal, int from, int to)
{
    for (int turn = from; turn < to; turn++) {
        const nas_request request = {.kind = NAS_REQUEST_TURN, .number = turn, .choice = {1, 2}};
        const nas_answer answer = {.block_ms = {1.0, 0.5 * turn}};

        REQUIRE_OK(nas_journal__put_turn(journal, &request, 2, &answer, &err));
    }
}

static void make(int turns)
{
    bool known;
    nas_journal *journal = open_it("job", &known);

    cr_assert_not(known);
    REQUIRE_OK(nas_journal__put_facts(journal, &device, &err));
    put_turns(journal, 0, turns);
    nas_journal__close(journal);
}

Test(latency_journal, goes_on_where_it_ended)
{
    bool known;

    make(3);
    nas_journal *journal = open_it("job", &known);
    cr_assert(known);
    cr_assert_eq(told, 3);
    put_turns(journal, 3, 5);
    nas_journal__close(journal);
    nas_journal__close(open_it("job", &known));
    cr_assert_eq(told, 5);
}

Test(latency_journal, cut_anywhere_it_goes_on_with_the_whole_lines)
{
    struct stat info;
    bool known;
    int before = 4;

    make(4);
    cr_assert_eq(stat(scratch("j"), &info), 0);
    for (long size = (long)info.st_size - 1; size >= 0; size--) {
        cr_assert_eq(truncate(scratch("j"), size), 0);
        nas_journal__close(open_it("job", &known));
        cr_assert(told <= before && told >= before - 1, "%ld: %d", size, told);
        before = told;
        if (!known)
            break; /* begins anew from here on */
    }
    cr_assert_eq(told, 0);
}

Test(latency_journal, garbage_in_the_middle_ends_what_is_known)
{
    static const char *const garbage[] = {
        "{\"turn\":7,\"choice\":[1,2],\"ms\":[1,1]}\n", "{\"probe\":2,\"ms\":1}\n",
        "{\"network\":2,\"choice\":[1,2],\"ms\":1,\"disturbed\":0}\n"};
    bool known;

    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        unlink(scratch("j"));
        make(2);
        FILE *file = fopen(scratch("j"), "a");
        fputs(garbage[i], file);
        fclose(file);
        nas_journal *journal = open_it("job", &known);
        cr_assert_eq(told, 2);
        put_turns(journal, 2, 3);
        nas_journal__close(journal);
        nas_journal__close(open_it("job", &known));
        cr_assert_eq(told, 3);
    }
}

Test(latency_journal, that_of_another_job_is_forgotten)
{
    bool known;

    make(2);
    nas_journal__close(open_it("other", &known));
    cr_assert_not(known);
    nas_journal__close(open_it("job", &known));
    cr_assert_not(known);
    cr_assert_eq(told, 0);
}

Test(latency_journal, a_file_that_is_none_is_left_alone)
{
    nas_journal *journal;
    nas_facts facts;
    bool known;

    scratch_put("j", "my notes\n");
    cr_assert_eq(nas_journal__open(&journal, scratch("j"), "job", &facts, &known, count, NULL,
                                   &err), NAS_E_DATA);
    scratch_expect("j", "my notes\n");
}

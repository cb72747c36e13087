/* What a device says: read back to the bit, or refused. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "latency/profile/lines.h"
#include "tests/latency/published.h"

static nas_err err;
static nas_line line;

static nas_status parse(const char *text)
{
    return nas_line__parse(&line, text, strlen(text), &err);
}

/* Reads what `put` (a call that writes to `f`) writes. */
#define READ_BACK(put)                                       \
    do {                                                     \
        char *text_ = NULL;                                  \
        size_t size_;                                        \
        FILE *f = open_memstream(&text_, &size_);            \
        put;                                                 \
        fclose(f);                                           \
        cr_assert_eq(strchr(text_, '\n'), text_ + size_ - 1); \
        REQUIRE_OK(nas_line__parse(&line, text_, size_, &err)); \
        free(text_);                                         \
    } while (0)

Test(latency_lines, what_is_written_is_read_back)
{
    const nas_facts facts = {.device = "ARM, 8 cores", .engine = "nas 9", .kernels = "portable",
                             .governor = "unknown", .cores = 8, .threads = 3, .load = 0.25,
                             .mhz = 2450.5, .emulated = true};
    const nas_request asked[] = {
        {.kind = NAS_REQUEST_TURN, .number = 12345678901, .choice = {0, 63, 5}},
        {.kind = NAS_REQUEST_NETWORK, .number = 0, .choice = {0, 63, 5}},
        {.kind = NAS_REQUEST_PROBE, .number = 7}};
    const nas_answer answer = {.ms = 1.0 / 7.0, .disturbed = 2,
                               .block_ms = {0.1, 1.0 / 3.0, 0.0}};

    READ_BACK(nas_line__put_facts(f, &facts));
    cr_assert_eq(line.kind, NAS_LINE_FACTS);
    cr_assert(nas_facts__same(&line.facts, &facts));
    cr_assert(line.facts.emulated && line.facts.load == 0.25 && line.facts.mhz == 2450.5);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        READ_BACK(nas_line__put_answer(f, &asked[i], 3, &answer));
        cr_assert_eq(line.kind, NAS_LINE_ANSWER);
        cr_assert_eq(line.request.kind, asked[i].kind);
        cr_assert_eq(line.request.number, asked[i].number);
        cr_assert_eq(line.slots, asked[i].kind == NAS_REQUEST_PROBE ? 0 : 3);
        cr_assert_arr_eq(line.request.choice, asked[i].choice,
                         (size_t)line.slots * sizeof *line.request.choice);
        if (asked[i].kind == NAS_REQUEST_TURN)
            cr_assert_arr_eq(line.answer.block_ms, answer.block_ms, 3 * sizeof *answer.block_ms);
        else
            cr_assert_eq(line.answer.ms, answer.ms);
    }
    READ_BACK(nas_line__put_answer(f, &asked[1], 3, &answer));
    cr_assert_eq(line.answer.disturbed, 2);
    READ_BACK(nas_line__put_error(f, "no \"room\"\n\x1b[1m"));
    cr_assert_eq(line.kind, NAS_LINE_ERROR);
    cr_assert_str_eq(line.text, "no ?room???[1m");
}

Test(latency_lines, what_this_machine_says_of_itself_can_be_read)
{
    nas_facts facts;

    nas_facts__here(&facts, "test \"quoted\"");
    cr_assert_str_eq(facts.engine, "test ?quoted?");
    READ_BACK(nas_line__put_facts(f, &facts));
    cr_assert(nas_facts__same(&line.facts, &facts));
    cr_assert_not(facts.emulated);
}

Test(latency_lines, hostile_lines_are_refused)
{
    static const char *const lines[] = {
        "", "{", "[]", "null", "hello", "{}", "{\"x\":1}",
        "{\"turn\":0,\"choice\":[0],\"ms\":[-1]}", "{\"turn\":0,\"choice\":[0],\"ms\":[1e7]}",
        "{\"turn\":0,\"choice\":[0],\"ms\":[1e999]}", "{\"turn\":0,\"choice\":[0],\"ms\":[NaN]}",
        "{\"turn\":0,\"choice\":[0],\"ms\":[\"1\"]}", "{\"turn\":0,\"choice\":[64],\"ms\":[1]}",
        "{\"turn\":0,\"choice\":[-1],\"ms\":[1]}", "{\"turn\":0,\"choice\":[0.5],\"ms\":[1]}",
        "{\"turn\":0,\"choice\":[0,1],\"ms\":[1]}", "{\"turn\":0,\"choice\":[],\"ms\":[]}",
        "{\"turn\":-1,\"choice\":[0],\"ms\":[1]}", "{\"turn\":0,\"choice\":[0]}",
        "{\"turn\":0,\"turn\":0,\"choice\":[0],\"ms\":[1]}",
        "{\"turn\":0,\"choice\":[0],\"ms\":[1],\"more\":1}", "{\"turn\":0,\"choice\":0,\"ms\":1}",
        "{\"error\":5}", "{\"end\":true}", "{\"probe\":0}", "{\"probe\":0,\"ms\":-1}",
        "{\"probe\":-1,\"ms\":1}", "{\"probe\":0,\"ms\":[1]}", "{\"probe\":0,\"ms\":1,\"more\":1}",
        "{\"network\":0,\"choice\":[0],\"ms\":1}", "{\"network\":0,\"ms\":1,\"disturbed\":0}",
        "{\"network\":0,\"choice\":[0],\"ms\":1,\"disturbed\":6}",
        "{\"network\":0,\"choice\":[0],\"ms\":1e7,\"disturbed\":0}",
        "{\"network\":0,\"choice\":[64],\"ms\":1,\"disturbed\":0}", "{\"onepath_profile\":2}",
        "{\"onepath_profile\":1}",
        "{\"onepath_profile\":1,\"device\":5,\"engine\":\"\",\"kernels\":\"\",\"governor\":\"\","
        "\"cores\":1,\"threads\":1,\"load\":0,\"emulated\":false}",
        "{\"onepath_profile\":1,\"device\":\"\",\"engine\":\"\",\"kernels\":\"a name that is much "
        "too long\",\"governor\":\"\",\"cores\":1,\"threads\":1,\"load\":0,\"emulated\":false}",
        "{\"onepath_profile\":1,\"device\":\"\",\"engine\":\"\",\"kernels\":\"\",\"governor\":\"\","
        "\"cores\":0,\"threads\":1,\"load\":0,\"emulated\":false}",
    };

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        cr_assert_eq(parse(lines[i]), NAS_E_DATA, "%s", lines[i]);
    REQUIRE_OK(parse("{\"turn\":0,\"choice\":[0],\"ms\":[1]}"));
    REQUIRE_OK(parse("{\"network\":0,\"choice\":[0],\"ms\":1,\"disturbed\":5}"));
    REQUIRE_OK(parse("{\"probe\":0,\"ms\":1}"));
}

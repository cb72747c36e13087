/* Jobs and requests: what arrives is what was sent, and anything else is refused. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "latency/profile/deck.h"
#include "latency/profile/job.h"
#include "latency/profile/request.h"
#include "tests/latency/published.h"

static nas_err err;
static const nas_job asked = {.threads = 4, .cores = "4-7", .seed = 7, .warm_seconds = 60.5};

static char *text_of(const nas_space *space, size_t *size)
{
    char *text;

    REQUIRE_OK(nas_job__text(&text, size, &asked, space, &err));
    return text;
}

static nas_space *load(const char *name)
{
    nas_space *space;

    REQUIRE_OK(nas_space_load(&space, name, &err));
    return space;
}

Test(latency_job, every_built_in_space_arrives_as_it_was)
{
    for (const char *const *name = nas_space_names(); *name != NULL; name++) {
        nas_space *space = load(*name), *there;
        size_t size;
        char *text = text_of(space, &size);
        nas_job job;

        REQUIRE_OK(nas_job__parse(&job, &there, text, size, &err));
        cr_assert_str_eq(job.cores, "4-7");
        cr_assert(job.threads == 4 && job.seed == 7 && job.warm_seconds == 60.5);
        cr_assert_eq(there->image_size, space->image_size);
        cr_assert_eq(there->count, space->count);
        for (int s = 0; s < space->count; s++) {
            cr_assert_eq(there->slots[s].count, space->slots[s].count);
            cr_assert_eq(there->slots[s].shortcut, space->slots[s].shortcut);
            for (int c = 0; c < space->slots[s].count; c++) {
                nas_op_spec op = space->slots[s].candidates[c];

                op.dropout = 0; /* a matter of training */
                cr_assert(nas_op_equal(&there->slots[s].candidates[c], &op), "%s, slot %d", *name,
                          s);
            }
        }
        nas_space_free(there);
        nas_space_free(space);
        free(text);
    }
}

Test(latency_job, cut_anywhere_it_is_refused)
{
    nas_space *space = load("tiny"), *there;
    nas_job job;
    size_t size;
    char *text = text_of(space, &size);

    for (size_t cut = 0; cut < size; cut++) {
        cr_assert_eq(nas_job__parse(&job, &there, text, cut, &err), NAS_E_DATA, "at %zu", cut);
        cr_assert_null(there);
    }
    free(text);
    nas_space_free(space);
}

/* Replaces the first `from` of a sound job by `to` and reads that. */
static nas_status read_changed(const char *from, const char *to)
{
    nas_space *space = load("tiny"), *there = NULL;
    nas_job job;
    size_t size;
    char *text = text_of(space, &size), *changed = malloc(size + 64);
    const char *at = strstr(text, from);

    cr_assert(at != NULL && changed != NULL, "%s", from);
    sprintf(changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    const nas_status status = nas_job__parse(&job, &there, changed, strlen(changed), &err);
    cr_assert_eq(there != NULL, status == NAS_OK);
    nas_space_free(there);
    nas_space_free(space);
    free(changed);
    free(text);
    return status;
}

Test(latency_job, other_versions_and_wrong_values_are_refused)
{
    static const char *const wrong[][2] = {
        {"onepath.profile 3", "onepath.profile 2"}, {"onepath.profile", "profile"},
        {"threads 4", "threads -4"}, {"threads 4", "threads 4x"}, {"threads 4", "threads"},
        {"cores 4-7", "cores 7-4"}, {"cores 4-7", "cores 4-"}, {"cores 4-7\n", ""},
        {"threads 4", "threads 4 4"}, {"threads 4", "threads 99999999999999999999"},
        {"seconds 60.5", "seconds nan"}, {"seconds 60.5", "seconds 1e99"},
        {"probe 0", "probe 1"}, {"probe 0", "probe"}, {"probe 0", "probe 0 0"}, {"probe 0", "probe x"},
        {"image 16 3", "image 0 3"}, {"image 16 3", "image 99999 3"}, {"classes", "klasses"},
        {"slot 1 0", "slot 0 0"}, {"slot 1 0", "slot 65 0"}, {"op conv", "op cnov"},
        {"relu6", "relu7"}, {"end\n", "end\nmore\n"}, {"end\n", "end"},
    };

    REQUIRE_OK(read_changed("threads 4", "threads 2"));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_eq(read_changed(wrong[i][0], wrong[i][1]), NAS_E_DATA, "%s", wrong[i][1]);
        cr_assert_eq(strncmp(err.message, "job:", 4), 0, "%s", err.message);
    }
}

Test(latency_job, a_network_that_makes_no_sense_is_refused)
{
    cr_assert_eq(read_changed("image 16 3", "image 16 4"), NAS_E_CONFIG);
    cr_assert_eq(read_changed("classes 10", "classes 11"), NAS_E_CONFIG);
}

Test(latency_job, a_request_arrives_as_it_was_and_others_are_refused)
{
    static const char *const wrong[] = {
        "", " ", "turn", "turn ", "turn x", "turn 0", "turn 0 0 0 0 0 0 0 0 0 0", "turn -1 0",
        "turn 0 0 0 0 0 0 0 0 0 0 0 0", "turn 0 0 0 0 0 0 0 0 0 0 0 ", "probe", "probe 1 0",
        "turn 0 1 0 0 0 0 0 0 0 0 0", "turn 0 0 4 0 0 0 0 0 0 0 0", "turn  0 0 0 0 0 0 0 0 0 0 0",
        "turn 99999999999999 0 0 0 0 0 0 0 0 0 0", "tur 0 0 0 0 0 0 0 0 0 0 0", "end",
    };
    nas_space *space = load("tiny");
    char text[NAS_REQUEST_SIZE];

    for (int kind = NAS_REQUEST_TURN; kind <= NAS_REQUEST_PROBE; kind++) {
        nas_request sent = {.kind = (nas_request_kind)kind, .number = 12345678901}, got = {0};

        for (int s = 0; s < space->count && kind != NAS_REQUEST_PROBE; s++)
            sent.choice[s] = space->slots[s].count - 1;
        const size_t size = nas_request__text(&sent, space->count, text);
        cr_assert(size == strlen(text) && text[size - 1] == '\n', "%s", text);
        text[size - 1] = '\0';
        REQUIRE_OK(nas_request__parse(&got, space, text, &err));
        cr_assert_arr_eq(&got, &sent, sizeof got);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(nas_request__parse(&(nas_request){0}, space, wrong[i], &err), NAS_E_DATA, "%s",
                     wrong[i]);
    nas_space_free(space);
}

Test(latency_deck, deals_every_candidate_equally_often_and_always_the_same)
{
    nas_space *space = load("tiny");
    nas_deck a, b;
    int seen[NAS_MAX_SLOTS][NAS_MAX_CANDIDATES] = {{0}};
    const int turns = 60; /* a multiple of 1, 4 and 5 candidates */

    REQUIRE_OK(nas_deck__init(&a, space, 3, &err));
    REQUIRE_OK(nas_deck__init(&b, space, 3, &err));
    for (int turn = 0; turn < turns; turn++) {
        nas_deck__deal(&a);
        nas_deck__deal(&b);
        cr_assert_arr_eq(a.choice, b.choice, (size_t)a.slots * sizeof *a.choice);
        for (int s = 0; s < a.slots; s++)
            seen[s][a.choice[s]]++;
    }
    for (int s = 0; s < space->count; s++)
        for (int c = 0; c < space->slots[s].count; c++)
            cr_assert_eq(seen[s][c], turns / space->slots[s].count);
    nas_deck__fini(&a);
    nas_deck__fini(&b);
    nas_space_free(space);
}

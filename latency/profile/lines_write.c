/* Writing the lines without a JSON library: devices have none. */
#include "latency/profile/lines.h"

void nas_line__put_facts(FILE *f, const nas_facts *facts)
{
    fprintf(f, "{\"onepath_profile\":1,\"device\":\"%s\",\"engine\":\"%s\",\"kernels\":\"%s\","
            "\"governor\":\"%s\",\"cores\":%d,\"threads\":%d,\"load\":%.4g,\"mhz\":%.6g,"
            "\"emulated\":%s}\n",
            facts->device, facts->engine, facts->kernels, facts->governor, facts->cores,
            facts->threads, facts->load, facts->mhz, facts->emulated ? "true" : "false");
}

static void put_choice(FILE *f, int slots, const int *choice)
{
    fputs("\"choice\":[", f);
    for (int s = 0; s < slots; s++)
        fprintf(f, s > 0 ? ",%d" : "%d", choice[s]);
    fputs("],", f);
}

/* 17 digits: what is read is what was measured, to the bit. */
void nas_line__put_answer(FILE *f, const nas_request *request, int slots,
                          const nas_answer *answer)
{
    const long long number = (long long)request->number;

    switch (request->kind) {
    case NAS_REQUEST_TURN:
        fprintf(f, "{\"turn\":%lld,", number);
        put_choice(f, slots, request->choice);
        fputs("\"ms\":[", f);
        for (int s = 0; s < slots; s++)
            fprintf(f, s > 0 ? ",%.17g" : "%.17g", answer->block_ms[s]);
        fputs("]}\n", f);
        break;
    case NAS_REQUEST_NETWORK:
        fprintf(f, "{\"network\":%lld,", number);
        put_choice(f, slots, request->choice);
        fprintf(f, "\"ms\":%.17g,\"disturbed\":%d}\n", answer->ms, answer->disturbed);
        break;
    case NAS_REQUEST_PROBE:
        fprintf(f, "{\"probe\":%lld,\"ms\":%.17g}\n", number, answer->ms);
        break;
    }
}

void nas_line__put_error(FILE *f, const char *text)
{
    char plain[400];

    snprintf(plain, sizeof plain, "%s", text);
    nas_facts__plain(plain);
    fprintf(f, "{\"error\":\"%s\"}\n", plain);
}

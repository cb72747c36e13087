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

/* 17 digits: what is read is what was measured, to the bit. */
void nas_line__put_turn(FILE *f, int64_t turn, int slots, const int *choice, const double *ms)
{
    fprintf(f, "{\"turn\":%lld,\"choice\":[", (long long)turn);
    for (int s = 0; s < slots; s++)
        fprintf(f, s > 0 ? ",%d" : "%d", choice[s]);
    fputs("],\"ms\":[", f);
    for (int s = 0; s < slots; s++)
        fprintf(f, s > 0 ? ",%.17g" : "%.17g", ms[s]);
    fputs("]}\n", f);
}

void nas_line__put_error(FILE *f, const char *text)
{
    char plain[400];

    snprintf(plain, sizeof plain, "%s", text);
    nas_facts__plain(plain);
    fprintf(f, "{\"error\":\"%s\"}\n", plain);
}

void nas_line__put_end(FILE *f)
{
    fputs("{\"end\":true}\n", f);
}

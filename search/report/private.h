/* Shared by the files of this folder: what a page is made from, and its sections.  Each section
 * writes itself and says so where there is nothing to show. */
#ifndef NAS_SEARCH_REPORT_PRIVATE_H
#define NAS_SEARCH_REPORT_PRIVATE_H

#include "nas/space/space.h"
#include "search/report/dashboard.h"
#include "search/report/html.h"
#include "search/report/report.h"
#include "search/report/serve.h"

typedef struct nas_report__run {
    const nas_store_run *about;
    json_t *config, *summary; /* objects; empty where the store has none */
    nas_store_judged *judged; /* networks that the run judged            */
    int judged_count;
} nas_report__run;

typedef struct nas_report__page {
    nas_store *store;
    nas_html html;
    nas_report__run *runs; /* [count], newest first; the first `drawn` have their own pictures */
    int count, drawn;
    int64_t now_ms; /* of a page that lives; 0: a file, which must not tell the time */
} nas_report__page;

/** Fills in the runs: those of `all` (borrowed) that are among `ids`, or (NULL) all.  To be
 * undone by _fini, also after a failure. */
nas_status nas_report__page_load(nas_report__page *page, const nas_store_runs *all,
                                 const int64_t *ids, int count, nas_err *err);
void nas_report__page_fini(nas_report__page *page);

/** Member of a run's summary, else of its configuration; NAN, or "", if it has none. */
double nas_report__number(const nas_report__run *run, const char *key);
const char *nas_report__string(const nas_report__run *run, const char *key);
/** Wall-clock seconds that the run tells, or NAN. */
double nas_report__seconds(const nas_report__run *run);

/** A network and what each of its blocks costs. */
typedef struct nas_report__network {
    nas_arch *arch;
    bool by_latency;           /* else no table knows every block */
    double ms[NAS_MAX_BLOCKS]; /* NAN: not known                  */
    nas_op_cost op[NAS_MAX_BLOCKS];
} nas_report__network;
/** The network that the run ended with, with latencies by the run's table: *out is yours, NULL if
 * there is none to be read. */
nas_status nas_report__network_find(nas_report__page *page, const nas_report__run *run,
                                    nas_report__network **out, nas_err *err);
void nas_report__network_free(nas_report__network *network);
/** "done", "killed", ...; on a page that lives also since when a run that runs has been silent. */
void nas_report__state_text(const nas_report__page *page, const nas_store_run *about,
                            char out[64]);
/** "5x5 e6", "skip", "conv 3x3", ...: an operation in few letters. */
void nas_report__op_text(const nas_op_spec *op, char out[32]);

/** <details> under a picture, around its table. */
void nas_report__details_begin(nas_html *html, const char *what);
void nas_report__details_end(nas_html *html);
/** A paragraph that says that there is nothing to draw, and why. */
void nas_report__nothing(nas_html *html, const char *why);

/* Sections over all runs. */
void nas_report__overview(nas_report__page *page);
nas_status nas_report__pareto(nas_report__page *page, nas_err *err);
void nas_report__cost(nas_report__page *page);
/* Sections of one run. */
/** Nothing at all for a run that measured no network whole. */
nas_status nas_report__verified(nas_report__page *page, const nas_report__run *run, nas_err *err);
/** Nothing at all for a run without a policy. */
void nas_report__policy(nas_report__page *page, const nas_report__run *run);
void nas_report__limits(nas_report__page *page, const nas_report__run *run);
nas_status nas_report__curves(nas_report__page *page, const nas_report__run *run, nas_err *err);
nas_status nas_report__heat(nas_report__page *page, const nas_report__run *run, nas_err *err);
nas_status nas_report__drawing(nas_report__page *page, const nas_report__run *run, nas_err *err);
/** All of them, in order. */
nas_status nas_report__run_sections(nas_report__page *page, const nas_report__run *run,
                                    nas_err *err);
/* Of two runs. */
/** The first network of those drawn beside the first that differs from it (if none does: beside
 * the second one); nothing at all if there are no two. */
nas_status nas_report__difference(nas_report__page *page, nas_err *err);

/** Networks as strips, a box a block.  Strips that are to be compared share one scale. */
typedef struct nas_report__scale {
    bool by_latency; /* heights are milliseconds; else multiply-accumulates */
    double most;     /* of the tallest box                                  */
} nas_report__scale;
/** The largest scale that shows both networks; `b` may be NULL. */
nas_report__scale nas_report__scale_of(const nas_report__network *a, const nas_report__network *b);
/** The legend of such strips. */
void nas_report__strip_legend(nas_html *html);
/** The strip; boxes of `marked` (NULL: none) have a frame. */
void nas_report__strip(nas_html *html, const nas_report__network *network,
                       nas_report__scale scale, const bool *marked, const char *title);
/** What it all costs, "1.2 ms by the run's table" or "34 M multiply-accumulates". */
void nas_report__total(const nas_report__network *network, bool by_latency, char out[64]);

/** A socket that listens as the options say; `*port` is the port that it got. */
nas_status nas_report__listen(const nas_serve_options *o, int *fd, int *port, nas_err *err);
/** The text of /metrics; yours. */
nas_status nas_report__metrics(nas_dashboard *dashboard, char **text, nas_err *err);

/** The style sheet, and a script that defines show(root): it wires up a part of a page. */
extern const char nas_report__style[], nas_report__script[];
/** The dashboard's: a page without data, its own style, and the script that fills it. */
extern const char nas_report__frame[], nas_report__live_style[], nas_report__live_script[];

#endif

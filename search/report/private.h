/* Shared by the files of this folder: what a page is made from, and its sections.  Each section
 * writes itself and says so where there is nothing to show. */
#ifndef NAS_SEARCH_REPORT_PRIVATE_H
#define NAS_SEARCH_REPORT_PRIVATE_H

#include "nas/space/space.h"
#include "search/report/html.h"
#include "search/report/report.h"

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
} nas_report__page;

/** Member of a run's summary, else of its configuration; NAN, or "", if it has none. */
double nas_report__number(const nas_report__run *run, const char *key);
const char *nas_report__string(const nas_report__run *run, const char *key);
/** Wall-clock seconds that the run tells, or NAN. */
double nas_report__seconds(const nas_report__run *run);
/** The network that the run ended with: *out is yours, NULL if there is none to be read. */
nas_status nas_report__network(nas_report__page *page, const nas_report__run *run, nas_arch **out,
                               nas_err *err);
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
nas_status nas_report__curves(nas_report__page *page, const nas_report__run *run, nas_err *err);
nas_status nas_report__heat(nas_report__page *page, const nas_report__run *run, nas_err *err);
nas_status nas_report__drawing(nas_report__page *page, const nas_report__run *run, nas_err *err);

extern const char nas_report__style[], nas_report__script[];

#endif

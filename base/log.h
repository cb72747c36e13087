/* Messages for people, on stderr.  Results never go here. */
#ifndef NAS_BASE_LOG_H
#define NAS_BASE_LOG_H

typedef enum nas_log_level {
    NAS_LOG_ERROR,
    NAS_LOG_WARN,
    NAS_LOG_INFO,
    NAS_LOG_DEBUG
} nas_log_level;

/** Default NAS_LOG_INFO; --quiet sets WARN, -v sets DEBUG. */
void nas_log_set_level(nas_log_level level);
nas_log_level nas_log_get_level(void);
/** One line "nas: [warning: ]text".  Control characters of the text are shown
 * escaped, so that a hostile name cannot write to the terminal. */
void nas_log(nas_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Copies `in` to `out` with control characters and invalid UTF-8 escaped. */
void nas_text_escape(const char *in, char *out, int size);

#endif

/* nas serve in the background of a test, over the test's own store. */
#ifndef NAS_TESTS_CLI_SERVER_H
#define NAS_TESTS_CLI_SERVER_H

#include <sys/types.h>

extern pid_t server_pid; /* 0: it does not run */
extern int server_port;
extern char server_token[80];

/** Starts it on any free port and waits for the line that says which. */
void server_start(void);
/** The same with a limit for open pages (--view-minutes). */
void server_start_for(const char *view_minutes);
/** It was asked to end: it must do so soon, and with 0. */
void server_await_end(void);
/** Waits for its end, and returns its exit code. */
int server_await_code(void);
/** Asks it to, and waits. */
void server_stop(void);
/** For .fini: ends it in any way, if it still runs. */
void server_kill(void);

#endif

/* Handlers do what a handler may do: set a flag, write(2), _exit(2). */
#include "cli/signals.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t received;
static bool is_patient; /* set before the handlers are */

static void on_signal(int number)
{
    static const char once[] = "\nnas: stopping at the next safe point; once more to stop now\n";
    static const char patient[] = "\nnas: stopping at the next safe point\n";

    if (received != 0 && is_patient)
        return;
    if (received != 0)
        _exit(128 + number);
    received = number;
    /* nothing to be done if stderr is closed */
    const ssize_t ignored = is_patient ? write(STDERR_FILENO, patient, sizeof patient - 1)
                                       : write(STDERR_FILENO, once, sizeof once - 1);
    (void)ignored;
}

void cli_signals_init(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

void cli_signals_catch(bool patient)
{
    struct sigaction action;

    is_patient = patient;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (patient)
        sigaction(SIGUSR1, &action, NULL);
}

bool cli_stop_requested(void)
{
    return received != 0;
}

static bool nothing_kept;

void cli_keeps_nothing(void)
{
    nothing_kept = true;
}

bool cli_kept_nothing(void)
{
    return nothing_kept;
}

int cli_signal_exit_code(void)
{
    return received != 0 ? 128 + received : 0;
}

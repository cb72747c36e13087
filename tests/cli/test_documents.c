/* Manual pages, completion scripts and their installation: they agree with the help, and the
 * programs that read them take them. */
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cli/nas.h"
#include "tests/support/tools.h"

TestSuite(cli_documents, .init = nas_begin, .fini = nas_end, .timeout = 120);

/* Calls `visit` with each command's name and what `nas help` says of it. */
static void each_command(void (*visit)(const char *name, const char *help))
{
    char *list = strdup(NAS("help", "--commands")->out), *next;
    int count = 0;

    for (char *name = list; *name != '\0'; name = next, count++) {
        char first[32] = "", second[32] = "";
        next = strchr(name, '\n') + 1;
        next[-1] = '\0';
        sscanf(name, "%31s %31s", first, second);
        char *help = strdup((*second ? NAS("help", first, second) : NAS("help", first))->out);
        visit(name, help);
        free(help);
    }
    cr_assert_geq(count, 30);
    free(list);
}

/* Copies the next option of a help text, "--out", and moves on; false at the end. */
static bool next_option(const char **help, char option[64])
{
    const char *at = strstr(*help, "\n  --");

    if (at == NULL)
        return false;
    snprintf(option, 64, "%.*s", (int)strcspn(at + 3, " \n"), at + 3);
    *help = at + 3;
    return true;
}

/* ---- manual pages ---- */

static int occurrences(const char *text, const char *part)
{
    int count = 0;

    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

static const char *page_of(const char *name)
{
    char first[32] = "", second[32] = "";

    sscanf(name, "%31s %31s", first, second);
    return (*second ? NAS("help", "--man", first, second) : NAS("help", "--man", first))->out;
}

static void expect_page(const char *name, const char *help)
{
    const char *page = page_of(name), *at = help;
    char option[64], roff[160];
    int count = 0;

    for (; next_option(&at, option); count++) {
        char *to = roff + sprintf(roff, ".TP\n\\fB");
        for (const char *c = option; *c != '\0'; c++)
            to += sprintf(to, *c == '-' ? "\\-" : "%c", *c);
        strcpy(to, "\\fR");
        cr_assert_eq(occurrences(page, roff), 1, "%s: no option %s in\n%s", name, option, page);
    }
    cr_assert_eq(occurrences(page, ".TP\n"), count, "%s", name);
}

Test(cli_documents, every_manual_page_has_the_options_of_the_help)
{
    each_command(expect_page);
}

Test(cli_documents, the_first_page_names_every_other)
{
    const char *page = NAS("help", "--man")->out;

    cr_assert_not_null(strstr(page, "\\fBnas\\-search\\fR(1)\n"));
    cr_assert_not_null(strstr(page, "\\fBnas\\-data\\-import\\fR(1)\n"));
    cr_assert_not_null(strstr(page, "no architecture meets the constraint"));
    expect_exit(NAS("help", "--man", "serach"), 2, "did you mean 'nas search'?");
}

/* Writes every page to the test's folder as page-<n>.1. */
static int written;
static void write_page(const char *name, const char *help)
{
    char file[32];

    snprintf(file, sizeof file, "page-%d.1", written++);
    nas_put(file, page_of(name));
}

static void write_pages(void)
{
    nas_put("page-nas.1", NAS("help", "--man")->out);
    each_command(write_page);
}

Test(cli_documents, mandoc_has_no_complaint)
{
    need_tool("mandoc");
    write_pages();
    const process_result *says =
        RUN_TOOL("sh", "-c", "mandoc -T lint -W error \"$0\"/page-*.1", nas_file("."));
    cr_assert_eq(says->code, 0, "%s", says->out);
}

Test(cli_documents, man_shows_a_page_without_a_warning)
{
    need_tool("man");
    const char *page = nas_put("nas-data-import.1", NAS("help", "--man", "data", "import")->out);
    const process_result *shown = RUN_TOOL("env", "MANPAGER=cat", "MANWIDTH=80", "LC_ALL=C.UTF-8",
                                           "man", "--warnings", "-l", page);
    cr_assert_eq(shown->code, 0);
    cr_assert_str_empty(shown->err);
    cr_assert_not_null(strstr(shown->out, "nas-data-import - pack image folders"), "%s",
                       shown->out);
    cr_assert_not_null(strstr(shown->out, "--skip-bad"));
}

/* ---- completion ---- */

/* What bash's function offers for the words up to NULL, the last of which is being typed. */
static const char *offers(const char *words)
{
    static const char script[] =
        "source \"$0\"; eval \"COMP_WORDS=($1)\"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _nas; "
        "echo \" ${COMPREPLY[*]} \"";
    const process_result *says =
        RUN_TOOL("bash", "--norc", "-c", script, nas_file("nas.bash"), words);

    cr_assert_eq(says->code, 0, "%s", says->err);
    cr_assert_str_empty(says->err);
    return says->out;
}

static void write_bash(void)
{
    nas_put("nas.bash", NAS("completion", "bash")->out);
}

static void expect_options(const char *name, const char *help)
{
    char words[64], option[80], text[64];
    int count = 0;

    snprintf(words, sizeof words, "nas %s --", name);
    const char *list = offers(words);
    while (next_option(&help, text)) {
        snprintf(option, sizeof option, " %s ", text);
        cr_assert_not_null(strstr(list, option), "%s: no %s in %s", name, text, list);
        count++;
    }
    cr_assert_eq(occurrences(list, " --"), count + 1, "%s: %s", name, list); /* and --help */
}

Test(cli_documents, bash_is_offered_the_options_of_the_help)
{
    write_bash();
    each_command(expect_options);
}

Test(cli_documents, bash_is_offered_commands_values_and_files)
{
    static const struct {
        const char *words, *offers;
    } cases[] = {
        {"nas sea", " search "},
        {"nas data ''", " import synth info "},
        {"nas help da", " data "},
        {"nas help data im", " import "},
        {"nas bench o", " ops "},
        {"nas search --method re", " reinforce "},
        {"nas search --method = ra", " random "},
        {"nas search --color = ''", " auto always never "},
        {"nas search --space tin", " tiny "},
        {"nas space show proxyless-im", " proxyless-imagenet "},
        {"nas completion ''", " bash zsh fish "},
        {"nas search --epochs ''", "  "},
        {"nas xyzzy ''", "  "},
        {"nas bench --m", " --mode --memory "},
    };
    char words[400], expected[400];

    write_bash();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(expected, sizeof expected, "%s\n", cases[i].offers);
        const char *list = offers(cases[i].words);
        cr_assert_str_eq(list, expected, "%s: %s", cases[i].words, list);
    }
    nas_put("a b.nasd", "");
    snprintf(words, sizeof words, "nas eval --data \"%s\"", nas_file("a"));
    snprintf(expected, sizeof expected, " %s \n", nas_file("a b.nasd"));
    cr_assert_str_eq(offers(words), expected);
}

/* A person at a terminal: types all of this, tabulators too, and reads what appears. */
static const char *typed_into(const char *const *shell, const char *text)
{
    static char seen[16384];
    size_t size = 0;
    int terminal;

    const pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        setenv("TERM", "dumb", 1);
        setenv("INPUTRC", "/dev/null", 1);
        execvp(shell[0], (char *const *)shell);
        _exit(127);
    }
    cr_assert_eq(write(terminal, text, strlen(text)), (ssize_t)strlen(text));
    for (ssize_t got;
         size < sizeof seen - 1 && (got = read(terminal, seen + size, sizeof seen - 1 - size)) > 0;)
        size += (size_t)got;
    seen[size] = '\0';
    waitpid(pid, NULL, 0);
    close(terminal);
    return seen;
}

Test(cli_documents, bash_completes_on_a_terminal)
{
    char text[600];

    write_bash();
    snprintf(text, sizeof text,
             "source %s\nnas() { echo \"<$*>\"; }\nnas sea\t--meth\treinf\t\nexit\n",
             nas_file("nas.bash"));
    const char *seen =
        typed_into((const char *const[]){"bash", "--norc", "--noprofile", "-i", NULL}, text);
    cr_assert_not_null(strstr(seen, "<search --method reinforce>"), "%s", seen);
}

Test(cli_documents, zsh_completes_on_a_terminal)
{
    char text[600];

    need_tool("zsh");
    nas_put("_nas", NAS("completion", "zsh")->out);
    snprintf(text, sizeof text,
             "fpath=(%s $fpath); autoload -Uz compinit; compinit -u -D\n"
             "nas() { echo \"<$*>\" }\nnas data im\t--ski\t\nnas sea\t--meth\treinf\t\nexit\n",
             nas_file("."));
    const char *seen = typed_into((const char *const[]){"zsh", "-f", "-i", NULL}, text);
    cr_assert_not_null(strstr(seen, "<data import --skip-bad>"), "%s", seen);
    cr_assert_not_null(strstr(seen, "<search --method=reinforce>"), "%s", seen);
}

Test(cli_documents, fish_completes)
{
    static const struct {
        const char *typed, *offers;
    } cases[] = {
        {"nas sea", "search\t"},
        {"nas data im", "import\t"},
        {"nas data import --ou", "--out\t"},
        {"nas search --method rei", "reinforce\t"},
        {"nas bench --mo", "--mode\t"},
        {"nas space show proxyless-im", "proxyless-imagenet"},
        {"nas help data sy", "synth\t"},
        {"nas completion ba", "bash"},
    };

    need_tool("fish");
    nas_put("nas.fish", NAS("completion", "fish")->out);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const process_result *says =
            RUN_TOOL("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]",
                     nas_file("nas.fish"), cases[i].typed);
        cr_assert_eq(says->code, 0, "%s", says->err);
        cr_assert_eq(strncmp(says->out, cases[i].offers, strlen(cases[i].offers)), 0, "%s: %s",
                     cases[i].typed, says->out);
        cr_assert_eq(occurrences(says->out, "\n"), 1, "%s: %s", cases[i].typed, says->out);
    }
}

Test(cli_documents, a_shell_that_is_unknown_is_named)
{
    expect_exit(NAS("completion", "tcsh"), 2, "bash, zsh and fish");
    expect_exit(NAS("completion"), 2, "usage: nas completion bash|zsh|fish");
}

/* ---- installation ---- */

Test(cli_documents, installation_brings_program_pages_and_completion)
{
    static const char *const files[] = {"bin/nas",
                                        "share/man/man1/nas.1",
                                        "share/man/man1/nas-search.1",
                                        "share/man/man1/nas-data-import.1",
                                        "share/bash-completion/completions/nas",
                                        "share/zsh/site-functions/_nas",
                                        "share/fish/vendor_completions.d/nas.fish"};
    char path[400];

    const process_result *says = RUN_TOOL("cmake", "--install", NAS_BINARY_DIR, "--component",
                                          "program", "--prefix", nas_file("root"));
    cr_assert_eq(says->code, 0, "%s", says->err);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", nas_file("root"), files[i]);
        cr_assert_eq(access(path, R_OK), 0, "%s is missing", files[i]);
    }
    snprintf(path, sizeof path, "%s/bin/nas", nas_file("root"));
    cr_assert_eq(RUN_TOOL(path, "--version")->code, 0);
    snprintf(path, sizeof path, "%s/share/bash-completion/completions/nas", nas_file("root"));
    FILE *file = fopen(path, "r");
    static char installed[1 << 16];
    installed[fread(installed, 1, sizeof installed - 1, file)] = '\0';
    fclose(file);
    cr_assert_str_eq(installed, NAS("completion", "bash")->out, "not of this program");
}

/* Manual pages from the tables: nas(1), and one page a command. */
#include <ctype.h>
#include <string.h>

#include "cli/command.h"
#include "cli/version.h"

/* Text in roff: a backslash or dash is written as what it looks like, and a line never begins
 * with a control character. */
static void put_text(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        if (*text == '\n' && (text[1] == '.' || text[1] == '\''))
            fputs("\\&", out);
    }
}

/* "nas-data-import": the page of a command; in capitals for the head of the page. */
static void put_page(FILE *out, const char *name, bool capitals)
{
    fputs(capitals ? "NAS" : "nas", out);
    if (*name != '\0')
        fputs("\\-", out);
    for (; *name != '\0'; name++)
        if (*name == ' ')
            fputs("\\-", out);
        else
            fputc(capitals ? toupper((unsigned char)*name) : *name, out);
}

static void put_head(FILE *out, const char *name, const char *summary)
{
    fputs(".\\\" Made by `nas help --man`.\n.TH ", out);
    put_page(out, name, true);
    fprintf(out, " 1 \"\" \"OnePath %s\" \"User Commands\"\n.SH NAME\n", NAS_VERSION);
    put_page(out, name, false);
    fputs(" \\- ", out);
    put_text(out, summary);
    fputs("\n.SH SYNOPSIS\n", out);
}

static void put_options(FILE *out, const char *title, const nas_option *const *tables)
{
    fprintf(out, ".SH %s\n", title);
    for (int t = 0; tables[t] != NULL; t++)
        for (const nas_option *o = tables[t]; o->flag != NULL; o++) {
            char text[256];

            fputs(".TP\n\\fB", out);
            put_text(out, o->flag);
            fputs("\\fR", out);
            if (*nas_option_value(o) != '\0') {
                fputs(" \\fI", out);
                put_text(out, nas_option_value(o));
                fputs("\\fR", out);
            }
            fputc('\n', out);
            nas_option_describe(o, text, sizeof text);
            put_text(out, text);
            fputc('\n', out);
        }
}

static void put_exit_codes(FILE *out)
{
    fputs(".SH EXIT STATUS\n", out);
    put_text(out, cli_exit_codes);
}

static void put_command(FILE *out, const cli_command *command)
{
    const nas_option *common[] = {cli_common_options(), NULL};
    const nas_option *own[CLI_MAX_TABLES + 1] = {0};

    put_head(out, command->name, command->summary);
    fputs("\\fBnas ", out);
    put_text(out, command->name);
    fputs("\\fR", out);
    if (command->arguments != NULL) {
        fputs(" \\fI", out);
        put_text(out, command->arguments);
        fputs("\\fR", out);
    }
    fputs(" [\\fIOPTIONS\\fR]\n", out);
    memcpy(own, command->tables, sizeof command->tables);
    if (own[0] != NULL)
        put_options(out, "OPTIONS", own);
    put_options(out, "COMMON OPTIONS", common);
    put_exit_codes(out);
    if (command->example != NULL) {
        fputs(".SH EXAMPLE\n.EX\nnas ", out);
        put_text(out, command->example);
        fputs("\n.EE\n", out);
    }
    fputs(".SH SEE ALSO\n.BR nas (1)\n", out);
}

static void put_overview(FILE *out)
{
    const nas_option *common[] = {cli_common_options(), NULL};

    put_head(out, "", "finds the network that fits your images and your device");
    fputs("\\fBnas\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n.br\n\\fBnas help\\fR [\\fICOMMAND\\fR]\n"
          ".br\n\\fBnas \\-\\-version\\fR\n.SH COMMANDS\n",
          out);
    for (int i = 0; cli_commands[i] != NULL; i++) {
        fputs(".TP\n\\fB", out);
        put_page(out, cli_commands[i]->name, false);
        fputs("\\fR(1)\n", out);
        put_text(out, cli_commands[i]->summary);
        fputc('\n', out);
    }
    put_options(out, "COMMON OPTIONS", common);
    put_exit_codes(out);
    fputs(".SH ENVIRONMENT\n.TP\n\\fBNAS_STORE\\fR\nwhere runs are kept, if \\-\\-store is not "
          "given\n"
          ".TP\n\\fBNO_COLOR\\fR\nno colours\n"
          ".TP\n\\fBNAS_KERNELS\\fR\nthe instruction set to use, as `nas doctor` lists them\n",
          out);
}

void cli_man(FILE *out, const cli_command *command)
{
    if (command != NULL)
        put_command(out, command);
    else
        put_overview(out);
}

/* main.c: the command line of `grapnel`. */
#include "server.h"

#include <grapnel/module.h>

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: grapnel --config FILE [--check]\n"
    "\n"
    "An XMPP server. Stays in the foreground and logs to stderr.\n"
    "\n"
    "  --config FILE   the configuration (an ini file)\n"
    "  --check         judge configuration, modules and the data's version, then exit: 0 or 1\n"
    "  --options       every option of the core with its default, as a commented ini file; with\n"
    "                  --config those of the modules that FILE enables as well\n"
    "  --version       print the version\n"
    "  --help          this text\n"
    "\n"
    "Signals: SIGHUP reloads configuration and modules, SIGTERM and SIGINT stop in order.\n"
    "Accounts, sessions, modules: grapnelctl --config FILE help\n";

static int wrong(const char *what, const char *word)
{
    fprintf(stderr, "grapnel: %s%s\n%s", what, word, usage);
    return 2;
}

int main(int argc, char **argv)
{
    const char *config = NULL;
    bool check = false, options = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            config = argv[++i];
        } else if (strcmp(argv[i], "--check") == 0) {
            check = true;
        } else if (strcmp(argv[i], "--options") == 0) {
            options = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            puts("grapnel " GR_VERSION_TEXT);
            return 0;
        } else if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else {
            return wrong(strcmp(argv[i], "--config") == 0 ? "a file is missing behind "
                         : argv[i][0] == '-'              ? "unknown option "
                                                          : "nothing is expected like ", argv[i]);
        }
    }
    if (options)
        return server_print_options(config);
    if (config == NULL)
        return wrong("--config FILE is needed", "");
    return check ? server_check(config) : server_run(config);
}

/* ctl/grapnelctl.c: the control program: sends a command line to the server's Unix socket and prints
 * the rows that come back. It knows no commands of the server, which tells which there are; its own
 * are those for authors of modules, module_*.c. */
#include "ctl/ctl.h"

#include <grapnel/module.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const char usage[] =
    "usage: grapnelctl [--config FILE | --socket PATH] [--timeout SECONDS] [--json] COMMAND ...\n"
    "\n"
    "  --config FILE       the server's configuration: tells where its socket is\n"
    "                      (default: /etc/grapnel/grapnel.ini)\n"
    "  --socket PATH       the socket itself\n"
    "  --timeout SECONDS   give up when the server is silent for so long; 0: never (default: 60)\n"
    "  --json              print the result as JSON\n"
    "  --version           print the version\n"
    "  --help              this text\n"
    "\n"
    "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 the server was silent.\n"
    "\n"
    "The commands of the running server, with those of its modules: grapnelctl ... help\n"
    "The most common ones:\n"
    "  user add JID (asks for the password; or --password-stdin, --password TEXT)\n"
    "  user password JID    user delete JID    user list DOMAIN\n"
    "  reload    modules    hooks DOMAIN    sessions    status    stop\n"
    "  module load NAME    module unload NAME    module reload [NAME]\n"
    "\n"
    "For authors of modules (the first two need no server; each has a --help):\n"
    "  module new NAME --hook|--iq|--provider|--command   write a module that builds, with its test\n"
    "  module check FILE.so   judge a file without running its code\n"
    "  module watch NAME|FILE.so   check and reload it whenever its file has been written\n";

int ctl_fail(const char *what, const char *why)
{
    size_t len = strlen(what);

    len -= len > 0 && what[len - 1] == '\n'; /* several sentences, a line each */
    fprintf(stderr, "grapnelctl: %.*s%s%s\n", (int)len, what, *why != '\0' ? ": " : "", why);
    return 1;
}

/* --- command line --- */

static void add_word(struct buf *b, const char *word)
{
    buf_append(b, word, strlen(word) + 1);
}

#define SECRET_SIZE 2048

/* A line; from a terminal it is asked for, and not shown. False: nothing came, or it is too long. */
static bool read_secret(const char *question, char line[SECRET_SIZE])
{
    struct termios before, quiet;
    bool ask = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;

    if (ask) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
        fputs(question, stderr);
    }
    bool came = fgets(line, SECRET_SIZE, stdin) != NULL;
    if (ask) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (!came || (strlen(line) == SECRET_SIZE - 1 && line[SECRET_SIZE - 2] != '\n'))
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    return true;
}

/* NULL, or why there is none. Whoever types sees nothing, so twice. */
static const char *read_new_secret(char line[SECRET_SIZE])
{
    char again[SECRET_SIZE];
    const char *why = NULL;

    if (!read_secret("password: ", line) || *line == '\0')
        return "nothing came";
    if (!isatty(STDIN_FILENO))
        return NULL;
    if (!read_secret("the same again: ", again) || strcmp(line, again) != 0)
        why = "the two are different";
    gr_wipe(again, sizeof(again));
    return why;
}

/* "--password-stdin": the option's value is a line of standard input. NULL, or what went wrong. */
static const char *add_stdin(struct buf *request, const char *option)
{
    char line[SECRET_SIZE];
    const char *why = read_new_secret(line);

    if (why == NULL) {
        char *name = gr_strndup(option, strlen(option) - strlen("-stdin"));
        add_word(request, name);
        add_word(request, line);
        gr_free(name);
    }
    gr_wipe(line, sizeof(line));
    return why;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), t = strlen(tail);

    return n >= t && strcmp(s + n - t, tail) == 0;
}

struct call {
    struct server server;
    struct buf request; /* may hold a password: wiped */
};

/* "user add" and "user password" want one; on a terminal we ask for it. */
static bool lacks_password(const struct buf *request)
{
    static const char add[] = "user\0add", change[] = "user\0password";
    const char *p = buf_data(request), *end = p + buf_len(request);

    if ((buf_len(request) < sizeof(add) || memcmp(p, add, sizeof(add)) != 0) &&
        (buf_len(request) < sizeof(change) || memcmp(p, change, sizeof(change)) != 0))
        return false;
    for (; p < end; p += strlen(p) + 1)
        if (strcmp(p, "--password") == 0)
            return false;
    return true;
}

/* Commands that are carried out here; -1: it is none of them. */
static int local(struct server *s, int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[0], "module") != 0)
        return -1;
    if (strcmp(argv[1], "new") == 0)
        return module_new(argc - 1, argv + 1);
    if (strcmp(argv[1], "check") == 0)
        return module_check(argc - 1, argv + 1);
    if (strcmp(argv[1], "watch") == 0)
        return module_watch(s, argc - 1, argv + 1);
    return -1;
}

#define TIMEOUT_MAX 1000000 /* seconds */

static bool read_timeout(long *seconds, const char *text)
{
    char *end;

    *seconds = strtol(text, &end, 10);
    return end != text && *end == '\0' && *seconds >= 0 && *seconds <= TIMEOUT_MAX;
}

/* An option that says whom to ask, and how: the number of its words. 0: it is none, -1: its value is
 * wrong (said on stderr). */
static int take_option(struct server *s, int argc, char **argv)
{
    if (strcmp(argv[0], "--json") == 0) {
        s->json = true;
        return 1;
    }
    if (argc < 2)
        return 0;
    if (strcmp(argv[0], "--config") == 0) {
        s->config = argv[1];
        return 2;
    }
    if (strcmp(argv[0], "--socket") == 0) {
        gr_free(s->path);
        s->path = gr_strdup(argv[1]);
        return 2;
    }
    if (strcmp(argv[0], "--timeout") == 0) {
        if (read_timeout(&s->timeout, argv[1]))
            return 2;
        fprintf(stderr, "grapnelctl: --timeout %s: write seconds, 0 to %d\n", argv[1], TIMEOUT_MAX);
        return -1;
    }
    return 0;
}

/* -1: go on, else the exit status. */
static int parse(int argc, char **argv, struct call *c)
{
    for (int i = 1; i < argc; i++) {
        bool first = buf_len(&c->request) == 0;
        int rc = first ? local(&c->server, argc - i, argv + i) : -1;
        int words = rc < 0 ? take_option(&c->server, argc - i, argv + i) : 0;

        if (rc >= 0 || words < 0)
            return rc >= 0 ? rc : 2;
        if (words > 0) {
            i += words - 1;
        } else if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (first && strcmp(argv[i], "--version") == 0) {
            puts("grapnelctl " GR_VERSION_TEXT);
            return 0;
        } else if (strncmp(argv[i], "--", 2) == 0 && ends_with(argv[i], "-stdin")) {
            const char *why = add_stdin(&c->request, argv[i]);
            if (why != NULL)
                return ctl_fail(argv[i], why);
        } else if (first && argv[i][0] == '-') {
            fprintf(stderr, "grapnelctl: %s: unknown option, or its value is missing\n%s", argv[i],
                    usage);
            return 2;
        } else {
            bool option = strncmp(argv[i], "--", 2) == 0 && i + 1 < argc;
            if (*argv[i] == '\0' || (option && *argv[i + 1] == '\0'))
                return ctl_fail(argv[i], "an empty value cannot be sent");
            add_word(&c->request, argv[i]);
            if (option) /* its value, whatever it looks like */
                add_word(&c->request, argv[++i]);
        }
    }
    if (buf_len(&c->request) == 0) {
        fputs(usage, stderr);
        return 2;
    }
    if (lacks_password(&c->request) && isatty(STDIN_FILENO)) {
        const char *why = add_stdin(&c->request, "--password-stdin");
        if (why != NULL)
            return ctl_fail("a password is needed", why);
    }
    return -1;
}

static int ask(struct call *c)
{
    struct buf answer = { 0 };
    int rc = server_ask(&c->server, &c->request, &answer);

    if (rc == 0)
        rc = print_answer(&answer, c->server.json, buf_data(&c->request));
    buf_fini(&answer);
    return rc;
}

int main(int argc, char **argv)
{
    struct call c = { .server = { .config = CTL_CONFIG, .timeout = CTL_TIMEOUT } };
    int rc = parse(argc, argv, &c);

    if (rc < 0)
        rc = ask(&c);
    if (c.request.mem != NULL)
        gr_wipe(c.request.mem, c.request.cap);
    buf_fini(&c.request);
    gr_free(c.server.path);
    return rc;
}

/* ctl/grapnelctl.c: the control program: sends a command line to the server's Unix socket and prints
 * the rows that come back. It knows no commands: the server tells which there are. */
#include "base/buf.h"
#include "conf/conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

static const char usage[] =
    "usage: grapnelctl [--config FILE | --socket PATH] [--json] COMMAND ...\n"
    "\n"
    "  --config FILE   the server's configuration: tells where its socket is\n"
    "                  (default: /etc/grapnel/grapnel.ini)\n"
    "  --socket PATH   the socket itself\n"
    "  --json          print the result as JSON\n"
    "\n"
    "The commands of the running server, with those of its modules: grapnelctl ... help\n"
    "The most common ones:\n"
    "  user add JID (asks for the password; or --password-stdin, --password TEXT)\n"
    "  user password JID    user delete JID    user list DOMAIN\n"
    "  reload    modules    hooks DOMAIN    sessions    status    stop\n";

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "grapnelctl: %s%s%s\n", what, *why != '\0' ? ": " : "", why);
    return 1;
}

/* --- asking --- */

static int connect_to(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (strlen(path) >= sizeof(a.sun_path)) {
        errno = ENAMETOOLONG;
    } else {
        memcpy(a.sun_path, path, strlen(path) + 1);
        if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
            return fd;
    }
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

static bool send_all(int fd, const struct buf *b)
{
    const char *p = buf_data(b);
    size_t left = buf_len(b);

    while (left > 0) {
        ssize_t n = write(fd, p, left);
        if (n <= 0 && errno != EINTR)
            return false;
        if (n > 0) {
            p += n;
            left -= (size_t)n;
        }
    }
    return true;
}

static void read_all(int fd, struct buf *b)
{
    for (;;) {
        char *to = buf_reserve(b, 65536);
        ssize_t n = read(fd, to, 65536);
        if (n == 0 || (n < 0 && errno != EINTR))
            return;
        if (n > 0)
            buf_produced(b, (size_t)n);
    }
}

/* --- printing --- */

static void print_json_text(const char *s)
{
    putchar('"');
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            printf("\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            printf("\\u%04x", *s);
        else
            putchar(*s);
    }
    putchar('"');
}

/* Items of the answer: "row", "s:name=value", "n:name=value". */
static void print_json(const char *p, const char *end)
{
    bool any = false, field = false;

    putchar('[');
    for (; p < end; p += strlen(p) + 1) {
        if (strcmp(p, "row") == 0) {
            fputs(any ? "}, {" : "{", stdout);
            any = true;
            field = false;
            continue;
        }
        const char *eq = strchr(p, '=');
        if (eq == NULL)
            continue;
        char *name = gr_strndup(p + 2, (size_t)(eq - p - 2));
        fputs(field ? ", " : "", stdout);
        print_json_text(name);
        fputs(": ", stdout);
        if (p[0] == 'n')
            fputs(eq + 1, stdout);
        else
            print_json_text(eq + 1);
        field = true;
        gr_free(name);
    }
    puts(any ? "}]" : "]");
}

#define COLUMNS_MAX 16

static size_t count_rows(const char *p, const char *end)
{
    size_t n = 0;

    for (; p < end; p += strlen(p) + 1)
        n += strcmp(p, "row") == 0;
    return n;
}

static void print_single(const char *p, const char *end)
{
    for (; p < end; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (eq != NULL)
            printf("%-18.*s %s\n", (int)(eq - p - 2), p + 2, eq + 1);
    }
}

struct layout {
    int width[COLUMNS_MAX];
    int columns;
};

static struct layout measure(const char *start, const char *end)
{
    struct layout l = { .columns = 0 };
    int column = 0;

    for (const char *p = start; p < end; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (strcmp(p, "row") == 0 || eq == NULL || column >= COLUMNS_MAX) {
            column = 0;
            continue;
        }
        int name = (int)(eq - p - 2), value = (int)strlen(eq + 1);
        int w = name > value ? name : value;
        l.width[column] = w > l.width[column] ? w : l.width[column];
        if (++column > l.columns)
            l.columns = column;
    }
    return l;
}

static void print_cell(const struct layout *l, int column, const char *text, int len)
{
    if (column + 1 < l->columns)
        printf("%-*.*s  ", l->width[column], len, text);
    else
        printf("%.*s\n", len, text);
}

/* One line a row; names above unless there is a single column, which speaks for itself. */
static void print_table(const char *start, const char *end)
{
    struct layout l = measure(start, end);
    int column = 0;

    for (const char *p = start + strlen(start) + 1; p < end && l.columns > 1; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (strcmp(p, "row") == 0)
            break;
        if (eq != NULL && column < COLUMNS_MAX)
            print_cell(&l, column++, p + 2, (int)(eq - p - 2));
    }
    column = 0;
    for (const char *p = start; p < end; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (strcmp(p, "row") == 0)
            column = 0;
        else if (eq != NULL && column < COLUMNS_MAX)
            print_cell(&l, column++, eq + 1, (int)strlen(eq + 1));
    }
}

static int print_answer(const struct buf *b, bool json, bool sheet)
{
    const char *p = buf_data(b), *end = p + buf_len(b), *last = NULL;

    for (const char *q = p; q < end && *q != '\0'; q += strnlen(q, (size_t)(end - q)) + 1)
        last = q;
    if (last == NULL || (strcmp(last, "ok") != 0 && strncmp(last, "error:", 6) != 0))
        return fail("the server gave no answer", "");
    if (strncmp(last, "error:", 6) == 0)
        return fail(last + 6, "");
    size_t rows = count_rows(p, last);
    if (json)
        print_json(p, last);
    else if (rows == 1 && sheet)
        print_single(p, last);
    else if (rows > 0)
        print_table(p, last);
    else if (isatty(STDOUT_FILENO))
        puts("done");
    return fflush(stdout) == 0 ? 0 : fail("writing the result", strerror(errno));
}

/* --- command line --- */

static void add_word(struct buf *b, const char *word)
{
    buf_append(b, word, strlen(word) + 1);
}

/* From a terminal: asked for, and not shown. False: nothing came, or it is too long. */
static bool read_secret(char *line, size_t size)
{
    struct termios before, quiet;
    bool ask = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;

    if (ask) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
        fputs("password: ", stderr);
    }
    bool came = fgets(line, (int)size, stdin) != NULL;
    if (ask) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (!came || (strlen(line) == size - 1 && line[size - 2] != '\n'))
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    return true;
}

/* "--password-stdin": the option's value is a line of standard input. */
static bool add_stdin(struct buf *request, const char *option)
{
    char line[2048];
    bool ok = read_secret(line, sizeof(line)) && *line != '\0';

    if (ok) {
        char *name = gr_strndup(option, strlen(option) - strlen("-stdin"));
        add_word(request, name);
        add_word(request, line);
        gr_free(name);
    }
    gr_wipe(line, sizeof(line));
    return ok;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), t = strlen(tail);

    return n >= t && strcmp(s + n - t, tail) == 0;
}

/* The socket named by the configuration; the caller frees it. NULL: explained on stderr. */
static char *socket_of(const char *config)
{
    struct conf_errors errs = { 0 };
    struct conf *conf;
    char *path = NULL;

    if (conf_load(config, &conf, &errs) == 0) {
        path = gr_strdup(conf->server.ctl_socket);
        conf_free(&conf);
    } else {
        conf_errors_print(&errs, stderr);
    }
    conf_errors_fini(&errs);
    return path;
}

struct call {
    const char *config;
    char *path;         /* of the socket; NULL: the configuration tells */
    struct buf request; /* may hold a password: wiped */
    bool json;
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

/* -1: go on, else the exit status. */
static int parse(int argc, char **argv, struct call *c)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            c->config = argv[++i];
        } else if (strcmp(argv[i], "--socket") == 0 && i + 1 < argc) {
            gr_free(c->path);
            c->path = gr_strdup(argv[++i]);
        } else if (strcmp(argv[i], "--json") == 0) {
            c->json = true;
        } else if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (strncmp(argv[i], "--", 2) == 0 && ends_with(argv[i], "-stdin")) {
            if (!add_stdin(&c->request, argv[i]))
                return fail(argv[i], "nothing came");
        } else {
            bool option = strncmp(argv[i], "--", 2) == 0 && i + 1 < argc;
            if (*argv[i] == '\0' || (option && *argv[i + 1] == '\0'))
                return fail(argv[i], "an empty value cannot be sent");
            add_word(&c->request, argv[i]);
            if (option) /* its value, whatever it looks like */
                add_word(&c->request, argv[++i]);
        }
    }
    if (buf_len(&c->request) == 0) {
        fputs(usage, stderr);
        return 2;
    }
    if (lacks_password(&c->request) && isatty(STDIN_FILENO) &&
        !add_stdin(&c->request, "--password-stdin"))
        return fail("a password is needed", "");
    return -1;
}

static int ask(struct call *c)
{
    struct buf answer = { 0 };
    int fd, rc;

    if (c->path == NULL && (c->path = socket_of(c->config)) == NULL)
        return 1;
    fd = connect_to(c->path);
    if (fd < 0) {
        fprintf(stderr, "grapnelctl: no server answers at %s: %s\n", c->path, strerror(errno));
        return 1;
    }
    buf_append(&c->request, "", 1);
    if (send_all(fd, &c->request))
        read_all(fd, &answer);
    rc = print_answer(&answer, c->json, strcmp(buf_data(&c->request), "status") == 0);
    buf_fini(&answer);
    close(fd);
    return rc;
}

int main(int argc, char **argv)
{
    struct call c = { .config = "/etc/grapnel/grapnel.ini" };
    int rc = parse(argc, argv, &c);

    if (rc < 0)
        rc = ask(&c);
    if (c.request.mem != NULL)
        gr_wipe(c.request.mem, c.request.cap);
    buf_fini(&c.request);
    gr_free(c.path);
    return rc;
}

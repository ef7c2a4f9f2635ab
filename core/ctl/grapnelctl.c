/* ctl/grapnelctl.c: the control program: sends a command line to the server's Unix socket and prints
 * the rows that come back. It knows no commands: the server tells which there are. */
#include "base/buf.h"
#include "conf/conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char usage[] =
    "usage: grapnelctl [--config FILE | --socket PATH] [--json] COMMAND ...\n"
    "\n"
    "  --config FILE   the server's configuration: tells where its socket is\n"
    "  --socket PATH   the socket itself\n"
    "  --json          print the result as JSON\n"
    "\n"
    "The commands of the running server, with those of its modules: grapnelctl ... help\n"
    "The most common ones:\n"
    "  user add JID [--password-stdin | --password TEXT]    user delete JID\n"
    "  user password JID [--password-stdin | ...]           user list DOMAIN\n"
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

static void print_table(const char *start, const char *end)
{
    int width[COLUMNS_MAX] = { 0 };
    int column = 0;
    bool first = true;

    for (const char *p = start; p < end; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (strcmp(p, "row") == 0 || eq == NULL || column >= COLUMNS_MAX) {
            column = 0;
            continue;
        }
        int name = (int)(eq - p - 2), value = (int)strlen(eq + 1);
        int w = name > value ? name : value;
        width[column] = w > width[column] ? w : width[column];
        column++;
    }
    for (const char *p = start; p < end && first; p += strlen(p) + 1) { /* names of the first row */
        const char *eq = strchr(p, '=');
        if (strcmp(p, "row") == 0) {
            first = p == start;
            column = 0;
        } else if (eq != NULL && column < COLUMNS_MAX) {
            printf("%-*.*s  ", width[column], (int)(eq - p - 2), p + 2);
            column++;
        }
    }
    for (const char *p = start; p < end; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (strcmp(p, "row") == 0) {
            putchar('\n');
            column = 0;
        } else if (eq != NULL && column < COLUMNS_MAX) {
            printf("%-*s  ", width[column++], eq + 1);
        }
    }
    putchar('\n');
}

static int print_answer(const struct buf *b, bool json)
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
    else if (rows == 1)
        print_single(p, last);
    else if (rows > 1)
        print_table(p, last);
    return 0;
}

/* --- command line --- */

static void add_word(struct buf *b, const char *word)
{
    buf_append(b, word, strlen(word) + 1);
}

static bool add_stdin(struct buf *request, const char *option)
{
    char line[2048];

    if (fgets(line, sizeof(line), stdin) == NULL)
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    char *name = gr_strndup(option, strlen(option) - strlen("-stdin"));
    add_word(request, name);
    add_word(request, line);
    gr_wipe(line, sizeof(line));
    gr_free(name);
    return true;
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
            if (*argv[i] == '\0')
                return fail("an empty word cannot be sent", "");
            add_word(&c->request, argv[i]);
        }
    }
    if (buf_len(&c->request) > 0)
        return -1;
    fputs(usage, stderr);
    return 2;
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
    rc = print_answer(&answer, c->json);
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

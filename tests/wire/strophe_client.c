/* strophe_client.c: libstrophe, unchanged, as a client that a test drives: logs in, sends each line of
 * its input as a stanza that libstrophe parsed first, prints each stanza it gets, as libstrophe
 * serialises it, on a line of its own.
 *
 *     strophe_client JID PASSWORD PORT starttls|direct|plain CAFILE
 *
 * Output: "connected JID", "stanza XML", "disconnected ERROR". End of input: leaves in order. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <strophe.h>

#define WAIT_MS 5
#define LINE_SIZE (1 << 20)

struct client {
    xmpp_ctx_t *ctx;
    xmpp_conn_t *conn;
    char *line;
    size_t len;
    bool connected, over, leaving;
};

static void say(const char *what, const char *text)
{
    printf("%s ", what);
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputs("&#10;", stdout);
        else
            putchar(*text);
    }
    putchar('\n');
    fflush(stdout);
}

static int on_stanza(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *arg)
{
    struct client *c = arg;
    char *text;
    size_t len;

    (void)conn;
    if (xmpp_stanza_to_text(stanza, &text, &len) == XMPP_EOK) {
        say("stanza", text);
        xmpp_free(c->ctx, text);
    }
    return 1;
}

static void on_connection(xmpp_conn_t *conn, xmpp_conn_event_t event, int error,
                          xmpp_stream_error_t *stream_error, void *arg)
{
    struct client *c = arg;

    if (event == XMPP_CONN_CONNECT) {
        xmpp_handler_add(conn, on_stanza, NULL, NULL, NULL, c);
        c->connected = true;
        say("connected", xmpp_conn_get_bound_jid(conn));
        return;
    }
    printf("disconnected %d %d\n", error, stream_error != NULL ? (int)stream_error->type : -1);
    fflush(stdout);
    c->over = true;
}

static void send_line(struct client *c, char *line)
{
    xmpp_stanza_t *st = xmpp_stanza_new_from_string(c->ctx, line);

    if (st == NULL) {
        say("unreadable", line);
        return;
    }
    xmpp_send(c->conn, st);
    xmpp_stanza_release(st);
}

/* What has come on the input, without waiting. */
static void read_input(struct client *c)
{
    ssize_t n = read(STDIN_FILENO, c->line + c->len, LINE_SIZE - 1 - c->len);
    char *start = c->line, *end;

    if (n == 0) {
        c->leaving = true;
        xmpp_disconnect(c->conn);
    }
    if (n <= 0)
        return;
    c->len += (size_t)n;
    c->line[c->len] = '\0';
    while ((end = strchr(start, '\n')) != NULL) {
        *end = '\0';
        send_line(c, start);
        start = end + 1;
    }
    c->len -= (size_t)(start - c->line);
    memmove(c->line, start, c->len + 1);
}

static long flags_of(const char *mode)
{
    if (strcmp(mode, "direct") == 0)
        return XMPP_CONN_FLAG_LEGACY_SSL;
    if (strcmp(mode, "plain") == 0)
        return XMPP_CONN_FLAG_DISABLE_TLS;
    return XMPP_CONN_FLAG_MANDATORY_TLS;
}

int main(int argc, char **argv)
{
    struct client c = { 0 };
    bool debug = getenv("WIRE_DEBUG") != NULL;

    if (argc != 6) {
        fprintf(stderr, "usage: strophe_client JID PASSWORD PORT starttls|direct|plain CAFILE\n");
        return 2;
    }
    xmpp_initialize();
    c.line = malloc(LINE_SIZE);
    c.ctx = xmpp_ctx_new(NULL, debug ? xmpp_get_default_logger(XMPP_LEVEL_DEBUG) : NULL);
    c.conn = xmpp_conn_new(c.ctx);
    xmpp_conn_set_flags(c.conn, flags_of(argv[4]) | XMPP_CONN_FLAG_DISABLE_SM);
    xmpp_conn_set_jid(c.conn, argv[1]);
    xmpp_conn_set_pass(c.conn, argv[2]);
    xmpp_conn_set_cafile(c.conn, argv[5]);
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    if (xmpp_connect_client(c.conn, "127.0.0.1", (unsigned short)atoi(argv[3]), on_connection,
                            &c) != XMPP_EOK) {
        say("disconnected", "cannot connect");
        return 1;
    }
    while (!c.over) {
        xmpp_run_once(c.ctx, WAIT_MS);
        if (c.connected && !c.leaving && !c.over)
            read_input(&c);
    }
    free(c.line);
    xmpp_conn_release(c.conn);
    xmpp_ctx_free(c.ctx);
    xmpp_shutdown();
    return 0;
}

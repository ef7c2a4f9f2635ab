/* tests/bench/route_cost.c: one message through the core without sockets: the stream's parser,
 * hooks of all shipped modules, routing, delivery, text for the recipient; N times, so that a
 * counter of instructions over two different N gives the cost of one (callgrind.sh). With
 * HANDLERS, so many further handlers that do nothing sit in the chain user_send_message: the cost
 * of a hook.
 *
 *     route_cost N [HANDLERS] [time]      time: prints nanoseconds per message */
#include "harness_priv.h"

#include "xml/parse.h"
#include "xml/write.h"

#include <stdio.h>
#include <time.h>

enum { BATCH = 8, HANDLERS_MAX = 64 };

static const char ini[] =
    "[host localhost]\n[mod_roster]\n[mod_presence]\n[mod_offline]\n[mod_disco]\n"
    "[mod_ping]\n[mod_version]\n[mod_time]\n[mod_last]\n[mod_private]\n"
    "[mod_vcard]\n";

static struct hs *alice;
static uint64_t delivered;
static struct buf text;

static enum gr_verdict nothing(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    return GR_OK;
}

static int on_open(void *ctx, const struct xml_header *h)
{
    (void)ctx, (void)h;
    return 0;
}

/* What the stream does with a stanza (stream/c2s_stanza.c), without its checks. */
static int on_element(void *ctx, struct gr_stanza *take)
{
    (void)ctx;
    gr_stanza_set_from(take, alice->s->jid);
    job_from_client(alice->s, take);
    return 0;
}

static int on_close(void *ctx)
{
    (void)ctx;
    return 1;
}

/* What the stream does on the way out, up to the connection's buffer. */
static int out_write(void *ctx, struct gr_stanza *st, struct receipt *receipt)
{
    (void)ctx, (void)receipt;
    stanza_write(&text, st);
    delivered++;
    if (buf_len(&text) > 4096)
        buf_consume(&text, buf_len(&text));
    return 0;
}

static const struct xml_events events = { on_open, on_element, on_close };

__attribute__((noinline)) static void route_messages(struct h *h, struct xml_parser *p,
                                                     const char *xml, int n)
{
    size_t len = strlen(xml), used;

    for (int i = 0; i < n; i++) {
        xml_parser_feed(p, xml, len, &used);
        if (i % BATCH == BATCH - 1)
            h_run(h);
    }
    h_run(h);
}

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
    static struct gr_hook hooks[HANDLERS_MAX + 1];
    static const char header[] =
        "<stream:stream xmlns='jabber:client' version='1.0' to='localhost' "
        "xmlns:stream='http://etherx.jabber.org/streams'>";
    int n = argc > 1 ? atoi(argv[1]) : 1000, handlers = argc > 2 ? atoi(argv[2]) : 0;
    struct gr_module empty = { .name = "bench_empty",
                               .summary = "handlers that do nothing",
                               .hooks = hooks };
    char body[201], *xml;
    size_t used;

    for (int i = 0; i < handlers && i < HANDLERS_MAX; i++)
        hooks[i] = (struct gr_hook)GR_ON(user_send_message, 50, nothing);
    if (handlers > 0)
        h_module(&empty);
    memset(body, 'x', 200);
    body[200] = '\0';
    struct h *h = h_start(ini);
    alice = h_online(h, "alice@localhost/a");
    struct hs *bob = h_online(h, "bob@localhost/b");
    const struct session_out *before = h_session(bob)->out;
    struct session_out mine = *before;
    mine.write = out_write;
    h_session(bob)->out = &mine;
    struct xml_parser *p = xml_parser_new(&(struct xml_limits){ 0 }, &events, NULL);
    xml_parser_feed(p, header, strlen(header), &used);
    if (asprintf(&xml,
                 "<message to='bob@localhost/b' type='chat' id='m1'><body>%s</body></message>",
                 body) < 0)
        return 1;
    int64_t start = now();
    route_messages(h, p, xml, n);
    if (argc > 3)
        printf("%.1f\n", (double)(now() - start) / n);
    if (delivered != (uint64_t)n) {
        fprintf(stderr, "route_cost: %llu of %d messages arrived\n", (unsigned long long)delivered,
                n);
        return 1;
    }
    h_session(bob)->out = before;
    xml_parser_free(&p);
    buf_fini(&text);
    free(xml);
    h_stop(&h);
    return 0;
}

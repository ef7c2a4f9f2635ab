/* tests/bench/route_cost.c: one stanza through the core without sockets: the stream's parser, hooks
 * of all shipped modules, routing, delivery, text for the recipient; N times, so that a counter of
 * instructions over two different N gives the cost of one (callgrind.sh). A message to one other
 * session, or a presence to CONTACTS contacts. The modules are a few that neither keep nor copy
 * messages, or those of a configuration file; the store is in memory, or in a directory.
 *
 *     route_cost [modules=FILE] [store=DIR] [presence|sm] N [time]
 *
 * time: prints nanoseconds per stanza. sm: as the message, where both have enabled XEP-0198 and the
 * sender asks, and the recipient acknowledges, after each batch. */
#include "harness_priv.h"

#include "xml/parse.h"
#include "xml/write.h"

#include <stdio.h>
#include <time.h>

enum { BATCH = 8, CONTACTS = 20 };

static const char few[] =
    "[host localhost]\n[mod_roster]\n[mod_presence]\n[mod_offline]\n[mod_disco]\n"
    "[mod_ping]\n[mod_version]\n[mod_time]\n[mod_last]\n[mod_private]\n"
    "[mod_vcard]\n[mod_stream_management]\n[mod_csi]\n";

static struct hs *alice, *bob; /* bob: with XEP-0198, else NULL */
static uint64_t delivered;
static struct buf text;

static int on_open(void *ctx, const struct xml_header *h)
{
    (void)ctx, (void)h;
    return 0;
}

/* What the stream does with a stanza (stream/c2s_stanza.c), without its checks. */
static int on_element(void *ctx, struct gr_stanza *take)
{
    (void)ctx;
    if (gr_stanza_kind(take) != GR_NONZA)
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
    delivered += gr_stanza_kind(st) != GR_NONZA;
    if (buf_len(&text) > 4096)
        buf_consume(&text, buf_len(&text));
    return 0;
}

static const struct xml_events events = { on_open, on_element, on_close };

/* XEP-0198, 8.2. */
static void acknowledge(struct h *h, struct xml_parser *p, int n)
{
    static const char r[] = "<r xmlns='urn:xmpp:sm:3'/>";
    size_t used;

    h_run(h);
    h_sendf(bob, "<a xmlns='urn:xmpp:sm:3' h='%d'/>", n);
    xml_parser_feed(p, r, sizeof(r) - 1, &used);
}

static void route(struct h *h, struct xml_parser *p, const char *xml, int n)
{
    size_t len = strlen(xml), used;

    for (int i = 0; i < n; i++) {
        xml_parser_feed(p, xml, len, &used);
        if (i % BATCH != BATCH - 1)
            continue;
        if (bob != NULL)
            acknowledge(h, p, i + 1);
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

/* From now on what the client gets is written as text and counted. */
static void count_output(struct hs *client)
{
    static struct session_out counting;

    if (counting.write == NULL) {
        counting = *h_session(client)->out;
        counting.write = out_write;
    }
    h_session(client)->out = &counting;
}

/* Sees alice's presence, and she sees theirs (RFC 6121, 3.1). */
static struct hs *contact(struct h *h, int i)
{
    char jid[64];

    snprintf(jid, sizeof(jid), "c%d@localhost", i);
    h_user(h, jid);
    snprintf(jid, sizeof(jid), "c%d@localhost/c", i);
    struct hs *c = h_online(h, jid);
    h_send(c, "<presence type='subscribe' to='alice@localhost'/>");
    h_sendf(alice, "<presence type='subscribed' to='c%d@localhost'/>", i);
    h_sendf(alice, "<presence type='subscribe' to='c%d@localhost'/>", i);
    h_send(c, "<presence type='subscribed' to='alice@localhost'/>");
    return c;
}

/* The sections of modules. False: there is no such file. */
static bool read_modules(const char *path, struct buf *ini)
{
    FILE *f = fopen(path, "r");
    bool of_module = false;
    char line[1024];

    if (f == NULL)
        return false;
    buf_append(ini, "[host localhost]\n", 17);
    while (fgets(line, sizeof(line), f) != NULL) {
        if (line[0] == '[')
            of_module = strncmp(line, "[mod_", 5) == 0;
        if (of_module)
            buf_append(ini, line, strlen(line));
    }
    buf_append(ini, "", 1);
    fclose(f);
    return true;
}

/* The argument's value when it is `name=...`, with the others moved up. */
static const char *option(int *argc, char **argv, const char *name)
{
    size_t len = strlen(name);

    if (*argc < 2 || strncmp(argv[1], name, len) != 0)
        return NULL;
    char *value = argv[1] + len;
    memmove(&argv[1], &argv[2], (size_t)(*argc - 1) * sizeof(*argv));
    (*argc)--;
    return value;
}

int main(int argc, char **argv)
{
    static const char header[] =
        "<stream:stream xmlns='jabber:client' version='1.0' to='localhost' "
        "xmlns:stream='http://etherx.jabber.org/streams'>";
    static const char presence[] = "<presence><show>away</show><status>lunch</status></presence>";
    const char *modules = option(&argc, argv, "modules=");
    struct buf ini = { 0 };
    h_data_dir = option(&argc, argv, "store=");
    bool fan_out = argc > 1 && strcmp(argv[1], "presence") == 0;
    bool sm = argc > 1 && strcmp(argv[1], "sm") == 0, word = fan_out || sm;
    int n = argc > 1 + word ? atoi(argv[1 + word]) : 1000;
    char message[320];
    size_t used;

    snprintf(message, sizeof(message),
             "<message to='bob@localhost/b' type='chat' id='m1'><body>%0200d</body></message>", 0);
    if (modules != NULL && !read_modules(modules, &ini)) {
        fprintf(stderr, "route_cost: %s cannot be read\n", modules);
        return 1;
    }
    struct h *h = h_start(modules != NULL ? buf_data(&ini) : few);
    if (fan_out)
        h_user(h, "alice@localhost");
    alice = h_online(h, "alice@localhost/a");
    for (int i = 0; fan_out && i < CONTACTS; i++)
        count_output(contact(h, i));
    /* Her own presence comes back to alice. */
    struct hs *recipient = fan_out ? alice : h_online(h, "bob@localhost/b");
    if (sm) {
        bob = recipient;
        h_send(alice, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        h_send(bob, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        count_output(alice);
    }
    count_output(recipient);
    delivered = 0;
    struct xml_parser *p = xml_parser_new(&(struct xml_limits){ 0 }, &events, NULL);
    xml_parser_feed(p, header, strlen(header), &used);
    int64_t start = now();
    route(h, p, fan_out ? presence : message, n);
    if (argc > 2 + word)
        printf("%.1f\n", (double)(now() - start) / n);
    uint64_t expected = (uint64_t)n * (fan_out ? CONTACTS + 1 : 1);
    if (delivered != expected) {
        fprintf(stderr, "route_cost: %llu of %llu stanzas arrived\n", (unsigned long long)delivered,
                (unsigned long long)expected);
        return 1;
    }
    xml_parser_free(&p);
    h_stop(&h);
    buf_fini(&text);
    buf_fini(&ini);
    return 0;
}

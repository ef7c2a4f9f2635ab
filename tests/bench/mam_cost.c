/* tests/bench/mam_cost.c: pages of a large archive. Writes MESSAGES messages into one account's
 * archive (in DIR, on disk), and asks for pages of 50 at its start, its middle and its end:
 * processor time per page, of the whole server, up to the text for the client; memory before and
 * after.
 *
 *     mam_cost DIR MESSAGES */
#include "harness_priv.h"

#include "store/store.h"
#include "xml/write.h"

#include <stdio.h>
#include <time.h>

enum { PAGE = 50, ROUNDS = 2000, BATCH = 64 };

static struct hs *alice;
static struct buf text;
static size_t results;
static char last_id[64];

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Memory of the process' own, without the pages of the store's file. */
static long rss_kib(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kib = 0;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        sscanf(line, "RssAnon: %ld", &kib);
    if (f != NULL)
        fclose(f);
    return kib;
}

/* What the stream does on the way out, up to the connection's buffer. */
static int out_write(void *ctx, struct gr_stanza *st, struct receipt *receipt)
{
    const struct gr_el *result = gr_stanza_child(st, "urn:xmpp:mam:2", "result");

    (void)ctx, (void)receipt;
    stanza_write(&text, st);
    if (result != NULL) {
        results++;
        snprintf(last_id, sizeof(last_id), "%s", gr_el_attr(result, "id"));
    }
    buf_consume(&text, buf_len(&text));
    return 0;
}

static void count_output(struct hs *client)
{
    static struct session_out counting;

    counting = *h_session(client)->out;
    counting.write = out_write;
    h_session(client)->out = &counting;
}

static void fill(struct h *h, int n)
{
    for (int i = 0; i < n; i++) {
        char xml[400];

        snprintf(xml, sizeof(xml), "<message to='c%d@other.test/x' type='chat' id='m%d'>"
                 "<body>%0200d</body></message>", i % 100, i, i);
        h_feed(alice, xml);
        if (i % BATCH == BATCH - 1)
            h_run(h);
    }
    h_run(h);
}

static void ask(struct h *h, const char *fields, const char *set)
{
    char xml[800];

    snprintf(xml, sizeof(xml),
             "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'>%s"
             "<set xmlns='http://jabber.org/protocol/rsm'><max>%d</max>%s</set></query></iq>",
             fields, PAGE, set);
    h_feed(alice, xml);
    h_run(h);
}

static void measure(struct h *h, const char *what, const char *fields, const char *set)
{
    long before = rss_kib();
    int64_t start;

    ask(h, fields, set);
    results = 0;
    start = now();
    for (int i = 0; i < ROUNDS; i++)
        ask(h, fields, set);
    printf("%-24s %6.1f us per page, %zu messages in each, %ld KiB before, %ld after\n", what,
           (double)(now() - start) / 1000 / ROUNDS, results / ROUNDS, before, rss_kib());
}

int main(int argc, char **argv)
{
    static const char with[] = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
                               "<value>urn:xmpp:mam:2</value></field><field var='with'>"
                               "<value>c7@other.test</value></field></x>";
    int n = argc > 2 ? atoi(argv[2]) : 100000;
    char ini[600], set[200];

    if (argc < 2) {
        fprintf(stderr, "usage: mam_cost DIR MESSAGES\n");
        return 2;
    }
    h_data_dir = argv[1];
    snprintf(ini, sizeof(ini), "[host localhost]\n[mod_presence]\n[mod_offline_stub]\n[mod_mam]\n");
    struct h *h = h_start(ini);
    h_user(h, "alice@localhost");
    alice = h_online(h, "alice@localhost/a");
    count_output(alice);
    int64_t start = now();
    fill(h, n);
    printf("%-24s %6.1f us\n", "written, each", (double)(now() - start) / 1000 / n);
    measure(h, "start", "", "");
    snprintf(set, sizeof(set), "<index>%d</index>", n / 2);
    measure(h, "middle, by index", "", set);
    snprintf(set, sizeof(set), "<after>%s</after>", last_id);
    measure(h, "middle, behind an id", "", set);
    measure(h, "end", "", "<before/>");
    measure(h, "start, of a contact", with, "");
    measure(h, "end, of a contact", with, "<before/>");
    h_stop(&h);
    buf_fini(&text);
    return 0;
}

/* tests/bench/mam_cost.c: pages of a large archive. Writes MESSAGES messages into one account's
 * archive (in DIR, on disk), and asks for pages of 50 at its start, its middle and its end, of
 * everybody and of one of a hundred contacts, in turns (TURNS, 4): processor time per page, of the
 * whole server, up to the text for the client, the lowest and the highest of the turns; memory
 * before the first page and after the last.
 *
 *     mam_cost DIR MESSAGES [TURNS [json]]     exit status 1: a page was not full */
#include "harness_priv.h"

#include "store/store.h"
#include "xml/write.h"

#include <stdio.h>
#include <time.h>

enum { PAGE = 50, ROUNDS = 500, BATCH = 64, CONTACTS = 100 };

static struct place {
    const char *name, *contact; /* contact: whose messages; NULL: all */
    char set[200];              /* of XEP-0059 */
    double lowest_us, highest_us;
} places[] = {
    { "start", NULL, "", 0, 0 },
    { "middle, by index", NULL, "", 0, 0 },
    { "middle, behind an id", NULL, "", 0, 0 },
    { "end", NULL, "<before/>", 0, 0 },
    { "start, of a contact", "c7@other.test", "", 0, 0 },
    { "end, of a contact", "c7@other.test", "<before/>", 0, 0 },
};
enum { PLACES = sizeof(places) / sizeof(places[0]), BY_INDEX = 1, BEHIND_ID = 2 };

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
                 "<body>%0200d</body></message>", i % CONTACTS, i, i);
        h_feed(alice, xml);
        if (i % BATCH == BATCH - 1)
            h_run(h);
    }
    h_run(h);
}

static void ask(struct h *h, const struct place *p)
{
    char xml[800], with[300] = "";

    if (p->contact != NULL)
        snprintf(with, sizeof(with),
                 "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
                 "<value>urn:xmpp:mam:2</value></field><field var='with'><value>%s</value></field>"
                 "</x>", p->contact);
    snprintf(xml, sizeof(xml),
             "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'>%s"
             "<set xmlns='http://jabber.org/protocol/rsm'><max>%d</max>%s</set></query></iq>",
             with, PAGE, p->set);
    h_feed(alice, xml);
    h_run(h);
}

/* One turn; false: a page was not full. */
static bool measure(struct h *h, struct place *p)
{
    int64_t start;

    results = 0;
    start = now();
    for (int i = 0; i < ROUNDS; i++)
        ask(h, p);
    double us = (double)(now() - start) / 1000 / ROUNDS;
    if (p->lowest_us == 0 || us < p->lowest_us)
        p->lowest_us = us;
    if (us > p->highest_us)
        p->highest_us = us;
    if (results == (size_t)ROUNDS * PAGE)
        return true;
    fprintf(stderr, "mam_cost: %s: %zu messages in %d pages\n", p->name, results, ROUNDS);
    return false;
}

static void print_json(double written_us, long before, long after, int turns)
{
    printf("{\"written_us\": %.1f, \"before_kib\": %ld, \"after_kib\": %ld, \"pages\": %d, "
           "\"places\": [", written_us, before, after, turns * ROUNDS * PLACES);
    for (int i = 0; i < PLACES; i++)
        printf("%s{\"name\": \"%s\", \"contact\": %s, \"lowest_us\": %.1f, \"highest_us\": %.1f}",
               i > 0 ? ", " : "", places[i].name, places[i].contact != NULL ? "true" : "false",
               places[i].lowest_us, places[i].highest_us);
    printf("]}\n");
}

static void print_text(double written_us, long before, long after, int turns)
{
    printf("%-24s %6.1f us\n", "written, each", written_us);
    for (int i = 0; i < PLACES; i++)
        printf("%-24s %6.1f us per page of %d (at most %.1f)\n", places[i].name,
               places[i].lowest_us, PAGE, places[i].highest_us);
    printf("%-24s %6ld KiB, %ld after %d pages\n", "memory", before, after,
           turns * ROUNDS * PLACES);
}

int main(int argc, char **argv)
{
    int n = argc > 2 ? atoi(argv[2]) : 0, turns = argc > 3 ? atoi(argv[3]) : 4;
    bool full = true;

    if (n <= 0 || turns <= 0) {
        fprintf(stderr, "usage: mam_cost DIR MESSAGES [TURNS [json]]\n");
        return 2;
    }
    h_data_dir = argv[1];
    struct h *h = h_start("[host localhost]\n[mod_presence]\n[mod_offline_stub]\n[mod_mam]\n");
    h_user(h, "alice@localhost");
    alice = h_online(h, "alice@localhost/a");
    count_output(alice);
    int64_t start = now();
    fill(h, n);
    double written_us = (double)(now() - start) / 1000 / n;
    long before = rss_kib();
    snprintf(places[BY_INDEX].set, sizeof(places[0].set), "<index>%d</index>", n / 2);
    ask(h, &places[BY_INDEX]);
    snprintf(places[BEHIND_ID].set, sizeof(places[0].set), "<after>%s</after>", last_id);
    for (int turn = 0; turn < turns; turn++)
        for (int i = 0; i < PLACES; i++)
            full &= measure(h, &places[i]);
    long after = rss_kib();
    if (argc > 4 && strcmp(argv[4], "json") == 0)
        print_json(written_us, before, after, turns);
    else
        print_text(written_us, before, after, turns);
    h_stop(&h);
    buf_fini(&text);
    return full ? 0 : 1;
}

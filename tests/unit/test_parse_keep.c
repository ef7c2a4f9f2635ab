/* Unit tests of xml/parse_keep.c: which expat parsers a loop keeps, and that whoever gets one sees
 * nothing of those who had it before. */
#include "xml/parse_internal.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loop/loop.h"

#define HEADER "<s:s xmlns='jabber:client' xmlns:s='urn:s' version='1.0'>"
#define OTHER_HEADER "<s:s xmlns:s='urn:s' xmlns:t='urn:t' xmlns='jabber:client'>"
#define MEMORY_MAX 24576

static unsigned elements;

static int on_open(void *ctx, const struct xml_header *h)
{
    (void)ctx, (void)h;
    return 0;
}

static int on_element(void *ctx, struct gr_stanza *take)
{
    const bool *stops = ctx;

    elements++;
    gr_stanza_unref(&take);
    return stops != NULL && *stops;
}

static int on_close(void *ctx)
{
    (void)ctx;
    return 1;
}

static const struct xml_events events = { on_open, on_element, on_close };

static struct xml_parser *parser_new(void *ctx)
{
    return xml_parser_new(&(struct xml_limits){ 0 }, &events, ctx);
}

static enum xml_status feed(struct xml_parser *p, const char *s)
{
    size_t used;

    return xml_parser_feed(p, s, strlen(s), &used);
}

static struct xml_parser *opened(const char *header)
{
    struct xml_parser *p = parser_new(NULL);

    assert_int_equal(feed(p, header), XML_S_OK);
    return p;
}

/* They outlive the loops. A stream that keeps nothing, because of its limit, takes one without it, and the
 * root's end tag ends that one. */
static void drop_kept(const char *header)
{
    size_t before = xml_parsers_kept() + 1;

    while (xml_parsers_kept() < before) {
        struct xml_parser *p = parser_new(NULL);

        before = xml_parsers_kept();
        xml_parser_set_limits(p, &(struct xml_limits){ .memory = 65536 });
        assert_int_equal(feed(p, header), XML_S_OK);
        xml_parser_set_limits(p, &(struct xml_limits){ 0 });
        assert_int_equal(feed(p, "</s:s>"), XML_S_STOPPED);
        xml_parser_free(&p);
    }
}

static int setup(void **state)
{
    (void)state;
    loops_init(2, true);
    elements = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        loop_enter(loop_at(i));
        drop_kept(HEADER);
        drop_kept(OTHER_HEADER);
        assert_int_equal(xml_parsers_kept(), 0);
    }
    loops_fini();
    return 0;
}

/* --- who takes and gives --- */

static void test_one_for_many(void **state)
{
    struct xml_parser *p[100];

    (void)state;
    for (int i = 0; i < 100; i++) {
        p[i] = opened(HEADER);
        assert_int_equal(feed(p[i], " <s:a/> "), XML_S_OK);
        assert_true(xml_parser_is_idle(p[i]));
    }
    /* Each header was read by one of its own, which was kept while there was room. */
    assert_int_equal(xml_parsers_kept(), KEPT_MAX);
    assert_int_equal(elements, 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(feed(p[i], "<a/>"), XML_S_OK);
        assert_int_equal(feed(p[i], " \r\n\t"), XML_S_OK);
        assert_true(xml_parser_is_idle(p[i]));
    }
    assert_int_equal(xml_parsers_kept(), KEPT_MAX);
    assert_int_equal(elements, 200);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(feed(p[i], "</s:s>"), XML_S_STOPPED);
        xml_parser_free(&p[i]);
    }
    assert_int_equal(xml_parsers_kept(), 0); /* each took one with it, while there were any */
}

/* Who is in the middle of an element has one to itself. */
static void test_pending_is_not_shared(void **state)
{
    struct xml_parser *p[KEPT_MAX + 4];

    (void)state;
    for (int i = 0; i < KEPT_MAX + 4; i++)
        p[i] = opened(HEADER);
    for (int i = 0; i < KEPT_MAX + 4; i++) {
        assert_int_equal(feed(p[i], "<a><b>x"), XML_S_OK);
        assert_false(xml_parser_is_idle(p[i]));
    }
    assert_int_equal(xml_parsers_kept(), 0);
    for (int i = 0; i < KEPT_MAX + 4; i++)
        assert_int_equal(feed(p[i], "y</b></a>"), XML_S_OK);
    assert_int_equal(elements, KEPT_MAX + 4);
    assert_int_equal(xml_parsers_kept(), KEPT_MAX);
    for (int i = 0; i < KEPT_MAX + 4; i++)
        xml_parser_free(&p[i]);
}

/* Only behind the same root tag. */
static void test_roots(void **state)
{
    struct xml_parser *a = opened(HEADER), *b = opened(OTHER_HEADER);

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(xml_parsers_kept(), 2);
        assert_int_equal(feed(a, "<s:a/>"), XML_S_OK);
        assert_int_equal(feed(b, "<t:a/>"), XML_S_OK);
    }
    assert_int_equal(elements, 6);
    assert_int_equal(feed(a, "<t:a/>"), XML_S_NOT_WELL_FORMED); /* not declared there */
    assert_int_equal(xml_parsers_kept(), 1);
    assert_int_equal(feed(b, "<t:a/>"), XML_S_OK);
    xml_parser_free(&a);
    xml_parser_free(&b);
}

/* expat remembers every name; who goes on inventing them ends a parser now and then. */
static void test_bound_in_memory(void **state)
{
    struct xml_parser *p = opened(HEADER);
    unsigned dropped = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        char xml[64];

        snprintf(xml, sizeof(xml), "<a%d b%d=''/>", i, i);
        assert_int_equal(feed(p, xml), XML_S_OK);
        dropped += xml_parsers_kept() == 0;
    }
    assert_int_equal(elements, 1000);
    assert_in_range(dropped, 5, 100);
    xml_parser_free(&p);
}

/* The usual stanzas do not come near that bound, however long they go on. */
static void test_steady_memory(void **state)
{
    struct xml_parser *p = opened(HEADER);
    char body[9000];

    (void)state;
    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    for (int i = 0; i < 1000; i++) {
        char xml[10000];

        snprintf(xml, sizeof(xml), "<message to='a@b' id='%d'><body>%s</body></message>", i, body);
        assert_int_equal(feed(p, xml), XML_S_OK);
        assert_int_equal(xml_parsers_kept(), 1);
    }
    xml_parser_free(&p);
}

static void test_who_keeps_nothing(void **state)
{
    struct xml_limits limits = { .memory = 65536 };
    struct xml_parser *p = xml_parser_new(&limits, &events, NULL), *kept;
    struct gr_stanza *st;
    bool stops = true;

    (void)state;
    assert_int_equal(feed(p, HEADER "<a/>"), XML_S_OK); /* before login */
    assert_int_equal(xml_parsers_kept(), 0);
    kept = opened(HEADER);
    assert_int_equal(feed(p, "<a><b>"), XML_S_OK); /* nor does it take one */
    assert_int_equal(xml_parsers_kept(), 1);
    drop_kept(HEADER);
    xml_parser_free(&kept);
    xml_parser_free(&p);
    assert_int_equal(gr_stanza_parse("<a/>", 4, &st), 0);
    gr_stanza_unref(&st);
    assert_int_equal(xml_parsers_kept(), 0);
    p = parser_new(&stops);
    assert_int_equal(feed(p, HEADER), XML_S_OK);
    assert_int_equal(feed(p, "<a/>"), XML_S_STOPPED);
    assert_int_equal(xml_parsers_kept(), 0);
    stops = false;
    assert_int_equal(feed(p, "<a/>"), XML_S_OK);
    assert_int_equal(xml_parsers_kept(), 1);
    assert_int_equal(feed(p, "</a>"), XML_S_NOT_WELL_FORMED);
    assert_int_equal(xml_parsers_kept(), 0);
    xml_parser_free(&p);
    for (int i = 0; i < 2; i++) {
        loop_enter(i == 0 ? NULL : loop_main()); /* NULL: a thread without a loop */
        p = opened(HEADER);
        assert_int_equal(feed(p, "<a/>"), XML_S_OK);
        xml_parser_free(&p);
    }
}

/* --- nothing is left of who had it before --- */

/* What may follow what: declarations, names and text that must be gone with the element. */
static const char *const pieces[] = {
    "<message to='a@b'><body>x &amp; y</body></message>",
    "<a xmlns='urn:other'><b/><c xmlns='jabber:client'/></a>",
    "<s:a xmlns:s='urn:hidden' xmlns:t='urn:t'><t:b s:x='1'/><s:c/></s:a>",
    "<s:a/>",
    "<a xmlns:u='urn:u'><u:b><![CDATA[<c/>]]></u:b>text</a>",
    "<iq id='1' xml:lang='de'><q xmlns='urn:q' xml:lang='fr'>&lt;&#65;</q></iq>",
    "<a xmlns=''><b/></a>",
    "<a/>",
    "<u:a/>",            /* not well-formed: the prefix is somebody else's */
    "<a><b></a>",
    "<!-- no -->",
    "<a b='1' b='2'/>",
};
enum { STREAMS = 24, ELEMENTS = 40 };
struct stream {
    struct xml_parser *p;
    struct buf in, log;
    size_t at;
    enum xml_status status;
};

static int log_element(void *ctx, struct gr_stanza *take)
{
    struct stream *s = ctx;
    char *text = gr_el_xml(gr_stanza_root(take), NULL);

    buf_puts(&s->log, text);
    gr_free(text);
    buf_puts(&s->log, gr_stanza_xml(take, NULL));
    gr_stanza_unref(&take);
    return 0;
}

static const struct xml_events logging = { on_open, log_element, on_close };

static void begin(struct stream *s)
{
    s->p = xml_parser_new(&(struct xml_limits){ 0 }, &logging, s);
    s->status = XML_S_OK;
    s->at = 0;
}

static void go_on(struct stream *s, size_t n)
{
    size_t left = buf_len(&s->in) - s->at, used;

    if (s->status != XML_S_OK)
        return;
    n = n < left ? n : left;
    s->status = xml_parser_feed(s->p, buf_data(&s->in) + s->at, n, &used);
    s->at += used;
}

/* Streams in turns, a few bytes each, on a loop: each says what it says alone and without one. */
static void test_nothing_is_left(void **state)
{
    static struct stream s[STREAMS];
    char *mixed[STREAMS];
    enum xml_status status[STREAMS];
    size_t most = 0;

    (void)state;
    srand(7);
    for (int i = 0; i < STREAMS; i++) {
        buf_puts(&s[i].in, i % 3 == 0 ? OTHER_HEADER : HEADER);
        /* The last four pieces are mistakes: rare, but all of them are made by somebody. */
        for (int n = 0; n < ELEMENTS; n++)
            buf_puts(&s[i].in, pieces[rand() % 200 == 0 ? 8 + i % 4 : rand() % 8]);
        if (i % 5 == 0)
            buf_puts(&s[i].in, pieces[8 + i % 4]);
        begin(&s[i]);
    }
    for (int round = 0; round < 4000; round++) {
        go_on(&s[rand() % STREAMS], (size_t)(1 + rand() % 60));
        most = xml_parsers_kept() > most ? xml_parsers_kept() : most;
    }
    for (int i = 0; i < STREAMS; i++) {
        go_on(&s[i], SIZE_MAX);
        mixed[i] = gr_strdup(buf_str(&s[i].log));
        status[i] = s[i].status;
        xml_parser_free(&s[i].p);
        buf_fini(&s[i].log);
    }
    assert_true(most > 1);
    loop_enter(NULL);
    for (int i = 0; i < STREAMS; i++) {
        begin(&s[i]);
        go_on(&s[i], SIZE_MAX);
        assert_int_equal(s[i].status, status[i]);
        assert_string_equal(buf_str(&s[i].log), mixed[i]);
        xml_parser_free(&s[i].p);
        buf_fini(&s[i].log);
        buf_fini(&s[i].in);
        gr_free(mixed[i]);
    }
}

/* --- threads --- */

/* A stream that logs in on one thread and goes on on another. */
struct mover {
    struct post post;
    struct xml_parser *p;
    int rounds;
    sem_t *done;
};

static void move(struct post *post)
{
    struct mover *m = GR_CONTAINER_OF(post, struct mover, post);

    for (int i = 0; i < 3; i++)
        gr_assert(feed(m->p, i == 0 ? HEADER : "<a/>") == XML_S_OK);
    gr_assert(xml_parsers_kept() > 0);
    xml_parser_restart(m->p);
    if (m->rounds-- == 0) {
        xml_parser_free(&m->p);
        sem_post(m->done);
        return;
    }
    loop_post(loop_at(1 - loop_index(loop_self())), post);
}

static int count_nothing(void *ctx, struct gr_stanza *take)
{
    (void)ctx;
    gr_stanza_unref(&take);
    return 0;
}

static void test_threads(void **state)
{
    static const struct xml_events quiet = { on_open, count_nothing, on_close };
    struct mover m[8] = { 0 };
    sem_t done;

    (void)state;
    sem_init(&done, 0, 0);
    loops_init(2, false);
    loops_start();
    for (size_t i = 0; i < GR_COUNT(m); i++) {
        m[i] = (struct mover){ .post.run = move, .rounds = 100, .done = &done };
        m[i].p = xml_parser_new(&(struct xml_limits){ 0 }, &quiet, NULL);
        loop_post(loop_at((int)(i % 2)), &m[i].post);
    }
    for (size_t i = 0; i < GR_COUNT(m); i++)
        sem_wait(&done);
    loops_stop();
    loops_fini();
    sem_destroy(&done);
}

#define IN_LOOPS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_LOOPS(test_one_for_many),      IN_LOOPS(test_pending_is_not_shared),
        IN_LOOPS(test_roots),             IN_LOOPS(test_bound_in_memory),
        IN_LOOPS(test_steady_memory),     IN_LOOPS(test_who_keeps_nothing),
        IN_LOOPS(test_nothing_is_left),   cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests_name("parse_keep", tests, NULL, NULL);
}

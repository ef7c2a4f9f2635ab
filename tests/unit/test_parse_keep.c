/* Unit tests of xml/parse_keep.c: who keeps an expat parser between reads, and for how long. */
#include "xml/parse_internal.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "loop/loop.h"

#define HEADER "<s:s xmlns='jabber:client' xmlns:s='urn:s' version='1.0'>"
#define PLACES 1024
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

static struct xml_parser *opened(void)
{
    struct xml_parser *p = parser_new(NULL);

    p->woken = KEPT_AFTER;
    assert_int_equal(feed(p, HEADER), XML_S_OK);
    return p;
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
        assert_int_equal(xml_parsers_kept(), 0);
    }
    loops_fini();
    return 0;
}

/* A login, the roster and a few questions do not make a stream active. */
static void test_not_at_first(void **state)
{
    struct xml_parser *p = parser_new(NULL);

    (void)state;
    assert_int_equal(feed(p, HEADER), XML_S_OK);
    for (int i = 1; i < KEPT_AFTER; i++) {
        assert_true(xml_parser_is_idle(p));
        assert_int_equal(feed(p, "<a/>"), XML_S_OK);
    }
    assert_false(xml_parser_is_idle(p));
    loops_advance(60000);
    assert_true(xml_parser_is_idle(p));
    assert_int_equal(feed(p, "<a/>"), XML_S_OK); /* has been active before */
    assert_false(xml_parser_is_idle(p));
    xml_parser_free(&p);
}

/* Kept while there are stanzas, whatever lies between them; given up when there are none. */
static void test_kept_until_quiet(void **state)
{
    struct xml_parser *p = opened();
    const struct xml_work *work = p->work;

    (void)state;
    assert_int_equal(xml_parsers_kept(), 1);
    for (int i = 0; i < 10; i++) {
        loops_advance(1900);
        assert_int_equal(feed(p, " <s:a/> "), XML_S_OK);
        assert_ptr_equal(p->work, work);
        assert_int_equal(xml_parsers_kept(), 1);
    }
    loops_advance(2999);
    assert_false(xml_parser_is_idle(p));
    loops_advance(1001);
    assert_true(xml_parser_is_idle(p));
    assert_int_equal(xml_parsers_kept(), 0);
    assert_int_equal(feed(p, "<s:a/>"), XML_S_OK);
    assert_int_equal(elements, 11);
    assert_int_equal(feed(p, "</s:s>"), XML_S_STOPPED);
    assert_true(xml_parser_is_idle(p));
    xml_parser_free(&p);
}

static void test_keepalives_keep_nothing(void **state)
{
    struct xml_parser *p = opened();

    (void)state;
    for (int i = 0; i < 4; i++) {
        loops_advance(1000);
        assert_int_equal(feed(p, " \r\n\t"), XML_S_OK);
    }
    assert_true(xml_parser_is_idle(p));
    xml_parser_free(&p);
}

/* Half a stanza is nobody's to drop, and no place is taken by it. */
static void test_pending_is_not_swept(void **state)
{
    struct xml_parser *p = opened();

    (void)state;
    assert_int_equal(feed(p, "<a><b>x"), XML_S_OK);
    assert_int_equal(xml_parsers_kept(), 0);
    loops_advance(60000);
    assert_int_equal(feed(p, "y</b></a>"), XML_S_OK);
    assert_int_equal(elements, 1);
    assert_int_equal(xml_parsers_kept(), 1);
    xml_parser_free(&p);
}

/* At the bound newcomers keep nothing, unless somebody has been quiet for a second: the one who
 * was so for longest gives way. */
static void test_bound_in_number(void **state)
{
    static struct xml_parser *p[PLACES + 2];

    (void)state;
    for (int i = 0; i < PLACES + 2; i++)
        p[i] = opened();
    assert_int_equal(xml_parsers_kept(), PLACES);
    assert_false(xml_parser_is_idle(p[0]));
    assert_true(xml_parser_is_idle(p[PLACES]));
    assert_true(xml_parser_is_idle(p[PLACES + 1]));
    loops_advance(500);
    assert_int_equal(feed(p[0], "<a/>"), XML_S_OK); /* now the youngest */
    assert_int_equal(feed(p[PLACES], "<a/>"), XML_S_OK);
    assert_true(xml_parser_is_idle(p[PLACES]));
    loops_advance(500);
    assert_int_equal(feed(p[PLACES], "<a/>"), XML_S_OK);
    assert_int_equal(xml_parsers_kept(), PLACES);
    assert_false(xml_parser_is_idle(p[0]));
    assert_true(xml_parser_is_idle(p[1]));
    assert_false(xml_parser_is_idle(p[2]));
    assert_false(xml_parser_is_idle(p[PLACES]));
    assert_int_equal(elements, 3);
    for (int i = 0; i < PLACES + 2; i++)
        xml_parser_free(&p[i]);
}

/* expat remembers every name; a stream that goes on inventing them starts anew now and then. */
static void test_bound_in_memory(void **state)
{
    struct xml_parser *p = opened();
    unsigned dropped = 0;
    size_t most = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        char xml[64];

        snprintf(xml, sizeof(xml), "<a%d b%d=''/>", i, i);
        assert_int_equal(feed(p, xml), XML_S_OK);
        if (xml_parser_is_idle(p))
            dropped++;
        else if (p->work->memory > most)
            most = p->work->memory;
    }
    assert_int_equal(elements, 1000);
    assert_in_range(dropped, 5, 100);
    assert_in_range(most, MEMORY_MAX / 2, MEMORY_MAX);
    xml_parser_free(&p);
}

/* The usual stanzas do not come near that bound, however long they go on. */
static void test_steady_memory(void **state)
{
    struct xml_parser *p = opened();
    const struct xml_work *work = p->work;
    char body[9000];

    (void)state;
    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    for (int i = 0; i < 1000; i++) {
        char xml[10000];

        snprintf(xml, sizeof(xml), "<message to='a@b' id='%d'><body>%s</body></message>", i, body);
        assert_int_equal(feed(p, xml), XML_S_OK);
        assert_ptr_equal(p->work, work);
    }
    print_message("kept: %zu bytes\n", work->memory + work->text.cap + work->raw.cap);
    xml_parser_free(&p);
}

static void test_who_keeps_nothing(void **state)
{
    struct xml_limits limits = { .memory = 65536 };
    struct xml_parser *p = xml_parser_new(&limits, &events, NULL);
    struct gr_stanza *st;
    bool stops = true;

    (void)state;
    p->woken = KEPT_AFTER;
    assert_int_equal(feed(p, HEADER), XML_S_OK); /* before login */
    assert_true(xml_parser_is_idle(p));
    xml_parser_free(&p);
    assert_int_equal(gr_stanza_parse("<a/>", 4, &st), 0);
    gr_stanza_unref(&st);
    assert_int_equal(xml_parsers_kept(), 0);
    p = parser_new(&stops); /* stopped */
    p->woken = KEPT_AFTER;
    assert_int_equal(feed(p, HEADER), XML_S_OK);
    assert_int_equal(feed(p, "<a/>"), XML_S_STOPPED);
    assert_true(xml_parser_is_idle(p));
    stops = false;
    assert_int_equal(feed(p, "<a/>"), XML_S_OK);
    assert_int_equal(xml_parsers_kept(), 1);
    assert_int_equal(feed(p, "</a>"), XML_S_NOT_WELL_FORMED);
    assert_true(xml_parser_is_idle(p));
    xml_parser_free(&p);
    loop_enter(NULL); /* a thread without a loop */
    p = opened();
    assert_true(xml_parser_is_idle(p));
    xml_parser_free(&p);
    loop_enter(loop_main());
    p = opened();
    assert_true(xml_parser_is_idle(p));
    xml_parser_free(&p);
}

static void test_restart_and_move(void **state)
{
    struct xml_parser *p = opened();

    (void)state;
    xml_parser_restart(p);
    assert_true(xml_parser_is_idle(p));
    assert_int_equal(xml_parsers_kept(), 0);
    loop_enter(loop_at(1));
    assert_int_equal(feed(p, HEADER "<a/>"), XML_S_OK);
    assert_int_equal(xml_parsers_kept(), 1);
    loop_enter(loop_at(0));
    assert_int_equal(xml_parsers_kept(), 0);
    loops_advance(4000); /* each loop sweeps its own */
    assert_true(xml_parser_is_idle(p));
    loop_enter(loop_at(1));
    assert_int_equal(feed(p, "<a/>"), XML_S_OK);
    xml_parser_free(&p);
}

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
        m[i].p->woken = KEPT_AFTER;
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
        IN_LOOPS(test_not_at_first),
        IN_LOOPS(test_kept_until_quiet),  IN_LOOPS(test_keepalives_keep_nothing),
        IN_LOOPS(test_pending_is_not_swept), IN_LOOPS(test_bound_in_number),
        IN_LOOPS(test_bound_in_memory),   IN_LOOPS(test_steady_memory),
        IN_LOOPS(test_who_keeps_nothing), IN_LOOPS(test_restart_and_move),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests_name("parse_keep", tests, NULL, NULL);
}

/* tests/mod/test_roster.c: mod_roster: jabber:iq:roster with pushes and versioning (RFC 6121, 2),
 * the scenarios of roster.md 7, order, bounds, restarts and reloads. Subscriptions are in
 * test_roster_subs.c, their state machine cell by cell in test_roster_states.c. */
#include "roster_client.h"

/* --- 1 and 2: get, set, push --- */

static void test_empty(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(a, "get", NULL, GET, "<query xmlns='jabber:iq:roster' ver='0'/>");
    h_iq_result(a, "get", "alice@localhost", GET, "<query xmlns='jabber:iq:roster' ver='0'/>");
    h_expect_nothing(a);
    h_stop(&h);
}

static void test_set_and_get(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");

    (void)state;
    set(a, "<item jid='bob@remote.example' name='Bob &amp; &lt;Co&gt;'><group>Friends</group>"
           "<group>Ünïcödé</group></item>");
    h_expect_nothing(a); /* never asked for the roster: no push */
    expect_roster(a, "<item jid='bob@remote.example' name='Bob &amp; &lt;Co&gt;' "
                     "subscription='none'><group>Friends</group><group>Ünïcödé</group></item>");
    /* Replaced as a whole. */
    set(a, "<item jid='bob@remote.example' subscription='both' ask='subscribe' approved='true'/>");
    expect_push(a, "<item jid='bob@remote.example' subscription='none'/>");
    expect_roster(a, "<item jid='bob@remote.example' subscription='none'/>");
    set(a, "<item jid='bob@remote.example' name=''/>");
    expect_push(a, "<item jid='bob@remote.example' subscription='none'/>");
    /* Addresses are prepared and bare. */
    set(a, "<item jid='BOB@Remote.Example/phone' name='B'/>");
    expect_push(a, "<item jid='bob@remote.example' name='B' subscription='none'/>");
    set(a, "<item jid='remote.example'/>");
    expect_push(a, "<item jid='remote.example' subscription='none'/>");
    expect_sent("");
    assert_int_equal(sets, 5);
    assert_int_equal(processed, 5);
    assert_int_equal(pushed, 4);
    h_stop(&h);
}

static void test_pushes(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *one = login(h, "alice@localhost/one"), *two = login(h, "alice@localhost/two");
    struct hs *three = h_online(h, "alice@localhost/three");
    struct gr_stanza *first;
    char id[64];

    (void)state;
    h_drop_all(one), h_drop_all(two), h_drop_all(three);
    set(two, "<item jid='bob@remote.example' name='plain'/>");
    first = h_peek(one);
    snprintf(id, sizeof(id), "%s", gr_stanza_id(first));
    expect_push(one, "<item jid='bob@remote.example' name='processed' subscription='none'/>");
    assert_string_not_equal(gr_stanza_id(h_peek(two)), id);
    expect_push(two, "<item jid='bob@remote.example' name='processed' subscription='none'/>");
    h_expect_nothing(one), h_expect_nothing(two), h_expect_nothing(three);
    /* Answers to pushes are swallowed, with and without an address. */
    h_sendf(one, "<iq type='result' id='%s'/>", id);
    h_sendf(two, "<iq type='error' id='%s' to='alice@localhost'><error type='cancel'>"
                 "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
            id);
    h_expect_nothing(one), h_expect_nothing(two), h_expect_nothing(three);
    h_stop(&h);
}

/* --- 3: errors --- */

static void test_errors(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    struct hs *a = login(h, "alice@localhost/a");
    char item[66000], text[60000];

    (void)state;
    h_iq_error(a, "set", "bob@localhost", Q "<item jid='x@remote.example'/></query>",
               GR_FORBIDDEN);
    h_iq_error(a, "get", "bob@localhost", GET, GR_SERVICE_UNAVAILABLE);
    h_iq_error(a, "set", NULL, GET, GR_BAD_REQUEST);
    set_error(a, "<item jid='x@remote.example'/><item jid='y@remote.example'/>", GR_BAD_REQUEST);
    set_error(a, "<item name='nobody'/>", GR_BAD_REQUEST);
    set_error(a, "<item jid='@'/>", GR_JID_MALFORMED);
    set_error(a, "<item jid=''/>", GR_JID_MALFORMED);
    set_error(a, "<item jid='alice@localhost'/>", GR_NOT_ALLOWED);
    set_error(a, "<item jid='alice@localhost/a' subscription='remove'/>", GR_NOT_ALLOWED);
    set_error(a, "<item jid='x@remote.example'><group>a</group><group>a</group></item>",
              GR_BAD_REQUEST);
    set_error(a, "<item jid='x@remote.example'><group/></item>", GR_NOT_ACCEPTABLE);
    set_error(a, "<item jid='x@remote.example' subscription='remove'/>", GR_ITEM_NOT_FOUND);
    text_of(text, 1024);
    snprintf(item, sizeof(item), "<item jid='x@remote.example' name='%s'/>", text);
    set_error(a, item, GR_NOT_ACCEPTABLE);
    text_of(text, 257);
    snprintf(item, sizeof(item), "<item jid='x@remote.example'><group>%s</group></item>", text);
    set_error(a, item, GR_NOT_ACCEPTABLE);
    h_expect_nothing(a);
    expect_roster(a, "");
    expect_sent("");
    h_stop(&h);
}

static void test_limits(void **state)
{
    struct h *h = start_with("[host localhost]\n[mod_roster]\nmax_items = 3\nmax_groups = 2\n"
                             "max_name = 10\nmax_group = 5\n[mod_presence]\n");
    h_user(h, "alice@localhost");
    struct hs *a = login(h, "alice@localhost/a");

    (void)state;
    set(a, "<item jid='a@remote.example' name='0123456789'><group>12345</group>"
           "<group>12346</group></item>");
    set_error(a, "<item jid='a@remote.example' name='0123456789x'/>", GR_NOT_ACCEPTABLE);
    set_error(a, "<item jid='a@remote.example'><group>123456</group></item>", GR_NOT_ACCEPTABLE);
    set_error(a, "<item jid='a@remote.example'><group>1</group><group>2</group><group>3</group>"
                 "</item>", GR_NOT_ACCEPTABLE);
    set(a, "<item jid='b@remote.example'/>");
    set(a, "<item jid='c@remote.example'/>");
    set_error(a, "<item jid='d@remote.example'/>", GR_POLICY_VIOLATION);
    set(a, "<item jid='a@remote.example'/>"); /* one that is there may change */
    h_drop_all(a);
    /* A subscription would need an item as well. */
    h_send(a, "<presence type='subscribe' id='s' to='d@remote.example'/>");
    h_expect_error(a, GR_PRESENCE, GR_POLICY_VIOLATION, "d@remote.example");
    h_send(a, "<presence type='subscribed' id='s' to='d@remote.example'/>");
    h_expect_error(a, GR_PRESENCE, GR_POLICY_VIOLATION, "d@remote.example");
    h_expect_nothing(a);
    expect_sent("");
    set(a, "<item jid='b@remote.example' subscription='remove'/>");
    h_drop_all(a);
    set(a, "<item jid='d@remote.example'/>");
    expect_push(a, "<item jid='d@remote.example' subscription='none'/>");
    h_stop(&h);
}

static void test_large(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");
    char item[400];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(item, sizeof(item), "<item jid='c%04d@remote.example' name='Contact %d'/>", i, i);
        set(a, item);
    }
    set_error(a, "<item jid='onemore@remote.example'/>", GR_POLICY_VIOLATION);
    struct gr_stanza *st = h_iq(a, "get", NULL, GET);
    struct gr_el *el = gr_el_child(gr_stanza_payload(st), NULL, "item");
    int n = 0;
    for (; el != NULL; el = gr_el_next(el, NULL, "item"), n++) {
        snprintf(item, sizeof(item), "c%04d@remote.example", n);
        assert_string_equal(gr_el_attr(el, "jid"), item);
    }
    assert_int_equal(n, 1000);
    h_stop(&h);
}

/* --- 9: versioning --- */

/* The result is empty: what changed follows as pushes. */
static void get_changes(struct hs *s, const char *ver)
{
    char xml[128];

    snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:roster' ver='%s'/>", ver);
    h_iq_result(s, "get", NULL, xml, NULL);
}

static void test_versioning(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a"), *b;
    char empty[32], first[32], last[32], push[32];

    (void)state;
    version(a, empty);
    set(a, "<item jid='a@remote.example'/>");
    set(a, "<item jid='b@remote.example'/>");
    set(a, "<item jid='c@remote.example'/>");
    h_drop_all(a);
    version(a, first);
    set(a, "<item jid='c@remote.example' name='C1'/>");
    set(a, "<item jid='a@remote.example' subscription='remove'/>");
    set(a, "<item jid='d@remote.example'/>");
    set(a, "<item jid='c@remote.example' name='C2'/>");
    set(a, "<item jid='d@remote.example' subscription='remove'/>");
    set(a, "<item jid='d@remote.example' name='D'/>");
    while (h_count(a) > 1)
        h_next(a);
    snprintf(push, sizeof(push), "%s", gr_el_attr(gr_stanza_payload(h_next(a)), "ver"));
    version(a, last);
    assert_string_equal(push, last); /* the last push carries the current version */
    injectf(h, "subscribe", "e@remote.example", "alice@localhost"); /* changes nothing visible */
    h_restart(h);

    b = h_login(h, "alice@localhost/b");
    get_changes(b, last);
    h_expect_nothing(b);
    b = h_login(h, "alice@localhost/c");
    get_changes(b, first); /* final states, in the order of modification */
    expect_push(b, "<item jid='a@remote.example' subscription='remove'/>");
    expect_push(b, "<item jid='c@remote.example' name='C2' subscription='none'/>");
    snprintf(push, sizeof(push), "%s", gr_el_attr(gr_stanza_payload(h_peek(b)), "ver"));
    assert_string_equal(push, last);
    expect_push(b, "<item jid='d@remote.example' name='D' subscription='none'/>");
    h_expect_nothing(b);
    set(b, "<item jid='b@remote.example' name='B'/>"); /* interested by the empty result */
    expect_push(b, "<item jid='b@remote.example' name='B' subscription='none'/>");
    h_drop_all(b);
    b = h_login(h, "alice@localhost/d");
    get_changes(b, empty);
    expect_push(b, "<item jid='a@remote.example' subscription='remove'/>");
    assert_int_equal(h_count(b), 3);
    h_drop_all(b);
    /* Unknown ones get everything. */
#define ALL "<item jid='b@remote.example' name='B' subscription='none'/>"   \
            "<item jid='c@remote.example' name='C2' subscription='none'/>" \
            "<item jid='d@remote.example' name='D' subscription='none'/>"
    get_full(b, "", ALL);
    get_full(b, "99999999999999999", ALL);
    get_full(b, "1", ALL);
    get_full(b, "ver14", ALL);
    get_full(b, "-1", ALL);
    get_full(b, "99999999999999999999999", ALL);
    h_expect_nothing(b);
    h_stop(&h);
}

static void test_versioning_removals(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = login(h, "alice@localhost/a");
    char early[32] = "", late[32] = "", item[128];

    (void)state;
    for (int i = 0; i < 103; i++) { /* 100 removals are remembered */
        snprintf(item, sizeof(item), "<item jid='c%d@remote.example'/>", i);
        set(a, item);
        snprintf(item, sizeof(item), "<item jid='c%d@remote.example' subscription='remove'/>", i);
        set(a, item);
        h_drop_all(a);
        if (i == 1)
            version(a, early);
        if (i == 2)
            version(a, late);
    }
    get_full(a, early, "");
    get_changes(a, late);
    assert_int_equal(h_count(a), 100);
    h_stop(&h);
}

static void test_versioning_off(void **state)
{
    struct h *h = start_with("[host localhost]\n[mod_roster]\nversioning = no\n");
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(a, "get", NULL, "<query xmlns='jabber:iq:roster' ver='0'/>", GET);
    set(a, "<item jid='a@remote.example'/>");
    h_expect_xml(a, "<iq type='set' id='*' from='alice@localhost' to='alice@localhost/a'>"
                    Q "<item jid='a@remote.example' subscription='none'/></query></iq>");
    h_stop(&h);
}

static void test_virtual_items(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = login(h, "alice@localhost/a");
    char ver[32];

    (void)state;
    set(a, "<item jid='b@remote.example'/>");
    h_drop_all(a);
    version(a, ver);
    virtual_item = true; /* such a roster has no version */
    char xml[128];
    snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:roster' ver='%s'/>", ver);
    h_iq_result(a, "get", NULL, xml,
                Q "<item jid='b@remote.example' subscription='none'/>"
                  "<item jid='virtual@localhost' subscription='both'/></query>");
    h_stop(&h);
}

/* --- one after the other --- */

/* Fifty sets of the same item, an item more every fifth, all in flight at once: nothing is lost,
 * the versions are unique and ascending, the last one counts. */
static void pipeline(struct h *h, struct hs *a)
{
    uint64_t last = 0;
    char xml[512];
    int pushes = 0;

    h_hold_store(h, true);
    for (int i = 0; i < 50; i++) {
        snprintf(xml, sizeof(xml), "<iq type='set' id='p%d'>" Q "<item jid='%s@remote.example' "
                 "name='n%d'/></query></iq>", i, i % 5 == 0 ? "one" : "same", i);
        h_feed(a, xml);
        if (i % 10 == 3)
            h_run(h);
        if (i % 10 == 7)
            h_commit(h);
    }
    h_hold_store(h, false);
    h_run(h);
    for (struct gr_stanza *st; (st = h_next(a)) != NULL;) {
        if (gr_stanza_type(st) != GR_SET)
            continue;
        uint64_t ver = strtoull(gr_el_attr(gr_stanza_payload(st), "ver"), NULL, 10);
        assert_true(ver > last);
        last = ver;
        pushes++;
    }
    assert_int_equal(pushes, 50);
    expect_roster(a, "<item jid='one@remote.example' name='n45' subscription='none'/>"
                     "<item jid='same@remote.example' name='n49' subscription='none'/>");
}

static void test_pipeline(void **state)
{
    struct h *h = start_with("[host localhost]\n[mod_roster]\nmax_items = 2\n");
    h_user(h, "alice@localhost");
    struct hs *a = login(h, "alice@localhost/a");

    (void)state;
    pipeline(h, a);
    /* The counters were not lost either. */
    set_error(a, "<item jid='three@remote.example'/>", GR_POLICY_VIOLATION);
    set(a, "<item jid='one@remote.example' subscription='remove'/>");
    set(a, "<item jid='three@remote.example'/>");
    h_stop(&h);
}

/* Conflicting operations of both sides on one contact. */
static void test_conflicts(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");
    static const char *const in[] = { "subscribe", "subscribed" };

    (void)state;
    h_hold_store(h, true);
    for (int i = 0; i < 25; i++) {
        h_feed(a, i % 2 == 0 ? "<presence type='subscribe' to='bob@remote.example'/>"
                             : "<presence type='subscribed' to='bob@remote.example'/>");
        injectf(h, in[i % 2], "bob@remote.example", "alice@localhost");
    }
    h_hold_store(h, false);
    h_run(h);
    h_drop_all(a);
    expect_roster(a, "<item jid='bob@remote.example' subscription='both'/>");
    h_stop(&h);
}

/* A request to one's own account is done before a presence that was sent behind it (RFC 6120, 10.1). */
static void test_iq_not_overtaken_by_presence(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    set(a, "<item jid='bob@remote.example'/>");
    h_feed(a, "<iq type='set' id='rm'><query xmlns='jabber:iq:roster'>"
              "<item jid='bob@remote.example' subscription='remove'/></query></iq>");
    h_feed(a, "<presence type='subscribe' to='bob@remote.example'/>");
    h_run(h);
    h_drop_all(a);
    expect_roster(a, "<item jid='bob@remote.example' subscription='none' ask='subscribe'/>");
    h_stop(&h);
}

static void test_reload(void **state)
{
    struct h *h = start_with("[host localhost]\n[mod_roster]\nmax_items = 100\n");
    h_user(h, "alice@localhost");
    struct hs *a = login(h, "alice@localhost/a");
    char xml[300];

    (void)state;
    h_hold_store(h, true);
    for (int i = 0; i < 20; i++) {
        if (i == 10)
            assert_int_equal(h_reload(h, "[host localhost]\n[mod_roster]\nmax_items = 101\n",
                                      NULL), 0);
        snprintf(xml, sizeof(xml), "<iq type='set' id='p%d'>" Q "<item jid='c%02d@remote.example'/>"
                 "</query></iq>", i, i);
        h_feed(a, xml);
        h_run(h);
    }
    h_hold_store(h, false);
    h_run(h);
    assert_int_equal(h_count(a), 40); /* still interested: 20 pushes, 20 results */
    h_drop_all(a);
    for (int i = 20; i < 101; i++) {
        snprintf(xml, sizeof(xml), "<item jid='c%d@remote.example'/>", i);
        set(a, xml);
    }
    set_error(a, "<item jid='more@remote.example'/>", GR_POLICY_VIOLATION);
    h_stop(&h);
}

/* A push must not overtake the result of the get that made the session interested. */
static void test_push_behind_result(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");

    (void)state;
    for (int i = 0; i < 4; i++) {
        char xml[300];

        snprintf(xml, sizeof(xml), "<iq type='set' id='s%d'>" Q "<item jid='c@remote.example' "
                 "name='%d'/></query></iq>", i, i);
        h_feed(a, xml);
        if (i == 1)
            h_feed(b, "<iq type='get' id='g'>" GET "</iq>");
    }
    h_run(h);
    h_expect(b, GR_IQ, GR_RESULT, NULL);
    const char *last = "";
    for (struct gr_stanza *st; (st = h_next(b)) != NULL;)
        last = gr_el_attr(gr_el_child(gr_stanza_payload(st), NULL, "item"), "name");
    assert_string_equal(last, "3");
    h_stop(&h);
}

/* Two gets at once, with changes before, between and behind: the client ends with the last
 * state. */
static void test_two_gets(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");
    char name[32] = "";

    (void)state;
    h_hold_store(h, true);
    for (int i = 0; i < 6; i++) {
        char xml[300];

        snprintf(xml, sizeof(xml), "<iq type='set' id='s%d'>" Q "<item jid='c@remote.example' "
                 "name='%d'/></query></iq>", i, i);
        h_feed(a, xml);
        snprintf(xml, sizeof(xml), "<iq type='get' id='g%d'>" GET "</iq>", i);
        if (i == 1 || i == 3)
            h_feed(b, xml);
        h_commit(h);
        h_run(h);
    }
    h_hold_store(h, false);
    h_run(h);
    for (struct gr_stanza *st; (st = h_next(b)) != NULL;) {
        struct gr_el *item = gr_el_child(gr_stanza_payload(st), NULL, "item");

        if (item != NULL)
            snprintf(name, sizeof(name), "%s", gr_el_attr(item, "name"));
    }
    assert_string_equal(name, "5");
    set(a, "<item jid='c@remote.example' name='x'/>");
    expect_push(b, "<item jid='c@remote.example' name='x' subscription='none'/>");
    h_stop(&h);
}

/* --- damage --- */

static void overwrite(struct h *h, const char *coll, const char *key)
{
    struct store_txn *t;

    h_enter(h, "alice@localhost");
    t = store_txn_new();
    store_txn_add(t, STORE_PUT, store_coll(coll, GR_COLL_MAP), "alice@localhost", key, strlen(key),
                  "?", 1);
    store_commit(t, NULL);
    h_run(h);
}

/* A roster that cannot be read is not an empty one, and nobody is told that it is. */
static void test_damaged(void **state)
{
    static const char *const coll[] = { "roster_items", "roster_meta" };
    static const char *const key[] = { "b@remote.example", "meta" };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(coll); i++) {
        struct h *h = start();
        h_user(h, "alice@localhost");
        struct hs *a = h_login(h, "alice@localhost/a");

        set(a, "<item jid='b@remote.example'/>");
        set(a, "<item jid='c@remote.example'/>");
        overwrite(h, coll[i], key[i]);
        h_iq_error(a, "get", NULL, GET, GR_INTERNAL_SERVER_ERROR);
        set_error(a, "<item jid='b@remote.example' name='B'/>", GR_INTERNAL_SERVER_ERROR);
        h_send(a, "<presence type='subscribe' to='b@remote.example'/>");
        h_expect_error(a, GR_PRESENCE, GR_INTERNAL_SERVER_ERROR, "b@remote.example");
        expect_sent("");
        if (i == 0) /* others are none the worse, and the client is not interested */
            set(a, "<item jid='c@remote.example' name='C'/>");
        h_expect_nothing(a);
        assert_non_null(strstr(h_log(h), "roster.damaged"));
        h_stop(&h);
    }
    struct h *h = start(); /* of the requests the others are shown */
    h_user(h, "alice@localhost");
    injectf(h, "subscribe", "b@remote.example", "alice@localhost");
    injectf(h, "subscribe", "c@remote.example", "alice@localhost");
    overwrite(h, "roster_requests", "b@remote.example");
    struct hs *a = h_login(h, "alice@localhost/a");
    h_send(a, "<presence/>");
    h_expect_among(a, "<presence type='subscribe' from='c@remote.example' _='more'/>");
    h_stop(&h);
}

/* The disk takes longer than a chain may wait: the chains have gone on, their events are gone.
 * What was asked is done all the same, and pushed. */
static void test_slow_store(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    h_hold_store(h, true);
    h_send(a, "<presence type='subscribe' to='bob@remote.example'/>");
    injectf(h, "subscribe", "eve@remote.example", "alice@localhost");
    injectf(h, "subscribed", "bob@remote.example", "alice@localhost");
    struct gr_roster_ev lists = { .owner = h_parse_jid(h, "alice@localhost"),
                                  .items = gr_roster_list_new() };
    gr_hook_run(h_mod(h, "sm", "alice@localhost"), GR_HOOK_roster_get_subscription_lists,
                &lists.ev, NULL);
    h_advance(h, 31000);
    gr_roster_ev_clear(&lists);
    h_hold_store(h, false);
    h_run(h);
    h_advance(h, 60000);
    h_drop_all(a);
    h_log(h); /* it says so: not the harness's business */
    expect_roster(a, "<item jid='bob@remote.example' subscription='to'/>");
    h_log(h);
    h_stop(&h);
}

/* --- chains for other modules --- */

static void ran(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)self, (void)ev, (void)verdict;
}

static void test_jid_info(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    befriend(h, a, "bob@remote.example", true, false);
    set(a, "<item jid='bob@remote.example'><group>one</group><group>two</group></item>");
    struct gr_jid_info_ev ev = { .owner = h_parse_jid(h, "alice@localhost"),
                                 .contact = h_parse_jid(h, "bob@remote.example/phone") };
    gr_hook_run(h_mod(h, "sm", "alice@localhost"), GR_HOOK_roster_get_jid_info, &ev.ev, ran);
    h_run(h);
    assert_int_equal(ev.sub, GR_SUB_TO);
    assert_false(ev.ask);
    assert_string_equal(ev.groups[0], "one");
    assert_string_equal(ev.groups[1], "two");
    assert_null(ev.groups[2]);
    struct gr_jid_info_ev other = { .owner = ev.owner, .contact = h_parse_jid(h, "x@localhost") };
    gr_hook_run(h_mod(h, "sm", "alice@localhost"), GR_HOOK_roster_get_jid_info, &other.ev, ran);
    h_run(h);
    assert_int_equal(other.sub, GR_SUB_NONE);
    assert_null(other.groups);
    h_stop(&h);
}

static void test_lists(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    befriend(h, a, "b-to@remote.example", true, false);
    befriend(h, a, "c-ask@remote.example", false, false);
    set(a, "<item jid='d-none@remote.example'/>");
    injectf(h, "subscribe", "a-asks@remote.example", "alice@localhost");
    injectf(h, "subscribe", "d-none@remote.example", "alice@localhost");
    struct gr_roster_ev ev = { .owner = h_parse_jid(h, "alice@localhost"),
                               .items = gr_roster_list_new() };
    gr_hook_run(h_mod(h, "sm", "alice@localhost"), GR_HOOK_roster_get_subscription_lists, &ev.ev,
                ran);
    h_run(h);
    assert_int_equal(gr_roster_list_count(ev.items), 2);
    assert_string_equal(gr_roster_list_at(ev.items, 0)->jid->bare, "b-to@remote.example");
    assert_int_equal(gr_roster_list_at(ev.items, 0)->sub, GR_SUB_TO);
    assert_true(gr_roster_list_at(ev.items, 1)->ask);
    assert_int_equal(ev.pending_count, 2);
    assert_non_null(gr_stanza_child(ev.pending[0], GR_NS_DELAY, "delay"));
    gr_roster_ev_clear(&ev);
    /* Everything, also who is not in the roster. */
    ev = (struct gr_roster_ev){ .owner = h_parse_jid(h, "alice@localhost"), .full = true,
                                .items = gr_roster_list_new() };
    gr_hook_run(h_mod(h, "sm", "alice@localhost"), GR_HOOK_roster_get, &ev.ev, ran);
    h_run(h);
    assert_int_equal(gr_roster_list_count(ev.items), 4);
    const struct gr_roster_item *stranger = gr_roster_list_at(ev.items, 0);
    const struct gr_roster_item *both = gr_roster_list_at(ev.items, 3);
    assert_string_equal(stranger->jid->bare, "a-asks@remote.example");
    assert_true(stranger->pending_in && !stranger->in_roster);
    assert_true(both->pending_in && both->in_roster);
    gr_roster_ev_clear(&ev);
    h_stop(&h);
}

static void test_export(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");
    struct gr_stanza *data = gr_nonza_new("urn:xmpp:pie:0", "user");

    (void)state;
    set(a, "<item jid='b@remote.example' name='B'/>");
    injectf(h, "subscribe", "c@remote.example", "alice@localhost");
    struct gr_export_ev ev = { .user = h_parse_jid(h, "alice@localhost"), .data = data };
    gr_hook_run(h_mod(h, "sm", "alice@localhost"), GR_HOOK_get_personal_data, &ev.ev, ran);
    h_run(h);
    h_assert_xml(ev.data, "<user xmlns='urn:xmpp:pie:0'>" Q "<item jid='b@remote.example' name='B' "
                 "subscription='none'/></query><presence xmlns='jabber:client' type='subscribe' "
                 "_='more'/></user>");
    gr_stanza_unref(&ev.data);
    h_stop(&h);
}

static void test_features(void **state)
{
    struct h *h = start();
    struct hs *s = h_connect(h, "alice@localhost");
    struct gr_stanza *f = gr_nonza_new(GR_NS_STREAM, "features");
    struct gr_features_ev ev = { .session = h_session(s), .features = f };

    (void)state;
    gr_hook_run(h_mod(h, "sm", "alice@localhost"), GR_HOOK_roster_get_versioning_feature, &ev.ev,
                NULL);
    gr_hook_run(h_mod(h, "sm", "alice@localhost"), GR_HOOK_c2s_stream_features, &ev.ev, NULL);
    assert_non_null(gr_stanza_child(f, "urn:xmpp:features:rosterver", "ver"));
    assert_non_null(gr_stanza_child(f, "urn:xmpp:features:pre-approval", "sub"));
    gr_stanza_unref(&f);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_set_and_get),
        cmocka_unit_test(test_pushes),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_versioning),
        cmocka_unit_test(test_versioning_removals),
        cmocka_unit_test(test_versioning_off),
        cmocka_unit_test(test_virtual_items),
        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_iq_not_overtaken_by_presence),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_push_behind_result),
        cmocka_unit_test(test_two_gets),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_slow_store),
        cmocka_unit_test(test_jid_info),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_export),
        cmocka_unit_test(test_features),
    };

    return H_RUN("roster", tests);
}

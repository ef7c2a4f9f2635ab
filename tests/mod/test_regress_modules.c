/* tests/mod/test_regress_modules.c: bugs that the modules once had. Each case is named after what
 * is right now. */
#include "harness.h"

#include "store/engine.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>

#define Q "<query xmlns='jabber:iq:roster'>"
#define GET "<query xmlns='jabber:iq:roster'/>"
#define CONF "[host localhost]\n[mod_roster]\n[mod_presence]\n"

/* --- the other servers --- */

static char sent[8192]; /* "type from>to\n" of every stanza for remote.example */

static enum gr_verdict on_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const char *type = gr_el_attr(gr_stanza_root(ev->stanza), "type");
    size_t len = strlen(sent);

    (void)self;
    if (strcmp(ev->to->domain, "remote.example") != 0)
        return GR_OK;
    snprintf(sent + len, sizeof(sent) - len, "%s %s>%s\n", type != NULL ? type : "available",
             ev->from->full, ev->to->full);
    return GR_DROP;
}

static const struct gr_hook witness_hooks[] = { GR_ON(filter_packet, GR_PRIO_LATE, on_packet),
                                                GR_HOOK_END };
static const struct gr_module witness = { .name = "witness", .summary = "test",
                                          .hooks = witness_hooks };

static struct h *begin(const char *ini)
{
    sent[0] = '\0';
    h_module(&witness);
    return h_start(ini);
}

static void inject(struct h *h, const char *xml)
{
    struct gr_stanza *st;

    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    gr_send(h_mod(h, "sm", "localhost"), st);
    h_run(h);
}

static void injectf(struct h *h, const char *type, const char *from, const char *to)
{
    char xml[512];

    snprintf(xml, sizeof(xml), "<presence type='%s' from='%s' to='%s' id='x'/>", type, from, to);
    inject(h, xml);
}

/* bob@remote.example sees alice. */
static void grant(struct h *h, struct hs *alice)
{
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
    h_send(alice, "<presence type='subscribed' to='bob@remote.example'/>");
    h_drop_all(alice);
    sent[0] = '\0';
}

/* --- mod_roster --- */

/* A presence whose recipients were read before the cancellation must not go out behind it. */
static void test_no_presence_behind_unsubscribed(void **state)
{
    struct h *h = begin(CONF);
    h_user(h, "alice@localhost");
    struct hs *a = h_online(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");

    (void)state;
    grant(h, a);
    h_hold_store(h, true);
    h_feed(a, "<iq type='set' id='1'>" Q "<item jid='c@remote.example'/></query></iq>");
    h_run(h);
    h_feed(b, "<presence/>");
    h_run(h);
    h_feed(a, "<presence type='unsubscribed' to='bob@remote.example'/>");
    h_run(h);
    h_hold_store(h, false);
    h_run(h);
    assert_string_equal(sent, "unavailable alice@localhost/a>bob@remote.example\n"
                              "unavailable alice@localhost/b>bob@remote.example\n"
                              "unsubscribed alice@localhost>bob@remote.example\n");
    h_stop(&h);
}

/* A resource that goes while the cancellation is being written: its broadcast no longer has the
 * contact in it. */
static void test_no_ghost_behind_unsubscribed(void **state)
{
    struct h *h = begin(CONF);
    h_user(h, "alice@localhost");
    struct hs *a = h_online(h, "alice@localhost/a"), *b = h_online(h, "alice@localhost/b");

    (void)state;
    grant(h, a);
    h_hold_store(h, true);
    h_feed(a, "<presence type='unsubscribed' to='bob@remote.example'/>");
    h_run(h);
    h_feed(b, "<presence type='unavailable'/>");
    h_run(h);
    h_hold_store(h, false);
    h_run(h);
    assert_string_equal(sent, "unavailable alice@localhost/a>bob@remote.example\n"
                              "unavailable alice@localhost/b>bob@remote.example\n"
                              "unsubscribed alice@localhost>bob@remote.example\n");
    h_stop(&h);
}

static unsigned commits, fail_at;

static int fail_nth(uint64_t n)
{
    (void)n;
    return ++commits == fail_at ? ENOSPC : 0;
}

/* The subscription was taken, the item is still there: the clients know. */
static void test_removal_that_fails_half_way_is_pushed(void **state)
{
    static const struct store_faults faults = { .commit = fail_nth };
    struct h *h = begin(CONF);
    h_user(h, "alice@localhost");
    struct hs *a = h_online(h, "alice@localhost/a");

    (void)state;
    h_iq(a, "get", NULL, GET);
    grant(h, a);
    commits = 0;
    fail_at = 2;
    store_faults = &faults;
    h_send(a, "<iq type='set' id='1'>" Q "<item jid='bob@remote.example' subscription='remove'/>"
              "</query></iq>");
    store_faults = NULL;
    h_expect_xml(a, "<iq type='set' id='*' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                    "<item jid='bob@remote.example' subscription='none'/></query></iq>");
    h_expect_error(a, GR_IQ, GR_RESOURCE_CONSTRAINT, NULL);
    assert_string_equal(sent, "unavailable alice@localhost/a>bob@remote.example\n"
                              "unsubscribed alice@localhost>bob@remote.example\n");
    h_stop(&h);
}

/* With all holds of mod_roster taken a subscription was routed without being recorded. */
static void test_no_subscription_without_record(void **state)
{
    struct h *h = begin(CONF "[mod_disco]\n");
    h_user(h, "alice@localhost");
    struct hs *a = h_online(h, "alice@localhost/a");

    (void)state;
    h_hold_store(h, true);
    h_feed(a, "<iq type='set' id='1'>" Q "<item jid='c@remote.example'/></query></iq>");
    h_run(h);
    for (int i = 0; i < 10000; i++)
        inject(h, "<iq type='get' id='x' from='eve@remote.example/e' to='alice@localhost'>"
                  "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>");
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    assert_string_equal(sent, "");
    h_expect_error(a, GR_PRESENCE, GR_RESOURCE_CONSTRAINT, "bob@remote.example");
    h_hold_store(h, false);
    h_stop(&h);
}

/* --- accounts that are removed --- */

#define VCARD(inside) "<vCard xmlns='vcard-temp'>" inside "</vCard>"
#define PRIVATE(inside) "<query xmlns='jabber:iq:private'><x xmlns='y'>" inside "</x></query>"

/* What is written until the sessions end, or because they end, is not there for the next owner. */
static void test_next_owner_inherits_nothing(void **state)
{
    struct h *h = begin(CONF "[mod_last]\n[mod_vcard]\n[mod_private]\n[mod_register]\n"
                        "require_tls = no\n");
    h_user(h, "alice@localhost");
    struct hs *a = h_online(h, "alice@localhost/a"), *c = h_online(h, "carol@localhost/c");

    (void)state;
    h_hold_store(h, true);
    h_feed(a, "<iq type='set' id='rm'><query xmlns='jabber:iq:register'><remove/></query></iq>");
    for (int i = 0; i < 50 && h_closed(a) == NULL; i++) {
        h_run(h);
        h_feed(a, "<iq type='set' id='v'>" VCARD("<FN>old</FN>") "</iq>");
        h_feed(a, "<iq type='set' id='p'>" PRIVATE("old") "</iq>");
        h_run(h);
        h_commit(h);
    }
    h_hold_store(h, false);
    h_run(h);
    h_expect_closed(&a, "not-authorized");
    h_user(h, "alice@localhost");
    a = h_login(h, "alice@localhost/b");
    h_iq_error(a, "get", NULL, VCARD(""), GR_ITEM_NOT_FOUND);
    h_iq_result(a, "get", NULL, PRIVATE(""), PRIVATE(""));
    h_send(c, "<presence type='subscribe' to='alice@localhost'/>");
    h_send(a, "<presence type='subscribed' to='carol@localhost'/>");
    h_disconnect(&a, true);
    h_drop_all(c);
    h_iq_error(c, "get", "alice@localhost", "<query xmlns='jabber:iq:last'/>",
               GR_SERVICE_UNAVAILABLE);
    h_stop(&h);
}

/* --- mod_private --- */

/* Sets that were counted before any of them was written passed the bound together. */
static void test_private_bound_in_flight(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_private]\nmax_namespaces = 2\n");
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");
    unsigned good = 0;

    (void)state;
    h_hold_store(h, true);
    for (int i = 0; i < 5; i++) {
        char xml[200];

        snprintf(xml, sizeof(xml), "<iq type='set' id='%d'><query xmlns='jabber:iq:private'>"
                 "<x xmlns='n%d'/></query></iq>", i, i);
        h_feed(a, xml);
    }
    h_run(h);
    h_hold_store(h, false);
    h_run(h);
    assert_int_equal(h_count(a), 5);
    for (struct gr_stanza *st; (st = h_next(a)) != NULL;)
        good += gr_stanza_type(st) == GR_RESULT;
    assert_int_equal(good, 2);
    h_stop(&h);
}

static enum gr_cond set_big(struct hs *s, int n, size_t size)
{
    char *text = gr_alloc(size + 1), *xml;
    struct gr_stanza *st;
    enum gr_cond cond;

    memset(text, 'x', size);
    xml = gr_asprintf("<query xmlns='jabber:iq:private'><x xmlns='n%03d'>%s</x></query>", n, text);
    st = h_iq(s, "set", NULL, xml);
    cond = gr_stanza_type(st) == GR_RESULT ? GR_COND_NONE : gr_stanza_cond(st);
    gr_free(text);
    gr_free(xml);
    return cond;
}

/* What does not fit into one answer of the store (4 MiB) was neither counted nor exported. */
static void test_private_of_several_megabytes(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_private]\n");
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");
    struct gr_mod *self;
    struct gr_stanza *all;
    size_t count = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(set_big(a, i, 60000), GR_COND_NONE);
    assert_int_equal(set_big(a, 100, 10), GR_RESOURCE_CONSTRAINT);
    assert_int_equal(set_big(a, 99, 60001), GR_COND_NONE); /* replaces one */
    self = h_mod(h, "private", "alice@localhost");
    assert_int_equal(gr_stanza_parse("<user/>", 7, &all), 0);
    struct gr_export_ev ev = { .user = h_parse_jid(h, "alice@localhost"), .data = all };
    gr_hook_run(self, GR_HOOK_get_personal_data, &ev.ev, NULL);
    h_run(h);
    const struct gr_el *el = gr_el_child(gr_stanza_root(all), NULL, NULL);
    for (el = gr_el_child(el, NULL, NULL); el != NULL; el = gr_el_next(el, NULL, NULL))
        count++;
    assert_int_equal(count, 100);
    gr_stanza_unref(&all);
    h_stop(&h);
}

/* --- mod_offline --- */

/* What was delivered during a reload stayed in the totals: nothing could be kept any more. */
static void test_offline_totals_after_reload(void **state)
{
#define OFFLINE(n) "[host localhost]\n[mod_presence]\n[mod_offline]\nlimit = " n "\n"
    struct h *h = begin(OFFLINE("2"));
    h_user(h, "alice@localhost");
    struct hs *a, *c = h_login(h, "carol@localhost/c");

    (void)state;
    h_send(c, "<message id='1' to='alice@localhost'><body>1</body></message>");
    h_send(c, "<message id='2' to='alice@localhost'><body>2</body></message>");
    a = h_login(h, "alice@localhost/a");
    h_stall(a);
    h_send(a, "<presence/>");
    h_reload(h, OFFLINE("2") "size_limit = 1M\n", NULL);
    h_flow(a);
    h_run(h);
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
    h_expect_body(a, "carol@localhost/c", "1");
    h_expect_body(a, "carol@localhost/c", "2");
    h_disconnect(&a, true);
    h_advance(h, 10 * 60000);
    a = h_online(h, "alice@localhost/a");
    h_expect_nothing(a);
    h_disconnect(&a, true);
    h_send(c, "<message id='3' to='alice@localhost'><body>3</body></message>");
    h_send(c, "<message id='4' to='alice@localhost'><body>4</body></message>");
    h_expect_nothing(c);
    h_send(c, "<message id='5' to='alice@localhost'><body>5</body></message>");
    h_expect_error(c, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    h_stop(&h);
}

/* --- virtual rosters --- */

/* The list was read again, without the account, before its removal was told. */
static void test_removal_of_staff_is_told(void **state)
{
    struct h *h = begin("[host localhost]\nadmins = boss@localhost\n[mod_roster]\n"
                        "[mod_staff_roster]\n");
    h_user(h, "alice@localhost");
    h_user(h, "boss@localhost");
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "boss@localhost/b");

    (void)state;
    h_iq(b, "get", NULL, GET);
    h_iq_result(a, "get", NULL, GET, Q "<item jid='boss@localhost' name='boss' "
                                       "subscription='both'/></query>");
    h_advance(h, 2 * 60000);
    assert_int_equal(h_user_delete(h, "boss@localhost"), GR_R_OK);
    h_run(h);
    h_expect_xml(a, "<iq type='set' id='*' _='more'>" Q "<item jid='boss@localhost' "
                    "subscription='remove'/></query></iq>");
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(test_no_presence_behind_unsubscribed),
        cmocka_unit_test(test_no_ghost_behind_unsubscribed),
        cmocka_unit_test(test_removal_that_fails_half_way_is_pushed),
        cmocka_unit_test(test_no_subscription_without_record),
        cmocka_unit_test(test_next_owner_inherits_nothing),
        cmocka_unit_test(test_private_bound_in_flight),
        cmocka_unit_test(test_private_of_several_megabytes),
        cmocka_unit_test(test_offline_totals_after_reload),
        cmocka_unit_test(test_removal_of_staff_is_told),
    };

    return H_RUN("regress_modules", cases);
}

/* tests/mod/test_regress_modules.c: bugs that the modules once had. Each case is named after what went
 * wrong. */
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

static void injectf(struct h *h, const char *type, const char *from, const char *to)
{
    char xml[512];
    struct gr_stanza *st;

    snprintf(xml, sizeof(xml), "<presence type='%s' from='%s' to='%s' id='x'/>", type, from, to);
    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    gr_send(h_mod(h, "sm", "localhost"), st);
    h_run(h);
}

/* bob@remote.example sees alice. */
static void grant(struct h *h, struct hs *alice)
{
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
    h_send(alice, "<presence type='subscribed' to='bob@remote.example'/>");
    h_drop_all(alice);
    sent[0] = '\0';
}

/* --- 1 --- */
static void test_presence_after_unsubscribed(void **state)
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
    print_message("sent:\n%s", sent);
    h_stop(&h);
}

/* --- 2 --- */
static unsigned commits, fail_at;
static int fail_nth(uint64_t n)
{
    (void)n;
    return ++commits == fail_at ? ENOSPC : 0;
}

static void test_removal_that_fails_half_way(void **state)
{
    static const struct store_faults faults = { .commit = fail_nth };
    struct h *h = begin(CONF);
    h_user(h, "alice@localhost");
    struct hs *a = h_online(h, "alice@localhost/a");

    (void)state;
    h_iq_result(a, "get", NULL, GET, "<query xmlns='jabber:iq:roster' ver='0'/>");
    grant(h, a);
    commits = 0;
    fail_at = 2;
    store_faults = &faults;
    h_send(a, "<iq type='set' id='1'>" Q "<item jid='bob@remote.example' subscription='remove'/></query></iq>");
    store_faults = NULL;
    print_message("%u commits, %u stanzas, sent:\n%s", commits, h_count(a), sent);
    while (h_count(a) > 0) {
        size_t len;
        print_message("%s\n", gr_stanza_xml(h_next(a), &len));
    }
    h_send(a, "<iq type='get' id='2'>" GET "</iq>");
    while (h_count(a) > 0) {
        size_t len;
        print_message("%s\n", gr_stanza_xml(h_next(a), &len));
    }
    h_stop(&h);
}

/* --- 3 --- */
static void test_subscription_without_record(void **state)
{
    struct h *h = begin(CONF);
    h_user(h, "alice@localhost");
    struct hs *a = h_online(h, "alice@localhost/a");

    (void)state;
    h_hold_store(h, true);
    h_feed(a, "<presence type='subscribed' to='bob@remote.example'/>");
    h_run(h);
    h_advance(h, 31000);
    print_message("subscribed, not recorded. sent:\n%s", sent);
    sent[0] = '\0';
    h_feed(a, "<presence type='subscribe' to='carol@remote.example'/>");
    h_run(h);
    h_advance(h, 31000);
    print_message("subscribe. sent:\n%s", sent);
    h_hold_store(h, false);
    h_run(h);
    print_message("log:\n%s", h_log(h));
    h_stop(&h);
}

/* --- 4, 5 --- */
static void test_rows_after_removal(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_roster]\n[mod_presence]\n[mod_last]\n[mod_vcard]\n[mod_private]\n[mod_register]\nrequire_tls=no\n");
    h_user(h, "alice@localhost");
    struct hs *a = h_online(h, "alice@localhost/a");
    struct hs *c = h_online(h, "carol@localhost/c");

    (void)state;
    h_feed(a, "<iq type='set' id='1'><query xmlns='jabber:iq:register'><remove/></query></iq>");
    h_feed(a, "<iq type='set' id='2'><vCard xmlns='vcard-temp'><FN>old</FN></vCard></iq>");
    h_feed(a, "<iq type='set' id='3'><query xmlns='jabber:iq:private'><x xmlns='y'>old</x></query></iq>");
    h_feed(a, "<iq type='set' id='4'>" Q "<item jid='c@remote.example'/></query></iq>");
    h_feed(a, "<presence type='unavailable'><status>my secret</status></presence>");
    h_run(h);
    while (h_count(a) > 0) {
        size_t len;
        print_message("%s\n", gr_stanza_xml(h_next(a), &len));
    }
    print_message("closed: %s\n", h_closed(a));
    h_user(h, "alice@localhost");
    a = h_login(h, "alice@localhost/b");
    h_send(a, "<iq type='get' id='2'><vCard xmlns='vcard-temp'/></iq>");
    h_send(a, "<iq type='get' id='3'><query xmlns='jabber:iq:private'><x xmlns='y'/></query></iq>");
    h_send(a, "<iq type='get' id='4'>" GET "</iq>");
    h_send(c, "<presence type='subscribe' to='alice@localhost'/>");
    h_send(a, "<presence type='subscribed' to='carol@localhost'/>");
    while (h_count(a) > 0) {
        size_t len;
        print_message("%s\n", gr_stanza_xml(h_next(a), &len));
    }
    h_disconnect(&a, true);
    h_drop_all(c);
    h_send(c, "<iq type='get' id='5' to='alice@localhost'><query xmlns='jabber:iq:last'/></iq>");
    while (h_count(c) > 0) {
        size_t len;
        print_message("%s\n", gr_stanza_xml(h_next(c), &len));
    }
    h_stop(&h);
}

/* --- 6 --- */
static void test_private_bound(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_private]\nmax_namespaces=2\n");
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");

    (void)state;
    h_hold_store(h, true);
    h_feed(a, "<iq type='set' id='1'><query xmlns='jabber:iq:private'><x xmlns='n1'/></query></iq>");
    h_feed(a, "<iq type='set' id='2'><query xmlns='jabber:iq:private'><x xmlns='n2'/></query></iq>");
    h_feed(a, "<iq type='set' id='3'><query xmlns='jabber:iq:private'><x xmlns='n3'/></query></iq>");
    h_feed(b, "<iq type='set' id='4'><query xmlns='jabber:iq:private'><x xmlns='n4'/></query></iq>");
    h_run(h);
    h_hold_store(h, false);
    h_run(h);
    while (h_count(a) > 0) {
        size_t len;
        print_message("%s\n", gr_stanza_xml(h_next(a), &len));
    }
    while (h_count(b) > 0) {
        size_t len;
        print_message("%s\n", gr_stanza_xml(h_next(b), &len));
    }
    h_stop(&h);
}

/* --- 7 --- */
static void test_staff_leak(void **state)
{
    struct h *h = begin("[host localhost]\nadmins = boss@localhost\n[mod_roster]\n[mod_staff_roster]\n");
    h_user(h, "boss@localhost");
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");

    (void)state;
    h_send(a, "<iq type='get' id='2'>" GET "</iq>");
    h_user(h, "visitor@localhost");
    h_user_delete(h, "visitor@localhost");
    while (h_count(a) > 0) {
        size_t len;
        print_message("%s\n", gr_stanza_xml(h_next(a), &len));
    }
    h_stop(&h);
}

/* --- 8 --- */
static void test_password_over_loops(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_register]\nrequire_tls=no\n");

    (void)state;
    for (int i = 0; i < 6; i++) {
        char full[64], xml[256];
        size_t len;
        snprintf(full, sizeof(full), "u%d@localhost", i);
        h_user(h, full);
        snprintf(full, sizeof(full), "u%d@localhost/x", i);
        struct hs *a = h_login(h, full);
        snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:register'><username>u%d</username><password>longpassword</password></query>", i);
        print_message("%s\n", gr_stanza_xml(h_iq(a, "set", "localhost", xml), &len));
        print_message("%s\n", gr_stanza_xml(h_iq(a, "set", "localhost", "<query xmlns='jabber:iq:register'><remove/></query>"), &len));
        print_message("%s\n", h_closed(a));
    }
    h_stop(&h);
}

/* --- 9 --- */
static void test_existence(void **state)
{
    static const char *const q[] = {
        "<vCard xmlns='vcard-temp'/>", "<query xmlns='jabber:iq:last'/>",
        "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        "<query xmlns='http://jabber.org/protocol/disco#items'/>",
        "<query xmlns='http://jabber.org/protocol/disco#items' node='x'/>",
        "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:private'><x xmlns='y'/></query>",
        "<query xmlns='jabber:iq:roster'/>", "<query xmlns='jabber:iq:version'/>",
        "<query xmlns='jabber:iq:register'/>", "<time xmlns='urn:xmpp:time'/>", "<q xmlns='unknown'/>" };
    struct h *h = begin("[host localhost]\n[mod_roster]\n[mod_presence]\n[mod_last]\n[mod_vcard]\n[mod_private]\n[mod_register]\nrequire_tls=no\n[mod_disco]\n[mod_ping]\n[mod_version]\n[mod_time]\n[mod_offline]\n");
    h_user(h, "abcd@localhost");
    h_user(h, "oopq@localhost");
    h_user(h, "alice@localhost");
    struct hs *a = h_online(h, "alice@localhost/a");
    struct hs *on = h_online(h, "oopq@localhost/a");

    (void)state;
    (void)on;
    for (size_t t = 0; t < 3; t++)
    for (size_t i = 0; i < GR_COUNT(q); i++) {
        static const char *const who[] = { "abcd@localhost", "zbcd@localhost", "oopq@localhost" };
        char *text[6];
        size_t len;
        for (int k = 0; k < 6; k++) {
            char to[64];
            snprintf(to, sizeof(to), "%s%s", who[k % 3], k >= 3 ? "/zz" : "");
            struct gr_stanza *r = h_iq(a, t == 1 ? "set" : "get", to, q[i]);
            gr_stanza_set_id(r, "x");
            gr_stanza_set_from(r, h_parse_jid(h, k >= 3 ? "q@q/zz" : "q@q"));
            text[k] = gr_strdup(gr_stanza_xml(r, &len));
        }
        for (int k = 0; k < 6; k++)
        if (strcmp(text[k / 3 * 3], text[k]) != 0)
            print_message("LEAK %s %zu: %d\n%s\n%s\n", q[i], t, k, text[k/3*3], text[k]);
        if (t == 0) print_message("%s\n   full: %s\n", text[0], text[3]);
        for (int k = 0; k < 6; k++) gr_free(text[k]);
    }
    h_stop(&h);
}


/* --- 10 --- */
static void dump(struct hs *a)
{
    size_t len;
    while (h_count(a) > 0)
        print_message("  %s\n", gr_stanza_xml(h_next(a), &len));
}
static void test_last_after_removal(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_roster]\n[mod_presence]\n[mod_last]\n[mod_vcard]\n[mod_private]\n[mod_register]\nrequire_tls=no\n");
    h_user(h, "alice@localhost");
    struct hs *a = h_online(h, "alice@localhost/a");
    struct hs *c = h_online(h, "carol@localhost/c");

    (void)state;
    h_hold_store(h, true);
    h_feed(a, "<iq type='set' id='1'><query xmlns='jabber:iq:register'><remove/></query></iq>");
    for (int i = 0; i < 12 && h_closed(a) == NULL; i++) {
        char xml[300];
        h_run(h);
        snprintf(xml, sizeof(xml), "<iq type='set' id='v%d'><vCard xmlns='vcard-temp'><FN>old%d</FN></vCard></iq>", i, i);
        h_feed(a, xml);
        snprintf(xml, sizeof(xml), "<iq type='set' id='p%d'><query xmlns='jabber:iq:private'><x xmlns='y'>old%d</x></query></iq>", i, i);
        h_feed(a, xml);
        snprintf(xml, sizeof(xml), "<iq type='set' id='r%d'>" Q "<item jid='c%d@remote.example'/></query></iq>", i, i);
        h_feed(a, xml);
        h_run(h);
        print_message("commit %d\n", i);
        h_commit(h);
    }
    h_hold_store(h, false);
    h_run(h);
    dump(a);
    print_message("closed: %s\n", h_closed(a));
    h_user(h, "alice@localhost");
    a = h_login(h, "alice@localhost/b");
    h_send(a, "<iq type='get' id='2'><vCard xmlns='vcard-temp'/></iq>");
    h_send(a, "<iq type='get' id='3'><query xmlns='jabber:iq:private'><x xmlns='y'/></query></iq>");
    h_send(a, "<iq type='get' id='4'>" GET "</iq>");
    h_send(c, "<presence type='subscribe' to='alice@localhost'/>");
    h_send(a, "<presence type='subscribed' to='carol@localhost'/>");
    print_message("new:\n");
    dump(a);
    h_disconnect(&a, true);
    h_drop_all(c);
    h_send(c, "<iq type='get' id='5' to='alice@localhost'><query xmlns='jabber:iq:last'/></iq>");
    dump(c);
    h_stop(&h);
}

static void test_staff_leak2(void **state)
{
    struct h *h = begin("[host localhost]\nadmins = boss@localhost\n[mod_roster]\n[mod_staff_roster]\n");
    h_user(h, "boss@localhost");
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");

    (void)state;
    h_user(h, "v1@localhost");
    h_user(h, "v2@localhost");
    h_send(a, "<iq type='get' id='2'>" GET "</iq>");
    h_user_delete(h, "v1@localhost");
    h_user_delete(h, "v2@localhost");
    dump(a);
    h_stop(&h);
}

/* a message for an account that is being removed */
static void test_message_while_removed(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_roster]\n[mod_presence]\n[mod_offline]\n[mod_register]\nrequire_tls=no\n");
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");
    struct hs *c = h_online(h, "carol@localhost/c");

    (void)state;
    h_hold_store(h, true);
    h_feed(a, "<iq type='set' id='1'><query xmlns='jabber:iq:register'><remove/></query></iq>");
    for (int i = 0; i < 12 && h_closed(a) == NULL; i++) {
        char xml[300];
        h_run(h);
        snprintf(xml, sizeof(xml), "<message id='m%d' to='alice@localhost'><body>m%d</body></message>", i, i);
        h_feed(c, xml);
        snprintf(xml, sizeof(xml), "<presence id='m%d' to='alice@localhost' type='subscribe'/>", i);
        if (i % 2)
            injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
        h_feed(c, xml);
        h_run(h);
        print_message("commit %d\n", i);
        h_commit(h);
    }
    h_hold_store(h, false);
    h_run(h);
    dump(a);
    dump(c);
    print_message("closed: %s\n", h_closed(a));
    h_user(h, "alice@localhost");
    a = h_login(h, "alice@localhost/b");
    h_send(a, "<iq type='get' id='4'>" GET "</iq>");
    h_send(a, "<presence/>");
    print_message("new:\n");
    dump(a);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(test_presence_after_unsubscribed),
        cmocka_unit_test(test_removal_that_fails_half_way),
        cmocka_unit_test(test_subscription_without_record),
        cmocka_unit_test(test_rows_after_removal),
        cmocka_unit_test(test_private_bound),
        cmocka_unit_test(test_staff_leak),
        cmocka_unit_test(test_password_over_loops),
        cmocka_unit_test(test_existence),
        cmocka_unit_test(test_last_after_removal),
        cmocka_unit_test(test_staff_leak2),
        cmocka_unit_test(test_message_while_removed),
    };

    if (getenv("F")) cmocka_set_test_filter(getenv("F"));
    return H_RUN("regress_modules", cases);
}

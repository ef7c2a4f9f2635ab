/* tests/mod/test_roster.c: mod_roster: jabber:iq:roster with pushes and versioning (RFC 6121,
 * 2), the scenarios of roster.md 7, order, bounds, restarts and reloads. The state machine cell
 * by cell is test_roster_states.c. */
#include "harness.h"

#include "store/store.h"

#include <stdio.h>

#define Q "<query xmlns='jabber:iq:roster'>"
#define GET "<query xmlns='jabber:iq:roster'/>"
#define CONF "[host localhost]\n[mod_roster]\n[mod_presence]\n"

/* --- the other servers --- */

static char sent[65536]; /* "type from>to\n" of every stanza for remote.example */

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

static unsigned sets, processed, pushed;

static void on_set(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    (void)self, (void)ev;
    sets++;
}

static enum gr_verdict on_process(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    (void)self;
    processed++;
    if (ev->item->name != NULL && strcmp(ev->item->name, "plain") == 0)
        ev->item->name = "processed";
    return GR_OK;
}

static void on_push(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    (void)self, (void)ev;
    pushed++;
}

/* A virtual item, as a shared roster would add it. */
static bool virtual_item;

static enum gr_verdict on_get(struct gr_mod *self, struct gr_roster_ev *ev)
{
    struct gr_jid *jid;

    (void)self;
    if (!virtual_item)
        return GR_OK;
    assert_int_equal(gr_jid_parse("virtual@localhost", 17, &jid), 0);
    gr_roster_list_add(ev->items, &(struct gr_roster_item){ .jid = jid, .in_roster = true,
                                                           .sub = GR_SUB_BOTH });
    gr_jid_free(&jid);
    return GR_OK;
}

/* What a module that blocks contacts does. */
static enum gr_verdict on_local_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    return strcmp(ev->from->bare, "blocked@remote.example") == 0 ? GR_DROP : GR_OK;
}

static const struct gr_hook witness_hooks[] = {
    GR_ON(filter_packet, GR_PRIO_LATE, on_packet),
    GR_ON(filter_local_packet, GR_PRIO_PRIVACY, on_local_packet),
    GR_ON(roster_set, GR_PRIO_NORMAL, on_set),
    GR_ON(roster_process_item, 70, on_process),
    GR_ON(roster_push, GR_PRIO_NORMAL, on_push),
    GR_ON(roster_get, 70, on_get),
    GR_HOOK_END
};
static const struct gr_module witness = { .name = "witness", .summary = "test",
                                          .abi = GR_ABI_VERSION, .abi_tag = GR_ABI_TAG,
                                          .hooks = witness_hooks };

static struct h *start_with(const char *conf)
{
    sent[0] = '\0';
    sets = processed = pushed = 0;
    virtual_item = false;
    h_module(&witness);
    return h_start(conf);
}

static struct h *start(void)
{
    return start_with(CONF);
}

/* What arrives from somewhere else. */
static void inject(struct h *h, const char *xml)
{
    struct gr_stanza *st;

    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    gr_send(h_mod(h, "sm", "localhost"), st);
    h_run(h);
}

static void injectf(struct h *h, const char *type, const char *from, const char *to)
{
    char xml[4096];

    snprintf(xml, sizeof(xml), "<presence type='%s' from='%s' to='%s' id='x'/>", type, from, to);
    inject(h, xml);
}

static void expect_sent(const char *lines)
{
    assert_string_equal(sent, lines);
    sent[0] = '\0';
}

static const char *get(struct hs *s)
{
    h_iq(s, "get", NULL, GET);
    return NULL;
}

/* An interested client, nothing else waiting. */
static struct hs *login(struct h *h, const char *full)
{
    struct hs *s = h_login(h, full);

    get(s);
    h_drop_all(s);
    return s;
}

static struct hs *online(struct h *h, const char *full)
{
    struct hs *s = login(h, full);

    h_send(s, "<presence/>");
    h_drop_all(s);
    return s;
}

static void set(struct hs *s, const char *item)
{
    char xml[16384];

    snprintf(xml, sizeof(xml), Q "%s</query>", item);
    h_iq_result(s, "set", NULL, xml, NULL);
}

static void set_error(struct hs *s, const char *item, enum gr_cond cond)
{
    char xml[70000];

    snprintf(xml, sizeof(xml), Q "%s</query>", item);
    h_iq_error(s, "set", NULL, xml, cond);
}

static void expect_push(struct hs *s, const char *item)
{
    char bare[128], xml[16384];

    snprintf(bare, sizeof(bare), "%s", h_jid(s)->bare);
    snprintf(xml, sizeof(xml),
             "<iq type='set' id='*' from='%s' to='%s'><query xmlns='jabber:iq:roster' ver='*'>%s"
             "</query></iq>", bare, h_full(s), item);
    h_expect_xml(s, xml);
}

/* The roster, without versions. */
static void expect_roster(struct hs *s, const char *items)
{
    char xml[16384];

    snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:roster' ver='*'>%s</query>", items);
    h_iq_result(s, "get", NULL, GET, xml);
}

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

static void text_of(char *out, size_t n)
{
    memset(out, 'x', n);
    out[n] = '\0';
}

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

/* --- 5, 6: requests --- */

static void test_request_offline(void **state)
{
    struct h *h = start();
    struct hs *a;

    (void)state;
    h_user(h, "alice@localhost");
    inject(h, "<presence type='subscribe' from='bob@remote.example' to='alice@localhost' id='r1'>"
              "<nick xmlns='http://jabber.org/protocol/nick'>Bob</nick></presence>");
    inject(h, "<presence type='subscribe' from='bob@remote.example' to='alice@localhost' "
              "id='r2'/>");
    expect_sent("");
    for (int i = 0; i < 3; i++) { /* at every initial presence, also behind a restart */
        if (i == 1)
            h_restart(h);
        a = login(h, "alice@localhost/a");
        expect_roster(a, ""); /* not in the roster */
        h_send(a, "<presence/>");
        h_expect_among(a, "<presence type='subscribe' from='bob@remote.example' "
                          "to='alice@localhost' id='r1'>"
                          "<nick xmlns='http://jabber.org/protocol/nick'>Bob</nick>"
                          "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/></presence>");
        h_drop_all(a);
        h_send(a, "<presence><show>away</show></presence>"); /* not the initial one */
        h_expect_xml(a, "<presence from='alice@localhost/a' to='alice@localhost' _='more'/>");
        h_expect_nothing(a);
        if (i < 2 && i != 0)
            h_disconnect(&a, true);
    }
    /* An item of one's own: the request stays, the item shows nothing of it. */
    set(a, "<item jid='bob@remote.example' name='Bob'/>");
    expect_push(a, "<item jid='bob@remote.example' name='Bob' subscription='none'/>");
    h_disconnect(&a, true);
    a = login(h, "alice@localhost/a");
    h_send(a, "<presence/>");
    h_expect_among(a, "<presence type='subscribe' id='r1' _='more'/>");
    h_drop_all(a);
    sent[0] = '\0';
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    expect_push(a, "<item jid='bob@remote.example' name='Bob' subscription='from'/>");
    expect_sent("subscribed alice@localhost>bob@remote.example\n"
                "available alice@localhost/a>bob@remote.example\n");
    h_disconnect(&a, true);
    a = login(h, "alice@localhost/a");
    h_send(a, "<presence/>");
    h_drop_all(a);
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost"); /* answered by the server */
    h_expect_nothing(a);
    h_stop(&h);
}

static void test_request_from_full(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    injectf(h, "subscribe", "bob@remote.example/phone", "alice@localhost");
    h_expect_xml(a, "<presence type='subscribe' from='bob@remote.example' to='alice@localhost' "
                    "id='x'/>");
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
    h_expect_nothing(a);
    h_stop(&h);
}

static void test_request_bounds(void **state)
{
    struct h *h = start_with("[host localhost]\n[mod_roster]\nmax_requests = 3\n"
                             "max_request = 512\n[mod_presence]\n");
    struct hs *a;
    char xml[2000], text[1000];

    (void)state;
    h_user(h, "alice@localhost");
    for (int i = 0; i < 5; i++) { /* not in the order of the addresses */
        snprintf(xml, sizeof(xml), "c%d@remote.example", (i * 3 + 2) % 5);
        injectf(h, "subscribe", xml, "alice@localhost");
        h_advance(h, 10);
    }
    /* c2 c0 c3 c1 c4: the first two had to go; the next one is too long to be kept whole. */
    text_of(text, 600);
    snprintf(xml, sizeof(xml), "<presence type='subscribe' from='long@remote.example' id='l' "
             "to='alice@localhost'><status>%s</status></presence>", text);
    inject(h, xml);
    a = login(h, "alice@localhost/a");
    h_send(a, "<presence/>");
    h_expect_among(a, "<presence from='alice@localhost/a' _='more'/>");
    h_expect_xml(a, "<presence type='subscribe' from='c1@remote.example' _='more'/>");
    h_expect_xml(a, "<presence type='subscribe' from='c4@remote.example' _='more'/>");
    h_expect_xml(a, "<presence type='subscribe' from='long@remote.example' to='alice@localhost' "
                    "id='l'><delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/></presence>");
    h_expect_nothing(a);
    h_stop(&h);
}

/* --- 7: pre-approval --- */

static void test_preapproval(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    expect_push(a, "<item jid='bob@remote.example' subscription='none' approved='true'/>");
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    h_expect_nothing(a);
    /* Cancelled: not routed either. */
    h_send(a, "<presence type='unsubscribed' to='bob@remote.example'/>");
    expect_push(a, "<item jid='bob@remote.example' subscription='none'/>");
    expect_sent("");
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    h_drop_all(a);
    h_restart(h);
    a = online(h, "alice@localhost/a");
    injectf(h, "unsubscribed", "bob@remote.example", "alice@localhost"); /* does not cancel it */
    sent[0] = '\0';
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
    expect_push(a, "<item jid='bob@remote.example' subscription='from'/>");
    h_expect_nothing(a);
    expect_sent("subscribed alice@localhost>bob@remote.example\n"
                "available alice@localhost/a>bob@remote.example\n");
    /* Removing the item takes a pre-approval away as well. */
    h_send(a, "<presence type='subscribed' to='eve@remote.example'/>");
    set(a, "<item jid='eve@remote.example' subscription='remove'/>");
    h_drop_all(a);
    injectf(h, "subscribe", "eve@remote.example", "alice@localhost");
    h_expect_xml(a, "<presence type='subscribe' from='eve@remote.example' _='more'/>");
    expect_sent("");
    h_stop(&h);
}

/* --- 8: removal --- */

static void befriend(struct h *h, struct hs *a, const char *contact, bool to, bool from)
{
    const char *me = h_jid(a)->bare;

    if (to || !from)
        h_sendf(a, "<presence type='subscribe' to='%s'/>", contact);
    if (to)
        injectf(h, "subscribed", contact, me);
    if (from) {
        injectf(h, "subscribe", contact, me);
        h_sendf(a, "<presence type='subscribed' to='%s'/>", contact);
    }
    sent[0] = '\0';
    h_drop_all(a);
}

static void test_remove(void **state)
{
    static const struct {
        bool to, from;
        const char *sent;
    } cases[] = {
        { false, false, "unsubscribe alice@localhost>bob@remote.example\n" }, /* none + ask */
        { true, false, "unsubscribe alice@localhost>bob@remote.example\n" },
        { false, true, "unavailable alice@localhost/a>bob@remote.example\n"
                       "unsubscribed alice@localhost>bob@remote.example\n" },
        { true, true, "unsubscribe alice@localhost>bob@remote.example\n"
                      "unavailable alice@localhost/a>bob@remote.example\n"
                      "unsubscribed alice@localhost>bob@remote.example\n" },
    };
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        befriend(h, a, "bob@remote.example", cases[i].to, cases[i].from);
        set(a, "<item jid='bob@remote.example' subscription='remove'/>");
        expect_push(a, "<item jid='bob@remote.example' subscription='remove'/>");
        h_expect_nothing(a); /* no pushes of the steps in between */
        expect_sent(cases[i].sent);
        expect_roster(a, "");
        injectf(h, "subscribed", "bob@remote.example", "alice@localhost");
        h_expect_nothing(a);
    }
    set_error(a, "<item jid='bob@remote.example' subscription='remove'/>", GR_ITEM_NOT_FOUND);
    /* A request is not the roster's: it survives the item. */
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
    set(a, "<item jid='bob@remote.example'/>");
    set(a, "<item jid='bob@remote.example' subscription='remove'/>");
    h_drop_all(a);
    expect_sent("");
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    expect_push(a, "<item jid='bob@remote.example' subscription='from'/>");
    h_stop(&h);
}

/* --- 9: versioning --- */

static void version(struct hs *s, char out[32])
{
    struct gr_stanza *st = h_iq(s, "get", NULL, GET);

    snprintf(out, 32, "%s", gr_el_attr(gr_stanza_payload(st), "ver"));
}

/* The result is empty: what changed follows as pushes. */
static void get_changes(struct hs *s, const char *ver)
{
    char xml[128];

    snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:roster' ver='%s'/>", ver);
    h_iq_result(s, "get", NULL, xml, NULL);
}

static void get_full(struct hs *s, const char *ver, const char *items)
{
    char xml[128], result[2048];

    snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:roster' ver='%s'/>", ver);
    snprintf(result, sizeof(result), "<query xmlns='jabber:iq:roster' ver='*'>%s</query>", items);
    h_iq_result(s, "get", NULL, xml, result);
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

/* --- 10, 11, 12: between two --- */

static void test_local_order(void **state)
{
    struct h *h = start();
    const char *bob = NULL;

    (void)state;
    h_user(h, "alice@localhost");
    bob = h_user_near(h, "alice@localhost", false);
    struct hs *a = online(h, "alice@localhost/a");
    char full[128];
    snprintf(full, sizeof(full), "%s/b", bob);
    struct hs *b = online(h, full);

    h_sendf(a, "<presence type='subscribe' id='s1' to='%s/any'/>", bob);
    h_expect_xmlf(a, "<iq type='set' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                  "<item jid='%s' subscription='none' ask='subscribe'/></query></iq>", bob);
    h_expect_xmlf(b, "<presence type='subscribe' id='s1' from='alice@localhost' to='%s'/>", bob);
    h_expect_nothing(b);
    h_send(b, "<presence type='subscribed' id='s2' to='alice@localhost'/>");
    h_expect_xmlf(b, "<iq type='set' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                  "<item jid='alice@localhost' subscription='from'/></query></iq>");
    h_expect_nothing(b);
    /* stanza, push, presence */
    h_expect_xmlf(a, "<presence type='subscribed' id='s2' from='%s' to='alice@localhost'/>", bob);
    h_expect_xmlf(a, "<iq type='set' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                  "<item jid='%s' subscription='to'/></query></iq>", bob);
    h_expect_xmlf(a, "<presence from='%s/b' to='alice@localhost' _='more'/>", bob);
    h_expect_nothing(a);
    /* unavailable, unsubscribed, push */
    h_send(b, "<presence type='unsubscribed' id='s3' to='alice@localhost'/>");
    h_expect_xmlf(b, "<iq type='set' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                  "<item jid='alice@localhost' subscription='none'/></query></iq>");
    h_expect_xmlf(a, "<presence type='unavailable' from='%s/b' to='alice@localhost' _='more'/>",
                  bob);
    h_expect_xmlf(a, "<presence type='unsubscribed' id='s3' from='%s' to='alice@localhost'/>", bob);
    h_expect_xmlf(a, "<iq type='set' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                  "<item jid='%s' subscription='none'/></query></iq>", bob);
    h_expect_nothing(a), h_expect_nothing(b);
    h_stop(&h);
}

/* Who is only interested, or only available, gets that half. */
static void test_halves(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *interested = login(h, "alice@localhost/i");
    struct hs *available = h_online(h, "alice@localhost/a");

    (void)state;
    h_drop_all(interested);
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
    h_expect_xml(available, "<presence type='subscribe' _='more'/>");
    h_expect_nothing(interested);
    h_send(available, "<presence type='subscribed' to='bob@remote.example'/>");
    h_send(available, "<presence type='subscribe' to='bob@remote.example'/>");
    expect_push(interested, "<item jid='bob@remote.example' subscription='from'/>");
    expect_push(interested,
                "<item jid='bob@remote.example' subscription='from' ask='subscribe'/>");
    injectf(h, "subscribed", "bob@remote.example", "alice@localhost");
    h_expect_xml(interested, "<presence type='subscribed' _='more'/>");
    expect_push(interested, "<item jid='bob@remote.example' subscription='both'/>");
    h_expect_nothing(interested), h_expect_nothing(available);
    sent[0] = '\0';
    injectf(h, "unsubscribe", "bob@remote.example", "alice@localhost");
    h_expect_xml(interested, "<presence type='unsubscribe' _='more'/>");
    expect_push(interested, "<item jid='bob@remote.example' subscription='to'/>");
    h_expect_nothing(interested), h_expect_nothing(available);
    expect_sent("unavailable alice@localhost/a>bob@remote.example\n"
                "unsubscribed alice@localhost>bob@remote.example\n");
    h_stop(&h);
}

/* Each accepts and subscribes back, whatever the other does: the servers are what ends it. */
static void test_bots(void **state)
{
    struct h *h = start();
    const char *bob;
    struct hs *bot[2];
    char full[128];
    int handled = 0;

    (void)state;
    h_user(h, "alice@localhost");
    bob = h_user_near(h, "alice@localhost", false);
    bot[0] = online(h, "alice@localhost/bot");
    snprintf(full, sizeof(full), "%s/bot", bob);
    bot[1] = online(h, full);
    h_sendf(bot[0], "<presence type='subscribe' to='%s'/>", bob);
    for (int turn = 0; h_count(bot[0]) + h_count(bot[1]) > 0; turn = 1 - turn) {
        struct gr_stanza *st = h_next(bot[turn]);

        assert_true(++handled < 60);
        if (st == NULL || gr_stanza_kind(st) != GR_PRESENCE ||
            gr_stanza_type(st) != GR_SUBSCRIBE)
            continue;
        h_sendf(bot[turn], "<presence type='subscribed' to='%s'/>", gr_stanza_from(st)->bare);
        h_sendf(bot[turn], "<presence type='subscribe' to='%s'/>", gr_stanza_from(st)->bare);
    }
    snprintf(full, sizeof(full), "<item jid='%s' subscription='both'/>", bob);
    expect_roster(bot[0], full);
    expect_roster(bot[1], "<item jid='alice@localhost' subscription='both'/>");
    h_stop(&h);
}

static void test_unknown_contact(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    h_send(a, "<presence type='subscribe' id='s' to='nobody@localhost'/>");
    h_expect_error(a, GR_PRESENCE, GR_ITEM_NOT_FOUND, "nobody@localhost");
    h_expect_nothing(a);
    expect_roster(a, "");
    /* Another server's answer comes back to the account. */
    h_send(a, "<presence type='subscribe' id='s' to='x@elsewhere.example'/>");
    expect_push(a, "<item jid='x@elsewhere.example' subscription='none' ask='subscribe'/>");
    h_expect_error(a, GR_PRESENCE, GR_REMOTE_SERVER_NOT_FOUND, "x@elsewhere.example");
    h_expect_nothing(a);
    h_send(a, "<presence type='subscribe' to='alice@localhost'/>");
    h_expect_error(a, GR_PRESENCE, GR_NOT_ALLOWED, "alice@localhost");
    h_stop(&h);
}

/* --- 15: an account goes --- */

static void test_account_removed(void **state)
{
    struct h *h = start();
    const char *bob;
    char full[128], ver[32];

    (void)state;
    h_user(h, "alice@localhost");
    bob = h_user_near(h, "alice@localhost", false);
    struct hs *a = online(h, "alice@localhost/a");
    snprintf(full, sizeof(full), "%s/b", bob);
    struct hs *b = online(h, full);
    h_sendf(b, "<presence type='subscribe' to='alice@localhost'/>");
    h_sendf(a, "<presence type='subscribed' to='%s'/>", bob);
    h_sendf(a, "<presence type='subscribe' to='%s'/>", bob);
    h_sendf(b, "<presence type='subscribed' to='alice@localhost'/>");
    befriend(h, a, "to@remote.example", true, false);
    befriend(h, a, "from@remote.example", false, true);
    befriend(h, a, "ask@remote.example", false, false);
    injectf(h, "subscribe", "stranger@remote.example", "alice@localhost");
    set(a, "<item jid='none@remote.example'/>");
    version(a, ver);
    h_drop_all(b);
    sent[0] = '\0';
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    h_expect_closed(&a, "not-authorized");
    h_expect_among(b, "<presence type='unsubscribe' from='alice@localhost' _='more'/>");
    h_expect_among(b, "<presence type='unsubscribed' from='alice@localhost' _='more'/>");
    h_drop_all(b);
    expect_roster(b, "<item jid='alice@localhost' subscription='none'/>");
    assert_non_null(strstr(sent, "unsubscribe alice@localhost>to@remote.example\n"));
    assert_non_null(strstr(sent, "unsubscribed alice@localhost>from@remote.example\n"));
    assert_non_null(strstr(sent, "unsubscribe alice@localhost>ask@remote.example\n"));
    assert_non_null(strstr(sent, "unsubscribed alice@localhost>stranger@remote.example\n"));
    assert_null(strstr(sent, "none@"));
    /* Nothing is left for who takes the name next, and an old version is not taken for a known
     * one. */
    assert_int_equal(h_user_create(h, "alice@localhost", "secret"), GR_R_OK);
    a = online(h, "alice@localhost/a");
    expect_roster(a, "");
    set(a, "<item jid='new@remote.example'/>");
    h_drop_all(a);
    get_full(a, ver, "<item jid='new@remote.example' subscription='none'/>");
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

/* --- 13: blocked --- */

static void test_blocked(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    injectf(h, "subscribe", "blocked@remote.example", "alice@localhost");
    h_expect_nothing(a);
    h_disconnect(&a, true);
    a = h_login(h, "alice@localhost/a");
    h_send(a, "<presence/>");
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_expect_nothing(a);
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
        cmocka_unit_test(test_request_offline),
        cmocka_unit_test(test_request_from_full),
        cmocka_unit_test(test_request_bounds),
        cmocka_unit_test(test_preapproval),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_versioning),
        cmocka_unit_test(test_versioning_removals),
        cmocka_unit_test(test_versioning_off),
        cmocka_unit_test(test_virtual_items),
        cmocka_unit_test(test_local_order),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_bots),
        cmocka_unit_test(test_unknown_contact),
        cmocka_unit_test(test_account_removed),
        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_iq_not_overtaken_by_presence),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_push_behind_result),
        cmocka_unit_test(test_two_gets),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_slow_store),
        cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_jid_info),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_export),
        cmocka_unit_test(test_features),
    };

    return H_RUN("roster", tests);
}

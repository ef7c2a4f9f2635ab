/* tests/mod/test_disco.c: mod_disco against XEP-0030 (3, 4, 8), XEP-0157 and hooks.md 4.9. The
 * roster is a table of the test's own, which can keep the asker waiting. */
#include "harness.h"

#include <stdio.h>

#define INFO "http://jabber.org/protocol/disco#info"
#define ITEMS "http://jabber.org/protocol/disco#items"
#define GET_INFO "<query xmlns='" INFO "'/>"
#define GET_ITEMS "<query xmlns='" ITEMS "'/>"

/* --- a roster, and a module with a node --- */

static struct {
    const char *owner, *contact;
    enum gr_subscription sub;
    bool wait;
    struct gr_hold *hold;
    unsigned asked;
} roster;
static struct {
    bool broken;        /* the handlers of the test's module fail */
    bool map;           /* "mapped" is the root */
} node;

static enum gr_verdict on_info(struct gr_mod *self, struct gr_jid_info_ev *ev)
{
    roster.asked++;
    assert_null(ev->contact->resource);
    if (roster.owner != NULL && strcmp(ev->owner->full, roster.owner) == 0 &&
        strcmp(ev->contact->full, roster.contact) == 0)
        ev->sub = roster.sub;
    if (!roster.wait)
        return GR_OK;
    roster.hold = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

static enum gr_verdict map(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (node.map && strcmp(ev->node, "mapped") == 0)
        ev->node = "";
    return GR_OK;
}

static enum gr_verdict features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (strcmp(ev->node, "thing") == 0)
        gr_disco_feature(ev, "urn:example:thing");
    if (ev->node[0] == '\0' && ev->subscribed)
        gr_disco_feature(ev, "urn:example:account");
    if (ev->node[0] == '\0') {
        gr_disco_feature(ev, "zzz:last");
        gr_disco_feature(ev, "aaa:first");
        gr_disco_feature(ev, INFO);
    }
    return node.broken ? GR_FAIL : GR_OK;
}

static enum gr_verdict identity(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (strcmp(ev->node, "thing") == 0)
        gr_disco_identity(ev, "hierarchy", "leaf", "A thing");
    return GR_OK;
}

static enum gr_verdict items(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (strcmp(ev->node, "thing") == 0)
        gr_disco_item(ev, "localhost", "thing/part", "A part");
    if (strcmp(ev->node, "nothing") == 0)
        ev->answered = true;
    if (strcmp(ev->node, "public") == 0)
        gr_disco_item(ev, ev->to->bare, "public", NULL);
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(roster_get_jid_info, 50, on_info),
    GR_ON(disco_local_features, 1, map),
    GR_ON(disco_local_identity, 1, map),
    GR_ON(disco_info, 1, map),
    GR_ON(disco_local_features, 50, features),
    GR_ON(disco_sm_features, 50, features),
    GR_ON(disco_local_identity, 50, identity),
    GR_ON(disco_local_items, 50, items),
    GR_ON(disco_sm_items, 50, items),
    GR_HOOK_END
};
static const struct gr_module tester = { .name = "tester", .hooks = hooks };

static struct h *start(const char *options)
{
    char ini[1024];

    memset(&roster, 0, sizeof(roster));
    memset(&node, 0, sizeof(node));
    snprintf(ini, sizeof(ini), "[host localhost]\n[mod_disco]\n%s\n[mod_ping]\n[mod_version]\n"
             "[mod_vcard]\n", options);
    h_module(&tester);
    struct h *h = h_start(ini);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

static void bob_is(enum gr_subscription sub)
{
    roster.owner = "alice@localhost";
    roster.contact = "bob@localhost";
    roster.sub = sub;
}

/* --- the host --- */

static void host_info(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", GET_INFO,
                "<query xmlns='" INFO "'>"
                "<identity category='server' type='im' name='Grapnel'/>"
                "<feature var='aaa:first'/>"
                "<feature var='" INFO "'/><feature var='" ITEMS "'/>"
                "<feature var='jabber:iq:version'/><feature var='urn:xmpp:ping'/>"
                "<feature var='vcard-temp'/><feature var='zzz:last'/></query>");
    /* A host is not found through an account. */
    assert_int_equal(roster.asked, 0);
    h_stop(&h);
}

/* The order counts for whoever compares answers. */
static void features_are_sorted_and_unique(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct gr_stanza *st = h_iq(alice, "get", "localhost", GET_INFO);
    const char *before = "";
    unsigned n = 0;

    (void)state;
    for (struct gr_el *el = gr_el_child(gr_stanza_payload(st), NULL, "feature"); el != NULL;
         el = gr_el_next(el, NULL, "feature")) {
        assert_true(strcmp(before, gr_el_attr(el, "var")) < 0);
        before = gr_el_attr(el, "var");
        n++;
    }
    assert_int_equal(n, 7);
    h_stop(&h);
}

static void contact_addresses(void **state)
{
    struct h *h = start("name = Example\nabuse_addresses = mailto:abuse@example.org, "
                        "xmpp:abuse@example.org\nstatus_addresses = https://status.example.org/\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", GET_INFO,
                "<query xmlns='" INFO "' _='more'>"
                "<identity category='server' type='im' name='Example'/>"
                "<x xmlns='jabber:x:data' type='result'>"
                "<field var='FORM_TYPE' type='hidden'>"
                "<value>http://jabber.org/network/serverinfo</value></field>"
                "<field var='abuse-addresses' type='list-multi'>"
                "<value>mailto:abuse@example.org</value><value>xmpp:abuse@example.org</value>"
                "</field>"
                "<field var='status-addresses' type='list-multi'>"
                "<value>https://status.example.org/</value></field></x></query>");
    h_stop(&h);
}

/* XEP-0157, 7.1: each under its own name. */
static void every_kind_of_contact(void **state)
{
    static const char *const kinds[] = { "abuse", "admin", "feedback", "sales", "security", "status",
                                         "support" };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(kinds); i++) {
        char *ini = gr_asprintf("%s_addresses = xmpp:%s@example.org\n", kinds[i], kinds[i]);
        char *xml = gr_asprintf("<query xmlns='" INFO "' _='more'>"
                                "<x xmlns='jabber:x:data' type='result'>"
                                "<field var='FORM_TYPE' type='hidden'>"
                                "<value>http://jabber.org/network/serverinfo</value></field>"
                                "<field var='%s-addresses' type='list-multi'>"
                                "<value>xmpp:%s@example.org</value></field></x></query>", kinds[i],
                                kinds[i]);
        struct h *h = start(ini);

        h_iq_result(h_login(h, "alice@localhost/a"), "get", "localhost", GET_INFO, xml);
        h_stop(&h);
        gr_free(ini);
        gr_free(xml);
    }
}

static void contact_addresses_are_uris(void **state)
{
    static const char *const wrong[] = { "abuse", "mailto:", ":x", "mailto:a b", "xmpp:<a@b>" };
    char *errors;

    (void)state;
    for (size_t i = 0; i < GR_COUNT(wrong); i++) {
        char *ini = gr_asprintf("[host localhost]\n[mod_disco]\nadmin_addresses = %s\n", wrong[i]);

        assert_null(h_start_try(ini, &errors));
        assert_non_null(strstr(errors, "URI"));
        gr_free(errors);
        gr_free(ini);
    }
    assert_null(h_start_try("[host localhost]\n[mod_disco]\nabuse_addresses = abuse\n", &errors));
    assert_non_null(strstr(errors, "URI"));
    gr_free(errors);
}

static void host_items(void **state)
{
    struct h *h = start("extra_domains = rooms.example.org, files.example.org\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", GET_ITEMS,
                "<query xmlns='" ITEMS "'><item jid='rooms.example.org'/>"
                "<item jid='files.example.org'/></query>");
    h_stop(&h);
}

static void no_items_is_an_empty_list(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", GET_ITEMS, GET_ITEMS);
    h_stop(&h);
}

static void subhost(struct h *h, enum gr_hook_id hook, const char *domain, bool hidden)
{
    for (int i = 0; i < h_loops(h); i++) {
        char jid[32];
        int n = 0;

        do
            snprintf(jid, sizeof(jid), "u%d@localhost", n++);
        while (h_home(h, jid) != i);
        struct gr_domain_ev ev = { .domain = domain, .hidden = hidden };
        gr_hook_run(h_mod(h, "tester", jid), hook, &ev.ev, NULL);
    }
}

static void components_come_and_go(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    subhost(h, GR_HOOK_register_subhost, "rooms.localhost", false);
    subhost(h, GR_HOOK_register_subhost, "irc.localhost", true);
    subhost(h, GR_HOOK_register_subhost, "irc.localhost", true);
    subhost(h, GR_HOOK_register_subhost, "elsewhere.example", false);
    subhost(h, GR_HOOK_register_subhost, "notlocalhost", false);
    h_iq_result(alice, "get", "localhost", GET_ITEMS,
                "<query xmlns='" ITEMS "'><item jid='irc.localhost'/>"
                "<item jid='rooms.localhost'/></query>");
    /* Kept over a reload, which also hides the hidden ones. */
    h_reload(h, "[host localhost]\n[mod_disco]\nusers_can_see_hidden_services = no\n", NULL);
    h_iq_result(alice, "get", "localhost", GET_ITEMS,
                "<query xmlns='" ITEMS "'><item jid='rooms.localhost'/></query>");
    subhost(h, GR_HOOK_unregister_subhost, "rooms.localhost", false);
    h_iq_result(alice, "get", "localhost", GET_ITEMS, GET_ITEMS);
    h_stop(&h);
}

/* --- nodes --- */

static void nodes_of_the_host(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", "<query xmlns='" INFO "' node='thing'/>",
                "<query xmlns='" INFO "' node='thing'>"
                "<identity category='hierarchy' type='leaf' name='A thing'/>"
                "<feature var='urn:example:thing'/></query>");
    h_iq_result(alice, "get", "localhost", "<query xmlns='" ITEMS "' node='thing'/>",
                "<query xmlns='" ITEMS "' node='thing'>"
                "<item jid='localhost' node='thing/part' name='A part'/></query>");
    h_iq_error(alice, "get", "localhost", "<query xmlns='" INFO "' node='other'/>",
               GR_ITEM_NOT_FOUND);
    h_iq_error(alice, "get", "localhost", "<query xmlns='" ITEMS "' node='other'/>",
               GR_ITEM_NOT_FOUND);
    h_stop(&h);
}

/* hooks.md 4.9: an empty answer and no answer are different. */
static void an_empty_node_is_not_a_missing_one(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", "<query xmlns='" ITEMS "' node='nothing'/>",
                "<query xmlns='" ITEMS "' node='nothing'/>");
    h_stop(&h);
}

/* As capabilities do (XEP-0115): the node of the answer stays the one that was asked for. */
static void a_handler_may_map_the_node(void **state)
{
    struct h *h = start("abuse_addresses = mailto:abuse@example.org\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_error(alice, "get", "localhost", "<query xmlns='" INFO "' node='mapped'/>",
               GR_ITEM_NOT_FOUND);
    node.map = true;
    h_iq_result(alice, "get", "localhost", "<query xmlns='" INFO "' node='mapped'/>",
                "<query xmlns='" INFO "' node='mapped' _='more'>"
                "<identity category='server' type='im' name='Grapnel'/>"
                "<feature var='" INFO "'/><x xmlns='jabber:x:data' _='any'/></query>");
    h_stop(&h);
}

static void set_is_not_allowed(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_error(alice, "set", "localhost", GET_INFO, GR_NOT_ALLOWED);
    h_iq_error(alice, "set", "localhost", GET_ITEMS, GR_NOT_ALLOWED);
    h_iq_error(alice, "set", NULL, GET_INFO, GR_NOT_ALLOWED);
    h_iq_error(alice, "set", NULL, GET_ITEMS, GR_NOT_ALLOWED);
    h_stop(&h);
}

static void a_module_that_fails_takes_nobody_with_it(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    node.broken = true;
    h_iq_result(alice, "get", "localhost", GET_INFO,
                "<query xmlns='" INFO "' _='more'>"
                "<identity category='server' type='im' name='Grapnel'/>"
                "<feature var='urn:xmpp:ping'/></query>");
    h_stop(&h);
}

/* --- accounts --- */

#define ACCOUNT_INFO                                                                               \
    "<query xmlns='" INFO "'><identity category='account' type='registered'/>"                    \
    "<feature var='aaa:first'/><feature var='" INFO "'/><feature var='" ITEMS "'/>"               \
    "<feature var='urn:example:account'/><feature var='urn:xmpp:ping'/>"                          \
    "<feature var='vcard-temp'/><feature var='zzz:last'/></query>"

static void ones_own_account(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct hs *other = h_login(h, "alice@localhost/b");
    struct hs *third = h_login(h, "alice@localhost/c");

    (void)state;
    h_iq_result(alice, "get", NULL, GET_INFO, ACCOUNT_INFO);
    h_iq_result(alice, "get", "alice@localhost", GET_INFO, ACCOUNT_INFO);
    h_iq_result(alice, "get", NULL, GET_ITEMS, GET_ITEMS); /* nobody is available */
    h_set_available(other, 0);
    h_set_available(third, -1);
    h_drop_all(other);
    h_iq_result(alice, "get", NULL, GET_ITEMS,
                "<query xmlns='" ITEMS "'><item jid='alice@localhost/b'/>"
                "<item jid='alice@localhost/c'/></query>");
    h_iq_error(alice, "get", NULL, "<query xmlns='" INFO "' node='other'/>", GR_ITEM_NOT_FOUND);
    h_iq_error(alice, "get", NULL, "<query xmlns='" ITEMS "' node='other'/>", GR_ITEM_NOT_FOUND);
    assert_int_equal(roster.asked, 0);
    h_stop(&h);
}

static void a_contacts_account(void **state)
{
    static const enum gr_subscription may[] = { GR_SUB_FROM, GR_SUB_BOTH };
    struct h *h = start("");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_set_available(alice, 0);
    for (size_t i = 0; i < 2; i++) {
        bob_is(may[i]);
        h_iq_result(bob, "get", "alice@localhost", GET_INFO, ACCOUNT_INFO);
        h_iq_result(bob, "get", "alice@localhost", GET_ITEMS,
                    "<query xmlns='" ITEMS "'><item jid='alice@localhost/a'/></query>");
        h_iq_result(bob, "get", "alice@localhost", "<query xmlns='" ITEMS "' node='public'/>",
                    "<query xmlns='" ITEMS "' node='public'>"
                    "<item jid='alice@localhost' node='public'/></query>");
        h_iq_error(bob, "get", "alice@localhost", "<query xmlns='" ITEMS "' node='other'/>",
                   GR_ITEM_NOT_FOUND);
    }
    h_stop(&h);
}

/* XEP-0030, 8: an account that is there and one that is not look the same. */
static void a_strangers_account(void **state)
{
    static const char *const who[] = { "alice@localhost", "nobody@localhost" };
    static const enum gr_subscription not[] = { GR_SUB_NONE, GR_SUB_TO };
    struct h *h = start("");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_set_available(alice, 0);
    for (size_t i = 0; i < 4; i++) {
        bob_is(not[i / 2]);
        h_iq_error(bob, "get", who[i % 2], GET_INFO, GR_SERVICE_UNAVAILABLE);
        h_iq_error(bob, "get", who[i % 2], "<query xmlns='" INFO "' node='thing'/>",
                   GR_SERVICE_UNAVAILABLE);
        h_iq_result(bob, "get", who[i % 2], GET_ITEMS, GET_ITEMS);
        h_iq_result(bob, "get", who[i % 2], "<query xmlns='" ITEMS "' node='other'/>",
                    "<query xmlns='" ITEMS "' node='other'/>");
    }
    assert_int_equal(roster.asked, 16);
    /* What a module makes public stays so. */
    h_iq_result(bob, "get", "alice@localhost", "<query xmlns='" ITEMS "' node='public'/>",
                "<query xmlns='" ITEMS "' node='public'>"
                "<item jid='alice@localhost' node='public'/></query>");
    h_expect_nothing(alice);
    h_stop(&h);
}

static void a_slow_roster(void **state)
{
    struct h *h = start("");
    struct hs *bob = h_login(h, "bob@localhost/b");

    (void)state;
    bob_is(GR_SUB_BOTH);
    roster.wait = true;
    h_send(bob, "<iq type='get' id='1' to='alice@localhost'>" GET_INFO "</iq>");
    h_send(bob, "<iq type='get' id='2' to='localhost'>" GET_INFO "</iq>");
    h_expect_xml(bob, "<iq type='result' id='2' from='localhost' to='bob@localhost/b' _='any'/>");
    h_expect_nothing(bob);
    h_enter(h, "alice@localhost");
    gr_resume(roster.hold, GR_OK);
    h_run(h);
    h_expect_xml(bob, "<iq type='result' id='1' from='alice@localhost' to='bob@localhost/b'>"
                      ACCOUNT_INFO "</iq>");
    h_stop(&h);
}

/* Nobody answers for the roster: nobody is a contact. */
static void a_roster_that_never_answers(void **state)
{
    struct h *h = start("");
    struct hs *bob = h_login(h, "bob@localhost/b");

    (void)state;
    bob_is(GR_SUB_BOTH);
    roster.wait = true;
    h_send(bob, "<iq type='get' id='1' to='alice@localhost'>" GET_INFO "</iq>");
    h_advance(h, 31 * GR_SECOND);
    h_expect_error(bob, GR_IQ, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    h_enter(h, "alice@localhost");
    gr_resume(roster.hold, GR_OK);
    h_log(h);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(host_info),
        cmocka_unit_test(features_are_sorted_and_unique),
        cmocka_unit_test(contact_addresses),
        cmocka_unit_test(every_kind_of_contact),
        cmocka_unit_test(contact_addresses_are_uris),
        cmocka_unit_test(host_items),
        cmocka_unit_test(no_items_is_an_empty_list),
        cmocka_unit_test(components_come_and_go),
        cmocka_unit_test(nodes_of_the_host),
        cmocka_unit_test(an_empty_node_is_not_a_missing_one),
        cmocka_unit_test(a_handler_may_map_the_node),
        cmocka_unit_test(set_is_not_allowed),
        cmocka_unit_test(a_module_that_fails_takes_nobody_with_it),
        cmocka_unit_test(ones_own_account),
        cmocka_unit_test(a_contacts_account),
        cmocka_unit_test(a_strangers_account),
        cmocka_unit_test(a_slow_roster),
        cmocka_unit_test(a_roster_that_never_answers),
    };

    return H_RUN("disco", cases);
}

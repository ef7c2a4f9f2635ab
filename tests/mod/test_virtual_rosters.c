/* tests/mod/test_virtual_rosters.c: mod_everyone_roster and mod_staff_roster (backends.md 3.4):
 * what is in them, that nothing can change them and nothing reaches the provider below, and what
 * is told when an account comes or goes. */
#include "harness.h"

#include <stdio.h>

#define Q "<query xmlns='jabber:iq:roster'>"
#define GET "<query xmlns='jabber:iq:roster'/>"
#define ITEM(name) "<item jid='" name "@localhost' name='" name "' subscription='both'/>"

static char sent[4096];

static enum gr_verdict on_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const char *type = gr_el_attr(gr_stanza_root(ev->stanza), "type");
    size_t len = strlen(sent);

    (void)self;
    if (strcmp(ev->to->domain, "remote.example") != 0)
        return GR_OK;
    snprintf(sent + len, sizeof(sent) - len, "%s %s\n", type != NULL ? type : "available",
             ev->from->full);
    return GR_DROP;
}

static const struct gr_hook witness_hooks[] = { GR_ON(filter_packet, GR_PRIO_LATE, on_packet),
                                                GR_HOOK_END };
static const struct gr_module witness = { .name = "witness", .summary = "test",
                                          .abi = GR_ABI_VERSION, .abi_tag = GR_ABI_TAG,
                                          .hooks = witness_hooks };

static struct h *start(const char *module)
{
    char conf[400];

    sent[0] = '\0';
    h_module(&witness);
    snprintf(conf, sizeof(conf), "[host localhost]\nadmins = alice@localhost, carol@localhost\n"
             "[mod_roster]\n[mod_presence]\n%s\n", module);
    return h_start(conf);
}

static void expect_roster(struct hs *s, const char *items)
{
    char xml[2048];

    snprintf(xml, sizeof(xml), Q "%s</query>", items);
    h_iq_result(s, "get", NULL, GET, xml);
}

static void expect_push(struct hs *s, const char *item)
{
    h_expect_xmlf(s, "<iq type='set' id='*' from='%s' to='%s'>" Q "%s</query></iq>",
                  h_jid(s)->bare, h_full(s), item);
}

static void some(struct h *h)
{
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    h_user(h, "carol@localhost");
}

static void test_everyone(void **state)
{
    struct h *h = start("[mod_everyone_roster]");

    (void)state;
    some(h);
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "bob@localhost/b");
    expect_roster(a, ITEM("bob") ITEM("carol"));
    expect_roster(b, ITEM("alice") ITEM("carol"));
    /* A version of an earlier, real roster is of no use. */
    h_iq_result(b, "get", NULL, "<query xmlns='jabber:iq:roster' ver='0'/>",
                Q ITEM("alice") ITEM("carol") "</query>");
    h_stop(&h);
}

static void test_staff(void **state)
{
    struct h *h = start("[mod_staff_roster]");

    (void)state;
    some(h);
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "bob@localhost/b");
    expect_roster(a, ITEM("carol"));
    expect_roster(b, ITEM("alice") ITEM("carol"));
    h_stop(&h);
}

static void test_alone(void **state)
{
    struct h *h = start("[mod_everyone_roster]");

    (void)state;
    h_user(h, "bob@localhost");
    struct hs *b = h_login(h, "bob@localhost/b");
    expect_roster(b, "");
    h_stop(&h);
}

/* More than a page of accounts, and the bound. */
static void test_pages(void **state)
{
    struct h *h = start("[mod_everyone_roster]\nmax_items = 1200\n");
    char name[64];

    (void)state;
    for (int i = 0; i < 1300; i++) {
        snprintf(name, sizeof(name), "u%04d@localhost", i);
        h_user(h, name);
    }
    struct hs *s = h_login(h, "u0001@localhost/x");
    struct gr_stanza *st = h_iq(s, "get", NULL, GET);
    int n = 0, i = 0;
    for (struct gr_el *el = gr_el_child(gr_stanza_payload(st), NULL, "item"); el != NULL;
         el = gr_el_next(el, NULL, "item"), n++, i++) {
        i += i == 1; /* oneself */
        snprintf(name, sizeof(name), "u%04d@localhost", i);
        assert_string_equal(gr_el_attr(el, "jid"), name);
    }
    assert_int_equal(n, 1199);
    h_stop(&h);
}

static void test_fixed(void **state)
{
    struct h *h = start("[mod_everyone_roster]");
    struct gr_stanza *st;

    (void)state;
    some(h);
    struct hs *a = h_login(h, "alice@localhost/a");
    h_iq(a, "get", NULL, GET);
    h_send(a, "<presence/>");
    h_drop_all(a);
    h_iq_error(a, "set", NULL, Q "<item jid='bob@localhost' name='B'/></query>", GR_NOT_ALLOWED);
    h_iq_error(a, "set", NULL, Q "<item jid='new@remote.example'/></query>", GR_NOT_ALLOWED);
    h_iq_error(a, "set", NULL, Q "<item jid='bob@localhost' subscription='remove'/></query>",
               GR_NOT_ALLOWED);
    h_iq_error(a, "set", NULL, Q "<item jid='x@localhost' subscription='remove'/></query>",
               GR_ITEM_NOT_FOUND);
    static const char *const types[] = { "subscribe", "subscribed", "unsubscribe",
                                         "unsubscribed" };
    for (size_t i = 0; i < GR_COUNT(types); i++) {
        char xml[200];

        h_sendf(a, "<presence type='%s' to='bob@localhost'/>", types[i]);
        h_sendf(a, "<presence type='%s' to='new@remote.example'/>", types[i]);
        snprintf(xml, sizeof(xml), "<presence type='%s' from='x@remote.example' "
                 "to='alice@localhost'/>", types[i]);
        assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
        gr_send(h_mod(h, "sm", "localhost"), st);
        h_run(h);
    }
    h_expect_nothing(a);
    assert_string_equal(sent, "");
    expect_roster(a, ITEM("bob") ITEM("carol"));
    /* Nor was anything written for the provider below. */
    assert_int_equal(h_reload(h, "[host localhost]\n[mod_roster]\n[mod_presence]\n", NULL), 0);
    h_iq_result(a, "get", NULL, GET, "<query xmlns='jabber:iq:roster' ver='0'/>");
    h_stop(&h);
}

/* Everybody sees everybody's presence. */
static void test_presence(void **state)
{
    struct h *h = start("[mod_everyone_roster]");

    (void)state;
    h_user(h, "alice@localhost");
    const char *bob = h_user_near(h, "alice@localhost", false);
    struct hs *a = h_online(h, "alice@localhost/a");
    char full[128];
    snprintf(full, sizeof(full), "%s/b", bob);
    struct hs *b = h_login(h, full);
    h_send(b, "<presence/>");
    h_expect_among(b, "<presence from='alice@localhost/a' _='more'/>");
    h_expect_xmlf(a, "<presence from='%s' to='alice@localhost' _='more'/>", full);
    h_disconnect(&b, true);
    h_expect_xmlf(a, "<presence type='unavailable' from='%s' _='more'/>", full);
    h_expect_nothing(a);
    h_stop(&h);
}

static void test_come_and_go(void **state)
{
    struct h *h = start("[mod_everyone_roster]");
    char full[512], mine[64];

    (void)state;
    h_user(h, "alice@localhost");
    const char *bob = h_user_near(h, "alice@localhost", false); /* another loop */
    snprintf(full, sizeof(full), "%s/b", bob);
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, full);
    struct hs *uninterested = h_login(h, "alice@localhost/u");
    h_iq(a, "get", NULL, GET);
    h_iq(b, "get", NULL, GET);
    assert_int_equal(h_user_create(h, "dora@localhost", "secret"), GR_R_OK);
    expect_push(a, ITEM("dora"));
    expect_push(b, ITEM("dora"));
    snprintf(mine, sizeof(mine), "%.*s", (int)strcspn(bob, "@"), bob);
    snprintf(full, sizeof(full), ITEM("dora") "<item jid='%s' name='%s' subscription='both'/>", bob,
             mine);
    expect_roster(a, full);
    expect_roster(b, ITEM("alice") ITEM("dora"));
    struct hs *d = h_login(h, "dora@localhost/d");
    h_iq(d, "get", NULL, GET);
    assert_int_equal(h_user_delete(h, "dora@localhost"), GR_R_OK);
    h_expect_closed(&d, "not-authorized");
    expect_push(a, "<item jid='dora@localhost' subscription='remove'/>");
    expect_push(b, "<item jid='dora@localhost' subscription='remove'/>");
    h_expect_nothing(a), h_expect_nothing(b), h_expect_nothing(uninterested);
    expect_roster(b, ITEM("alice"));
    h_stop(&h);
}

static void test_staff_come_and_go(void **state)
{
    struct h *h = start("[mod_staff_roster]");

    (void)state;
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "bob@localhost/b");
    expect_roster(a, "");
    expect_roster(b, ITEM("alice"));
    assert_int_equal(h_user_create(h, "dora@localhost", "secret"), GR_R_OK);
    h_expect_nothing(a), h_expect_nothing(b);
    assert_int_equal(h_user_create(h, "carol@localhost", "secret"), GR_R_OK);
    expect_push(a, ITEM("carol"));
    expect_push(b, ITEM("carol")); /* a visitor sees staff as well */
    expect_roster(a, ITEM("carol"));
    assert_int_equal(h_user_delete(h, "carol@localhost"), GR_R_OK);
    expect_push(a, "<item jid='carol@localhost' subscription='remove'/>");
    expect_push(b, "<item jid='carol@localhost' subscription='remove'/>");
    h_expect_nothing(a), h_expect_nothing(b);
    h_stop(&h);
}

/* Accounts that change without a hook are noticed after a while. */
static void test_refresh(void **state)
{
    struct h *h = start("[mod_everyone_roster]\nrefresh = 10s\n");

    (void)state;
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");
    expect_roster(a, ITEM("bob"));
    h_user(h, "carol@localhost"); /* straight into the store */
    expect_roster(a, ITEM("bob"));
    h_advance(h, 10000);
    expect_roster(a, ITEM("bob") ITEM("carol"));
    h_stop(&h);
}

/* What was stored before such a module came does not wait for the next owner of the name. */
static void test_removed_below(void **state)
{
    static const char *const plain = "[host localhost]\n[mod_roster]\n";
    struct h *h = start("");

    (void)state;
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "bob@localhost/b");
    h_iq(a, "set", NULL, Q "<item jid='x@remote.example'/></query>");
    h_iq(b, "set", NULL, Q "<item jid='y@remote.example'/></query>");
    assert_int_equal(h_reload(h, "[host localhost]\n[mod_roster]\n[mod_everyone_roster]\n", NULL),
                     0);
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    h_expect_closed(&a, "not-authorized");
    assert_string_equal(sent, "");
    assert_int_equal(h_user_create(h, "alice@localhost", "secret"), GR_R_OK);
    assert_int_equal(h_reload(h, plain, NULL), 0);
    a = h_login(h, "alice@localhost/a");
    h_iq_result(a, "get", NULL, GET, "<query xmlns='jabber:iq:roster' ver='0'/>");
    h_iq_result(b, "get", NULL, GET, "<query xmlns='jabber:iq:roster' ver='*'>"
                "<item jid='y@remote.example' subscription='none'/></query>");
    h_stop(&h);
}

static void test_needs_roster(void **state)
{
    char *errors;

    (void)state;
    assert_null(h_start_try("[host localhost]\n[mod_everyone_roster]\n", &errors));
    assert_non_null(strstr(errors, "mod_roster"));
    gr_free(errors);
    assert_null(h_start_try("[host localhost]\n[mod_roster]\n[mod_everyone_roster]\n[mod_staff_roster]\n",
                            &errors));
    assert_non_null(strstr(errors, "mod_everyone_roster and mod_staff_roster cannot both be enabled"));
    gr_free(errors);
}

static void test_reload(void **state)
{
    struct h *h = start("[mod_everyone_roster]");

    (void)state;
    some(h);
    struct hs *a = h_login(h, "alice@localhost/a");
    expect_roster(a, ITEM("bob") ITEM("carol"));
    assert_int_equal(h_reload(h, "[host localhost]\nadmins = alice@localhost, carol@localhost\n"
                                 "[mod_roster]\n[mod_staff_roster]\n", NULL), 0);
    expect_roster(a, ITEM("carol"));
    assert_int_equal(h_reload(h, "[host localhost]\n[mod_roster]\n", NULL), 0);
    h_iq_result(a, "get", NULL, GET, "<query xmlns='jabber:iq:roster' ver='0'/>");
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everyone),
        cmocka_unit_test(test_staff),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_presence),
        cmocka_unit_test(test_come_and_go),
        cmocka_unit_test(test_staff_come_and_go),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_removed_below),
        cmocka_unit_test(test_needs_roster),
        cmocka_unit_test(test_reload),
    };

    return H_RUN("virtual_rosters", tests);
}

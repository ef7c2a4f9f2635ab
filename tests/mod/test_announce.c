/* tests/mod/test_announce.c: mod_announce: to whom, by whom, how fast; the message of the day and who has
 * seen it. */
#include "harness.h"

#include <stdio.h>

#define CMD "http://jabber.org/protocol/commands"
#define ADMIN "http://jabber.org/protocol/admin"
#define HEADLINE(text) "<message type='headline' from='localhost' to='*'><body>" text "</body></message>"
#define NORMAL(text) "<message from='localhost' to='*'><body>" text "</body></message>"

static struct h *start(const char *options)
{
    char ini[1024];

    snprintf(ini, sizeof(ini), "[host localhost]\nadmins = admin@localhost\n[host other.test]\n"
             "[mod_roster]\n[mod_presence]\n[mod_offline]\n[mod_adhoc]\n[mod_announce]\n%s\n", options);
    struct h *h = h_start(ini);
    h_user(h, "admin@localhost");
    h_user(h, "bob@localhost");
    h_user(h, "carol@localhost");
    return h;
}

static void to_who_is_online(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_login(h, "admin@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    struct hs *second = h_online(h, "bob@localhost/c"), *carol = h_login(h, "carol@localhost/c");
    struct hs *elsewhere = h_online(h, "dave@other.test/d");

    (void)state;
    h_drop_all(bob);
    h_drop_all(second);
    h_send(admin, "<message to='localhost/announce/online'><subject>S</subject>"
           "<body>Down at noon</body></message>");
    h_expect_xml(bob, "<message type='headline' from='localhost' to='bob@localhost/b'>"
                 "<subject>S</subject><body>Down at noon</body></message>");
    h_expect_xml(second, "<message type='headline' from='localhost' to='bob@localhost/c'>"
                 "<subject>S</subject><body>Down at noon</body></message>");
    h_expect_nothing(carol); /* not available */
    h_expect_nothing(elsewhere);
    h_expect_nothing(admin);
    assert_string_equal(h_command(h, "announce online localhost Hello"), "sent=2");
    h_expect_xml(bob, HEADLINE("Hello"));
    h_stop(&h);
}

static void only_admins_and_only_sense(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_login(h, "admin@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    h_send(bob, "<message to='localhost/announce/online'><body>x</body></message>");
    h_expect_error(bob, GR_MESSAGE, GR_FORBIDDEN, "localhost/announce/online");
    h_expect_nothing(bob);
    h_send(admin, "<message type='error' to='localhost/announce/online'><body>x</body></message>");
    h_expect_nothing(admin);
    h_expect_nothing(bob);
    h_send(admin, "<message to='localhost/announce/online'/>");
    h_expect_error(admin, GR_MESSAGE, GR_BAD_REQUEST, "localhost/announce/online");
    assert_string_equal(h_command(h, "announce online bob@localhost x"),
                        "error: bob@localhost is not a domain");
    h_stop(&h);
}

/* RFC 6120, 8.3.1: nothing follows from an error, whoever it is from; nor is it said on. */
static void errors_are_not_announced(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_login(h, "admin@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    for (int i = 0; i < 2; i++) {
        h_send(i == 0 ? admin : bob, "<message type='error' to='localhost/announce/online'><body>x"
               "</body><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
               "</error></message>");
        h_send(i == 0 ? admin : bob, "<message type='error' to='localhost/announce/motd'><body>x"
               "</body></message>");
        h_expect_nothing(admin);
        h_expect_nothing(bob);
    }
    assert_string_equal(h_command(h, "motd show localhost"), "");
    h_stop(&h);
}

/* Nobody learns who else got it, and nobody is an admin by the name he has elsewhere, or says he has. */
static void only_the_admins_of_this_host(void **state)
{
    struct h *h = start("");
    struct hs *other = h_login(h, "admin@other.test/a"), *bob = h_online(h, "bob@localhost/b");
    struct hs *carol = h_online(h, "carol@localhost/c");

    (void)state;
    h_send(other, "<message to='localhost/announce/online'><body>x</body></message>");
    h_expect_error(other, GR_MESSAGE, GR_FORBIDDEN, "localhost/announce/online");
    h_send(bob, "<message from='admin@localhost/a' to='localhost/announce/online'><body>x</body>"
           "<addresses xmlns='http://jabber.org/protocol/address'/></message>");
    h_expect_error(bob, GR_MESSAGE, GR_FORBIDDEN, "localhost/announce/online");
    h_expect_nothing(carol);
    h_stop(&h);
}

/* Whoever is offline gets it later. */
static void to_everybody(void **state)
{
    struct h *h = start("");
    struct hs *bob = h_online(h, "bob@localhost/b"), *carol;

    (void)state;
    assert_string_equal(h_command(h, "announce all localhost Hi"), "sent=3");
    h_expect_xml(bob, NORMAL("Hi"));
    carol = h_login(h, "carol@localhost/c");
    h_send(carol, "<presence/>");
    h_expect_among(carol, "<message from='localhost' to='*' _='more'><body>Hi</body></message>");
    h_stop(&h);
}

/* Also to all accounts, online or not. */
static void everybody_at_its_pace(void **state)
{
    struct h *h = start("rate = 20");
    struct hs *s[] = { h_online(h, "admin@localhost/a"), h_online(h, "bob@localhost/b"),
                       h_online(h, "carol@localhost/c") };

    (void)state;
    h_send(s[0], "<message to='localhost/announce/all'><body>slow</body></message>");
    for (unsigned k = 1; k <= 3; k++) {
        assert_int_equal(h_count(s[0]) + h_count(s[1]) + h_count(s[2]), k);
        h_advance(h, 50);
    }
    h_stop(&h);
}

/* A step of 50 ms has rate / 20 messages. */
static void at_its_pace(void **state)
{
    struct h *h = start("rate = 40");
    struct hs *admin = h_online(h, "admin@localhost/a"), *more[5];
    char jid[40];

    (void)state;
    for (int i = 0; i < 5; i++) {
        snprintf(jid, sizeof(jid), "admin@localhost/%d", i);
        more[i] = h_online(h, jid);
        h_drop_all(more[i]);
    }
    h_drop_all(admin);
    for (int i = 0; i < 5; i++)
        h_drop_all(more[i]);
    unsigned got = 0, before;
    h_send(admin, "<message to='localhost/announce/online'><body>slow</body></message>");
    for (int k = 1; k <= 3; k++) {
        before = got;
        got = h_count(admin);
        for (int i = 0; i < 5; i++)
            got += h_count(more[i]);
        assert_int_equal(got - before, 2);
        h_advance(h, 50);
    }
    h_stop(&h);
}

/* A step looks at so many sessions, available or not, whatever the rate: many do not keep the loop. */
static void a_step_is_bounded(void **state)
{
    enum { N = 1100 };
    static struct hs *users[N];
    struct h *h = start("rate = 20000");
    struct hs *admin = h_login(h, "admin@localhost/a");
    unsigned got = 0, most[8] = { 0 };
    char jid[40];

    (void)state;
    for (int i = 0; i < N; i++) {
        snprintf(jid, sizeof(jid), "u%d@localhost/r", i);
        users[i] = h_login(h, jid);
        if (i % 4 != 0)
            h_set_available(users[i], 0);
    }
    h_send(admin, "<message to='localhost/announce/online'><body>x</body></message>");
    for (int i = 0; i < N; i++)
        most[h_home(h, h_full(users[i]))] += h_count(users[i]);
    for (int i = 0; i < h_loops(h); i++)
        assert_true(most[i] > 0 && most[i] <= 1000);
    if (h_loops(h) == 1)
        assert_in_range(most[0], 1000 - N / 4 - 1, N * 3 / 4 - 1);
    h_advance(h, 50);
    for (int i = 0; i < N; i++)
        got += h_count(users[i]);
    assert_int_equal(got, N * 3 / 4);
    h_stop(&h);
}

static void rounds_are_bounded(void **state)
{
    struct h *h = start("rate = 20");
    struct hs *admin = h_online(h, "admin@localhost/a");

    (void)state;
    h_online(h, "admin@localhost/b");
    h_drop_all(admin);
    for (int i = 0; i < 9; i++)
        h_feed(admin, "<message to='localhost/announce/online'><body>x</body></message>");
    h_run(h);
    h_expect_among(admin, "<message from='localhost/announce/online' to='*'>"
                   "<body>8 announcements are under way already: try later</body></message>");
    h_advance(h, 1000);
    h_drop_all(admin);
    h_send(admin, "<message to='localhost/announce/online'><body>again</body></message>");
    h_advance(h, 100);
    h_expect_among(admin, HEADLINE("again"));
    h_stop(&h);
}

static void a_reload_interrupts(void **state)
{
    struct h *h = start("rate = 20");
    struct hs *admin = h_online(h, "admin@localhost/a");

    (void)state;
    for (int i = 0; i < 5; i++)
        h_online(h, i % 2 ? "admin@localhost/x" : "admin@localhost/y");
    h_drop_all(admin);
    h_send(admin, "<message to='localhost/announce/online'><body>x</body></message>");
    h_reload(h, "[host localhost]\nadmins = admin@localhost\n[mod_presence]\n[mod_roster]\n"
             "[mod_announce]\nrate = 30\n", NULL);
    h_advance(h, 60000);
    h_drop_all(admin);
    h_send(admin, "<message to='localhost/announce/online'><body>works</body></message>");
    h_advance(h, 1000);
    h_expect_among(admin, HEADLINE("works"));
    h_stop(&h);
}

/* --- the message of the day --- */

static void motd(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_login(h, "admin@localhost/a"), *bob = h_online(h, "bob@localhost/b"), *carol;

    (void)state;
    h_send(admin, "<message to='localhost/announce/motd'><body>Day 1</body></message>");
    h_expect_xml(bob, NORMAL("Day 1"));
    carol = h_login(h, "carol@localhost/c");
    h_send(carol, "<presence/>");
    h_expect_among(carol, NORMAL("Day 1"));
    /* Each account sees it once, also after a restart. */
    h_online(h, "bob@localhost/second");
    h_drop_all(bob);
    h_restart(h);
    bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_expect(bob, GR_PRESENCE, GR_AVAILABLE, NULL);
    h_expect_nothing(bob);
    /* Another one: not to who is online. */
    assert_string_equal(h_command(h, "motd edit localhost Day_2"), "");
    h_expect_nothing(bob);
    assert_non_null(strstr(h_command(h, "motd show localhost"), "text=Day_2"));
    assert_string_equal(h_command(h, "motd send localhost"), "asked=1");
    h_expect_xml(bob, NORMAL("Day_2"));
    assert_string_equal(h_command(h, "motd delete localhost"), "");
    assert_string_equal(h_command(h, "motd show localhost"), "");
    carol = h_login(h, "carol@localhost/c");
    h_send(carol, "<presence/>");
    h_expect(carol, GR_PRESENCE, GR_AVAILABLE, NULL);
    h_expect_nothing(carol);
    h_stop(&h);
}

/* Also when several clients are there at once, and the disk is slow. */
static void motd_once_for_all_clients(void **state)
{
    struct h *h = start("");
    struct hs *bob = h_online(h, "bob@localhost/b"), *second = h_online(h, "bob@localhost/c");
    struct gr_user_ev ev = { .jid = NULL };

    (void)state;
    h_drop_all(bob);
    h_drop_all(second);
    h_command(h, "motd edit localhost Day");
    h_hold_store(h, true); /* behind a write, nobody hears yet what was seen */
    ev.jid = h_parse_jid(h, "bob@localhost");
    gr_hook_run(h_mod(h, "announce", "bob@localhost"), GR_HOOK_register_user, &ev.ev, NULL);
    h_command(h, "motd send localhost");
    h_expect_nothing(bob);
    h_hold_store(h, false);
    h_expect_among(bob, NORMAL("Day"));
    while (h_peek(bob) != NULL)
        assert_int_not_equal(gr_stanza_kind(h_next(bob)), GR_MESSAGE);
    h_stop(&h);
}

/* The next owner of a name has seen nothing. */
static void motd_goes_with_the_account(void **state)
{
    struct h *h = start("");
    struct hs *bob;

    (void)state;
    h_command(h, "motd set localhost Day");
    bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_expect_among(bob, NORMAL("Day"));
    h_user_delete(h, "bob@localhost");
    h_user_create(h, "bob@localhost", "secret");
    bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_expect_among(bob, NORMAL("Day"));
    h_stop(&h);
}

static void as_commands_of_a_client(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_login(h, "admin@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    const char *id;
    char xml[1024];

    (void)state;
    id = gr_el_attr(gr_stanza_payload(h_iq(admin, "set", "localhost",
                    "<command xmlns='" CMD "' node='" ADMIN "#set-motd'/>")), "sessionid");
    snprintf(xml, sizeof(xml), "<command xmlns='" CMD "' node='" ADMIN "#set-motd' sessionid='%s'>"
             "<x xmlns='jabber:x:data' type='submit'><field var='motd'><value>--line 1</value>"
             "<value>line 2</value></field></x></command>", id);
    h_assert_xml(h_iq(admin, "set", "localhost", xml), "<iq type='result' _='more'>"
                 "<command xmlns='" CMD "' status='completed' _='more'/></iq>");
    h_expect_xml(bob, NORMAL("--line 1\nline 2"));
    h_stop(&h);
}

static bool exported;

static void on_exported(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)self, (void)ev, (void)verdict;
    exported = true;
}

static void personal_data(void **state)
{
    struct h *h = start("");
    struct hs *bob;
    struct gr_export_ev ev = { .data = gr_nonza_new("urn:example", "all") };

    (void)state;
    h_command(h, "motd set localhost Day");
    bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    ev.user = h_parse_jid(h, "bob@localhost");
    exported = false;
    gr_hook_run(h_mod(h, "announce", "bob@localhost"), GR_HOOK_get_personal_data, &ev.ev,
                on_exported);
    h_run(h);
    assert_true(exported);
    h_assert_xml(ev.data, "<all xmlns='urn:example' _='more'>"
                 "<motd xmlns='urn:grapnel:announce' seen='*'/></all>");
    gr_stanza_unref(&ev.data);
    h_user_delete(h, "bob@localhost");
    ev.data = gr_nonza_new("urn:example", "all");
    gr_hook_run(h_mod(h, "announce", "bob@localhost"), GR_HOOK_get_personal_data, &ev.ev,
                on_exported);
    h_run(h);
    assert_null(gr_el_child(gr_stanza_root(ev.data), "urn:grapnel:announce", "motd"));
    gr_stanza_unref(&ev.data);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(to_who_is_online),
        cmocka_unit_test(only_admins_and_only_sense),
        cmocka_unit_test(errors_are_not_announced),
        cmocka_unit_test(only_the_admins_of_this_host),
        cmocka_unit_test(to_everybody),
        cmocka_unit_test(at_its_pace),
        cmocka_unit_test(everybody_at_its_pace),
        cmocka_unit_test(a_step_is_bounded),
        cmocka_unit_test(rounds_are_bounded),
        cmocka_unit_test(a_reload_interrupts),
        cmocka_unit_test(motd),
        cmocka_unit_test(motd_once_for_all_clients),
        cmocka_unit_test(motd_goes_with_the_account),
        cmocka_unit_test(as_commands_of_a_client),
        cmocka_unit_test(personal_data),
    };

    return H_RUN("announce", cases);
}

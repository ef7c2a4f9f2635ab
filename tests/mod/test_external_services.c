/* tests/mod/test_external_services.c: mod_external_services against XEP-0215. */
#include "harness.h"

#include <stdio.h>

#define NS "urn:xmpp:extdisco:2"
#define HEAD "[host localhost]\n[host other.test]\n[mod_disco]\n[mod_roster]\n[mod_presence]\n" \
             "[mod_external_services]\n"
#define LIST "services = stun s.test 3478 udp, turn t.test 3478 udp secret name=Relay, " \
             "ftp f.test login\n"
#define KEYS "secret = north\nusername = guest\npassword = pw\n"

static void all_services(void **state)
{
    struct h *h = h_start(HEAD LIST KEYS "credentials_ttl = 1h\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    const struct gr_el *turn;
    const char *username;
    uint8_t mac[GR_HASH_MAX];
    char expected[64];

    (void)state;
    struct gr_stanza *st = h_iq(alice, "get", "localhost", "<services xmlns='" NS "'/>");
    h_assert_xml(st, "<iq type='result' from='localhost' _='more'><services xmlns='" NS "'>"
                 "<service type='stun' host='s.test' port='3478' transport='udp'/>"
                 "<service type='turn' host='t.test' port='3478' transport='udp' name='Relay' "
                 "restricted='true' username='*' password='*' expires='*'/>"
                 "<service type='ftp' host='f.test' restricted='true' username='guest' "
                 "password='pw'/></services></iq>");
    turn = gr_el_next(gr_el_child(gr_stanza_payload(st), NULL, NULL), NULL, NULL);
    username = gr_el_attr(turn, "username");
    assert_string_equal(strchr(username, ':'), ":alice");
    assert_int_equal(strtoll(username, NULL, 10), gr_wall_us() / 1000000 + 3600);
    gr_base64_encode(expected, mac, (size_t)gr_hmac("sha-1", "north", 5, username,
                                                    strlen(username), mac));
    assert_string_equal(gr_el_attr(turn, "password"), expected);
    gr_stamp(expected, strtoll(username, NULL, 10) * 1000000);
    assert_string_equal(gr_el_attr(turn, "expires"), expected);
    h_stop(&h);
}

static void selected(void **state)
{
    char xml[600];
    struct h *h = h_start(HEAD LIST KEYS);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", "<services xmlns='" NS "' type='stun'/>",
                "<services xmlns='" NS "' type='stun'><service type='stun' host='s.test' "
                "port='3478' transport='udp'/></services>");
    h_iq_result(alice, "get", "localhost", "<services xmlns='" NS "' type='smtp'/>",
                "<services xmlns='" NS "' type='smtp'/>");
    h_iq_error(alice, "set", "localhost", "<services xmlns='" NS "'/>", GR_NOT_ALLOWED);
    snprintf(xml, sizeof(xml), "<services xmlns='" NS "' type='%0500d'/>", 0);
    h_iq_result(alice, "get", "localhost", xml, xml);
    h_stop(&h);
}

static void credentials(void **state)
{
    struct h *h = h_start(HEAD LIST KEYS);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", "<credentials xmlns='" NS "'>"
                "<service type='turn' host='t.test'/></credentials>",
                "<credentials xmlns='" NS "'><service type='turn' host='t.test' port='3478' "
                "transport='udp' name='Relay' restricted='true' username='*' password='*' "
                "expires='*'/></credentials>");
    h_iq_error(alice, "get", "localhost", "<credentials xmlns='" NS "'>"
               "<service type='turn' host='t.test' port='1'/></credentials>", GR_ITEM_NOT_FOUND);
    h_iq_error(alice, "get", "localhost", "<credentials xmlns='" NS "'>"
               "<service type='stun' host='s.test'/></credentials>", GR_ITEM_NOT_FOUND);
    h_iq_error(alice, "get", "localhost", "<credentials xmlns='" NS "'/>", GR_BAD_REQUEST);
    h_stop(&h);
}

static void for_accounts_of_the_host(void **state)
{
    struct h *h = h_start(HEAD LIST KEYS);
    struct hs *eve = h_login(h, "eve@other.test/e");

    (void)state;
    h_iq_error(eve, "get", "localhost", "<services xmlns='" NS "'/>", GR_FORBIDDEN);
    h_iq_error(eve, "get", "localhost", "<credentials xmlns='" NS "'>"
               "<service type='turn' host='t.test'/></credentials>", GR_FORBIDDEN);
    h_stop(&h);
}

static void pushes(void **state)
{
    struct h *h = h_start(HEAD LIST KEYS);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    struct hs *carol = h_online(h, "carol@localhost/c"), *away = h_login(h, "dave@localhost/d");

    (void)state;
    h_iq(alice, "get", "localhost", "<services xmlns='" NS "'/>");
    h_iq(bob, "get", "localhost", "<services xmlns='" NS "' type='stun'/>");
    h_iq(away, "get", "localhost", "<services xmlns='" NS "'/>");
    h_reload(h, HEAD "services = stun s.test 3478 udp, turn t.test 3478 udp secret, "
             "turn n.test 1 tcp\n" KEYS, NULL);
    h_advance(h, 10);
    h_expect_xml(alice, "<iq type='set' from='localhost' id='*' _='more'><services xmlns='" NS "'>"
                 "<service action='modify' type='turn' host='t.test' port='3478' transport='udp' "
                 "restricted='true' username='*' password='*' expires='*'/>"
                 "<service action='add' type='turn' host='n.test' port='1' transport='tcp'/>"
                 "<service action='delete' type='ftp' host='f.test'/></services></iq>");
    h_expect_nothing(bob);   /* no change of that type */
    h_expect_nothing(carol); /* has not asked */
    h_expect_nothing(away);
    h_reload(h, HEAD "services = turn n.test 1 tcp\n" KEYS, NULL);
    h_advance(h, 10);
    h_expect_xml(bob, "<iq type='set' from='localhost' _='more'><services xmlns='" NS "' "
                 "type='stun'><service action='delete' type='stun' host='s.test' port='3478' "
                 "transport='udp'/></services></iq>");
    h_stop(&h);
}

/* Many who have asked are told in steps. */
static void many_pushes(void **state)
{
    enum { N = 500 };
    static struct hs *users[N];
    struct h *h = h_start(HEAD LIST KEYS);
    unsigned got = 0, most = 0, of_loop[8] = { 0 };
    char jid[40];

    (void)state;
    for (int i = 0; i < N; i++) {
        snprintf(jid, sizeof(jid), "u%d@localhost/r", i);
        users[i] = h_login(h, jid);
        h_set_available(users[i], 0);
        h_iq(users[i], "get", "localhost", "<services xmlns='" NS "'/>");
        h_drop_all(users[i]);
    }
    h_reload(h, HEAD "services = stun s.test 3478 udp\n" KEYS, NULL);
    h_advance(h, 1);
    for (int i = 0; i < N; i++)
        of_loop[h_home(h, h_full(users[i]))] += h_count(users[i]);
    for (int i = 0; i < h_loops(h); i++)
        most = of_loop[i] > most ? of_loop[i] : most;
    assert_in_range(most, 1, 200);
    h_advance(h, 1000);
    for (int i = 0; i < N; i++)
        got += h_count(users[i]);
    assert_int_equal(got, N);
    h_stop(&h);
}

static void refused(const char *options, const char *why)
{
    char ini[1024], *errors = NULL;

    snprintf(ini, sizeof(ini), HEAD "%s", options);
    assert_null(h_start_try(ini, &errors));
    if (strstr(errors, why) == NULL)
        fail_msg("%s", errors);
    gr_free(errors);
}

static void configurations(void **state)
{
    (void)state;
    refused("services = stun\n", "a service is: TYPE HOST");
    refused("services = stun s.test 99999\n", "a service is: TYPE HOST");
    refused("services = turn t.test 1 secret\n", "`secret` is needed");
    refused("services = turn t.test 1 secret\nsecret =\n", "`secret` is needed");
    refused("services = turn t.test 1 login\nusername = x\n", "`password` are needed");
    refused("services = turn t.test 1 login\nusername =\npassword = x\n", "`password` are needed");
    refused("services = stun s.test +3478\n", "a service is: TYPE HOST");
    refused("services = stun s.test 0\n", "a service is: TYPE HOST");
    refused("services = stun s.test 65536\n", "a service is: TYPE HOST");
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(all_services),
        cmocka_unit_test(selected),
        cmocka_unit_test(credentials),
        cmocka_unit_test(for_accounts_of_the_host),
        cmocka_unit_test(pushes),
        cmocka_unit_test(many_pushes),
        cmocka_unit_test(configurations),
    };

    return H_RUN("external_services", cases);
}

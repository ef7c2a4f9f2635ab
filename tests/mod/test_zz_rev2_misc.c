#include "harness.h"
#include "store/engine.h"
#include "store/store.h"
#include <errno.h>
#include <stdio.h>
static void dump(struct hs *a)
{
    size_t len;
    while (h_count(a) > 0)
        print_message("  %s\n", gr_stanza_xml(h_next(a), &len));
}
static void inject(struct h *h, const char *xml)
{
    struct gr_stanza *st;
    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    gr_send(h_mod(h, "sm", "localhost"), st);
    h_run(h);
}
static void priv_export_big(void **state)
{
    struct h *h = h_start("[host localhost]\n[mod_private]\n");
    char *big = malloc(70000), *xml = malloc(80000);
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");
    (void)state;
    memset(big, 'x', 60000); big[60000] = 0;
    int ok = 0;
    for (int i = 0; i < 130; i++) {
        snprintf(xml, 80000, "<query xmlns='jabber:iq:private'><x xmlns='n%03d'>%s</x></query>", i, big);
        struct gr_stanza *r = h_iq(a, "set", NULL, xml);
        ok += gr_stanza_type(r) == GR_RESULT;
    }
    print_message("%d of 130 accepted (max 100)\n", ok);
    free(big); free(xml);
    h_stop(&h);
}
static void many_pieces(void **state)
{
    struct h *h = h_start("[host localhost]\n[mod_private]\n");
    char *xml = malloc(600000); size_t n;
    h_user(h, "alice@localhost");
    struct hs *a = h_login(h, "alice@localhost/a");
    (void)state;
    n = sprintf(xml, "<query xmlns='jabber:iq:private'>");
    for (int i = 0; i < 12000; i++) n += sprintf(xml + n, "<x xmlns='%x'/>", i);
    sprintf(xml + n, "</query>");
    int64_t t = gr_wall_us();
    struct gr_stanza *r = h_iq(a, "set", NULL, xml);
    print_message("%lld ms, type %d, %zu bytes\n", (long long)(gr_wall_us() - t) / 1000, gr_stanza_type(r), n);
    free(xml);
    h_stop(&h);
}
/* directed presence, privacy: a stranger must not learn anything after directed unavailable; probes */
static void directed(void **state)
{
    struct h *h = h_start("[host localhost]\n[mod_roster]\n[mod_presence]\n");
    h_user(h, "alice@localhost"); h_user(h, "bob@localhost");
    struct hs *a = h_online(h, "alice@localhost/a"), *b = h_online(h, "bob@localhost/b");
    (void)state;
    h_send(a, "<presence to='bob@localhost/b'/>"); dump(b);
    h_send(b, "<presence type='probe' to='alice@localhost/a' id='p1'/>"); dump(b);
    h_send(b, "<presence type='probe' to='alice@localhost' id='p2'/>"); dump(b);
    h_send(a, "<presence type='unavailable' to='bob@localhost/b'/>"); dump(b);
    h_send(b, "<presence type='probe' to='alice@localhost/a' id='p3'/>"); dump(b);
    print_message("-- bare directed, then own unavailable\n");
    h_send(a, "<presence to='bob@localhost'/>"); dump(b);
    h_send(a, "<presence type='unavailable'/>"); dump(b);
    h_send(b, "<presence type='probe' to='alice@localhost/a' id='p4'/>"); dump(b);
    h_drop_all(a);
    print_message("-- directed when unavailable; second broadcast\n");
    h_send(a, "<presence to='bob@localhost'><status>x</status></presence>"); dump(b);
    h_send(a, "<presence><status>y</status></presence>"); dump(b);
    h_send(b, "<presence type='probe' to='alice@localhost/a' id='p5'/>"); dump(b);
    h_disconnect(&a, false); dump(b);
    h_stop(&h);
}
/* message errors, types to offline */
static void offline_kinds(void **state)
{
    struct h *h = h_start("[host localhost]\n[mod_roster]\n[mod_presence]\n[mod_offline]\nlimit=2\n");
    h_user(h, "alice@localhost"); h_user(h, "bob@localhost");
    struct hs *b = h_online(h, "bob@localhost/b");
    (void)state;
    h_send(b, "<message id='1' to='alice@localhost' type='chat'><body>a</body></message>"); dump(b);
    h_send(b, "<message id='2' to='alice@localhost/x' type='chat'><body>b</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='2001-01-01T00:00:00Z'/></message>"); dump(b);
    h_send(b, "<message id='3' to='alice@localhost' type='chat'><body>c</body></message>"); dump(b);
    h_send(b, "<message id='4' to='alice@localhost' type='headline'><body>c</body></message>"); dump(b);
    h_send(b, "<message id='5' to='alice@localhost' type='groupchat'><body>c</body></message>"); dump(b);
    h_send(b, "<message id='6' to='alice@localhost' type='error'><body>c</body></message>"); dump(b);
    h_send(b, "<message id='7' to='alice@localhost/x' type='groupchat'><body>c</body></message>"); dump(b);
    h_send(b, "<message id='8' to='nobody@localhost' type='chat'><body>c</body></message>"); dump(b);
    h_send(b, "<message id='9' to='nobody@localhost/x' type='headline'><body>c</body></message>"); dump(b);
    h_send(b, "<message id='10' to='nobody@localhost' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"); dump(b);
    h_send(b, "<message id='11' to='alice@localhost' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"); dump(b);
    h_send(b, "<message id='12' to='nobody@localhost' type='chat'><body>a</body><no-store xmlns='urn:xmpp:hints'/></message>"); dump(b);
    h_send(b, "<message id='13' to='alice@localhost' type='chat'><body>a</body><no-store xmlns='urn:xmpp:hints'/></message>"); dump(b);
    h_send(b, "<presence id='14' to='nobody@localhost' type='subscribe'/>"); dump(b);
    h_send(b, "<presence id='15' to='nobody@localhost' type='subscribed'/>"); dump(b);
    h_send(b, "<presence id='16' to='nobody@localhost' type='probe'/>"); dump(b);
    h_send(b, "<presence id='16' to='alice@localhost' type='probe'/>"); dump(b);
    struct hs *a = h_login(h, "alice@localhost/n");
    h_send(a, "<presence><priority>-1</priority></presence>"); dump(a);
    print_message("prio 0\n");
    h_send(a, "<presence/>"); dump(a);
    inject(h, "<presence from='c@remote.example' to='nobody@localhost' type='subscribe' id='1'/>");
    h_stop(&h);
}
int main(void) { const struct CMUnitTest c[] = { cmocka_unit_test(priv_export_big), cmocka_unit_test(many_pieces), cmocka_unit_test(directed), cmocka_unit_test(offline_kinds) }; if (getenv("F")) cmocka_set_test_filter(getenv("F")); return H_RUN("misc", c); }

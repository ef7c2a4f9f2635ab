/* tests/mod/test_domain_isolation.c: mod_domain_isolation. */
#include "harness.h"

#define HOSTS "[host localhost]\n[host other.example]\n[host sub.localhost]\n[mod_presence]\n[mod_ping]\n" \
    "[mod_version]\n[mod_way]\n"
#define CONFIG HOSTS "[mod_domain_isolation]\n"
#define PING "<ping xmlns='urn:xmpp:ping'/>"

static unsigned errors;

static enum gr_verdict on_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    errors += gr_stanza_type(ev->stanza) == GR_TYPE_ERROR;
    return GR_OK;
}

static const struct gr_hook way_hooks[] = { GR_ON(filter_packet, 1, on_packet), GR_HOOK_END };
static const struct gr_module way_module = { .name = "way", .summary = "test", .hooks = way_hooks };

static struct h *begin(const char *ini)
{
    errors = 0;
    h_module(&way_module);
    struct h *h = h_start(ini);
    h_user(h, "bob@localhost");
    return h;
}

static void blocked_and_told_once(void **state)
{
    struct h *h = begin(CONFIG);
    struct hs *bob = h_online(h, "bob@localhost/b"), *eve = h_online(h, "eve@other.example/e"),
              *sub = h_online(h, "sue@sub.localhost/s");
    (void)state;

    h_send(eve, "<message to='bob@localhost' type='chat'><body>1</body></message>");
    h_expect_error(eve, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    h_send(eve, "<message to='bob@localhost/b' type='error'><body>1</body></message>");
    h_iq_error(eve, "get", "bob@localhost/b", PING, GR_SERVICE_UNAVAILABLE);
    h_iq_error(eve, "get", "localhost", PING, GR_SERVICE_UNAVAILABLE);
    h_send(eve, "<iq type='result' to='bob@localhost/b' id='1'/>");
    assert_int_equal(errors, 4);
    h_send(sub, "<message to='bob@localhost'><body>1</body></message>"); /* a host of its own */
    h_expect_error(sub, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    h_send(bob, "<message to='eve@other.example'><body>1</body></message>");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "eve@other.example");
    assert_int_equal(errors, 6);
    h_send(eve, "<presence to='bob@localhost'/>");
    h_send(eve, "<presence to='bob@localhost' type='unavailable'/>");
    h_send(eve, "<presence to='bob@localhost' type='probe'/>");
    assert_int_equal(errors, 6);
    h_send(eve, "<presence to='bob@localhost' type='subscribe'/>");
    h_expect_error(eve, GR_PRESENCE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    h_expect_nothing(bob);
    h_expect_nothing(eve);
    h_expect_nothing(sub);
    h_stop(&h);
}

static void among_themselves(void **state)
{
    struct h *h = begin(CONFIG);
    struct hs *bob = h_online(h, "bob@localhost/b"), *amy = h_online(h, "amy@localhost/a");
    struct gr_stanza *st;
    (void)state;

    h_send(amy, "<message to='bob@localhost'><body>1</body></message>");
    h_expect_body(bob, "amy@localhost/a", "1");
    h_iq_result(bob, "get", "localhost", PING, NULL);
    st = gr_message_new(GR_MSG_CHAT, h_parse_jid(h, "a@rooms.localhost/r"),
                        h_parse_jid(h, "bob@localhost"));
    gr_send(h_mod(h, "way", "bob@localhost"), st); /* a component's */
    h_run(h);
    h_expect(bob, GR_MESSAGE, GR_MSG_CHAT, "a@rooms.localhost/r");
    st = gr_message_new(GR_MSG_CHAT, h_parse_jid(h, "a@notlocalhost"), h_parse_jid(h, "bob@localhost"));
    gr_send(h_mod(h, "way", "bob@localhost"), st);
    h_run(h);
    h_expect_nothing(bob);
    h_stop(&h);
}

/* Who enables it on one host guards that one. */
static void one_host(void **state)
{
    struct h *h = begin(HOSTS "[mod_domain_isolation localhost]\n");
    struct hs *bob = h_online(h, "bob@localhost/b"), *eve = h_online(h, "eve@other.example/e");
    (void)state;

    h_send(eve, "<message to='bob@localhost'><body>1</body></message>");
    h_expect_error(eve, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    h_send(bob, "<message to='eve@other.example'><body>1</body></message>");
    h_expect_body(eve, "bob@localhost/b", "1");
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(blocked_and_told_once),
        cmocka_unit_test(among_themselves),
        cmocka_unit_test(one_host),
    };

    return H_RUN("domain_isolation", cases);
}

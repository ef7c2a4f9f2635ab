/* tests/mod/test_mission_streams.c: rows of the mission's section C (hooks.md) that need a real
 * stream: bytes over a socket pair into the server's own stream code, virtual time, no TLS
 * ("plain = always"). */
#include "provides.h"

/* --- hooks of a stream --- */

static void on_auth_failed(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    note("failed(%s) ", ev->text);
}

static enum gr_verdict on_features(struct gr_mod *self, struct gr_features_ev *ev)
{
    bool known = gr_session_state(ev->session) != GR_S_CONNECTED;

    (void)self;
    gr_el_add(ev->features, NULL, "urn:example:t", known ? "inside" : "outside");
    return GR_OK;
}

static enum gr_verdict on_versioning(struct gr_mod *self, struct gr_features_ev *ev)
{
    (void)self;
    note("versioning(%s) ", gr_session_jid(ev->session)->full);
    return GR_OK;
}

static enum gr_verdict on_address(struct gr_mod *self, struct gr_ip_ev *ev)
{
    (void)self;
    ev->refuse = strcmp(ev->ip, "192.0.2.66") == 0;
    return GR_OK;
}

static const struct gr_hook stream_hooks[] = {
    GR_ON(auth_failed, 50, on_auth_failed),
    GR_ON(c2s_stream_features, 50, on_features),
    GR_ON(roster_get_versioning_feature, 50, on_versioning),
    GR_ON(check_bl_c2s, 50, on_address),
    GR_HOOK_END
};

static void a_failed_login_is_told(void **state)
{
    t.hooks = stream_hooks;
    struct h *h = begin(HOST);
    struct raw r = raw_open(h);

    (void)state;
    raw_say(&r, BOB_WRONG);
    expect_trace("failed(bob) ");
    raw_say(&r, GONE);
    expect_trace("failed(gone) ");
    raw_say(&r, BOB);
    raw_expect(&r, "<success");
    expect_trace("");
    raw_close(&r);
    h_stop(&h);
}

static void features_before_and_after(void **state)
{
    t.hooks = stream_hooks;
    struct h *h = begin(HOST "[mod_roster]\n");
    struct raw r = raw_open(h);

    (void)state;
    raw_expect(&r, "<outside xmlns='urn:example:t'/>");
    expect_trace("");
    raw_authenticate(&r, BOB);
    raw_expect(&r, "<inside xmlns='urn:example:t'/>");
    raw_expect(&r, "<ver xmlns='urn:xmpp:features:rosterver'/>");
    expect_trace("versioning(bob@localhost) ");
    raw_close(&r);
    h_stop(&h);
}

static void a_listed_address_is_closed_silently(void **state)
{
    t.hooks = stream_hooks;
    struct h *h = begin(HOST);
    struct raw bad = raw_accept(h, 0xc0000242), good = raw_accept(h, 0xc0000243);

    (void)state;
    assert_true(bad.eof);
    assert_string_equal(bad.got, "");
    assert_false(good.eof);
    raw_header(&good);
    raw_expect(&good, "<stream:features>");
    raw_close(&bad);
    raw_close(&good);
    h_stop(&h);
}

/* --- other states; both ways of opening --- */

static enum gr_verdict claim(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    note("xmlel(%s) ", gr_el_attr(gr_stanza_root(ev->stanza), "from"));
    return GR_STOP;
}

static enum gr_verdict guard(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    note("allowed?(%s) ", ev->jid->full);
    return GR_OK;
}

static const struct gr_hook early_hooks[] = {
    GR_ON(user_send_xmlel, 50, claim),
    GR_ON(session_opening_allowed_for_user, 50, guard),
    GR_HOOK_END
};

/* "from" counts once there is a session; before it, handlers see what the client wrote. */
static void no_checks_before_bind(void **state)
{
    t.hooks = early_hooks;
    struct h *h = begin(HOST);
    struct raw r = raw_open(h);

    (void)state;
    raw_say(&r, "<iq type='get' id='1' from='eve@localhost'><q xmlns='urn:x'/></iq>");
    expect_trace("xmlel(eve@localhost) ");
    raw_authenticate(&r, BOB);
    raw_say(&r, "<x xmlns='urn:x' from='eve@localhost'/>");
    expect_trace("xmlel(eve@localhost) ");
    assert_string_equal(r.got, "");
    raw_say(&r, "<iq type='set' id='b' from='eve@localhost'><bind xmlns='" BIND_NS "'>"
                "<resource>x</resource></bind></iq>");
    raw_expect(&r, "<jid>bob@localhost/x</jid>");
    expect_trace("allowed?(bob@localhost/x) ");
    raw_say(&r, "<message from='eve@localhost' to='alice@localhost'/>");
    raw_expect(&r, "<invalid-from");
    raw_close(&r);
    h_stop(&h);
}

static void both_ways_of_opening_a_session(void **state)
{
    t.hooks = early_hooks;
    struct h *h = begin(HOST);
    struct raw a = raw_open(h), b = raw_open(h);

    (void)state;
    raw_authenticate(&a, BOB);
    expect_trace(""); /* not at authentication yet */
    raw_bind(&a, "new");
    expect_trace("allowed?(bob@localhost/new) ");
    raw_authenticate(&b, BOB);
    raw_bind(&b, "old");
    raw_say(&b, "<iq type='set' id='s'><session "
                "xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
    raw_expect(&b, "type='result'");
    expect_trace("allowed?(bob@localhost/old) ");
    raw_close(&a);
    raw_close(&b);
    h_stop(&h);
}

/* --- the connection goes, somebody keeps the session --- */

static enum gr_verdict keep(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    note("closed(%s) ", ev->jid->full);
    return GR_STOP;
}

static const struct gr_hook keeping_hooks[] = { GR_ON(user_socket_closed, 50, keep),
                                                GR_ON(user_terminate, 50, on_terminate),
                                                GR_HOOK_END };

static void a_closed_connection_may_be_survived(void **state)
{
    t.hooks = keeping_hooks;
    struct h *h = begin(HOST);
    struct raw r = raw_login(h, BOB, "x");

    (void)state;
    raw_close(&r);
    expect_trace("closed(bob@localhost/x) ");
    h_enter(h, "bob@localhost");
    struct gr_account *a = gr_account_find(h_mod(h, "t", "bob@localhost"),
                                           h_parse_jid(h, "bob@localhost"));
    assert_non_null(a);
    struct gr_session *kept = gr_account_session(a, "x");
    assert_int_equal(gr_session_state(kept), GR_S_BOUND);
    gr_session_close(NULL, kept, NULL, NULL, true);
    h_run(h);
    expect_trace("terminate ");
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_failed_login_is_told),
        cmocka_unit_test(features_before_and_after),
        cmocka_unit_test(a_listed_address_is_closed_silently),
        cmocka_unit_test(no_checks_before_bind),
        cmocka_unit_test(both_ways_of_opening_a_session),
        cmocka_unit_test(a_closed_connection_may_be_survived),
    };

    return H_RUN("mission_streams", cases);
}

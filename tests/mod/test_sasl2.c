/* tests/mod/test_sasl2.c: what comes with a login in one round trip (XEP-0388, XEP-0386): the hooks, their
 * order and their loops, answers that take their time, streams that end meanwhile. Real streams over
 * socket pairs, without TLS ("sasl2 = always"). The XML on the wire: tests/wire/test_sasl2.py. */
#include "raw.h"
#include "trace.h"

#include "loop/loop.h"
#include "route/session.h"
#include "stream/auth.h"
#include "stream/sasl2.h"

#define HOST "[host localhost]\nplain = always\nsasl2 = always\nscram_iterations = 4096\n"
#define S2 "urn:xmpp:sasl:2"
#define AGENT "<user-agent id='D4565fa7-4d72-4749-b3d3-740edbf87770'><software>x</software></user-agent>"
#define AGENT2 "<user-agent id='00000000-4d72-4749-b3d3-740edbf87770'/>"
#define BIND2(x) "<bind xmlns='urn:xmpp:bind:0'>" x "</bind>"
#define JULIET "AGp1bGlldABzZWNyZXQ=" /* NUL juliet NUL secret */
#define LOGIN(more) \
    "<authenticate xmlns='" S2 "' mechanism='PLAIN'><initial-response>" JULIET \
    "</initial-response>" more "</authenticate>"

static const struct gr_hook *watched;
static struct gr_module module_t;

static struct h *begin(const char *ini)
{
    static const uint8_t secret[32] = { 1 };

    module_t = (struct gr_module){ .name = "t", .hooks = watched };
    trace[0] = '\0';
    auth_set_secret(secret, sizeof(secret));
    h_module(&module_t);
    struct h *h = h_start(ini);
    h_user(h, "juliet@localhost");
    return h;
}

static void end(struct h **h)
{
    h_stop(h);
    watched = NULL;
}

/* What stands between the two in what arrived; "" when the first does not. */
static const char *between(const struct raw *r, const char *from, const char *to)
{
    static char part[512];
    const char *at = strstr(r->got, from), *stop;

    part[0] = '\0';
    if (at == NULL || (stop = strstr(at + strlen(from), to)) == NULL)
        return part;
    snprintf(part, sizeof(part), "%.*s", (int)(stop - at - (long)strlen(from)),
             at + strlen(from));
    return part;
}

static const char *identifier(const struct raw *r)
{
    return between(r, "<authorization-identifier>", "</authorization-identifier>");
}

static void expect_order(const struct raw *r, const char *first, const char *second)
{
    const char *a = strstr(r->got, first), *b = strstr(r->got, second);

    if (a == NULL || b == NULL || a > b)
        fail_msg("expected \"%s\" before \"%s\" in \"%s\"", first, second, r->got);
}

/* --- the hooks --- */

static enum gr_verdict note_features(struct gr_mod *self, struct gr_inline_ev *ev)
{
    (void)self;
    note("features ");
    assert_true(gr_el_is(ev->at, S2, "inline"));
    assert_int_equal(gr_session_state(ev->session), GR_S_CONNECTED);
    gr_el_add(ev->answer, ev->at, "urn:t", "can");
    return GR_OK;
}

static enum gr_verdict note_bind_features(struct gr_mod *self, struct gr_inline_ev *ev)
{
    (void)self;
    gr_bind2_feature(ev, "urn:t:more");
    return GR_OK;
}

static enum gr_verdict note_start(struct gr_mod *self, struct gr_inline_ev *ev)
{
    (void)self;
    note("start ");
    assert_true(gr_el_is(ev->request, S2, "authenticate"));
    assert_null(gr_session_jid(ev->session));
    return GR_OK;
}

static enum gr_verdict note_success(struct gr_mod *self, struct gr_inline_ev *ev)
{
    const struct gr_jid *jid = gr_session_jid(ev->session);

    note("success %s ", jid->full);
    assert_int_equal(gr_session_state(ev->session), GR_S_AUTHENTICATED);
    assert_true(gr_is_home(jid) && ev->ev.host == gr_mod_host(self));
    assert_string_equal(gr_session_client_id(ev->session), "d4565fa7-4d72-4749-b3d3-740edbf87770");
    assert_string_equal(gr_session_client_software(ev->session), "x");
    assert_null(gr_session_client_device(ev->session));
    if (gr_el_child(ev->request, "urn:t", "do") != NULL)
        gr_el_add(ev->answer, ev->at, "urn:t", "done");
    return GR_OK;
}

static enum gr_verdict note_enable(struct gr_mod *self, struct gr_inline_ev *ev)
{
    note("enable ");
    assert_int_equal(gr_session_state(ev->session), GR_S_BOUND);
    assert_true(gr_is_home(gr_session_jid(ev->session)) && ev->ev.host == gr_mod_host(self));
    assert_true(gr_el_is(ev->request, "urn:xmpp:bind:0", "bind"));
    assert_true(gr_el_is(ev->at, "urn:xmpp:bind:0", "bound"));
    gr_el_add(ev->answer, ev->at, "urn:t", "enabled");
    gr_ev_request_write(&ev->ev, gr_message_new(GR_MSG_HEADLINE, gr_mod_host_jid(self),
                                                gr_session_jid(ev->session)));
    return GR_OK;
}

static void hooks_run_where_and_when_they_should(void **state)
{
    static const struct gr_hook hooks[] = {
        GR_ON(sasl2_stream_features, 50, note_features),
        GR_ON(bind2_stream_features, 50, note_bind_features),
        GR_ON(sasl2_start, 50, note_start), GR_ON(sasl2_success, 50, note_success),
        GR_ON(bind2_enable_features, 50, note_enable), GR_HOOK_END
    };
    struct raw r;

    (void)state;
    watched = hooks;
    struct h *h = begin(HOST);
    r = raw_open(h);
    raw_expect(&r, "<inline><bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:t:more'/></inline>"
                   "</bind><can xmlns='urn:t'/></inline>");
    expect_trace("features ");
    raw_say(&r, LOGIN(AGENT "<do xmlns='urn:t'/>" BIND2("<tag>Tag</tag>")));
    expect_trace("start success juliet@localhost enable ");
    assert_memory_equal(r.got, "<success xmlns='" S2 "'><authorization-identifier>juliet@localhost/Tag/",
                        70);
    raw_expect(&r, "</authorization-identifier><done xmlns='urn:t'/><bound xmlns='urn:xmpp:bind:0'>"
                   "<enabled xmlns='urn:t'/></bound></success><stream:features>");
    assert_null(strstr(between(&r, "<stream:features>", "</stream:features>"),
                       "xmpp-bind")); /* it is bound */
    expect_order(&r, "</stream:features>", "<message");
    raw_close(&r);
    end(&h);
}

/* --- binding --- */

static void without_bind_it_is_as_of_old(void **state)
{
    struct h *h = begin(HOST);
    struct raw r = raw_open(h);

    (void)state;
    raw_say(&r, LOGIN(""));
    raw_expect(&r, "<success xmlns='" S2 "'><authorization-identifier>juliet@localhost"
                   "</authorization-identifier></success><stream:features><bind xmlns='" BIND_NS "'/>");
    raw_bind(&r, "x"); /* no new stream */
    raw_expect(&r, "<jid>juliet@localhost/x</jid>");
    raw_close(&r);
    end(&h);
}

static void resources_are_stable_and_hide_the_client(void **state)
{
    struct h *h = begin(HOST);
    char first[256];
    struct raw r = raw_open(h);

    (void)state;
    raw_say(&r, LOGIN(AGENT BIND2("<tag>Tag</tag>")));
    snprintf(first, sizeof(first), "%s", identifier(&r));
    assert_int_equal(strlen(first), strlen("juliet@localhost/Tag/") + 16);
    assert_null(strstr(first, "d4565fa7"));
    raw_close(&r);
    r = raw_open(h);
    raw_say(&r, LOGIN(AGENT BIND2("<tag>Tag</tag>")));
    assert_string_equal(identifier(&r), first);
    raw_close(&r);
    r = raw_open(h);
    raw_say(&r, LOGIN(AGENT BIND2("<tag>Other</tag>")));
    assert_string_not_equal(identifier(&r) + strlen("juliet@localhost/Other/"),
                            first + strlen("juliet@localhost/Tag/"));
    raw_close(&r);
    r = raw_open(h);
    raw_say(&r, LOGIN(BIND2(""))); /* nobody in particular: by chance, no tag */
    assert_int_equal(strlen(identifier(&r)), strlen("juliet@localhost/") + 16);
    raw_close(&r);
    end(&h);
}

/* A tag that no resource can have is left out. */
static void impossible_tags(void **state)
{
    struct h *h = begin(HOST);
    char tag[1100], *xml;
    struct raw r = raw_open(h);

    (void)state;
    memset(tag, 'a', sizeof(tag));
    tag[sizeof(tag) - 1] = '\0';
    xml = gr_asprintf(LOGIN(BIND2("<tag>%s</tag>")), tag);
    raw_say(&r, xml);
    assert_int_equal(strlen(identifier(&r)), strlen("juliet@localhost/") + 16);
    raw_close(&r);
    gr_free(xml);
    end(&h);
}

static void a_client_that_comes_back_ends_its_old_session(void **state)
{
    struct h *h = begin(HOST "resource_conflict = refuse\n");
    struct raw old = raw_open(h), other = raw_open(h), r = raw_open(h);

    (void)state;
    raw_say(&old, LOGIN(AGENT BIND2("<tag>Tag</tag>")));
    raw_say(&other, LOGIN(AGENT2 BIND2("<tag>Tag</tag>")));
    other.got[0] = '\0';
    raw_say(&r, LOGIN(AGENT BIND2("<tag>New</tag>")));
    raw_expect(&r, "<bound");
    old.got[0] = '\0';
    raw_run(&old);
    raw_expect(&old, "<conflict");
    raw_run(&other);
    assert_string_equal(other.got, "");
    raw_close(&old);
    raw_close(&other);
    raw_close(&r);
    end(&h);
}

static enum gr_verdict refuse_once(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    ev->allow = strstr(ev->jid->resource, "Tag") == NULL;
    return GR_OK;
}

static enum gr_verdict never(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    return strstr(ev->jid->resource, "Tag") != NULL ? GR_STOP : GR_OK;
}

static void a_refused_resource_leaves_the_login(void **state)
{
    static const struct gr_hook hooks[] = {
        GR_ON(user_open_session, 50, never),
        GR_ON(session_opening_allowed_for_user, 50, refuse_once), GR_HOOK_END
    };
    struct raw r;

    (void)state;
    watched = hooks;
    struct h *h = begin(HOST);
    r = raw_open(h);
    raw_say(&r, LOGIN(AGENT BIND2("<tag>Tag</tag>")));
    assert_string_equal(identifier(&r), "juliet@localhost");
    assert_null(strstr(r.got, "<bound"));
    raw_expect(&r, BIND_NS);
    raw_bind(&r, "x");
    raw_expect(&r, "<jid>juliet@localhost/x</jid>");
    raw_close(&r);
    end(&h);
}

/* --- handlers that fail, refuse, or take their time --- */

static enum gr_verdict fail_it(struct gr_mod *self, struct gr_inline_ev *ev)
{
    (void)self;
    ev->resumed = true; /* taken back */
    return GR_FAIL;
}

static enum gr_verdict stop_it(struct gr_mod *self, struct gr_inline_ev *ev)
{
    (void)self, (void)ev;
    return GR_STOP;
}

static void failing_handlers_change_nothing(void **state)
{
    static const struct gr_hook hooks[] = {
        GR_ON(sasl2_success, 50, fail_it), GR_ON(bind2_enable_features, 50, fail_it), GR_HOOK_END
    };
    struct raw r;

    (void)state;
    watched = hooks;
    struct h *h = begin(HOST);
    r = raw_open(h);
    raw_say(&r, LOGIN(BIND2("")));
    raw_expect(&r, "<bound xmlns='urn:xmpp:bind:0'/></success><stream:features>");
    raw_close(&r);
    end(&h);
}

static void a_start_may_be_refused(void **state)
{
    static const struct gr_hook hooks[] = { GR_ON(sasl2_start, 50, stop_it), GR_HOOK_END };
    struct raw r;

    (void)state;
    watched = hooks;
    struct h *h = begin(HOST);
    r = raw_open(h);
    raw_say(&r, LOGIN(""));
    assert_string_equal(r.got, "<failure xmlns='" S2 "'><aborted xmlns='" SASL_NS "'/></failure>");
    raw_authenticate(&r, PLAIN(JULIET)); /* the other profile has not been asked about */
    raw_close(&r);
    end(&h);
}

static struct gr_hold *hold;
static struct gr_session *held_session;

static enum gr_verdict wait_it(struct gr_mod *self, struct gr_inline_ev *ev)
{
    hold = gr_hold(self, &ev->ev);
    held_session = ev->session;
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

static void resume(struct h *h)
{
    h_enter(h, "juliet@localhost");
    gr_resume(hold, GR_OK);
    h_run(h);
}

#define PING "<iq type='get' id='p' to='localhost'><ping xmlns='urn:t'/></iq>"

/* What is sent behind <authenticate/> waits; what is written to the session comes behind <success/>. */
static void everything_waits_for_success(void **state)
{
    static const struct gr_hook first[] = { GR_ON(sasl2_success, 50, wait_it), GR_HOOK_END };
    static const struct gr_hook second[] = { GR_ON(bind2_enable_features, 50, wait_it),
                                             GR_HOOK_END };
    const struct gr_hook *const both[] = { first, second };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct raw r;

        watched = both[i];
        struct h *h = begin(HOST);
        r = raw_open(h);
        raw_say(&r, LOGIN(AGENT BIND2("<tag>T</tag>")) PING);
        assert_string_equal(r.got, "");
        if (i == 1) {
            const struct gr_jid *jid = held_session->jid;

            for (int k = 0; k < 3; k++)
                gr_session_deliver(h_mod(h, "t", jid->bare), held_session,
                                   gr_message_new(GR_MSG_CHAT, jid, jid));
            h_run(h);
        }
        raw_run(&r);
        assert_string_equal(r.got, "");
        resume(h);
        raw_run(&r);
        expect_order(&r, "</success><stream:features>", "<iq ");
        if (i == 1)
            expect_order(&r, "</stream:features><message", "<iq ");
        raw_close(&r);
        end(&h);
    }
}

/* More than that is not kept in the stream; it waits in the session, for its end. */
static void what_waits_is_bounded(void **state)
{
    static const struct gr_hook hooks[] = { GR_ON(bind2_enable_features, 50, wait_it),
                                            GR_HOOK_END };
    const struct c2s *c;
    struct raw r;

    (void)state;
    watched = hooks;
    struct h *h = begin(HOST);
    r = raw_open(h);
    raw_say(&r, LOGIN(AGENT BIND2("<tag>T</tag>")));
    c = held_session->out_ctx;
    for (int i = 0; i < SASL2_HELD_MAX + 3; i++)
        gr_session_deliver(h_mod(h, "t", "juliet@localhost"), held_session,
                           gr_message_new(GR_MSG_HEADLINE, held_session->jid, held_session->jid));
    h_run(h);
    assert_int_equal(c->login->sasl2->n_held, SASL2_HELD_MAX);
    assert_false(list_empty(&held_session->unsent));
    resume(h);
    raw_close(&r);
    end(&h);
}

static void the_stream_ends_meanwhile(void **state)
{
    static const struct gr_hook first[] = { GR_ON(sasl2_success, 50, wait_it), GR_HOOK_END };
    static const struct gr_hook second[] = { GR_ON(bind2_enable_features, 50, wait_it),
                                             GR_HOOK_END };
    const struct gr_hook *const both[] = { first, second };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct raw r;

        watched = both[i % 2];
        struct h *h = begin("[limits]\nlogin_timeout = 60s\n" HOST);
        r = raw_open(h);
        raw_say(&r, LOGIN(AGENT BIND2("<tag>T</tag>")));
        if (i % 2 == 1) {
            gr_session_deliver(h_mod(h, "t", "juliet@localhost"), held_session,
                               gr_message_new(GR_MSG_CHAT, held_session->jid, held_session->jid));
            h_run(h);
        }
        if (i < 2)
            raw_close(&r);
        else
            h_advance(h, 31000); /* the hold has had its time: it goes on without */
        resume(h);
        if (i >= 2) {
            raw_run(&r);
            raw_expect(&r, "</success>");
            raw_close(&r);
        }
        end(&h);
    }
}

static void login_timeout_ends_it(void **state)
{
    static const struct gr_hook hooks[] = { GR_ON(sasl2_success, 50, wait_it), GR_HOOK_END };
    struct raw r;

    (void)state;
    watched = hooks;
    struct h *h = begin("[limits]\nlogin_timeout = 5s\n" HOST);
    r = raw_open(h);
    raw_say(&r, LOGIN(BIND2("")));
    h_advance(h, 6000);
    raw_run(&r);
    raw_expect(&r, "<connection-timeout");
    resume(h);
    raw_close(&r);
    end(&h);
}

/* --- another session goes on --- */

static uint64_t kept;

static enum gr_verdict keep(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    kept = gr_session_id(ev->session);
    return GR_STOP;
}

/* What a module for XEP-0198 does, with the core's own hands. */
static enum gr_verdict take_over(struct gr_mod *self, struct gr_inline_ev *ev)
{
    struct gr_session *fresh = ev->session, *old = session_by_id(kept);
    struct c2s *c = fresh->out_ctx;

    if (old == NULL || gr_el_child(ev->request, "urn:t", "resume") == NULL)
        return GR_OK;
    old->out = fresh->out;
    old->out_ctx = c;
    c->session = old;
    session_terminate(&fresh, GR_END_NORMAL);
    gr_el_add(ev->answer, ev->at, "urn:t", "resumed");
    gr_session_write(self, old, gr_message_new(GR_MSG_CHAT, old->jid, old->jid));
    ev->resumed = true;
    return GR_OK;
}

static void an_older_session_may_go_on(void **state)
{
    static const struct gr_hook hooks[] = {
        GR_ON(user_socket_closed, 50, keep), GR_ON(user_socket_error, 50, keep),
        GR_ON(sasl2_success, 50, take_over), GR_HOOK_END
    };
    char full[256];
    struct raw r;

    (void)state;
    watched = hooks;
    kept = 0;
    struct h *h = begin(HOST);
    r = raw_open(h);
    raw_say(&r, LOGIN(AGENT BIND2("<tag>T</tag>")));
    snprintf(full, sizeof(full), "%s", identifier(&r));
    raw_close(&r);
    assert_int_not_equal(kept, 0);
    r = raw_open(h);
    raw_say(&r, LOGIN(AGENT "<resume xmlns='urn:t'/>" BIND2("<tag>T</tag>")) PING);
    assert_string_equal(identifier(&r), full);
    raw_expect(&r, "</authorization-identifier><resumed xmlns='urn:t'/></success>");
    assert_null(strstr(r.got, "<stream:features")); /* XEP-0198, 9.2 */
    expect_order(&r, "</success>", "<message");
    expect_order(&r, "<message", "id='p'");
    raw_say(&r, "</stream:stream>");
    raw_close(&r);
    end(&h);
}

/* --- a password changes --- */

static enum gr_verdict note_changed(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    assert_true(gr_is_home(ev->jid));
    note("changed %s ", ev->jid->full);
    return strcmp(ev->jid->node, "juliet") == 0 ? GR_OK : GR_FAIL;
}

static enum gr_result result;

static void on_set(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask;
    result = a->result;
}

static void set_password(struct h *h, const char *user)
{
    struct gr_mod *self = h_mod(h, "t", "localhost");

    gr_auth_set_password(self, gr_ask_new(self, 1, on_set), user, "other");
    h_run(h);
}

static void password_changes_are_told(void **state)
{
    static const struct gr_hook hooks[] = { GR_ON(password_changed, 50, note_changed),
                                            GR_HOOK_END };

    (void)state;
    watched = hooks;
    struct h *h = begin(HOST);
    h_user(h, "romeo@localhost");
    set_password(h, "juliet");
    assert_int_equal(result, GR_R_OK);
    expect_trace("changed juliet@localhost ");
    set_password(h, "romeo"); /* whose handler fails */
    assert_int_equal(result, GR_R_ERROR);
    expect_trace("changed romeo@localhost ");
    set_password(h, "nobody");
    assert_int_equal(result, GR_R_NONE);
    expect_trace("");
    end(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(hooks_run_where_and_when_they_should),
        cmocka_unit_test(without_bind_it_is_as_of_old),
        cmocka_unit_test(resources_are_stable_and_hide_the_client),
        cmocka_unit_test(impossible_tags),
        cmocka_unit_test(a_client_that_comes_back_ends_its_old_session),
        cmocka_unit_test(a_refused_resource_leaves_the_login),
        cmocka_unit_test(failing_handlers_change_nothing),
        cmocka_unit_test(a_start_may_be_refused),
        cmocka_unit_test(everything_waits_for_success),
        cmocka_unit_test(what_waits_is_bounded),
        cmocka_unit_test(the_stream_ends_meanwhile),
        cmocka_unit_test(login_timeout_ends_it),
        cmocka_unit_test(an_older_session_may_go_on),
        cmocka_unit_test(password_changes_are_told),
    };

    return H_RUN("sasl2", cases);
}

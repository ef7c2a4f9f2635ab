/* tests/mod/test_event_pusher.c: mod_event_pusher: hooks become events, and web servers are told of
 * them (the harness's fake). Devices: test_push.c. */
#include "harness.h"

#include <stdio.h>

#define CONF "[host localhost]\n[mod_presence]\n[mod_event_pusher]\n"

/* --- a back end of somebody else: what is told --- */

static struct {
    char text[1024];
    bool veto;
} seen;

static const char *what[] = { "sent", "received", "unacked", "online", "offline" };

static enum gr_verdict see(struct gr_mod *self, struct gr_event_ev *ev)
{
    size_t n = strlen(seen.text);

    (void)self;
    assert_true((ev->stanza != NULL) == (ev->to != NULL));
    snprintf(seen.text + n, sizeof(seen.text) - n, "%s %s %s\n", what[ev->event], ev->from->full,
             ev->to != NULL ? ev->to->full : "-");
    return seen.veto ? GR_STOP : GR_OK;
}

static const struct gr_hook hooks[] = { GR_ON(push_event, 10, see), GR_HOOK_END };
static const struct gr_module backend = { .name = "backend", .summary = "sees events",
                                          .hooks = hooks };

static struct h *start(const char *options)
{
    char *ini = gr_asprintf("%s%s", CONF, options);
    struct h *h;

    h_module(&backend);
    h = h_start(ini);
    memset(&seen, 0, sizeof(seen)); /* the test before has ended its clients */
    gr_free(ini);
    return h;
}

static void expect(const char *text)
{
    assert_string_equal(seen.text, text);
    seen.text[0] = '\0';
}

static const char *field(struct h *h, const char *name)
{
    static char value[512];
    const char *at = h_http(h)->body;
    size_t len = strlen(name);

    while (at != NULL && (strncmp(at, name, len) != 0 || at[len] != '=')) {
        at = strchr(at, '&');
        at += at != NULL;
    }
    assert_non_null(at);
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(at + len + 1, "&"), at + len + 1);
    return value;
}

/* --- events --- */

static void events(void **state)
{
    struct h *h = start("");
    struct hs *alice, *bob;

    (void)state;
    alice = h_online(h, "alice@localhost/a");
    expect("online alice@localhost/a -\n");
    bob = h_online(h, "bob@localhost/b");
    h_send(bob, "<presence><show>away</show></presence>");
    expect("online bob@localhost/b -\n");
    h_send(alice, "<message to='bob@localhost' type='chat'><body>hi</body></message>");
    expect("sent alice@localhost/a bob@localhost\nreceived alice@localhost/a bob@localhost\n");
    h_send(alice, "<message to='bob@localhost/b'><subject>x</subject></message>");
    expect("sent alice@localhost/a bob@localhost/b\nreceived alice@localhost/a bob@localhost/b\n");
    h_send(alice, "<message to='bob@localhost/b' type='error'><body>hi</body></message>");
    h_send(alice, "<message to='bob@localhost' type='headline'><body>hi</body></message>");
    h_send(alice, "<message to='localhost' type='headline'><body>hi</body></message>");
    expect("");
    h_send(bob, "<presence type='unavailable'/>");
    expect("offline bob@localhost/b -\n");
    h_disconnect(&alice, false);
    expect("offline alice@localhost/a -\n");
    h_stop(&h);
}

static void unacked(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_online(h, "alice@localhost/a");
    struct gr_mod *self = h_mod(h, "event_pusher", "alice@localhost");
    struct gr_stanza *st;
    struct gr_stanza_ev ev;

    (void)state;
    expect("online alice@localhost/a -\n");
    st = gr_message_new(GR_MSG_CHAT, h_parse_jid(h, "bob@localhost/b"), h_jid(alice));
    ev = (struct gr_stanza_ev){ .session = h_session(alice), .stanza = st,
                                .from = gr_stanza_from(st), .to = gr_stanza_to(st) };
    gr_hook_run(self, GR_HOOK_unacknowledged_message, &ev.ev, NULL);
    expect("unacked bob@localhost/b alice@localhost/a\n");
    gr_stanza_unref(&ev.stanza);
    h_stop(&h);
}

/* What was kept and is delivered now was told of when it came. */
static void kept_messages_once(void **state)
{
    struct h *h = start("[mod_offline]\n");
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob;

    (void)state;
    h_user(h, "bob@localhost");
    h_send(alice, "<message to='bob@localhost' type='chat'><body>hi</body></message>");
    expect("sent alice@localhost/a bob@localhost\nreceived alice@localhost/a bob@localhost\n");
    bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_expect_among(bob, "<message from='*' to='*' type='chat' _='more'><body>hi</body></message>");
    expect("online bob@localhost/b -\n");
    /* nobody keeps a message from being told by saying that it is old */
    h_send(alice, "<message to='bob@localhost' type='chat'><body>hi</body><delay xmlns='urn:xmpp:delay' "
                  "from='localhost' stamp='2002-09-10T23:08:25Z'/></message>");
    expect("sent alice@localhost/a bob@localhost\nreceived alice@localhost/a bob@localhost\n");
    h_stop(&h);
}

/* --- web servers --- */

static void posted(void **state)
{
    struct h *h = start("http_handlers = https://user:pw@hooks.example:8443/x?key=1, "
                        "http://audit.example received chat groupchat normal online\n"
                        "http_authorization = Bearer abc\n");
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob;

    (void)state;
    assert_int_equal(h_http_count(h), 1);
    assert_string_equal(h_http(h)->url, "http://audit.example");
    assert_string_equal(field(h, "event"), "online");
    assert_string_equal(field(h, "author"), "alice");
    assert_string_equal(field(h, "message"), "");
    h_http_answer(h, 200, "");
    bob = h_online(h, "bob@localhost/b");
    h_http_answer(h, 200, "");
    h_send(alice, "<message to='bob@localhost' type='chat' id='m1'>"
                  "<body>1 + 1 = 2 &amp; \xc3\xa4</body></message>");
    h_expect_body(bob, "alice@localhost/a", "1 + 1 = 2 & \xc3\xa4"); /* did not wait */
    assert_int_equal(h_http_count(h), 2);
    assert_string_equal(h_http(h)->url, "https://user:pw@hooks.example:8443/x?key=1");
    assert_int_equal(h_http(h)->method, GR_HTTP_POST);
    assert_int_equal(h_http(h)->timeout_ms, 5000);
    assert_string_equal(h_http(h)->headers[0], "Content-Type: application/x-www-form-urlencoded");
    assert_string_equal(h_http(h)->headers[1], "Authorization: Bearer abc");
    assert_string_equal(h_http(h)->body,
                        "author=alice&server=localhost&receiver=bob"
                        "&message=1%20%2B%201%20%3D%202%20%26%20%C3%A4&event=sent"
                        "&from=alice%40localhost%2Fa&to=bob%40localhost&type=chat&id=m1");
    h_http_answer(h, 200, "");
    assert_string_equal(field(h, "event"), "received");
    h_http_answer(h, 204, "");
    /* no text, other types: nobody, or only who wants them */
    h_send(alice, "<message to='bob@localhost' type='chat'><thread>x</thread></message>");
    assert_int_equal(h_http_count(h), 0);
    h_send(alice, "<message to='bob@localhost'><body>hi</body></message>");
    assert_int_equal(h_http_count(h), 1);
    assert_string_equal(h_http(h)->url, "http://audit.example");
    assert_string_equal(field(h, "type"), "normal");
    h_http_answer(h, 200, "");
    assert_string_equal(h_command(h, "event_pusher counts localhost"),
                        "http_sent=5 http_failed=0 http_dropped=0 http_waiting=0 push_sent=0 "
                        "push_refused=0 push_unanswered=0 push_dropped=0 push_waiting=0");
    h_stop(&h);
}

/* A back end in front may keep an event from the others. */
static void vetoed(void **state)
{
    struct h *h = start("http_handlers = http://hooks.example sent received chat\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    seen.veto = true;
    h_send(alice, "<message to='alice@localhost/a' type='chat'><body>hi</body></message>");
    h_expect_body(alice, "alice@localhost/a", "hi");
    expect("sent alice@localhost/a alice@localhost/a\n"
           "received alice@localhost/a alice@localhost/a\n");
    assert_int_equal(h_http_count(h), 0);
    h_stop(&h);
}

static void chat(struct hs *from, unsigned n)
{
    h_sendf(from, "<message to='%s' type='chat' id='%u'><body>secret words</body></message>",
            h_full(from), n);
    h_expect_body(from, NULL, "secret words");
}

/* A server that fails in every way: messages pass, it is said in the log, without what they say. */
static void failing(void **state)
{
    struct h *h = start("http_handlers = http://user:pw@hooks.example/token\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    const char *log;

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        chat(alice, i);
    h_http_answer(h, 500, "");
    h_http_fail(h, GR_EIO);
    h_http_answer(h, 302, "");
    h_advance(h, 5000);
    assert_int_equal(h_http_count(h), 0);
    log = h_log(h);
    assert_non_null(strstr(log, "event_pusher.http_failed"));
    assert_non_null(strstr(log, "http://hooks.example"));
    assert_null(strstr(log, "pw@"));
    assert_null(strstr(log, "token"));
    assert_null(strstr(log, "secret words"));
    assert_non_null(strstr(h_command(h, "event_pusher counts localhost"),
                           "http_sent=0 http_failed=4 http_dropped=0"));
    h_stop(&h);
}

static void ignore(struct gr_mod *self, void *data, const struct gr_http_response *resp)
{
    (void)self, (void)data, (void)resp;
}

/* While the core takes no more requests to that server the events wait; then they are told. */
static void no_room_in_the_core(void **state)
{
    struct h *h = start("http_handlers = http://hooks.example\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    const struct gr_http_request req = { .url = "http://hooks.example/x", .timeout_ms = 60000 };
    struct gr_mod *self = h_mod(h, "presence", "alice@localhost");

    (void)state;
    for (int i = 0; i < GR_HTTP_HOST_MAX; i++)
        assert_int_equal(gr_http_send(self, &req, ignore, NULL), 0);
    chat(alice, 0);
    chat(alice, 1);
    assert_int_equal(h_http_count(h), GR_HTTP_HOST_MAX);
    assert_non_null(strstr(h_command(h, "event_pusher counts localhost"),
                           "http_sent=0 http_failed=0 http_dropped=0 http_waiting=2"));
    while (h_http_count(h) > 0)
        h_http_answer(h, 200, "");
    h_advance(h, 200);
    assert_int_equal(h_http_count(h), 2);
    assert_string_equal(field(h, "id"), "0");
    h_http_answer(h, 200, "");
    h_http_answer(h, 200, "");
    h_stop(&h);
}

/* So many under way, so many waiting, the oldest of these makes room. */
static void bounds(void **state)
{
    struct h *h = start("http_handlers = http://hooks.example\nhttp_pool = 2\nhttp_queue = 3\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    static const char *const told[] = { "0", "1", "4", "5", "6" };

    (void)state;
    for (unsigned i = 0; i < 7; i++)
        chat(alice, i);
    assert_int_equal(h_http_count(h), 2);
    assert_non_null(strstr(h_log(h), "event_pusher.http_dropped"));
    for (size_t i = 0; i < GR_COUNT(told); i++) {
        assert_string_equal(field(h, "id"), told[i]);
        h_http_answer(h, 200, "");
    }
    assert_int_equal(h_http_count(h), 0);
    assert_non_null(strstr(h_command(h, "event_pusher counts localhost"),
                           "http_sent=5 http_failed=0 http_dropped=2"));
    h_stop(&h);
}

static void bounded_by_bytes(void **state)
{
    struct h *h = start("http_handlers = http://hooks.example\nhttp_pool = 1\n"
                        "http_queue_size = 64K\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    char *text = gr_alloc(30001);

    (void)state;
    memset(text, 'x', 30000);
    for (unsigned i = 0; i < 5; i++)
        h_sendf(alice, "<message to='alice@localhost' type='chat' id='%u'><body>%s</body>"
                       "</message>", i, text);
    gr_free(text);
    h_http_answer(h, 200, "");
    assert_string_equal(field(h, "id"), "3");
    h_http_answer(h, 200, "");
    h_http_answer(h, 200, "");
    assert_null(h_http(h));
    h_stop(&h);
}

/* What waits goes to the next version, to the same URL. */
static void reloaded(void **state)
{
    struct h *h = start("http_handlers = http://hooks.example\nhttp_pool = 1\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        chat(alice, i);
    assert_int_equal(h_http_count(h), 1);
    h_reload(h, CONF "http_handlers = http://other.example, http://hooks.example\nhttp_pool = 2\n",
             NULL);
    h_advance(h, 1);
    assert_int_equal(h_http_count(h), 3);
    for (unsigned i = 0; i < 4; i++) {
        char id[2] = { (char)('0' + i), '\0' };

        assert_string_equal(h_http(h)->url, "http://hooks.example");
        assert_string_equal(field(h, "id"), id);
        h_http_answer(h, 200, "");
    }
    for (unsigned i = 0; i < 4; i++)
        chat(alice, i);
    h_reload(h, CONF "http_handlers = http://other.example\n", NULL);
    assert_non_null(strstr(h_log(h), "event_pusher.http_lost: 2 events"));
    h_advance(h, 10000);
    h_reload(h, CONF "http_handlers = http://hooks.example\nhttp_pool = 1\n", NULL);
    for (unsigned i = 0; i < 3; i++)
        chat(alice, i);
    h_reload(h, "[host localhost]\n[mod_presence]\n", NULL);
    h_advance(h, 10000);
    assert_int_equal(h_http_count(h), 0);
    assert_non_null(strstr(h_log(h), "event_pusher.http_lost"));
    h_stop(&h);
}

/* The same server twice, for this and for that: each has its own queue. */
static void reloaded_with_two_of_a_url(void **state)
{
    static const char conf[] = "http_handlers = http://hooks.example sent, "
                               "http://hooks.example received\nhttp_pool = 1\n";
    struct h *h = start(conf);
    struct hs *alice = h_login(h, "alice@localhost/a");
    char *ini = gr_asprintf("%s%shttp_timeout = 6s\n", CONF, conf);
    unsigned sent = 0, received = 0;

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        chat(alice, i);
    assert_int_equal(h_http_count(h), 2);
    h_reload(h, ini, NULL);
    gr_free(ini);
    h_advance(h, 1);
    while (h_http(h) != NULL) {
        sent += strcmp(field(h, "event"), "sent") == 0;
        received += strcmp(field(h, "event"), "received") == 0;
        h_http_answer(h, 200, "");
    }
    assert_int_equal(sent, 3);
    assert_int_equal(received, 3);
    h_stop(&h);
}

static void what_is_refused(void **state)
{
    static const char *const wrong[] = { "example.org", "ftp://example.org", "http:///x",
                                         "http://example.org send", "http://ok, file:///x" };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(wrong); i++) {
        char *ini = gr_asprintf(CONF "http_handlers = %s\n", wrong[i]), *errors;

        assert_null(h_start_try(ini, &errors));
        assert_non_null(strstr(errors, "http_handlers"));
        gr_free(errors);
        gr_free(ini);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(events), cmocka_unit_test(unacked), cmocka_unit_test(kept_messages_once),
        cmocka_unit_test(posted), cmocka_unit_test(vetoed), cmocka_unit_test(failing),
        cmocka_unit_test(no_room_in_the_core),
        cmocka_unit_test(bounds), cmocka_unit_test(bounded_by_bytes), cmocka_unit_test(reloaded),
        cmocka_unit_test(reloaded_with_two_of_a_url),
        cmocka_unit_test(what_is_refused),
    };
    return H_RUN("event_pusher", cases);
}

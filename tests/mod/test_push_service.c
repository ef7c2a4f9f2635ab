/* tests/mod/test_push_service.c: mod_push_service_mongoosepush: what the gateway is asked, and what
 * its answers do. */
#include "harness.h"

#include <stdio.h>

#define PUSH "urn:xmpp:push:0"
#define CONF "[host localhost]\n[mod_presence]\n[mod_event_pusher]\n" \
             "push_virtual_hosts = push.example\n" \
             "push_with_sender = yes\npush_with_body = yes\n[mod_push_service_mongoosepush]\n"
#define FIELD(var, value) "<field var='" var "'><value>" value "</value></field>"
#define PHONE FIELD("service", "fcm") FIELD("device_id", "dev-1:x_y")

static struct h *h;
static struct hs *alice;

static void start(const char *options, const char *fields)
{
    char *ini = gr_asprintf(CONF "%s", options), *xml;
    struct hs *bob;

    h = h_start(ini);
    gr_free(ini);
    h_user(h, "bob@localhost");
    alice = h_login(h, "alice@localhost/a");
    bob = h_login(h, "bob@localhost/b");
    xml = gr_asprintf("<enable xmlns='" PUSH "' jid='push.example' node='n'>"
                      "<x xmlns='jabber:x:data' type='submit'>"
                      FIELD("FORM_TYPE", "http://jabber.org/protocol/pubsub#publish-options")
                      "%s</x></enable>", fields);
    h_iq_result(bob, "set", NULL, xml, NULL);
    gr_free(xml);
    h_disconnect(&bob, true);
}

static void chat(const char *body)
{
    h_sendf(alice, "<message to='bob@localhost' type='chat'><body>%s</body></message>", body);
    h_drop_all(alice);
}

static bool is_enabled(void)
{
    return strstr(h_command(h, "event_pusher devices bob@localhost"), "service=") != NULL;
}

static void alerts(void **state)
{
    (void)state;
    start("url = https://gw.example:8443/\nauthorization = Basic abc\n",
          PHONE FIELD("click_action", "open"));
    chat("say \"hi\" \\ &lt;\t\xc3\xa4&gt;");
    assert_int_equal(h_http_count(h), 1);
    assert_string_equal(h_http(h)->url, "https://gw.example:8443/v3/notification/dev-1:x_y");
    assert_int_equal(h_http(h)->method, GR_HTTP_POST);
    assert_int_equal(h_http(h)->timeout_ms, 10000);
    assert_string_equal(h_http(h)->headers[0], "Content-Type: application/json");
    assert_string_equal(h_http(h)->headers[1], "Authorization: Basic abc");
    assert_string_equal(h_http(h)->body,
                        "{\"service\":\"fcm\",\"mode\":\"prod\",\"alert\":{\"badge\":1,"
                        "\"title\":\"alice@localhost\","
                        "\"body\":\"say \\\"hi\\\" \\\\ <\\u0009\xc3\xa4>\","
                        "\"tag\":\"alice@localhost\",\"click_action\":\"open\"}}");
    h_http_answer(h, 200, "");
    assert_true(is_enabled());
    assert_non_null(strstr(h_command(h, "event_pusher counts localhost"), "push_sent=1"));
    h_stop(&h);
}

static void silent(void **state)
{
    (void)state;
    start("url = http://gw.example\napi_version = v2\n",
          FIELD("service", "apns") FIELD("device_id", "d") FIELD("silent", "true")
          FIELD("mode", "dev") FIELD("topic", "app"));
    chat("hi");
    assert_string_equal(h_http(h)->url, "http://gw.example/v2/notification/d");
    assert_string_equal(h_http(h)->body,
                        "{\"service\":\"apns\",\"mode\":\"dev\",\"topic\":\"app\","
                        "\"data\":{\"message-count\":1,\"last-message-sender\":\"alice@localhost\","
                        "\"last-message-body\":\"hi\"}}");
    h_http_answer(h, 200, "");
    h_stop(&h);
}

static void a_device_that_is_gone(void **state)
{
    (void)state;
    start("url = http://gw.example\n", PHONE);
    chat("hi");
    h_http_answer(h, 500, "");
    chat("hi");
    h_http_fail(h, GR_EIO);
    chat("hi");
    h_advance(h, 10000); /* no answer */
    assert_true(is_enabled());
    assert_non_null(strstr(h_log(h), "push_service.failed"));
    assert_non_null(strstr(h_command(h, "event_pusher counts localhost"), "push_unanswered=3"));
    chat("hi");
    h_http_answer(h, 400, "");
    chat("hi");
    h_http_answer(h, 404, "");
    assert_true(is_enabled());
    chat("hi");
    h_http_answer(h, 410, "");
    assert_false(is_enabled());
    h_stop(&h);
}

static void devices_that_cannot_be_told(void **state)
{
    static const char *const fields[] = {
        "", FIELD("service", "fcm"), FIELD("device_id", "d"),
        FIELD("service", "fcm") FIELD("device_id", "../admin"),
        FIELD("service", "fcm") FIELD("device_id", "d?x=1"),
        FIELD("service", "fcm") FIELD("device_id", ".."),
        FIELD("service", "fcm") FIELD("device_id", "a%%2fb"),
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(fields); i++) {
        start("url = http://gw.example\n", fields[i]);
        chat("hi");
        assert_int_equal(h_http_count(h), 0);
        assert_false(is_enabled());
        h_stop(&h);
    }
}

static void ignore(struct gr_mod *self, void *data, const struct gr_http_response *resp)
{
    (void)self, (void)data, (void)resp;
}

static void bounds(void **state)
{
    (void)state;
    start("url = http://gw.example\nmax_http_connections = 2\n", PHONE);
    for (int i = 0; i < 3; i++)
        chat("hi");
    assert_int_equal(h_http_count(h), 2);
    h_http_answer(h, 200, "");
    chat("hi");
    assert_int_equal(h_http_count(h), 2);
    h_http_answer(h, 200, "");
    h_http_answer(h, 200, "");
    assert_non_null(strstr(h_command(h, "event_pusher counts localhost"),
                           "push_sent=3 push_refused=0 push_unanswered=1"));
    h_stop(&h);
}

/* Others have so many requests to that server under way that the core takes no more: told later, by
 * the next message. */
static void no_room_in_the_core(void **state)
{
    struct gr_http_request req = { .url = "http://gw.example/x", .timeout_ms = 60000 };
    struct gr_mod *self;

    (void)state;
    start("url = http://gw.example\n", PHONE);
    self = h_mod(h, "presence", "bob@localhost");
    for (int i = 0; i < GR_HTTP_HOST_MAX; i++)
        assert_int_equal(gr_http_send(self, &req, ignore, NULL), 0);
    chat("hi");
    assert_int_equal(h_http_count(h), GR_HTTP_HOST_MAX);
    assert_non_null(strstr(h_command(h, "event_pusher counts localhost"),
                           "push_sent=0 push_refused=0 push_unanswered=1 push_dropped=0 "
                           "push_waiting=0"));
    assert_true(is_enabled());
    h_http_answer(h, 200, "");
    chat("hi");
    assert_int_equal(h_http_count(h), GR_HTTP_HOST_MAX);
    while (h_http_count(h) > 0)
        h_http_answer(h, 200, "");
    assert_non_null(strstr(h_command(h, "event_pusher counts localhost"), "push_sent=1"));
    h_stop(&h);
}

/* Replaced while the gateway thinks: the old one hears the answer. */
static void reloaded(void **state)
{
    (void)state;
    start("url = http://gw.example\n", PHONE);
    chat("hi");
    h_reload(h, CONF "url = http://other.example\n", NULL);
    h_http_answer(h, 410, "");
    assert_false(is_enabled());
    h_stop(&h);
}

static void what_is_refused(void **state)
{
    static const char *const wrong[] = { "", "url = gw.example\n", "url = file:///x\n",
                                         "url = http://gw.example/?x\n" };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(wrong); i++) {
        char *ini = gr_asprintf(CONF "%s", wrong[i]), *errors;

        assert_null(h_start_try(ini, &errors));
        assert_non_null(strstr(errors, "url"));
        gr_free(errors);
        gr_free(ini);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(alerts), cmocka_unit_test(silent), cmocka_unit_test(a_device_that_is_gone),
        cmocka_unit_test(devices_that_cannot_be_told), cmocka_unit_test(bounds),
        cmocka_unit_test(no_room_in_the_core), cmocka_unit_test(reloaded), cmocka_unit_test(what_is_refused),
    };
    return H_RUN("push_service", cases);
}

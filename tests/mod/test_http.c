/* tests/mod/test_http.c: requests of modules to web servers (grapnel/http.h), against the harness's
 * fake: what is refused, the bounds, and whose a request is when its module goes.
 * tests/unit/test_http.c does the same with a real server. */
#include "harness.h"

#include <stdio.h>

static struct {
    unsigned answers;
    int rc, status;
    char body[64];
    const struct gr_mod *self; /* whoever asked last */
    bool stopped;              /* it */
} seen;

static void on_answer(struct gr_mod *self, void *data, const struct gr_http_response *resp)
{
    (void)self;
    assert_string_equal(data, "mine");
    assert_false(seen.stopped); /* never after stop() */
    seen.answers++;
    seen.rc = resp->rc;
    seen.status = resp->status;
    snprintf(seen.body, sizeof(seen.body), "%s", resp->body);
}

static void stop(struct gr_mod *self)
{
    seen.stopped |= self == seen.self;
}

static const struct gr_module asker = { .name = "asker", .summary = "asks", .stop = stop };

static struct h *start(void)
{
    memset(&seen, 0, sizeof(seen));
    h_module(&asker);
    return h_start("[host localhost]\n[host two.example]\n");
}

static int ask(struct gr_mod *self, const struct gr_http_request *req)
{
    seen.self = self;
    return gr_http_send(self, req, on_answer, gr_strdup("mine"));
}

static int get(struct h *h, const char *jid, const char *url)
{
    const struct gr_http_request req = { .url = url };

    return ask(h_mod(h, "asker", jid), &req);
}

static void asked_and_answered(void **state)
{
    static const char *const headers[] = { "X-Test: yes", NULL };
    const struct gr_http_request post = { .url = "https://user:word@Example.org/hook?x=1",
                                          .method = GR_HTTP_POST, .headers = headers,
                                          .body = "a=b", .body_len = 3 };
    struct h *h = start();

    (void)state;
    assert_int_equal(ask(h_mod(h, "asker", "localhost"), &post), 0);
    assert_int_equal(h_http_count(h), 1);
    assert_string_equal(h_http(h)->url, post.url);
    assert_string_equal(h_http(h)->body, "a=b");
    assert_string_equal(h_http(h)->headers[0], "X-Test: yes");
    assert_int_equal(h_http(h)->timeout_ms, 10000);
    assert_int_equal(seen.answers, 0);
    h_http_answer(h, 201, "thanks");
    assert_int_equal(seen.answers, 1);
    assert_int_equal(seen.rc, 0);
    assert_int_equal(seen.status, 201);
    assert_string_equal(seen.body, "thanks");
    assert_null(h_http(h));

    assert_int_equal(get(h, "localhost", "http://[::1]:8080"), 0);
    h_advance(h, 9999);
    assert_int_equal(seen.answers, 1);
    h_advance(h, 1);
    assert_int_equal(seen.answers, 2);
    assert_int_equal(seen.rc, GR_EIO);
    h_stop(&h);
}

static void what_is_no_request(void **state)
{
    static const char *const wrong[] = { "", "example.org", "file:///etc/passwd", "ftp://a/",
                                         "http://", "http:///x", "http://a b/", "https://:80/",
                                         "http://a/\n", "http://user@/", "gopher://a",
                                         "http://a:/", "http://a:x/", "http://a:0", "http://a:65536",
                                         "http://a:+80", "http://me:pw/x@a/", "http://[::1",
                                         "http://[::1]80", "http://a\\@b/" };
    static const char *const broken[] = { "X: a\r\nY: b", NULL };
    static const char *const line_feed[] = { "X: a\nY: b", NULL };
    static const char *const bare[] = { "no colon", NULL };
    struct gr_http_request req = { .url = "http://a/", .headers = broken };
    struct h *h = start();
    char origin[GR_HTTP_ORIGIN_SIZE];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(wrong); i++)
        assert_int_equal(get(h, "localhost", wrong[i]), GR_EINVAL);
    assert_int_equal(ask(h_mod(h, "asker", "localhost"), &req), GR_EINVAL);
    req.headers = line_feed;
    assert_int_equal(ask(h_mod(h, "asker", "localhost"), &req), GR_EINVAL);
    req.headers = bare;
    assert_int_equal(ask(h_mod(h, "asker", "localhost"), &req), GR_EINVAL);
    assert_int_equal(gr_http_origin("HTTPS://me:pw@x@Example.org:8443/p?q", origin), 0);
    assert_string_equal(origin, "https://example.org:8443");
    assert_int_equal(gr_http_origin("http://[::1]:65535", origin), 0);
    assert_string_equal(origin, "http://[::1]:65535");
    assert_int_equal(gr_http_origin("http://[fe80::1]?x", origin), 0);
    assert_string_equal(origin, "http://[fe80::1]");
    assert_int_equal(h_http_count(h), 0);
    h_stop(&h);
}

/* Per origin and per loop; other loops and other origins go on. What ended makes room. */
static void bounds(void **state)
{
    struct h *h = start();
    char url[64];

    (void)state;
    for (int i = 0; i < GR_HTTP_HOST_MAX; i++)
        assert_int_equal(get(h, "a@localhost", "http://a/x"), 0);
    assert_int_equal(get(h, "a@localhost", "http://A/y"), GR_EAGAIN);
    for (int i = GR_HTTP_HOST_MAX; i < GR_HTTP_LOOP_MAX; i++) {
        snprintf(url, sizeof(url), "http://host%d/", i % 8);
        assert_int_equal(get(h, "a@localhost", url), 0);
    }
    assert_int_equal(get(h, "a@localhost", "http://another/"), GR_EAGAIN);
    if (h_loops(h) > 1)
        assert_int_equal(get(h, h_user_near(h, "a@localhost", false), "http://a/"), 0);
    h_http_answer(h, 200, "");
    assert_int_equal(get(h, "a@localhost", "http://a/x"), 0);
    assert_int_equal(get(h, "a@localhost", "http://a/x"), GR_EAGAIN);
    while (h_http(h) != NULL)
        h_http_fail(h, GR_EIO);
    assert_int_equal(seen.answers, GR_HTTP_LOOP_MAX + 1 + (h_loops(h) > 1));
    h_stop(&h);
}

/* A module that goes has five seconds, then its requests are called off and told so; no new ones.
 * */
static void the_module_goes(void **state)
{
    struct h *h = start();
    struct gr_mod *self = h_mod(h, "asker", "two.example");
    const struct gr_http_request req = { .url = "http://a/", .timeout_ms = 60000 };

    (void)state;
    assert_int_equal(ask(self, &req), 0);
    assert_int_equal(ask(self, &req), 0);
    h_reload(h, "[host localhost]\n", NULL);
    assert_int_equal(seen.answers, 0);
    assert_int_equal(ask(self, &req), GR_ECANCELED);
    h_advance(h, 3000);
    h_http_answer(h, 200, "in time");
    assert_int_equal(seen.answers, 1);
    assert_int_equal(seen.rc, 0);
    assert_int_equal(h_http_count(h), 1);
    h_advance(h, 5000);
    assert_int_equal(seen.answers, 2);
    assert_int_equal(seen.rc, GR_ECANCELED);
    assert_int_equal(h_http_count(h), 0);
    assert_true(seen.stopped);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(asked_and_answered), cmocka_unit_test(what_is_no_request),
        cmocka_unit_test(bounds), cmocka_unit_test(the_module_goes),
    };
    return H_RUN("http", cases);
}

/* tests/mod/harness_http.c: requests of modules to web servers: kept, until the test answers them
 * or their time is up. */
#include "harness_priv.h"

#include "net/http.h"

struct kept_request {
    struct link link;
    struct http_req *req;
    struct loop *loop;
    struct timer timer;
    struct gr_http_request what;
    char **headers;
};
static struct link requests = { &requests, &requests }; /* oldest first, of all loops */

static void forget(struct kept_request *k)
{
    timer_stop(&k->timer);
    list_remove(&k->link);
    for (size_t i = 0; k->headers[i] != NULL; i++)
        gr_free(k->headers[i]);
    gr_free(k->headers);
    gr_free((void *)k->what.url);
    gr_free((void *)k->what.body);
    gr_free((void *)k->what.ca_file);
    gr_free(k);
}

static void answer(struct kept_request *k, const struct gr_http_response *resp)
{
    struct http_req *req = k->req;

    forget(k);
    http_done(req, resp);
}

static void on_timeout(struct timer *t)
{
    static const struct gr_http_response late = { .rc = GR_EIO, .why = "timed out", .type = "",
                                                  .body = "" };

    answer(GR_CONTAINER_OF(t, struct kept_request, timer), &late);
}

static char **copy_headers(const char *const *headers)
{
    size_t n = 0;
    char **copy;

    while (headers != NULL && headers[n] != NULL)
        n++;
    copy = gr_alloc((n + 1) * sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = gr_strdup(headers[i]);
    return copy;
}

static int start(struct http_req *r, const struct gr_http_request *what)
{
    struct kept_request *k = gr_alloc(sizeof(*k));
    char *body = gr_alloc(what->body_len + 1);

    if (what->body_len > 0)
        memcpy(body, what->body, what->body_len);
    k->req = r;
    k->loop = loop_self();
    k->what = *what;
    k->headers = copy_headers(what->headers);
    k->what.url = gr_strdup(what->url);
    k->what.headers = (const char *const *)k->headers;
    k->what.body = body;
    k->what.ca_file = what->ca_file != NULL ? gr_strdup(what->ca_file) : NULL;
    r->transfer = k;
    list_append(&requests, &k->link);
    timer_start(&k->timer, what->timeout_ms, on_timeout);
    return 0;
}

static void cancel(struct http_req *r)
{
    forget(r->transfer);
}

static int load(const char **why)
{
    *why = NULL;
    return 0;
}

static void nothing(void)
{
}

static const struct http_transport fake = { load, start, cancel, nothing };

void h_http_open(void)
{
    http_use(&fake);
}

static void close_loop(void *arg)
{
    (void)arg;
    http_close();
}

void h_http_close(void)
{
    loops_call(close_loop, NULL);
    http_use(NULL);
}

/* --- what tests see --- */

static struct kept_request *oldest(void)
{
    return list_empty(&requests) ? NULL : list_entry(requests.next, struct kept_request, link);
}

size_t h_http_count(struct h *h)
{
    size_t n = 0;

    (void)h;
    list_each (k, &requests, struct kept_request, link)
        n++;
    return n;
}

const struct gr_http_request *h_http(struct h *h)
{
    (void)h;
    return oldest() != NULL ? &oldest()->what : NULL;
}

static void answer_oldest(struct h *h, const struct gr_http_response *resp)
{
    struct loop *before = loop_self();
    struct kept_request *k = oldest();

    if (k == NULL)
        h_fail("no request waits for an answer");
    loop_enter(k->loop);
    answer(k, resp);
    loop_enter(before);
    h_run(h);
}

void h_http_answer(struct h *h, int status, const char *body)
{
    const struct gr_http_response resp = { .status = status, .why = "", .type = "text/plain",
                                           .body = body, .len = strlen(body) };

    answer_oldest(h, &resp);
}

void h_http_fail(struct h *h, int rc)
{
    const struct gr_http_response resp = { .rc = rc, .why = gr_strerror(rc), .type = "",
                                           .body = "" };

    answer_oldest(h, &resp);
}

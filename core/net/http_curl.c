/* net/http_curl.c: HTTP by libcurl, whose sockets and timer are the loop's: one multi handle per
 * loop.
 *
 * The library is loaded when the first one needs it: linked, it would cost every server ten
 * milliseconds at the start and two and a half megabytes with what it brings along. Names are
 * resolved by its threads; a request that ends meanwhile leaves its thread behind
 * (CURLOPT_QUICK_EXIT) instead of waiting for it. */
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "base/buf.h"
#include "loop/loop.h"
#include "net/http.h"

#define CONNECTIONS_MAX 32      /* and threads that look up names */
#define CONNECTIONS_HOST_MAX 16
#define CONNECTIONS_IDLE_MAX 16
#define CONNECT_MS 5000
#define HEADERS_MAX (64 * 1024) /* bytes, of one answer */
#define CA_KEPT_S 5             /* what is read of ca_file; libcurl's own default is a day */

/* --- the library --- */

#define FUNCTIONS(X)                                                                              \
    X(global_init) X(version_info) X(easy_init) X(easy_setopt) X(easy_getinfo) X(easy_cleanup)    \
    X(easy_strerror) X(slist_append) X(slist_free_all) X(multi_init) X(multi_setopt)              \
    X(multi_add_handle) X(multi_remove_handle) X(multi_assign) X(multi_socket_action)             \
    X(multi_info_read) X(multi_cleanup)
#define POINTER(name) __typeof__(curl_##name) *name;
static struct {
    FUNCTIONS(POINTER)
} lib;
#define ENTRY(name) { "curl_" #name, (char *)&lib.name - (char *)&lib },

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *missing; /* why it cannot be used; NULL: it can */

static const char *fill_in(void *so)
{
    const struct {
        const char *name;
        ptrdiff_t at;
    } functions[] = { FUNCTIONS(ENTRY) };

    for (size_t i = 0; i < GR_COUNT(functions); i++) {
        void *f = dlsym(so, functions[i].name);

        if (f == NULL)
            return "libcurl is too old";
        memcpy((char *)&lib + functions[i].at, &f, sizeof(f));
    }
    return NULL;
}

static void load_once(void)
{
    void *so = dlopen("libcurl.so.4", RTLD_LAZY | RTLD_LOCAL);
    const curl_version_info_data *v;

    missing = so != NULL ? fill_in(so) : "libcurl.so.4 cannot be loaded: install libcurl4";
    if (missing != NULL)
        return;
    v = lib.version_info(CURLVERSION_NOW);
    if (v->version_num < 0x075700) /* CURLOPT_QUICK_EXIT */
        missing = "libcurl is older than 7.87";
    else if ((v->features & CURL_VERSION_ASYNCHDNS) == 0 || (v->features & CURL_VERSION_SSL) == 0)
        missing = "libcurl was built without TLS or without a resolver that does not block";
    else if (lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        missing = "libcurl does not start";
}

static int load(const char **why)
{
    pthread_once(&once, load_once);
    *why = missing;
    return missing != NULL ? GR_ENOTSUP : 0;
}

/* --- the loop's client --- */

struct client {
    CURLM *multi;
    struct timer timer;
};
static struct client *clients[LOOPS_MAX];

static struct client **here(void)
{
    return &clients[loop_index(loop_self())];
}

struct transfer {
    struct http_req *req;
    CURL *easy;
    struct timer due;           /* libcurl's does not run while it waits for a connection */
    struct curl_slist *headers;
    struct buf body;
    size_t max, head;
    bool too_large;
    char why[CURL_ERROR_SIZE];
};

static void transfer_free(struct client *c, struct transfer *t)
{
    timer_stop(&t->due);
    lib.multi_remove_handle(c->multi, t->easy);
    lib.easy_cleanup(t->easy);
    lib.slist_free_all(t->headers);
    buf_fini(&t->body);
    gr_free(t);
}

static void end(struct client *c, struct transfer *t, CURLcode code)
{
    struct gr_http_response resp = { .why = "", .type = "", .body = buf_str(&t->body),
                                     .len = buf_len(&t->body) };
    struct http_req *req = t->req;
    long status = 0;
    char *type = NULL;

    if (code == CURLE_OK) {
        lib.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        lib.easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
        resp.status = (int)status;
        resp.type = type != NULL ? type : "";
    } else {
        resp.rc = t->too_large ? GR_ELIMIT : GR_EIO;
        resp.why = t->too_large ? "the answer is too large"
                   : t->why[0] != '\0' ? t->why : lib.easy_strerror(code);
        resp.body = "";
        resp.len = 0;
    }
    http_done(req, &resp);
    transfer_free(c, t);
}

static void on_late(struct timer *timer)
{
    end(*here(), GR_CONTAINER_OF(timer, struct transfer, due), CURLE_OPERATION_TIMEDOUT);
}

/* Whatever libcurl has to do; then answers, which may lead to other requests. */
static void act(curl_socket_t fd, int events)
{
    struct client *c = *here();
    struct CURLMsg *m;
    int n;

    lib.multi_socket_action(c->multi, fd, events, &n);
    while ((m = lib.multi_info_read(c->multi, &n)) != NULL) {
        char *t = NULL;

        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        lib.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
        end(c, (struct transfer *)(void *)t, code);
    }
}

static void on_ready(struct watch *w, int events)
{
    act(w->io.fd, (events & EV_READ ? CURL_CSELECT_IN : 0) |
                      (events & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_due(struct timer *t)
{
    (void)t;
    act(CURL_SOCKET_TIMEOUT, 0);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *of_socket)
{
    struct client *c = ctx;
    struct watch *w = of_socket;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) {
            watch_set(w, 0);
            gr_free(w);
        }
        return 0;
    }
    if (w == NULL) {
        w = gr_alloc(sizeof(*w));
        watch_init(w, fd, on_ready);
        lib.multi_assign(c->multi, fd, w);
    }
    watch_set(w, (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
    return 0;
}

static int on_timeout(CURLM *multi, long ms, void *ctx)
{
    struct client *c = ctx;

    (void)multi;
    if (ms < 0)
        timer_stop(&c->timer);
    else
        timer_start(&c->timer, ms, on_due);
    return 0;
}

static struct client *client_get(void)
{
    struct client **at = here(), *c = *at;

    if (c != NULL)
        return c;
    c = *at = gr_alloc(sizeof(*c));
    c->multi = lib.multi_init();
    gr_assert(c->multi != NULL); /* no memory */
    lib.multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    lib.multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    lib.multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    lib.multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    lib.multi_setopt(c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MAX);
    lib.multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)CONNECTIONS_HOST_MAX);
    lib.multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_IDLE_MAX);
    return c;
}

static void close_client(void)
{
    struct client *c = *here();

    if (c == NULL)
        return;
    lib.multi_cleanup(c->multi);
    timer_stop(&c->timer);
    gr_free(c);
    *here() = NULL;
}

/* --- requests --- */

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;

    if (size * n > t->max - buf_len(&t->body)) {
        t->too_large = true;
        return 0; /* ends it */
    }
    buf_append(&t->body, data, size * n);
    return size * n;
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;

    (void)data;
    t->head += size * n;
    t->too_large = t->head > HEADERS_MAX;
    return t->too_large ? 0 : size * n;
}

static void set_method(struct transfer *t, const struct gr_http_request *what)
{
    static const char *const verb[] = { [GR_HTTP_PUT] = "PUT", [GR_HTTP_DELETE] = "DELETE" };
    CURL *e = t->easy;

    if (what->method == GR_HTTP_POST || what->method == GR_HTTP_PUT) {
        lib.easy_setopt(e, CURLOPT_POST, 1L);
        lib.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)what->body_len);
        lib.easy_setopt(e, CURLOPT_COPYPOSTFIELDS, what->body != NULL ? what->body : "");
    }
    if (what->method == GR_HTTP_PUT || what->method == GR_HTTP_DELETE)
        lib.easy_setopt(e, CURLOPT_CUSTOMREQUEST, verb[what->method]);
}

static void set_headers(struct transfer *t, const char *const *h)
{
    for (; h != NULL && *h != NULL; h++)
        t->headers = lib.slist_append(t->headers, *h);
    t->headers = lib.slist_append(t->headers, "Expect:"); /* no waiting before a large body */
    lib.easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
}

/* The system's as a folder of hashed names, where there is one: reading the whole bundle would keep
 * the loop for 20 ms. */
static void set_trust(struct transfer *t, const char *ca_file)
{
    if (ca_file != NULL) {
        lib.easy_setopt(t->easy, CURLOPT_CAINFO, ca_file);
        lib.easy_setopt(t->easy, CURLOPT_CAPATH, (char *)NULL);
        lib.easy_setopt(t->easy, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_KEPT_S);
    } else if (lib.version_info(CURLVERSION_NOW)->capath != NULL) {
        lib.easy_setopt(t->easy, CURLOPT_CAINFO, (char *)NULL);
    }
}

static void set_all(struct transfer *t, const struct gr_http_request *what)
{
    CURL *e = t->easy;

    lib.easy_setopt(e, CURLOPT_PRIVATE, t);
    lib.easy_setopt(e, CURLOPT_ERRORBUFFER, t->why);
    lib.easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    lib.easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    lib.easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    lib.easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    lib.easy_setopt(e, CURLOPT_PROXY, "");
    lib.easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    lib.easy_setopt(e, CURLOPT_USERAGENT, "grapnel");
    lib.easy_setopt(e, CURLOPT_BUFFERSIZE, 4096L);
    lib.easy_setopt(e, CURLOPT_URL, what->url);
    lib.easy_setopt(e, CURLOPT_FOLLOWLOCATION, what->redirects > 0 ? 1L : 0L);
    lib.easy_setopt(e, CURLOPT_MAXREDIRS, (long)what->redirects);
    lib.easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    lib.easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    lib.easy_setopt(e, CURLOPT_WRITEDATA, t);
    lib.easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    lib.easy_setopt(e, CURLOPT_HEADERDATA, t);
    set_method(t, what);
    set_headers(t, what->headers);
    set_trust(t, what->ca_file);
}

static int start(struct http_req *r, const struct gr_http_request *what)
{
    const char *why;
    struct client *c;
    struct transfer *t;
    CURL *easy;

    if (load(&why) != 0)
        return GR_ENOTSUP;
    c = client_get();
    easy = lib.easy_init();
    if (easy == NULL)
        return GR_EAGAIN;
    t = gr_alloc(sizeof(*t));
    t->easy = easy;
    t->req = r;
    t->max = what->max_response;
    set_all(t, what);
    r->transfer = t;
    timer_start(&t->due, what->timeout_ms, on_late);
    if (lib.multi_add_handle(c->multi, easy) == CURLM_OK)
        return 0;
    transfer_free(c, t);
    return GR_EAGAIN;
}

static void cancel(struct http_req *r)
{
    transfer_free(*here(), r->transfer);
}

const struct http_transport http_curl = { load, start, cancel, close_client };

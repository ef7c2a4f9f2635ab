/* net/http.c: what is asked of web servers: judged, counted and bounded, per loop and per origin.
 * */
#include "net/http.h"

#include <ctype.h>
#include <string.h>

#include "base/table.h"
#include "loop/loop.h"

#define TIMEOUT_MS 10000
#define RESPONSE_MAX (64 * 1024)

struct http_origin {
    struct table_node by_name;
    unsigned count;
    char name[];
};
struct client {
    struct table origins; /* of requests that are not answered */
    unsigned count;
    uint64_t answered, failed;
};
static struct client clients[LOOPS_MAX];
static const struct http_transport *transport = &http_curl;

static struct client *here(void)
{
    int i = loop_index(loop_self());

    gr_assert(i >= 0);
    return &clients[i];
}

/* --- URLs --- */

/* The host's first byte; NULL: no scheme of ours. */
static const char *behind_scheme(const char *url)
{
    if (strncasecmp(url, "https://", 8) == 0)
        return url + 8;
    return strncasecmp(url, "http://", 7) == 0 ? url + 7 : NULL;
}

/* No backslash: others take it for a slash. */
static bool is_printable(const char *s)
{
    while (*s > ' ' && *s < 0x7f && *s != '\\')
        s++;
    return *s == '\0';
}

/* NAME, NAME:PORT, [ADDRESS] or [ADDRESS]:PORT. What is not, such as the half of a password that has a
 * slash in it, is no host: it would be logged as one. */
static bool is_host(const char *host, size_t len)
{
    const char *bracket = *host == '[' ? memchr(host, ']', len) : NULL;
    size_t name = bracket != NULL ? (size_t)(bracket + 1 - host) : strcspn(host, ":/?#[]");
    unsigned long port = 0;

    if (name == 0 || name == len)
        return name > 0;
    if (host[name] != ':' || len - name > 6)
        return false;
    for (size_t i = name + 1; i < len; i++) {
        if (!isdigit((unsigned char)host[i]))
            return false;
        port = 10 * port + (unsigned long)(host[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

int gr_http_origin(const char *url, char out[GR_HTTP_ORIGIN_SIZE])
{
    const char *host = behind_scheme(url), *at;
    size_t scheme, len;

    if (host == NULL || !is_printable(url))
        return GR_EINVAL;
    scheme = (size_t)(host - url);
    len = strcspn(host, "/?#");
    while ((at = memchr(host, '@', len)) != NULL) { /* NAME:PASSWORD@ */
        len -= (size_t)(at + 1 - host);
        host = at + 1;
    }
    if (!is_host(host, len) || scheme + len >= GR_HTTP_ORIGIN_SIZE)
        return GR_EINVAL;
    for (size_t i = 0; i < scheme + len; i++)
        out[i] = (char)tolower((unsigned char)(i < scheme ? url[i] : host[i - scheme]));
    out[scheme + len] = '\0';
    return 0;
}

/* A line break would begin another header. */
static bool headers_fit(const char *const *h)
{
    for (; h != NULL && *h != NULL; h++) {
        if (strchr(*h, ':') == NULL || strpbrk(*h, "\r\n") != NULL)
            return false;
    }
    return true;
}

/* --- counting --- */

static struct http_origin *origin_get(struct client *c, const char *name)
{
    struct table_node *n = table_find_str(&c->origins, name);
    size_t len = strlen(name);
    struct http_origin *o;

    if (n != NULL)
        return GR_CONTAINER_OF(n, struct http_origin, by_name);
    o = gr_alloc(sizeof(*o) + len + 1);
    memcpy(o->name, name, len);
    table_insert(&c->origins, &o->by_name, o->name, len);
    return o;
}

static void let_go(struct client *c, struct http_origin *o)
{
    if (o->count > 0)
        return;
    table_remove(&c->origins, &o->by_name);
    gr_free(o);
}

static void uncount(struct http_req *r)
{
    struct client *c = here();

    c->count--;
    r->origin->count--;
    let_go(c, r->origin);
    r->origin = NULL;
}

/* --- requests --- */

int http_send(struct http_req *r, const struct gr_http_request *what)
{
    struct gr_http_request q = *what;
    struct client *c = here();
    char name[GR_HTTP_ORIGIN_SIZE];
    struct http_origin *o;
    int rc;

    if (gr_http_origin(q.url, name) != 0 || !headers_fit(q.headers))
        return GR_EINVAL;
    if (c->count >= GR_HTTP_LOOP_MAX)
        return GR_EAGAIN;
    if (q.timeout_ms <= 0)
        q.timeout_ms = TIMEOUT_MS;
    if (q.max_response == 0)
        q.max_response = RESPONSE_MAX;
    o = origin_get(c, name);
    rc = o->count < GR_HTTP_HOST_MAX ? transport->start(r, &q) : GR_EAGAIN;
    if (rc == 0) {
        c->count++;
        o->count++;
        r->origin = o;
    }
    let_go(c, o);
    return rc;
}

void http_done(struct http_req *r, const struct gr_http_response *resp)
{
    struct client *c = here();

    c->answered += resp->rc == 0;
    c->failed += resp->rc != 0;
    uncount(r);
    r->done(r, resp);
}

void http_cancel(struct http_req *r)
{
    transport->cancel(r);
    uncount(r);
}

struct http_stats http_stats(void)
{
    const struct client *c = here();

    return (struct http_stats){ c->answered, c->failed, c->count };
}

void http_close(void)
{
    struct client *c = here();

    gr_assert(c->count == 0);
    transport->close();
    table_fini(&c->origins);
}

void http_use(const struct http_transport *t)
{
    transport = t != NULL ? t : &http_curl;
}

int gr_http_load(const char **why)
{
    return transport->load(why);
}

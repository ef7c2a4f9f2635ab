/* grapnel/http.h: requests to web servers: webhooks, gateways, other people's APIs.
 *
 * A request belongs to the instance that makes it and is answered on its loop, exactly once, later.
 * Nothing in it waits for the network on the loop: names are resolved on threads of their own. Only
 * http and https; certificates are verified against the system's; no redirects unless asked for, no
 * proxies from the environment, no cookies, no compression. HTTP/1.1; connections are kept and used
 * again, per loop.
 *
 * Bounds, per loop: GR_HTTP_LOOP_MAX requests that are not answered, GR_HTTP_HOST_MAX of them to
 * one origin; of these, 32 in all and 16 to an origin have a connection at a time, the others wait
 * for one, which their time-out includes. Who must not lose what does not fit keeps a queue of its
 * own.
 *
 * A module that is replaced or switched off is given five seconds for what is under way; then, and
 * at once when the server stops, the rest is answered with GR_ECANCELED, before stop(). */
#pragma once

#include <grapnel/base.h>

struct gr_mod;

enum gr_http_method { GR_HTTP_GET, GR_HTTP_POST, GR_HTTP_PUT, GR_HTTP_DELETE };

#define GR_HTTP_LOOP_MAX 1024
#define GR_HTTP_HOST_MAX 256

/* Only url must be set; everything is copied. */
struct gr_http_request {
    const char *url;             /* http://... or https://..., NAME:PASSWORD@ is sent as Basic */
    enum gr_http_method method;
    const char *const *headers;  /* "Name: value", NULL-terminated; NULL: none */
    const void *body;            /* of POST and PUT */
    size_t body_len;
    int64_t timeout_ms;          /* from here to the end of the answer; 0: 10 s */
    size_t max_response;         /* bytes of the answer's body; 0: 64 KiB */
    unsigned redirects;          /* to follow; 0: none, 3xx is the answer */
    const char *ca_file;         /* PEM, instead of the system's; NULL: these. What it says is kept
                                  * for five seconds */
};

/* Borrowed until the callback returns. */
struct gr_http_response {
    int rc;                      /* 0: an answer, whatever its status; GR_EIO: none (unreachable,
                                  * broken off, certificate, time-out); GR_ELIMIT: too large;
                                  * GR_ECANCELED */
    int status;                  /* 200, ...; 0 when rc is not 0 */
    const char *why;             /* what is wrong, in words; "" when rc is 0 */
    const char *type;            /* content-type; "" when there is none */
    const char *body;            /* NUL-terminated; "" when there is none */
    size_t len;
};
typedef void (*gr_http_f)(struct gr_mod *self, void *data, const struct gr_http_response *resp);

/* 0, and done() is called later; or done() is not called: GR_EINVAL (the URL, a header with a line
 * break), GR_EAGAIN (a bound, see above), GR_ECANCELED (the instance is being replaced), GR_ENOTSUP
 * (libcurl cannot be loaded). take_data (gr_alloc'ed or NULL) is freed by the core afterwards, in
 * each of these cases. */
GR_API int gr_http_send(struct gr_mod *self, const struct gr_http_request *req, gr_http_f done,
                        void *take_data);

/* Loads the client's library, which takes a moment: for start(), so that it is not loaded by the
 * first request, and a missing one is known in time. 0, or GR_ENOTSUP with a static sentence in
 * *why. */
GR_API int gr_http_load(const char **why);

/* "https://example.org:8443": scheme, host and, when given, port of a URL that gr_http_send takes;
 * what may be logged of one. 0 or GR_EINVAL. Any thread. */
#define GR_HTTP_ORIGIN_SIZE 300
GR_API int gr_http_origin(const char *url, char out[GR_HTTP_ORIGIN_SIZE]);

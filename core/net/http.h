/* net/http.h: requests to web servers, for mod/http.c: counted and bounded in http.c, carried by
 * http_curl.c, or by a test's fake. One client per loop, made at its first request. On its loop. */
#pragma once

#include <grapnel/http.h>

#include "base/list.h"

/* Embedded in what belongs to the request. */
struct http_req {
    /* Ends the request; may free it. */
    void (*done)(struct http_req *r, const struct gr_http_response *resp);
    struct http_origin *origin; /* http.c's */
    void *transfer;             /* the transport's */
};

/* 0, and done() is called later, unless it is cancelled; or a gr_err of gr_http_send. */
int http_send(struct http_req *r, const struct gr_http_request *what);
/* done() is not called. */
void http_cancel(struct http_req *r);
/* Of the calling loop, which has no request any more. */
void http_close(void);

/* Of the calling loop, since the start. */
struct http_stats {
    uint64_t answered, failed;  /* failed: without an answer, whatever its status */
    size_t waiting;
};
struct http_stats http_stats(void);

/* Who carries requests. start() is given one whose defaults are filled in, and copies what it needs
 * of it; 0, and it calls http_done once, later, unless cancel() comes first. */
struct http_transport {
    int (*load)(const char **why);
    int (*start)(struct http_req *r, const struct gr_http_request *what);
    void (*cancel)(struct http_req *r);
    void (*close)(void);
};
void http_done(struct http_req *r, const struct gr_http_response *resp);
extern const struct http_transport http_curl;
/* For tests, before any request; NULL: http_curl again. */
void http_use(const struct http_transport *t);

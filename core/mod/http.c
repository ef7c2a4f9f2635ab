/* mod/http.c: grapnel/http.h for instances, over net/http.h. A request is something that an
 * instance is owed: one that retires has a moment for it, and hears of its end before stop(). */
#include "net/http.h"

#include "mod/usage.h"

struct asked {
    struct owed owed;
    struct http_req req;
    struct gr_mod *self;
    gr_http_f done;
    void *data;
};

static void end(struct asked *a, const struct gr_http_response *resp)
{
    struct gr_mod *self = a->self, *before = usage_begin(self);

    a->done(self, a->data, resp);
    usage_end(self, before);
    gr_free(a->data);
    self->bytes -= sizeof(*a);
    mod_settle(self, &a->owed);
    gr_free(a);
}

static void on_done(struct http_req *r, const struct gr_http_response *resp)
{
    end(GR_CONTAINER_OF(r, struct asked, req), resp);
}

static void give_up(struct owed *o)
{
    static const struct gr_http_response canceled = {
        .rc = GR_ECANCELED, .why = "the module has gone", .type = "", .body = ""
    };
    struct asked *a = GR_CONTAINER_OF(o, struct asked, owed);

    http_cancel(&a->req);
    end(a, &canceled);
}

int gr_http_send(struct gr_mod *self, const struct gr_http_request *req, gr_http_f done,
                 void *take_data)
{
    struct asked *a;
    int rc = GR_ECANCELED;

    if (!self->retired) {
        a = gr_alloc(sizeof(*a));
        a->req.done = on_done;
        rc = http_send(&a->req, req);
        if (rc == 0) {
            a->self = self;
            a->done = done;
            a->data = take_data;
            a->owed.early = true;
            self->bytes += sizeof(*a);
            mod_owe(self, &a->owed, give_up);
            return 0;
        }
        gr_free(a);
    }
    gr_free(take_data);
    return rc;
}

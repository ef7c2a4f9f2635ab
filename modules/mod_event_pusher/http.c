/* mod_event_pusher/http.c: the back end that tells web servers: a POST for each event, as a form.
 *
 * Each handler has a few requests under way and a queue behind them, per loop. When the queue is
 * full its oldest event is dropped: a server that hangs costs memory up to a bound and nobody any
 * time. What failed is not tried again. At a reload the queue goes to the next version. */
#include "pusher.h"

#include <string.h>

#include <grapnel/http.h>

#define RETRY_MS 200

/* A body that waits. */
struct event {
    struct event *next;
    size_t len;
    char body[];
};
struct handler {
    char *url;
    char origin[GR_HTTP_ORIGIN_SIZE]; /* what is logged of it */
    unsigned events, types;           /* bits: enum gr_event, enum gr_type */
    struct event *first, **last;
    size_t queued, bytes;
    unsigned under_way;
    uint64_t sent, failed, dropped;
};

/* --- what the option says --- */

#define BIT(n) (1u << (n))
#define MESSAGES (BIT(GR_EVENT_SENT) | BIT(GR_EVENT_RECEIVED) | BIT(GR_EVENT_UNACKED))

static bool add_word(const char *word, size_t len, struct handler *h)
{
    static const struct {
        const char *word;
        unsigned type;
    } types[] = { { "chat", GR_MSG_CHAT }, { "groupchat", GR_MSG_GROUPCHAT },
                  { "normal", GR_MSG_NORMAL } };

    for (unsigned i = 0; i <= GR_EVENT_OFFLINE; i++) {
        if (strlen(event_name[i]) == len && strncmp(event_name[i], word, len) == 0) {
            h->events |= BIT(i);
            return true;
        }
    }
    for (size_t i = 0; i < GR_COUNT(types); i++) {
        if (strlen(types[i].word) == len && strncmp(types[i].word, word, len) == 0) {
            h->types |= BIT(types[i].type);
            return true;
        }
    }
    return false;
}

/* "URL WORD WORD"; h may be freed with gr_free(h->url) afterwards. NULL, or what is wrong. */
static const char *parse(const char *text, struct handler *h)
{
    size_t len = strcspn(text, " \t");

    h->url = gr_strndup(text, len);
    if (gr_http_origin(h->url, h->origin) != 0)
        return "http_handlers: each begins with the URL of a web server, http:// or https://";
    for (text += len; *(text += strspn(text, " \t")) != '\0'; text += len) {
        len = strcspn(text, " \t");
        if (!add_word(text, len, h))
            return "http_handlers: behind a URL there may be sent, received, unacked, online, "
                   "offline, chat, groupchat, normal";
    }
    if (h->events == 0)
        h->events = BIT(GR_EVENT_SENT);
    if (h->types == 0)
        h->types = BIT(GR_MSG_CHAT);
    return NULL;
}

int http_check(const struct pusher_conf *conf, const char **why)
{
    for (size_t i = 0; conf->http_handlers[i] != NULL; i++) {
        struct handler h = { .events = 0 };

        *why = parse(conf->http_handlers[i], &h);
        gr_free(h.url);
        if (*why != NULL)
            return GR_EINVAL;
    }
    return 0;
}

/* --- bodies: application/x-www-form-urlencoded --- */

static void write_text(struct gr_writer *w, const char *text)
{
    static const char plain[] = "-._~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL) {
            gr_write_u8(w, (uint8_t)*text);
        } else {
            gr_write_u8(w, '%');
            gr_write_u8(w, (uint8_t)"0123456789ABCDEF"[(uint8_t)*text >> 4]);
            gr_write_u8(w, (uint8_t)"0123456789ABCDEF"[(uint8_t)*text & 15]);
        }
    }
}

static void write_field(struct gr_writer *w, const char *name, const char *value)
{
    if (w->len > 0)
        gr_write_u8(w, '&');
    write_text(w, name);
    gr_write_u8(w, '=');
    write_text(w, value);
}

static const char *name_of(const struct gr_jid *jid)
{
    return jid != NULL && jid->node != NULL ? jid->node : "";
}

static void *body_new(struct gr_mod *self, const struct gr_event_ev *ev, size_t *len)
{
    static const char *const type[] = { [GR_MSG_NORMAL] = "normal", [GR_MSG_CHAT] = "chat",
                                        [GR_MSG_GROUPCHAT] = "groupchat" };
    struct gr_writer w = gr_writer_new(512);
    const char *id = ev->stanza != NULL ? gr_stanza_id(ev->stanza) : NULL;

    write_field(&w, "author", name_of(ev->from));
    write_field(&w, "server", gr_mod_host_jid(self)->domain);
    write_field(&w, "receiver", name_of(ev->to));
    write_field(&w, "message", ev->stanza != NULL ? body_of(ev->stanza) : "");
    write_field(&w, "event", event_name[ev->event]);
    write_field(&w, "from", ev->from->full);
    write_field(&w, "to", ev->to != NULL ? ev->to->full : "");
    write_field(&w, "type", ev->stanza != NULL ? type[gr_stanza_type(ev->stanza)] : "");
    write_field(&w, "id", id != NULL ? id : "");
    return gr_writer_take(&w, len);
}

/* --- the queue --- */

static void drop_first(struct handler *h)
{
    struct event *e = h->first;

    h->first = e->next;
    if (h->first == NULL)
        h->last = &h->first;
    h->queued--;
    h->bytes -= e->len;
    gr_free(e);
}

static void append(const struct pusher_conf *conf, struct handler *h, const void *body, size_t len)
{
    struct event *e = gr_alloc(sizeof(*e) + len);

    e->len = len;
    memcpy(e->body, body, len);
    *h->last = e;
    h->last = &e->next;
    h->queued++;
    h->bytes += len;
    while (h->queued > (size_t)conf->http_queue ||
           (h->queued > 1 && h->bytes > (size_t)conf->http_queue_size)) {
        drop_first(h);
        h->dropped++;
        gr_warn("event_pusher.http_dropped", "%s does not keep up: an event is not told",
                h->origin);
    }
}

/* --- requests --- */

static void drain(struct gr_mod *self, struct handler *h);

struct told {
    size_t handler;
};

static void on_told(struct gr_mod *self, void *data, const struct gr_http_response *resp)
{
    struct pusher *p = gr_state(self);
    struct handler *h = &p->handlers[((const struct told *)data)->handler];

    h->under_way--;
    if (resp->rc == 0 && resp->status / 100 == 2) {
        h->sent++;
    } else {
        h->failed++;
        gr_warn("event_pusher.http_failed", "%s was not told of an event: %s %d", h->origin,
                resp->rc != 0 ? resp->why : "it answers", resp->status);
    }
    drain(self, h);
}

static int send_first(struct gr_mod *self, struct handler *h)
{
    const struct pusher_conf *conf = gr_conf(self);
    struct pusher *p = gr_state(self);
    char *authorization = gr_asprintf("Authorization: %s", conf->http_authorization);
    const char *headers[] = { "Content-Type: application/x-www-form-urlencoded",
                              conf->http_authorization[0] != '\0' ? authorization : NULL, NULL };
    const struct gr_http_request req = {
        .url = h->url, .method = GR_HTTP_POST, .headers = headers, .body = h->first->body,
        .body_len = h->first->len, .timeout_ms = conf->http_timeout,
        .ca_file = conf->http_ca_file[0] != '\0' ? conf->http_ca_file : NULL
    };
    struct told *told = gr_alloc(sizeof(*told));
    int rc;

    told->handler = (size_t)(h - p->handlers);
    rc = gr_http_send(self, &req, on_told, told);
    gr_wipe(authorization, strlen(authorization));
    gr_free(authorization);
    return rc;
}

static void on_retry(struct gr_mod *self, struct gr_timer *t)
{
    struct pusher *p = gr_state(self);

    (void)t;
    for (size_t i = 0; i < p->handler_count; i++)
        drain(self, &p->handlers[i]);
}

static void drain(struct gr_mod *self, struct handler *h)
{
    const struct pusher_conf *conf = gr_conf(self);
    struct pusher *p = gr_state(self);

    while (!p->saved && h->first != NULL && h->under_way < conf->http_pool) {
        int rc = send_first(self, h);

        if (rc == GR_EAGAIN || rc == GR_ECANCELED) { /* later; or by nobody: see http_stop */
            gr_timer_start(self, &p->retry, RETRY_MS, on_retry);
            return;
        }
        if (rc == 0)
            h->under_way++;
        else
            h->failed++;
        drop_first(h);
    }
}

/* --- events --- */

static bool wants(const struct handler *h, const struct gr_event_ev *ev)
{
    if ((h->events & BIT(ev->event)) == 0)
        return false;
    if ((BIT(ev->event) & MESSAGES) == 0)
        return true;
    return (h->types & BIT(gr_stanza_type(ev->stanza))) != 0 && body_of(ev->stanza)[0] != '\0';
}

void http_event(struct gr_mod *self, const struct gr_event_ev *ev)
{
    struct pusher *p = gr_state(self);
    void *body = NULL;
    size_t len = 0;

    for (size_t i = 0; i < p->handler_count; i++) {
        if (!wants(&p->handlers[i], ev))
            continue;
        if (body == NULL)
            body = body_new(self, ev, &len);
        append(gr_conf(self), &p->handlers[i], body, len);
        drain(self, &p->handlers[i]);
    }
    gr_free(body);
}

void http_counts(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct pusher *p = gr_state(self);
    struct handler all = { .events = 0 };

    for (size_t i = 0; i < p->handler_count; i++) {
        const struct handler *h = &p->handlers[i];

        all.sent += h->sent;
        all.failed += h->failed;
        all.dropped += h->dropped;
        all.queued += h->queued + h->under_way;
    }
    gr_cmd_number(cmd, "http_sent", (int64_t)all.sent);
    gr_cmd_number(cmd, "http_failed", (int64_t)all.failed);
    gr_cmd_number(cmd, "http_dropped", (int64_t)all.dropped);
    gr_cmd_number(cmd, "http_waiting", (int64_t)all.queued);
}

/* --- life --- */

int http_start(struct gr_mod *self, const char **why)
{
    const struct pusher_conf *conf = gr_conf(self);
    struct pusher *p = gr_state(self);
    size_t n = 0;

    while (conf->http_handlers[n] != NULL)
        n++;
    if (n > 0 && gr_http_load(why) != 0)
        return GR_ENOTSUP;
    p->handlers = gr_alloc((n + 1) * sizeof(*p->handlers));
    for (; p->handler_count < n; p->handler_count++) {
        struct handler *h = &p->handlers[p->handler_count];

        parse(conf->http_handlers[p->handler_count], h); /* has been checked */
        h->last = &h->first;
    }
    return 0;
}

static void say_lost(struct gr_mod *self, uint64_t lost)
{
    if (lost > 0)
        gr_warn("event_pusher.http_lost", "%llu events of %s were not told to web servers",
                (unsigned long long)lost, gr_mod_host_jid(self)->domain);
}

void http_stop(struct gr_mod *self)
{
    struct pusher *p = gr_state(self);
    uint64_t lost = 0;

    for (size_t i = 0; i < p->handler_count; i++) {
        struct handler *h = &p->handlers[i];

        lost += p->saved ? 0 : h->queued;
        while (h->first != NULL)
            drop_first(h);
        gr_free(h->url);
    }
    gr_free(p->handlers);
    say_lost(self, lost);
}

/* Under what a handler's queue crosses a reload: its URL, with a number when it is not the first one
 * that has it; free it. */
static char *bag_key(const struct pusher *p, size_t handler)
{
    const char *url = p->handlers[handler].url;
    size_t before = 0;

    for (size_t i = 0; i < handler; i++)
        before += strcmp(p->handlers[i].url, url) == 0;
    return before == 0 ? gr_strdup(url) : gr_asprintf("%s %zu", url, before);
}

/* Of each handler the bodies, each with its length. */
void http_save(struct gr_mod *self, struct gr_bag *bag)
{
    struct pusher *p = gr_state(self);
    uint64_t waiting = 0;

    p->saved = true;
    for (size_t i = 0; i < p->handler_count; i++) {
        const struct handler *h = &p->handlers[i];
        struct gr_writer w = gr_writer_new(h->bytes + 4 * h->queued + 1);
        char *key = bag_key(p, i);
        size_t len;
        void *all;

        for (const struct event *e = h->first; e != NULL; e = e->next)
            gr_write_blob(&w, e->body, e->len);
        all = gr_writer_take(&w, &len);
        gr_bag_put_blob(bag, key, all, len);
        gr_free(all);
        gr_free(key);
        waiting += h->queued;
    }
    gr_bag_put_u64(bag, "waiting", waiting);
}

void http_restore(struct gr_mod *self, const struct gr_bag *bag)
{
    const struct pusher_conf *conf = gr_conf(self);
    struct pusher *p = gr_state(self);
    uint64_t lost = gr_bag_u64(bag, "waiting", 0);

    for (size_t i = 0; i < p->handler_count; i++) {
        struct handler *h = &p->handlers[i];
        char *key = bag_key(p, i);
        size_t len = 0;
        const void *all = gr_bag_blob(bag, key, &len);
        struct gr_reader r = gr_reader_of(all, all != NULL ? len : 0);

        while (!r.failed && r.at < r.end) {
            const void *body = gr_read_blob(&r, &len);

            if (r.failed)
                break;
            append(conf, h, body, len);
            lost -= lost > 0;
        }
        gr_free(key);
        if (h->first != NULL)
            gr_timer_start(self, &p->retry, 0, on_retry);
    }
    say_lost(self, lost); /* what was for a URL that is not told any more */
}

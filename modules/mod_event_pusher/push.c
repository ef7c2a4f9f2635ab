/* mod_event_pusher/push.c: the back end that notifies devices (XEP-0357): of which messages, and
 * how many there are.
 *
 * A message for an account none of whose clients would get it, or one that waits for a client
 * without a connection: its devices are read, the message is counted, inbox_unread_count may know
 * better, then each device's app server is asked. The count starts again when a client comes. */
#include "pusher.h"

#include <string.h>

#define BODY_MAX 1024            /* bytes of what was written that are told */

static const char unread_key[] = "n";

/* A message on its way to the devices of an account. */
struct push {
    struct push *prev, *next;
    struct gr_mod *self;
    struct gr_inbox_ev inbox;
    struct gr_jid *user;
    uint64_t mark;               /* told_mark of the message */
    char *sender, *body;
    char *resource;              /* of the client that waits; NULL: nobody is there */
    struct device *devices;
    size_t count;
};

/* --- how many are under way --- */

#define SHARES 20                /* an account may have one part in so many */
#define SHARE_MIN 10

uint8_t pending_share(const struct gr_jid *user)
{
    return (uint8_t)(user->hash >> 56);
}

bool pending_room(struct gr_mod *self, uint8_t share)
{
    const struct pusher_conf *conf = gr_conf(self);
    const struct pusher *p = gr_state(self);
    int64_t own = conf->push_max_pending / SHARES;

    return p->pending < conf->push_max_pending &&
           p->pending_of[share] < (own > SHARE_MIN ? own : SHARE_MIN);
}

void pending_add(struct pusher *p, uint8_t share, int n)
{
    p->pending += (unsigned)n;
    p->pending_of[share] += (unsigned)n;
}

/* --- a message --- */

/* Counts until its notifications do. */
static struct push *push_new(struct gr_mod *self, const struct gr_jid *user)
{
    struct pusher *p = gr_state(self);
    struct push *push = gr_alloc(sizeof(*push));

    push->self = self;
    push->user = gr_jid_dup_bare(user);
    push->next = p->pushes;
    if (push->next != NULL)
        push->next->prev = push;
    p->pushes = push;
    pending_add(p, pending_share(user), 1);
    return push;
}

static void push_free(struct push *push)
{
    struct pusher *p = gr_state(push->self);

    if (push->prev != NULL)
        push->prev->next = push->next;
    else
        p->pushes = push->next;
    if (push->next != NULL)
        push->next->prev = push->prev;
    for (size_t i = 0; i < push->count; i++)
        device_fini(&push->devices[i]);
    gr_free(push->devices);
    gr_jid_free(&push->user);
    gr_free(push->sender);
    gr_free(push->body);
    gr_free(push->resource);
    gr_free(push);
}

static struct gr_req *request_for(struct push *push, gr_store_f done)
{
    struct gr_req *req = gr_req_new(push->self, sizeof(push), done);

    *(struct push **)gr_req_data(req) = push;
    return req;
}

static struct push *push_of(struct gr_req *req)
{
    return *(struct push **)gr_req_data(req);
}

/* --- step by step --- */

static void on_unread(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_inbox_ev *inbox = GR_CONTAINER_OF(ev, struct gr_inbox_ev, ev);
    struct push *push = GR_CONTAINER_OF(inbox, struct push, inbox);
    const struct summary s = { .user = push->user, .sender = push->sender, .body = push->body,
                               .count = inbox->unread };

    (void)verdict;
    pending_add(gr_state(self), pending_share(push->user), -1);
    for (size_t i = 0; i < push->count; i++)
        publish(self, &push->devices[i], &s);
    push_free(push);
}

static void on_counted(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct push *push = push_of(req);

    /* A failing disk is no reason to be silent. */
    push->inbox = (struct gr_inbox_ev){
        .user = push->user,
        .unread = rows->rc == 0 ? (uint64_t)gr_row_counter(&rows->row[0]) : 1
    };
    gr_hook_run(self, GR_HOOK_inbox_unread_count, &push->inbox.ev, on_unread);
}

/* Those of the client that waits, if it has any; else all. */
static void keep_waiting_ones(struct push *push)
{
    size_t n = 0;

    for (size_t i = 0; push->resource != NULL && i < push->count; i++)
        n += strcmp(push->devices[i].resource, push->resource) == 0;
    if (n == 0)
        return;
    n = 0;
    for (size_t i = 0; i < push->count; i++) {
        if (strcmp(push->devices[i].resource, push->resource) == 0)
            push->devices[n++] = push->devices[i];
        else
            device_fini(&push->devices[i]);
    }
    push->count = n;
}

/* Nobody is told twice. */
static void drop_told_ones(struct push *push)
{
    size_t n = 0, len;

    for (size_t i = 0; i < push->count; i++) {
        char *key = device_key(push->devices[i].service, push->devices[i].node, &len);

        if (told_before(push->self, push->user, push->mark, key, len))
            device_fini(&push->devices[i]);
        else
            push->devices[n++] = push->devices[i];
        gr_free(key);
    }
    push->count = n;
}

static void on_devices(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct push *push = push_of(req);
    struct gr_txn *t;

    if (rows->rc != 0)
        gr_error("event_pusher.read", "devices of %s cannot be read: %s", push->user->bare,
                 gr_strerror(rows->rc));
    push->devices = gr_alloc((rows->count + 1) * sizeof(*push->devices));
    for (size_t i = 0; i < rows->count; i++)
        push->count += device_read(&rows->row[i], &push->devices[push->count]);
    keep_waiting_ones(push);
    drop_told_ones(push);
    if (push->count == 0) {
        pending_add(gr_state(self), pending_share(push->user), -1);
        push_free(push);
        return;
    }
    t = gr_txn_new(self);
    gr_txn_add(t, UNREAD, push->user->bare, unread_key, sizeof(unread_key),
               told_count(self, push->user, push->mark));
    gr_txn_commit(t, request_for(push, on_counted));
}

/* --- what is told --- */

static char *sender_text(const struct pusher_conf *conf, const struct gr_event_ev *ev)
{
    if (!conf->push_with_sender)
        return gr_strdup("");
    /* Rooms: who in it. */
    return gr_strdup(gr_stanza_type(ev->stanza) == GR_MSG_GROUPCHAT ? ev->from->full
                                                                     : ev->from->bare);
}

/* Not ending inside a character. */
static char *body_text(const struct pusher_conf *conf, const struct gr_event_ev *ev)
{
    const char *body = body_of(ev->stanza);
    size_t len = strlen(body);

    if (!conf->push_with_body)
        return gr_strdup(conf->push_text);
    if (len > BODY_MAX)
        for (len = BODY_MAX; len > 0 && ((unsigned char)body[len] & 0xc0) == 0x80; len--)
            ;
    return gr_strndup(body, len);
}

static void begin(struct gr_mod *self, const struct gr_event_ev *ev)
{
    const struct pusher_conf *conf = gr_conf(self);
    struct pusher *p = gr_state(self);
    uint64_t mark = told_mark(ev->from, ev->stanza);
    struct push *push;

    if (told_is_kept(self, ev->to, mark))
        return;
    if (!pending_room(self, pending_share(ev->to))) {
        p->dropped++;
        gr_warn("event_pusher.push_dropped", "too many notifications are under way: a message for "
                "%s is not pushed", ev->to->bare);
        return;
    }
    push = push_new(self, ev->to);
    push->mark = mark;
    push->sender = sender_text(conf, ev);
    push->body = body_text(conf, ev);
    push->resource = ev->event == GR_EVENT_UNACKED && ev->to->resource != NULL
                         ? gr_strdup(ev->to->resource) : NULL;
    gr_store_range(request_for(push, on_devices), DEVICES, push->user->bare, NULL, 0,
                   DEVICES_READ);
}

/* --- of what --- */

static bool says_something(const struct gr_stanza *st)
{
    enum gr_type type = gr_stanza_type(st);

    return (type == GR_MSG_CHAT || type == GR_MSG_GROUPCHAT) && body_of(st)[0] != '\0';
}

/* Would a client get it? (RFC 6121, 8.5: the resource itself, or one with a priority of 0 or more)
 * */
static bool is_reached(struct gr_mod *self, const struct gr_jid *to)
{
    const struct gr_account *a = gr_account_find(self, to);
    struct gr_session *s = NULL;

    if (a == NULL)
        return false;
    if (to->resource != NULL && gr_account_session(a, to->resource) != NULL)
        return true;
    while ((s = gr_account_next(a, s)) != NULL) {
        if (gr_session_available(s) && gr_session_priority(s) >= 0)
            return true;
    }
    return false;
}

/* --- a client has come: it gets what has been counted --- */

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const char *owner = gr_req_data(req);
    struct gr_txn *t;

    if (rows->rc != 0)
        return;
    t = gr_txn_new(self);
    gr_txn_del(t, UNREAD, owner, unread_key, sizeof(unread_key));
    gr_txn_commit(t, NULL);
}

static void start_again(struct gr_mod *self, const struct gr_jid *user)
{
    struct gr_req *req = gr_req_new(self, user->bare_len + 1u, on_count);
    char *owner = gr_req_data(req);

    memcpy(owner, user->bare, user->bare_len);
    gr_store_get(req, UNREAD, owner, unread_key, sizeof(unread_key));
}

void push_event(struct gr_mod *self, const struct gr_event_ev *ev)
{
    const struct pusher_conf *conf = gr_conf(self);

    if (!conf->push)
        return;
    if (ev->event == GR_EVENT_ONLINE)
        start_again(self, ev->from);
    else if (ev->event == GR_EVENT_RECEIVED && says_something(ev->stanza) &&
             !is_reached(self, ev->to))
        begin(self, ev);
    else if (ev->event == GR_EVENT_UNACKED && says_something(ev->stanza))
        begin(self, ev);
}

void push_stop(struct gr_mod *self)
{
    struct pusher *p = gr_state(self);

    while (p->pushes != NULL)
        push_free(p->pushes);
}

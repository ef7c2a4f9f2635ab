/* net/conn.c: one connection on its loop: life, frames, input with holds.
 *
 * Every event of the loop is a frame (conn_enter .. conn_leave); upcalls happen only inside one,
 * and conn_leave does what an upcall asked for: destroys, hands over, or tells epoll what we want.
 * Input goes from one buffer per thread straight to the upper layer; only what it does not take is
 * kept, so that an idle conn holds no buffer. */
#include "net/conn_priv.h"

#include "net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* Queued messages cannot be taken back, so what is queued is not the conn: it may be orphaned. */
struct poke {
    struct post post;
    struct conn *c;
};

static atomic_size_t alive;

/* --- socket --- */

int conn_recv(struct conn *c, void *to, size_t len)
{
    ssize_t n;

    if (c->dry || c->budget == 0)
        return 0;
    if (len > c->budget)
        len = c->budget;
    do
        n = recv(c->fd, to, len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return -1;
    if (n > 0)
        c->budget -= (size_t)n;
    /* Less than asked for: the next recv would say EAGAIN; epoll tells if that is wrong. Not once
     * output is broken: then we read to the very end. */
    c->dry = n < 0 || (n > 0 && (size_t)n < len && !c->out_dead);
    c->eof = c->eof || n == 0;
    return n > 0 ? (int)n : 0;
}

int conn_send(struct conn *c, const void *data, size_t len, bool more)
{
    ssize_t n;

    if (c->out_dead)
        return -1;
    do
        n = send(c->fd, data, len, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return (int)n;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return 0;
    c->out_dead = true;
    return -1;
}

/* --- frames --- */

static void destroy(struct conn *c)
{
    conn_tls_free(c);
    buf_fini(&c->in);
    buf_fini(&c->out);
    gr_free(c);
    atomic_fetch_sub_explicit(&alive, 1, memory_order_relaxed);
}

static void orphan_poke(struct conn *c)
{
    if (c->poke != NULL)
        c->poke->c = NULL;
    c->poke = NULL;
}

void conn_unwatch(struct conn *c)
{
    if (!c->watched)
        return;
    orphan_poke(c);
    loop_flush_cancel(&c->flush);
    timer_stop(&c->timer);
    watch_set(&c->watch, 0);
    c->watched = false;
}

void conn_release(struct conn *c)
{
    if (c->life == LIFE_FREED)
        return;
    conn_unwatch(c);
    c->life = LIFE_FREED;
    c->out_dead = true;
    c->move_to = NULL;
    close(c->fd);
    c->fd = -1;
    conn_fail_marks(c);
    if (!c->busy)
        destroy(c);
}

void conn_enter(struct conn *c)
{
    gr_assert(!c->busy);
    c->busy = true;
    c->budget = CONN_READ_MAX;
    c->dry = false;
}

void conn_leave(struct conn *c)
{
    if (c->life == LIFE_FLUSHING || c->life == LIFE_DRAINING)
        conn_finish_step(c);
    c->busy = false;
    if (c->life == LIFE_FREED)
        destroy(c);
    else if (c->move_to != NULL)
        conn_hand_over(c);
    else
        conn_rewatch(c);
}

void conn_rewatch(struct conn *c)
{
    int want = 0;

    if (c->busy || !c->watched)
        return;
    if (c->life == LIFE_OPEN && c->sec == SEC_HANDSHAKE) {
        want = c->shake_wants_write ? EV_WRITE : EV_READ;
    } else if (c->life == LIFE_OPEN) {
        if ((c->sec != SEC_WAITING && !c->held && !c->read_wants_write) || c->write_wants_read)
            want |= EV_READ;
        if (c->out_blocked || c->read_wants_write)
            want |= EV_WRITE;
    } else if (c->life != LIFE_ENDED) {
        want = (c->eof ? 0 : EV_READ) | (c->out_blocked ? EV_WRITE : 0);
    }
    watch_set(&c->watch, want);
    conn_watch_stall(c);
}

/* --- turns of our own --- */

static void on_poke(struct post *p);

void conn_poke(struct conn *c)
{
    if (c->poke != NULL || !c->watched)
        return; /* conn_attach pokes */
    c->poke = gr_alloc(sizeof(*c->poke));
    c->poke->post.run = on_poke;
    c->poke->c = c;
    loop_defer(&c->poke->post);
}

void conn_end_later(struct conn *c, enum conn_end why)
{
    if (c->life != LIFE_OPEN || c->end_due)
        return;
    c->end_due = true;
    c->why = why;
    conn_poke(c);
}

void conn_end(struct conn *c, enum conn_end why)
{
    if (c->life != LIFE_OPEN)
        return;
    c->life = LIFE_ENDED;
    c->why = why;
    c->move_to = NULL;
    watch_set(&c->watch, 0);
    timer_stop(&c->timer);
    loop_flush_cancel(&c->flush);
    if (why != CONN_CLOSED) { /* else conn_finish may still deliver what is queued */
        c->out_dead = true;
        conn_drop_output(c);
        conn_fail_marks(c);
    }
    if (c->life == LIFE_ENDED)
        c->ev->ended(c->ctx, why);
}

/* --- input --- */

/* Gives n bytes up; how many were taken. `p` may point into c->in, which stays until then. */
static size_t feed(struct conn *c, const char *p, size_t n)
{
    size_t took;

    c->feeding = true;
    c->resumed = false;
    took = c->ev->data(c->ctx, p, n);
    c->feeding = false;
    gr_assert(took <= n);
    if (took < n && c->life == LIFE_OPEN) {
        c->held = true;
        if (c->resumed) {
            c->resume_due = true;
            conn_poke(c);
        }
    }
    return took;
}

/* Bytes behind <starttls/> were sent before there was TLS: somebody may have put them there. */
static void check_injection(struct conn *c)
{
    if (c->life == LIFE_OPEN && buf_len(&c->in) > 0 &&
        (c->sec == SEC_WAITING || c->sec == SEC_HANDSHAKE))
        conn_end(c, CONN_ERROR);
}

static void feed_kept(struct conn *c)
{
    size_t took;

    if (buf_len(&c->in) == 0)
        return;
    took = feed(c, buf_data(&c->in), buf_len(&c->in));
    buf_consume(&c->in, took);
    if (buf_len(&c->in) == 0)
        buf_fini(&c->in);
    check_injection(c);
}

static void feed_new(struct conn *c, const char *p, size_t n)
{
    size_t took = feed(c, p, n);

    if (took < n && c->life == LIFE_OPEN)
        buf_append(&c->in, p + took, n - took);
    check_injection(c);
}

static void pump(struct conn *c)
{
    static _Thread_local char chunk[CONN_CHUNK];
    enum conn_security sec = c->sec;

    feed_kept(c);
    while (conn_is_up(c) && !c->held && c->sec == sec) {
        enum conn_end why = CONN_ERROR;
        int n = sec == SEC_TLS ? conn_tls_read(c, chunk, sizeof(chunk), &why)
                               : conn_recv(c, chunk, sizeof(chunk));

        if (n > 0) {
            feed_new(c, chunk, (size_t)n);
        } else if (n < 0) {
            conn_end(c, why);
        } else if (c->eof) {
            conn_end(c, c->out_dead ? CONN_ERROR : CONN_CLOSED);
        } else {
            if (c->out_dead && c->budget > 0)
                conn_end(c, CONN_ERROR); /* nothing left to read */
            return;
        }
    }
}

static void shake(struct conn *c)
{
    int rc = conn_tls_handshake(c);

    if (rc < 0) {
        conn_end(c, CONN_ERROR);
    } else if (rc > 0) {
        if (conn_has_output(c))
            loop_flush_later(&c->flush);
        if (c->ev->secured != NULL)
            c->ev->secured(c->ctx);
    }
}

static void advance(struct conn *c)
{
    if (c->sec == SEC_HANDSHAKE)
        shake(c);
    if (c->sec == SEC_WAITING && c->out_dead)
        conn_end(c, CONN_ERROR);
    if (conn_is_up(c) && !c->held && (c->sec == SEC_NONE || c->sec == SEC_TLS))
        pump(c);
}

/* After conn_finish: below TLS, nobody reads it any more. */
static void discard(struct conn *c)
{
    static _Thread_local char chunk[CONN_CHUNK];
    int n;

    do
        n = conn_recv(c, chunk, sizeof(chunk));
    while (n > 0);
    if (n < 0)
        c->out_dead = true;
}

void conn_on_ready(struct watch *w, int events)
{
    struct conn *c = GR_CONTAINER_OF(w, struct conn, watch);

    conn_enter(c);
    if (events & EV_WRITE)
        c->out_blocked = false;
    if (c->life == LIFE_OPEN)
        advance(c);
    if ((c->life == LIFE_FLUSHING || c->life == LIFE_DRAINING) && (events & EV_READ) != 0)
        discard(c);
    if (c->life != LIFE_ENDED && c->life != LIFE_FREED &&
        ((events & EV_WRITE) != 0 || c->write_wants_read))
        conn_push(c, CONN_WRITE_MAX);
    conn_report(c);
    conn_leave(c);
}

static void on_poke(struct post *p)
{
    struct poke *k = GR_CONTAINER_OF(p, struct poke, post);
    struct conn *c = k->c;

    gr_free(k);
    if (c == NULL)
        return;
    c->poke = NULL;
    conn_enter(c);
    if (c->end_due) {
        c->end_due = false;
        conn_end(c, c->why);
    }
    if (c->resume_due) {
        c->resume_due = false;
        c->held = false;
    }
    if (c->life == LIFE_OPEN)
        advance(c);
    conn_report(c);
    conn_leave(c);
}

/* --- life --- */

struct conn *conn_new(int take_fd, const struct sockaddr_storage *peer,
                      const struct conn_limits *limits, const struct conn_events *ev, void *ctx)
{
    struct conn *c = gr_alloc(sizeof(*c));

    atomic_fetch_add_explicit(&alive, 1, memory_order_relaxed);
    c->fd = take_fd;
    c->limits = *limits;
    c->ev = ev;
    c->ctx = ctx;
    c->flush.flush = conn_on_flush;
    list_init(&c->marks);
    peers_key(peer, c->key, c->peer);
    watch_init(&c->watch, c->fd, conn_on_ready);
    c->watched = true;
    conn_rewatch(c);
    return c;
}

void conn_set_events(struct conn *c, const struct conn_events *ev, void *ctx)
{
    c->ev = ev;
    c->ctx = ctx;
}

void conn_resume(struct conn *c)
{
    if (c->feeding)
        c->resumed = true;
    else if (c->held && c->life == LIFE_OPEN) {
        c->resume_due = true;
        conn_poke(c);
    }
}

void conn_free(struct conn **take)
{
    struct conn *c = *take;

    *take = NULL;
    if (c != NULL)
        conn_release(c);
}

const char *conn_peer(const struct conn *c)
{
    return c->peer;
}

void conn_peer_key(const struct conn *c, uint8_t key[16])
{
    memcpy(key, c->key, sizeof(c->key));
}

size_t conn_memory(const struct conn *c)
{
    return c->in.cap + c->out.cap;
}

size_t conn_count(void)
{
    return atomic_load_explicit(&alive, memory_order_relaxed);
}

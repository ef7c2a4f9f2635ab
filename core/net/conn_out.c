/* net/conn_out.c: a conn's output: gathered during a wake-up, written once before the loop sleeps,
 * bounded in bytes and in time (reliability 6.5: high-water, hard bound, stall), and the orderly
 * end (conn_finish).
 *
 * Positions in the stream of output are counted in bytes before encryption; a mark is reached when
 * the last byte before it has been accepted by the kernel, as part of a whole TLS record. */
#include "net/conn_priv.h"

#include <unistd.h>

#define FIRST_ROOM 1000 /* a stanza or two, still cached by malloc */

static void let_go(struct conn *c)
{
    conn_drop_output(c);
    c->out_dead = true;
    c->out_blocked = false;
}

void conn_drop_output(struct conn *c)
{
    buf_fini(&c->out);
    c->plain_left = 0;
}

/* A TLS record at a time: OpenSSL wants a refused write repeated with at least as many bytes, and
 * min(length, record) of a buffer that only grows never shrinks. */
static int write_some(struct conn *c, size_t max)
{
    size_t len = buf_len(&c->out);

    if (c->sec == SEC_TLS)
        return conn_tls_write(c, buf_data(&c->out), len < CONN_CHUNK ? len : CONN_CHUNK);
    if (c->sec == SEC_WAITING && len > c->plain_left)
        len = c->plain_left;
    return conn_send(c, buf_data(&c->out), len < max ? len : max, false);
}

static void written(struct conn *c, size_t n)
{
    buf_consume(&c->out, n);
    c->written += n;
    c->allowed -= n < c->allowed ? n : c->allowed;
    c->progress_at = gr_now_ms();
    if (c->sec == SEC_WAITING) {
        c->plain_left -= n;
        if (c->plain_left == 0)
            conn_tls_begin(c);
    }
    if (!conn_has_output(c))
        buf_fini(&c->out);
}

static void block(struct conn *c)
{
    if (!c->out_blocked)
        c->progress_at = gr_now_ms();
    c->out_blocked = true;
}

void conn_push(struct conn *c, size_t max)
{
    size_t done = 0;

    while (conn_has_output(c) && c->sec != SEC_HANDSHAKE && !c->out_dead) {
        int n;

        if (done >= max) {
            block(c); /* writable at once: others get their turn in between */
            return;
        }
        n = write_some(c, max - done);
        if (n == 0) {
            if (!c->write_wants_read)
                block(c);
            return;
        }
        if (n < 0) {
            let_go(c);
            conn_poke(c); /* reads what the peer left behind, then ends */
            return;
        }
        written(c, (size_t)n);
        done += (size_t)n;
    }
    c->out_blocked = false;
}

void conn_report(struct conn *c)
{
    while (!list_empty(&c->marks)) {
        struct conn_mark *m = list_entry(c->marks.next, struct conn_mark, link);
        bool ok = m->offset <= c->written;

        if (!ok && !c->out_dead)
            break;
        list_remove(&m->link);
        m->reached(m, ok);
    }
    if (c->was_full && conn_is_up(c) && !c->out_dead &&
        buf_len(&c->out) <= c->limits.out_high / 2) {
        c->was_full = false;
        if (c->ev->drained != NULL)
            c->ev->drained(c->ctx);
    }
}

void conn_fail_marks(struct conn *c)
{
    while (!list_empty(&c->marks)) {
        struct conn_mark *m = list_entry(c->marks.next, struct conn_mark, link);

        list_remove(&m->link);
        m->reached(m, m->offset <= c->written);
    }
}

void conn_on_flush(struct flush *f)
{
    struct conn *c = GR_CONTAINER_OF(f, struct conn, flush);

    conn_enter(c);
    if (!c->out_blocked)
        conn_push(c, CONN_WRITE_MAX);
    conn_report(c);
    conn_leave(c);
}

/* --- what the upper layer calls; no upcalls from here --- */

struct buf *conn_out(struct conn *c)
{
    if (c->out.mem == NULL)
        buf_reserve(&c->out, FIRST_ROOM);
    return &c->out;
}

static bool is_over(const struct conn *c)
{
    return buf_len(&c->out) >= c->limits.out_hard + c->allowed;
}

void conn_allow(struct conn *c, size_t len)
{
    c->allowed += len;
}

void conn_wrote(struct conn *c)
{
    if (c->out_dead) {
        conn_drop_output(c);
        return;
    }
    /* One event may well produce more than the bound for a peer that reads: it gets its chance. */
    if (is_over(c) && c->life == LIFE_OPEN && c->watched)
        conn_push(c, SIZE_MAX);
    if (is_over(c)) {
        let_go(c);
        conn_end_later(c, CONN_STALLED);
        return;
    }
    if (buf_len(&c->out) >= c->limits.out_high)
        c->was_full = true;
    if (c->watched && c->life == LIFE_OPEN)
        loop_flush_later(&c->flush);
    conn_rewatch(c);
}

void conn_write(struct conn *c, const void *data, size_t len)
{
    if (c->out_dead)
        return;
    buf_append(&c->out, data, len);
    conn_wrote(c);
}

void conn_output_waits(struct conn *c)
{
    loop_flush_cancel(&c->flush);
}

bool conn_is_full(const struct conn *c)
{
    return buf_len(&c->out) >= c->limits.out_high;
}

void conn_mark(struct conn *c, struct conn_mark *m)
{
    m->offset = c->out_dead ? UINT64_MAX : c->written + buf_len(&c->out);
    list_append(&c->marks, &m->link);
    if (c->watched)
        loop_flush_later(&c->flush);
}

/* A TLS record that the kernel refused must be repeated whole, so at least that much stays. */
static struct conn_mark *first_behind(struct conn *c, size_t least)
{
    list_each(m, &c->marks, struct conn_mark, link)
        if (m->offset >= c->written + least)
            return m;
    return NULL;
}

void conn_cut(struct conn *c)
{
    if (c->out_dead || c->life != LIFE_OPEN || !c->watched || c->sec == SEC_WAITING)
        return;
    conn_push(c, SIZE_MAX);
    size_t len = buf_len(&c->out);
    size_t least = c->sec != SEC_TLS ? 1 : len < CONN_CHUNK ? len : CONN_CHUNK;
    struct conn_mark *last = len > 0 && !c->out_dead ? first_behind(c, least) : NULL;
    if (last == NULL || last->offset == UINT64_MAX)
        return;
    c->out.end = c->out.start + (size_t)(last->offset - c->written);
    while (last->link.next != &c->marks) {
        struct conn_mark *m = list_entry(last->link.next, struct conn_mark, link);

        list_remove(&m->link);
        m->reached(m, false);
    }
}

/* --- time --- */

static bool waits(const struct conn *c)
{
    return c->out_blocked || c->read_wants_write;
}

static void on_stall(struct timer *t)
{
    struct conn *c = GR_CONTAINER_OF(t, struct conn, timer);

    conn_enter(c);
    if (waits(c) && gr_now_ms() - c->progress_at >= c->limits.out_stall_ms) {
        let_go(c);
        conn_end(c, CONN_STALLED);
    }
    conn_leave(c); /* starts the timer again if it must */
}

/* Lazy: one that runs is left alone and looks at progress_at when it fires. */
void conn_watch_stall(struct conn *c)
{
    int64_t left;

    if (!waits(c) || c->life != LIFE_OPEN || c->limits.out_stall_ms <= 0 ||
        timer_running(&c->timer))
        return;
    left = c->progress_at + c->limits.out_stall_ms - gr_now_ms();
    timer_start(&c->timer, left > 0 ? left : 0, on_stall);
}

/* --- the end --- */

static void on_linger(struct timer *t)
{
    struct conn *c = GR_CONTAINER_OF(t, struct conn, timer);

    conn_enter(c);
    conn_release(c);
    conn_leave(c);
}

void conn_finish_step(struct conn *c)
{
    buf_fini(&c->in); /* nobody will take it */
    if (c->life == LIFE_FLUSHING && !conn_has_output(c) && !c->out_dead) {
        if (!conn_tls_notify(c)) {
            block(c);
            return;
        }
        c->life = LIFE_DRAINING;
        if (shutdown(c->fd, SHUT_WR) != 0)
            c->out_dead = true;
    }
    if (c->out_dead || (c->life == LIFE_DRAINING && c->eof))
        conn_release(c);
}

/* What can still be said: in the middle of a handshake nothing, before it what came before. */
static bool can_finish(struct conn *c)
{
    if (c->out_dead || c->sec == SEC_HANDSHAKE || (c->life == LIFE_ENDED && c->why != CONN_CLOSED))
        return false;
    if (c->sec == SEC_WAITING) {
        c->out.end = c->out.start + c->plain_left;
        c->sec = SEC_NONE;
    }
    return true;
}

void conn_finish(struct conn **take, int64_t linger_ms)
{
    struct conn *c = *take;

    *take = NULL;
    if (c == NULL || c->life > LIFE_ENDED)
        return;
    if (!c->watched)
        conn_attach(c);
    c->move_to = NULL;
    if (!can_finish(c)) {
        conn_release(c);
        return;
    }
    c->life = LIFE_FLUSHING;
    c->held = false;
    if (linger_ms > 0) {
        timer_start(&c->timer, linger_ms, on_linger);
        loop_flush_later(&c->flush);
        return;
    }
    conn_push(c, SIZE_MAX);
    if (!conn_has_output(c) && !c->out_dead && conn_tls_notify(c))
        shutdown(c->fd, SHUT_WR);
    conn_release(c);
}

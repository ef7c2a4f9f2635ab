/* net/conn_move.c: a conn leaves one loop and lives on another, buffers and TLS session included.
 *
 * Between the two it belongs to whoever carries it; loop_post gives the happens-before. */
#include "net/conn_priv.h"

#include <sys/epoll.h>

/* The epoll set of the calling loop. libev tells no other way: an embed watcher exists to watch it,
 * so one that is initialised, in a loop that never runs, knows it. -1: not epoll. */
static int epoll_of_loop(void)
{
    static _Thread_local const struct ev_loop *of;
    static _Thread_local int fd = -1;
    struct ev_loop *ours = loop_ev(loop_self()), *other;
    ev_embed embed;

    if (of == ours)
        return fd;
    of = ours;
    fd = -1;
    other = ev_backend(ours) == EVBACKEND_EPOLL ? ev_loop_new(EVBACKEND_SELECT | EVFLAG_NOENV)
                                                : NULL;
    if (other == NULL)
        return fd;
    ev_embed_init(&embed, NULL, ours);
    ev_embed_start(other, &embed);
    fd = embed.io.fd;
    ev_embed_stop(other, &embed);
    ev_loop_destroy(other);
    return fd;
}

/* libev leaves a descriptor that is no longer watched in the epoll set until an event comes for it,
 * on the assumption that it will be closed soon. Ours is not: the old loop would wake for it and
 * remove it while the new one may be closing it, and libev answers a failed removal by building its
 * whole set anew. */
static void leave(struct conn *c)
{
    struct epoll_event none = { .events = 0 };
    int epoll;

    if (!c->watched)
        return;
    conn_unwatch(c);
    epoll = epoll_of_loop();
    if (epoll >= 0)
        epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, &none); /* fails if it never got in */
}

void conn_hand_over(struct conn *c)
{
    struct loop *to = c->move_to;

    leave(c);
    loop_post(to, &c->move_post); /* another thread's from here on */
}

void conn_detach(struct conn *c)
{
    gr_assert(!c->busy); /* the frame would touch it after it is somebody else's: conn_move */
    leave(c);
}

void conn_attach(struct conn *c)
{
    gr_assert(!c->watched);
    watch_init(&c->watch, c->fd, conn_on_ready);
    c->watched = true;
    c->resume_due = c->held;
    conn_poke(c); /* OpenSSL may hold plaintext that epoll knows nothing of */
    if (conn_has_output(c) || !list_empty(&c->marks))
        loop_flush_later(&c->flush);
    conn_rewatch(c);
}

static void on_arrival(struct post *p)
{
    struct conn *c = GR_CONTAINER_OF(p, struct conn, move_post);
    void (*arrived)(void *ctx) = c->arrived;

    c->move_to = NULL;
    conn_attach(c);
    conn_enter(c);
    arrived(c->ctx);
    conn_leave(c);
}

void conn_move(struct conn *c, struct loop *to, void (*arrived)(void *ctx))
{
    if (c->life != LIFE_OPEN)
        return;
    c->move_to = to;
    c->arrived = arrived;
    c->move_post.run = on_arrival;
    if (!c->busy)
        conn_hand_over(c);
}

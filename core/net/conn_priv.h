/* net/conn_priv.h: what the four files of a connection share.
 *
 * conn.c      life, events, input
 * conn_out.c  output, marks, the stall timer, conn_finish
 * conn_tls.c  OpenSSL above the socket
 * conn_move.c from loop to loop
 *
 * Upcalls happen only between conn_enter and conn_leave, which frame every event of the loop; a
 * conn that dies or moves inside an upcall does so when the frame ends. */
#pragma once

#include "net/conn.h"
#include "net/tls_priv.h"

/* Per wake-up: what is read from, and written to, the socket before others get their turn. */
#define CONN_READ_MAX  (64 * 1024)
#define CONN_WRITE_MAX (256 * 1024)
/* One read and one TLS record. */
#define CONN_CHUNK     (16 * 1024)
/* All bytes of a handshake; a ClientHello may claim 128 KiB (reliability 6.5: 64 KiB in all). */
#define CONN_HELLO_MAX (48 * 1024)

enum conn_life {
    LIFE_OPEN,
    LIFE_ENDED,    /* ended() was called: nothing is watched, the owner has yet to free it */
    LIFE_FLUSHING, /* conn_finish: output still leaves                                     */
    LIFE_DRAINING, /* FIN is sent, waiting for the peer's                                  */
    LIFE_FREED     /* destroyed when the frame ends                                        */
};

enum conn_security {
    SEC_NONE,
    SEC_WAITING, /* STARTTLS answered, the answer has not left yet */
    SEC_HANDSHAKE,
    SEC_TLS
};

struct poke; /* a deferred call to a conn, see conn.c */

struct conn {
    struct watch watch;
    struct flush flush;
    struct timer timer; /* output stall; after conn_finish: linger */
    struct poke *poke;  /* queued, or NULL */
    const struct conn_events *ev;
    void *ctx;
    struct conn_limits limits;
    struct buf in; /* arrived, not taken by the upper layer */
    struct buf out;
    struct link marks;   /* struct conn_mark, by offset */
    uint64_t written;    /* bytes of output that are in the kernel */
    size_t allowed;      /* that may wait beyond the hard bound */
    int64_t progress_at; /* when the last of them went */
    size_t plain_left;   /* SEC_WAITING: what of `out` goes before the handshake */

    SSL *ssl;
    struct tls_ctx *tls;
    size_t hello_left; /* bytes the peer may still spend on its handshake */

    size_t budget; /* left to read in this wake-up */
    int fd;
    enum conn_life life;
    enum conn_security sec;
    enum conn_end why;        /* for end_due */
    bool busy;                /* between conn_enter and conn_leave */
    bool dry;                 /* the socket has nothing more in this wake-up */
    bool held;                /* the upper layer took less than it got */
    bool feeding;             /* inside data() */
    bool resumed;             /* conn_resume inside data() */
    bool resume_due, end_due; /* for the poke */
    bool eof;                 /* the peer's FIN was read */
    bool out_blocked;         /* waiting for EV_WRITE */
    bool out_dead;            /* the kernel refuses output for good */
    bool was_full;            /* drained() is owed */
    bool read_wants_write, write_wants_read, shake_wants_write;
    bool watched;  /* attached to a loop */
    bool notified; /* close_notify is out */
    bool writing;  /* inside SSL_write */
    bool ticketed; /* the client has a ticket, or is to get one */

    struct loop *move_to; /* conn_move: when the frame ends */
    void (*arrived)(void *ctx);
    struct post move_post;

    uint8_t key[16];
    char peer[INET6_ADDRSTRLEN];
};

/* --- conn.c --- */
void conn_enter(struct conn *c);
void conn_leave(struct conn *c);                  /* the last thing that touches c */
void conn_poke(struct conn *c);                   /* a turn of its own, after this event */
void conn_end(struct conn *c, enum conn_end why); /* inside a frame only */
void conn_end_later(struct conn *c, enum conn_end why);
void conn_rewatch(struct conn *c); /* what epoll is asked for follows from the state */
void conn_on_ready(struct watch *w, int events);
void conn_unwatch(struct conn *c); /* nothing of the loop refers to it any more */
void conn_release(struct conn *c); /* conn_free without the owner's pointer */
static inline bool conn_is_up(const struct conn *c)
{
    return c->life == LIFE_OPEN && c->move_to == NULL;
}
/* recv and send within the wake-up's budget. > 0; 0: not now (or, recv with c->eof: the end);
 * -1: broken. */
int conn_recv(struct conn *c, void *to, size_t len);
int conn_send(struct conn *c, const void *data, size_t len, bool more); /* more: it follows at once */

/* --- conn_out.c --- */
void conn_push(struct conn *c, size_t max); /* writes; no upcalls */
void conn_report(struct conn *c);           /* marks and drained() */
void conn_fail_marks(struct conn *c);
void conn_drop_output(struct conn *c);
void conn_on_flush(struct flush *f);
void conn_watch_stall(struct conn *c);
void conn_finish_step(struct conn *c); /* LIFE_FLUSHING, LIFE_DRAINING: go on */
static inline bool conn_has_output(const struct conn *c)
{
    return buf_len(&c->out) > 0;
}

/* --- conn_move.c --- */
void conn_hand_over(struct conn *c); /* c->move_to; another thread's from here on */

/* --- conn_tls.c --- */
void conn_tls_begin(struct conn *c); /* the clear output has left */
/* 1: done, 0: not now, -1: failed (logged). */
int conn_tls_handshake(struct conn *c);
/* Plaintext; > 0, 0: not now, -1: over, *why says how. */
int conn_tls_read(struct conn *c, void *to, size_t len, enum conn_end *why);
int conn_tls_write(struct conn *c, const void *data, size_t len); /* > 0, 0: not now, -1: broken */
/* Sends close_notify: false: not now. */
bool conn_tls_notify(struct conn *c);
void conn_tls_free(struct conn *c);

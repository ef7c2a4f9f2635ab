/* tests/bench/load.h: grapnel-load, an XMPP load engine: one thread, epoll, OpenSSL, no XML library.
 *
 * It opens sessions against any XMPP server (or against relay.c, which speaks no XMPP), keeps them,
 * and has them chat, send presence or write to accounts that are away, while it reads the server's
 * CPU time and memory from the kernel. It has to be far cheaper per stanza than any server: stanza
 * ends are found by counting tags, and nothing is parsed that is not needed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <openssl/ssl.h>

enum { PIDS_MAX = 16, READ_SIZE = 1 << 17, IN_MAX = 1 << 20 };
enum tls_mode { TLS_STARTTLS, TLS_DIRECT, TLS_NONE };

struct opts {
    const char *scenario, *host, *domain, *prefix, *password, *mech, *resource, *json, *label;
    int port, first, sessions, active, parallel, window, group, to_first, to_count;
    int body, settle, pid_count;
    enum tls_mode tls;
    bool raw, no_presence, no_roster, sm, resume, tls_resume, expect_echo;
    double rate, login_rate, duration, warmup;
    uint64_t messages;
    int pids[PIDS_MAX];
};
extern struct opts opts;

/* --- connections --- */

enum state {
    C_IDLE,
    C_CONNECTING,
    C_HEADER,
    C_PROCEED,
    C_HANDSHAKE,
    C_CHALLENGE,
    C_SUCCESS,
    C_FAST,
    C_BIND,
    C_SM,
    C_ROSTER,
    C_PRESENCE,
    C_REGISTER,
    C_HELLO,
    C_READY,
    C_CLOSING,
    C_DEAD
};

struct conn {
    int fd, index; /* index: which account and, in pairs, whose partner */
    uint8_t state,
        after; /* after: where an opened stream goes on: C_PROCEED, C_CHALLENGE, C_BIND */
    bool dirty, want_write, header_seen, once;
    SSL *ssl;
    char *in, *out;
    size_t in_len, out_len, out_cap;
    struct conn *next_dirty;
    struct scram *scram;
    uint64_t sent, acked, marked; /* stanzas, for XEP-0198; marked: sent when the last <r/> went */
    uint64_t got;                 /* since it was enabled */
    int64_t mark_ns, started_ns;
};

extern struct conn *conns; /* opts.sessions of them, then those of a login storm */
extern int conns_ready, conns_pending, conns_failed;
extern SSL_CTX *tls_ctx;

void conn_start(struct conn *c, int index);
void conn_event(struct conn *c, uint32_t events);
void conn_put(struct conn *c, const char *data, size_t len);
void conn_puts(struct conn *c, const char *text);
void conn_close(struct conn *c, bool clean);
/* Writes what gathered since the last call. */
void conns_flush(void);
bool conn_blocked(const struct conn *c);

/* Length of the first complete element in the text, white space before it included; 0: there is
 * none yet; SCAN_CLOSED: the stream's end tag. */
#define SCAN_CLOSED ((size_t)-1)
size_t scan_stanza(const char *p, size_t len);
const char *find(const char *p, size_t len, const char *what);
bool scan_attr(const char *p, size_t len, const char *name, char *out, size_t size);

/* What the stream says while it is being set up (load_login.c). */
void login_opened(struct conn *c);
void login_header(struct conn *c);
void login_stanza(struct conn *c, const char *p, size_t len);
void login_failed(struct conn *c, const char *why, const char *p, size_t len);

/* Scenarios (load_run.c). */
void run_ready(struct conn *c);
void run_stanza(struct conn *c, const char *p, size_t len);
void run_writable(struct conn *c);
int run(void);

/* --- one round trip (load_fast.c): what the next login needs is kept per account --- */
bool fast_wanted(void);
void fast_authenticate(struct conn *c);
enum fast_state { FAST_WAITS, FAST_BOUND, FAST_RESUMED };
enum fast_state fast_stanza(struct conn *c, const char *p, size_t len);
/* The connection is about to be cut: its session may be resumed. */
void fast_cut(const struct conn *c);
/* opts.tls_resume: before and after the handshake. */
void fast_tls_offer(struct conn *c);
void fast_tls_stands(const struct conn *c);
extern int fast_tls_resumed;

/* --- SCRAM (load_scram.c): salted passwords are kept per salt --- */
struct scram;
char *scram_first(struct conn *c, const char *user);
/* Both take and return base64; NULL: refused. */
char *scram_final(struct conn *c, const char *challenge, size_t len);
bool scram_check(struct conn *c, const char *success, size_t len);
void scram_free(struct conn *c);

/* --- measuring (load_stat.c) --- */

int64_t now_ns(void);
int64_t own_cpu_ns(void);

struct sample {
    int64_t wall_ns, cpu_ns, own_ns, busiest_ns; /* busiest: of the server's threads, since start */
    int64_t thread_ns[64];
    int threads[64], thread_count;
    int64_t anon, rss; /* bytes */
};
void sample_take(struct sample *s, bool memory);
int64_t servers_cpu_ns(void);
/* CPU of the thread that worked most between the two. */
int64_t busiest_between(const struct sample *a, const struct sample *b);

struct hist {
    uint64_t count, bucket[64 * 64];
    int64_t max;
};
void hist_add(struct hist *h, int64_t ns);
double hist_us(const struct hist *h, double fraction);

/* Results: each is printed and written to the JSON file at the end. */
void result_num(const char *key, double value, const char *unit);
void result_write(void);

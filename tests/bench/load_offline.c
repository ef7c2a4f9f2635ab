/* tests/bench/load_offline.c: messages to accounts that are away, and their delivery when these
 * come.
 *
 * Where the server has XEP-0198 (--sm), <a h=''/> says when a message is kept; elsewhere all that
 * can be known is when the server has become quiet, and that the drain finds every message. */
#include "load_run.h"

#include <stdlib.h>
#include <string.h>

static bool running;
static uint64_t written, acked, received;
static int next_to, next_from;
static struct hist latency;

static bool may_send(const struct conn *c)
{
    return c->state == C_READY && !conn_blocked(c) && written < opts.messages &&
           (!opts.sm || c->sent - c->acked < (uint64_t)opts.window);
}

static void send_one(struct conn *c)
{
    message_put(c, opts.to_first + next_to++ % opts.to_count, true);
    written++;
    if (opts.sm && c->marked == 0) {
        conn_puts(c, "<r xmlns='urn:xmpp:sm:3'/>");
        c->marked = c->sent;
        c->mark_ns = now_ns();
    }
}

static void on_ack(struct conn *c, const char *p, size_t len)
{
    char h[24];

    if (!scan_attr(p, len, "h", h, sizeof(h)))
        return;
    uint64_t now = strtoull(h, NULL, 10);
    acked += now - c->acked;
    c->acked = now;
    if (c->marked != 0 && now >= c->marked) {
        hist_add(&latency, now_ns() - c->mark_ns);
        c->marked = 0;
    }
    if (c->marked == 0 && c->acked < c->sent) {
        conn_puts(c, "<r xmlns='urn:xmpp:sm:3'/>");
        c->marked = c->sent;
        c->mark_ns = now_ns();
    }
}

static void offline_stanza(struct conn *c, const char *p, size_t len)
{
    if (opts.sm && memcmp(p, "<a ", 3) == 0)
        on_ack(c, p, len);
    else if (memcmp(p, "<me", 3) == 0 && find(p, len, "type='error'") != NULL)
        received++;
}

static void offline_tick(int64_t now)
{
    if (!running)
        return;
    if (opts.rate > 0) {
        for (uint64_t n = due(now); n > 0; n--) {
            struct conn *c = &conns[next_from++ % opts.sessions];
            if (may_send(c))
                send_one(c);
        }
        return;
    }
    for (int i = 0; i < opts.sessions; i++)
        for (int k = 0; k < 8 && may_send(&conns[i]); k++)
            send_one(&conns[i]);
}

static bool all_kept(void)
{
    return written >= opts.messages && (!opts.sm || acked >= opts.messages);
}

static int offline_main(void)
{
    struct sample a, b;

    for (int i = 0; i < opts.sessions; i++)
        conns[i].acked = 0;
    sample_take(&a, false);
    due_reset();
    running = true;
    bool ok = loop_for(opts.duration, all_kept);
    int64_t quiet = opts.sm ? now_ns() : wait_quiet(60);
    running = false;
    sample_take(&b, false);
    b.wall_ns = quiet != 0 ? quiet : b.wall_ns;
    result_num("refused", (double)received, "messages");
    report_cpu(&a, &b, (double)written, "message kept");
    if (opts.sm)
        report_latency(&latency);
    return ok && received == 0 ? 0 : 1;
}

const struct scenario offline_scenario = { "offline", .stanza = offline_stanza,
                                           .tick = offline_tick, .main = offline_main };

/* --- the other end --- */

static void drain_stanza(struct conn *c, const char *p, size_t len)
{
    (void)c;
    if (memcmp(p, "<me", 3) == 0 && find(p, len, "<body") != NULL)
        received++;
}

static bool all_drained(void)
{
    return received >= opts.messages;
}

/* The logins are part of it; who runs this subtracts what they cost without messages. */
static int drain_main(void)
{
    struct sample b;
    bool ok = loop_for(opts.duration, all_drained);
    int64_t quiet = wait_quiet(30);

    sample_take(&b, false);
    b.wall_ns = quiet != 0 ? quiet : b.wall_ns;
    report_cpu(&empty, &b, (double)received, "message drained, logins included");
    result_num("missing", (double)opts.messages - (double)received, "messages");
    return ok && received == opts.messages ? 0 : 1;
}

const struct scenario drain_scenario = { "drain", .stanza = drain_stanza, .main = drain_main };

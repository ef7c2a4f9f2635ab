/* tests/bench/load_chat.c: messages between pairs of sessions, closed loop or at a rate; the same
 * beside a storm of logins; presence to a group of mutual contacts, and making those contacts. */
#include "load_run.h"

#include <string.h>

static bool running;
static uint64_t received, sent_total;
static struct hist latency;
static int next_sender;

static int partner(const struct conn *c)
{
    return opts.first + ((c->index - opts.first) ^ 1);
}

static int active(void)
{
    int n = opts.active > 0 && opts.active < opts.sessions ? opts.active : opts.sessions;

    return n & ~1;
}

#define ASK_EVERY 8 /* messages, with --sm (XEP-0198, 8.2) */

static void chat_send(struct conn *c)
{
    message_put(c, partner(c), false);
    sent_total++;
    if (opts.sm && c->sent % ASK_EVERY == 0)
        conn_puts(c, "<r xmlns='urn:xmpp:sm:3'/>");
}

static void chat_stanza(struct conn *c, const char *p, size_t len)
{
    int64_t sent;

    if (memcmp(p, "<me", 3) != 0 || !stamp_of(p, len, &sent))
        return;
    received++;
    hist_add(&latency, now_ns() - sent);
    if (running && opts.rate <= 0)
        chat_send(c);
}

static void chat_tick(int64_t now)
{
    if (!running || opts.rate <= 0)
        return;
    for (uint64_t n = due(now); n > 0; n--) {
        struct conn *c = &conns[next_sender++ % active()];
        if (c->state == C_READY && !conn_blocked(c))
            chat_send(c);
    }
}

static void chat_begin(void)
{
    running = true;
    due_reset();
    for (int i = 0; i < active() && opts.rate <= 0; i += 2)
        for (int w = 0; w < opts.window; w++)
            chat_send(&conns[i + (w & 1)]);
}

static bool all_came(void)
{
    return received >= sent_total;
}

static int chat_main(void)
{
    struct sample a, b;
    uint64_t before;

    chat_begin();
    loop_for(opts.warmup, NULL);
    sample_take(&a, false);
    before = received;
    memset(&latency, 0, sizeof(latency));
    loop_for(opts.duration, NULL);
    sample_take(&b, false);
    uint64_t count = received - before;
    running = false;
    report_cpu(&a, &b, (double)count, "message");
    report_latency(&latency);
    loop_for(10, all_came);
    loop_for(1, NULL); /* and nothing twice */
    if (received != sent_total)
        fprintf(stderr, "grapnel-load: %llu messages sent, %llu came\n",
                (unsigned long long)sent_total, (unsigned long long)received);
    return count > 0 && received == sent_total ? 0 : 1;
}

const struct scenario chat_scenario = { "chat", .stanza = chat_stanza, .tick = chat_tick,
                                        .main = chat_main };

/* --- a login storm beside it --- */

static struct conn storm[1024];
static int storm_next;
static uint64_t storm_done;

static bool is_storm(const struct conn *c)
{
    return c >= storm && c < storm + 1024;
}

static void storm_ready(struct conn *c)
{
    if (!is_storm(c))
        return;
    storm_done++;
    conn_close(c, true);
}

static void storm_tick(int64_t now)
{
    chat_tick(now);
    for (int i = 0; running && i < opts.parallel && i < 1024; i++)
        if (storm[i].state == C_IDLE || storm[i].state == C_DEAD)
            conn_start(&storm[i], opts.to_first + storm_next++ % opts.to_count);
}

static void storm_stanza(struct conn *c, const char *p, size_t len)
{
    if (!is_storm(c))
        chat_stanza(c, p, len);
}

static int storm_main(void)
{
    struct sample a, b;

    chat_begin();
    loop_for(opts.warmup, NULL);
    sample_take(&a, false);
    memset(&latency, 0, sizeof(latency));
    uint64_t logins = storm_done, chats = received;
    loop_for(opts.duration, NULL);
    sample_take(&b, false);
    running = false;
    chats = received - chats;
    logins = storm_done - logins;
    result_num("chats_per_s", (double)chats / opts.duration, "/s");
    report_cpu(&a, &b, (double)logins, "login and logout, chats included");
    report_latency(&latency);
    for (int i = 0; i < 1024; i++)
        conn_close(&storm[i], false);
    return chats > 0 && logins > 0 ? 0 : 1;
}

const struct scenario storm_scenario = { "storm", .ready = storm_ready, .stanza = storm_stanza,
                                         .tick = storm_tick, .main = storm_main };

/* --- presence --- */

static struct group {
    int waiting, sender;
    int64_t stamp; /* what the sender sent last */
} groups[20000];

static void presence_send(struct conn *c, int64_t stamp)
{
    if (opts.raw) {
        char to[256];
        int n = snprintf(to, sizeof(to),
                         "<presence from='%s%d@%s/%s' to='%s%d@%s'><status>T%016llx"
                         "</status></presence>",
                         opts.prefix, c->index, opts.domain, opts.resource, opts.prefix, c->index,
                         opts.domain, (unsigned long long)stamp);
        conn_put(c, to, (size_t)n);
        return;
    }
    char text[96];
    int n = snprintf(text, sizeof(text), "<presence><status>T%016llx</status></presence>",
                     (unsigned long long)stamp);
    conn_put(c, text, (size_t)n);
}

static void group_next(int g)
{
    groups[g].sender = (groups[g].sender + 1) % opts.group;
    groups[g].waiting = opts.group - 1;
    groups[g].stamp = now_ns();
    presence_send(&conns[g * opts.group + groups[g].sender], groups[g].stamp);
}

/* The sender's own copy does not count; it may come when the next one has sent. */
static void presence_stanza(struct conn *c, const char *p, size_t len)
{
    int at = (int)(c - conns), g = at / opts.group;
    int64_t sent;

    if (memcmp(p, "<pr", 3) != 0 || !stamp_of(p, len, &sent) ||
        sent != groups[g].stamp || at % opts.group == groups[g].sender)
        return;
    received++;
    hist_add(&latency, now_ns() - sent);
    if (--groups[g].waiting == 0 && running)
        group_next(g);
}

/* Groups that still wait for somebody, or got more than they should. */
static int stalled(void)
{
    int n = 0;

    for (int g = 0; g < opts.sessions / opts.group; g++)
        n += groups[g].waiting != 0;
    return n;
}

static bool none_stalled(void)
{
    return stalled() == 0;
}

static int presence_main(void)
{
    struct sample a, b;

    running = true;
    for (int g = 0; g < opts.sessions / opts.group; g++)
        group_next(g);
    loop_for(opts.warmup, NULL);
    sample_take(&a, false);
    memset(&latency, 0, sizeof(latency));
    uint64_t before = received;
    loop_for(opts.duration, NULL);
    sample_take(&b, false);
    running = false;
    report_cpu(&a, &b, (double)(received - before), "presence delivered to a contact");
    report_latency(&latency);
    before = received - before;
    loop_for(5, none_stalled);
    result_num("stalled", stalled(), "groups");
    return before > 0 && stalled() == 0 ? 0 : 1;
}

const struct scenario presence_scenario = { "presence", .stanza = presence_stanza,
                                            .main = presence_main };

/* --- contacts (RFC 6121, 3.1) --- */

static uint64_t befriended;

static void subscription(struct conn *c, const char *type, int to)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "<presence type='%s' to='%s%d@%s'/>", type, opts.prefix,
                     to, opts.domain);

    conn_put(c, text, (size_t)n);
}

static void befriend_stanza(struct conn *c, const char *p, size_t len)
{
    char type[32], from[256];
    size_t skip = strlen(opts.prefix);

    if (memcmp(p, "<pr", 3) != 0 || !scan_attr(p, len, "type", type, sizeof(type)) ||
        !scan_attr(p, len, "from", from, sizeof(from)) || strncmp(from, opts.prefix, skip) != 0)
        return;
    int who = 0;
    sscanf(from + skip, "%d", &who);
    if (strcmp(type, "subscribe") == 0)
        subscription(c, "subscribed", who);
    else if (strcmp(type, "subscribed") == 0)
        befriended++;
}

static uint64_t friendships(void)
{
    return (uint64_t)opts.sessions / (uint64_t)opts.group * (uint64_t)opts.group *
           (uint64_t)(opts.group - 1);
}

static bool all_befriended(void)
{
    return befriended >= friendships();
}

static int befriend_main(void)
{
    for (int k = 1; k < opts.group; k++) {
        for (int i = 0; i < opts.sessions / opts.group * opts.group; i++) {
            int base = i / opts.group * opts.group;
            subscription(&conns[i], "subscribe", opts.first + base + (i - base + k) % opts.group);
        }
        loop_for(0.05, NULL);
    }
    bool ok = loop_for(opts.duration, all_befriended);
    wait_quiet(10);
    result_num("befriended", (double)befriended, "subscriptions");
    return ok ? 0 : 1;
}

const struct scenario befriend_scenario = { "befriend", .stanza = befriend_stanza,
                                            .main = befriend_main };

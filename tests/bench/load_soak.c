/* tests/bench/load_soak.c: chats and requests at a steady rate, each counted: what is lost, what
 * comes twice or out of order, and which request gets no answer or two. Ends after --duration or
 * with SIGINT; for whatever happens to the server meanwhile (tests/bench/soak.py).
 *
 * The id of a message is the number of the sender's messages, so the partner knows the next one.
 * A session has one request under way at a time. */
#include "load_run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *type;
    bool host; /* else one's own account */
    const char *payload;
} requests[] = {
    { "get", false, "<query xmlns='jabber:iq:roster'/>" },
    { "get", false, "<vCard xmlns='vcard-temp'/>" },
    { "get", false, "<query xmlns='jabber:iq:private'><a xmlns='soak:a'/></query>" },
    { "set", false, "<query xmlns='jabber:iq:private'><a xmlns='soak:a'>b</a></query>" },
    { "get", false, "<query xmlns='http://jabber.org/protocol/disco#items'/>" },
    { "get", true, "<query xmlns='http://jabber.org/protocol/disco#info'/>" },
    { "get", true, "<query xmlns='jabber:iq:version'/>" },
    { "get", true, "<time xmlns='urn:xmpp:time'/>" },
    { "get", true, "<query xmlns='jabber:iq:last'/>" },
    { "get", true, "<ping xmlns='urn:xmpp:ping'/>" },
};

struct peer {
    uint64_t next, asked; /* id of the partner's next message; of our last request */
    bool waiting;         /* for its answer */
};
static struct peer *peers;
static volatile sig_atomic_t stopped;
static bool running;
static uint64_t sent, received, asked, answered, repeated, reordered, odd;
static struct hist latency;
static int turn;

static void on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

static bool is_stopped(void)
{
    return stopped != 0;
}

static uint64_t number(const char *p, size_t len, char kind)
{
    char id[32];

    if (!scan_attr(p, len, "id", id, sizeof(id)) || id[0] != kind)
        return 0;
    return strtoull(id + 1, NULL, 10);
}

static void soak_message(struct peer *peer, const char *p, size_t len)
{
    uint64_t n = number(p, len, 'm');
    int64_t when;

    if (find(p, len, "type='error'") != NULL) {
        odd++;
        return;
    }
    received++;
    if (n < peer->next)
        repeated++;
    else if (n > peer->next)
        reordered++; /* or some before it are lost: the totals tell */
    if (n >= peer->next)
        peer->next = n + 1;
    if (stamp_of(p, len, &when))
        hist_add(&latency, now_ns() - when);
}

static void soak_answer(struct peer *peer, const char *p, size_t len)
{
    uint64_t n = number(p, len, 'q');

    if (n == 0)
        return; /* a question of the server's: a ping, a push */
    if (n != peer->asked || !peer->waiting) {
        repeated++;
        return;
    }
    peer->waiting = false;
    answered++;
}

static void soak_stanza(struct conn *c, const char *p, size_t len)
{
    struct peer *peer;

    if (peers == NULL)
        return;
    peer = &peers[c - conns];
    if (memcmp(p, "<me", 3) == 0)
        soak_message(peer, p, len);
    else if (memcmp(p, "<iq", 3) == 0)
        soak_answer(peer, p, len);
}

static void ask(struct conn *c, struct peer *peer)
{
    static unsigned next;
    unsigned r = next++ % (sizeof(requests) / sizeof(requests[0]));
    char text[256];
    int n = snprintf(text, sizeof(text), "<iq type='%s' id='q%llu'%s%s%s>%s</iq>", requests[r].type,
                     (unsigned long long)++peer->asked, requests[r].host ? " to='" : "",
                     requests[r].host ? opts.domain : "", requests[r].host ? "'" : "",
                     requests[r].payload);

    conn_put(c, text, (size_t)n);
    peer->waiting = true;
    asked++;
}

/* One request for nine messages. */
static void soak_tick(int64_t now)
{
    for (uint64_t n = running ? due(now) : 0; n > 0; n--) {
        int i = turn++ % (opts.sessions & ~1);
        struct conn *c = &conns[i];

        if (c->state != C_READY || conn_blocked(c))
            continue;
        if (turn % 10 == 0 && !peers[i].waiting) {
            ask(c, &peers[i]);
        } else {
            message_put(c, opts.first + (i ^ 1), false);
            sent++;
        }
    }
}

static bool all_there(void)
{
    return received >= sent && answered >= asked;
}

static int sessions_lost(void)
{
    int n = 0;

    for (int i = 0; i < opts.sessions; i++)
        n += conns[i].state != C_READY;
    return n;
}

static int soak_main(void)
{
    struct sample a, b;

    peers = calloc((size_t)opts.sessions, sizeof(*peers));
    if (peers == NULL)
        return 1;
    for (int i = 0; i < opts.sessions; i++) {
        peers[i].next = conns[i ^ 1].sent + 1;
        peers[i].asked = 1000; /* ids of the login are not ours */
    }
    signal(SIGINT, on_signal);
    puts("soaking"); /* from here on SIGINT ends it in order */
    running = true;
    due_reset();
    sample_take(&a, true);
    loop_for(opts.duration, is_stopped);
    sample_take(&b, true);
    running = false;
    loop_for(30, all_there);
    report_cpu(&a, &b, (double)(sent + asked), "stanza");
    report_latency(&latency);
    result_num("grown", (double)(b.anon - a.anon), "bytes");
    result_num("sent", (double)sent, "messages");
    result_num("lost", (double)sent - (double)received, "messages");
    result_num("unanswered", (double)asked - (double)answered, "requests");
    result_num("repeated", (double)repeated, "");
    result_num("reordered", (double)reordered, "");
    result_num("bounced", (double)odd, "");
    result_num("sessions_lost", sessions_lost(), "");
    free(peers);
    peers = NULL;
    return sent > 0 && received == sent && answered == asked && repeated + reordered + odd == 0 &&
                   sessions_lost() == 0
               ? 0
               : 1;
}

const struct scenario soak_scenario = { "soak", .stanza = soak_stanza, .tick = soak_tick,
                                        .main = soak_main };

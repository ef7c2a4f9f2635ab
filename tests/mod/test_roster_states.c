/* tests/mod/test_roster_states.c: every cell of RFC 6121, appendix A: nine states, four stanzas
 * in each direction (tables 2 to 9, copied here as data), once for contacts that are in the
 * roster where the state allows it and once for others; then pre-approval (3.4). Each cell is
 * driven by stanzas through the whole server and has a contact of its own. */
#include "harness.h"

#include <stdio.h>

/* --- the tables --- */

enum state { NONE, N_OUT, N_IN, N_OUT_IN, TO, TO_IN, FROM, FROM_OUT, BOTH, STATES };

static const char *const state_name[] = {
    "None", "None + Pending Out", "None + Pending In", "None + Pending Out+In", "To",
    "To + Pending In", "From", "From + Pending Out", "Both"
};

enum word { MUST, MUST_NOT, SHOULD_NOT };
struct cell {
    enum word word; /* route, deliver */
    enum state next;
};
#define SAME STATES /* no state change */
#define APPROVAL (STATES + 1)

/* A.2.1 to A.2.4: table 2, 3, 4, 5 */
static const struct cell outbound[4][STATES] = {
    { { MUST, N_OUT }, { MUST, SAME }, { MUST, N_OUT_IN }, { MUST, SAME }, { MUST, SAME },
      { MUST, SAME }, { MUST, FROM_OUT }, { MUST, SAME }, { MUST, SAME } },
    { { MUST, SAME }, { MUST, NONE }, { MUST, SAME }, { MUST, N_IN }, { MUST, NONE },
      { MUST, N_IN }, { MUST, SAME }, { MUST, FROM }, { MUST, FROM } },
    { { MUST_NOT, APPROVAL }, { MUST_NOT, APPROVAL }, { MUST, FROM }, { MUST, FROM_OUT },
      { MUST_NOT, APPROVAL }, { MUST, BOTH }, { MUST_NOT, SAME }, { MUST_NOT, SAME },
      { MUST_NOT, SAME } },
    { { SHOULD_NOT, SAME }, { SHOULD_NOT, SAME }, { MUST, NONE }, { MUST, N_OUT },
      { SHOULD_NOT, SAME }, { MUST, TO }, { MUST, NONE }, { MUST, N_OUT }, { MUST, TO } },
};
/* A.3.1 to A.3.4: table 6, 7, 8, 9 */
static const struct cell inbound[4][STATES] = {
    { { MUST, N_IN }, { MUST, N_OUT_IN }, { SHOULD_NOT, SAME }, { SHOULD_NOT, SAME },
      { MUST, TO_IN }, { SHOULD_NOT, SAME }, { SHOULD_NOT, SAME }, { SHOULD_NOT, SAME },
      { SHOULD_NOT, SAME } },
    { { SHOULD_NOT, SAME }, { SHOULD_NOT, SAME }, { MUST, NONE }, { MUST, N_OUT },
      { SHOULD_NOT, SAME }, { MUST, TO }, { MUST, NONE }, { MUST, N_OUT }, { MUST, TO } },
    { { SHOULD_NOT, SAME }, { MUST, TO }, { SHOULD_NOT, SAME }, { MUST, TO_IN },
      { SHOULD_NOT, SAME }, { SHOULD_NOT, SAME }, { SHOULD_NOT, SAME }, { MUST, BOTH },
      { SHOULD_NOT, SAME } },
    { { SHOULD_NOT, SAME }, { MUST, NONE }, { SHOULD_NOT, SAME }, { MUST, N_IN }, { MUST, NONE },
      { MUST, N_IN }, { SHOULD_NOT, SAME }, { MUST, FROM }, { MUST, FROM } },
};
enum stanza { SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBED, UNSUBSCRIBED };
static const char *const stanza_name[] = { "subscribe", "unsubscribe", "subscribed",
                                           "unsubscribed" };

/* What a state is made of. */
static bool has_out(enum state s) { return s == N_OUT || s == N_OUT_IN || s == FROM_OUT; }
static bool has_in(enum state s) { return s == N_IN || s == N_OUT_IN || s == TO_IN; }
static bool has_to(enum state s) { return s == TO || s == TO_IN || s == BOTH; }
static bool has_from(enum state s) { return s == FROM || s == FROM_OUT || s == BOTH; }

static enum gr_subscription sub_of(enum state s)
{
    return s == BOTH ? GR_SUB_BOTH : has_to(s) ? GR_SUB_TO : has_from(s) ? GR_SUB_FROM
                                                                          : GR_SUB_NONE;
}

/* --- the server --- */

static char sent[4096];

static enum gr_verdict on_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const char *type = gr_el_attr(gr_stanza_root(ev->stanza), "type");
    size_t len = strlen(sent);

    (void)self;
    if (strcmp(ev->to->domain, "remote.example") != 0)
        return GR_OK;
    snprintf(sent + len, sizeof(sent) - len, "%s %s\n", type != NULL ? type : "available",
             ev->from->full);
    return GR_DROP;
}

static const struct gr_hook witness_hooks[] = { GR_ON(filter_packet, GR_PRIO_LATE, on_packet),
                                                GR_HOOK_END };
static const struct gr_module witness = { .name = "witness", .summary = "test",
                                          .abi = GR_ABI_VERSION, .abi_tag = GR_ABI_TAG,
                                          .hooks = witness_hooks };
static struct h *h;
static struct hs *alice;
static char contact[64];
static unsigned contacts;

static int start(void **state)
{
    (void)state;
    h_module(&witness);
    h = h_start("[host localhost]\n[mod_roster]\n[mod_presence]\n");
    h_user(h, "alice@localhost");
    alice = h_login(h, "alice@localhost/r");
    h_iq(alice, "get", NULL, "<query xmlns='jabber:iq:roster'/>");
    h_send(alice, "<presence/>");
    h_drop_all(alice);
    contacts = 0;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    h_stop(&h);
    return 0;
}

static void out(enum stanza s)
{
    h_sendf(alice, "<presence type='%s' id='o' to='%s'/>", stanza_name[s], contact);
}

static void in(enum stanza s)
{
    struct gr_stanza *st;
    char xml[256];

    snprintf(xml, sizeof(xml), "<presence type='%s' id='i' from='%s' to='alice@localhost'/>",
             stanza_name[s], contact);
    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    gr_send(h_mod(h, "sm", "localhost"), st);
    h_run(h);
}

static void list_item(void)
{
    char xml[256];

    snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:roster'><item jid='%s' name='N'/></query>",
             contact);
    h_iq(alice, "set", NULL, xml);
}

/* A new contact in that state. */
static void make(enum state s, bool listed)
{
    snprintf(contact, sizeof(contact), "c%u@remote.example", contacts++);
    if (listed)
        list_item();
    if (has_from(s)) {
        in(SUBSCRIBE);
        out(SUBSCRIBED);
    }
    if (has_to(s) || has_out(s))
        out(SUBSCRIBE);
    if (has_to(s))
        in(SUBSCRIBED);
    if (has_in(s))
        in(SUBSCRIBE);
    h_drop_all(alice);
    sent[0] = '\0';
}

/* --- looking at the outcome --- */

struct look {
    bool there, listed, ask, approved, pending;
    enum gr_subscription sub;
};

static void got(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct look *l = *(struct look **)gr_ask_data(ask);

    (void)self;
    assert_int_equal(a->result, GR_R_OK);
    for (size_t i = 0; i < a->count; i++) {
        const struct gr_roster_item *it = &a->items[i];
        if (strcmp(it->jid->bare, contact) == 0)
            *l = (struct look){ true, it->in_roster, it->ask, it->approved, it->pending_in,
                                it->sub };
    }
}

static struct look look(void)
{
    struct gr_mod *self = h_mod(h, "sm", "alice@localhost");
    struct look l = { 0 };
    struct gr_ask *ask = gr_ask_new(self, sizeof(struct look *), got);

    *(struct look **)gr_ask_data(ask) = &l;
    gr_roster_ask(self, ask, GR_ROSTER_GET_CONTACTS, NULL, h_parse_jid(h, "alice@localhost"), NULL,
                  NULL);
    h_run(h);
    return l;
}

static void expect_state(enum state s, bool listed, bool approved)
{
    struct look l = look();

    assert_int_equal(l.listed, listed);
    assert_int_equal(l.sub, sub_of(s));
    assert_int_equal(l.ask, has_out(s));
    assert_int_equal(l.pending, has_in(s));
    assert_int_equal(l.approved, approved);
    assert_int_equal(l.there, listed || has_in(s));
}

static void expect_push(enum state s, bool named, bool approved)
{
    static const char *const sub[] = { [GR_SUB_NONE] = "none", [GR_SUB_TO] = "to",
                                       [GR_SUB_FROM] = "from", [GR_SUB_BOTH] = "both" };

    h_expect_xmlf(alice, "<iq type='set' id='*' from='alice@localhost' to='alice@localhost/r'>"
                  "<query xmlns='jabber:iq:roster' ver='*'><item jid='%s' subscription='%s' "
                  "%s %s %s/></query></iq>", contact, sub[sub_of(s)], named ? "name='N'" : "",
                  has_out(s) ? "ask='subscribe'" : "", approved ? "approved='true'" : "");
}

static void expect_delivered(enum stanza s)
{
    h_expect_xmlf(alice, "<presence type='%s' id='i' from='%s' to='alice@localhost'/>",
                  stanza_name[s], contact);
}

static void expect_sent(const char *fmt, ...) GR_PRINTF(1, 2);
static void expect_sent(const char *fmt, ...)
{
    char want[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(want, sizeof(want), fmt, ap);
    va_end(ap);
    assert_string_equal(sent, want);
}

/* States in which the contact may or must not be in the roster. */
static bool can_be_unlisted(enum state s)
{
    return s == NONE || s == N_IN;
}

/* --- table 2 to 5 --- */

static void check_outbound(enum stanza what, enum state s, bool listed)
{
    const struct cell *c = &outbound[what][s];
    bool routed = c->word == MUST, approval = c->next == (enum state)APPROVAL;
    enum state next = c->next < STATES ? c->next : s;
    bool before = listed || !can_be_unlisted(s);
    bool gained = has_from(next) && !has_from(s), lost = has_from(s) && !has_from(next);
    bool after = before || has_out(next) || gained || approval;
    bool pushed = before != after || approval || sub_of(s) != sub_of(next) ||
                  has_out(s) != has_out(next);

    print_message("  %s in \"%s\"%s\n", stanza_name[what], state_name[s],
                  listed ? ", in the roster" : "");
    make(s, listed);
    out(what);
    if (pushed && after)
        expect_push(next, listed, approval);
    h_expect_nothing(alice);
    expect_sent("%s%s%s%s%s", lost ? "unavailable alice@localhost/r\n" : "",
                routed ? stanza_name[what] : "", routed ? " alice@localhost\n" : "",
                gained ? "available alice@localhost/r\n" : "", "");
    expect_state(next, after, approval);
}

/* --- table 6 to 9 --- */

static void check_inbound(enum stanza what, enum state s, bool listed)
{
    const struct cell *c = &inbound[what][s];
    bool delivered = c->word == MUST, lost;
    enum state next = c->next < STATES ? c->next : s;
    bool there = listed || !can_be_unlisted(s);
    const char *reply = "";

    print_message("  %s in \"%s\"%s\n", stanza_name[what], state_name[s],
                  listed ? ", in the roster" : "");
    lost = has_from(s) && !has_from(next);
    if (what == SUBSCRIBE && has_from(s))
        reply = "subscribed alice@localhost\n"; /* [2] */
    if (what == UNSUBSCRIBE && delivered)
        reply = "unsubscribed alice@localhost\n"; /* [1] */
    make(s, listed);
    in(what);
    if (delivered)
        expect_delivered(what);
    if (there && (sub_of(s) != sub_of(next) || has_out(s) != has_out(next)))
        expect_push(next, listed, false);
    h_expect_nothing(alice);
    expect_sent("%s%s", lost ? "unavailable alice@localhost/r\n" : "", reply);
    expect_state(next, there, false);
}

static void check_all(void (*check)(enum stanza, enum state, bool), enum stanza what)
{
    for (enum state s = NONE; s < STATES; s++) {
        check(what, s, true);
        check(what, s, false);
    }
}

#define TABLE(name, check, what)                                                                  \
    static void name(void **state)                                                                \
    {                                                                                             \
        (void)state;                                                                              \
        check_all(check, what);                                                                   \
    }
TABLE(test_out_subscribe, check_outbound, SUBSCRIBE)
TABLE(test_out_unsubscribe, check_outbound, UNSUBSCRIBE)
TABLE(test_out_subscribed, check_outbound, SUBSCRIBED)
TABLE(test_out_unsubscribed, check_outbound, UNSUBSCRIBED)
TABLE(test_in_subscribe, check_inbound, SUBSCRIBE)
TABLE(test_in_unsubscribe, check_inbound, UNSUBSCRIBE)
TABLE(test_in_subscribed, check_inbound, SUBSCRIBED)
TABLE(test_in_unsubscribed, check_inbound, UNSUBSCRIBED)

/* --- pre-approval: in None, None + Pending Out and To --- */

static const struct {
    enum state before;
    bool inbound;
    enum stanza what;
    enum state after;
    bool approved, pushed, delivered;
    const char *sent;
} approvals[] = {
#define GRANTED "subscribed alice@localhost\navailable alice@localhost/r\n"
    { NONE, true, SUBSCRIBE, FROM, false, true, false, GRANTED },
    { N_OUT, true, SUBSCRIBE, FROM_OUT, false, true, false, GRANTED },
    { TO, true, SUBSCRIBE, BOTH, false, true, false, GRANTED },
    /* Given once more; taken back. Neither is routed. */
    { NONE, false, SUBSCRIBED, NONE, true, false, false, "" },
    { N_OUT, false, SUBSCRIBED, N_OUT, true, false, false, "" },
    { TO, false, SUBSCRIBED, TO, true, false, false, "" },
    { NONE, false, UNSUBSCRIBED, NONE, false, true, false, "" },
    { N_OUT, false, UNSUBSCRIBED, N_OUT, false, true, false, "" },
    { TO, false, UNSUBSCRIBED, TO, false, true, false, "" },
    /* One's own requests and what the contact does with them leave it alone. */
    { NONE, false, SUBSCRIBE, N_OUT, true, true, false, "subscribe alice@localhost\n" },
    { N_OUT, false, SUBSCRIBE, N_OUT, true, false, false, "subscribe alice@localhost\n" },
    { TO, false, SUBSCRIBE, TO, true, false, false, "subscribe alice@localhost\n" },
    { NONE, false, UNSUBSCRIBE, NONE, true, false, false, "unsubscribe alice@localhost\n" },
    { N_OUT, false, UNSUBSCRIBE, NONE, true, true, false, "unsubscribe alice@localhost\n" },
    { TO, false, UNSUBSCRIBE, NONE, true, true, false, "unsubscribe alice@localhost\n" },
    { NONE, true, SUBSCRIBED, NONE, true, false, false, "" },
    { N_OUT, true, SUBSCRIBED, TO, true, true, true, "" },
    { TO, true, SUBSCRIBED, TO, true, false, false, "" },
    { NONE, true, UNSUBSCRIBED, NONE, true, false, false, "" },
    { N_OUT, true, UNSUBSCRIBED, NONE, true, true, true, "" },
    { TO, true, UNSUBSCRIBED, NONE, true, true, true, "" },
    { NONE, true, UNSUBSCRIBE, NONE, true, false, false, "" },
    { N_OUT, true, UNSUBSCRIBE, N_OUT, true, false, false, "" },
    { TO, true, UNSUBSCRIBE, TO, true, false, false, "" },
};

static void test_approvals(void **state)
{
    (void)state;
    for (size_t i = 0; i < GR_COUNT(approvals); i++) {
        print_message("  %s %s in \"%s\", approved\n",
                      approvals[i].inbound ? "inbound" : "outbound",
                      stanza_name[approvals[i].what], state_name[approvals[i].before]);
        make(approvals[i].before, i % 2 == 1);
        out(SUBSCRIBED);
        expect_push(approvals[i].before, i % 2 == 1, true);
        expect_sent("%s", "");
        if (approvals[i].inbound)
            in(approvals[i].what);
        else
            out(approvals[i].what);
        if (approvals[i].delivered)
            expect_delivered(approvals[i].what);
        if (approvals[i].pushed)
            expect_push(approvals[i].after, i % 2 == 1, approvals[i].approved);
        h_expect_nothing(alice);
        expect_sent("%s", approvals[i].sent);
        expect_state(approvals[i].after, true, approvals[i].approved);
    }
}

/* What is in the store is all of it: every state, read back after a restart. */
static void test_restart(void **state)
{
    char name[STATES][sizeof(contact)];

    (void)state;
    for (enum state s = NONE; s < STATES; s++) {
        make(s, false);
        memcpy(name[s], contact, sizeof(contact));
    }
    h_restart(h);
    for (enum state s = NONE; s < STATES; s++) {
        memcpy(contact, name[s], sizeof(contact));
        expect_state(s, !can_be_unlisted(s), false);
    }
}

/* --- the provider itself: many calls in flight, against a model (backends.md 3.2, 3.3) --- */

enum { CALLS = 400, PEERS = 3 };

struct model {
    bool listed, from, to, ask, approved, pending;
};
static struct model models[PEERS];
static unsigned lcg;
struct call {
    enum gr_roster_op op;
    unsigned peer;
    enum gr_result want;
    struct model before, after;
};
static struct call calls[CALLS];
static unsigned calls_answered;
static uint64_t newest;

static unsigned draw(unsigned n)
{
    lcg = lcg * 1103515245u + 12345u;
    return (lcg >> 16) % n;
}

static enum gr_result model_clear(bool *a, bool *b)
{
    bool any = *a || *b;

    *a = *b = false;
    return any ? GR_R_OK : GR_R_NONE;
}

/* Written from the table of backends.md, not from the module. */
static enum gr_result model_apply(struct model *m, enum gr_roster_op op)
{
    bool had = m->from || m->pending || m->approved;

    switch (op) {
    case GR_ROSTER_OUT_SUBSCRIBE:
        if (m->to || m->ask)
            return GR_R_NONE;
        m->listed = m->ask = true;
        return GR_R_OK;
    case GR_ROSTER_IN_SUBSCRIBE:
        if (m->from)
            return GR_R_NONE;
        if (!m->approved && m->pending)
            return GR_R_FALSE;
        *(m->approved ? &m->from : &m->pending) = true;
        m->approved = false;
        return GR_R_OK;
    case GR_ROSTER_OUT_SUBSCRIBED:
        if (!m->pending && (m->from || m->approved))
            return GR_R_NONE;
        *(m->pending ? &m->from : &m->approved) = true;
        m->pending = false;
        m->listed = true;
        return GR_R_OK;
    case GR_ROSTER_IN_SUBSCRIBED:
        if (!m->ask)
            return GR_R_NONE;
        m->ask = false;
        m->to = true;
        return GR_R_OK;
    case GR_ROSTER_OUT_UNSUBSCRIBE:
    case GR_ROSTER_IN_UNSUBSCRIBED:
        return model_clear(&m->to, &m->ask);
    case GR_ROSTER_IN_UNSUBSCRIBE:
        return model_clear(&m->from, &m->pending);
    case GR_ROSTER_OUT_UNSUBSCRIBED:
        m->from = m->pending = m->approved = false;
        return had ? GR_R_OK : GR_R_NONE;
    case GR_ROSTER_REMOVE_CONTACT:
        if (!m->listed)
            return GR_R_NONE;
        if (m->from || m->to || m->ask)
            return GR_R_FALSE;
        m->listed = m->approved = false;
        return GR_R_OK;
    default: /* update */
        m->listed = true;
        return GR_R_OK;
    }
}

static void same(const struct gr_roster_item *item, const struct model *m)
{
    enum gr_subscription sub = m->from && m->to ? GR_SUB_BOTH : m->from ? GR_SUB_FROM
                               : m->to          ? GR_SUB_TO
                                                : GR_SUB_NONE;

    assert_int_equal(item->in_roster, m->listed);
    assert_int_equal(item->pending_in, m->pending);
    assert_int_equal(item->sub, sub);
    assert_int_equal(item->ask, m->ask);
    assert_int_equal(item->approved, m->approved);
    assert_int_equal(item->jid != NULL, m->listed || m->pending);
}

static void called(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct call *c = *(struct call **)gr_ask_data(ask);

    (void)self;
    assert_int_equal(c, &calls[calls_answered]); /* in order */
    calls_answered++;
    assert_int_equal(a->result, c->want);
    if (a->result != GR_R_OK)
        return;
    same(&a->before, &c->before);
    same(&a->after, &c->after);
    if (a->after.ver != a->before.ver) {
        assert_true(a->after.ver > newest); /* versions are never given twice */
        newest = a->after.ver;
    }
}

static void call(struct call *c)
{
    static const enum gr_roster_op ops[] = {
        GR_ROSTER_OUT_SUBSCRIBE, GR_ROSTER_IN_SUBSCRIBE, GR_ROSTER_OUT_SUBSCRIBED,
        GR_ROSTER_IN_SUBSCRIBED, GR_ROSTER_OUT_UNSUBSCRIBE, GR_ROSTER_IN_UNSUBSCRIBE,
        GR_ROSTER_OUT_UNSUBSCRIBED, GR_ROSTER_IN_UNSUBSCRIBED, GR_ROSTER_REMOVE_CONTACT,
        GR_ROSTER_UPDATE_CONTACT
    };
    struct gr_mod *self = h_mod(h, "sm", "alice@localhost");
    const struct gr_jid *owner = h_parse_jid(h, "alice@localhost");
    struct gr_stanza *st;
    struct gr_ask *ask = gr_ask_new(self, sizeof(struct call *), called);

    *(struct call **)gr_ask_data(ask) = c;
    c->op = ops[draw(GR_COUNT(ops))];
    c->peer = draw(PEERS);
    c->before = models[c->peer];
    c->want = model_apply(&models[c->peer], c->op);
    c->after = models[c->peer];
    snprintf(contact, sizeof(contact), "p%u@remote.example", c->peer);
    const struct gr_jid *peer = h_parse_jid(h, contact);
    st = gr_presence_new(GR_SUBSCRIBE, peer, owner);
    if (c->op == GR_ROSTER_UPDATE_CONTACT)
        gr_roster_update(self, ask, NULL, owner, &(struct gr_roster_item){ .jid = peer });
    else
        gr_roster_ask(self, ask, c->op, NULL, owner, peer, st);
    gr_stanza_unref(&st);
}

static void test_model(void **state)
{
    static const char *const conf[] = {
        "[host localhost]\n[mod_roster]\nmax_items = 3\nmax_requests = 3\n",
        "[host localhost]\n[mod_roster]\nmax_items = 3\nmax_requests = 4\n"
    };

    (void)state;
    memset(models, 0, sizeof(models));
    memset(calls, 0, sizeof(calls));
    calls_answered = 0;
    newest = 0;
    lcg = 20261120;
    h_hold_store(h, true);
    for (unsigned i = 0; i < CALLS; i++) {
        call(&calls[i]);
        if (draw(7) == 0)
            h_run(h);
        if (draw(9) == 0)
            h_commit(h);
        if (i % 60 == 59) /* the old instance has calls in line, the new one gets further ones */
            assert_int_equal(h_reload(h, conf[i / 60 % 2], NULL), 0);
    }
    h_hold_store(h, false);
    h_run(h);
    assert_int_equal(calls_answered, CALLS);
    for (unsigned i = 0; i < PEERS; i++) {
        struct model *m = &models[i];

        snprintf(contact, sizeof(contact), "p%u@remote.example", i);
        struct look l = look();
        assert_int_equal(l.listed, m->listed);
        assert_int_equal(l.pending, m->pending);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(test_out_subscribe), CASE(test_out_unsubscribe), CASE(test_out_subscribed),
        CASE(test_out_unsubscribed), CASE(test_in_subscribe), CASE(test_in_unsubscribe),
        CASE(test_in_subscribed), CASE(test_in_unsubscribed), CASE(test_approvals),
        CASE(test_restart), CASE(test_model),
    };

    return H_RUN("roster_states", tests);
}

/* tests/mod/test_delivery.c: who gets a stanza: every cell of RFC 6121, table 1 (8.5.4), and the
 * rules for presence and iqs next to it (8.5.2 and 8.5.3), for a server without any module. */
#include "harness.h"

#include <stdio.h>

/* --- table 1 --- */

enum account { NOBODY, NO_RESOURCE, NEGATIVE, ONE, SEVERAL, ACCOUNTS };
enum address { BARE, MATCH, NO_MATCH, ADDRESSES };
enum { NORMAL, CHAT, GROUPCHAT, HEADLINE, ERROR, TYPES };

static const char *const type_name[] = { "normal", "chat", "groupchat", "headline", "error" };

/* Outcomes as in the table: O offline, E error, S silence, D delivered to the one addressed (or the
 * only one), M most available, A all non-negative ones. "O/E" with nobody who stores is E: the
 * chain offline_message runs and its last handler answers; that it runs at all is what makes it O
 * here. A row is what the RFC allows; the last character is our choice. Errors are never answered
 * and reach only a matching resource (8.5.2.1.1, 8.5.3.1, 8.5.3.2.1). */
struct cell { const char *allowed; char ours; };
#define C(allowed, ours) { allowed, ours }
static const struct cell table[ACCOUNTS][ADDRESSES][TYPES] = {
    [NOBODY] = {
        [BARE] = { C("SE", 'E'), C("SE", 'E'), C("E", 'E'), C("S", 'S'), C("S", 'S') },
        [NO_MATCH] = { C("SE", 'E'), C("SE", 'E'), C("SE", 'E'), C("SE", 'S'), C("S", 'S') },
    },
    [NO_RESOURCE] = {
        [BARE] = { C("OE", 'O'), C("OE", 'O'), C("E", 'E'), C("S", 'S'), C("S", 'S') },
        [NO_MATCH] = { C("SE", 'E'), C("OE", 'O'), C("SE", 'E'), C("SE", 'S'), C("S", 'S') },
    },
    [NEGATIVE] = {
        [BARE] = { C("OE", 'O'), C("OE", 'O'), C("E", 'E'), C("S", 'S'), C("S", 'S') },
        [MATCH] = { C("D", 'D'), C("D", 'D'), C("D", 'D'), C("D", 'D'), C("D", 'D') },
        [NO_MATCH] = { C("SE", 'E'), C("OE", 'O'), C("SE", 'E'), C("SE", 'S'), C("S", 'S') },
    },
    [ONE] = {
        [BARE] = { C("D", 'D'), C("D", 'D'), C("E", 'E'), C("D", 'D'), C("S", 'S') },
        [MATCH] = { C("D", 'D'), C("D", 'D'), C("D", 'D'), C("D", 'D'), C("D", 'D') },
        [NO_MATCH] = { C("SE", 'E'), C("D", 'D'), C("SE", 'E'), C("SE", 'S'), C("S", 'S') },
    },
    [SEVERAL] = {
        [BARE] = { C("MA", 'M'), C("M", 'M'), C("E", 'E'), C("A", 'A'), C("S", 'S') },
        [MATCH] = { C("D", 'D'), C("D", 'D'), C("D", 'D'), C("D", 'D'), C("D", 'D') },
        [NO_MATCH] = { C("SE", 'E'), C("M", 'M'), C("SE", 'E'), C("SE", 'S'), C("S", 'S') },
    },
};

static unsigned offline_runs;

static enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    offline_runs++;
    return GR_OK;
}

static const struct gr_hook watcher_hooks[] = {
    GR_ON(offline_message, GR_PRIO_FIRST, on_offline), GR_HOOK_END
};
static const struct gr_module watcher = { .name = "watcher", .summary = "test",
                                          .hooks = watcher_hooks };

/* The recipient's clients; the first one is the one that a full match names. */
struct setting {
    struct h *h;
    struct hs *sender, *client[5];
    int clients, priority[5];
};

static void join(struct setting *s, const char *resource, int priority)
{
    char full[64];

    snprintf(full, sizeof(full), "bob@localhost/%s", resource);
    s->priority[s->clients] = priority;
    s->client[s->clients] = h_login(s->h, full);
    h_set_available(s->client[s->clients++], priority);
}

static void begin(struct setting *s, enum account account)
{
    memset(s, 0, sizeof(*s));
    h_module(&watcher);
    s->h = h_start(NULL);
    h_user(s->h, "alice@localhost");
    s->sender = h_login(s->h, "alice@localhost/phone");
    if (account != NOBODY)
        h_user(s->h, "bob@localhost");
    if (account == NEGATIVE) {
        join(s, "one", -1);
        join(s, "two", -5);
    } else if (account == ONE) {
        join(s, "one", 0);
    } else if (account == SEVERAL) {
        join(s, "one", 1);
        join(s, "two", 5);
        join(s, "three", 5);
        join(s, "four", 0);
        join(s, "five", -1);
    }
}

static bool expects(const struct setting *s, char outcome, int client)
{
    switch (outcome) {
    case 'D':
        return client == 0; /* the one addressed, or the only one there is */
    case 'M':
        return s->priority[client] == 5;
    case 'A':
        return s->priority[client] >= 0;
    default:
        return false;
    }
}

static void check_cell(struct setting *s, enum account account, enum address address, int type)
{
    static const char *const resource[] = { "", "/one", "/elsewhere" };
    const struct cell *cell = &table[account][address][type];
    char xml[256], to[64];

    assert_non_null(cell->allowed);
    assert_non_null(strchr(cell->allowed, cell->ours));
    snprintf(to, sizeof(to), "bob@localhost%s", resource[address]);
    snprintf(xml, sizeof(xml), "<message from='alice@localhost/phone' to='%s' type='%s' id='m1'>"
             "<body>hello</body></message>", to, type_name[type]);
    offline_runs = 0;
    h_send(s->sender, xml);
    for (int i = 0; i < s->clients; i++) {
        if (expects(s, cell->ours, i))
            h_expect_xml(s->client[i], xml); /* unchanged: `to` is never rewritten */
        h_expect_nothing(s->client[i]);
    }
    if (cell->ours == 'E' || cell->ours == 'O') {
        struct gr_stanza *st = h_expect_error(s->sender, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, to);
        assert_string_equal(gr_stanza_id(st), "m1");
    }
    h_expect_nothing(s->sender);
    assert_int_equal(offline_runs, cell->ours == 'O' ? 1 : 0);
}

static void test_table(enum account account)
{
    struct setting s;

    begin(&s, account);
    for (int address = 0; address < ADDRESSES; address++)
        for (int type = 0; type < TYPES; type++)
            if (table[account][address][type].allowed != NULL)
                check_cell(&s, account, (enum address)address, type);
    h_stop(&s.h);
}

static void test_table_account_does_not_exist(void **state)
{
    (void)state;
    test_table(NOBODY);
}

static void test_table_no_active_resources(void **state)
{
    (void)state;
    test_table(NO_RESOURCE);
}

static void test_table_only_negative_resources(void **state)
{
    (void)state;
    test_table(NEGATIVE);
}

static void test_table_one_non_negative_resource(void **state)
{
    (void)state;
    test_table(ONE);
}

static void test_table_several_non_negative_resources(void **state)
{
    (void)state;
    test_table(SEVERAL);
}

/* Every cell that the RFC has is in the table: only accounts without resources lack a full
 * match. */
static void test_table_is_complete(void **state)
{
    (void)state;
    for (int account = 0; account < ACCOUNTS; account++)
        for (int address = 0; address < ADDRESSES; address++)
            for (int type = 0; type < TYPES; type++)
                assert_int_equal(table[account][address][type].allowed == NULL,
                                 account <= NO_RESOURCE && address == MATCH);
}

/* --- messages beyond the table --- */

/* Connected is not available: without presence there is only the address itself (8.5.3.1). */
static void test_connected_resource_gets_what_names_it(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, NO_RESOURCE);
    struct hs *bob = h_login(s.h, "bob@localhost/quiet");
    h_send(s.sender, "<message to='bob@localhost' type='chat'><body>1</body></message>");
    h_expect_error(s.sender, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    h_expect_nothing(bob);
    h_send(s.sender, "<message to='bob@localhost/quiet' type='chat'><body>2</body></message>");
    h_expect_body(bob, "alice@localhost/phone", "2");
    h_set_available(bob, 0);
    h_send(s.sender, "<message to='bob@localhost'><body>3</body></message>");
    h_expect_body(bob, "alice@localhost/phone", "3");
    h_set_unavailable(bob);
    h_send(s.sender, "<message to='bob@localhost'><body>4</body></message>");
    h_expect_nothing(bob);
    h_expect_error(s.sender, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    h_stop(&s.h);
}

/* Without `to`: the sender's own account (RFC 6120, 10.3.1), to all its most available
 * resources. */
static void test_message_without_to(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, NOBODY);
    struct hs *other = h_login(s.h, "alice@localhost/desk");
    h_set_available(s.sender, 0);
    h_set_available(other, 0);
    h_send(s.sender, "<message><body>note</body></message>");
    h_expect_body(s.sender, "alice@localhost/phone", "note");
    h_expect_body(other, "alice@localhost/phone", "note");
    h_expect_nothing(s.sender);
    h_stop(&s.h);
}

/* Somebody claims another `from`: the server's stamp wins. */
static void test_from_is_the_sender(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, ONE);
    h_send(s.sender, "<message from='alice@localhost' to='bob@localhost/one'><body>x</body>"
                     "</message>");
    h_expect_body(s.client[0], "alice@localhost/phone", "x");
    h_stop(&s.h);
}

/* RFC 6120, 10.1: between two entities nothing overtakes. */
static void test_messages_arrive_in_order(void **state)
{
    struct setting s;
    char text[128];

    (void)state;
    begin(&s, ONE);
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof(text), "<message to='bob@localhost%s'><body>%d</body></message>",
                 i % 2 ? "/one" : "", i);
        h_feed(s.sender, text);
    }
    h_run(s.h);
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof(text), "%d", i);
        h_expect_body(s.client[0], "alice@localhost/phone", text);
    }
    h_expect_nothing(s.client[0]);
    assert_int_equal(h_unhandled(s.sender), 0);
    h_stop(&s.h);
}

static void test_message_to_host(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, NOBODY);
    h_send(s.sender, "<message to='localhost'><body>anybody?</body></message>");
    h_expect_error(s.sender, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "localhost");
    h_send(s.sender, "<message to='localhost' type='headline'><body>x</body></message>");
    h_send(s.sender, "<message to='localhost' type='error'><body>x</body></message>");
    h_expect_nothing(s.sender);
    h_stop(&s.h);
}

static void test_other_domains(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, NOBODY);
    h_send(s.sender, "<message to='x@elsewhere.example/y'><body>x</body></message>");
    h_expect_error(s.sender, GR_MESSAGE, GR_REMOTE_SERVER_NOT_FOUND, "x@elsewhere.example/y");
    h_iq_error(s.sender, "get", "elsewhere.example", "<x xmlns='y'/>", GR_REMOTE_SERVER_NOT_FOUND);
    h_send(s.sender, "<message to='x@elsewhere.example' type='error'><body>x</body></message>");
    h_send(s.sender, "<iq to='x@elsewhere.example' type='result' id='1'/>");
    h_expect_nothing(s.sender);
    h_stop(&s.h);
}

/* --- what could not be written --- */

/* 8.1 and 8.5.3.2.1: a connection that turns out to be broken is a resource that does not match. */
static void test_unsent_messages_find_another_resource(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, ONE);
    struct hs *two = h_login(s.h, "bob@localhost/two");
    h_set_available(two, -1);
    h_stall(s.client[0]);
    h_send(s.sender, "<message to='bob@localhost' type='chat'><body>1</body></message>");
    h_send(s.sender, "<message to='bob@localhost/one' type='chat'><body>2</body></message>");
    assert_int_equal(h_unhandled(s.sender), 2); /* not at the client yet */
    h_set_available(two, 0);
    h_disconnect(&s.client[0], false);
    h_expect_body(two, "alice@localhost/phone", "1");
    h_expect_body(two, "alice@localhost/phone", "2");
    h_expect_nothing(two);
    h_expect_nothing(s.sender);
    assert_int_equal(h_unhandled(s.sender), 0);
    h_stop(&s.h);
}

static void test_unsent_messages_go_offline(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, ONE);
    h_break(s.client[0]);
    offline_runs = 0;
    h_send(s.sender, "<message to='bob@localhost' type='chat' id='a'><body>1</body></message>");
    h_send(s.sender, "<iq to='bob@localhost/one' type='get' id='b'><x xmlns='y'/></iq>");
    h_send(s.sender, "<message to='bob@localhost/one' type='error' id='c'/>");
    h_expect_nothing(s.sender);
    h_disconnect(&s.client[0], false);
    assert_int_equal(offline_runs, 1);
    h_expect_among(s.sender, "<message _='any' type='error' id='a'/>");
    h_expect_among(s.sender, "<iq _='any' type='error' id='b'/>");
    h_expect_nothing(s.sender);
    h_stop(&s.h);
}

/* A slow reader is waited for, and told to the sender's stream when it has read. */
static void test_receipts_follow_the_bytes(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, ONE);
    h_stall(s.client[0]);
    h_send(s.sender, "<message to='bob@localhost'><body>1</body></message>");
    h_send(s.sender, "<message to='bob@localhost'><body>2</body></message>");
    h_expect_nothing(s.client[0]);
    assert_int_equal(h_unhandled(s.sender), 2);
    unsigned resumed = h_resumed(s.sender);
    h_flow(s.client[0]);
    assert_int_equal(h_unhandled(s.sender), 0);
    assert_int_equal(h_resumed(s.sender), resumed + 2);
    h_expect_body(s.client[0], NULL, "1");
    h_expect_body(s.client[0], NULL, "2");
    h_stop(&s.h);
}

/* --- presence, 8.5.2.1.2, 8.5.2.2.2, 8.5.3 --- */

/* Modules route presence; the harness does it in their place. */
static void send_presence(struct setting *s, const char *attrs)
{
    struct gr_mod *self = h_mod(s->h, "watcher", "alice@localhost");
    char *xml = gr_asprintf("<presence from='alice@localhost/phone' %s/>", attrs);
    struct gr_stanza *st;

    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    gr_free(xml);
    gr_send(self, st);
    h_run(s->h);
}

static void test_presence_to_bare(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, SEVERAL);
    struct hs *quiet = h_login(s.h, "bob@localhost/quiet");
    static const char *const attrs[] = { "to='bob@localhost'",
                                         "to='bob@localhost' type='unavailable'" };
    for (size_t k = 0; k < GR_COUNT(attrs); k++) {
        send_presence(&s, attrs[k]);
        for (int i = 0; i < s.clients; i++) { /* negative ones as well; `to` stays bare */
            struct gr_stanza *st = h_expect(s.client[i], GR_PRESENCE,
                                            k == 0 ? GR_AVAILABLE : GR_UNAVAILABLE,
                                            "alice@localhost/phone");
            assert_string_equal(gr_stanza_to(st)->full, "bob@localhost");
            h_expect_nothing(s.client[i]);
        }
    }
    h_expect_nothing(quiet);
    h_expect_nothing(s.sender);
    h_stop(&s.h);
}

static void test_presence_to_full(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, SEVERAL);
    send_presence(&s, "to='bob@localhost/five'");
    h_expect(s.client[4], GR_PRESENCE, GR_AVAILABLE, "alice@localhost/phone");
    send_presence(&s, "to='bob@localhost/elsewhere'");
    send_presence(&s, "to='bob@localhost/elsewhere' type='unavailable'");
    send_presence(&s, "to='bob@localhost/elsewhere' type='subscribed'");
    send_presence(&s, "to='bob@localhost/elsewhere' type='unsubscribe'");
    send_presence(&s, "to='bob@localhost/elsewhere' type='unsubscribed'");
    for (int i = 0; i < s.clients; i++)
        h_expect_nothing(s.client[i]);
    h_expect_nothing(s.sender);
    h_stop(&s.h);
}

static void test_presence_to_nobody(void **state)
{
    static const enum account accounts[] = { NOBODY, NO_RESOURCE };
    struct setting s;

    (void)state;
    for (size_t i = 0; i < GR_COUNT(accounts); i++) {
        begin(&s, accounts[i]);
        send_presence(&s, "to='bob@localhost'");
        send_presence(&s, "to='bob@localhost' type='unavailable'");
        send_presence(&s, "to='bob@localhost' type='subscribe'");
        send_presence(&s, "to='bob@localhost' type='error'");
        send_presence(&s, "to='localhost'");
        h_expect_nothing(s.sender); /* silence, whether the account exists or not */
        h_stop(&s.h);
    }
}

/* --- iqs, 8.5.2.1.3, 8.5.2.2.3, 8.5.3.1, 8.5.3.2.3 --- */

static void test_iq_to_bare_is_the_servers(void **state)
{
    struct setting s;

    (void)state;
    for (int account = 0; account < ACCOUNTS; account++) {
        begin(&s, (enum account)account);
        struct gr_stanza *st = h_iq(s.sender, "get", "bob@localhost", "<x xmlns='y'/>");
        assert_int_equal(gr_stanza_cond(st), GR_SERVICE_UNAVAILABLE);
        assert_string_equal(gr_stanza_from(st)->full, "bob@localhost");
        h_iq_error(s.sender, "set", "bob@localhost", "<x xmlns='y'/>", GR_SERVICE_UNAVAILABLE);
        h_send(s.sender, "<iq to='bob@localhost' type='result' id='none'/>");
        h_send(s.sender, "<iq to='bob@localhost' type='error' id='0-none'/>");
        for (int i = 0; i < s.clients; i++)
            h_expect_nothing(s.client[i]);
        h_expect_nothing(s.sender);
        h_stop(&s.h);
    }
}

static void test_iq_to_full(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, NEGATIVE);
    h_send(s.sender, "<iq to='bob@localhost/one' type='get' id='7'><x xmlns='y'/></iq>");
    h_expect_xml(s.client[0], "<iq from='alice@localhost/phone' to='bob@localhost/one' type='get' "
                              "id='7'><x xmlns='y'/></iq>");
    h_send(s.client[0], "<iq to='alice@localhost/phone' type='result' id='7'/>");
    h_expect_xml(s.sender, "<iq from='bob@localhost/one' to='alice@localhost/phone' type='result' "
                           "id='7'/>");
    h_iq_error(s.sender, "get", "bob@localhost/elsewhere", "<x xmlns='y'/>",
               GR_SERVICE_UNAVAILABLE);
    h_iq_error(s.sender, "set", "nobody@localhost/x", "<x xmlns='y'/>", GR_SERVICE_UNAVAILABLE);
    h_send(s.sender, "<iq to='bob@localhost/elsewhere' type='result' id='7'/>");
    h_send(s.sender, "<iq to='bob@localhost/elsewhere' type='error' id='7'/>");
    h_expect_nothing(s.sender);
    h_expect_nothing(s.client[0]);
    h_stop(&s.h);
}

static void test_iq_to_host(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, NOBODY);
    struct gr_stanza *st = h_iq(s.sender, "get", "localhost", "<x xmlns='y'/>");
    assert_int_equal(gr_stanza_cond(st), GR_SERVICE_UNAVAILABLE);
    assert_string_equal(gr_stanza_from(st)->full, "localhost");
    assert_non_null(gr_stanza_child(st, "y", "x")); /* what was asked comes with it */
    h_iq_error(s.sender, "get", "localhost/x", "<x xmlns='y'/>", GR_SERVICE_UNAVAILABLE);
    st = h_iq(s.sender, "get", NULL, "<x xmlns='y'/>"); /* one's own account */
    assert_int_equal(gr_stanza_cond(st), GR_SERVICE_UNAVAILABLE);
    assert_string_equal(gr_stanza_from(st)->full, "alice@localhost");
    h_send(s.sender, "<iq to='localhost' type='result' id='0-x'/>");
    h_expect_nothing(s.sender);
    h_stop(&s.h);
}

/* Which of an account's handlers may answer whom (route.h, GR_OWN). */
static void answer(struct gr_mod *self, struct gr_iq_ev *ev)
{
    (void)self;
    gr_iq_reply_empty(ev->req);
}

static void answer_late(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct gr_iq_req **kept = gr_state(self);

    if (*kept != NULL)
        gr_iq_reply_error(*kept, GR_NOT_ACCEPTABLE, "one at a time");
    *kept = ev->req;
}

static const struct gr_iq answerer_iqs[] = {
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_HOST, "test:host", "q", answer),
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT, "test:account", NULL, answer),
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, "test:own", "q", answer),
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT, "test:late", "q", answer_late),
    GR_IQ_END
};
static const struct gr_module answerer = { .name = "answerer", .summary = "test",
                                           .iqs = answerer_iqs,
                                           .state_size = sizeof(struct gr_iq_req *) };

static void test_iq_handlers(void **state)
{
    struct setting s;

    (void)state;
    h_module(&answerer);
    begin(&s, NO_RESOURCE);
    struct hs *bob = h_login(s.h, "bob@localhost/one");
    h_iq_result(s.sender, "set", "localhost", "<q xmlns='test:host'/>", NULL);
    h_iq_error(s.sender, "set", "localhost", "<r xmlns='test:host'/>", GR_SERVICE_UNAVAILABLE);
    h_iq_error(s.sender, "get", "bob@localhost", "<q xmlns='test:host'/>", GR_SERVICE_UNAVAILABLE);
    h_iq_result(s.sender, "get", "bob@localhost", "<any xmlns='test:account'/>", NULL);
    h_iq_error(s.sender, "set", "bob@localhost", "<any xmlns='test:account'/>", GR_NOT_ALLOWED);
    h_iq_error(s.sender, "get", "localhost", "<any xmlns='test:account'/>", GR_SERVICE_UNAVAILABLE);
    h_iq_result(s.sender, "get", NULL, "<q xmlns='test:own'/>", NULL);
    h_iq_result(s.sender, "set", "alice@localhost", "<q xmlns='test:own'/>", NULL);
    h_iq_error(s.sender, "get", "bob@localhost", "<q xmlns='test:own'/>", GR_SERVICE_UNAVAILABLE);
    h_iq_error(s.sender, "set", "bob@localhost", "<q xmlns='test:own'/>", GR_FORBIDDEN);
    h_send(s.sender, "<iq type='get' id='1' to='bob@localhost'><q xmlns='test:late'/></iq>");
    h_send(s.sender, "<message to='bob@localhost/one'><body>meanwhile</body></message>");
    h_expect_nothing(s.sender);
    h_expect_body(bob, NULL, "meanwhile");
    assert_int_equal(h_unhandled(s.sender), 1); /* until it is answered */
    h_send(s.sender, "<iq type='get' id='2' to='bob@localhost'><q xmlns='test:late'/></iq>");
    h_expect_xml(s.sender, "<iq type='error' id='1' from='bob@localhost' to='alice@localhost/phone'"
                           " _='any'/>");
    struct gr_iq_req **kept = gr_state(h_mod(s.h, "answerer", "bob@localhost"));
    gr_iq_reply_empty(*kept);
    h_run(s.h);
    h_expect_xml(s.sender, "<iq type='result' id='2' from='bob@localhost' "
                           "to='alice@localhost/phone'/>");
    assert_int_equal(h_unhandled(s.sender), 0);
    h_stop(&s.h);
}

static enum gr_verdict on_result(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_jid *bob;
    struct gr_stanza *st;

    if (gr_stanza_type(ev->stanza) != GR_RESULT)
        return GR_OK;
    assert_int_equal(gr_jid_parse("bob@localhost/one", 17, &bob), 0);
    st = gr_message_new(GR_MSG_CHAT, ev->to, bob);
    gr_el_add(st, NULL, NULL, "body");
    gr_send_in(self, &ev->ev, st);
    gr_jid_free(&bob);
    return GR_OK;
}

static const struct gr_hook teller_hooks[] = {
    GR_ON(user_receive_iq, GR_PRIO_NORMAL, on_result), GR_HOOK_END
};
static const struct gr_module teller = { .name = "teller", .summary = "test",
                                         .hooks = teller_hooks };

/* What a handler sends on behalf of the answer belongs to the request as well; and a receipt that
 * outlives its session comes home to nobody. */
static void test_what_follows_from_an_answer(void **state)
{
    struct setting s;

    (void)state;
    h_module(&answerer);
    h_module(&teller);
    begin(&s, ONE);
    h_stall(s.client[0]);
    h_iq_result(s.sender, "get", "localhost", "<q xmlns='test:host'/>", NULL);
    assert_int_equal(h_unhandled(s.sender), 1);
    h_flow(s.client[0]);
    assert_int_equal(h_unhandled(s.sender), 0);
    h_expect(s.client[0], GR_MESSAGE, GR_MSG_CHAT, "alice@localhost/phone");
    h_stall(s.client[0]);
    h_iq_result(s.sender, "get", "localhost", "<q xmlns='test:host'/>", NULL);
    h_send(s.sender, "<message to='bob@localhost/one'><body>bye</body></message>");
    h_disconnect(&s.sender, true);
    h_flow(s.client[0]);
    h_expect(s.client[0], GR_MESSAGE, GR_MSG_CHAT, "alice@localhost/phone");
    h_expect_body(s.client[0], "alice@localhost/phone", "bye");
    h_stop(&s.h);
}

/* Whoever asks gets the answer from whom it asked, an error, or after the time NULL. */
static struct gr_stanza *asked;
static unsigned answers;

static void on_answer(struct gr_mod *self, void *data, const struct gr_stanza *reply)
{
    (void)self;
    assert_string_equal(data, "data");
    answers++;
    gr_stanza_unref(&asked);
    asked = reply != NULL ? gr_stanza_copy(reply) : NULL;
}

static void ask(struct setting *s, const char *from, const char *to)
{
    struct gr_mod *self = h_mod(s->h, "watcher", from);
    struct gr_stanza *st = gr_iq_new(GR_GET, h_parse_jid(s->h, from), h_parse_jid(s->h, to), NULL);

    gr_el_add(st, NULL, "test:ask", "q");
    answers = 0;
    gr_iq_ask(self, st, 5000, on_answer, gr_strdup("data"));
    h_run(s->h);
}

static void test_asking(void **state)
{
    static const char *const askers[] = { "localhost", "carol@localhost" };
    struct setting s;

    (void)state;
    begin(&s, ONE);
    for (size_t i = 0; i < GR_COUNT(askers); i++) {
        ask(&s, askers[i], "bob@localhost/one");
        struct gr_stanza *st = h_expect(s.client[0], GR_IQ, GR_GET, askers[i]);
        const char *id = gr_stanza_id(st);
        h_sendf(s.sender, "<iq type='result' to='%s' id='%s'/>", askers[i], id); /* not asked */
        assert_int_equal(answers, 0);
        h_sendf(s.client[0], "<iq type='result' to='%s' id='%s'><r xmlns='test:ask'/></iq>",
                askers[i], id);
        assert_int_equal(answers, 1);
        h_assert_xml(asked, "<iq _='more' type='result' from='bob@localhost/one'>"
                            "<r xmlns='test:ask'/></iq>");
        h_sendf(s.client[0], "<iq type='result' to='%s' id='%s'/>", askers[i], id); /* again */
        h_advance(s.h, 10000);
        assert_int_equal(answers, 1);
        ask(&s, askers[i], "bob@localhost/gone");
        assert_int_equal(answers, 1);
        assert_int_equal(gr_stanza_type(asked), GR_TYPE_ERROR);
        ask(&s, askers[i], "bob@localhost/one");
        h_expect(s.client[0], GR_IQ, GR_GET, askers[i]);
        h_advance(s.h, 4999);
        assert_int_equal(answers, 0);
        h_advance(s.h, 1);
        assert_int_equal(answers, 1);
        assert_null(asked);
    }
    gr_stanza_unref(&asked);
    h_stop(&s.h);
}

/* What the sender was told about a stanza with a durable copy. */
static int told;

static void on_handled(struct gr_mod *self, void *data, bool delivered)
{
    (void)self;
    assert_string_equal(data, "copy");
    told = delivered ? 1 : 0;
}

static void send_tracked(struct setting *s, const char *to)
{
    struct gr_mod *self = h_mod(s->h, "watcher", "bob@localhost");
    struct gr_stanza *st = gr_message_new(GR_MSG_CHAT, h_parse_jid(s->h, "alice@localhost"),
                                          h_parse_jid(s->h, to));

    gr_el_add_text(st, NULL, NULL, "body", "stored");
    told = -1;
    gr_send_tracked(self, st, on_handled, gr_strdup("copy"));
    h_run(s->h);
}

static void test_tracked_stanzas(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, ONE);
    send_tracked(&s, "bob@localhost/one");
    assert_int_equal(told, 1);
    h_expect_body(s.client[0], "alice@localhost", "stored");
    h_stall(s.client[0]);
    send_tracked(&s, "bob@localhost");
    assert_int_equal(told, -1);
    h_flow(s.client[0]);
    assert_int_equal(told, 1);
    h_drop_all(s.client[0]);
    h_stall(s.client[0]);
    send_tracked(&s, "bob@localhost");
    offline_runs = 0;
    h_disconnect(&s.client[0], false); /* the copy stays; no second way is tried */
    assert_int_equal(told, 0);
    assert_int_equal(offline_runs, 0);
    send_tracked(&s, "nobody@localhost/x");
    assert_int_equal(told, 1); /* answered with an error */
    h_stop(&s.h);
}

/* --- sessions and resources --- */

static void test_conflict_policies(void **state)
{
    (void)state;
    struct h *h = h_start("[host localhost]\nresource_conflict = kick_old\n");
    struct hs *old = h_login(h, "bob@localhost/x");
    struct hs *now = h_login(h, "bob@localhost/x");
    h_expect_closed(&old, "conflict");
    h_send(now, "<message to='bob@localhost/x'><body>me</body></message>");
    h_expect_body(now, "bob@localhost/x", "me");
    h_stop(&h);

    h = h_start("[host localhost]\nresource_conflict = refuse\n");
    old = h_login(h, "bob@localhost/x");
    now = h_connect(h, "bob@localhost");
    assert_int_equal(h_bind(now, "x"), GR_CONFLICT);
    assert_null(h_closed(old));
    assert_int_equal(h_bind(now, "y"), GR_COND_NONE);
    h_stop(&h);

    h = h_start("[host localhost]\nresource_conflict = new_resource\n");
    old = h_login(h, "bob@localhost/x");
    now = h_login(h, "bob@localhost/x");
    assert_string_not_equal(h_full(now), "bob@localhost/x");
    assert_null(h_closed(old));
    h_stop(&h);
}

static void test_too_many_sessions(void **state)
{
    (void)state;
    struct h *h = h_start("[host localhost]\nmax_sessions = 2\n");
    struct hs *one = h_login(h, "bob@localhost/1");
    struct hs *two = h_login(h, "bob@localhost/2");
    struct hs *three = h_login(h, "bob@localhost/3");
    h_expect_closed(&one, "conflict");
    assert_null(h_closed(two));
    assert_null(h_closed(three));
    h_stop(&h);
}

static void test_resources(void **state)
{
    (void)state;
    struct h *h = h_start(NULL);
    struct hs *a = h_connect(h, "bob@localhost"), *b = h_connect(h, "bob@localhost");
    assert_int_equal(h_bind(a, NULL), GR_COND_NONE);
    assert_int_equal(h_bind(b, ""), GR_COND_NONE);
    assert_string_not_equal(h_full(a), h_full(b));
    struct hs *c = h_connect(h, "bob@localhost");
    char *longest = gr_alloc(GR_JID_PART_MAX + 2);
    memset(longest, 'r', GR_JID_PART_MAX + 1);
    assert_int_equal(h_bind(c, longest), GR_BAD_REQUEST);
    longest[GR_JID_PART_MAX] = '\0';
    assert_int_equal(h_bind(c, longest), GR_COND_NONE);
    gr_free(longest);
    h_send(a, "<message to='bob@localhost'><body>x</body></message>"); /* none is available yet */
    h_expect_nothing(b);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(test_table_is_complete),
        cmocka_unit_test(test_table_account_does_not_exist),
        cmocka_unit_test(test_table_no_active_resources),
        cmocka_unit_test(test_table_only_negative_resources),
        cmocka_unit_test(test_table_one_non_negative_resource),
        cmocka_unit_test(test_table_several_non_negative_resources),
        cmocka_unit_test(test_connected_resource_gets_what_names_it),
        cmocka_unit_test(test_message_without_to),
        cmocka_unit_test(test_from_is_the_sender),
        cmocka_unit_test(test_messages_arrive_in_order),
        cmocka_unit_test(test_message_to_host),
        cmocka_unit_test(test_other_domains),
        cmocka_unit_test(test_unsent_messages_find_another_resource),
        cmocka_unit_test(test_unsent_messages_go_offline),
        cmocka_unit_test(test_receipts_follow_the_bytes),
        cmocka_unit_test(test_presence_to_bare),
        cmocka_unit_test(test_presence_to_full),
        cmocka_unit_test(test_presence_to_nobody),
        cmocka_unit_test(test_iq_to_bare_is_the_servers),
        cmocka_unit_test(test_iq_to_full),
        cmocka_unit_test(test_iq_to_host),
        cmocka_unit_test(test_iq_handlers),
        cmocka_unit_test(test_what_follows_from_an_answer),
        cmocka_unit_test(test_asking),
        cmocka_unit_test(test_tracked_stanzas),
        cmocka_unit_test(test_conflict_policies),
        cmocka_unit_test(test_too_many_sessions),
        cmocka_unit_test(test_resources),
    };

    return H_RUN("delivery", cases);
}

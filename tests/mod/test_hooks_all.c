/* tests/mod/test_hooks_all.c: every hook of the list. Two modules handle all of them, one behind the
 * other. A day in the life of a server with every shipped module makes each hook run that does not wait
 * for its owner, and no other; scope, state of the session and origin are checked at every run, and a
 * handler that fails changes nothing of it. What each verdict does to a chain is shown for each hook by
 * itself. Orders and effects in particular: test_hooks_order.c, test_hooks_session.c,
 * test_mission_hooks.c. */
#include "harness.h"

#include "admin_data.h"
#include "command.h"
#include "loop/loop.h"
#include "mod/hook.h"
#include "mod/node.h"
#include "mod/run.h"
#include "net/conn.h"
#include "store/store.h"
#include "stream/c2s.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- the two modules --- */

static struct {
    enum gr_verdict first;           /* what the first one returns, of whatever hook */
    enum gr_verdict second[GR_HOOK_COUNT];
    bool hold;                       /* the first one holds, then returns `first` */
    struct gr_hold *held;
    bool ran[GR_HOOK_COUNT];
    char trace[65536];               /* of the second one */
    char wrong[1024];
} rec;

static void wrong(enum gr_hook_id id, const char *what)
{
    size_t n = strlen(rec.wrong);

    snprintf(rec.wrong + n, sizeof(rec.wrong) - n, "%s: %s\n", hook_name(id), what);
}

static const struct gr_session *of_stanza(const void *ev)
{
    return ((const struct gr_stanza_ev *)ev)->session;
}
static const struct gr_session *of_session(const void *ev)
{
    return ((const struct gr_session_ev *)ev)->session;
}
static const struct gr_session *of_foreign(const void *ev)
{
    return ((const struct gr_foreign_ev *)ev)->session;
}
static const struct gr_session *of_features(const void *ev)
{
    return ((const struct gr_features_ev *)ev)->session;
}
static const struct gr_session *of_inline(const struct gr_inline_ev *ev)
{
    return ev->session;
}
static const struct gr_session *of_none(const void *ev)
{
    (void)ev;
    return NULL;
}
#define SESSION_OF(ev)                                                                             \
    _Generic((ev), struct gr_stanza_ev *: of_stanza, struct gr_session_ev *: of_session,           \
             struct gr_foreign_ev *: of_foreign, struct gr_features_ev *: of_features,             \
             struct gr_inline_ev *: of_inline, default: of_none)(ev)

/* In which states of its session it may run; 0: it has none. */
#define ON(state) (1u << (state))
static unsigned states_of(enum gr_hook_id id)
{
    const char *name = hook_name(id);

    switch (id) {
    case GR_HOOK_user_send_xmlel:
        return ON(GR_S_CONNECTED) | ON(GR_S_AUTHENTICATED) | ON(GR_S_BOUND);
    case GR_HOOK_c2s_stream_features: /* the last: a login has brought a resource with it */
        return ON(GR_S_CONNECTED) | ON(GR_S_AUTHENTICATED) | ON(GR_S_BOUND);
    case GR_HOOK_unacknowledged_message:
        return ON(GR_S_BOUND);
    case GR_HOOK_auth_failed:
    case GR_HOOK_sasl2_stream_features:
    case GR_HOOK_bind2_stream_features:
    case GR_HOOK_sasl2_start:
        return ON(GR_S_CONNECTED);
    case GR_HOOK_roster_get_versioning_feature:
        return ON(GR_S_AUTHENTICATED) | ON(GR_S_BOUND);
    case GR_HOOK_sasl2_success:
    case GR_HOOK_user_open_session:
    case GR_HOOK_session_opening_allowed_for_user:
    case GR_HOOK_forbidden_session:
        return ON(GR_S_AUTHENTICATED);
    case GR_HOOK_user_terminate:
    case GR_HOOK_sm_remove_connection:
    case GR_HOOK_reroute_unacked_messages:
        return ON(GR_S_CLOSING);
    case GR_HOOK_unset_presence:
        return ON(GR_S_BOUND) | ON(GR_S_CLOSING);
    case GR_HOOK_xmpp_send_element:
        return ON(GR_S_CONNECTED) | ON(GR_S_AUTHENTICATED) | ON(GR_S_BOUND);
    case GR_HOOK_presence_probe: /* a session's own first one */
    case GR_HOOK_roster_out_subscription:
        return ON(GR_S_BOUND);
    default:
        return strncmp(name, "user_", 5) == 0 || strncmp(name, "xmpp_", 5) == 0 ||
               id == GR_HOOK_sm_register_connection || id == GR_HOOK_set_presence ||
               id == GR_HOOK_foreign_event || id == GR_HOOK_bind2_enable_features || id == GR_HOOK_resend_offline_messages
                   ? ON(GR_S_BOUND) : 0;
    }
}

static void check(struct gr_mod *self, enum gr_hook_id id, const struct gr_ev *ev,
                  const struct gr_session *s)
{
    unsigned states = states_of(id);

    if (hook_is_global(id) ? ev->host != NULL : ev->host != gr_mod_host(self))
        wrong(id, "whose chain is it?");
    /* These are about stanzas that arrived long ago. */
    if (hook_is_stanza(id) && ev->acc == NULL && id != GR_HOOK_unacknowledged_message &&
        id != GR_HOOK_filter_unacknowledged_messages)
        wrong(id, "a stanza without accumulator");
    if ((s != NULL) != (states != 0) && id != GR_HOOK_presence_probe)
        wrong(id, s != NULL ? "it has a session" : "it has no session");
    if (s != NULL && gr_session_host(s) != ev->host)
        wrong(id, "the session's host is another one");
    if (s != NULL && (states & ON(gr_session_state(s))) == 0)
        wrong(id, "not in this state of the session");
    if (s != NULL && gr_session_jid(s) != NULL && loop_home(gr_session_jid(s)->hash) != loop_self())
        wrong(id, "not on the session's home loop");
    if (strncmp(hook_name(id), "user_send_", 10) == 0 && gr_acc_origin(ev->acc) != GR_FROM_C2S)
        wrong(id, "no client has sent that");
}

static bool checking;                /* events are true ones */

static enum gr_verdict first_of_all(struct gr_mod *self, enum gr_hook_id id, struct gr_ev *ev,
                                    const struct gr_session *s)
{
    rec.ran[id] = true;
    if (checking)
        check(self, id, ev, s);
    if (rec.hold)
        rec.held = gr_hold(self, ev);
    return rec.first;
}

static enum gr_verdict second_of_all(struct gr_mod *self, enum gr_hook_id id, struct gr_ev *ev,
                                     const struct gr_session *s)
{
    size_t n = strlen(rec.trace);

    (void)self, (void)s;
    snprintf(rec.trace + n, sizeof(rec.trace) - n, "%s@%s ", hook_name(id),
             ev->host != NULL ? gr_host_name(ev->host) : "");
    return rec.second[id];
}

#define DO_V return
#define DO_A return
#define DO_N (void)
#define HANDLERS(hook, scope, kind, asyn, event)                                                   \
    static GR_HOOK_RETURN_##kind first_##hook(struct gr_mod *self, struct event *ev)               \
    {                                                                                              \
        DO_##kind first_of_all(self, GR_HOOK_##hook, &ev->ev, checking ? SESSION_OF(ev) : NULL);   \
    }                                                                                              \
    static GR_HOOK_RETURN_##kind second_##hook(struct gr_mod *self, struct event *ev)              \
    {                                                                                              \
        DO_##kind second_of_all(self, GR_HOOK_##hook, &ev->ev, NULL);                              \
    }
GR_HOOK_LIST(HANDLERS)

#define FIRST(hook, scope, kind, asyn, event) GR_ON(hook, 1, first_##hook),
#define SECOND(hook, scope, kind, asyn, event) GR_ON(hook, 2, second_##hook),
static const struct gr_hook first_hooks[] = { GR_HOOK_LIST(FIRST) GR_HOOK_END };
static const struct gr_hook second_hooks[] = { GR_HOOK_LIST(SECOND) GR_HOOK_END };
static const struct gr_module first = { .name = "first", .summary = "test", .hooks = first_hooks };
static const struct gr_module second = { .name = "second", .summary = "test",
                                         .hooks = second_hooks };

/* --- a day in the life of a server --- */

#define MODULES "[mod_disco]\n[mod_roster]\nversioning = yes\n[mod_presence]\n[mod_last]\n"        \
                "[mod_offline]\n[mod_vcard]\n[mod_private]\n[mod_sessiondb]\n"                     \
                "[mod_privacy]\n[mod_blocking]\n[mod_mam]\n[mod_carboncopy]\n[mod_caps]\n"        \
                "[mod_smart_markers]\n[mod_offline_chatmarkers]\n[mod_inbox]\n"                    \
                "[mod_adhoc]\n[mod_amp]\n[mod_auth_token]\n"                                     \
                "[mod_ping]\nsend_pings = yes\n[mod_stream_management]\n[mod_csi]\n"   \
                "[mod_event_pusher]\npush_virtual_hosts = push.example\n"
#define MAM "urn:xmpp:mam:2"
#define ROSTER(x) "<query xmlns='jabber:iq:roster'>" x "</query>"
#define DISCO(what) "<query xmlns='http://jabber.org/protocol/disco#" what "'/>"

static void on_answer(void *arg, const char *error, const struct buf *result)
{
    (void)arg, (void)result;
    assert_null(error);
}

static void command(struct h *h, const char *const *words, size_t count)
{
    loop_enter(loop_main());
    command_run(words, count, on_answer, NULL);
    loop_enter(loop_at(0));
    h_run(h);
}

static void say(struct h *h, int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    h_run(h);
}

static const char header[] = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client'"
                             " xmlns:stream='http://etherx.jabber.org/streams'>";

/* The client's end of a true stream. */
static int open_stream(struct h *h)
{
    static const struct listen_opts unlimited;
    struct sockaddr_storage peer = { .ss_family = AF_INET };
    uint8_t key[16];
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    loop_enter(loop_at(0));
    peers_key(&peer, key, NULL);
    assert_true(peers_admit(key, &unlimited));
    c2s_accept(CONF_TLS_OPTIONAL, fd[0], &peer, false);
    say(h, fd[1], header);
    return fd[1];
}

/* What happens before there is a session, and a connection that just goes away. */
static void stream(struct h *h)
{
    static const char auth[] = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"
                               "%s</auth>";
    char line[256];
    int fd = open_stream(h);

    snprintf(line, sizeof(line), auth, "AGJvYgB3cm9uZw=="); /* bob, wrong */
    say(h, fd, line);
    snprintf(line, sizeof(line), auth, "AGJvYgBzZWNyZXQ="); /* bob, secret */
    say(h, fd, line);
    say(h, fd, header);
    say(h, fd, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    say(h, fd, "<x xmlns='t'/>");
    shutdown(fd, SHUT_WR);
    h_run(h);
    close(fd);
}

/* Everything in one request, after a token that nobody has given out. */
static void login_at_once(struct h *h)
{
    static const char token[] =
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><initial-response>"
        "Ym9iAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA</initial-response>"
        "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/><fast xmlns='urn:xmpp:fast:0'/>"
        "</authenticate>";
    static const char plain[] =
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>"
        "AGJvYgBzZWNyZXQ=</initial-response><bind xmlns='urn:xmpp:bind:0'/></authenticate>";
    int fd = open_stream(h);

    say(h, fd, token);
    say(h, fd, plain);
    say(h, fd, "</stream:stream>");
    close(fd);
}

/* A token that somebody else has issued. */
#define SHARED_KEY "sixteen bytes, or more"

static enum gr_verdict give_key(struct gr_mod *self, struct gr_key_ev *ev)
{
    (void)self;
    if (strcmp(ev->name, "provision_pre_shared") == 0) {
        ev->key = SHARED_KEY;
        ev->len = sizeof(SHARED_KEY) - 1;
    }
    return GR_OK;
}

static const struct gr_hook key_hooks[] = { GR_ON(get_key, 50, give_key), GR_HOOK_END };
static const struct gr_module keys = { .name = "keys", .hooks = key_hooks };

static void provision(struct h *h)
{
    static const char body[] = "provision\0new@localhost\0009999999999\0<vCard xmlns='vcard-temp'/>";
    char token[sizeof(body) + 97], text[512], line[1024];
    uint8_t mac[GR_HASH_MAX];
    int fd = open_stream(h);

    gr_hmac("sha-384", SHARED_KEY, sizeof(SHARED_KEY) - 1, body, sizeof(body) - 1, mac);
    memcpy(token, body, sizeof(body));
    gr_hex_encode(token + sizeof(body), mac, 48);
    gr_base64_encode(text, token, sizeof(body) + 96);
    snprintf(line, sizeof(line), "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X-OAUTH'>%s"
             "</auth>", text);
    say(h, fd, line);
    say(h, fd, "</stream:stream>");
    close(fd);
}

static void on_set(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask, (void)a;
}

static void set_password(struct h *h)
{
    struct gr_mod *self = h_mod(h, "first", "bob@localhost");

    gr_auth_set_password(self, gr_ask_new(self, 1, on_set), "bob", "other");
    h_run(h);
}

/* A client explains what it announces (XEP-0115). */
static void capabilities(struct hs *s)
{
    struct gr_stanza *st;

    h_send(s, "<presence><c xmlns='http://jabber.org/protocol/caps' hash='h' node='n' ver='v'/>"
           "</presence>");
    while ((st = h_next(s)) != NULL && gr_stanza_kind(st) != GR_IQ)
        continue;
    assert_non_null(st);
    h_sendf(s, "<iq type='result' to='localhost' id='%s'><query "
            "xmlns='http://jabber.org/protocol/disco#info'/></iq>", gr_stanza_id(st));
}

static void stanzas(struct h *h, struct hs *a, struct hs *b)
{
    struct gr_session *s;

    h_send(a, "<message to='bob@localhost/b'><body>1</body></message>");
    h_send(a, "<message to='bob@localhost/none' type='chat'><body>2</body></message>");
    h_send(a, "<message to='off@localhost'><body>3</body></message>");
    h_send(a, "<message to='off@localhost' type='groupchat'><body>4</body></message>");
    h_send(a, "<message to='nobody@localhost'><body>5</body></message>");
    h_send(a, "<message to='nurse@two.example'><body>6</body></message>");
    h_send(a, "<presence to='bob@localhost' type='subscribe'/>");
    h_send(b, "<presence to='alice@localhost' type='subscribed'/>");
    h_send(a, "<presence to='bob@localhost' type='probe'/>");
    h_send(a, "<x xmlns='t'/>");
    h_send(a, "<message to='bob@localhost'><body>9</body><amp xmlns='http://jabber.org/protocol/amp'>"
           "<rule condition='deliver' action='drop' value='none'/></amp></message>");
    h_iq(a, "set", "localhost", "<command xmlns='http://jabber.org/protocol/commands' node='x'/>");
    h_iq(a, "set", NULL, "<command xmlns='http://jabber.org/protocol/commands' node='x'/>");
    h_iq(a, "get", "localhost", DISCO("info"));
    h_iq(a, "get", "localhost", DISCO("items"));
    h_iq(a, "get", NULL, DISCO("info"));
    h_iq(a, "get", NULL, DISCO("items"));
    h_iq(a, "get", NULL, ROSTER(""));
    h_iq(a, "set", NULL, ROSTER("<item jid='carol@localhost'/>"));
    h_iq(a, "get", "bob@localhost", "<query xmlns='jabber:iq:last'/>");
    h_iq(a, "set", NULL, "<vCard xmlns='vcard-temp'/>");
    h_send(a, "<message to='bob@localhost' id='7'><body>7</body></message>");
    h_send(a, "<message to='bob@localhost'><retract xmlns='urn:xmpp:message-retract:1' id='7'/>"
              "</message>");
    h_iq(a, "set", NULL, "<prefs xmlns='" MAM "' default='always'/>");
    h_iq(a, "get", NULL, "<prefs xmlns='" MAM "'/>");
    h_iq(a, "set", NULL, "<query xmlns='" MAM "'><set xmlns='" GR_NS_RSM "'/></query>");
    h_iq(a, "get", NULL, "<query xmlns='esl:xmpp:smart-markers:0' peer='bob@localhost'/>");
    h_iq(a, "get", NULL, "<inbox xmlns='urn:xmpp:inbox:1'/>");
    s = h_session(a);
    gr_session_deliver(NULL, s, gr_nonza_new("t", "y"));
    h_run(h);
    assert_int_equal(gr_session_post(NULL, h_jid(a), gr_session_id(s), "t", NULL, 0), 0);
    h_run(h);
    h_drop_all(a);
    capabilities(a);
    h_advance(h, 60000); /* a ping that nobody answers */
    h_advance(h, 60000);
}

static void privacy(struct h *h, struct hs *a, struct hs *b)
{
    struct hs *other = h_login(h, "alice@localhost/other"), *off = h_login(h, "off@localhost/o");

    h_iq(off, "set", NULL, "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>");
    h_disconnect(&off, true);
    h_send(a, "<message to='off@localhost'><body>7</body></message>");
    h_iq(a, "set", NULL, "<block xmlns='urn:xmpp:blocking'><item jid='x.example'/></block>");
    h_iq(other, "set", NULL, "<block xmlns='urn:xmpp:blocking'><item jid='y.example'/></block>");
    h_iq(a, "get", NULL, "<blocklist xmlns='urn:xmpp:blocking'/>");
    h_send(b, "<message to='alice@localhost'><body>8</body></message>");
    h_disconnect(&other, true);
}

/* Its connection breaks, then its place is taken. */
static void waits_for_its_client(struct h *h, struct hs *from)
{
    struct hs *d = h_login(h, "bob@localhost/d");

    rec.second[GR_HOOK_user_send_xmlel] = GR_OK; /* it is mod_stream_management's */
    h_send(d, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    rec.second[GR_HOOK_user_send_xmlel] = GR_STOP;
    h_send(from, "<message to='bob@localhost/d'><body>7</body></message>");
    h_disconnect(&d, false);
    d = h_login(h, "bob@localhost/d");
    h_disconnect(&d, true);
}

static void push(struct h *h, struct hs *a)
{
    struct hs *off = h_login(h, "off@localhost/phone");

    h_iq(off, "set", NULL, "<enable xmlns='urn:xmpp:push:0' jid='push.example' node='1'/>");
    h_disconnect(&off, true);
    h_send(a, "<message to='off@localhost' type='chat'><body>9</body></message>");
}

static void ends(struct h *h, struct hs *a, struct hs *b)
{
    struct hs *c = h_connect(h, "bob@localhost");

    rec.second[GR_HOOK_user_open_session] = GR_STOP;
    assert_int_equal(h_bind(c, "refused"), GR_NOT_ALLOWED);
    rec.second[GR_HOOK_user_open_session] = GR_OK;
    h_disconnect(&c, true);
    gr_session_close(NULL, h_session(b), "reset", NULL, false);
    h_run(h);
    h_expect_closed(&b, "reset");
    h_disconnect(&a, false);
    assert_int_equal(h_user_delete(h, "off@localhost"), GR_R_OK);
}

/* What a server that died has left in mod_sessiondb's rows. */
static void on_cleaned(void *arg)
{
    (void)arg;
}

static void another_server(struct h *h)
{
    static const char key[] = "carol@localhost\0phone", login[8];
    struct store_txn *t = store_txn_new();

    loop_enter(loop_at(0));
    store_txn_add(t, STORE_PUT, store_coll("sessiondb_index", GR_COLL_MAP), "other", key,
                  sizeof(key) - 1, login, sizeof(login));
    store_commit(t, NULL);
    h_run(h);
    node_cleanup("other", on_cleaned, NULL);
    h_run(h);
}

static void day(void)
{
    char path[] = "/tmp/grapnel-hooks-XXXXXX", file[64];

    rec.trace[0] = rec.wrong[0] = '\0';
    rec.second[GR_HOOK_user_send_xmlel] = GR_STOP; /* else the stream ends */
    checking = true;
    h_module(&first);
    h_module(&second);
    h_module(&admin_data_module);
    h_module(&keys);
    struct h *h = h_start("[host localhost]\nplain = always\nsasl2 = always\n"
                          "scram_iterations = 4096\n[host two.example]\n" MODULES);
    h_user_create(h, "bob@localhost", "secret");
    h_user_create(h, "off@localhost", "secret");
    stream(h);
    login_at_once(h);
    provision(h);
    struct hs *a = h_online(h, "alice@localhost/a"), *b = h_online(h, "bob@localhost/b");
    stanzas(h, a, b);
    push(h, a);
    privacy(h, a, b);
    another_server(h);
    waits_for_its_client(h, a);
    ends(h, a, b);
    assert_non_null(mkdtemp(path));
    snprintf(file, sizeof(file), "%s/x", path);
    command(h, (const char *[]){ "token", "issue", "bob@localhost" }, 3);
    set_password(h);
    command(h, (const char *[]){ "user", "export", "bob@localhost", file }, 4);
    command(h, (const char *[]){ "host", "purge", "two.example", "--yes", "two.example" }, 5);
    unlink(file);
    rmdir(path);
    h_stop(&h);
    checking = false;
    if (rec.wrong[0] != '\0')
        fail_msg("%s", rec.wrong);
}

/* --- the list says who waits for an owner --- */

static bool waits(enum gr_hook_id id, const char *list)
{
    char name[80];

    snprintf(name, sizeof(name), "X(%s,", hook_name(id));
    const char *at = strstr(list, name);
    assert_non_null(at);
    at = strstr(at, "/* ");
    return at[3] == '[';
}

static void every_hook_runs(void **state)
{
    static char list[65536];
    const char *src = getenv("GRAPNEL_SRC");
    char path[512];

    (void)state;
    snprintf(path, sizeof(path), "%s/include/grapnel/hook_list.h", src != NULL ? src : ".");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    list[fread(list, 1, sizeof(list) - 1, f)] = '\0';
    fclose(f);
    memset(&rec, 0, sizeof(rec));
    day();
    for (int id = 0; id < GR_HOOK_COUNT; id++)
        if (rec.ran[id] == waits((enum gr_hook_id)id, list))
            wrong((enum gr_hook_id)id, rec.ran[id] ? "it waits for its owner, and runs"
                                                   : "it did not run");
    assert_string_equal(rec.wrong, "");
}

/* A whole day with handlers that fail in every hook is a day like any other for those behind them. */
static void failing_changes_nothing(void **state)
{
    static const enum gr_verdict failing[] = { GR_FAIL, GR_PENDING, (enum gr_verdict)77 };

    (void)state;
    memset(&rec, 0, sizeof(rec));
    day();
    char *usual = gr_strdup(rec.trace);
    assert_true(strlen(usual) + 1 < sizeof(rec.trace));
    assert_non_null(strstr(usual, "user_send_message@localhost push_event@localhost filter_packet@ "
                                  "filter_local_packet@"));
    for (size_t i = 0; i < GR_COUNT(failing); i++) {
        rec.first = failing[i];
        day();
        assert_string_equal(rec.trace, usual);
    }
    gr_free(usual);
}

/* --- each verdict, each hook --- */

static struct {
    int done;
    enum gr_verdict verdict;
    unsigned failed;
} end;

static void on_end(struct gr_ev *ev, enum gr_verdict verdict)
{
    end.done++;
    end.verdict = verdict;
    end.failed = ev->failed;
}

static bool is_notice[GR_HOOK_COUNT], may_wait[GR_HOOK_COUNT];

static void know_kinds(void)
{
#define NOTICE_V false
#define NOTICE_A false
#define NOTICE_N true
#define WAIT_0 false
#define WAIT_P true
#define KNOW(hook, scope, kind, asyn, event)                                                       \
    is_notice[GR_HOOK_##hook] = NOTICE_##kind;                                                     \
    may_wait[GR_HOOK_##hook] = WAIT_##asyn;
    GR_HOOK_LIST(KNOW)
}

/* An event of nothing: only the two look at it. */
static union run_event event;

static bool run(struct h *h, enum gr_hook_id id, enum gr_verdict verdict)
{
    struct gr_ev *ev = &event.ev;

    memset(&event, 0, sizeof(event));
    memset(&end, 0, sizeof(end));
    rec.trace[0] = '\0';
    rec.first = verdict;
    ev->host = hook_is_global(id) ? NULL : gr_mod_host(h_mod(h, "first", "localhost"));
    hook_run(id, ev, on_end);
    return rec.trace[0] != '\0';
}

static void every_verdict_of_every_hook(void **state)
{
    static const enum gr_verdict all[] = { GR_OK, GR_STOP, GR_DROP, GR_FAIL, GR_PENDING,
                                           (enum gr_verdict)77 };

    (void)state;
    memset(&rec, 0, sizeof(rec));
    know_kinds();
    h_module(&first);
    h_module(&second);
    struct h *h = h_start(NULL);
    for (int i = 0; i < GR_HOOK_COUNT; i++) {
        enum gr_hook_id id = (enum gr_hook_id)i;
        bool filter = id == GR_HOOK_filter_packet || id == GR_HOOK_filter_local_packet;
        rec.second[id] = GR_STOP; /* the core's own handlers are not for events of nothing */
        for (size_t k = 0; k < GR_COUNT(all); k++) {
            enum gr_verdict v = is_notice[id] ? GR_OK : all[k];
            bool stops = v == GR_STOP || (v == GR_DROP && filter);
            assert_int_equal(run(h, id, all[k]), !stops);
            assert_int_equal(end.done, 1);
            assert_int_equal(end.verdict, is_notice[id] ? GR_OK : stops ? v : GR_STOP);
            assert_int_equal(end.failed, v != GR_OK && !stops);
        }
    }
    h_stop(&h);
}

static void every_hook_that_may_wait(void **state)
{
    (void)state;
    memset(&rec, 0, sizeof(rec));
    know_kinds();
    h_module(&first);
    h_module(&second);
    struct h *h = h_start(NULL);
    for (int i = 0; i < GR_HOOK_COUNT; i++) {
        enum gr_hook_id id = (enum gr_hook_id)i;
        if (is_notice[id])
            continue;
        rec.second[id] = GR_STOP;
        rec.hold = true;
        for (int how = 0; how < 3; how++) { /* resumed: GR_OK, GR_STOP, never */
            bool behind = run(h, id, GR_PENDING);
            assert_int_equal(rec.held != NULL, may_wait[id]);
            if (!may_wait[id]) {
                assert_true(behind);
                assert_int_equal(end.failed, 1);
                break;
            }
            assert_false(behind);
            assert_int_equal(end.done, 0);
            if (how == 2)
                h_advance(h, 30000);
            else
                gr_resume(rec.held, how == 0 ? GR_OK : GR_STOP);
            assert_int_equal(end.done, 1);
            assert_int_equal(end.verdict, GR_STOP);
            assert_int_equal(rec.trace[0] != '\0', how != 1);
            assert_int_equal(end.failed, how == 2);
            if (how == 2) {
                assert_false(gr_hold_waits(rec.held));
                gr_resume(rec.held, GR_OK);
            }
        }
        rec.hold = false;
    }
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(every_hook_runs),
        cmocka_unit_test(failing_changes_nothing),
        cmocka_unit_test(every_verdict_of_every_hook),
        cmocka_unit_test(every_hook_that_may_wait),
    };

    return H_RUN("hooks_all", cases);
}

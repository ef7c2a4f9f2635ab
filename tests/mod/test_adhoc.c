/* tests/mod/test_adhoc.c: mod_adhoc against XEP-0050 and XEP-0133: who may do what, executions from the
 * first step to the last, their bounds; the hooks adhoc_local_commands and adhoc_sm_commands. */
#include "harness.h"

#include <stdio.h>

#define CMD "http://jabber.org/protocol/commands"
#define ADMIN "http://jabber.org/protocol/admin"
#define INFO "http://jabber.org/protocol/disco#info"
#define ITEMS "http://jabber.org/protocol/disco#items"
#define NOTE(type, text) "<note type='" type "'>" text "</note>"
#define FIELD(var, value) "<field var='" var "'><value>" value "</value></field>"

/* --- a module with a command of its own --- */

static struct {
    bool wait, known;
    struct gr_hold *hold;
    unsigned asked;
    char session[32];
} other;

static enum gr_verdict on_command(struct gr_mod *self, struct gr_adhoc_ev *ev)
{
    struct gr_el *command;

    other.asked++;
    if (ev->reply != NULL || strcmp(ev->node, "theirs") != 0)
        return GR_OK;
    snprintf(other.session, sizeof(other.session), "%s",
             ev->session_id != NULL ? ev->session_id : "");
    ev->reply = gr_iq_result(ev->request);
    command = gr_el_add(ev->reply, NULL, CMD, "command");
    gr_el_set(ev->reply, command, "node", ev->node);
    gr_el_set(ev->reply, command, "action", ev->action);
    if (!other.wait)
        return GR_STOP;
    other.hold = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

static const struct gr_hook hooks[] = {
    GR_ON(adhoc_local_commands, 50, on_command),
    GR_ON(adhoc_sm_commands, 50, on_command),
    GR_HOOK_END
};
static const struct gr_module tester = { .name = "tester", .hooks = hooks };

static struct h *start(const char *options)
{
    char ini[1024];

    memset(&other, 0, sizeof(other));
    snprintf(ini, sizeof(ini), "[host localhost]\nadmins = admin@localhost\n[mod_disco]\n"
             "[mod_last]\n[mod_roster]\n[mod_presence]\n[mod_adhoc]\n%s\n", options);
    h_module(&tester);
    struct h *h = h_start(ini);
    h_user(h, "admin@localhost");
    h_user(h, "bob@localhost");
    return h;
}

static const struct gr_el *command_of(struct gr_stanza *st)
{
    const struct gr_el *command = gr_stanza_payload(st);

    if (gr_stanza_type(st) != GR_RESULT || command == NULL)
        h_fail("no result: %s", gr_stanza_xml(st, NULL));
    return command;
}

/* The answer to a step; `content` is what is in the command. */
static struct gr_stanza *step(struct hs *s, const char *node, const char *attrs,
                              const char *content)
{
    char xml[4096];

    snprintf(xml, sizeof(xml), "<command xmlns='" CMD "' node='%s' %s>%s</command>", node, attrs,
             content);
    return h_iq(s, "set", "localhost", xml);
}

static char id[32], with_id[64];
static const char *session(const char *action, struct gr_stanza *st)
{
    snprintf(id, sizeof(id), "%s", gr_el_attr(command_of(st), "sessionid"));
    snprintf(with_id, sizeof(with_id), "sessionid='%s' action='%s'", id, action);
    return with_id;
}

#define SUBMIT(fields) "<x xmlns='jabber:x:data' type='submit'>" fields "</x>"

static void expect_error(struct gr_stanza *st, const char *type, const char *cond,
                         const char *specific)
{
    char pattern[512];

    if (specific != NULL)
        snprintf(pattern, sizeof(pattern),
                 "<iq type='error' _='more'><error type='%s' _='more'>"
                 "<%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><%s xmlns='" CMD "'/></error></iq>",
                 type, cond, specific);
    else
        snprintf(pattern, sizeof(pattern),
                 "<iq type='error' _='more'><error type='%s' _='more'>"
                 "<%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", type, cond);
    h_assert_xml(st, pattern);
}

/* --- anybody's --- */

static void ping(void **state)
{
    struct h *h = start("");
    struct hs *bob = h_login(h, "bob@localhost/b");

    (void)state;
    h_assert_xml(step(bob, "ping", "", ""),
                 "<iq type='result' _='more'><command xmlns='" CMD "' node='ping' sessionid='*' "
                 "status='completed'>" NOTE("info", "Pong") "</command></iq>");
    expect_error(step(bob, "nothing", "", ""), "cancel", "item-not-found", NULL);
    expect_error(step(bob, "", "", ""), "modify", "bad-request", NULL);
    expect_error(step(bob, "ping", "action='jump'", ""), "modify", "bad-request",
                 "malformed-action");
    expect_error(step(bob, "ping", "sessionid=''", ""), "modify", "bad-request", "bad-sessionid");
    h_iq_error(bob, "get", "localhost", "<command xmlns='" CMD "' node='ping'/>", GR_NOT_ALLOWED);
    h_stop(&h);
}

static void a_handler_of_another_module(void **state)
{
    struct h *h = start("");
    struct hs *bob = h_login(h, "bob@localhost/b");

    (void)state;
    h_assert_xml(step(bob, "theirs", "sessionid='x' action='next'", ""),
                 "<iq type='result' _='more'><command xmlns='" CMD "' node='theirs' "
                 "action='next'/></iq>");
    assert_string_equal(other.session, "x");
    other.wait = true;
    h_send(bob, "<iq type='set' id='w' to='localhost'><command xmlns='" CMD "' node='theirs'/></iq>");
    h_expect_nothing(bob);
    h_enter(h, "bob@localhost");
    gr_resume(other.hold, GR_STOP);
    h_run(h);
    h_expect_xml(bob, "<iq type='result' id='w' _='more'><command xmlns='" CMD "' node='theirs' "
                 "action='execute'/></iq>");
    h_stop(&h);
}

static void commands_of_an_account(void **state)
{
    struct h *h = start("");
    struct hs *bob = h_login(h, "bob@localhost/b"), *eve = h_login(h, "eve@localhost/e");

    (void)state;
    h_iq_result(bob, "set", NULL, "<command xmlns='" CMD "' node='theirs'/>",
                "<command xmlns='" CMD "' node='theirs' action='execute'/>");
    h_iq_error(bob, "set", NULL, "<command xmlns='" CMD "' node='none'/>", GR_ITEM_NOT_FOUND);
    h_iq_error(eve, "set", "bob@localhost", "<command xmlns='" CMD "' node='none'/>",
               GR_SERVICE_UNAVAILABLE);
    h_iq_result(bob, "get", NULL, "<query xmlns='" ITEMS "' node='" CMD "'/>",
                "<query xmlns='" ITEMS "' node='" CMD "'/>");
    h_iq_result(bob, "get", NULL, "<query xmlns='" INFO "' node='" CMD "'/>",
                "<query xmlns='" INFO "' node='" CMD "'><identity category='automation' "
                "type='command-list' name='Commands'/><feature var='" CMD "'/></query>");
    h_stop(&h);
}

/* --- discovery --- */

static void discovery(void **state)
{
    struct h *h = start("report_commands_node = yes");
    struct hs *bob = h_login(h, "bob@localhost/b"), *admin = h_login(h, "admin@localhost/a");
    const struct gr_el *item;
    struct gr_stanza *st;
    bool add = false, stop = false, purge = false, motd = false;

    (void)state;
    h_iq_result(bob, "get", "localhost", "<query xmlns='" ITEMS "'/>",
                "<query xmlns='" ITEMS "'><item jid='localhost' node='" CMD "' name='Commands'/>"
                "</query>");
    h_iq_result(bob, "get", "localhost", "<query xmlns='" ITEMS "' node='" CMD "'/>",
                "<query xmlns='" ITEMS "' node='" CMD "'><item jid='localhost' node='ping' "
                "name='Ping'/></query>");
    h_iq_result(bob, "get", "localhost", "<query xmlns='" INFO "' node='ping'/>",
                "<query xmlns='" INFO "' node='ping'><identity category='automation' "
                "type='command-node' name='Ping'/><feature var='" CMD "'/>"
                "<feature var='jabber:x:data'/></query>");
    h_iq_error(bob, "get", "localhost", "<query xmlns='" INFO "' node='" ADMIN "#add-user'/>",
               GR_ITEM_NOT_FOUND);
    h_iq_result(admin, "get", "localhost", "<query xmlns='" INFO "' node='" ADMIN "#add-user'/>",
                "<query xmlns='" INFO "' node='" ADMIN "#add-user'><identity category='automation' "
                "type='command-node' name='Add a user'/><feature var='" CMD "'/>"
                "<feature var='jabber:x:data'/></query>");
    st = h_iq(admin, "get", "localhost", "<query xmlns='" ITEMS "' node='" CMD "'/>");
    for (item = gr_el_child(gr_stanza_payload(st), NULL, "item"); item != NULL;
         item = gr_el_next(item, NULL, "item")) {
        const char *node = gr_el_attr(item, "node");

        add |= strcmp(node, ADMIN "#add-user") == 0;
        motd |= strcmp(node, ADMIN "#set-motd") == 0;
        stop |= strcmp(node, "command:user roster") == 0;
        purge |= strcmp(node, "command:host purge") == 0;
    }
    assert_true(add && stop && !purge);
    assert_false(motd); /* no mod_announce */
    h_stop(&h);
}

static void only_admins(void **state)
{
    struct h *h = start("");
    struct hs *bob = h_login(h, "bob@localhost/b"), *admin = h_login(h, "admin@localhost/a");

    (void)state;
    expect_error(step(bob, ADMIN "#add-user", "", ""), "auth", "forbidden", NULL);
    expect_error(step(bob, "command:status", "", ""), "auth", "forbidden", NULL);
    session("complete", step(admin, ADMIN "#add-user", "", ""));
    expect_error(step(bob, ADMIN "#add-user", with_id, ""), "auth", "forbidden", NULL);
    expect_error(step(admin, "command:host purge", "", ""), "cancel", "item-not-found", NULL);
    h_stop(&h);
}

static void without_the_servers_commands(void **state)
{
    struct h *h = start("server_commands = no");
    struct hs *admin = h_login(h, "admin@localhost/a");

    (void)state;
    expect_error(step(admin, "command:status", "", ""), "cancel", "item-not-found", NULL);
    expect_error(step(admin, ADMIN "#shutdown", "", ""), "cancel", "item-not-found", NULL);
    command_of(step(admin, ADMIN "#add-user", "", ""));
    h_stop(&h);
}

/* Under no name of theirs. */
static void commands_that_are_withheld(void **state)
{
    struct h *h = start("withheld = user delete, stop");
    struct hs *admin = h_login(h, "admin@localhost/a");

    (void)state;
    expect_error(step(admin, "command:user delete", "", ""), "cancel", "item-not-found", NULL);
    expect_error(step(admin, ADMIN "#delete-user", "", ""), "cancel", "item-not-found", NULL);
    expect_error(step(admin, ADMIN "#shutdown", "", ""), "cancel", "item-not-found", NULL);
    command_of(step(admin, ADMIN "#add-user", "", ""));
    h_stop(&h);
}

/* --- an execution --- */

static void add_and_delete_a_user(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_login(h, "admin@localhost/a");
    struct gr_stanza *st = step(admin, ADMIN "#add-user", "action='execute'", "");

    (void)state;
    h_assert_xml(st, "<iq type='result' from='localhost' _='more'><command xmlns='" CMD "' "
                 "node='" ADMIN "#add-user' sessionid='*' status='executing'>"
                 "<actions execute='complete'><complete/></actions>"
                 "<x xmlns='jabber:x:data' type='form' _='any'>"
                 "<field var='FORM_TYPE' type='hidden'><value>" ADMIN "</value></field>"
                 "<field var='accountjid' type='jid-single' label='*'><required/></field>"
                 "<field var='password' type='text-private' label='*'><required/></field>"
                 "</x></command></iq>");
    session("complete", st);
    expect_error(step(admin, ADMIN "#add-user", with_id, SUBMIT(FIELD("accountjid", "carol@localhost")
                      FIELD("password", "pw") FIELD("password-verify", "qw"))),
                 "modify", "bad-request", "bad-payload");
    expect_error(step(admin, ADMIN "#add-user", with_id, SUBMIT(FIELD("accountjid", "carol@other.test")
                      FIELD("password", "pw") FIELD("password-verify", "pw"))),
                 "modify", "bad-request", "bad-payload");
    expect_error(step(admin, ADMIN "#add-user", with_id, ""), "modify", "bad-request",
                 "bad-payload");
    h_assert_xml(step(admin, ADMIN "#add-user", with_id, SUBMIT(FIELD("accountjid", "carol@localhost")
                      FIELD("password", "--pw x") FIELD("password-verify", "--pw x"))),
                 "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 NOTE("info", "done") "</command></iq>");
    assert_int_equal(h_user_check(h, "carol@localhost", "--pw x"), GR_R_OK);
    /* It is over. */
    expect_error(step(admin, ADMIN "#add-user", with_id, ""), "cancel", "not-allowed",
                 "session-expired");

    session("complete", step(admin, ADMIN "#add-user", "", ""));
    h_assert_xml(step(admin, ADMIN "#add-user", with_id, SUBMIT(FIELD("accountjid", "carol@localhost")
                      FIELD("password", "pw") FIELD("password-verify", "pw"))),
                 "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 NOTE("error", "carol@localhost exists already") "</command></iq>");

    session("complete", step(admin, ADMIN "#delete-user", "", ""));
    h_assert_xml(step(admin, ADMIN "#delete-user", with_id,
                      SUBMIT("<field var='accountjids'><value>carol@localhost</value>"
                             "<value>nobody@localhost</value></field>")),
                 "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 NOTE("error", "nobody@localhost does not exist") "</command></iq>");
    assert_int_equal(h_user_check(h, "carol@localhost", "--pw x"), GR_R_NONE);
    h_stop(&h);
}

static void cancelled_and_wrong_actions(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_login(h, "admin@localhost/a"), *second = h_login(h, "admin@localhost/b");
    const char *node = "command:user delete";

    (void)state;
    session("cancel", step(admin, node, "", ""));
    expect_error(step(second, node, with_id, ""), "cancel", "not-allowed", "session-expired");
    expect_error(step(admin, "command:user add", with_id, ""), "cancel", "not-allowed",
                 "session-expired");
    h_assert_xml(step(admin, node, with_id, ""), "<iq type='result' _='more'><command xmlns='" CMD
                 "' node='*' sessionid='*' status='canceled'/></iq>");
    expect_error(step(admin, node, with_id, ""), "cancel", "not-allowed", "session-expired");
    expect_error(step(admin, node, "action='next'", ""), "modify", "bad-request", "bad-action");
    session("prev", step(admin, node, "", ""));
    expect_error(step(admin, node, with_id, ""), "modify", "bad-request", "bad-action");
    h_stop(&h);
}

static void add_users(struct h *h, int count)
{
    for (int i = 0; i < count; i++) {
        char jid[32];

        snprintf(jid, sizeof(jid), "user%03d@localhost", i);
        h_user(h, jid);
    }
}

/* A result in pages, there and back. */
static void stages(void **state)
{
    struct h *h = start("page = 3");
    struct hs *admin = h_login(h, "admin@localhost/a");
    const char *node = "command:user list";
    struct gr_stanza *st;

    (void)state;
    add_users(h, 5); /* and admin, bob */
    session("complete", step(admin, node, "", ""));
    st = step(admin, node, with_id, SUBMIT(FIELD("domain", "localhost")));
    h_assert_xml(st, "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='executing'>"
                 "<actions execute='next'><prev/><next/><complete/></actions>"
                 "<x xmlns='jabber:x:data' type='result' _='any'><reported _='any'/><item>"
                 FIELD("jid", "admin@localhost") FIELD("admin", "yes") "</item></x></command></iq>");
    st = step(admin, node, session("next", st), "");
    h_assert_xml(st, "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='executing'>"
                 "<x xmlns='jabber:x:data' type='result' _='any'><item>"
                 FIELD("jid", "user001@localhost") FIELD("admin", "no") "</item></x></command></iq>");
    st = step(admin, node, session("prev", st), "");
    h_assert_xml(st, "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='executing'>"
                 "<x xmlns='jabber:x:data' type='result' _='any'><item _='any'>"
                 FIELD("jid", "bob@localhost") "</item></x></command></iq>");
    st = step(admin, node, session("prev", st), "");
    h_assert_xml(st, "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='executing'>"
                 "<x xmlns='jabber:x:data' type='form' _='any'/></command></iq>");
    st = step(admin, node, session("execute", st), SUBMIT(FIELD("domain", "localhost")));
    st = step(admin, node, session("execute", st), "");
    st = step(admin, node, session("execute", st), "");
    h_assert_xml(st, "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 "<x xmlns='jabber:x:data' type='result' _='any'><item _='any'>"
                 FIELD("jid", "user004@localhost") "</item></x></command></iq>");
    expect_error(step(admin, node, session("next", st), ""), "cancel", "not-allowed",
                 "session-expired");
    h_stop(&h);
}

/* --- bounds --- */

static void results_have_a_bound(void **state)
{
    struct h *h = start("max_result = 4K\npage = 1000");
    struct hs *admin = h_login(h, "admin@localhost/a");
    struct gr_stanza *st;

    (void)state;
    add_users(h, 200);
    session("complete", step(admin, "command:user list", "", ""));
    st = step(admin, "command:user list", with_id, SUBMIT(FIELD("domain", "localhost")));
    h_assert_xml(st, "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 NOTE("warn", "there is more than max_result allows to show") "</command></iq>");
    h_stop(&h);
}

static void sessions_end_by_themselves(void **state)
{
    struct h *h = start("session_timeout = 1m");
    struct hs *admin = h_login(h, "admin@localhost/a");
    const char *node = "command:user delete";
    char first[64], second[64];

    (void)state;
    session("prev", step(admin, node, "", ""));
    memcpy(first, with_id, sizeof(first));
    h_advance(h, 30000);
    session("prev", step(admin, node, "", ""));
    memcpy(second, with_id, sizeof(second));
    h_advance(h, 30001);
    expect_error(step(admin, node, first, ""), "cancel", "not-allowed", "session-expired");
    expect_error(step(admin, node, second, ""), "modify", "bad-request", "bad-action"); /* touched */
    h_advance(h, 59000);
    expect_error(step(admin, node, second, ""), "modify", "bad-request", "bad-action");
    h_advance(h, 60001);
    expect_error(step(admin, node, second, ""), "cancel", "not-allowed", "session-expired");
    h_stop(&h);
}

static void sessions_are_bounded(void **state)
{
    struct h *h = start("max_sessions = 10");
    struct hs *admin = h_login(h, "admin@localhost/a"), *other_one;
    const char *node = "command:user delete";
    char first[64], second[64];

    (void)state;
    session("prev", step(admin, node, "", ""));
    memcpy(first, with_id, sizeof(first));
    session("prev", step(admin, node, "", ""));
    memcpy(second, with_id, sizeof(second));
    for (int i = 2; i < 9; i++) /* 8 are one's own */
        session("prev", step(admin, node, "", ""));
    expect_error(step(admin, node, first, ""), "cancel", "not-allowed", "session-expired");
    expect_error(step(admin, node, second, ""), "modify", "bad-request", "bad-action");
    other_one = h_login(h, "admin@localhost/b");
    session("prev", step(other_one, node, "", ""));
    session("prev", step(other_one, node, "", ""));
    expect_error(step(other_one, node, "", ""), "wait", "resource-constraint", NULL);
    h_stop(&h);
}

static void a_reload_ends_them(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_login(h, "admin@localhost/a");

    (void)state;
    session("complete", step(admin, "command:user delete", "", ""));
    h_reload(h, "[host localhost]\nadmins = admin@localhost\n[mod_adhoc]\npage = 5\n", NULL);
    expect_error(step(admin, "command:user delete", with_id, ""), "cancel", "not-allowed",
                 "session-expired");
    h_stop(&h);
}

/* What runs when the module is replaced is answered all the same. */
static void a_reload_meanwhile(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_login(h, "admin@localhost/a");

    (void)state;
    session("complete", step(admin, "command:user delete", "", ""));
    h_hold_store(h, true);
    h_sendf(admin, "<iq type='set' id='d' to='localhost'><command xmlns='" CMD "' "
            "node='command:user delete' %s>" SUBMIT(FIELD("jid", "bob@localhost"))
            "</command></iq>", with_id);
    h_expect_nothing(admin);
    expect_error(step(admin, "command:user delete", with_id, ""), "modify", "bad-request",
                 "bad-action"); /* it runs */
    h_reload(h, "[host localhost]\nadmins = admin@localhost\n[mod_adhoc]\npage = 5\n", NULL);
    h_hold_store(h, false);
    h_commit(h);
    h_run(h);
    h_expect_xml(admin, "<iq type='result' id='d' _='more'><command _='any' xmlns='" CMD "' "
                 "status='completed'>" NOTE("info", "done") "</command></iq>");
    h_stop(&h);
}

/* --- XEP-0133: figures, lists, sessions --- */

static void figures(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_online(h, "admin@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    h_drop_all(admin);
    h_assert_xml(step(admin, ADMIN "#get-registered-users-num", "", ""),
                 "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 "<x xmlns='jabber:x:data' type='result' _='any'>"
                 "<field var='registeredusersnum' type='text-single'><value>2</value></field></x>"
                 "</command></iq>");
    h_assert_xml(step(admin, ADMIN "#get-online-users-num", "", ""),
                 "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 "<x xmlns='jabber:x:data' type='result' _='any'>"
                 "<field var='onlineusersnum' type='text-single'><value>2</value></field></x>"
                 "</command></iq>");
    session("complete", step(admin, ADMIN "#get-registered-users-list", "", ""));
    h_assert_xml(step(admin, ADMIN "#get-registered-users-list", with_id, SUBMIT(FIELD("max_items", "none"))),
                 "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 "<x xmlns='jabber:x:data' type='result' _='any'>"
                 "<field var='registereduserjids' type='text-multi'><value>admin@localhost</value>"
                 "<value>bob@localhost</value></field></x></command></iq>");
    session("complete", step(admin, ADMIN "#user-stats", "", ""));
    h_assert_xml(step(admin, ADMIN "#user-stats", with_id, SUBMIT(FIELD("accountjid", "bob@localhost"))),
                 "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 "<x xmlns='jabber:x:data' type='result' _='any'>"
                 "<field var='rostersize' type='text-single'><value>0</value></field>"
                 "<field var='onlineresources' type='text-single'><value>b</value></field></x>"
                 "</command></iq>");
    session("complete", step(admin, ADMIN "#end-user-session", "", ""));
    command_of(step(admin, ADMIN "#end-user-session", with_id, SUBMIT(FIELD("accountjids", "bob@localhost"))));
    h_expect_closed(&bob, "policy-violation");
    h_stop(&h);
}

static void a_roster_and_a_last_time(void **state)
{
    struct h *h = start("");
    struct hs *admin = h_login(h, "admin@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    h_iq_result(bob, "set", NULL, "<query xmlns='jabber:iq:roster'><item jid='x@localhost' name='X'>"
                "<group>A</group><group>B</group></item></query>", NULL);
    session("complete", step(admin, ADMIN "#get-user-roster", "", ""));
    h_assert_xml(step(admin, ADMIN "#get-user-roster", with_id, SUBMIT(FIELD("accountjids", "bob@localhost"))),
                 "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 "<x xmlns='jabber:x:data' type='result' _='any'><query xmlns='jabber:iq:roster'>"
                 "<item jid='x@localhost' name='X' subscription='none'><group>A</group>"
                 "<group>B</group></item></query></x></command></iq>");
    h_disconnect(&bob, true);
    session("complete", step(admin, ADMIN "#get-user-lastlogin", "", ""));
    h_assert_xml(step(admin, ADMIN "#get-user-lastlogin", with_id, SUBMIT(FIELD("accountjids", "bob@localhost"))),
                 "<iq type='result' _='more'><command _='any' xmlns='" CMD "' status='completed'>"
                 "<x xmlns='jabber:x:data' type='result' _='any'>"
                 "<field var='accountjids' type='text-single'><value>bob@localhost</value></field>"
                 "<field var='lastlogin' type='text-single'><value>*</value></field></x>"
                 "</command></iq>");
    h_stop(&h);
}

static void on_the_command_line(void **state)
{
    struct h *h = start("");

    (void)state;
    h_login(h, "bob@localhost/b");
    assert_string_equal(h_command(h, "online count localhost"), "users=1 sessions=1");
    assert_string_equal(h_command(h, "online list localhost"), "jid=bob@localhost/b");
    assert_string_equal(h_command(h, "user count localhost"), "users=2");
    assert_string_equal(h_command(h, "user kick nobody@localhost"),
                        "error: nobody@localhost is not online");
    assert_string_equal(h_command(h, "user stats localhost"),
                        "error: localhost is not an account: write user@domain");
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(ping),
        cmocka_unit_test(a_handler_of_another_module),
        cmocka_unit_test(commands_of_an_account),
        cmocka_unit_test(discovery),
        cmocka_unit_test(only_admins),
        cmocka_unit_test(without_the_servers_commands),
        cmocka_unit_test(commands_that_are_withheld),
        cmocka_unit_test(add_and_delete_a_user),
        cmocka_unit_test(cancelled_and_wrong_actions),
        cmocka_unit_test(stages),
        cmocka_unit_test(results_have_a_bound),
        cmocka_unit_test(sessions_end_by_themselves),
        cmocka_unit_test(sessions_are_bounded),
        cmocka_unit_test(a_reload_ends_them),
        cmocka_unit_test(a_reload_meanwhile),
        cmocka_unit_test(figures),
        cmocka_unit_test(a_roster_and_a_last_time),
        cmocka_unit_test(on_the_command_line),
    };

    return H_RUN("adhoc", cases);
}

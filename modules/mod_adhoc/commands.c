/* mod_adhoc/commands.c: commands about accounts and sessions of a host that XEP-0133 needs; they serve
 * grapnelctl as well. What is about the host takes its domain as an address. */
#include "adhoc.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 500            /* accounts counted in one go */
#define LIST_MAX 100000     /* sessions listed by one loop */

/* --- an account's sessions --- */

static const struct gr_jid *account_of(struct gr_cmd *cmd)
{
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");

    if (jid->node != NULL)
        return jid;
    gr_cmd_fail(cmd, "%s is not an account: write user@domain", jid->full);
    return NULL;
}

static void user_kick(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *jid = account_of(cmd);
    struct gr_account *a = jid != NULL ? gr_account_find(self, jid) : NULL;
    struct gr_session *s = NULL;
    int64_t ended = 0;

    if (jid == NULL)
        return;
    while (a != NULL && (s = gr_account_next(a, s)) != NULL) {
        if (jid->resource != NULL && !gr_jid_equal(jid, gr_session_jid(s)))
            continue;
        gr_session_close(self, s, "policy-violation", gr_cmd_text(cmd, "reason"), false);
        ended++;
    }
    if (ended == 0) {
        gr_cmd_fail(cmd, "%s is not online", jid->full);
        return;
    }
    gr_cmd_row(cmd);
    gr_cmd_field(cmd, "jid", "%s", jid->full);
    gr_cmd_number(cmd, "ended", ended);
    gr_cmd_done(cmd);
}

/* --- rosters --- */

struct about { /* of a gr_ask or an iq */
    struct gr_cmd *cmd;
};

static void ask_roster(struct gr_mod *self, struct gr_cmd *cmd, gr_answer_f done)
{
    const struct gr_jid *jid = account_of(cmd);
    struct gr_ask *ask;

    if (jid == NULL)
        return;
    if (jid->resource != NULL) {
        gr_cmd_fail(cmd, "%s is not an account: write user@domain", jid->full);
        return;
    }
    ask = gr_ask_new(self, sizeof(struct about), done);
    ((struct about *)gr_ask_data(ask))->cmd = cmd;
    gr_roster_ask(self, ask, GR_ROSTER_GET_CONTACTS, NULL, jid, NULL, NULL);
}

static bool roster_failed(struct gr_cmd *cmd, const struct gr_answer *a)
{
    if (a->result == GR_R_ERROR)
        gr_cmd_fail(cmd, "%s: %s", gr_cond_name(a->cond), a->text != NULL ? a->text : "");
    return a->result == GR_R_ERROR;
}

static void roster_row(struct gr_cmd *cmd, const struct gr_roster_item *item)
{
    static const char *const sub[] = { "none", "to", "from", "both" };
    struct gr_writer groups = gr_writer_new(64);
    size_t len;
    char *text;

    for (size_t i = 0; item->groups != NULL && item->groups[i] != NULL; i++) {
        gr_write_bytes(&groups, "\n", i > 0);
        gr_write_bytes(&groups, item->groups[i], strlen(item->groups[i]));
    }
    gr_write_bytes(&groups, "", 1);
    text = gr_writer_take(&groups, &len);
    gr_cmd_row(cmd);
    gr_cmd_field(cmd, "jid", "%s", item->jid->bare);
    gr_cmd_field(cmd, "name", "%s", item->name != NULL ? item->name : "");
    gr_cmd_field(cmd, "subscription", "%s", sub[item->sub]);
    gr_cmd_field(cmd, "ask", "%s", item->ask ? "subscribe" : "");
    gr_cmd_field(cmd, "groups", "%s", text);
    gr_free(text);
}

static void on_roster(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct gr_cmd *cmd = ((struct about *)gr_ask_data(ask))->cmd;

    (void)self;
    if (roster_failed(cmd, a))
        return;
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].in_roster)
            roster_row(cmd, &a->items[i]);
    gr_cmd_done(cmd);
}

static void user_roster(struct gr_mod *self, struct gr_cmd *cmd)
{
    ask_roster(self, cmd, on_roster);
}

/* A row for each session, or one without a resource. */
static void on_stats(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct gr_cmd *cmd = ((struct about *)gr_ask_data(ask))->cmd;
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    struct gr_account *account = gr_account_find(self, jid);
    struct gr_session *s = account != NULL ? gr_account_next(account, NULL) : NULL;
    int64_t contacts = 0;

    if (roster_failed(cmd, a))
        return;
    for (size_t i = 0; i < a->count; i++)
        contacts += a->items[i].in_roster;
    do {
        gr_cmd_row(cmd);
        gr_cmd_field(cmd, "jid", "%s", jid->bare);
        gr_cmd_field(cmd, "resource", "%s", s != NULL ? gr_session_jid(s)->resource : "");
        gr_cmd_field(cmd, "ip", "%s", s != NULL ? gr_session_ip(s) : "");
        gr_cmd_number(cmd, "roster", contacts);
        s = s != NULL ? gr_account_next(account, s) : NULL;
    } while (s != NULL);
    gr_cmd_done(cmd);
}

static void user_stats(struct gr_mod *self, struct gr_cmd *cmd)
{
    ask_roster(self, cmd, on_stats);
}

/* --- when was it last online (mod_last answers) --- */

static void on_last(struct gr_mod *self, void *data, const struct gr_stanza *reply)
{
    struct gr_cmd *cmd = ((struct about *)data)->cmd;
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    const struct gr_el *query;
    const char *seconds;
    char stamp[GR_STAMP_SIZE];

    (void)self;
    query = reply != NULL && gr_stanza_type(reply) == GR_RESULT ? gr_stanza_payload(reply) : NULL;
    seconds = query != NULL ? gr_el_attr(query, "seconds") : NULL;
    if (seconds == NULL) {
        gr_cmd_fail(cmd, "%s: nothing is known", jid->bare);
        return;
    }
    gr_stamp(stamp, gr_wall_us() - strtoll(seconds, NULL, 10) * 1000000);
    gr_cmd_row(cmd);
    gr_cmd_field(cmd, "jid", "%s", jid->bare);
    gr_cmd_field(cmd, "last", "%s", stamp);
    gr_cmd_done(cmd);
}

static void user_last(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *jid = account_of(cmd);
    struct gr_jid *bare;
    struct gr_stanza *iq;
    struct about *about;

    if (jid == NULL)
        return;
    bare = gr_jid_dup_bare(jid);
    iq = gr_iq_new(GR_GET, gr_mod_host_jid(self), bare, NULL);
    gr_jid_free(&bare);
    gr_el_add(iq, NULL, "jabber:iq:last", "query");
    about = gr_alloc(sizeof(*about));
    about->cmd = cmd;
    gr_iq_ask(self, iq, 30 * GR_SECOND, on_last, about);
}

/* --- the host's accounts: counted page by page, a message to ourselves in between --- */

struct counting {
    struct gr_cmd *cmd;
    int64_t users;
    char after[GR_JID_PART_MAX + 1];
};

static void count_page(struct gr_mod *self, const struct gr_jid *jid, const void *data,
                       size_t len);

static void on_page(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct counting *c = gr_ask_data(ask);

    c->users += (int64_t)a->count;
    if (a->result == GR_R_ERROR || a->result == GR_R_NONE) {
        gr_cmd_fail(c->cmd, "this host's accounts cannot be listed");
    } else if (a->result == GR_R_FALSE && a->text != NULL && strlen(a->text) < sizeof(c->after)) {
        memcpy(c->after, a->text, strlen(a->text) + 1);
        gr_post(self, gr_mod_host_jid(self), count_page, c, sizeof(*c));
    } else {
        gr_cmd_row(c->cmd);
        gr_cmd_number(c->cmd, "users", c->users);
        gr_cmd_done(c->cmd);
    }
}

static void count_page(struct gr_mod *self, const struct gr_jid *jid, const void *data, size_t len)
{
    struct gr_ask *ask = gr_ask_new(self, sizeof(struct counting), on_page);
    struct counting *c = gr_ask_data(ask);

    (void)jid;
    memcpy(c, data, len);
    gr_auth_list(self, ask, c->after[0] != '\0' ? c->after : NULL, PAGE);
}

static bool about_host(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *domain = gr_cmd_jid(cmd, "domain");

    if (gr_jid_equal(domain, gr_mod_host_jid(self)))
        return true;
    gr_cmd_fail(cmd, "%s is not a domain", domain->full);
    return false;
}

static void user_count(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct counting *c;

    if (!about_host(self, cmd))
        return;
    c = gr_alloc(sizeof(*c));
    c->cmd = cmd;
    count_page(self, NULL, c, sizeof(*c));
    gr_free(c);
}

/* --- who is online, on this loop --- */

struct online {
    struct gr_cmd *cmd;
    int64_t users, sessions, limit;
};

static void see(struct gr_mod *self, struct gr_session *s, void *ctx)
{
    struct online *o = ctx;
    bool first = gr_account_next(gr_session_account(s), NULL) == s;

    (void)self;
    o->users += first;
    o->sessions++;
    if (o->limit-- <= 0)
        return;
    gr_cmd_row(o->cmd);
    gr_cmd_field(o->cmd, "jid", "%s", gr_session_jid(s)->full);
}

static void online_count(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct online o = { .cmd = cmd };

    if (!about_host(self, cmd))
        return;
    gr_each_session(self, see, &o);
    gr_cmd_row(cmd);
    gr_cmd_number(cmd, "users", o.users);
    gr_cmd_number(cmd, "sessions", o.sessions);
    gr_cmd_done(cmd);
}

/* The limit is each loop's. */
static void online_list(struct gr_mod *self, struct gr_cmd *cmd)
{
    int64_t limit = gr_cmd_int(cmd, "limit", LIST_MAX);
    struct online o = { .cmd = cmd, .limit = limit < LIST_MAX ? limit : LIST_MAX };

    if (!about_host(self, cmd))
        return;
    gr_each_session(self, see, &o);
    gr_cmd_done(cmd);
}

static const struct gr_arg account[] = { GR_ARG(jid, JID, "user@domain"), GR_ARG_END };
static const struct gr_arg kick[] = {
    GR_ARG(jid, JID, "user@domain, or one resource of it"),
    GR_ARG_OPTIONAL(reason, TEXT, "what the client is told"),
    GR_ARG_END
};
static const struct gr_arg host[] = { GR_ARG(domain, JID, "a served domain"), GR_ARG_END };
static const struct gr_arg host_list[] = {
    GR_ARG(domain, JID, "a served domain"),
    GR_ARG_OPTIONAL(limit, INT, "at most so many of each loop"),
    GR_ARG_END
};

const struct gr_command adhoc_commands[] = {
    { "user kick", "end an account's sessions", kick, GR_RUN_HOME, user_kick },
    { "user stats", "an account's sessions and the size of its roster", account, GR_RUN_HOME,
      user_stats },
    { "user roster", "an account's contacts", account, GR_RUN_HOME, user_roster },
    { "user last", "when an account was last online; needs mod_last", account, GR_RUN_HOME,
      user_last },
    { "user count", "how many accounts a domain has", host, GR_RUN_HOME, user_count },
    { "online count", "how many of them are online", host, GR_RUN_ALL, online_count },
    { "online list", "the sessions of a domain", host_list, GR_RUN_ALL, online_list },
    GR_COMMAND_END
};

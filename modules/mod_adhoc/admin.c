/* mod_adhoc/admin.c: service administration (XEP-0133): its nodes, and the server's commands that they
 * stand for. A node whose command does not exist (the module is not there) does not exist either. */
#include "adhoc.h"

#include <string.h>

#define ACCOUNT(text) { "accountjid", "jid-single", text, "jid", FIELD_ACCOUNT, true }
#define ACCOUNTS(text) { "accountjids", "jid-multi", text, "jid", FIELD_EACH, true }
#define PASSWORD { "password", "text-private", "The password for this account", "password", \
                   FIELD_VALUE, true }
#define IGNORED(name, text) { name, "text-single", text, NULL, FIELD_IGNORED, false }
#define MAX_ITEMS { "max_items", "text-single", "Maximum number of items to show, or none", "limit", \
                    FIELD_LIMIT, false }
#define TEXT(name, text) { name, "text-multi", text, "text", FIELD_VALUE, true }

static const struct {
    const char *name;
    struct recipe recipe;
} nodes[] = {
    { "add-user", { .title = "Add a user", .command = "user add",
        .field = { ACCOUNT("The Jabber ID for the account to be added"), PASSWORD,
          { "password-verify", "text-private", "Retype password", NULL, FIELD_SAME, true },
          IGNORED("email", "Email address"), IGNORED("given_name", "Given name"),
          IGNORED("surname", "Family name") } } },
    { "delete-user", { .title = "Delete users", .command = "user delete",
        .field = { ACCOUNTS("The Jabber ID(s) to delete") } } },
    { "end-user-session", { .title = "End the sessions of users", .command = "user kick",
        .field = { ACCOUNTS("The Jabber ID(s) for which to end sessions") } } },
    { "change-user-password", { .title = "Change a user's password", .command = "user password",
        .field = { ACCOUNT("The Jabber ID for this account"), PASSWORD } } },
    { "get-user-roster", { .title = "A user's roster", .command = "user roster",
        .field = { ACCOUNTS("The Jabber ID(s) for which to retrieve the roster") }, .roster = true } },
    { "get-user-lastlogin", { .title = "When users were last online", .command = "user last",
        .field = { ACCOUNTS("The Jabber ID(s) for which to retrieve the last login time") },
        .out = { { "jid", "accountjids" }, { "last", "lastlogin" } } } },
    { "user-stats", { .title = "A user's sessions and roster", .command = "user stats",
        .field = { ACCOUNT("The Jabber ID for statistics") },
        .out = { { "ip", "ipaddresses" }, { "roster", "rostersize" },
                 { "resource", "onlineresources" } } } },
    { "get-registered-users-num", { .title = "The number of registered users",
        .command = "user count",
        .about_host = true, .out = { { "users", "registeredusersnum" } } } },
    { "get-online-users-num", { .title = "The number of online users", .command = "online count",
        .about_host = true, .out = { { "users", "onlineusersnum" } } } },
    { "get-registered-users-list", { .title = "The registered users", .command = "user list",
        .field = { MAX_ITEMS }, .about_host = true, .out = { { "jid", "registereduserjids" } } } },
    { "get-online-users-list", { .title = "The online users", .command = "online list",
        .field = { MAX_ITEMS }, .about_host = true, .out = { { "jid", "onlineuserjids" } } } },
    { "announce", { .title = "Send an announcement to online users", .command = "announce online",
        .field = { { "subject", "text-single", "Subject", "subject", FIELD_VALUE, false },
          TEXT("announcement", "Announcement") }, .about_host = true } },
    { "announce-all", { .title = "Send an announcement to all users", .command = "announce all",
        .field = { { "subject", "text-single", "Subject", "subject", FIELD_VALUE, false },
          TEXT("announcement", "Announcement") }, .about_host = true } },
    { "set-motd", { .title = "Set the message of the day", .command = "motd set",
        .field = { TEXT("motd", "Message of the day") }, .about_host = true } },
    { "edit-motd", { .title = "Change the message of the day, for who has not seen it",
        .command = "motd edit",
        .field = { TEXT("motd", "Message of the day") }, .about_host = true } },
    { "delete-motd", { .title = "Delete the message of the day", .command = "motd delete",
        .about_host = true } },
    { "shutdown", { .title = "Shut the server down", .command = "stop",
        .field = { IGNORED("delay", "Delay (not supported: at once)"),
          IGNORED("announcement", "Announcement (send it before)") } } },
};

static bool find(struct gr_mod *self, size_t i)
{
    const struct adhoc_conf *conf = gr_conf(self);
    const char *command = nodes[i].recipe.command;

    /* It is about the whole server, as the registry is. */
    return registry_has(self, command) && (strcmp(command, "stop") != 0 || conf->server_commands);
}

bool admin_recipe(struct gr_mod *self, const char *node, struct recipe *out)
{
    static const char prefix[] = NS_ADMIN "#";

    if (strncmp(node, prefix, sizeof(prefix) - 1) != 0)
        return false;
    for (size_t i = 0; i < GR_COUNT(nodes); i++) {
        if (strcmp(nodes[i].name, node + sizeof(prefix) - 1) != 0)
            continue;
        *out = nodes[i].recipe;
        out->form_type = NS_ADMIN;
        return find(self, i);
    }
    return false;
}

void admin_each(struct gr_mod *self, void (*f)(void *ctx, const char *node, const char *title),
                void *ctx)
{
    for (size_t i = 0; i < GR_COUNT(nodes); i++) {
        char node[64 + sizeof(NS_ADMIN)];
        struct gr_writer w = gr_writer_on(node, sizeof(node));

        if (!find(self, i))
            continue;
        gr_write_bytes(&w, NS_ADMIN "#", sizeof(NS_ADMIN));
        gr_write_bytes(&w, nodes[i].name, strlen(nodes[i].name) + 1);
        f(ctx, node, nodes[i].recipe.title);
    }
}

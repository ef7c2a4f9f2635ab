/* mod_names: accounts from the configuration, whose names are not those that people log in with:
 * who logs in as "juliet" has the account "corp-juliet". A provider of accounts. */
#include <grapnel/module.h>

#include <stdio.h>
#include <string.h>

struct names_conf { const char *prefix; const char *const *accounts; };

static const struct gr_opt options[] = {
    GR_OPT_STR(struct names_conf, prefix, "corp-", "what an account has before the user's name"),
    GR_OPT_LIST(struct names_conf, accounts, "", "ACCOUNT:PASSWORD of everybody", .secret = true),
    GR_OPT_END
};

/* The password of an account; NULL: no such account. */
static const char *password_of(struct gr_mod *self, const char *account)
{
    const struct names_conf *conf = gr_conf(self);
    size_t len = strlen(account);

    for (const char *const *a = conf->accounts; *a != NULL; a++)
        if (strncmp(*a, account, len) == 0 && (*a)[len] == ':')
            return *a + len + 1;
    return NULL;
}

static int account_of(struct gr_mod *self, const char *username, char *out)
{
    const struct names_conf *conf = gr_conf(self);
    int len = snprintf(out, GR_JID_PART_MAX + 1, "%s%s", conf->prefix, username);

    return len <= GR_JID_PART_MAX ? 0 : GR_ENOENT;
}

static int username_of(struct gr_mod *self, const char *account, char *out)
{
    const struct names_conf *conf = gr_conf(self);
    size_t len = strlen(conf->prefix);

    if (strncmp(account, conf->prefix, len) != 0)
        return GR_ENOENT; /* somebody who cannot log in */
    snprintf(out, GR_JID_PART_MAX + 1, "%s", account + len);
    return 0;
}

/* `user` is the account's name in this function and those below. */
static void check_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password)
{
    const char *right = password_of(self, user);
    size_t len = strlen(password);
    bool same = right != NULL && strlen(right) == len && gr_equal_secret(right, password, len);

    (void)inst;
    gr_answer_result(ask, right == NULL ? GR_R_NONE : same ? GR_R_OK : GR_R_FALSE);
}

static void user_state(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)inst;
    gr_answer_result(ask, password_of(self, user) != NULL ? GR_R_OK : GR_R_NONE);
}

/* Complete: what is left out is refused, not answered from the store by the provider below. */
static const struct gr_auth_provider provider = {
    .name = "names", .complete = true, .account_of = account_of, .username_of = username_of,
    .check_password = check_password, .user_state = user_state, .valid_contact = user_state,
};

static int start(struct gr_mod *self, const char **why)
{
    if (gr_provide_auth(self, &provider, GR_PROVIDER_DEFAULT_PRIO) == 1)
        return 0;
    *why = "another module provides the accounts";
    return GR_EEXIST;
}

GR_MODULE(names, .summary = "accounts from the configuration, under other names",
          .options = options, .conf_size = sizeof(struct names_conf), .start = start);

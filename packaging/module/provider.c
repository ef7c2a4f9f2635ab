/* mod_NAME: accounts that are listed in the configuration, with one password for all. What it
 * leaves out (changing passwords, for instance) the built-in provider answers. */
#include <grapnel/module.h>

#include <string.h>

struct conf { const char *const *users; const char *password; };

static const struct gr_opt options[] = {
    GR_OPT_LIST(struct conf, users, "", "names of accounts"),
    GR_OPT_STR(struct conf, password, NULL, "the password of all", .required = true,
               .secret = true),
    GR_OPT_END
};

static bool is_listed(struct gr_mod *self, const char *user)
{
    const struct conf *conf = gr_conf(self);

    for (const char *const *u = conf->users; *u != NULL; u++) {
        if (strcmp(*u, user) == 0)
            return true;
    }
    return false;
}

/* Every call is answered exactly once, now or later on this loop. What would block, a question to a
 * database for instance, goes to gr_work. */
static void check_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password)
{
    const struct conf *conf = gr_conf(self);
    bool same = strlen(password) == strlen(conf->password) &&
                gr_equal_secret(password, conf->password, strlen(password));

    (void)inst;
    gr_answer_result(ask, is_listed(self, user) && same ? GR_R_OK : GR_R_FALSE);
}

static void user_state(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)inst;
    gr_answer_result(ask, is_listed(self, user) ? GR_R_OK : GR_R_NONE);
}

/* Without get_credentials clients are offered PLAIN only. */
static const struct gr_auth_provider provider = {
    .name = "NAME", .check_password = check_password, .user_state = user_state,
};

static int start(struct gr_mod *self, const char **why)
{
    (void)why;
    gr_provide_auth(self, &provider, GR_PROVIDER_DEFAULT_PRIO);
    return 0;
}

/* Judges the options together, before anything changes. */
static int check(const void *data, const char **why)
{
    const struct conf *conf = data;

    if (*conf->password != '\0')
        return 0;
    *why = "the password is empty: write one";
    return GR_EINVAL;
}

GR_MODULE(NAME, .summary = "accounts from the configuration", .options = options,
          .conf_size = sizeof(struct conf), .check = check, .start = start);

/* mod_team: everybody's roster is one list of the configuration, which no client can change. A
 * roster provider: mod_roster speaks with the clients and asks it. */
#include <grapnel/module.h>

#include <string.h>

#define MEMBERS_MAX 256

struct team_conf { const char *const *members; };
struct team { struct gr_jid *member[MEMBERS_MAX]; size_t count; };

static const struct gr_opt options[] = {
    GR_OPT_JIDLIST(struct team_conf, members, "", "everybody's roster", .max = MEMBERS_MAX),
    GR_OPT_END
};

static const char *const groups[] = { "Team", NULL };

/* The members without the account itself; `only`: that one of them. */
static void answer(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *user,
                   const struct gr_jid *only)
{
    const struct team *team = gr_state(self);
    struct gr_roster_item *items = gr_alloc((team->count + 1) * sizeof(*items));
    struct gr_answer a = { .items = items };

    for (size_t i = 0; i < team->count; i++) {
        const struct gr_jid *jid = team->member[i];
        if (!gr_jid_bare_equal(jid, user) && (only == NULL || gr_jid_bare_equal(jid, only)))
            items[a.count++] = (struct gr_roster_item){
                .jid = jid, .groups = groups, .sub = GR_SUB_BOTH, .in_roster = true };
    }
    a.result = only != NULL && a.count == 0 ? GR_R_NONE : GR_R_OK;
    a.after = items[0]; /* what get_contact answers with */
    gr_answer(ask, &a);
    gr_free(items);
}

static void get_contacts(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *user)
{
    (void)inst;
    answer(self, ask, user, NULL);
}

static void get_contact(struct gr_mod *self, void *inst, struct gr_ask *ask,
                        const struct gr_jid *user, const struct gr_jid *contact)
{
    (void)inst;
    answer(self, ask, user, contact);
}

/* Complete: mod_roster's own provider, in the store, is not asked for the rest. A client that
 * changes something hears an error, a subscription stanza has no effect. */
static const struct gr_roster_provider provider = {
    .name = "team", .complete = true, .get_contacts = get_contacts, .get_contact = get_contact,
};

/* stop() is not called when start() fails: so what may fail comes first. */
static int start(struct gr_mod *self, const char **why)
{
    const struct team_conf *conf = gr_conf(self);
    struct team *team = gr_state(self);

    if (gr_provide_roster(self, &provider, GR_PROVIDER_DEFAULT_PRIO) != 1) {
        *why = "another module provides the rosters";
        return GR_EEXIST;
    }
    for (const char *const *m = conf->members; *m != NULL; m++)
        if (gr_jid_parse(*m, strlen(*m), &team->member[team->count]) == 0)
            team->count++;
    return 0;
}

static void stop(struct gr_mod *self)
{
    struct team *team = gr_state(self);

    while (team->count > 0)
        gr_jid_free(&team->member[--team->count]);
}

GR_MODULE(team, .summary = "one roster for everybody", .options = options, .start = start,
          .stop = stop, .conf_size = sizeof(struct team_conf), .state_size = sizeof(struct team),
          .needs = (const char *const[]){ "roster", NULL });

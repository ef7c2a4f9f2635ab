/* mod/provider.c: the installed providers of a host and their instances (backends.md 1).
 *
 * A set holds, per type, everything installed, highest priority first: the first is the provider, the
 * others answer what it leaves out and take its place when it goes. Sets are built anew with each
 * generation; installations and their open instances stay as long as their module does. Of its loop. */
#include <string.h>

#include <grapnel/log.h>

#include "mod/provider_priv.h"
#include "mod/usage.h"

struct provider_insts *(*provider_insts_of)(struct gr_session *s);

static const char *const type_name[] = { "auth", "roster", "session" };

/* --- sets --- */

struct provider_set *provider_set_new(void)
{
    return gr_alloc(sizeof(struct provider_set));
}

void provider_set_free(struct provider_set **take)
{
    struct provider_set *set = *take;

    *take = NULL;
    if (set == NULL)
        return;
    for (int type = 0; type < 3; type++)
        gr_free(set->list[type]);
    gr_free(set);
}

/* Behind all of the same or a higher priority. True: it is the first. */
static bool insert(struct provider_set *set, struct provider *p)
{
    unsigned n = set->count[p->type]++, at = n;
    struct provider **list =
        gr_realloc(set->list[p->type], (n + 1) * sizeof(struct provider *));

    for (; at > 0 && list[at - 1]->prio < p->prio; at--)
        list[at] = list[at - 1];
    list[at] = p;
    set->list[p->type] = list;
    return at == 0;
}

int provider_install(struct provider_set *set, enum gr_provider_type type, struct gr_mod *self,
                     const void *vtable, int prio)
{
    struct provider *p, **last = &self->provides;
    bool first;

    if ((unsigned)type > GR_PROVIDER_SESSION || vtable == NULL)
        return GR_EINVAL;
    p = gr_alloc(sizeof(*p));
    p->self = self;
    p->type = type;
    p->vt = vtable;
    p->prio = prio;
    list_init(&p->insts);
    while (*last != NULL)
        last = &(*last)->next;
    *last = p;
    first = insert(set, p);
    gr_debug("provider.install", "mod_%s: %s provider of %s at %d%s", self->desc->name,
             type_name[type], self->host->jid->domain, prio,
             first ? "" : ", below one that was there");
    return first;
}

void provider_adopt(struct provider_set *set, struct gr_mod *self)
{
    for (struct provider *p = self->provides; p != NULL; p = p->next)
        insert(set, p);
}

static int provide(struct gr_mod *self, enum gr_provider_type type, const void *p, int prio)
{
    if (self->staging != NULL)
        return provider_install(self->staging, type, self, p, prio);
    gr_error("provider.late", "mod_%s installs a %s provider outside start()", self->desc->name,
             type_name[type]);
    return GR_EINVAL;
}

int gr_provide_auth(struct gr_mod *self, const struct gr_auth_provider *p, int prio)
{
    return provide(self, GR_PROVIDER_AUTH, p, prio);
}

int gr_provide_roster(struct gr_mod *self, const struct gr_roster_provider *p, int prio)
{
    return provide(self, GR_PROVIDER_ROSTER, p, prio);
}

int gr_provide_session(struct gr_mod *self, const struct gr_session_provider *p, int prio)
{
    return provide(self, GR_PROVIDER_SESSION, p, prio);
}

/* --- functions by offset --- */

bool provider_has(const struct provider *p, size_t offset)
{
    void (*f)(void);

    memcpy(&f, (const char *)p->vt + offset, sizeof(f));
    return f != NULL;
}

/* Those below it are not asked. */
static bool is_complete(const struct provider *p)
{
    switch (p->type) {
    case GR_PROVIDER_AUTH:
        return ((const struct gr_auth_provider *)p->vt)->complete;
    case GR_PROVIDER_ROSTER:
        return ((const struct gr_roster_provider *)p->vt)->complete;
    default:
        return false;
    }
}

struct provider *provider_find(const struct gr_host *h, enum gr_provider_type type, size_t offset)
{
    const struct provider_set *set = h->providers;

    for (unsigned i = 0; i < set->count[type]; i++) {
        if (provider_has(set->list[type][i], offset))
            return set->list[type][i];
        if (is_complete(set->list[type][i]))
            break;
    }
    return NULL;
}

const char *gr_provider_name(const struct gr_host *host, enum gr_provider_type type, int *prio)
{
    const struct provider_set *set = host->providers;
    const struct provider *p;

    if ((unsigned)type > GR_PROVIDER_SESSION)
        return NULL;
    p = set->count[type] > 0 ? set->list[type][0] : NULL;
    if (prio != NULL)
        *prio = p != NULL ? p->prio : 0;
    if (p == NULL)
        return "default";
    return type == GR_PROVIDER_AUTH     ? ((const struct gr_auth_provider *)p->vt)->name
           : type == GR_PROVIDER_ROSTER ? ((const struct gr_roster_provider *)p->vt)->name
                                        : ((const struct gr_session_provider *)p->vt)->name;
}

/* --- instances --- */

static void *call_open(const struct provider *p, struct gr_session *session)
{
    const struct gr_auth_provider *auth = p->vt;
    const struct gr_roster_provider *roster = p->vt;
    const struct gr_session_provider *sess = p->vt;
    void *(*open)(struct gr_mod *self, struct gr_session *session) =
        p->type == GR_PROVIDER_AUTH     ? auth->open
        : p->type == GR_PROVIDER_ROSTER ? roster->open
                                        : sess->open;
    struct gr_mod *before;
    void *inst;

    if (open == NULL)
        return NULL;
    before = usage_begin(p->self);
    inst = open(p->self, session);
    usage_end(p->self, before);
    return inst;
}

static void call_close(const struct provider_inst *pi)
{
    const struct gr_auth_provider *auth = pi->vt;
    const struct gr_roster_provider *roster = pi->vt;
    const struct gr_session_provider *sess = pi->vt;
    void (*close)(struct gr_mod *self, void *inst) = pi->type == GR_PROVIDER_AUTH ? auth->close
                                                     : pi->type == GR_PROVIDER_ROSTER
                                                         ? roster->close
                                                         : sess->close;
    struct gr_mod *before;

    if (close == NULL || pi->self->stopped)
        return;
    before = usage_begin(pi->self);
    close(pi->self, pi->inst);
    usage_end(pi->self, before);
}

/* bind and unbind of a session provider are calls with answers and not here. */
static void call_bind(struct provider_inst *pi, bool bind)
{
    const struct gr_auth_provider *auth = pi->vt;
    const struct gr_roster_provider *roster = pi->vt;
    void (*f)(struct gr_mod *self, void *inst, struct gr_session *session) = NULL;
    struct gr_mod *before;

    if (pi->bound == bind || pi->session == NULL || pi->self->stopped)
        return;
    if (pi->type == GR_PROVIDER_AUTH)
        f = bind ? auth->bind : auth->unbind;
    else if (pi->type == GR_PROVIDER_ROSTER)
        f = bind ? roster->bind : roster->unbind;
    pi->bound = bind;
    if (f == NULL)
        return;
    before = usage_begin(pi->self);
    f(pi->self, pi->inst, pi->session);
    usage_end(pi->self, before);
}

struct provider_inst *provider_open(struct provider *p, struct provider_insts *holder,
                                    struct gr_session *session)
{
    struct provider_inst **list = holder != NULL ? &holder->inst[p->type] : &p->of_loop;
    struct provider_inst *pi = *list;

    while (pi != NULL && pi->provider != p)
        pi = pi->next;
    if (pi != NULL)
        return pi;
    pi = gr_alloc(sizeof(*pi));
    pi->holder = holder;
    pi->provider = p;
    pi->self = p->self;
    pi->type = p->type;
    pi->vt = p->vt;
    pi->session = holder != NULL ? session : NULL;
    pi->next = *list;
    *list = pi;
    list_append(&p->insts, &pi->of_provider);
    pi->inst = call_open(p, pi->session);
    if (holder != NULL && (holder->bound & 1u << p->type) != 0)
        call_bind(pi, true);
    return pi;
}

static void inst_free(struct provider_inst *pi)
{
    call_close(pi);
    gr_free(pi);
}

void provider_inst_done(struct provider_inst *pi)
{
    pi->calls--;
    if (pi->dying && pi->calls == 0)
        inst_free(pi);
}

/* Out of its lists; closed now or by its last answer. */
static void inst_close(struct provider_inst *pi)
{
    struct provider_inst **at;

    gr_assert(!pi->dying);
    at = pi->holder != NULL ? &pi->holder->inst[pi->type] : &pi->provider->of_loop;
    while (*at != pi)
        at = &(*at)->next;
    *at = pi->next;
    list_remove(&pi->of_provider);
    call_bind(pi, false);
    pi->session = NULL;
    pi->provider = NULL;
    pi->dying = true;
    if (pi->calls == 0)
        inst_free(pi);
}

void provider_insts_fini(struct provider_insts *p, struct gr_session *session)
{
    /* backends.md 1, order of calls: roster, session, auth. */
    static const enum gr_provider_type order[] = { GR_PROVIDER_ROSTER, GR_PROVIDER_SESSION,
                                                   GR_PROVIDER_AUTH };

    (void)session;
    for (size_t i = 0; i < GR_COUNT(order); i++) {
        while (p->inst[order[i]] != NULL)
            inst_close(p->inst[order[i]]);
    }
    p->bound = 0;
}

void provider_close_all(struct gr_mod *self)
{
    for (struct provider *p = self->provides; p != NULL; p = p->next) {
        while (!list_empty(&p->insts))
            inst_close(list_entry(p->insts.next, struct provider_inst, of_provider));
    }
}

void provider_forget(struct gr_mod *self)
{
    for (struct provider *p = self->provides, *next; p != NULL; p = next) {
        next = p->next;
        gr_assert(list_empty(&p->insts));
        gr_free(p);
    }
    self->provides = NULL;
}

/* --- a session's life --- */

/* The provider in force is opened for it; others that are open already are told as well. */
static void bind_all(struct gr_host *h, enum gr_provider_type type, size_t offset,
                     struct provider_insts *p, struct gr_session *s)
{
    struct provider_set *set = h->providers;

    if (set->count[type] > 0 && provider_has(set->list[type][0], offset))
        provider_open(set->list[type][0], p, s);
    p->bound |= 1u << type;
    for (struct provider_inst *pi = p->inst[type]; pi != NULL; pi = pi->next)
        call_bind(pi, true);
}

void provider_auth_bind(struct gr_host *h, struct provider_insts *p, struct gr_session *s)
{
    bind_all(h, GR_PROVIDER_AUTH, offsetof(struct gr_auth_provider, bind), p, s);
}

void provider_roster_bind(struct gr_host *h, struct provider_insts *p, struct gr_session *s)
{
    bind_all(h, GR_PROVIDER_ROSTER, offsetof(struct gr_roster_provider, bind), p, s);
}

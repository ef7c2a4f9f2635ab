/* route/session.c: the tables of sessions and accounts of a loop, and what modules ask of them. */
#include "route/session.h"

#include "mod/reload.h"
#include "mod/usage.h"

#include <string.h>

static struct route_loop tables[LOOPS_MAX];
static _Atomic uint64_t last_id;

struct route_loop *route_loop(void)
{
    return &tables[loop_index(loop_self())];
}

static struct provider_insts *insts_of(struct gr_session *s)
{
    return &s->providers;
}

/* Reload: modules' data in every live object goes over or is released. */
static void reload_objects(struct gr_mod *old, struct gr_mod *now)
{
    struct route_loop *rl = route_loop();

    for (struct table_node *n = table_first(&rl->sessions); n; n = table_after(&rl->sessions, n))
        slots_reload(&GR_CONTAINER_OF(n, struct gr_session, by_id)->slots, old, now);
    for (struct table_node *n = table_first(&rl->accounts); n; n = table_after(&rl->accounts, n))
        slots_reload(&GR_CONTAINER_OF(n, struct gr_account, by_jid)->slots, old, now);
}

static void host_gone(struct gr_host *host)
{
    struct route_loop *rl = route_loop();
    struct table_node *next;

    for (struct table_node *n = table_first(&rl->sessions); n != NULL; n = next) {
        struct gr_session *s = GR_CONTAINER_OF(n, struct gr_session, by_id);
        next = table_after(&rl->sessions, n);
        if (s->host == host) /* now: its hooks are still there */
            session_end(s, "host-gone", NULL, GR_END_NORMAL);
    }
}

/* Nobody answers for it any more: without a stream it would stay for ever. At the end of the process
 * whoever answers for it has been told before. */
static void keeper_gone(struct slots *slots)
{
    struct gr_session *s = GR_CONTAINER_OF(slots, struct gr_session, slots);
    struct gr_mod *self, *before;
    const struct gr_keeper *k = slots_keeper(slots, &self);

    if (s->state != GR_S_BOUND || s->ending || self == NULL || self->retired)
        return;
    if (!gr_session_has_stream(s))
        session_request_close(s, NULL, NULL, true);
    if (k->leaves == NULL)
        return;
    before = usage_begin(self);
    k->leaves(self, s);
    usage_end(self, before);
}

void route_init(void)
{
    slots_keeper_gone = keeper_gone;
    provider_insts_of = insts_of;
    for (int i = 0; i < LOOPS_MAX; i++)
        list_init(&tables[i].promises);
    mod_reload_objects = reload_objects;
    mod_host_gone = host_gone;
}

void route_fini(void)
{
    for (int i = 0; i < LOOPS_MAX; i++) {
        table_fini(&tables[i].accounts);
        table_fini(&tables[i].sessions);
        table_fini(&tables[i].lanes);
        table_fini(&tables[i].asks);
        tables[i] = (struct route_loop){ 0 };
    }
}

/* --- sessions --- */

/* Counted by ourselves, so nobody chooses ids that collide: multiplying spreads them well enough. */
static uint64_t id_hash(uint64_t id)
{
    return id * 0x9e3779b97f4a7c15u;
}

struct gr_session *session_new(const struct session_out *out, void *ctx)
{
    struct gr_session *s = gr_alloc(sizeof(*s));

    s->id = ++last_id;
    s->out = out;
    s->out_ctx = ctx;
    s->since_us = gr_wall_us();
    list_init(&s->queue);
    list_init(&s->unsent);
    list_init(&s->successors);
    session_attach(s);
    return s;
}

void session_detach(struct gr_session *s)
{
    gr_assert(s->pins == 0 && s->account == NULL);
    provider_insts_fini(&s->providers, s); /* instances belong to a loop */
    slots_detach(&s->slots);
    table_remove(&route_loop()->sessions, &s->by_id);
    s->loop = NULL;
}

void session_attach(struct gr_session *s)
{
    s->loop = loop_self();
    table_insert_hashed(&route_loop()->sessions, &s->by_id, id_hash(s->id), &s->id, sizeof(s->id));
    if (s->host != NULL) /* a host is a different object on every loop */
        s->host = host_find(gr_host_name(s->host));
    slots_attach(&s->slots, s->host);
}

struct gr_session *session_by_id(uint64_t id)
{
    struct table_node *n =
        table_find_hashed(&route_loop()->sessions, id_hash(id), &id, sizeof(id));

    return n != NULL ? GR_CONTAINER_OF(n, struct gr_session, by_id) : NULL;
}

void session_each(void (*f)(void *ctx, struct gr_session *s), void *ctx)
{
    struct route_loop *rl = route_loop();
    struct table_node *next;

    for (struct table_node *n = table_first(&rl->sessions); n != NULL; n = next) {
        next = table_after(&rl->sessions, n);
        f(ctx, GR_CONTAINER_OF(n, struct gr_session, by_id));
    }
}

void gr_each_session(struct gr_mod *self,
                     void (*f)(struct gr_mod *self, struct gr_session *s, void *ctx), void *ctx)
{
    struct table_node *next;

    for (struct table_node *n = table_first(&route_loop()->sessions); n != NULL; n = next) {
        struct gr_session *s = GR_CONTAINER_OF(n, struct gr_session, by_id);

        next = table_after(&route_loop()->sessions, n);
        if (s->state == GR_S_BOUND && s->host == gr_mod_host(self))
            f(self, s, ctx);
    }
}

bool gr_some_sessions(struct gr_mod *self, uint64_t *at, size_t limit,
                      bool (*f)(struct gr_mod *self, struct gr_session *s, void *ctx), void *ctx)
{
    struct table_node *n = table_from(&route_loop()->sessions, *at), *next;
    bool go_on = true;

    for (; n != NULL && go_on && limit > 0; n = next, limit--) {
        struct gr_session *s = GR_CONTAINER_OF(n, struct gr_session, by_id);

        next = table_after(&route_loop()->sessions, n);
        if (s->state == GR_S_BOUND && s->host == gr_mod_host(self))
            go_on = f(self, s, ctx);
    }
    if (n != NULL)
        *at = n->hash; /* of no other: id_hash */
    return n != NULL;
}

void session_authenticated(struct gr_session *s, struct gr_jid *take_bare, const char *mech)
{
    gr_jid_free(&s->jid);
    s->jid = take_bare;
    gr_free(s->auth_mech);
    s->auth_mech = gr_strdup(mech);
    s->state = GR_S_AUTHENTICATED;
    provider_auth_bind(s->host, &s->providers, s);
}

uint64_t gr_session_id(const struct gr_session *s)
{
    return s->id;
}

enum gr_session_state gr_session_state(const struct gr_session *s)
{
    return s->ending ? GR_S_CLOSING : s->state;
}

struct gr_host *gr_session_host(const struct gr_session *s)
{
    return s->host;
}

const struct gr_jid *gr_session_jid(const struct gr_session *s)
{
    return s->jid;
}

struct gr_account *gr_session_account(const struct gr_session *s)
{
    return s->account;
}

const char *gr_session_ip(const struct gr_session *s)
{
    return s->out->ip(s->out_ctx);
}

bool gr_session_is_tls(const struct gr_session *s)
{
    return s->out->is_tls(s->out_ctx);
}

int64_t gr_session_auth_until(const struct gr_session *s)
{
    return s->auth_until_s;
}

const char *gr_session_auth_mech(const struct gr_session *s)
{
    return s->auth_mech;
}

bool gr_is_home(const struct gr_jid *jid)
{
    return loop_is_self(loop_home(jid->hash));
}

void gr_session_set_http_identity(struct gr_session *s, const char *identity)
{
    gr_free(s->http_identity);
    s->http_identity = identity != NULL ? gr_strdup(identity) : NULL;
}

const char *gr_session_lang(const struct gr_session *s)
{
    return s->lang;
}

static void add_unhandled(void *ctx, struct gr_session *s)
{
    *(size_t *)ctx += s->unhandled;
}

size_t session_unhandled_total(void)
{
    size_t n = 0;

    session_each(add_unhandled, &n);
    return n;
}

const char *gr_session_client_id(const struct gr_session *s)
{
    return s->client_id;
}

const char *gr_session_client_software(const struct gr_session *s)
{
    return s->client_software;
}

const char *gr_session_client_device(const struct gr_session *s)
{
    return s->client_device;
}

unsigned gr_session_unhandled(const struct gr_session *s)
{
    return s->unhandled;
}

/* --- presence as the table knows it --- */

bool gr_session_available(const struct gr_session *s)
{
    return s->available;
}

int gr_session_priority(const struct gr_session *s)
{
    return s->priority;
}

struct gr_stanza *gr_session_presence(const struct gr_session *s)
{
    return s->presence;
}

int64_t gr_session_presence_us(const struct gr_session *s)
{
    return s->presence_us;
}

int64_t gr_session_available_us(const struct gr_session *s)
{
    return s->available_us;
}

static void presence_hook(struct gr_session *s, enum gr_hook_id id, struct gr_stanza *presence,
                          const char *status)
{
    struct gr_acc acc;
    struct gr_session_ev e = { .ev.host = s->host, .ev.acc = &acc, .session = s, .jid = s->jid,
                               .stanza = presence, .text = status };

    if (hook_empty(s->host, id))
        return;
    acc_init(&acc, GR_FROM_C2S);
    hook_run_now(id, &e.ev);
    deliver_requests(s, &acc);
    acc_fini(&acc);
}

void gr_session_set_presence(struct gr_mod *self, struct gr_session *s,
                             struct gr_stanza *presence, const char *status)
{
    bool was = s->available;
    int8_t before = s->priority;

    gr_stanza_unref(&s->presence);
    s->available = presence != NULL;
    s->presence = presence != NULL ? gr_stanza_ref(presence) : NULL;
    s->presence_us = gr_wall_us();
    s->priority = presence != NULL ? (int8_t)gr_presence_priority(presence) : 0;
    if (!was || s->priority != before)
        s->available_us = s->presence_us;
    provider_session_presence(s->host, &s->providers, s, s->jid, s->priority, presence);
    gr_session_changed(self, s);
    if (presence != NULL)
        presence_hook(s, GR_HOOK_set_presence, presence, NULL);
    else if (was)
        presence_hook(s, GR_HOOK_unset_presence, NULL, status);
}

/* --- accounts --- */

struct gr_account *account_find(const struct gr_jid *jid)
{
    struct table_node *n =
        table_find_hashed(&route_loop()->accounts, jid->hash, jid->bare, jid->bare_len);

    return n != NULL ? GR_CONTAINER_OF(n, struct gr_account, by_jid) : NULL;
}

struct gr_account *account_get(const struct gr_jid *jid, struct gr_host *host)
{
    struct gr_account *a = account_find(jid);

    gr_assert(loop_home(jid->hash) == loop_self());
    if (a != NULL)
        return a;
    a = gr_alloc(sizeof(*a));
    a->jid = gr_jid_dup_bare(jid);
    a->host = host;
    list_init(&a->sessions);
    table_insert(&route_loop()->accounts, &a->by_jid, a->jid->bare, a->jid->bare_len);
    return a;
}

void account_release_if_idle(struct gr_account *a)
{
    if (a->count > 0)
        return;
    slots_fini(&a->slots);
    table_remove(&route_loop()->accounts, &a->by_jid);
    gr_jid_free(&a->jid);
    gr_free(a);
}

struct gr_account *gr_account_find(struct gr_mod *self, const struct gr_jid *jid)
{
    (void)self;
    return account_find(jid);
}

const struct gr_jid *gr_account_jid(const struct gr_account *a)
{
    return a->jid;
}

struct gr_session *gr_account_next(const struct gr_account *a, struct gr_session *prev)
{
    struct link *l = prev != NULL ? prev->of_account.next : a->sessions.next;

    for (; l != &a->sessions; l = l->next) {
        struct gr_session *s = list_entry(l, struct gr_session, of_account);
        if (!s->ending)
            return s;
    }
    return NULL;
}

struct gr_session *gr_account_session(const struct gr_account *a, const char *resource)
{
    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s))
        if (strcmp(s->jid->resource, resource) == 0)
            return s;
    return NULL;
}

struct gr_session *gr_session_find(struct gr_mod *self, const struct gr_jid *full, uint64_t id)
{
    (void)self;
    if (id != 0)
        return session_by_id(id);
    struct gr_account *a = account_find(full);
    return a != NULL && full->resource != NULL ? gr_account_session(a, full->resource) : NULL;
}

/* --- slots --- */

void *gr_session_slot(struct gr_mod *self, struct gr_session *s, const struct gr_slot *slot)
{
    return slots_get(&s->slots, self, slot);
}

void *gr_account_slot(struct gr_mod *self, struct gr_account *a, const struct gr_slot *slot)
{
    return slots_get(&a->slots, self, slot);
}

void *gr_session_slot_peek(struct gr_mod *self, const struct gr_session *s,
                           const struct gr_slot *slot)
{
    return slots_peek(&s->slots, self, slot);
}

void *gr_account_slot_peek(struct gr_mod *self, const struct gr_account *a,
                           const struct gr_slot *slot)
{
    return slots_peek(&a->slots, self, slot);
}

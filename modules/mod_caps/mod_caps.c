/* mod_caps: what clients can do, by the hashes that they announce in their presence (XEP-0115, 1.6.0;
 * XEP-0390, 0.3.2), and what the host can do, in the stream features.
 *
 * This file: sessions, the hooks, the options. Other files: hash.c makes and checks hashes, cache.c
 * keeps what they stand for, ask.c asks for what is not known, contacts.c remembers others, own.c
 * answers for the host. */
#include "caps.h"

#include <string.h>

static const struct gr_opt options[] = {
    GR_OPT_LIST(struct caps_conf, versions, "v1, v2",
                "what is announced and understood: v1 (XEP-0115), v2 (XEP-0390)"),
    GR_OPT_INT(struct caps_conf, cache_size, 1000, 10, 1000000,
               "hashes of which the meaning is kept, per loop"),
    GR_OPT_DURATION(struct caps_conf, iq_response_timeout, 5 * GR_SECOND, GR_SECOND, GR_MINUTE,
                    "time a client has to explain its hash"),
    GR_OPT_END
};

static bool has_version(const struct caps_conf *conf, const char *version)
{
    const char *const *v = conf->versions;

    while (v != NULL && *v != NULL && strcmp(*v, version) != 0)
        v++;
    return v != NULL && *v != NULL;
}

static int check(const void *conf, const char **why)
{
    const struct caps_conf *c = conf;

    for (const char *const *v = c->versions; v != NULL && *v != NULL; v++) {
        if (strcmp(*v, "v1") == 0 || strcmp(*v, "v2") == 0)
            continue;
        *why = "versions are v1 (XEP-0115) and v2 (XEP-0390)";
        return GR_EINVAL;
    }
    return 0;
}

/* --- what a presence announces --- */

static bool fits(const char *s, size_t max)
{
    return s != NULL && s[0] != '\0' && strlen(s) <= max;
}

bool announced_in(struct gr_mod *self, const struct gr_stanza *presence, struct announced *out)
{
    const struct state *state = gr_state(self);
    const struct gr_el *c = state->v2 ? gr_stanza_child(presence, NS_CAPS2, "c") : NULL, *hash;

    /* Better than v1, which can be forged (XEP-0390, 7.2). */
    for (hash = c != NULL ? gr_el_child(c, NS_HASHES, "hash") : NULL; hash != NULL;
         hash = gr_el_next(hash, NS_HASHES, "hash")) {
        *out = (struct announced){ true, NULL, gr_el_attr(hash, "algo"), gr_el_text(hash, NULL) };
        if (out->algo != NULL && gr_hash_size(out->algo) > 0 && fits(out->value, VALUE_SIZE - 1))
            return true;
    }
    c = state->v1 ? gr_stanza_child(presence, NS_CAPS, "c") : NULL;
    if (c == NULL)
        return false;
    /* Without `hash`: the old format, whose values prove nothing (XEP-0115, 13). */
    *out = (struct announced){ false, gr_el_attr(c, "node"), gr_el_attr(c, "hash"),
                               gr_el_attr(c, "ver") };
    return fits(out->algo, ALGO_MAX) && fits(out->value, VALUE_SIZE - 1) &&
           fits(out->node, NODE_MAX);
}

/* --- sessions --- */

static void stop_waiting(struct client *c)
{
    if (c->at == NULL)
        return;
    *c->at = c->next;
    if (c->next != NULL)
        c->next->at = c->at;
    c->at = NULL;
}

static void client_forget(struct client *c)
{
    stop_waiting(c);
    caps_unref(&c->caps);
    c->told = false;
}

static void client_release(void *data)
{
    client_forget(data);
}

static void client_moved(struct gr_mod *self, void *data)
{
    struct client *c = data;
    struct state *state = gr_state(self);

    if (c->caps != NULL)
        cache_move(c->caps, &state->cache);
}

static const struct gr_slot client_slot = {
    .name = "client", .version = 1, .size = sizeof(struct client), .release = client_release,
    .moved = client_moved
};

static void wait(struct client *c)
{
    if (c->at != NULL)
        return;
    c->next = c->caps->clients;
    c->at = &c->caps->clients;
    if (c->next != NULL)
        c->next->at = &c->next;
    *c->at = c;
}

static void recognised(struct gr_mod *self, struct gr_session *s, struct client *c,
                       struct gr_acc *acc)
{
    struct gr_caps_ev ev = { .ev.acc = acc, .session = s, .features = c->caps->features,
                             .count = c->caps->count, .to = gr_session_jid(s) };

    c->told = true;
    gr_hook_run(self, GR_HOOK_caps_recognised, &ev.ev, NULL);
}

void tell_clients(struct gr_mod *self, struct caps *caps)
{
    struct client *c;

    while ((c = caps->clients) != NULL) {
        struct gr_session *s = gr_session_find(self, NULL, c->session);

        stop_waiting(c);
        if (s != NULL && caps->features != NULL)
            recognised(self, s, c, NULL);
    }
}

static void announce(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct client *c;
    struct announced what;
    struct caps *caps;

    if (!announced_in(self, ev->stanza, &what))
        return;
    c = gr_session_slot(self, ev->session, &client_slot);
    c->session = gr_session_id(ev->session);
    caps = learn(self, &what, ev->from, caps_ref(c->caps));
    if (caps == NULL || c->caps == NULL || strcmp(caps->key, c->caps->key) != 0) {
        client_forget(c);
    } else if (caps != c->caps) {
        stop_waiting(c);
        caps_unref(&c->caps);
    } else {
        caps_unref(&caps); /* the same */
        return;
    }
    c->caps = caps;
    if (caps == NULL || c->told)
        return;
    if (caps->features != NULL)
        recognised(self, ev->session, c, ev->ev.acc);
    else if (caps->asked)
        wait(c);
}

/* Of a broadcast; the next presence session starts anew (XEP-0115, 8.2). */
static enum gr_verdict on_send(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    enum gr_type type = gr_stanza_type(ev->stanza);
    struct client *c;

    if (ev->to->resource != NULL || !gr_jid_bare_equal(ev->to, ev->from))
        return GR_OK;
    if (type == GR_AVAILABLE)
        announce(self, ev);
    if (type == GR_UNAVAILABLE &&
        (c = gr_session_slot_peek(self, ev->session, &client_slot)) != NULL)
        client_forget(c);
    return GR_OK;
}

/* --- who wants which events --- */

/* As the account knows it; of its own clients what they said. */
static struct caps *caps_of(struct gr_mod *self, const struct gr_account *a,
                            const struct gr_jid *full)
{
    const struct gr_session *s;
    const struct client *c;

    if (full->resource == NULL)
        return NULL;
    if (!gr_jid_bare_equal(full, gr_account_jid(a)))
        return contacts_find(self, a, full);
    s = gr_account_session(a, full->resource);
    c = s != NULL ? gr_session_slot_peek(self, s, &client_slot) : NULL;
    return c != NULL ? c->caps : NULL;
}

static enum gr_verdict on_filter_pep(struct gr_mod *self, struct gr_caps_ev *ev)
{
    const struct gr_account *a = ev->session != NULL ? gr_session_account(ev->session) : NULL;

    if (a == NULL || ev->to == NULL || ev->feature == NULL)
        return GR_OK;
    ev->drop = !caps_has(caps_of(self, a, ev->to), ev->feature);
    return GR_STOP;
}

static enum gr_verdict on_pep_recipients(struct gr_mod *self, struct gr_caps_ev *ev)
{
    const struct gr_account *a = ev->session != NULL ? gr_session_account(ev->session) : NULL;
    struct gr_session *s;

    if (a == NULL || ev->feature == NULL)
        return GR_OK;
    for (s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s))
        if (caps_has(caps_of(self, a, gr_session_jid(s)), ev->feature))
            gr_caps_ev_recipient(ev, gr_session_jid(s));
    contacts_with(self, a, ev);
    return GR_OK;
}

/* --- life --- */

static int start(struct gr_mod *self, const char **why)
{
    const struct caps_conf *conf = gr_conf(self);
    struct state *state = gr_state(self);

    (void)why;
    state->v1 = has_version(conf, "v1");
    state->v2 = has_version(conf, "v2");
    cache_init(&state->cache, (size_t)conf->cache_size);
    return 0;
}

static void stop(struct gr_mod *self)
{
    struct state *state = gr_state(self);

    asks_stop(self);
    cache_fini(&state->cache);
    own_stop(&state->own);
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_presence, GR_PRIO_PRIVACY, on_send),
    GR_ON(user_receive_presence, GR_PRIO_PRIVACY, contacts_presence),
    GR_ON(get_pep_recipients, 75, on_pep_recipients),
    GR_ON(filter_pep_recipient, 75, on_filter_pep),
    GR_ON(c2s_stream_features, GR_PRIO_NORMAL, own_features),
    GR_ON(s2s_stream_features, GR_PRIO_NORMAL, own_features),
    GR_ON(disco_local_identity, GR_PRIO_FIRST, own_identity),
    GR_ON(disco_local_features, GR_PRIO_FIRST, own_disco_features),
    GR_ON(disco_info, GR_PRIO_FIRST, own_forms),
    GR_HOOK_END
};

static const struct gr_slot *const slots[] = { &client_slot, &contacts_slot, NULL };
static const char *const needs[] = { "disco", NULL };

GR_MODULE(caps,
    .summary = "what clients and the host can do, by hashes (XEP-0115, XEP-0390)",
    .conf_size = sizeof(struct caps_conf), .state_size = sizeof(struct state),
    .options = options, .hooks = hooks, .slots = slots, .needs = needs, .check = check,
    .start = start, .stop = stop);

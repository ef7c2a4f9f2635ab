/* mod_caps/own.c: what the host announces of itself (XEP-0115, 6.3; XEP-0390, 5.2), and the answers to
 * who asks for it by its hash.
 *
 * The hashes are those of the answer to disco#info, asked of the same hooks. They are looked at again after
 * a reload and when a second has passed. The answers of the last sets are kept, so that whoever asks for a hash gets what
 * it was made of. */
#include "caps.h"

#include <string.h>

/* Names the software (XEP-0115, 4); a domain that is nobody's (RFC 6761, 6.4). */
#define OWN_NODE "https://grapnel.invalid"

enum { LOOK_AGAIN_MS = 1000 };

static const char *const algos[] = { "sha-256", "sha3-256" }; /* XEP-0300: both are MUST */

static struct gr_stanza *gather(struct gr_mod *self)
{
    static const enum gr_hook_id hooks[] = { GR_HOOK_disco_local_identity,
                                             GR_HOOK_disco_local_features, GR_HOOK_disco_info };
    const struct gr_jid *host = gr_mod_host_jid(self);
    struct gr_disco_ev ev = { .from = host, .to = host, .node = "", .lang = NULL };

    ev.result = gr_iq_new(GR_RESULT, host, host, "caps");
    gr_el_add(ev.result, NULL, NS_INFO, "query");
    for (size_t i = 0; i < GR_COUNT(hooks); i++) {
        ev.node = ""; /* each chain starts with it */
        gr_hook_run(self, hooks[i], &ev.ev, NULL);
    }
    return ev.result;
}

static bool make(struct gr_mod *self, struct own_set *set)
{
    const struct gr_el *query;
    bool good;

    set->info = gather(self);
    query = gr_stanza_payload(set->info);
    good = hash_of(false, "sha-1", query, NULL, set->ver);
    for (size_t i = 0; i < GR_COUNT(algos); i++)
        good = good && hash_of(true, algos[i], query, NULL, set->hash[i]);
    if (!good)
        gr_stanza_unref(&set->info);
    return good;
}

/* NULL: what modules say about the host has no hash. */
static const struct own_set *current(struct gr_mod *self)
{
    struct state *state = gr_state(self);
    struct own *own = &state->own;
    struct own_set set = { .info = NULL };

    if (own->reloads == gr_reloads() && gr_now_ms() - own->made_ms < LOOK_AGAIN_MS)
        return own->good ? &own->set[0] : NULL;
    own->made_ms = gr_now_ms();
    own->reloads = gr_reloads();
    own->good = make(self, &set);
    if (!own->good)
        return NULL;
    if (own->set[0].info != NULL && strcmp(own->set[0].hash[0], set.hash[0]) == 0) {
        gr_stanza_unref(&set.info);
        return &own->set[0];
    }
    gr_stanza_unref(&own->set[OWN_SETS - 1].info);
    memmove(&own->set[1], &own->set[0], (OWN_SETS - 1) * sizeof(set));
    own->set[0] = set;
    return &own->set[0];
}

enum gr_verdict own_features(struct gr_mod *self, struct gr_features_ev *ev)
{
    const struct state *state = gr_state(self);
    const struct own_set *set;
    struct gr_el *c, *hash;

    if (ev->session != NULL && gr_session_state(ev->session) == GR_S_CONNECTED)
        return GR_OK; /* nobody's business yet */
    set = current(self);
    if (set == NULL)
        return GR_OK;
    if (state->v1) {
        c = gr_el_add(ev->features, NULL, NS_CAPS, "c");
        gr_el_set(ev->features, c, "hash", "sha-1");
        gr_el_set(ev->features, c, "node", OWN_NODE);
        gr_el_set(ev->features, c, "ver", set->ver);
    }
    if (!state->v2)
        return GR_OK;
    c = gr_el_add(ev->features, NULL, NS_CAPS2, "c");
    for (size_t i = 0; i < GR_COUNT(algos); i++) {
        hash = gr_el_add_text(ev->features, c, NS_HASHES, "hash", set->hash[i]);
        gr_el_set(ev->features, hash, "algo", algos[i]);
    }
    return GR_OK;
}

/* --- asked by hash --- */

static bool is_node_of(const struct own_set *set, const char *node)
{
    static const size_t v1 = sizeof(OWN_NODE "#") - 1, v2 = sizeof(NS_CAPS2 "#") - 1;

    if (strncmp(node, OWN_NODE "#", v1) == 0)
        return strcmp(node + v1, set->ver) == 0;
    if (strncmp(node, NS_CAPS2 "#", v2) != 0)
        return false;
    for (size_t i = 0; i < GR_COUNT(algos); i++) {
        size_t len = strlen(algos[i]);

        if (strncmp(node + v2, algos[i], len) == 0 && node[v2 + len] == '.' &&
            strcmp(node + v2 + len + 1, set->hash[i]) == 0)
            return true;
    }
    return false;
}

/* The elements of one kind as they were; the handlers behind would give those of now. */
static enum gr_verdict answer(struct gr_mod *self, struct gr_disco_ev *ev, const char *ns,
                              const char *name)
{
    const struct state *state = gr_state(self);
    const struct own_set *set = NULL;

    if (strchr(ev->node, '#') == NULL)
        return GR_OK;
    current(self); /* the question may be the first one of this loop */
    for (size_t i = 0; i < OWN_SETS && set == NULL; i++)
        if (state->own.set[i].info != NULL && is_node_of(&state->own.set[i], ev->node))
            set = &state->own.set[i];
    if (set == NULL)
        return GR_OK;
    for (const struct gr_el *el = gr_el_child(gr_stanza_payload(set->info), ns, name); el != NULL;
         el = gr_el_next(el, ns, name))
        gr_el_append(ev->result, gr_stanza_payload(ev->result), el);
    ev->answered = true;
    return GR_STOP;
}

enum gr_verdict own_identity(struct gr_mod *self, struct gr_disco_ev *ev)
{
    return answer(self, ev, NS_INFO, "identity");
}

enum gr_verdict own_disco_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    const struct state *state = gr_state(self);

    if (ev->node[0] == '\0' && state->v1)
        gr_disco_feature(ev, NS_CAPS);
    if (ev->node[0] == '\0' && state->v2)
        gr_disco_feature(ev, NS_CAPS2);
    return answer(self, ev, NS_INFO, "feature");
}

/* Identities without a language have that of the stream, which is part of the hash (XEP-0390, 4.1): it is
 * written out, so that who does not look there gets the same hash. */
enum gr_verdict own_forms(struct gr_mod *self, struct gr_disco_ev *ev)
{
    struct gr_el *query = gr_stanza_payload(ev->result);

    if (ev->node[0] != '\0')
        return answer(self, ev, NS_FORM, "x");
    for (struct gr_el *el = gr_el_child(query, NS_INFO, "identity"); el != NULL;
         el = gr_el_next(el, NS_INFO, "identity"))
        if (gr_el_attr(el, "xml:lang") == NULL)
            gr_el_set(ev->result, el, "xml:lang", "en");
    return GR_OK;
}

void own_stop(struct own *own)
{
    for (size_t i = 0; i < OWN_SETS; i++)
        gr_stanza_unref(&own->set[i].info);
}

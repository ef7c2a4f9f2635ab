/* mod_caps/ask.c: asking who announces a hash what it stands for (XEP-0115, 5.4; XEP-0390, 4.4).
 *
 * One question for all who announce the same at the time; when the one who is asked fails, up to four
 * others are asked in turn. An answer that does not have the hash is not believed, not even of who
 * gave it. With a function that we do not know an answer holds for that address alone. */
#include "caps.h"

#include <stdio.h>
#include <string.h>

enum { ASKS_MAX = 200, ASKS_OF_ACCOUNT_MAX = 8, OTHERS_MAX = 4 };

struct ask {
    struct ask *next;
    struct caps *caps;
    struct announced what;      /* its strings are copies */
    bool verify;
    struct gr_jid *jid;         /* who is asked */
    struct gr_jid *other[OTHERS_MAX];
    unsigned others;
};

static char *key_of(const struct announced *a, bool shared, const struct gr_jid *jid)
{
    return gr_asprintf("%d %s %s%s%s", a->v2 ? 2 : 1, a->algo, a->value, shared ? "" : " ",
                       shared ? "" : jid->full);
}

static void ask_free(struct asks *asks, struct ask *a)
{
    struct ask **at = &asks->first;

    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    asks->count--;
    caps_unref(&a->caps);
    gr_free((char *)a->what.node);
    gr_free((char *)a->what.algo);
    gr_free((char *)a->what.value);
    gr_jid_free(&a->jid);
    while (a->others > 0)
        gr_jid_free(&a->other[--a->others]);
    gr_free(a);
}

static struct ask *ask_new(struct asks *asks, const struct announced *what, bool verify,
                           struct caps *caps, const struct gr_jid *jid)
{
    struct ask *a = gr_alloc(sizeof(*a));

    a->caps = caps_ref(caps);
    a->what = (struct announced){ what->v2, what->node != NULL ? gr_strdup(what->node) : NULL,
                                  gr_strdup(what->algo), gr_strdup(what->value) };
    a->verify = verify;
    a->jid = gr_jid_dup(jid);
    a->next = asks->first;
    asks->first = a;
    asks->count++;
    return a;
}

/* --- the answer --- */

static const char *lang_of(const struct gr_stanza *reply, const struct gr_el *query)
{
    const char *lang = gr_el_attr(query, "xml:lang");

    return lang != NULL ? lang : gr_stanza_lang(reply);
}

static bool is_answer(struct ask *a, const struct gr_stanza *reply)
{
    const struct gr_el *query;

    if (reply == NULL || gr_stanza_type(reply) != GR_RESULT)
        return false;
    query = gr_stanza_child(reply, NS_INFO, "query");
    return query != NULL &&
           (!a->verify || hash_matches(&a->what, query, lang_of(reply, query))) &&
           caps_learn(a->caps, query);
}

static void send(struct gr_mod *self, struct ask *a);

static void on_reply(struct gr_mod *self, void *data, const struct gr_stanza *reply)
{
    struct state *state = gr_state(self);
    struct ask *a = *(struct ask **)data;
    struct caps *caps;

    if (is_answer(a, reply)) {
        cache_keep(a->caps);
    } else if (a->others > 0) {
        gr_jid_free(&a->jid);
        a->jid = a->other[--a->others];
        send(self, a);
        return;
    }
    caps = caps_ref(a->caps);
    caps->asked = false;
    caps->failed = caps->features == NULL;
    ask_free(&state->asks, a);
    tell_clients(self, caps);
    caps_unref(&caps);
}

static void send(struct gr_mod *self, struct ask *a)
{
    const struct caps_conf *conf = gr_conf(self);
    struct gr_stanza *iq = gr_iq_new(GR_GET, gr_mod_host_jid(self), a->jid, NULL);
    struct gr_el *query = gr_el_add(iq, NULL, NS_INFO, "query");
    struct ask **data = gr_alloc(sizeof(struct ask *));

    if (a->what.v2)
        gr_el_setf(iq, query, "node", NS_CAPS2 "#%s.%s", a->what.algo, a->what.value);
    else
        gr_el_setf(iq, query, "node", "%s#%s", a->what.node, a->what.value);
    *data = a;
    gr_iq_ask(self, iq, conf->iq_response_timeout, on_reply, data);
}

/* --- who asks --- */

static struct ask *find(const struct asks *asks, const char *key)
{
    struct ask *a = asks->first;

    while (a != NULL && strcmp(a->caps->key, key) != 0)
        a = a->next;
    return a;
}

static bool may_ask(const struct asks *asks, const struct gr_jid *jid)
{
    unsigned n = 0;

    for (const struct ask *a = asks->first; a != NULL; a = a->next)
        n += gr_jid_bare_equal(a->jid, jid);
    return asks->count < ASKS_MAX && n < ASKS_OF_ACCOUNT_MAX;
}

static struct caps *ask_for(struct gr_mod *self, const struct announced *what, bool verify,
                            const char *key, const struct gr_jid *jid)
{
    struct state *state = gr_state(self);
    struct ask *a = find(&state->asks, key);
    struct caps *caps;

    if (a != NULL) {
        if (a->others < OTHERS_MAX)
            a->other[a->others++] = gr_jid_dup(jid);
        return caps_ref(a->caps);
    }
    if (!may_ask(&state->asks, jid))
        return NULL;
    caps = caps_new(&state->cache, key);
    caps->asked = true;
    send(self, ask_new(&state->asks, what, verify, caps, jid));
    return caps;
}

struct caps *learn(struct gr_mod *self, const struct announced *what, const struct gr_jid *jid,
                   struct caps *take_before)
{
    struct state *state = gr_state(self);
    bool verify = gr_hash_size(what->algo) > 0;
    char *key = key_of(what, verify, jid);
    struct caps *caps = take_before;

    /* The same again: asked about once only, unless the answer was forgotten meanwhile. */
    if (caps == NULL || strcmp(caps->key, key) != 0 ||
        (caps->features == NULL && !caps->asked && !caps->failed)) {
        caps_unref(&caps);
        caps = caps_ref(cache_find(&state->cache, key));
        if (caps == NULL)
            caps = ask_for(self, what, verify, key, jid);
    }
    gr_free(key);
    return caps;
}

void asks_stop(struct gr_mod *self)
{
    struct state *state = gr_state(self);

    while (state->asks.first != NULL)
        ask_free(&state->asks, state->asks.first);
}

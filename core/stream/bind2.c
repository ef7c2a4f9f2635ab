/* stream/bind2.c: the resource that comes with a SASL2 login (XEP-0386). */
#include "stream/sasl2.h"

#include "stream/auth.h"

#include <string.h>

#define STABLE_BYTES 8

void bind2_features(struct c2s *c, struct gr_stanza *f, struct gr_el *in)
{
    struct gr_inline_ev e = { .ev.host = c->session->host, .session = c->session, .answer = f };
    struct gr_el *bind = gr_el_add(f, in, NS_BIND2, "bind");

    e.at = gr_el_add(f, bind, NULL, "inline");
    if (!hook_empty(e.ev.host, GR_HOOK_bind2_stream_features))
        hook_run_now(GR_HOOK_bind2_stream_features, &e.ev);
    if (gr_el_child(e.at, NULL, NULL) == NULL) /* the schema wants a feature in it */
        gr_el_remove(f, e.at);
}

/* The same for the same account, client and tag, and telling nothing about the client's id
 * (XEP-0386, 3.2.1). */
static void stable_id(const struct gr_session *s, const char *tag, char out[2 * STABLE_BYTES + 1])
{
    uint8_t key[AUTH_KEY_SIZE], mac[CREDS_KEY_MAX];
    char *text = gr_asprintf("%s %s %s", s->jid->bare, s->client_id, tag);

    auth_derive_key("bind2", s->jid->domain, key);
    scram_hmac(SCRAM_SHA256, key, sizeof(key), text, strlen(text), mac);
    gr_hex_encode(out, mac, STABLE_BYTES);
    gr_wipe(key, sizeof(key));
    gr_free(text);
}

char *bind2_resource(const struct gr_session *s, const struct gr_el *bind)
{
    const struct gr_el *el = gr_el_child(bind, NS_BIND2, "tag");
    const char *tag = el != NULL ? gr_el_text(el, NULL) : "";
    char id[2 * STABLE_BYTES + 1 > GR_ID_SIZE ? 2 * STABLE_BYTES + 1 : GR_ID_SIZE];
    struct gr_jid *jid = NULL;
    char *resource;

    if (s->client_id != NULL)
        stable_id(s, tag, id);
    else
        gr_random_id(id);
    resource = *tag != '\0' ? gr_asprintf("%s/%s", tag, id) : gr_strdup(id);
    if (gr_jid_with_resource(s->jid, resource, &jid) != 0) { /* not with that tag */
        gr_free(resource);
        resource = gr_strdup(id);
    }
    gr_jid_free(&jid);
    return resource;
}

/* XEP-0386, 3.2: it has come back, so they are of connections that it has lost. */
void bind2_replace(struct gr_session *s)
{
    struct gr_account *a;
    struct gr_session *old, *next;

    if (s->client_id == NULL || (a = account_find(s->jid)) == NULL)
        return;
    for (old = gr_account_next(a, NULL); old != NULL; old = next) {
        if (old == s || old->client_id == NULL || strcmp(old->client_id, s->client_id) != 0) {
            next = gr_account_next(a, old);
            continue;
        }
        session_end(old, "conflict", "Replaced by a new session of the same client",
                    GR_END_REPLACED);
        if ((a = account_find(s->jid)) == NULL) /* it was the last one */
            return;
        next = gr_account_next(a, NULL);
    }
}

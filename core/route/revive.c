/* route/revive.c: a session as bytes, and made again from them after a restart (XEP-0198, 5): bound and
 * available as it was, without a stream; nobody is told, as for everybody else it was never away. Of the
 * account's home loop. */
#include "route/session.h"

#include "base/buf.h"
#include "mod/usage.h"

#include <string.h>

#define IMAGE_VERSION 2

/* --- bytes: each piece with its length in front --- */

static void put_u64(struct buf *b, uint64_t v)
{
    uint8_t out[8];

    for (int i = 7; i >= 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
    buf_append(b, out, sizeof(out));
}

static void put_bytes(struct buf *b, const void *data, size_t len)
{
    put_u64(b, len);
    buf_append(b, data, len);
}

static void put_text(struct buf *b, const char *text) /* with its NUL; NULL: nothing at all */
{
    put_bytes(b, text != NULL ? text : "", text != NULL ? strlen(text) + 1 : 0);
}

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static uint64_t get_u64(struct reader *r)
{
    uint64_t v = 0;

    if (r->left < 8) {
        r->bad = true;
        return 0;
    }
    for (int i = 0; i < 8; i++)
        v = v << 8 | r->at[i];
    r->at += 8;
    r->left -= 8;
    return v;
}

static const void *get_bytes(struct reader *r, size_t *len)
{
    uint64_t n = get_u64(r);
    const void *at = r->at;

    *len = 0;
    if (r->bad || n > r->left) {
        r->bad = true;
        return "";
    }
    r->at += n;
    r->left -= (size_t)n;
    *len = (size_t)n;
    return at;
}

static const char *get_text(struct reader *r)
{
    size_t len;
    const char *text = get_bytes(r, &len);

    if (len > 0 && text[len - 1] != '\0')
        r->bad = true;
    return len > 0 && !r->bad ? text : NULL;
}

/* --- writing --- */

static void put_slot(void *ctx, const char *module, const struct gr_slot *slot, const void *data)
{
    struct buf *b = ctx;
    size_t len = 0;
    void *bytes = slot->persist(data, &len);

    if (bytes == NULL)
        return;
    put_text(b, module);
    put_text(b, slot->name);
    put_u64(b, slot->version);
    put_bytes(b, bytes, len);
    gr_free(bytes);
}

void *gr_session_image(struct gr_mod *self, struct gr_session *s, size_t *len)
{
    struct buf b = { 0 };
    const char *xml = NULL;
    void *bytes;

    (void)self;
    if (s->presence != NULL)
        xml = gr_stanza_xml(s->presence, NULL);
    put_u64(&b, IMAGE_VERSION);
    put_text(&b, s->jid->full);
    put_text(&b, s->auth_mech);
    put_text(&b, s->lang);
    put_text(&b, s->client_id);
    put_text(&b, s->client_software);
    put_text(&b, s->client_device);
    put_text(&b, xml);
    put_u64(&b, (uint64_t)s->presence_us);
    put_u64(&b, (uint64_t)s->available_us);
    slots_each_lasting(&s->slots, put_slot, &b);
    *len = buf_len(&b);
    bytes = gr_alloc(*len);
    memcpy(bytes, buf_data(&b), *len);
    buf_fini(&b);
    return bytes;
}

/* --- reading --- */

struct revival {
    struct gr_mod *self;
    struct gr_session *s;
    struct gr_jid *full;
    gr_revived_f f;
    void *data;
    size_t slots_len;
    uint8_t slots[];
};

static void revive_slots(struct gr_session *s, const void *bytes, size_t len)
{
    struct reader r = { bytes, len, false };

    while (r.left > 0 && !r.bad) {
        const char *module = get_text(&r), *name = get_text(&r);
        uint64_t version = get_u64(&r);
        size_t data_len;
        const void *data = get_bytes(&r, &data_len);

        if (!r.bad && module != NULL && name != NULL)
            slots_revive(s->host, &s->slots, s, module, name, (unsigned)version, data, data_len);
    }
}

static void end(struct revival *v)
{
    struct gr_mod *before = usage_begin(v->self);

    if (!v->self->stopped)
        v->f(v->self, v->s, v->data);
    usage_end(v->self, before);
    mod_unpend(v->self);
    gr_jid_free(&v->full);
    gr_free(v->data);
    gr_free(v);
}

static void on_bound(void *arg, const struct gr_answer *a)
{
    struct revival *v = arg;
    struct gr_session *s = v->s, *refused = s;

    if (a->result != GR_R_OK || s->ending) {
        v->s = NULL;
        session_terminate(&refused, GR_END_ERROR);
    } else {
        session_enter(s, v->full);
        v->full = NULL;
        if (s->available)
            provider_session_presence(s->host, &s->providers, s, s->jid, s->priority, s->presence);
        revive_slots(s, v->slots, v->slots_len);
    }
    session_unpin(s);
    end(v);
}

/* The account may have gone while nobody was here. Who cannot tell ends no session. */
static void on_state(void *arg, const struct gr_answer *a)
{
    struct revival *v = arg;

    if (v->s->ending || a->result == GR_R_NONE || a->result == GR_R_FALSE)
        on_bound(v, &(struct gr_answer){ .result = GR_R_FALSE });
    else
        provider_session_bind(v->s->host, &v->s->providers, v->s, v->full, on_bound, v);
}

static bool read_presence(struct gr_session *s, const char *xml, int64_t us, int64_t since_us)
{
    if (xml == NULL)
        return true;
    if (gr_stanza_parse(xml, strlen(xml), &s->presence) != 0)
        return false;
    s->available = true;
    s->priority = (int8_t)gr_presence_priority(s->presence);
    s->presence_us = us;
    s->available_us = since_us;
    return true;
}

static char *copy(const char *text)
{
    return text != NULL ? gr_strdup(text) : NULL;
}

/* What the bytes say, as a session that is not in the table yet; NULL: they make no sense here. */
static struct gr_session *make(struct reader *r, struct gr_jid **full)
{
    struct gr_session *s = NULL;
    struct gr_host *host;
    const char *jid, *mech, *lang, *id, *software, *device, *xml;
    int64_t us, since_us;

    if (get_u64(r) != IMAGE_VERSION)
        return NULL;
    jid = get_text(r);
    mech = get_text(r);
    lang = get_text(r);
    id = get_text(r);
    software = get_text(r);
    device = get_text(r);
    xml = get_text(r);
    us = (int64_t)get_u64(r);
    since_us = (int64_t)get_u64(r);
    if (r->bad || jid == NULL || gr_jid_parse(jid, strlen(jid), full) != 0)
        return NULL;
    host = host_find((*full)->domain);
    if (host == NULL || (*full)->resource == NULL || (*full)->node == NULL ||
        !gr_is_home(*full) || gr_session_find(NULL, *full, 0) != NULL)
        return NULL;
    s = session_new(&session_gone, NULL);
    s->host = host;
    s->lang = copy(lang);
    s->client_id = copy(id);
    s->client_software = copy(software);
    s->client_device = copy(device);
    session_authenticated(s, gr_jid_dup_bare(*full), mech != NULL ? mech : "");
    if (!read_presence(s, xml, us, since_us))
        session_terminate(&s, GR_END_ERROR);
    return s;
}

void gr_session_revive(struct gr_mod *self, const void *image, size_t len, gr_revived_f f,
                       void *take_data)
{
    struct reader r = { image, len, false };
    struct gr_jid *full = NULL;
    struct gr_session *s = make(&r, &full);
    struct revival *v = gr_alloc(sizeof(*v) + r.left);

    v->self = self;
    v->s = s;
    v->full = full;
    v->f = f;
    v->data = take_data;
    v->slots_len = r.left;
    memcpy(v->slots, r.at, r.left);
    mod_pend(self);
    if (s == NULL) {
        end(v);
        return;
    }
    session_pin(s);
    provider_auth_may_open(s->host, full->node, on_state, v);
}

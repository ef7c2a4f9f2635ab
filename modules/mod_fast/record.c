/* mod_fast/record.c: rows of clients, and the tokens made from them.
 *
 * The mechanisms need the token itself as a key (draft-schmaus-kitten-sasl-ht, 3), so no hash of it
 * could be kept in its place. Kept is a salt; the token is a keyed hash of it under a secret of the
 * server that is not in the store. Who has read the store can log in as nobody. */
#include "fast.h"

#include <string.h>

#define VERSION 2 /* 1: tokens without until_s */

static const char *const mechanisms[] = { "HT-SHA-256-EXPR", "HT-SHA-256-UNIQ", "HT-SHA-256-ENDP",
                                          "HT-SHA-256-NONE" };

const struct gr_coll fast_collections[] = { GR_MAP("fast_token"), GR_COLL_END };

uint8_t mechanism_number(const char *name)
{
    for (size_t i = 0; name != NULL && i < GR_COUNT(mechanisms); i++)
        if (strcmp(mechanisms[i], name) == 0)
            return (uint8_t)(i + 1);
    return 0;
}

const char *mechanism_name(uint8_t number)
{
    return number > 0 && number <= GR_COUNT(mechanisms) ? mechanisms[number - 1] : "none";
}

/* --- version, current, next, used, software NUL, device NUL; numbers are big-endian --- */

static uint8_t *put_number(uint8_t *p, int64_t value)
{
    for (int i = 0; i < 8; i++)
        *p++ = (uint8_t)((uint64_t)value >> (56 - 8 * i));
    return p;
}

static uint8_t *put_token(uint8_t *p, const struct token *t)
{
    *p++ = t->mechanism;
    memcpy(p, t->salt, SALT_SIZE);
    p = put_number(p + SALT_SIZE, t->issued_s);
    p = put_number(p, t->expires_s);
    p = put_number(p, t->count);
    return put_number(p, t->until_s);
}

size_t client_encode(const struct client *c, uint8_t out[RECORD_MAX])
{
    uint8_t *p = out;

    *p++ = VERSION;
    p = put_token(p, &c->current);
    p = put_token(p, &c->next);
    p = put_number(p, c->used_s);
    p = (uint8_t *)stpcpy((char *)p, c->software) + 1;
    p = (uint8_t *)stpcpy((char *)p, c->device) + 1;
    return (size_t)(p - out);
}

static const uint8_t *get_number(const uint8_t *p, int64_t *value)
{
    uint64_t n = 0;

    for (int i = 0; i < 8; i++)
        n = n << 8 | *p++;
    *value = (int64_t)n;
    return p;
}

static const uint8_t *get_token(const uint8_t *p, bool has_until, struct token *t)
{
    t->mechanism = *p++;
    memcpy(t->salt, p, SALT_SIZE);
    p = get_number(p + SALT_SIZE, &t->issued_s);
    p = get_number(p, &t->expires_s);
    p = get_number(p, &t->count);
    return has_until ? get_number(p, &t->until_s) : p;
}

/* NULL: it does not end in time. */
static const uint8_t *get_name(const uint8_t *p, const uint8_t *end, char out[NAME_SIZE])
{
    size_t len = strnlen((const char *)p, (size_t)(end - p));

    if (len == (size_t)(end - p) || len >= NAME_SIZE)
        return NULL;
    memcpy(out, p, len + 1);
    return p + len + 1;
}

int client_decode(const void *data, size_t len, struct client *out)
{
    const uint8_t *p = data, *end = p + len;
    bool has_until = len > 0 && *p == VERSION;
    const size_t fixed = 1 + 2 * (1 + SALT_SIZE + (has_until ? 4 : 3) * 8) + 8;

    memset(out, 0, sizeof(*out));
    if (len < fixed || *p == 0 || *p++ > VERSION)
        return GR_EINVAL;
    p = get_token(p, has_until, &out->current);
    p = get_token(p, has_until, &out->next);
    p = get_number(p, &out->used_s);
    p = get_name(p, end, out->software);
    if (p != NULL)
        p = get_name(p, end, out->device);
    return p == end ? 0 : GR_EINVAL;
}

void token_text(struct gr_mod *self, const struct gr_jid *jid, const char *id,
                const struct token *t, char out[TOKEN_SIZE])
{
    const char *mechanism = mechanism_name(t->mechanism);
    size_t jid_len = strlen(jid->bare) + 1, id_len = strlen(id) + 1, m_len = strlen(mechanism) + 1;
    uint8_t *data = gr_alloc(jid_len + id_len + m_len + SALT_SIZE), derived[GR_DERIVED_SIZE];

    memcpy(data, jid->bare, jid_len);
    memcpy(data + jid_len, id, id_len);
    memcpy(data + jid_len + id_len, mechanism, m_len);
    memcpy(data + jid_len + id_len + m_len, t->salt, SALT_SIZE);
    gr_derive(self, "fast_secret", data, jid_len + id_len + m_len + SALT_SIZE, derived);
    gr_base64_encode(out, derived, sizeof(derived));
    gr_wipe(derived, sizeof(derived));
    gr_free(data);
}

int64_t last_seen_s(const struct client *c)
{
    int64_t seen = c->used_s;

    if (c->current.mechanism != 0 && c->current.issued_s > seen)
        seen = c->current.issued_s;
    if (c->next.mechanism != 0 && c->next.issued_s > seen)
        seen = c->next.issued_s;
    return seen;
}

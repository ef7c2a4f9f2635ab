/* mod_auth_token/format.c: tokens as bytes. */
#include "auth_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 5

static const char *const names[] = { "access", "refresh", "provision" };

static bool is_number(const char *s)
{
    size_t len = strlen(s);

    return len >= 1 && len <= 15 && strspn(s, "0123456789") == len;
}

/* The fields, each ended by NUL; how many, 0: too many. */
static size_t split(char *at, size_t len, char *field[FIELDS_MAX])
{
    const char *end = at + len;
    size_t n = 0;

    for (; at <= end; at += strlen(at) + 1) {
        if (n == FIELDS_MAX)
            return 0;
        field[n++] = at;
    }
    return n;
}

int token_parse(const void *data, size_t len, struct token *out)
{
    char *field[FIELDS_MAX];
    size_t n, type = 0;

    *out = (struct token){ .vcard = "" };
    out->copy = gr_alloc(len + 1);
    out->len = len;
    memcpy(out->copy, data, len);
    n = split(out->copy, len, field);
    while (n > 0 && type < GR_COUNT(names) && strcmp(names[type], field[0]) != 0)
        type++;
    if (n < 4 || type == GR_COUNT(names) || (n == 4) != (type == TOKEN_ACCESS) ||
        !is_number(field[2]) || (type == TOKEN_REFRESH && !is_number(field[3])) ||
        strlen(field[n - 1]) != MAC_TEXT)
        return GR_EINVAL;
    out->type = (enum token_type)type;
    out->jid = field[1];
    out->expiry_s = strtoll(field[2], NULL, 10);
    if (type == TOKEN_REFRESH)
        out->sequence = strtoll(field[3], NULL, 10);
    if (type == TOKEN_PROVISION)
        out->vcard = field[3];
    out->body = out->copy;
    out->mac = field[n - 1];
    out->body_len = (size_t)(out->mac - out->body) - 1;
    return 0;
}

void token_free(struct token *t)
{
    if (t->copy != NULL)
        gr_wipe(t->copy, t->len);
    gr_free(t->copy);
    t->copy = NULL;
}

/* --- MACs --- */

static void mac_text(char out[MAC_TEXT + 1], const void *key, size_t key_len, const void *body,
                     size_t len)
{
    uint8_t mac[GR_HASH_MAX];

    gr_hmac("sha-384", key, key_len, body, len, mac);
    gr_hex_encode(out, mac, MAC_SIZE);
}

bool token_is_of(const struct token *t, const void *key, size_t len)
{
    char expected[MAC_TEXT + 1];
    bool yes;

    mac_text(expected, key, len, t->body, t->body_len);
    yes = gr_equal_secret(expected, t->mac, MAC_TEXT);
    gr_wipe(expected, sizeof(expected));
    return yes;
}

/* Of the host's secret, the account, and what the account has by chance. */
static void key_of(struct gr_mod *self, const struct gr_jid *jid, const struct secrets *s,
                   uint8_t out[GR_DERIVED_SIZE])
{
    static const char purpose[] = "auth_token";
    struct gr_writer w = gr_writer_new(128);
    size_t len;
    void *data;

    gr_write_bytes(&w, purpose, sizeof(purpose));
    gr_write_bytes(&w, jid->bare, strlen(jid->bare) + 1);
    gr_write_bytes(&w, s->id, ID_SIZE);
    data = gr_writer_take(&w, &len);
    gr_derive(self, "token_secret", data, len, out);
    gr_free(data);
}

/* The same work for an account that has none, or is none. */
bool token_is_ours(struct gr_mod *self, const struct token *t, const struct gr_jid *jid,
                   const struct secrets *s)
{
    uint8_t key[GR_DERIVED_SIZE];
    bool yes;

    key_of(self, jid, s, key);
    yes = token_is_of(t, key, sizeof(key));
    gr_wipe(key, sizeof(key));
    return yes && s->there && strcmp(t->jid, jid->bare) == 0;
}

char *token_make(struct gr_mod *self, enum token_type type, const struct gr_jid *jid,
                 const struct secrets *s, int64_t until_s, size_t *len)
{
    const struct token_conf *conf = gr_conf(self);
    int64_t life = type == TOKEN_ACCESS ? conf->access_validity : conf->refresh_validity;
    int64_t expiry_s = (gr_wall_us() / 1000 + life) / 1000;
    struct gr_writer w = gr_writer_new(256);
    uint8_t key[GR_DERIVED_SIZE];
    char number[24], mac[MAC_TEXT + 1];

    gr_write_bytes(&w, names[type], strlen(names[type]) + 1);
    gr_write_bytes(&w, jid->bare, strlen(jid->bare) + 1);
    if (until_s != 0 && until_s < expiry_s)
        expiry_s = until_s;
    snprintf(number, sizeof(number), "%lld", (long long)expiry_s);
    gr_write_bytes(&w, number, strlen(number));
    if (type == TOKEN_REFRESH) {
        snprintf(number, sizeof(number), "%lld", (long long)s->sequence);
        gr_write_bytes(&w, "", 1);
        gr_write_bytes(&w, number, strlen(number));
    }
    key_of(self, jid, s, key);
    mac_text(mac, key, sizeof(key), w.data, w.len);
    gr_wipe(key, sizeof(key));
    gr_write_bytes(&w, "", 1);
    gr_write_bytes(&w, mac, MAC_TEXT);
    return gr_writer_take(&w, len);
}

/* stream/token.c: making and checking tokens (backends.md 2, "Tokens").
 *
 *     v1.BASE64URL(bare JID).TIME.BASE64URL(HMAC-SHA-256(key, "session-token" 0 "v1" 0 JID 0 TIME))
 *
 * TIME: seconds since 1970 in base 36. A token is checked by making the one that ought to be there
 * and comparing the texts. On the loop of whoever asks; where a token is good once, its account's
 * home loop remembers it. */
#include "stream/token.h"

#include "base/buf.h"
#include "mod/instance.h"
#include "stream/auth.h"

#include <grapnel/log.h>

#include <string.h>

#define VERSION "v1"
#define SKEW_S 5             /* between the clocks of who issues and who checks */
#define KEY_MIN 16
#define MAC_SIZE 32
#define MAC_TEXT 44          /* base64url of it, with NUL */
#define TIME_TEXT 14

/* --- text --- */

/* RFC 4648, 5, without padding. */
static size_t base64url(char *out, const void *in, size_t len)
{
    size_t n = gr_base64_encode(out, in, len);

    while (n > 0 && out[n - 1] == '=')
        n--;
    out[n] = '\0';
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    return n;
}

static void base36(char out[TIME_TEXT], int64_t value)
{
    char digits[TIME_TEXT];
    int n = 0;

    do
        digits[n++] = "0123456789abcdefghijklmnopqrstuvwxyz"[value % 36];
    while ((value /= 36) > 0);
    while (n > 0)
        *out++ = digits[--n];
    *out = '\0';
}

int64_t token_time(const char *token)
{
    const char *p = strchr(token, '.');
    int64_t value = 0;

    p = p != NULL ? strchr(p + 1, '.') : NULL;
    if (p == NULL || strcspn(p + 1, ".") > 8)
        return -1;
    for (p++; *p != '.' && *p != '\0'; p++) {
        if (*p >= '0' && *p <= '9')
            value = value * 36 + (*p - '0');
        else if (*p >= 'a' && *p <= 'z')
            value = value * 36 + (*p - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static void mac_text(char out[MAC_TEXT], const void *key, size_t len, const char *bare,
                     const char *when)
{
    static const char purpose[] = "session-token\0" VERSION;
    uint8_t mac[MAC_SIZE];
    struct buf text = { 0 };
    char padded[4 * ((MAC_SIZE + 2) / 3) + 1];

    buf_append(&text, purpose, sizeof(purpose));
    buf_append(&text, bare, strlen(bare) + 1);
    buf_append(&text, when, strlen(when));
    scram_hmac(SCRAM_SHA256, key, len, buf_data(&text), buf_len(&text), mac);
    buf_fini(&text);
    base64url(padded, mac, sizeof(mac));
    memcpy(out, padded, MAC_TEXT);
}

size_t token_text(char *out, const void *key, size_t len, const char *bare, int64_t seconds)
{
    char *p = out, when[TIME_TEXT], mac[MAC_TEXT];

    base36(when, seconds);
    mac_text(mac, key, len, bare, when);
    p = stpcpy(p, VERSION ".");
    p += base64url(p, bare, strlen(bare));
    *p++ = '.';
    p = stpcpy(p, when);
    *p++ = '.';
    p = stpcpy(p, mac);
    return (size_t)(p - out);
}

const char *token_in_password(const char *password)
{
    const char *end = strncmp(password, "//", 2) == 0 ? strchr(password + 2, '/') : NULL;

    if (end == NULL || memchr(password, '@', (size_t)(end - password)) == NULL)
        return NULL;
    return end + 1;
}

/* --- keys --- */

struct keys {
    struct gr_key_ev ev;
    uint8_t own[AUTH_KEY_SIZE];
};

static void keys_get(struct keys *k, struct gr_host *h, const char *name)
{
    k->ev = (struct gr_key_ev){ .ev.host = h, .name = name };
    hook_run_now(GR_HOOK_get_key, &k->ev.ev);
    if (k->ev.key != NULL && k->ev.len >= KEY_MIN)
        return;
    auth_derive_key(name, h->jid->domain, k->own);
    k->ev = (struct gr_key_ev){ .key = k->own, .len = sizeof(k->own) };
}

void gr_derive(struct gr_mod *self, const char *name, const void *data, size_t len,
               uint8_t out[GR_DERIVED_SIZE])
{
    uint8_t mac[CREDS_KEY_MAX];
    struct keys k;

    keys_get(&k, self->host, name);
    scram_hmac(SCRAM_SHA256, k.ev.key, k.ev.len, data, len, mac);
    memcpy(out, mac, GR_DERIVED_SIZE);
    gr_wipe(mac, sizeof(mac));
    gr_wipe(k.own, sizeof(k.own));
}

static bool is_made_with(const void *key, size_t len, const char *bare, int64_t seconds,
                         const char *token)
{
    char expected[GR_TOKEN_SIZE];
    size_t n = token_text(expected, key, len, bare, seconds);
    bool yes = strlen(token) == n && gr_equal_secret(expected, token, n);

    gr_wipe(expected, n);
    return yes;
}

/* Under the previous key only what was issued before the change: who has got hold of that key can
 * make nothing that is good for longer than the tokens that were out already. */
static bool is_genuine(struct gr_host *h, const char *bare, int64_t seconds, const char *token)
{
    struct keys k;
    bool yes;

    keys_get(&k, h, "token_secret");
    yes = is_made_with(k.ev.key, k.ev.len, bare, seconds, token);
    if (!yes && k.ev.previous != NULL && k.ev.previous_len >= KEY_MIN &&
        seconds <= k.ev.changed_us / 1000000)
        yes = is_made_with(k.ev.previous, k.ev.previous_len, bare, seconds, token);
    gr_wipe(k.own, sizeof(k.own));
    return yes;
}

int gr_token_issue(struct gr_mod *self, const char *user, char *out)
{
    struct gr_jid *jid;
    struct keys k;
    char *p;

    if (user == NULL || *user == '\0' ||
        gr_jid_make(user, self->host->jid->domain, NULL, &jid) != 0)
        return GR_EINVAL;
    p = stpcpy(stpcpy(stpcpy(out, "//"), jid->bare), "/");
    keys_get(&k, self->host, "token_secret");
    p += token_text(p, k.ev.key, k.ev.len, jid->bare, gr_wall_us() / 1000000);
    gr_wipe(k.own, sizeof(k.own));
    gr_jid_free(&jid);
    return (int)(p - out);
}

/* --- good once --- */

struct spent {
    struct table_node by_mac;
    struct link in_order;
    int64_t until_s;
    char mac[MAC_TEXT];
};

static void spent_free(struct token_used *used, struct spent *s)
{
    table_remove(&used->by_mac, &s->by_mac);
    list_remove(&s->in_order);
    gr_free(s);
}

void token_used_fini(struct token_used *used)
{
    if (used->in_order.next == NULL)
        return;
    while (!list_empty(&used->in_order))
        spent_free(used, list_entry(used->in_order.next, struct spent, in_order));
    table_fini(&used->by_mac);
}

/* All live equally long, as long as nobody changes the option: the oldest end first. */
static void forget_expired(struct token_used *used, int64_t now_s)
{
    while (!list_empty(&used->in_order)) {
        struct spent *s = list_entry(used->in_order.next, struct spent, in_order);
        if (s->until_s >= now_s)
            return;
        spent_free(used, s);
    }
}

/* OK; FALSE: it was used before, or may have been; ERROR: too many to remember. */
static enum gr_result spend(struct token_used *used, const char *mac, int64_t issued_s,
                            int64_t until_s)
{
    struct spent *s;

    if (issued_s < used->since_s)
        return GR_R_FALSE;
    if (used->in_order.next == NULL)
        list_init(&used->in_order);
    forget_expired(used, gr_wall_us() / 1000000);
    if (table_find_str(&used->by_mac, mac) != NULL)
        return GR_R_FALSE;
    if (used->by_mac.count >= TOKEN_USED_MAX)
        return GR_R_ERROR;
    s = gr_alloc(sizeof(*s));
    memcpy(s->mac, mac, MAC_TEXT);
    s->until_s = until_s;
    table_insert(&used->by_mac, &s->by_mac, s->mac, MAC_TEXT - 1);
    list_append(&used->in_order, &s->in_order);
    return GR_R_OK;
}

/* --- checking --- */

struct check {
    struct post post;
    struct loop *back;
    struct gr_ask *ask;
    struct gr_jid *jid;
    enum gr_result result;
    int64_t issued_s, until_s;
    char mac[MAC_TEXT];
};

static void check_answer(struct check *c, const struct gr_answer *a)
{
    gr_answer(c->ask, a);
    gr_jid_free(&c->jid);
    gr_free(c);
}

static void returned(struct post *p)
{
    struct check *c = GR_CONTAINER_OF(p, struct check, post);

    if (c->result == GR_R_FALSE)
        gr_info("token.reused", "user=%s", c->jid->bare);
    else if (c->result == GR_R_ERROR)
        gr_warn("token.full", "%s has %d used tokens to remember", c->jid->domain,
                TOKEN_USED_MAX);
    check_answer(c, &(struct gr_answer){ .result = c->result, .cond = GR_RESOURCE_CONSTRAINT });
}

/* On the account's home loop. */
static void remember(struct post *p)
{
    struct check *c = GR_CONTAINER_OF(p, struct check, post);
    struct gr_host *h = host_find(c->jid->domain);

    c->result = GR_R_FALSE;
    if (h != NULL)
        list_each (mod, &h->instances, struct gr_mod, of_host)
            if (mod->desc == &auth_module)
                c->result = spend(gr_state(mod), c->mac, c->issued_s, c->until_s);
    c->post.run = returned;
    loop_post(c->back, &c->post);
}

static void got_state(void *arg, const struct gr_answer *a)
{
    struct check *c = arg;
    const struct gr_host *h = host_find(c->jid->domain);

    if (a->result != GR_R_OK || h == NULL || !h->conf->token_single_use) {
        check_answer(c, a);
        return;
    }
    c->back = loop_self();
    c->post.run = remember;
    loop_post(loop_home(c->jid->hash), &c->post);
}

void token_check(struct gr_host *h, struct gr_ask *take, const char *user, const char *token)
{
    const char *bare_token = token_in_password(token);
    int64_t now_s = gr_wall_us() / 1000000, life_s = h->conf->token_max_age / 1000;
    const char *why = "not genuine", *mac;
    struct gr_jid *jid = NULL;
    struct check *c;
    int64_t t;

    if (bare_token != NULL)
        token = bare_token;
    t = token_time(token);
    if (t >= 0 && gr_jid_make(user, h->jid->domain, NULL, &jid) == 0 &&
        is_genuine(h, jid->bare, t, token))
        why = t > now_s + SKEW_S ? "from the future" : now_s - t > life_s ? "expired" : NULL;
    if (why != NULL) {
        gr_info("token.refused", "user=%s@%s reason=%s", user, h->jid->domain, why);
        gr_answer_result(take, GR_R_FALSE);
        gr_jid_free(&jid);
        return;
    }
    c = gr_alloc(sizeof(*c));
    c->ask = take;
    c->jid = jid;
    c->issued_s = t;
    c->until_s = t + life_s + SKEW_S;
    mac = strrchr(token, '.');
    memcpy(c->mac, mac + 1, MAC_TEXT); /* genuine: it has that length */
    provider_auth_state(h, user, got_state, c);
}

/* stream/upgrade.c: an account that lacks the keys of a hash gets them from its client, which has the
 * password (XEP-0480). Only from one that has just proved the password itself: whoever has no more than
 * a token must not be able to set keys of his own. */
#include "stream/sasl2.h"

#include "stream/auth.h"

#include <stdio.h>
#include <string.h>

#define NS_UPGRADE "urn:xmpp:sasl:upgrade:0"
#define NS_SCRAM_UPGRADE "urn:xmpp:scram-upgrade:0"

static const struct {
    enum scram_hash hash;
    const char *name;
} tasks[] = {
    { SCRAM_SHA256, "UPGR-SCRAM-SHA-256" },
    { SCRAM_SHA512, "UPGR-SCRAM-SHA-512" },
};

struct upgrade {
    enum { ASKED_PROVIDER, OFFERED, SALTED } phase;
    unsigned wanted;            /* SCRAM_BIT of hashes still to come; the lowest is at work */
    struct creds creds;         /* what the account has */
    bool continued;             /* the first <continue/> is written */
};

void upgrade_free(struct upgrade **take)
{
    if (*take == NULL)
        return;
    creds_wipe(&(*take)->creds);
    gr_free(*take);
    *take = NULL;
}

void upgrade_features(struct c2s *c, struct gr_stanza *f, struct gr_el *authentication)
{
    if (!provider_auth_takes_keys(c->session->host))
        return;
    for (size_t i = 0; i < GR_COUNT(tasks); i++)
        gr_el_add_text(f, authentication, NS_UPGRADE, "upgrade", tasks[i].name);
}

static unsigned task_of(const char *name)
{
    for (size_t i = 0; i < GR_COUNT(tasks); i++)
        if (strcmp(tasks[i].name, name) == 0)
            return SCRAM_BIT(tasks[i].hash);
    return 0;
}

/* The one at work. */
static size_t current(const struct upgrade *u)
{
    size_t i = 0;

    while ((u->wanted & SCRAM_BIT(tasks[i].hash)) == 0)
        i++;
    return i;
}

static void offer(struct c2s *c)
{
    struct upgrade *u = c->login->sasl2->upgrade;
    struct buf *out = conn_out(c->conn);
    size_t len;
    const char *data = u->continued ? NULL : sasl_out(c->login->sasl, &len);

    if (u->wanted == 0) {
        if (!u->continued) /* then its data goes with <success/> */
            upgrade_free(&c->login->sasl2->upgrade);
        c2s_sasl_succeed(c);
        return;
    }
    buf_puts(out, "<continue xmlns='" NS_SASL2 "'>");
    if (data != NULL) {
        buf_puts(out, "<additional-data>");
        sasl_encode_text(out, data, len);
        buf_puts(out, "</additional-data>");
    }
    buf_printf(out, "<tasks><task>%s</task></tasks></continue>", tasks[current(u)].name);
    conn_wrote(c->conn);
    u->continued = true;
    u->phase = OFFERED;
}

/* --- the provider --- */

static uint64_t *ask(struct c2s *c)
{
    uint64_t *id = gr_alloc(sizeof(*id));

    *id = c->session->id;
    c->waiting = true;
    return id;
}

static struct c2s *answered(uint64_t *take)
{
    struct gr_session *s = session_by_id(*take);
    struct c2s *c = s != NULL && !s->ending ? s->out_ctx : NULL;

    gr_free(take);
    if (c == NULL || c->login == NULL || c->login->sasl2 == NULL ||
        c->login->sasl2->upgrade == NULL)
        return NULL;
    c->waiting = false;
    return c;
}

static void on_creds(void *arg, const struct gr_answer *a)
{
    struct c2s *c = answered(arg);
    struct upgrade *u;

    if (c == NULL)
        return;
    u = c->login->sasl2->upgrade;
    if (a->result != GR_R_OK || creds_decode(a->creds, a->creds_len, &u->creds) != 0)
        u->wanted = 0; /* another time */
    for (size_t i = 0; i < GR_COUNT(tasks); i++)
        if (u->creds.keys[tasks[i].hash].salt_len > 0)
            u->wanted &= ~SCRAM_BIT(tasks[i].hash);
    offer(c);
    c2s_continue(c);
}

bool sasl2_has_tasks(struct c2s *c)
{
    struct sasl2 *s = c->login->sasl2;
    struct gr_session *session = c->session;
    const struct gr_el *el = sasl2_asked(s, NS_UPGRADE, "upgrade");
    unsigned wanted = 0;

    for (; el != NULL; el = gr_el_next(el, NS_UPGRADE, "upgrade"))
        wanted |= task_of(gr_el_text(el, NULL));
    if (wanted == 0 || !c->login->by_password || !provider_auth_takes_keys(session->host))
        return false;
    s->upgrade = gr_alloc(sizeof(*s->upgrade));
    s->upgrade->wanted = wanted;
    provider_auth_credentials(session->host, &session->providers, session,
                              sasl_username(c->login->sasl), on_creds, ask(c));
    return true;
}

static void on_added(void *arg, const struct gr_answer *a)
{
    struct c2s *c = answered(arg);
    struct sasl *sasl;
    struct upgrade *u;

    if (c == NULL)
        return;
    u = c->login->sasl2->upgrade;
    sasl = c->login->sasl;
    if (a->result == GR_R_OK) {
        gr_info("c2s.upgraded", "user=%s@%s hash=%s", sasl_username(sasl), c->login->props.host,
                scram_hash_name(tasks[current(u)].hash));
        u->wanted &= ~SCRAM_BIT(tasks[current(u)].hash);
        offer(c);
    } else { /* nothing was stored: the disk, or somebody has just changed the password */
        c2s_sasl_step(c, sasl_refuse(sasl, sasl_ticket(sasl), SASL_TEMPORARY_AUTH_FAILURE));
    }
    c2s_continue(c);
}

/* --- the client --- */

/* XEP-0480, 3. */
static void send_salt(struct c2s *c)
{
    struct upgrade *u = c->login->sasl2->upgrade;
    enum scram_hash hash = tasks[current(u)].hash;
    struct creds_key *key = &u->creds.keys[hash];
    struct buf *out = conn_out(c->conn);

    key->iterations = c->login->iterations[hash];
    key->salt_len = CREDS_SALT_SIZE;
    gr_random(key->salt, CREDS_SALT_SIZE);
    buf_printf(out, "<task-data xmlns='" NS_SASL2 "'><salt xmlns='" NS_SCRAM_UPGRADE
               "' iterations='%u'>", (unsigned)key->iterations);
    sasl_encode_text(out, key->salt, key->salt_len);
    buf_puts(out, "</salt></task-data>");
    conn_wrote(c->conn);
    u->phase = SALTED;
}

/* False: it is none. */
static bool take_hash(struct c2s *c, const struct gr_el *root)
{
    struct upgrade *u = c->login->sasl2->upgrade;
    struct gr_session *s = c->session;
    enum scram_hash hash = tasks[current(u)].hash;
    const struct gr_el *el = gr_el_child(root, NS_SCRAM_UPGRADE, "hash");
    uint8_t salted[SASL_MESSAGE_MAX + 3], before[CREDS_ENCODED_MAX], after[CREDS_ENCODED_MAX];
    struct creds_key key = u->creds.keys[hash];
    size_t len, before_len, after_len;
    const char *text;

    if (el == NULL)
        return false;
    text = gr_el_text(el, &len);
    if (sasl_decode_element(text, len, salted) != (int)scram_hash_size(hash))
        return false;
    memset(&u->creds.keys[hash], 0, sizeof(u->creds.keys[hash]));
    before_len = creds_encode(&u->creds, before, sizeof(before));
    creds_key_of_salted(hash, salted, &key);
    u->creds.keys[hash] = key;
    after_len = creds_encode(&u->creds, after, sizeof(after));
    provider_auth_add_keys(s->host, &s->providers, s, sasl_username(c->login->sasl),
                           &(struct gr_new_keys){ before, before_len, after, after_len },
                           on_added, ask(c));
    gr_wipe((char *)(uintptr_t)text, len);
    gr_wipe(salted, sizeof(salted));
    gr_wipe(&key, sizeof(key));
    gr_wipe(before, sizeof(before));
    gr_wipe(after, sizeof(after));
    return true;
}

void upgrade_element(struct c2s *c, const struct gr_stanza *st)
{
    struct upgrade *u = c->login->sasl2->upgrade;
    const struct gr_el *root = gr_stanza_root(st);
    const char *task = gr_el_attr(root, "task");

    if (gr_el_is(root, NS_SASL2, "next") && u->phase == OFFERED && task != NULL &&
        strcmp(task, tasks[current(u)].name) == 0)
        send_salt(c);
    else if (!gr_el_is(root, NS_SASL2, "task-data") || u->phase != SALTED || !take_hash(c, root))
        c2s_sasl_step(c, sasl_refuse(c->login->sasl, sasl_ticket(c->login->sasl),
                                     SASL_MALFORMED_REQUEST));
}

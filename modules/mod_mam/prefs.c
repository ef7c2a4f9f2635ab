/* mod_mam/prefs.c: whom to keep (XEP-0441). One row per account: version, default ('0' + enum
 * gr_mam_when), then each address: '+' (always) or '-' (never), the address, NUL. */
#include "mam.h"

#include <string.h>

enum { VERSION = 1, PREFS_MAX = 500 }; /* addresses */

static const char *const mode_name[] = { "always", "never", "roster" };

/* --- lists --- */

static size_t list_len(const struct gr_jid *const *list)
{
    size_t n = 0;

    while (list != NULL && list[n] != NULL)
        n++;
    return n;
}

static void list_free(const struct gr_jid ***list)
{
    for (size_t i = list_len(*list); i-- > 0;) {
        struct gr_jid *jid = (struct gr_jid *)(uintptr_t)(*list)[i];

        gr_jid_free(&jid);
    }
    gr_free(*list);
    *list = NULL;
}

/* Takes the address; one that is there already counts once. */
static void list_add(const struct gr_jid ***list, struct gr_jid *take)
{
    size_t n = list_len(*list);

    for (size_t i = 0; i < n; i++)
        if (gr_jid_equal((*list)[i], take)) {
            gr_jid_free(&take);
            return;
        }
    *list = gr_realloc(*list, (n + 2) * sizeof(**list));
    (*list)[n] = take;
    (*list)[n + 1] = NULL;
}

/* XEP-0441, 2.3.1. */
static bool list_has(const struct gr_jid *const *list, const struct gr_jid *jid)
{
    for (; list != NULL && *list != NULL; list++)
        if (gr_jid_is_bare(*list) ? gr_jid_bare_equal(*list, jid) : gr_jid_equal(*list, jid))
            return true;
    return false;
}

void prefs_free(struct prefs *p)
{
    list_free(&p->always);
    list_free(&p->never);
}

/* --- the row --- */

int prefs_read(struct prefs *out, const void *val, size_t len)
{
    const char *s = val, *end = s + len;

    if (len < 2 || s[0] != VERSION || s[1] < '0' || s[1] > '2')
        return GR_EIO;
    out->mode = s[1] - '0';
    for (s += 2; s < end; s++) {
        const char *nul = memchr(s + 1, '\0', (size_t)(end - s - 1));
        struct gr_jid *jid;

        if (nul == NULL || gr_jid_parse(s + 1, (size_t)(nul - s - 1), &jid) != 0)
            return GR_EIO;
        list_add(*s == '+' ? &out->always : &out->never, jid);
        s = nul;
    }
    return 0;
}

static char *put_list(char *s, char mark, const struct gr_jid *const *list)
{
    for (; list != NULL && *list != NULL; list++) {
        *s++ = mark;
        memcpy(s, (*list)->full, (*list)->full_len + 1u);
        s += (*list)->full_len + 1u;
    }
    return s;
}

static size_t list_size(const struct gr_jid *const *list)
{
    size_t size = 0;

    for (; list != NULL && *list != NULL; list++)
        size += (*list)->full_len + 2u;
    return size;
}

static char *row_new(const struct gr_mam_ev *ev, size_t *len)
{
    char *row = gr_alloc(2 + list_size(ev->always) + list_size(ev->never));

    row[0] = VERSION;
    row[1] = (char)('0' + ev->behaviour);
    *len = (size_t)(put_list(put_list(row + 2, '+', ev->always), '-', ev->never) - row);
    return row;
}

/* --- answering the hooks --- */

static enum gr_verdict tell_behaviour(struct gr_mod *self, struct gr_mam_ev *ev,
                                      struct archive *a)
{
    (void)self;
    if (a->prefs.mode >= 0)
        ev->behaviour = (enum gr_mam_when)a->prefs.mode;
    if (list_has(a->prefs.never, ev->remote))
        ev->behaviour = GR_MAM_NEVER;
    else if (list_has(a->prefs.always, ev->remote))
        ev->behaviour = GR_MAM_ALWAYS;
    return GR_OK;
}

enum gr_verdict on_get_behaviour(struct gr_mod *self, struct gr_mam_ev *ev)
{
    const struct mam_conf *conf = gr_conf(self);

    return conf->user_prefs ? with_archive(self, ev, tell_behaviour) : GR_OK;
}

static enum gr_verdict tell_prefs(struct gr_mod *self, struct gr_mam_ev *ev, struct archive *a)
{
    (void)self;
    if (a->prefs.mode >= 0)
        ev->behaviour = (enum gr_mam_when)a->prefs.mode;
    ev->always = a->prefs.always;
    ev->never = a->prefs.never;
    ev->rc = 0;
    return GR_OK;
}

enum gr_verdict on_get_prefs(struct gr_mod *self, struct gr_mam_ev *ev)
{
    const struct mam_conf *conf = gr_conf(self);

    return conf->user_prefs ? with_archive(self, ev, tell_prefs) : GR_OK;
}

struct setting {
    struct gr_mam_ev *ev;
    struct gr_hold *hold;
    struct gr_jid *owner;
};

static void on_set(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct setting *s = gr_req_data(req);

    archive_forget(self, s->owner);
    if (gr_hold_waits(s->hold))
        s->ev->rc = rows->rc;
    gr_resume(s->hold, GR_OK);
    gr_jid_free(&s->owner);
}

enum gr_verdict on_set_prefs(struct gr_mod *self, struct gr_mam_ev *ev)
{
    const struct mam_conf *conf = gr_conf(self);
    struct gr_hold *hold;
    struct gr_req *req;
    struct setting *s;
    struct gr_txn *t;
    size_t len;
    char *row;

    if (!conf->user_prefs)
        return GR_OK;
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL) {
        ev->rc = GR_EAGAIN;
        return GR_OK;
    }
    req = gr_req_new(self, sizeof(*s), on_set);
    s = gr_req_data(req);
    *s = (struct setting){ .ev = ev, .hold = hold, .owner = gr_jid_dup_bare(ev->owner) };
    row = row_new(ev, &len);
    t = gr_txn_new(self);
    gr_txn_put(t, PREFS, ev->owner->bare, PREFS_KEY, sizeof(PREFS_KEY) - 1, row, len);
    gr_txn_commit(t, req);
    gr_free(row);
    return GR_PENDING;
}

/* --- what clients ask --- */

struct asking {
    struct gr_mam_ev ev;
    struct gr_iq_req *req;
    struct prefs prefs;        /* to be set */
};

static void asking_free(struct asking *x)
{
    prefs_free(&x->prefs);
    gr_free(x);
}

static void add_list(struct gr_stanza *st, struct gr_el *prefs, const char *name,
                     const struct gr_jid *const *list)
{
    struct gr_el *el = gr_el_add(st, prefs, NULL, name);

    for (; list != NULL && *list != NULL; list++)
        gr_el_add_text(st, el, NULL, "jid", (*list)->full);
}

static void on_answer(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct asking *x = GR_CONTAINER_OF(ev, struct asking, ev.ev);
    struct gr_stanza *result;
    struct gr_el *prefs;

    (void)self, (void)verdict;
    if (x->ev.rc != 0) {
        gr_iq_reply_error(x->req, gr_cond_of(x->ev.rc), NULL);
    } else {
        result = gr_iq_result(gr_iq_req_stanza(x->req));
        prefs = gr_el_add(result, NULL, NS_MAM, "prefs");
        gr_el_set(result, prefs, "default", mode_name[x->ev.behaviour]);
        add_list(result, prefs, "always", x->ev.always);
        add_list(result, prefs, "never", x->ev.never);
        gr_iq_reply(x->req, result);
    }
    asking_free(x);
}

static int read_mode(const char *name)
{
    for (int i = 0; i < (int)GR_COUNT(mode_name); i++)
        if (name != NULL && strcmp(name, mode_name[i]) == 0)
            return i;
    return -1;
}

/* The condition to refuse it with, or GR_COND_NONE. */
static enum gr_cond read_list(const struct gr_jid ***out, const struct gr_el *prefs,
                              const char *name)
{
    const struct gr_el *el = gr_el_child(prefs, NS_MAM, name);

    el = el != NULL ? gr_el_child(el, NS_MAM, "jid") : NULL;
    for (size_t n = 0; el != NULL; el = gr_el_next(el, NS_MAM, "jid")) {
        struct gr_jid *jid;
        size_t len;
        const char *text = gr_el_text(el, &len);

        if (++n > PREFS_MAX)
            return GR_RESOURCE_CONSTRAINT;
        if (gr_jid_parse(text, len, &jid) != 0)
            return GR_JID_MALFORMED;
        list_add(out, jid);
    }
    return GR_COND_NONE;
}

static enum gr_cond read_prefs(struct prefs *out, const struct gr_el *prefs)
{
    enum gr_cond cond;

    out->mode = read_mode(gr_el_attr(prefs, "default"));
    if (out->mode < 0)
        return GR_BAD_REQUEST;
    cond = read_list(&out->always, prefs, "always");
    return cond != GR_COND_NONE ? cond : read_list(&out->never, prefs, "never");
}

void on_prefs_iq(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct mam_conf *conf = gr_conf(self);
    struct asking *x = gr_alloc(sizeof(*x));
    enum gr_cond cond = ev->type == GR_SET ? read_prefs(&x->prefs, ev->payload) : GR_COND_NONE;

    if (cond != GR_COND_NONE) {
        gr_iq_reply_error(ev->req, cond, NULL);
        asking_free(x);
        return;
    }
    x->req = ev->req;
    x->ev = (struct gr_mam_ev){ .owner = gr_iq_req_to(ev->req), .caller = gr_iq_req_from(ev->req),
                                .behaviour = conf->archive_policy, .rc = GR_ENOTSUP };
    if (ev->type == GR_SET) {
        x->ev.behaviour = (enum gr_mam_when)x->prefs.mode;
        x->ev.always = x->prefs.always;
        x->ev.never = x->prefs.never;
    }
    gr_hook_run(self, ev->type == GR_SET ? GR_HOOK_mam_set_prefs : GR_HOOK_mam_get_prefs,
                &x->ev.ev, on_answer);
}

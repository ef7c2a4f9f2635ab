/* mod_vcard: business cards of accounts and of the host (XEP-0054).
 *
 * Everybody may read them, an account writes its own. The row is the element as text; the answer to
 * a set follows the commit, then vcard_set tells other modules. */
#include <stdlib.h>
#include <string.h>

#include "removed.h"

#define NS_VCARD "vcard-temp"

struct vcard_conf {
    int64_t max_size;
    const char *host_name, *host_desc, *host_url, *host_email;
};

static const struct gr_opt options[] = {
    GR_OPT_SIZE(struct vcard_conf, max_size, 128 * GR_KIB, 1 * GR_KIB, 16 * GR_MIB,
                "most bytes of a vCard"),
    GR_OPT_STR(struct vcard_conf, host_name, "Grapnel", "name on the server's own vCard"),
    GR_OPT_STR(struct vcard_conf, host_desc, NULL, "description on the server's own vCard"),
    GR_OPT_STR(struct vcard_conf, host_url, NULL, "web page on the server's own vCard"),
    GR_OPT_STR(struct vcard_conf, host_email, NULL, "e-mail address on the server's own vCard"),
    GR_OPT_END
};

static const struct gr_coll collections[] = { GR_MAP("vcard"), GR_COLL_END };
static const char row_key[] = "vcard";

/* --- reading --- */

struct reading {
    struct gr_iq_req *req;
};

/* One's own that is not there may be called so; of others it must look as if there were no such
 * account (XEP-0054, 3.1 and 3.3). */
static void reply_none(struct gr_iq_req *req)
{
    bool own = gr_jid_bare_equal(gr_iq_req_from(req), gr_iq_req_to(req));

    gr_iq_reply_error(req, own ? GR_ITEM_NOT_FOUND : GR_SERVICE_UNAVAILABLE, NULL);
}

/* Appends the stored vCard. 0 or a gr_err. */
static int append_row(struct gr_stanza *st, const struct gr_row *row)
{
    struct gr_stanza *kept;
    int rc = gr_stanza_parse(row->val, row->val_len, &kept);

    if (rc != 0) {
        gr_error("vcard.row", "a stored vCard cannot be read: %s", gr_strerror(rc));
        return rc;
    }
    gr_el_append(st, NULL, gr_stanza_root(kept));
    gr_stanza_unref(&kept);
    return 0;
}

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_iq_req *iq = ((struct reading *)gr_req_data(req))->req;
    struct gr_stanza *result;

    (void)self;
    if (rows->rc == GR_ENOENT) {
        reply_none(iq);
        return;
    }
    if (rows->rc != 0) {
        gr_iq_reply_error(iq, gr_cond_of(rows->rc), NULL);
        return;
    }
    result = gr_iq_result(gr_iq_req_stanza(iq));
    if (append_row(result, rows->row) == 0) {
        gr_iq_reply(iq, result);
        return;
    }
    gr_stanza_unref(&result);
    gr_iq_reply_error(iq, GR_INTERNAL_SERVER_ERROR, NULL);
}

static void get(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct reading), on_row);

    ((struct reading *)gr_req_data(req))->req = ev->req;
    gr_store_get(req, &collections[0], ev->to->bare, row_key, sizeof(row_key) - 1);
}

/* --- writing --- */

static void put(struct gr_mod *self, struct gr_req *req, const struct gr_jid *user,
                const char *xml, size_t len)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_put(t, &collections[0], user->bare, row_key, sizeof(row_key) - 1, xml, len);
    gr_txn_commit(t, req);
}

static void tell(struct gr_mod *self, const struct gr_jid *user, const struct gr_stanza *vcard)
{
    struct gr_vcard_ev ev = { .user = user, .vcard = vcard };

    gr_hook_run(self, GR_HOOK_vcard_set, &ev.ev, NULL);
}

/* The hook speaks of vCards, not of requests. */
static void tell_of(struct gr_mod *self, const struct gr_jid *user, const struct gr_el *el)
{
    size_t len;
    char *xml = gr_el_xml(el, &len);
    struct gr_stanza *vcard;

    if (gr_stanza_parse(xml, len, &vcard) == 0) {
        tell(self, user, vcard);
        gr_stanza_unref(&vcard);
    }
    gr_free(xml);
}

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_iq_req *iq = ((struct reading *)gr_req_data(req))->req;

    if (rows->rc != 0) {
        gr_iq_reply_error(iq, gr_cond_of(rows->rc), NULL);
        return;
    }
    tell_of(self, gr_iq_req_to(iq), gr_stanza_payload(gr_iq_req_stanza(iq)));
    gr_iq_reply_empty(iq);
}

static void set(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct vcard_conf *conf = gr_conf(self);
    struct gr_req *req;
    size_t len;
    char *xml;

    if (!gr_jid_bare_equal(ev->from, ev->to)) { /* XEP-0054, 3.2 */
        gr_iq_reply_error(ev->req, GR_FORBIDDEN, NULL);
        return;
    }
    if (account_removed(self, ev->to)) {
        gr_iq_reply_error(ev->req, GR_FORBIDDEN, "the account was removed");
        return;
    }
    xml = gr_el_xml(ev->payload, &len);
    if (len <= (size_t)conf->max_size) {
        req = gr_req_new(self, sizeof(struct reading), on_written);
        ((struct reading *)gr_req_data(req))->req = ev->req;
        put(self, req, ev->to, xml, len);
    } else {
        gr_iq_reply_error(ev->req, GR_POLICY_VIOLATION, "the vCard is too large");
    }
    gr_free(xml);
}

static void on_account(struct gr_mod *self, struct gr_iq_ev *ev)
{
    if (ev->type == GR_SET)
        set(self, ev);
    else
        get(self, ev);
}

/* --- the host's --- */

static void field(struct gr_stanza *st, struct gr_el *vcard, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0')
        gr_el_add_text(st, vcard, NULL, name, value);
}

static void on_host(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct vcard_conf *conf = gr_conf(self);
    struct gr_stanza *result;
    struct gr_el *vcard, *email;

    if (ev->type == GR_SET) {
        gr_iq_reply_error(ev->req, GR_FORBIDDEN, "the server's vCard is in its configuration");
        return;
    }
    result = gr_iq_result(ev->stanza);
    vcard = gr_el_add(result, NULL, NS_VCARD, "vCard");
    field(result, vcard, "FN", conf->host_name);
    field(result, vcard, "DESC", conf->host_desc);
    field(result, vcard, "URL", conf->host_url);
    if (conf->host_email != NULL && conf->host_email[0] != '\0') {
        email = gr_el_add(result, vcard, NULL, "EMAIL"); /* XEP-0054, 8 */
        gr_el_add(result, email, NULL, "INTERNET");
        gr_el_add_text(result, email, NULL, "USERID", conf->host_email);
    }
    gr_iq_reply(ev->req, result);
}

/* --- other modules write and copy, accounts go --- */

struct waiting {
    struct gr_hold *hold;
    union {
        struct gr_vcard_ev *set;
        struct gr_export_ev *export;
    } ev;
};

static struct gr_req *wait_with(struct gr_mod *self, struct gr_hold *hold, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct waiting), done);

    ((struct waiting *)gr_req_data(req))->hold = hold;
    return req;
}

static void on_stored(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct waiting *w = gr_req_data(req);
    struct gr_vcard_ev *ev = w->ev.set;

    if (gr_hold_waits(w->hold)) {
        ev->rc = rows->rc;
        if (rows->rc == 0)
            tell(self, ev->user, ev->vcard);
    }
    gr_resume(w->hold, GR_OK);
}

/* set_vcard: another module has a vCard for an account; the stanza is the vCard itself. */
static enum gr_verdict on_set(struct gr_mod *self, struct gr_vcard_ev *ev)
{
    const struct vcard_conf *conf = gr_conf(self);
    struct gr_hold *hold;
    struct gr_req *req;
    const char *xml;
    size_t len;

    if (ev->rc == 0) /* somebody has stored it */
        return GR_OK;
    xml = gr_stanza_xml(ev->vcard, &len);
    if (!gr_el_is(gr_stanza_root(ev->vcard), NS_VCARD, "vCard") || len > (size_t)conf->max_size) {
        ev->rc = len > (size_t)conf->max_size ? GR_ELIMIT : GR_EINVAL;
        return GR_OK;
    }
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return GR_FAIL;
    req = wait_with(self, hold, on_stored);
    ((struct waiting *)gr_req_data(req))->ev.set = ev;
    put(self, req, ev->user, xml, len);
    return GR_PENDING;
}

static void on_copy(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct waiting *w = gr_req_data(req);
    bool ok = rows->rc == GR_ENOENT;

    (void)self;
    if (rows->rc == 0 && gr_hold_waits(w->hold)) /* as in XEP-0227, 4.7 */
        ok = append_row(w->ev.export->data, rows->row) == 0;
    gr_resume(w->hold, ok ? GR_OK : GR_FAIL);
}

static enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;

    if (hold == NULL)
        return GR_FAIL;
    req = wait_with(self, hold, on_copy);
    ((struct waiting *)gr_req_data(req))->ev.export = ev;
    gr_store_get(req, &collections[0], ev->user->bare, row_key, sizeof(row_key) - 1);
    return GR_PENDING;
}

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct waiting *w = gr_req_data(req);

    (void)self;
    gr_resume(w->hold, rows->rc == 0 ? GR_OK : GR_FAIL);
}

/* Held until it is gone, so that the next owner of the name does not inherit it. */
static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_txn *t = gr_txn_new(self);

    account_note_removed(self, ev->jid, true);
    gr_txn_del_all(t, &collections[0], ev->jid->bare);
    gr_txn_commit(t, wait_with(self, hold, on_removed));
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

static const struct gr_hook hooks[] = {
    GR_ON(register_user, GR_PRIO_NORMAL, account_on_register),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_remove),
    GR_ON(set_vcard, GR_PRIO_NORMAL, on_set),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_export),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT, NS_VCARD, "vCard", on_account),
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_HOST, NS_VCARD, "vCard", on_host),
    GR_IQ_END
};

GR_MODULE(vcard,
    .summary = "business cards (XEP-0054)", .conf_size = sizeof(struct vcard_conf),
    .options = options, .hooks = hooks, .iqs = iqs, .collections = collections,
    .slots = (const struct gr_slot *const[]){ &removed_slot, NULL });

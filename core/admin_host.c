/* admin_host.c: `host purge`: everything that is kept about a host goes, for good (remove_domain,
 * hooks.md 4.4).
 *
 * Nobody of the host may be logged in. A host that is still served has its modules asked first; of
 * one that is not there are no modules any more, only rows. Then the rows of every collection go whose
 * owner is the domain or an account of it, page by page; the accounts themselves are first, so that
 * nobody logs in meanwhile. */
#include "admin_data.h"

#include <string.h>

#include "base/buf.h"
#include "mod/instance.h"
#include "mod/reload.h"
#include "mod/spec.h"
#include "route/session.h"
#include "store/store.h"

#define PAGE 100

struct purge {
    struct gr_domain_ev ev;
    struct post post;
    struct store_req req;
    struct gr_cmd *cmd;
    struct gr_jid *domain;
    struct loop *home;               /* where the command runs */
    size_t online;
    struct store_coll **colls;       /* of all modules that run here, the accounts' first */
    size_t count, at;
    struct buf after;                /* the last row's key; empty: there are no more */
    int64_t owners;
};

static void purge_free(struct purge *p)
{
    gr_jid_free(&p->domain);
    buf_fini(&p->after);
    gr_free(p->colls);
    gr_free(p);
}

/* --- rows --- */

static void next_page(struct purge *p);

static void on_deleted(struct store_req *req)
{
    struct purge *p = GR_CONTAINER_OF(req, struct purge, req);

    if (req->rows.rc != 0) {
        gr_cmd_fail(p->cmd, "the store refuses: %s; what is gone is gone, do it again",
                    gr_strerror(req->rows.rc));
        purge_free(p);
        return;
    }
    next_page(p);
}

static void on_owners(struct store_req *req)
{
    struct purge *p = GR_CONTAINER_OF(req, struct purge, req);
    const struct gr_rows *rows = &req->rows;
    struct store_coll *coll = p->colls[p->at];
    struct store_txn *txn;

    if (rows->rc != 0) {
        on_deleted(req);
        return;
    }
    txn = store_txn_new();
    buf_consume(&p->after, buf_len(&p->after));
    for (size_t i = 0; i < rows->count; i++) {
        const struct gr_row *row = &rows->row[i];
        char *owner = gr_strndup(row->val, row->val_len);

        if (row->val_len > 0)
            store_txn_add(txn, STORE_DEL_ALL, coll, owner, NULL, 0, NULL, 0);
        p->owners += row->val_len > 0;
        gr_free(owner);
        if (rows->more && i + 1 == rows->count)
            buf_append(&p->after, row->key, row->key_len);
    }
    p->at += !rows->more;
    p->req = (struct store_req){ .done = on_deleted };
    store_commit(txn, &p->req);
}

static void next_page(struct purge *p)
{
    if (p->at == p->count) {
        gr_cmd_row(p->cmd);
        gr_cmd_field(p->cmd, "domain", "%s", p->domain->domain);
        gr_cmd_number(p->cmd, "owners", p->owners);
        gr_cmd_number(p->cmd, "failed", p->ev.ev.failed);
        gr_cmd_done(p->cmd);
        purge_free(p);
        return;
    }
    p->req = (struct store_req){ .done = on_owners };
    store_owners(&p->req, p->colls[p->at], p->domain->domain,
                 buf_len(&p->after) > 0 ? buf_data(&p->after) : NULL, buf_len(&p->after), PAGE);
}

static void add_colls(void *ctx, const struct gr_mod *mod)
{
    struct purge *p = ctx;
    const struct gr_coll *table = mod->desc->collections;

    for (size_t i = 0; table != NULL && table[i].name != NULL; i++) {
        struct store_coll *coll = mod->spec->colls[i];
        size_t k = 0;

        while (k < p->count && p->colls[k] != coll)
            k++;
        if (k < p->count)
            continue;
        p->colls = gr_realloc(p->colls, (p->count + 1) * sizeof(struct store_coll *));
        p->colls[p->count++] = coll;
    }
}

static void on_asked(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_domain_ev *e = GR_CONTAINER_OF(ev, struct gr_domain_ev, ev);
    struct purge *p = GR_CONTAINER_OF(e, struct purge, ev);

    (void)verdict; /* a value hook: stop only ends the chain */
    mod_each(add_colls, p);
    next_page(p);
}

/* --- is anybody there? One loop after the other. --- */

static void count_session(void *ctx, struct gr_session *s)
{
    struct purge *p = ctx;

    p->online += s->jid != NULL && strcmp(s->jid->domain, p->domain->domain) == 0;
}

static void counted(struct purge *p)
{
    if (p->online > 0) {
        gr_cmd_fail(p->cmd, "%s: %zu sessions are there still: nobody may be logged in",
                    p->domain->domain, p->online);
        purge_free(p);
        return;
    }
    p->ev.ev.host = host_get(p->domain->domain);
    p->ev.domain = p->domain->domain;
    hook_run(GR_HOOK_remove_domain, &p->ev.ev, on_asked);
}

static void count_here(struct post *post)
{
    struct purge *p = GR_CONTAINER_OF(post, struct purge, post);
    int next = loop_index(loop_self()) + 1;

    session_each(count_session, p);
    loop_post(loop_at(next % loop_count()), &p->post);
}

static void purge_step(struct post *post)
{
    struct purge *p = GR_CONTAINER_OF(post, struct purge, post);

    if (loop_self() == p->home)
        counted(p);
    else
        count_here(post);
}

/* --- the command --- */

static void host_purge(struct gr_mod *self, struct gr_cmd *cmd)
{
    const char *domain = gr_cmd_text(cmd, "domain"), *yes = gr_cmd_text(cmd, "yes");
    struct gr_jid *jid = NULL;
    struct purge *p;

    (void)self;
    if (gr_jid_parse(domain, strlen(domain), &jid) != 0 || !gr_jid_is_domain(jid)) {
        gr_cmd_fail(cmd, "%s is not a domain", domain);
        gr_jid_free(&jid);
        return;
    }
    if (yes == NULL || strcmp(yes, domain) != 0) {
        gr_cmd_fail(cmd, "this deletes every account of %s and all their data for good: "
                         "if that is meant, add --yes %s", jid->domain, domain);
        gr_jid_free(&jid);
        return;
    }
    p = gr_alloc(sizeof(*p));
    p->cmd = cmd;
    p->domain = jid;
    p->home = loop_self();
    p->post.run = purge_step;
    count_here(&p->post);
}

static const struct gr_arg export_args[] = {
    GR_ARG(jid, JID, "user@domain"),
    GR_ARG(file, TEXT, "a new file, written by the server"),
    GR_ARG_END
};
static const struct gr_arg purge_args[] = {
    GR_ARG(domain, TEXT, "a domain, served or not served any more"),
    GR_ARG_OPTIONAL(yes, TEXT, "the domain once more"),
    GR_ARG_END
};

static const struct gr_command commands[] = {
    { "user export", "write everything that is kept about an account to a file (XEP-0227)",
      export_args, GR_RUN_HOME, admin_user_export },
    { "host purge", "delete every account of a domain and all data", purge_args, GR_RUN_ANY,
      host_purge },
    GR_COMMAND_END
};

const struct gr_module admin_data_module = {
    .name = "admin_data", .summary = "commands about data: built in", .abi = GR_ABI_VERSION,
    .abi_tag = GR_ABI_TAG, .commands = commands,
};

/* admin_export.c: `user export`: everything that modules keep about an account (get_personal_data,
 * hooks.md 4.13), as one XEP-0227 document in a file. The chain runs on the account's home loop, the
 * file is written on the pool. */
#include "admin_data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mod/hook.h"
#include "mod/instance.h"

#define NS "urn:xmpp:pie:0"

struct export {
    struct gr_export_ev ev;
    struct gr_mod *self;
    struct gr_cmd *cmd;
    struct gr_stanza *doc;
    char *xml;
    size_t len;
    int error;                       /* errno of the file */
};

static void export_free(struct export *x)
{
    gr_stanza_unref(&x->ev.data);
    gr_stanza_unref(&x->doc);
    gr_free(x->xml);
    gr_free(x);
}

/* --- the file; pool thread --- */

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR)
            return errno;
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0 ? 0 : errno;
}

static void write_file(void *data)
{
    struct export *x = *(struct export **)data;
    const char *path = gr_cmd_text(x->cmd, "file");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        x->error = errno;
        return;
    }
    x->error = write_all(fd, x->xml, x->len);
    if (close(fd) != 0 && x->error == 0)
        x->error = errno;
    if (x->error != 0)
        unlink(path);
}

static void file_written(struct gr_mod *self, void *data)
{
    struct export *x = *(struct export **)data;
    struct gr_cmd *cmd = x->cmd;

    (void)self;
    if (x->error != 0) {
        gr_cmd_fail(cmd, "%s: %s", gr_cmd_text(cmd, "file"), strerror(x->error));
    } else {
        gr_cmd_row(cmd);
        gr_cmd_field(cmd, "file", "%s", gr_cmd_text(cmd, "file"));
        gr_cmd_number(cmd, "bytes", (int64_t)x->len);
        gr_cmd_number(cmd, "failed", x->ev.ev.failed);
        gr_cmd_done(cmd);
    }
    export_free(x);
}

/* --- the document --- */

static void make_document(struct export *x)
{
    struct gr_stanza *doc = x->doc = gr_nonza_new(NS, "server-data");
    struct gr_el *host = gr_el_add(doc, NULL, NS, "host");

    gr_el_set(doc, host, "jid", x->ev.user->domain);
    gr_el_append(doc, host, gr_stanza_root(x->ev.data));
    x->xml = gr_asprintf("<?xml version='1.0' encoding='UTF-8'?>\n%s\n", gr_stanza_xml(doc, NULL));
    x->len = strlen(x->xml);
}

static void collected(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct export *x = GR_CONTAINER_OF(ev, struct export, ev.ev);
    struct gr_cmd *cmd = x->cmd;

    (void)verdict; /* a value hook: stop only ends the chain */
    make_document(x);
    if (gr_work(x->self, &x, sizeof(struct export *), write_file, file_written) != 0) {
        export_free(x);
        gr_cmd_fail(cmd, "the server is busy, try again");
    }
}

/* --- the account --- */

static void start_export(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    struct export *x = gr_alloc(sizeof(*x));

    x->self = self;
    x->cmd = cmd;
    x->ev.ev.host = self->host;
    x->ev.user = jid;
    x->ev.data = gr_nonza_new(NS, "user");
    gr_el_set(x->ev.data, gr_stanza_root(x->ev.data), "name", jid->node);
    hook_run(GR_HOOK_get_personal_data, &x->ev.ev, collected);
}

/* One that may not log in has data all the same. */
static void on_state(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct gr_cmd *cmd = *(struct gr_cmd **)gr_ask_data(ask);

    if (a->result == GR_R_ERROR)
        gr_cmd_fail(cmd, "%s: %s", gr_cond_name(a->cond), a->text != NULL ? a->text : "");
    else if (a->result == GR_R_NONE)
        gr_cmd_fail(cmd, "%s does not exist", gr_cmd_jid(cmd, "jid")->bare);
    else
        start_export(self, cmd);
}

void admin_user_export(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    const char *path = gr_cmd_text(cmd, "file");
    struct gr_ask *ask;

    if (jid->node == NULL || jid->resource != NULL || path[0] != '/') {
        gr_cmd_fail(cmd, path[0] != '/' ? "%s is not a whole path: it must begin with /"
                                        : "%s is not an account: write user@domain",
                    path[0] != '/' ? path : jid->full);
        return;
    }
    ask = gr_ask_new(self, sizeof(struct gr_cmd *), on_state);
    *(struct gr_cmd **)gr_ask_data(ask) = cmd;
    gr_auth_exists(self, ask, jid->node);
}

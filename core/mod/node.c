/* mod/node.c: the server's id; what a server that died has left behind (node_cleanup, hooks.md 4.4). */
#include "mod/node.h"

#include <stdio.h>

#include "mod/hook.h"

struct cleanup {
    struct gr_domain_ev ev;
    void (*done)(void *arg);
    void *arg;
    char *id;
};
static char own_id[65] = "local";

void node_set_id(const char *id)
{
    snprintf(own_id, sizeof(own_id), "%s", id);
}

const char *gr_server_id(void)
{
    return own_id;
}

static void cleaned(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct cleanup *c = GR_CONTAINER_OF(ev, struct cleanup, ev.ev);

    (void)verdict; /* a value hook: stop only ends the chain */
    c->done(c->arg);
    gr_free(c->id);
    gr_free(c);
}

void node_cleanup(const char *id, void (*done)(void *arg), void *arg)
{
    struct cleanup *c = gr_alloc(sizeof(*c));

    c->done = done;
    c->arg = arg;
    c->id = gr_strdup(id);
    c->ev.node = c->id;
    hook_run(GR_HOOK_node_cleanup, &c->ev.ev, cleaned);
}

/* server_cleanup.c: what an earlier process with our id has left behind goes before anybody can
 * connect. The modules do it (node_cleanup); the main loop runs meanwhile, so that a signal can end
 * the wait. */
#include "server_priv.h"

#include "loop/loop.h"
#include "mod/node.h"

#include <grapnel/log.h>
#include <grapnel/module.h>

#define CLEANUP_MS 60000 /* modules may take this long */

static struct {
    struct timer limit;
    struct post post;
} cleanup;

static void on_back(struct post *p)
{
    (void)p;
    if (timer_running(&cleanup.limit)) /* else nobody waits any more */
        loop_stop_main();
    timer_stop(&cleanup.limit);
}

static void on_done(void *arg)
{
    (void)arg;
    cleanup.post.run = on_back;
    loop_post(loop_main(), &cleanup.post);
}

static void on_first_loop(struct post *p)
{
    (void)p;
    node_cleanup(gr_server_id(), on_done, NULL);
}

static void on_limit(struct timer *t)
{
    (void)t;
    gr_error("server.cleanup", "modules have not cleaned up within %d s; starting all the same",
             CLEANUP_MS / 1000);
    loop_stop_main();
}

void server_clean_up(void)
{
    cleanup.post.run = on_first_loop;
    timer_start(&cleanup.limit, CLEANUP_MS, on_limit);
    loop_post(loop_at(0), &cleanup.post);
    loop_run_main();
    timer_stop(&cleanup.limit);
}

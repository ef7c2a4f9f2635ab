/* mod/host.c: the hosts of each loop.
 *
 * Every loop has its own struct per domain, made by the loop itself when the domain first appears, and
 * kept: pointers to it are good for as long as the process. */
#include "mod/host.h"

#include <stdatomic.h>
#include <string.h>

#include <grapnel/log.h>

#include "mod/hook.h"
#include "mod/instance.h"
#include "mod/iq_table.h"
#include "mod/provider.h"

/* Written by the loop itself; the watchdog looks as well. */
static struct mod_loop *_Atomic of_loop[LOOPS_MAX + 1];

struct mod_loop *mod_loop(void)
{
    int index = loop_index(loop_self());
    struct mod_loop *ml = atomic_load_explicit(&of_loop[index + 1], memory_order_relaxed);
    struct hook_builder *none;

    if (ml != NULL)
        return ml;
    ml = gr_alloc(sizeof(*ml));
    none = hook_builder_new();
    ml->global = hook_builder_finish(&none);
    list_init(&ml->retired);
    list_init(&ml->asks);
    atomic_store_explicit(&of_loop[index + 1], ml, memory_order_release);
    return ml;
}

struct mod_loop *mod_loop_at(int index)
{
    return atomic_load_explicit(&of_loop[index + 1], memory_order_acquire);
}

static struct gr_host *lookup(const struct mod_loop *ml, const char *domain)
{
    struct table_node *n = table_find_str(&ml->hosts, domain);

    return n != NULL ? GR_CONTAINER_OF(n, struct gr_host, by_name) : NULL;
}

struct gr_host *host_find(const char *domain)
{
    struct mod_loop *ml = mod_loop();

    if (ml->found == NULL || strcmp(ml->found->jid->domain, domain) != 0)
        ml->found = lookup(ml, domain);
    return ml->found != NULL && ml->found->served ? ml->found : NULL;
}

struct gr_host *host_default(void)
{
    return mod_loop()->first;
}

struct gr_host *host_get(const char *domain)
{
    struct gr_host *h = lookup(mod_loop(), domain);
    struct hook_builder *none;
    int rc;

    if (h != NULL)
        return h;
    h = gr_alloc(sizeof(*h));
    rc = gr_jid_make(NULL, domain, NULL, &h->jid);
    gr_assert(rc == 0); /* prepared by conf */
    h->of = mod_loop();
    none = hook_builder_new();
    h->hooks = hook_builder_finish(&none);
    h->iqs = iq_table_new();
    h->providers = provider_set_new();
    list_init(&h->instances);
    table_insert(&mod_loop()->hosts, &h->by_name, h->jid->domain, strlen(h->jid->domain));
    return h;
}

static void host_free(struct gr_host *h)
{
    gr_assert(list_empty(&h->instances));
    hook_table_unref(&h->hooks);
    iq_table_free(&h->iqs);
    provider_set_free(&h->providers);
    gr_jid_free(&h->jid);
    gr_free(h);
}

void hosts_fini(void)
{
    for (size_t i = 0; i < GR_COUNT(of_loop); i++) {
        struct mod_loop *ml = of_loop[i];
        struct table_node *n;

        of_loop[i] = NULL;
        if (ml == NULL)
            continue;
        list_each (self, &ml->retired, struct gr_mod, of_host) {
            gr_warn("mod.left", "mod_%s of %s: %u completions never came", self->desc->name,
                    self->host->jid->domain, self->pending);
            list_remove(&self->of_host);
        }
        while ((n = table_first(&ml->hosts)) != NULL) {
            table_remove(&ml->hosts, n);
            host_free(GR_CONTAINER_OF(n, struct gr_host, by_name));
        }
        table_fini(&ml->hosts);
        hook_table_unref(&ml->global);
        gr_free(ml);
    }
}

struct gr_host *gr_host_find(const char *domain)
{
    return host_find(domain);
}

const char *gr_host_name(const struct gr_host *host)
{
    return host->jid->domain;
}

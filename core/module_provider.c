/* module_provider.c: loading or unloading a module by hand may put another provider in force, which may
 * lock everybody out: so the command tells. */
#include "module_provider.h"

#include "command.h"
#include "loop/loop.h"
#include "mod/host.h"
#include "mod/reload.h"

#include <grapnel/provider.h>

#include <string.h>

#define TYPES 3

/* enum gr_provider_type */
static const char *const what[TYPES] = { "accounts", "rosters", "sessions" };

struct providers {
    size_t count;
    struct of_host {
        char *domain, *name[TYPES];
    } of[];
};

/* Names are the modules', whose code may go. */
static void look(void *arg)
{
    struct providers *p = arg;

    for (size_t i = 0; loop_index(loop_self()) == 0 && i < p->count; i++) {
        const struct gr_host *host = host_find(p->of[i].domain);

        for (int t = 0; t < TYPES && host != NULL; t++)
            p->of[i].name[t] = gr_strdup(gr_provider_name(host, (enum gr_provider_type)t, NULL));
    }
}

struct providers *providers_note(void)
{
    const struct conf *conf = mod_current();
    struct providers *p = gr_alloc(sizeof(*p) + conf->host_count * sizeof(p->of[0]));

    p->count = conf->host_count;
    for (size_t i = 0; i < p->count; i++)
        p->of[i].domain = gr_strdup(conf->hosts[i].domain);
    loops_call(look, p);
    return p;
}

static void providers_free(struct providers **take)
{
    struct providers *p = *take;

    *take = NULL;
    for (size_t i = 0; i < p->count; i++) {
        gr_free(p->of[i].domain);
        for (int t = 0; t < TYPES; t++)
            gr_free(p->of[i].name[t]);
    }
    gr_free(p);
}

/* The note about that domain; NULL: there is none. */
static const struct of_host *find(const struct providers *p, const char *domain)
{
    size_t i = 0;

    while (i < p->count && strcmp(p->of[i].domain, domain) != 0)
        i++;
    return i < p->count ? &p->of[i] : NULL;
}

/* The first host's names stand for those of the others. */
static void tell(const struct providers *before, const struct providers *now, int t,
                 struct buf *result)
{
    const struct of_host *old = NULL, *first = NULL;
    size_t more = 0;
    char *hosts, *line;

    for (size_t i = 0; i < now->count; i++) {
        const struct of_host *was = find(before, now->of[i].domain);

        if (was == NULL || was->name[t] == NULL || now->of[i].name[t] == NULL ||
            strcmp(was->name[t], now->of[i].name[t]) == 0)
            continue;
        more += first != NULL;
        old = first == NULL ? was : old;
        first = first == NULL ? &now->of[i] : first;
    }
    if (first == NULL)
        return;
    hosts = more > 0 ? gr_asprintf("%s and %zu more", first->domain, more)
                     : gr_strdup(first->domain);
    line = gr_asprintf("%s of %s: the provider %s answers now, before it was %s", what[t], hosts,
                       first->name[t], old->name[t]);
    command_row(result);
    command_text(result, "change", line);
    gr_free(hosts);
    gr_free(line);
}

void providers_tell(struct providers **take, struct buf *result)
{
    struct providers *now = providers_note();

    for (int t = 0; t < TYPES; t++)
        tell(*take, now, t, result);
    providers_free(&now);
    providers_free(take);
}

/* mod/iq_table.c: iq payloads by (namespace, name); see iq_table.h. */
#include "mod/iq_table.h"

#include <string.h>

#include "mod/instance.h"

#define KEY_MAX 512  /* longer payload names are nobody's */
#define PLACES 2     /* host, account */

struct iq_entry {
    struct table_node node;
    struct {
        const struct gr_iq *iq;
        struct gr_mod *self;
    } at[PLACES];
    size_t len;
    char key[];          /* namespace, 0, name ("" for any) */
};
struct iq_table {
    struct table entries;
};

static const unsigned place_bit[PLACES] = { GR_TO_HOST, GR_TO_ACCOUNT };

struct iq_table *iq_table_new(void)
{
    return gr_alloc(sizeof(struct iq_table));
}

void iq_table_free(struct iq_table **take)
{
    struct iq_table *t = *take;
    struct table_node *n;

    *take = NULL;
    if (t == NULL)
        return;
    while ((n = table_first(&t->entries)) != NULL) {
        table_remove(&t->entries, n);
        gr_free(GR_CONTAINER_OF(n, struct iq_entry, node));
    }
    table_fini(&t->entries);
    gr_free(t);
}

/* 0: too long. */
static size_t make_key(char key[KEY_MAX], const char *ns, const char *name)
{
    size_t ns_len = strnlen(ns, KEY_MAX), name_len = strnlen(name, KEY_MAX);

    if (ns_len + 1 + name_len > KEY_MAX)
        return 0;
    memcpy(key, ns, ns_len);
    key[ns_len] = '\0';
    memcpy(key + ns_len + 1, name, name_len);
    return ns_len + 1 + name_len;
}

static struct iq_entry *find(const struct iq_table *t, const char *ns, const char *name)
{
    char key[KEY_MAX];
    size_t len = make_key(key, ns, name);
    struct table_node *n = len > 0 ? table_find(&t->entries, key, len) : NULL;

    return n != NULL ? GR_CONTAINER_OF(n, struct iq_entry, node) : NULL;
}

static struct iq_entry *get(struct iq_table *t, const char *ns, const char *name)
{
    struct iq_entry *e = find(t, ns, name);
    char key[KEY_MAX];
    size_t len;

    if (e != NULL)
        return e;
    len = make_key(key, ns, name);
    gr_assert(len > 0); /* image.c has checked the lengths */
    e = gr_alloc(sizeof(*e) + len);
    memcpy(e->key, key, len);
    e->len = len;
    table_insert(&t->entries, &e->node, e->key, len);
    return e;
}

void iq_table_add(struct iq_table *t, struct gr_mod *self)
{
    for (const struct gr_iq *iq = self->desc->iqs; iq != NULL && iq->where != 0; iq++) {
        struct iq_entry *e = get(t, iq->ns, iq->name != NULL ? iq->name : "");

        for (int i = 0; i < PLACES; i++) {
            if ((iq->where & place_bit[i]) == 0 || e->at[i].iq != NULL)
                continue;
            e->at[i].iq = iq;
            e->at[i].self = self;
        }
    }
}

bool iq_conflict(const struct gr_iq *a, const struct gr_iq *b)
{
    const unsigned places = GR_TO_HOST | GR_TO_ACCOUNT;
    const char *an = a->name != NULL ? a->name : "", *bn = b->name != NULL ? b->name : "";

    return (a->where & b->where & places) != 0 && strcmp(a->ns, b->ns) == 0 && strcmp(an, bn) == 0;
}

const struct gr_iq *iq_find(const struct gr_host *host, unsigned where, const char *ns,
                            const char *name, struct gr_mod **self)
{
    int place = (where & GR_TO_HOST) != 0 ? 0 : 1;
    const struct iq_entry *e;

    *self = NULL;
    if (ns == NULL || name == NULL)
        return NULL;
    e = find(host->iqs, ns, name);
    if (e == NULL || e->at[place].iq == NULL)
        e = find(host->iqs, ns, "");
    if (e == NULL || e->at[place].iq == NULL)
        return NULL;
    *self = e->at[place].self;
    return e->at[place].iq;
}

void host_each_feature(const struct gr_host *host, bool account,
                       void (*f)(void *ctx, const char *feature), void *ctx)
{
    list_each (self, &host->instances, struct gr_mod, of_host) {
        const char *const *list = account ? self->desc->account_features : self->desc->features;

        for (; list != NULL && *list != NULL; list++)
            f(ctx, *list);
    }
}

void gr_host_each_feature(struct gr_mod *self, bool account,
                          void (*f)(void *ctx, const char *feature), void *ctx)
{
    const unsigned where = account ? GR_TO_ACCOUNT : GR_TO_HOST;

    list_each (other, &self->host->instances, struct gr_mod, of_host) {
        for (const struct gr_iq *iq = other->desc->iqs; iq != NULL && iq->where != 0; iq++) {
            if ((iq->where & where) != 0 && (iq->where & GR_UNLISTED) == 0)
                f(ctx, iq->ns);
        }
    }
    host_each_feature(self->host, account, f, ctx);
}

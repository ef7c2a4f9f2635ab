/* mod_privacy/list.c: one privacy list (XEP-0016, 2.1): made from what a client sent or the
 * store has, written again, and asked about a stanza. Pure functions. */
#include "privacy.h"

#include <stdlib.h>
#include <string.h>

static const struct { const char *name; unsigned on; } parts[] = {
    { "message", ON_MESSAGE }, { "iq", ON_IQ }, { "presence-in", ON_PRESENCE_IN },
    { "presence-out", ON_PRESENCE_OUT },
};
static const char *const sub_names[] = { [GR_SUB_NONE] = "none", [GR_SUB_TO] = "to",
                                         [GR_SUB_FROM] = "from", [GR_SUB_BOTH] = "both" };

/* --- life --- */

struct list *list_new(const char *name, size_t room)
{
    struct list *l = gr_alloc(sizeof(*l));

    l->refs = 1;
    l->name = gr_strdup(name);
    l->items = gr_alloc((room + 1) * sizeof(*l->items));
    return l;
}

struct list *list_ref(struct list *l)
{
    if (l != NULL)
        l->refs++;
    return l;
}

void list_unref(struct list **take)
{
    struct list *l = *take;

    *take = NULL;
    if (l == NULL || --l->refs > 0)
        return;
    for (size_t i = 0; i < l->count; i++) {
        gr_jid_free(&l->items[i].jid);
        gr_free(l->items[i].group);
    }
    gr_free(l->items);
    gr_free(l->name);
    gr_free(l);
}

void list_add(struct list *l, const struct item *item)
{
    struct item *to = &l->items[l->count++];

    *to = *item;
    to->jid = item->jid != NULL ? gr_jid_dup(item->jid) : NULL;
    to->group = item->group != NULL ? gr_strdup(item->group) : NULL;
    l->asks_roster = l->asks_roster || item->type == ITEM_GROUP || item->type == ITEM_SUBSCRIPTION;
}

struct list *list_closed(const char *name)
{
    struct list *l = list_new(name, 1);

    list_add(l, &(struct item){ .on = ON_ALL, .order = 1 });
    l->closed = true;
    return l;
}

/* --- from XML --- */

static bool parse_order(const char *text, uint32_t *out)
{
    unsigned long long v;
    char *end;

    if (text == NULL || text[0] < '0' || text[0] > '9')
        return false;
    v = strtoull(text, &end, 10);
    *out = (uint32_t)v;
    return *end == '\0' && v <= UINT32_MAX;
}

static bool parse_subscription(const char *text, enum gr_subscription *out)
{
    for (size_t i = 0; i < GR_COUNT(sub_names); i++) {
        if (strcmp(text, sub_names[i]) == 0) {
            *out = (enum gr_subscription)i;
            return true;
        }
    }
    return false;
}

/* The item owns what it points to, also when it is wrong. */
static enum gr_cond parse_target(const struct gr_el *el, struct item *item)
{
    const char *type = gr_el_attr(el, "type"), *value = gr_el_attr(el, "value");

    if (type == NULL)
        return GR_COND_NONE;
    if (value == NULL || value[0] == '\0')
        return GR_BAD_REQUEST;
    if (strcmp(type, "jid") == 0) {
        item->type = ITEM_JID;
        return gr_jid_parse(value, strlen(value), &item->jid) == 0 ? GR_COND_NONE
                                                                   : GR_JID_MALFORMED;
    }
    if (strcmp(type, "group") == 0) {
        item->type = ITEM_GROUP;
        item->group = gr_strdup(value);
        return GR_COND_NONE;
    }
    item->type = ITEM_SUBSCRIPTION;
    return strcmp(type, "subscription") == 0 && parse_subscription(value, &item->sub)
               ? GR_COND_NONE : GR_BAD_REQUEST;
}

static enum gr_cond parse_item(const struct gr_el *el, struct item *item)
{
    const char *action = gr_el_attr(el, "action");

    if (action == NULL || !parse_order(gr_el_attr(el, "order"), &item->order))
        return GR_BAD_REQUEST;
    item->allow = strcmp(action, "allow") == 0;
    if (!item->allow && strcmp(action, "deny") != 0)
        return GR_BAD_REQUEST;
    for (size_t i = 0; i < GR_COUNT(parts); i++) {
        if (gr_el_child(el, NS_PRIVACY, parts[i].name) != NULL)
            item->on |= parts[i].on;
    }
    if (item->on == 0)
        item->on = ON_ALL;
    return parse_target(el, item);
}

static int by_order(const void *a, const void *b)
{
    uint32_t x = ((const struct item *)a)->order, y = ((const struct item *)b)->order;

    return (x > y) - (x < y);
}

static bool orders_differ(const struct list *l)
{
    for (size_t i = 1; i < l->count; i++) {
        if (l->items[i].order == l->items[i - 1].order)
            return false;
    }
    return true;
}

static enum gr_cond parse_items(const struct gr_el *el, struct list *l)
{
    const struct gr_el *at = gr_el_child(el, NS_PRIVACY, "item");

    for (; at != NULL; at = gr_el_next(at, NS_PRIVACY, "item")) {
        struct item *item = &l->items[l->count++];
        enum gr_cond cond = parse_item(at, item);

        if (cond != GR_COND_NONE)
            return cond;
        l->asks_roster = l->asks_roster || item->type == ITEM_GROUP ||
                         item->type == ITEM_SUBSCRIPTION;
    }
    qsort(l->items, l->count, sizeof(*l->items), by_order);
    return orders_differ(l) ? GR_COND_NONE : GR_BAD_REQUEST;
}

enum gr_cond list_parse(const struct gr_el *el, size_t max_items, struct list **out)
{
    const char *name = gr_el_attr(el, "name");
    enum gr_cond cond;
    size_t n = 0;

    *out = NULL;
    if (name == NULL || name[0] == '\0')
        return GR_BAD_REQUEST;
    for (const struct gr_el *at = gr_el_child(el, NS_PRIVACY, "item"); at != NULL;
         at = gr_el_next(at, NS_PRIVACY, "item"))
        n++;
    if (n > max_items)
        return GR_RESOURCE_CONSTRAINT;
    *out = list_new(name, n);
    cond = parse_items(el, *out);
    if (cond != GR_COND_NONE)
        list_unref(out);
    return cond;
}

/* --- to XML --- */

static void write_item(struct gr_stanza *st, struct gr_el *parent, const struct item *item)
{
    struct gr_el *el = gr_el_add(st, parent, NULL, "item");

    if (item->type == ITEM_JID) {
        gr_el_set(st, el, "type", "jid");
        gr_el_set(st, el, "value", item->jid->full);
    } else if (item->type == ITEM_GROUP) {
        gr_el_set(st, el, "type", "group");
        gr_el_set(st, el, "value", item->group);
    } else if (item->type == ITEM_SUBSCRIPTION) {
        gr_el_set(st, el, "type", "subscription");
        gr_el_set(st, el, "value", sub_names[item->sub]);
    }
    gr_el_set(st, el, "action", item->allow ? "allow" : "deny");
    gr_el_set_int(st, el, "order", item->order);
    for (size_t i = 0; item->on != ON_ALL && i < GR_COUNT(parts); i++) {
        if (item->on & parts[i].on)
            gr_el_add(st, el, NULL, parts[i].name);
    }
}

void list_write(struct gr_stanza *st, struct gr_el *parent, const struct list *l)
{
    gr_el_set(st, parent, "name", l->name);
    for (size_t i = 0; i < l->count; i++)
        write_item(st, parent, &l->items[i]);
}

/* --- what it says --- */

/* XEP-0016, 2.1: user@domain/resource and domain/resource only that; user@domain every resource; a
 * domain everything in it. */
static bool jid_matches(const struct gr_jid *item, const struct gr_jid *peer)
{
    if (item->node != NULL && item->hash != peer->hash) /* most of a long list */
        return false;
    if (item->resource != NULL)
        return gr_jid_equal(item, peer);
    if (item->node != NULL)
        return gr_jid_bare_equal(item, peer);
    return strcmp(item->domain, peer->domain) == 0;
}

static bool in_group(const struct gr_roster_item *contact, const char *group)
{
    const char *const *at = contact != NULL ? contact->groups : NULL;

    while (at != NULL && *at != NULL && strcmp(*at, group) != 0)
        at++;
    return at != NULL && *at != NULL;
}

static bool matches(const struct item *item, const struct gr_jid *peer,
                    const struct gr_roster_item *contact)
{
    switch (item->type) {
    case ITEM_JID:
        return jid_matches(item->jid, peer);
    case ITEM_GROUP:
        return in_group(contact, item->group);
    case ITEM_SUBSCRIPTION:
        return item->sub == (contact != NULL ? contact->sub : GR_SUB_NONE);
    default:
        return true;
    }
}

enum gr_privacy list_decide(const struct list *l, const struct gr_jid *peer,
                            const struct gr_roster_item *contact, unsigned on)
{
    for (size_t i = 0; l != NULL && i < l->count; i++) {
        const struct item *item = &l->items[i];

        if ((item->on & on) == 0 || !matches(item, peer, contact))
            continue;
        return item->allow ? GR_ALLOW : item_blocks(item) ? GR_BLOCK : GR_DENY;
    }
    return GR_ALLOW;
}

bool list_names(const struct list *l, const struct gr_jid *jid)
{
    for (size_t i = 0; l != NULL && i < l->count; i++) {
        if (l->items[i].type == ITEM_JID && gr_jid_equal(l->items[i].jid, jid))
            return true;
    }
    return false;
}

/* --- groups --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t take_groups(const struct gr_roster_list *roster, const char **out)
{
    size_t n = 0;

    for (size_t i = 0; i < gr_roster_list_count(roster); i++) {
        const char *const *groups = gr_roster_list_at(roster, i)->groups;

        for (; groups != NULL && *groups != NULL; groups++, n++) {
            if (out != NULL)
                out[n] = *groups;
        }
    }
    return n;
}

bool list_groups_exist(const struct list *l, const struct gr_roster_list *roster)
{
    size_t n = take_groups(roster, NULL);
    const char **names = gr_alloc((n + 1) * sizeof(*names));
    bool all = true;

    take_groups(roster, names);
    qsort(names, n, sizeof(*names), by_name);
    for (size_t i = 0; i < l->count && all; i++)
        all = l->items[i].type != ITEM_GROUP ||
              bsearch(&l->items[i].group, names, n, sizeof(*names), by_name) != NULL;
    gr_free(names);
    return all;
}

bool list_names_group(const struct list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].type == ITEM_GROUP)
            return true;
    }
    return false;
}

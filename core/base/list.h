/* base/list.h: intrusive doubly linked circular list; the head is a link of its own. */
#pragma once

#include <grapnel/base.h>

struct link {
    struct link *prev, *next;
};

static inline void list_init(struct link *head) { head->prev = head->next = head; }
static inline bool list_empty(const struct link *head) { return head->next == head; }
static inline void list_append(struct link *head, struct link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}
/* Safe on a link that is not in a list (zeroed or removed before). */
static inline void list_remove(struct link *l)
{
    if (l->next == NULL)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}
#define list_entry(l, type, member) GR_CONTAINER_OF(l, type, member)
/* Not &it->member: at the end `it` is the head's surroundings, which need not be aligned for `type`. */
#define list_link(it, type, member) \
    ((struct link *)(void *)((char *)(it) + offsetof(type, member)))
/* The body may remove `it` itself, nothing else. */
#define list_each(it, head, type, member)                                                    \
    for (type *it = list_entry((head)->next, type, member),                                  \
              *it##_next = list_entry(list_link(it, type, member)->next, type, member);      \
         list_link(it, type, member) != (head);                                              \
         it = it##_next,                                                                     \
              it##_next = list_entry(list_link(it, type, member)->next, type, member))

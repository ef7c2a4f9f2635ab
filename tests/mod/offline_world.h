/* tests/mod/offline_world.h: alice writes to bob while a module on the way looks and holds, and
 * what is kept for him is counted. One per program, on the test's thread, on which the harness runs
 * all loops. */
#pragma once

#include "harness.h"

#include <stdio.h>

#define CONFIG "[host localhost]\n[mod_presence]\n[mod_offline]\n"

/* --- a module on the way --- */

static struct {
    bool copy;              /* filter_local_packet makes every message a copy */
    bool hold;              /* ... or keeps those for bob */
    struct gr_hold *held[256];
    size_t holds;
    unsigned offline;       /* messages that reached the end of the chain */
} way;

static inline enum gr_verdict on_local(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    if (gr_stanza_kind(ev->stanza) != GR_MESSAGE)
        return GR_OK;
    if (way.copy)
        gr_el_add(gr_ev_edit(ev), NULL, "urn:x", "seen");
    if (!way.hold || strcmp(ev->to->bare, "bob@localhost") != 0)
        return GR_OK;
    assert_true(way.holds < GR_COUNT(way.held));
    way.held[way.holds++] = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

static inline enum gr_verdict on_last(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    way.offline++;
    return GR_OK;
}

static const struct gr_hook way_hooks[] = {
    GR_ON(filter_local_packet, 60, on_local),
    GR_ON(offline_message, 99, on_last),
    GR_HOOK_END
};
static const struct gr_module way_module = { .name = "way", .summary = "test",
                                             .hooks = way_hooks };

static inline void let_one_go(struct h *h, const char *jid)
{
    struct gr_hold *hold = way.held[0];

    assert_true(way.holds > 0);
    memmove(way.held, way.held + 1, --way.holds * sizeof(way.held[0]));
    h_enter(h, jid);
    gr_resume(hold, GR_OK);
    h_run(h);
}

static inline struct h *start(const char *ini)
{
    memset(&way, 0, sizeof(way));
    h_module(&way_module);
    struct h *h = h_start(ini != NULL ? ini : CONFIG);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

static inline void say(struct hs *s, const char *to, int from, int until)
{
    for (int i = from; i < until; i++)
        h_sendf(s, "<message to='%s' id='m%d'><body>%d</body></message>", to, i, i);
}

/* Their own presence comes in between. */
static inline void drop_presence(struct hs *s)
{
    struct gr_stanza *st = h_peek(s);

    while (st != NULL && gr_stanza_kind(st) == GR_PRESENCE) {
        h_next(s);
        st = h_peek(s);
    }
}

static inline void expect_numbers(struct hs *s, int from, int until)
{
    char body[16];

    for (int i = from; i < until; i++) {
        drop_presence(s);
        snprintf(body, sizeof(body), "%d", i);
        h_expect_body(s, "alice@localhost/a", body);
    }
}

/* Comes, sends that presence, and gets messages from..until and nothing else. */
static inline struct hs *fetch(struct h *h, const char *full, int from, int until)
{
    struct hs *s = h_login(h, full);

    h_send(s, "<presence/>");
    drop_presence(s);
    expect_numbers(s, from, until);
    drop_presence(s);
    h_expect_nothing(s);
    return s;
}

/* Rows of bob: what the module keeps. */
struct count { uint64_t rows, bytes; };
static struct count counted;

static inline void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    counted.rows = rows->count;
}

static inline void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    assert_false(rows->more);
    for (size_t i = 0; i < rows->count; i++)
        counted.bytes += rows->row[i].val_len;
}

static inline struct count count(struct h *h, const char *bare)
{
    static const struct gr_coll messages = GR_LOG("offline.messages");
    struct gr_mod *self = h_mod(h, "offline", bare);

    memset(&counted, 0, sizeof(counted));
    gr_store_count(gr_req_new(self, 1, on_count), &messages, bare);
    gr_store_range(gr_req_new(self, 1, on_rows), &messages, bare, NULL, 0, 100000);
    h_run(h);
    return counted;
}

static inline void expect_kept(struct h *h, uint64_t rows)
{
    assert_int_equal(count(h, "bob@localhost").rows, rows);
}

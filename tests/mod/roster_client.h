/* tests/mod/roster_client.h: clients with a roster: what they set, get and are pushed; what goes to
 * other servers, and a module that sees changes. One per program, on the test's thread, on which
 * the harness runs all loops. */
#pragma once

#include "harness.h"

#include "store/store.h"

#include <stdio.h>

#define Q "<query xmlns='jabber:iq:roster'>"
#define GET "<query xmlns='jabber:iq:roster'/>"
#define CONF "[host localhost]\n[mod_roster]\n[mod_presence]\n"

/* --- the other servers --- */

static char sent[65536]; /* "type from>to\n" of every stanza for remote.example */

static inline enum gr_verdict on_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const char *type = gr_el_attr(gr_stanza_root(ev->stanza), "type");
    size_t len = strlen(sent);

    (void)self;
    if (strcmp(ev->to->domain, "remote.example") != 0)
        return GR_OK;
    snprintf(sent + len, sizeof(sent) - len, "%s %s>%s\n", type != NULL ? type : "available",
             ev->from->full, ev->to->full);
    return GR_DROP;
}

static unsigned sets, processed, pushed;

static inline void on_set(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    (void)self, (void)ev;
    sets++;
}

static inline enum gr_verdict on_process(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    (void)self;
    processed++;
    if (ev->item->name != NULL && strcmp(ev->item->name, "plain") == 0)
        ev->item->name = "processed";
    return GR_OK;
}

static inline void on_push(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    (void)self, (void)ev;
    pushed++;
}

/* A virtual item, as a shared roster would add it. */
static bool virtual_item;

static inline enum gr_verdict on_get(struct gr_mod *self, struct gr_roster_ev *ev)
{
    struct gr_jid *jid;

    (void)self;
    if (!virtual_item)
        return GR_OK;
    assert_int_equal(gr_jid_parse("virtual@localhost", 17, &jid), 0);
    gr_roster_list_add(ev->items, &(struct gr_roster_item){ .jid = jid, .in_roster = true,
                                                           .sub = GR_SUB_BOTH });
    gr_jid_free(&jid);
    return GR_OK;
}

/* What a module that blocks contacts does. */
static inline enum gr_verdict on_local_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    return strcmp(ev->from->bare, "blocked@remote.example") == 0 ? GR_DROP : GR_OK;
}

static const struct gr_hook witness_hooks[] = {
    GR_ON(filter_packet, GR_PRIO_LATE, on_packet),
    GR_ON(filter_local_packet, GR_PRIO_PRIVACY, on_local_packet),
    GR_ON(roster_set, GR_PRIO_NORMAL, on_set),
    GR_ON(roster_process_item, 70, on_process),
    GR_ON(roster_push, GR_PRIO_NORMAL, on_push),
    GR_ON(roster_get, 70, on_get),
    GR_HOOK_END
};
static const struct gr_module witness = { .name = "witness", .summary = "test",
                                          .abi = GR_ABI_VERSION, .abi_tag = GR_ABI_TAG,
                                          .hooks = witness_hooks };

static inline struct h *start_with(const char *conf)
{
    sent[0] = '\0';
    sets = processed = pushed = 0;
    virtual_item = false;
    h_module(&witness);
    return h_start(conf);
}

static inline struct h *start(void)
{
    return start_with(CONF);
}

/* What arrives from somewhere else. */
static inline void inject(struct h *h, const char *xml)
{
    struct gr_stanza *st;

    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    gr_send(h_mod(h, "sm", "localhost"), st);
    h_run(h);
}

static inline void injectf(struct h *h, const char *type, const char *from, const char *to)
{
    char xml[4096];

    snprintf(xml, sizeof(xml), "<presence type='%s' from='%s' to='%s' id='x'/>", type, from, to);
    inject(h, xml);
}

static inline void expect_sent(const char *lines)
{
    assert_string_equal(sent, lines);
    sent[0] = '\0';
}

static inline const char *get(struct hs *s)
{
    h_iq(s, "get", NULL, GET);
    return NULL;
}

/* An interested client, nothing else waiting. */
static inline struct hs *login(struct h *h, const char *full)
{
    struct hs *s = h_login(h, full);

    get(s);
    h_drop_all(s);
    return s;
}

static inline struct hs *online(struct h *h, const char *full)
{
    struct hs *s = login(h, full);

    h_send(s, "<presence/>");
    h_drop_all(s);
    return s;
}

static inline void set(struct hs *s, const char *item)
{
    char xml[16384];

    snprintf(xml, sizeof(xml), Q "%s</query>", item);
    h_iq_result(s, "set", NULL, xml, NULL);
}

static inline void set_error(struct hs *s, const char *item, enum gr_cond cond)
{
    char xml[70000];

    snprintf(xml, sizeof(xml), Q "%s</query>", item);
    h_iq_error(s, "set", NULL, xml, cond);
}

static inline void expect_push(struct hs *s, const char *item)
{
    char bare[128], xml[16384];

    snprintf(bare, sizeof(bare), "%s", h_jid(s)->bare);
    snprintf(xml, sizeof(xml),
             "<iq type='set' id='*' from='%s' to='%s'><query xmlns='jabber:iq:roster' ver='*'>%s"
             "</query></iq>", bare, h_full(s), item);
    h_expect_xml(s, xml);
}

/* The roster, without versions. */
static inline void expect_roster(struct hs *s, const char *items)
{
    char xml[16384];

    snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:roster' ver='*'>%s</query>", items);
    h_iq_result(s, "get", NULL, GET, xml);
}

static inline void text_of(char *out, size_t n)
{
    memset(out, 'x', n);
    out[n] = '\0';
}

static inline void version(struct hs *s, char out[32])
{
    struct gr_stanza *st = h_iq(s, "get", NULL, GET);

    snprintf(out, 32, "%s", gr_el_attr(gr_stanza_payload(st), "ver"));
}

static inline void get_full(struct hs *s, const char *ver, const char *items)
{
    char xml[128], result[2048];

    snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:roster' ver='%s'/>", ver);
    snprintf(result, sizeof(result), "<query xmlns='jabber:iq:roster' ver='*'>%s</query>", items);
    h_iq_result(s, "get", NULL, xml, result);
}

static inline void befriend(struct h *h, struct hs *a, const char *contact, bool to, bool from)
{
    const char *me = h_jid(a)->bare;

    if (to || !from)
        h_sendf(a, "<presence type='subscribe' to='%s'/>", contact);
    if (to)
        injectf(h, "subscribed", contact, me);
    if (from) {
        injectf(h, "subscribe", contact, me);
        h_sendf(a, "<presence type='subscribed' to='%s'/>", contact);
    }
    sent[0] = '\0';
    h_drop_all(a);
}

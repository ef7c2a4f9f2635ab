/* tests/mod/privacy.h: what test_blocking.c and test_privacy.c share: friends, and a witness of the
 * hooks that mod_privacy runs. Everything is static; included once by each. */
#pragma once

#include "harness.h"

#include <stdio.h>

#define MODULES                                                                                   \
    "[mod_roster]\n[mod_presence]\n[mod_disco]\n[mod_offline]\n[mod_privacy]\n[mod_blocking]\n"

static struct {
    unsigned checks, lists, gets, sets, pushes, updates, not_stored, stored;
    char list[64];
    int verdict;                   /* for privacy_check_packet; -1: as it is */
    const char *instead;           /* for privacy_get_user_list; "": no list */
    bool wait;                     /* the roster answers when the test says so */
    struct gr_hold *holds[4];
    size_t count;
} seen;

static enum gr_verdict see_info(struct gr_mod *self, struct gr_jid_info_ev *ev)
{
    if (!seen.wait)
        return GR_OK;
    assert_true(seen.count < GR_COUNT(seen.holds));
    seen.holds[seen.count++] = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

static enum gr_verdict see_check(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    (void)self;
    seen.checks++;
    snprintf(seen.list, sizeof(seen.list), "%s", ev->list != NULL ? ev->list : "");
    if (seen.verdict >= 0)
        ev->verdict = (enum gr_privacy)seen.verdict;
    return GR_OK;
}

static enum gr_verdict see_list(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    (void)self;
    seen.lists++;
    if (seen.instead != NULL)
        ev->list = seen.instead[0] != '\0' ? seen.instead : NULL;
    return GR_OK;
}

static enum gr_verdict see_get(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    (void)self, (void)ev;
    seen.gets++;
    return GR_OK;
}

static enum gr_verdict see_set(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    (void)self, (void)ev;
    seen.sets++;
    return GR_OK;
}

static void see_push(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    (void)self, (void)ev;
    seen.pushes++;
}

static enum gr_verdict see_update(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    (void)self, (void)ev;
    seen.updates++;
    return GR_OK;
}

static enum gr_verdict see_not_stored(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    seen.not_stored++;
    return GR_OK;
}

static enum gr_verdict see_stored(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    seen.stored++;
    return GR_OK;
}

static const struct gr_hook witness_hooks[] = {
    GR_ON(privacy_check_packet, 60, see_check),
    GR_ON(privacy_get_user_list, 60, see_list),
    GR_ON(privacy_iq_get, 10, see_get),
    GR_ON(privacy_iq_set, 10, see_set),
    GR_ON(privacy_list_push, 50, see_push),
    GR_ON(roster_get_jid_info, 10, see_info),
    GR_ON(privacy_updated_list, 50, see_update),
    GR_ON(failed_to_store_message, 50, see_not_stored),
    GR_ON(offline_message, 10, see_stored),
    GR_HOOK_END
};
static const struct gr_module witness = { .name = "witness", .hooks = witness_hooks };

static struct h *start_with(const char *modules)
{
    char ini[1024];
    struct h *h;

    memset(&seen, 0, sizeof(seen));
    seen.verdict = -1;
    snprintf(ini, sizeof(ini), "[host localhost]\n%s", modules);
    h_module(&witness);
    h = h_start(ini);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    h_user(h, "carol@localhost");
    return h;
}

static struct h *start(void)
{
    return start_with(MODULES);
}

/* Each sees the other's presence. */
static void befriend(struct hs *a, struct hs *b)
{
    char from[128], to[128];

    snprintf(from, sizeof(from), "%s", h_jid(a)->bare);
    snprintf(to, sizeof(to), "%s", h_jid(b)->bare);
    h_sendf(a, "<presence to='%s' type='subscribe'/>", to);
    h_sendf(b, "<presence to='%s' type='subscribed'/>", from);
    h_sendf(b, "<presence to='%s' type='subscribe'/>", from);
    h_sendf(a, "<presence to='%s' type='subscribed'/>", to);
    h_drop_all(a);
    h_drop_all(b);
}

static void says(struct hs *from, const char *to, const char *type, const char *body)
{
    h_sendf(from, "<message to='%s' type='%s' id='m1'><body>%s</body></message>", to, type, body);
}

#define PRIVACY(x) "<query xmlns='jabber:iq:privacy'>" x "</query>"
#define BLOCKED_ERROR                                                                            \
    "<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"          \
    "<blocked xmlns='urn:xmpp:blocking:errors'/></error>"

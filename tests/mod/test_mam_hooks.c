/* tests/mod/test_mam_hooks.c: mod_mam runs the mam_ hooks and answers them itself at 50, so that a
 * module in front of it can watch, change, or keep messages somewhere else altogether. */
#include "trace.h"

#include <grapnel/module.h>

#define CONFIG "[host localhost]\n[mod_presence]\n[mod_offline_stub]\n[mod_mam]\n"
#define MAM "urn:xmpp:mam:2"

/* --- a module that watches, and one that is an archive of its own --- */

static bool veto;
static uint64_t last_id;

static enum gr_verdict see_id(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    if (last_id != 0)
        assert_true(last_id == ev->archive_id); /* stable: this handler stands behind the store */
    last_id = ev->archive_id;
    note("id(%s) ", ev->owner->bare);
    return GR_OK;
}

static enum gr_verdict see_behaviour(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    note("behaviour(%d) ", (int)ev->behaviour);
    return GR_OK;
}

static enum gr_verdict see_message(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    assert_non_null(ev->message_id);
    assert_int_equal(ev->rc, 0);
    note("message(%s %s %s) ", ev->remote->full, ev->outgoing ? "out" : "in",
         ev->origin_id != NULL ? ev->origin_id : "-");
    return GR_OK;
}

static enum gr_verdict see_lookup(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    note("lookup(%d of %d) ", (int)ev->query->limit, (int)ev->query->count);
    return GR_OK;
}

static enum gr_verdict see_size(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    note("size(%d) ", (int)ev->count);
    ev->count += 40; /* what is told */
    return GR_OK;
}

static enum gr_verdict see_prefs(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    note("prefs(%d %d) ", ev->rc, (int)ev->behaviour);
    return GR_OK;
}

static enum gr_verdict see_removal(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    note("removed(%s %d) ", ev->owner->bare, ev->rc);
    return GR_OK;
}

static enum gr_verdict see_retraction(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    note("retraction(%s) ", ev->origin_id);
    if (veto)
        ev->rc = GR_EEXIST;
    return GR_OK;
}

static enum gr_verdict see_sync(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self, (void)ev;
    note("sync ");
    return GR_OK;
}

static enum gr_verdict see_copy(struct gr_mod *self, struct gr_export_ev *ev)
{
    (void)self;
    note("copy(%d) ", gr_stanza_child(ev->data, "urn:xmpp:pie:0#mam", "archive") != NULL);
    return GR_OK;
}

static uint64_t flushed;

static void see_flush(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    flushed += ev->count;
}

static const struct gr_hook watching[] = {
    GR_ON(mam_archive_id, 90, see_id), GR_ON(mam_get_behaviour, 90, see_behaviour),
    GR_ON(mam_archive_message, 90, see_message), GR_ON(mam_lookup_messages, 90, see_lookup),
    GR_ON(mam_archive_size, 90, see_size), GR_ON(mam_get_prefs, 90, see_prefs), GR_ON(mam_set_prefs, 90, see_prefs),
    GR_ON(mam_remove_archive, 90, see_removal), GR_ON(mam_retraction, 90, see_retraction),
    GR_ON(mam_archive_sync, 90, see_sync), GR_ON(mam_flush_messages, 90, see_flush),
    GR_ON(get_mam_pm_gdpr_data, 90, see_copy), GR_HOOK_END
};
static const struct gr_module watch = { .name = "watch", .summary = "test", .hooks = watching };

static struct h *start(void)
{
    trace[0] = '\0';
    last_id = flushed = 0;
    veto = false;
    h_module(&watch);
    struct h *h = h_start(CONFIG);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

static void a_message(void **state)
{
    (void)state;
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a");

    h_send(alice, "<message to='x@other.test/y' id='1'><body>1</body></message>");
    expect_trace("id(alice@localhost) behaviour(0) message(x@other.test/y out 1) ");
    assert_true(last_id != 0);
    h_restart(h);
    alice = h_login(h, "alice@localhost/a");
    h_send(alice, "<message to='x@other.test/y'><body>2</body></message>");
    expect_trace("id(alice@localhost) behaviour(0) message(x@other.test/y out -) ");
    assert_int_equal(flushed, 2);
    h_iq(alice, "set", NULL, "<query xmlns='" MAM "'/>");
    expect_trace("id(alice@localhost) lookup(50 of 2) ");
    h_drop_all(alice);
    h_iq_result(alice, "set", NULL, "<query xmlns='" MAM "'><set xmlns='" GR_NS_RSM "'><max>0</max>"
                                    "</set></query>",
                "<fin xmlns='" MAM "'><set xmlns='" GR_NS_RSM "'><count>42</count></set></fin>");
    expect_trace("id(alice@localhost) lookup(0 of 2) size(2) ");
    h_stop(&h);
}

static void preferences(void **state)
{
    (void)state;
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a");

    h_iq(alice, "set", NULL, "<prefs xmlns='" MAM "' default='never'/>");
    expect_trace("prefs(0 1) ");
    h_iq(alice, "get", NULL, "<prefs xmlns='" MAM "'/>");
    expect_trace("prefs(0 1) ");
    h_send(alice, "<message to='x@other.test'><body>1</body></message>");
    expect_trace("id(alice@localhost) behaviour(1) ");
    h_stop(&h);
}

static void retraction(void **state)
{
    (void)state;
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a");

    h_send(alice, "<message to='x@other.test' id='1'><body>1</body></message>");
    trace[0] = '\0';
    veto = true;
    h_send(alice, "<message to='x@other.test' id='2'>"
                  "<retract xmlns='urn:xmpp:message-retract:1' id='1'/></message>");
    expect_trace("id(alice@localhost) behaviour(0) message(x@other.test out 2) retraction(1) ");
    h_drop_all(alice);
    h_iq(alice, "set", NULL, "<query xmlns='" MAM "'/>");
    h_expect_xml(alice, "<message _='more'><result xmlns='" MAM "' _='more'><forwarded "
                        "xmlns='urn:xmpp:forward:0' _='more'><message xmlns='jabber:client' "
                        "_='more'><body>1</body></message></forwarded></result></message>");
    h_stop(&h);
}

static void on_done(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)self, (void)ev, (void)verdict;
    note("done ");
}

static void the_account(void **state)
{
    (void)state;
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct gr_stanza *st = gr_nonza_new("urn:xmpp:pie:0", "user");
    struct gr_export_ev ev = { .user = h_parse_jid(h, "alice@localhost"), .data = st };
    struct gr_mam_ev size = { .owner = ev.user };

    h_hold_store(h, true);
    h_send(alice, "<message to='x@other.test' id='1'><body>1</body></message>");
    trace[0] = '\0';
    gr_hook_run(h_mod(h, "mam", "alice@localhost"), GR_HOOK_get_personal_data, &ev.ev, on_done);
    h_run(h);
    expect_trace("");
    h_commit(h);
    h_hold_store(h, false);
    h_run(h);
    expect_trace("sync copy(1) done ");
    gr_stanza_unref(&st);
    gr_hook_run(h_mod(h, "mam", "alice@localhost"), GR_HOOK_mam_archive_size, &size.ev, on_done);
    h_run(h);
    expect_trace("size(1) done ");
    assert_int_equal(size.count, 41);
    h_user_delete(h, "alice@localhost");
    expect_trace("removed(alice@localhost 0) ");
    h_stop(&h);
}

/* --- somewhere else --- */

static char other[256];

static enum gr_verdict other_id(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    ev->archive_id = 42;
    return GR_STOP;
}

static enum gr_verdict other_message(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    if (strcmp(ev->owner->node, "full") == 0) {
        ev->rc = GR_EFULL;
        return GR_STOP;
    }
    assert_int_equal(ev->archive_id, 42);
    snprintf(other, sizeof(other), "%s", gr_stanza_xml(ev->stanza, NULL));
    ev->message_id = "other-1";
    return GR_STOP;
}

static enum gr_verdict other_lookup(struct gr_mod *self, struct gr_mam_ev *ev)
{
    (void)self;
    ev->query->row(ev->query, &(struct gr_mam_row){ "other-1", 0, other, strlen(other) });
    ev->query->index = 0;
    ev->query->count = 1;
    ev->query->complete = true;
    ev->rc = 0;
    return GR_STOP;
}

static const struct gr_hook storing[] = {
    GR_ON(mam_archive_id, 10, other_id), GR_ON(mam_archive_message, 10, other_message),
    GR_ON(mam_lookup_messages, 10, other_lookup), GR_HOOK_END
};
static const struct gr_module elsewhere = { .name = "elsewhere", .summary = "test",
                                            .hooks = storing };

static void another_store(void **state)
{
    (void)state;
    h_module(&elsewhere);
    struct h *h = h_start(CONFIG);
    struct hs *alice = h_login(h, "alice@localhost/a"), *full = h_login(h, "full@localhost/f");

    h_send(alice, "<message to='alice@localhost/a'><body>1</body></message>");
    h_expect_xml(alice, "<message from='alice@localhost/a' to='alice@localhost/a'><body>1</body>"
                        "<stanza-id xmlns='urn:xmpp:sid:0' by='alice@localhost' id='other-1'/>"
                        "</message>");
    h_iq_result(alice, "set", NULL, "<query xmlns='" MAM "'/>",
                "<fin xmlns='" MAM "' complete='true'><set xmlns='http://jabber.org/protocol/rsm'>"
                "<first index='0'>other-1</first><last>other-1</last><count>1</count></set></fin>");
    h_expect_xml(alice, "<message _='more'><result xmlns='" MAM "' id='other-1' _='more'/>"
                        "</message>");
    /* Not kept, so not sent. */
    h_send(full, "<message to='alice@localhost/a'><body>1</body></message>");
    h_expect_error(full, GR_MESSAGE, GR_RESOURCE_CONSTRAINT, "alice@localhost/a");
    h_expect_nothing(alice);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_message),   cmocka_unit_test(preferences),
        cmocka_unit_test(retraction),  cmocka_unit_test(the_account),
        cmocka_unit_test(another_store),
    };
    return H_RUN("mam_hooks", cases);
}

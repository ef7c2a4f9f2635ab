/* tests/mod/test_data.c: mod_private (XEP-0049), mod_vcard (XEP-0054): what accounts keep here. */
#include "harness.h"

#include "store/engine.h"

#include <errno.h>
#include <stdio.h>

#define PRIVATE(x) "<query xmlns='jabber:iq:private'>" x "</query>"
#define NOTE(x) "<notes xmlns='example:notes'>" x "</notes>"
#define VCARD(x) "<vCard xmlns='vcard-temp'>" x "</vCard>"

/* --- a witness --- */

static struct {
    unsigned set;
    char user[64];
    char *vcard;
} seen;

static void on_vcard(struct gr_mod *self, struct gr_vcard_ev *ev)
{
    (void)self;
    seen.set++;
    snprintf(seen.user, sizeof(seen.user), "%s", ev->user->full);
    gr_free(seen.vcard);
    seen.vcard = gr_strdup(gr_stanza_xml(ev->vcard, NULL));
}

static const struct gr_hook hooks[] = {
    GR_ON(vcard_set, 50, on_vcard),
    GR_HOOK_END
};
static const struct gr_module tester = { .name = "tester", .hooks = hooks };

static struct h *start(const char *options)
{
    char ini[1024];

    gr_free(seen.vcard);
    memset(&seen, 0, sizeof(seen));
    snprintf(ini, sizeof(ini), "[host localhost]\n%s", options);
    h_module(&tester);
    struct h *h = h_start(ini);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

static struct gr_stanza *export(struct h *h, const char *module, const char *jid)
{
    struct gr_stanza *st = gr_nonza_new("urn:xmpp:pie:0", "user");
    struct gr_mod *self = h_mod(h, module, jid);
    struct gr_export_ev ev = { .user = h_parse_jid(h, jid), .data = st };

    gr_hook_run(self, GR_HOOK_get_personal_data, &ev.ev, NULL);
    h_run(h);
    return st;
}

/* --- private --- */

static void stored_and_found(void **state)
{
    struct h *h = start("[mod_private]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "set", NULL, PRIVATE(NOTE("<n at='1'>a &amp; b</n>")), NULL);
    struct hs *other = h_login(h, "alice@localhost/b");
    h_iq_result(other, "get", NULL, PRIVATE(NOTE("")), PRIVATE(NOTE("<n at='1'>a &amp; b</n>")));
    h_iq_result(other, "get", "alice@localhost", PRIVATE(NOTE("")),
                PRIVATE(NOTE("<n at='1'>a &amp; b</n>")));
    /* What is stored is replaced as a whole. */
    h_iq_result(other, "set", NULL, PRIVATE(NOTE("new")), NULL);
    h_iq_result(alice, "get", NULL, PRIVATE(NOTE("")), PRIVATE(NOTE("new")));
    h_restart(h);
    alice = h_login(h, "alice@localhost/a");
    h_iq_result(alice, "get", NULL, PRIVATE(NOTE("")), PRIVATE(NOTE("new")));
    h_stop(&h);
}

static void nothing_stored_is_an_empty_element(void **state)
{
    struct h *h = start("[mod_private]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", NULL, PRIVATE(NOTE("<x/>")), PRIVATE(NOTE("")));
    h_stop(&h);
}

static void several_elements_at_once(void **state)
{
    struct h *h = start("[mod_private]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    /* Two namespaces; two elements of one (XEP-0049, 2.3). */
    h_iq_result(alice, "set", NULL,
                PRIVATE("<a xmlns='example:one'>1</a><p:b xmlns:p='example:two'>2</p:b>"
                        "<c xmlns='example:one'>3</c>"), NULL);
    h_iq_result(alice, "get", NULL, PRIVATE("<a xmlns='example:one'/>"),
                PRIVATE("<a xmlns='example:one'>1</a><c xmlns='example:one'>3</c>"));
    h_iq_result(alice, "get", NULL, PRIVATE("<b xmlns='example:two'/>"),
                PRIVATE("<b xmlns='example:two'>2</b>"));
    h_stop(&h);
}

static void what_cannot_be_stored(void **state)
{
    struct h *h = start("[mod_private]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_error(alice, "set", NULL, PRIVATE(""), GR_NOT_ACCEPTABLE);
    h_iq_error(alice, "get", NULL, PRIVATE(""), GR_NOT_ACCEPTABLE);
    h_iq_error(alice, "set", NULL, PRIVATE("<a/>"), GR_NOT_ACCEPTABLE);
    h_iq_error(alice, "get", NULL, PRIVATE("<a/>"), GR_NOT_ACCEPTABLE);
    h_iq_error(alice, "set", NULL, PRIVATE("<a xmlns=''/>"), GR_NOT_ACCEPTABLE);
    h_iq_error(alice, "get", NULL, PRIVATE("<a xmlns='x:1'/><a xmlns='x:2'/>"), GR_BAD_REQUEST);
    /* All or nothing. */
    h_iq_error(alice, "set", NULL, PRIVATE(NOTE("1") "<a/>"), GR_NOT_ACCEPTABLE);
    h_iq_result(alice, "get", NULL, PRIVATE(NOTE("")), PRIVATE(NOTE("")));
    h_stop(&h);
}

static void others_have_no_business_here(void **state)
{
    struct h *h = start("[mod_private]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_error(alice, "set", "bob@localhost", PRIVATE(NOTE("1")), GR_FORBIDDEN);
    h_iq_error(alice, "get", "bob@localhost", PRIVATE(NOTE("")), GR_SERVICE_UNAVAILABLE);
    h_iq_error(alice, "set", "nobody@localhost", PRIVATE(NOTE("1")), GR_FORBIDDEN);
    h_iq_error(alice, "get", "nobody@localhost", PRIVATE(NOTE("")), GR_SERVICE_UNAVAILABLE);
    h_iq_error(alice, "get", "localhost", PRIVATE(NOTE("")), GR_SERVICE_UNAVAILABLE);
    h_stop(&h);
}

static char *filled(const char *head, const char *tail, size_t total)
{
    char *xml = gr_alloc(total + 1);
    size_t h = strlen(head), t = strlen(tail);

    memcpy(xml, head, h);
    memset(xml + h, 'x', total - h - t);
    memcpy(xml + total - t, tail, t + 1);
    return xml;
}

static void private_size(struct hs *s, size_t size, bool fits)
{
    char *note = filled("<notes xmlns='example:notes'>", "</notes>", size);
    char *xml = gr_asprintf(PRIVATE("%s"), note);

    if (fits)
        h_iq_result(s, "set", NULL, xml, NULL);
    else
        h_iq_error(s, "set", NULL, xml, GR_POLICY_VIOLATION);
    gr_free(xml);
    gr_free(note);
}

static void the_size_is_bounded(void **state)
{
    struct h *h = start("[mod_private]\nmax_size = 1K\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    private_size(alice, 1024, true);
    private_size(alice, 1025, false);
    h_stop(&h);
}

static void the_number_is_bounded(void **state)
{
    struct h *h = start("[mod_private]\nmax_namespaces = 2\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_error(alice, "set", NULL,
               PRIVATE("<a xmlns='x:1'/><a xmlns='x:2'/><a xmlns='x:3'/>"), GR_RESOURCE_CONSTRAINT);
    h_iq_result(alice, "set", NULL, PRIVATE("<a xmlns='x:1'/><a xmlns='x:2'/>"), NULL);
    h_iq_error(alice, "set", NULL, PRIVATE("<a xmlns='x:3'/>"), GR_RESOURCE_CONSTRAINT);
    h_iq_error(alice, "set", NULL, PRIVATE("<a xmlns='x:1'>1</a><a xmlns='x:3'/>"),
               GR_RESOURCE_CONSTRAINT);
    /* What is there already may change. */
    h_iq_result(alice, "set", NULL, PRIVATE("<a xmlns='x:1'>1</a><a xmlns='x:2'>2</a>"), NULL);
    h_iq_result(alice, "get", NULL, PRIVATE("<a xmlns='x:1'/>"), PRIVATE("<a xmlns='x:1'>1</a>"));
    h_stop(&h);
}

/* The answer promises that it is on disk (design.md 2.1). */
static void answered_after_the_commit(void **state)
{
    struct h *h = start("[mod_private]\n[mod_vcard]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_hold_store(h, true);
    h_send(alice, "<iq type='set' id='1'>" PRIVATE(NOTE("1")) "</iq>");
    h_send(alice, "<iq type='set' id='2'>" VCARD("<FN>Alice</FN>") "</iq>");
    h_expect_nothing(alice);
    assert_int_equal(seen.set, 0);
    h_commit(h);
    h_expect_among(alice, "<iq type='result' id='1' _='any'/>");
    h_expect_among(alice, "<iq type='result' id='2' _='any'/>");
    assert_int_equal(seen.set, 1);
    h_hold_store(h, false);
    h_stop(&h);
}

static void private_goes_with_the_account(void **state)
{
    struct h *h = start("[mod_private]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct hs *bob = h_login(h, "bob@localhost/a");

    (void)state;
    h_iq_result(alice, "set", NULL, PRIVATE(NOTE("1")), NULL);
    h_iq_result(bob, "set", NULL, PRIVATE(NOTE("2")), NULL);
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    h_expect_closed(&alice, "not-authorized");
    h_user(h, "alice@localhost");
    alice = h_login(h, "alice@localhost/a");
    h_iq_result(alice, "get", NULL, PRIVATE(NOTE("")), PRIVATE(NOTE("")));
    h_iq_result(bob, "get", NULL, PRIVATE(NOTE("")), PRIVATE(NOTE("2")));
    h_stop(&h);
}

static void private_is_exported(void **state)
{
    struct h *h = start("[mod_private]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct gr_stanza *st = export(h, "private", "alice@localhost");

    (void)state;
    h_assert_xml(st, "<user xmlns='urn:xmpp:pie:0'/>");
    gr_stanza_unref(&st);
    h_iq_result(alice, "set", NULL, PRIVATE(NOTE("1") "<a xmlns='x:1'/>"), NULL);
    st = export(h, "private", "alice@localhost");
    h_assert_xml(st, "<user xmlns='urn:xmpp:pie:0'><query xmlns='jabber:iq:private'>" NOTE("1")
                     "<a xmlns='x:1'/></query></user>");
    gr_stanza_unref(&st);
    h_stop(&h);
}

/* --- vCard --- */

#define ALICE VCARD("<FN>Alice</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>AAAA</BINVAL></PHOTO>")

static void everybody_reads_a_vcard(void **state)
{
    struct h *h = start("[mod_vcard]\n");
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_login(h, "bob@localhost/b");

    (void)state;
    h_iq_result(alice, "set", NULL, ALICE, NULL);
    h_iq_result(alice, "get", NULL, VCARD(""), ALICE);
    h_iq_result(bob, "get", "alice@localhost", VCARD(""), ALICE);
    h_disconnect(&alice, true);
    h_iq_result(bob, "get", "alice@localhost", VCARD(""), ALICE);
    assert_int_equal(seen.set, 1);
    assert_string_equal(seen.user, "alice@localhost");
    assert_non_null(strstr(seen.vcard, "<vCard xmlns='vcard-temp'>"));
    assert_non_null(strstr(seen.vcard, "<FN>Alice</FN>"));
    h_restart(h);
    bob = h_login(h, "bob@localhost/b");
    h_iq_result(bob, "get", "alice@localhost", VCARD(""), ALICE);
    h_stop(&h);
}

/* XEP-0054, 3.1 and 3.3: no vCard and no account are the same for others. */
static void no_vcard(void **state)
{
    struct h *h = start("[mod_vcard]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_error(alice, "get", NULL, VCARD(""), GR_ITEM_NOT_FOUND);
    h_iq_error(alice, "get", "alice@localhost", VCARD(""), GR_ITEM_NOT_FOUND);
    h_iq_error(alice, "get", "bob@localhost", VCARD(""), GR_SERVICE_UNAVAILABLE);
    h_iq_error(alice, "get", "nobody@localhost", VCARD(""), GR_SERVICE_UNAVAILABLE);
    h_stop(&h);
}

static void only_ones_own_vcard_is_set(void **state)
{
    struct h *h = start("[mod_vcard]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_error(alice, "set", "bob@localhost", ALICE, GR_FORBIDDEN);
    h_iq_error(alice, "set", "nobody@localhost", ALICE, GR_FORBIDDEN);
    h_iq_error(alice, "set", "localhost", ALICE, GR_FORBIDDEN);
    h_iq_error(alice, "get", "bob@localhost", VCARD(""), GR_SERVICE_UNAVAILABLE);
    assert_int_equal(seen.set, 0);
    h_stop(&h);
}

static void vcard_size(struct hs *s, size_t size, bool fits)
{
    char *xml = filled("<vCard xmlns='vcard-temp'><FN>", "</FN></vCard>", size);

    if (fits)
        h_iq_result(s, "set", NULL, xml, NULL);
    else
        h_iq_error(s, "set", NULL, xml, GR_POLICY_VIOLATION);
    gr_free(xml);
}

static void a_vcard_is_bounded(void **state)
{
    struct h *h = start("[mod_vcard]\nmax_size = 2K\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    vcard_size(alice, 2048, true);
    vcard_size(alice, 2049, false);
    assert_int_equal(seen.set, 1);
    h_stop(&h);
}

static void the_servers_vcard(void **state)
{
    struct h *h = start("[mod_vcard]\nhost_desc = A <small> server\n"
                        "host_url = https://example.org/\nhost_email = admin@example.org\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", VCARD(""),
                VCARD("<FN>Grapnel</FN><DESC>A &lt;small&gt; server</DESC>"
                      "<URL>https://example.org/</URL>"
                      "<EMAIL><INTERNET/><USERID>admin@example.org</USERID></EMAIL>"));
    h_stop(&h);
}

static int fail_commit(uint64_t n)
{
    (void)n;
    return ENOSPC;
}

static void a_full_disk(void **state)
{
    static const struct store_faults faults = { .commit = fail_commit };
    struct h *h = start("[mod_private]\n[mod_vcard]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "set", NULL, ALICE, NULL);
    store_faults = &faults;
    h_iq_error(alice, "set", NULL, VCARD("<FN>Other</FN>"), GR_RESOURCE_CONSTRAINT);
    h_iq_error(alice, "set", NULL, PRIVATE(NOTE("1")), GR_RESOURCE_CONSTRAINT);
    store_faults = NULL;
    h_advance(h, GR_MINUTE);
    assert_int_equal(seen.set, 1);
    h_iq_result(alice, "get", NULL, VCARD(""), ALICE);
    h_iq_result(alice, "get", NULL, PRIVATE(NOTE("")), PRIVATE(NOTE("")));
    h_stop(&h);
}

/* --- other modules --- */

static int set_by_module(struct h *h, const char *xml)
{
    struct gr_stanza *st;

    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    struct gr_mod *self = h_mod(h, "vcard", "alice@localhost");
    struct gr_vcard_ev ev = { .user = h_parse_jid(h, "alice@localhost"), .vcard = st,
                              .rc = GR_ENOTSUP };
    gr_hook_run(self, GR_HOOK_set_vcard, &ev.ev, NULL);
    h_run(h);
    gr_stanza_unref(&st);
    return ev.rc;
}

static void modules_set_vcards(void **state)
{
    struct h *h = start("[mod_vcard]\nmax_size = 1K\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    char *large = filled("<vCard xmlns='vcard-temp'><FN>", "</FN></vCard>", 1025);

    (void)state;
    assert_int_equal(set_by_module(h, ALICE), 0);
    assert_int_equal(seen.set, 1);
    assert_int_equal(set_by_module(h, "<other xmlns='vcard-temp'/>"), GR_EINVAL);
    assert_int_equal(set_by_module(h, large), GR_ELIMIT);
    h_iq_result(alice, "get", NULL, VCARD(""), ALICE);
    assert_int_equal(seen.set, 1);
    gr_free(large);
    h_stop(&h);
}

static void vcard_goes_with_the_account(void **state)
{
    struct h *h = start("[mod_vcard]\n");
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_login(h, "bob@localhost/b");

    (void)state;
    h_iq_result(alice, "set", NULL, ALICE, NULL);
    struct gr_stanza *st = export(h, "vcard", "alice@localhost");
    h_assert_xml(st, "<user xmlns='urn:xmpp:pie:0'>" ALICE "</user>");
    gr_stanza_unref(&st);
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    h_expect_closed(&alice, "not-authorized");
    h_iq_error(bob, "get", "alice@localhost", VCARD(""), GR_SERVICE_UNAVAILABLE);
    st = export(h, "vcard", "alice@localhost");
    h_assert_xml(st, "<user xmlns='urn:xmpp:pie:0'/>");
    gr_stanza_unref(&st);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(stored_and_found),
        cmocka_unit_test(nothing_stored_is_an_empty_element),
        cmocka_unit_test(several_elements_at_once),
        cmocka_unit_test(what_cannot_be_stored),
        cmocka_unit_test(others_have_no_business_here),
        cmocka_unit_test(the_size_is_bounded),
        cmocka_unit_test(the_number_is_bounded),
        cmocka_unit_test(answered_after_the_commit),
        cmocka_unit_test(private_goes_with_the_account),
        cmocka_unit_test(private_is_exported),
        cmocka_unit_test(everybody_reads_a_vcard),
        cmocka_unit_test(no_vcard),
        cmocka_unit_test(only_ones_own_vcard_is_set),
        cmocka_unit_test(a_vcard_is_bounded),
        cmocka_unit_test(the_servers_vcard),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(modules_set_vcards),
        cmocka_unit_test(vcard_goes_with_the_account),
    };

    return H_RUN("data", cases);
}

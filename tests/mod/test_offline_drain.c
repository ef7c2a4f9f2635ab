/* tests/mod/test_offline_drain.c: mod_offline on the other side: the recipient vanishes, changes or
 * comes again while what was kept is sent, and the module is replaced in the middle; each message
 * arrives once. */
#include "offline_world.h"

/* --- vanishing recipients --- */

/* Between "send them" and the delivery: they come back to offline_message. */
static void nobody_there_any_more(void **state)
{
    (void)state;
    for (int copy = 0; copy < 2; copy++) {
        struct h *h = start(NULL);
        struct hs *alice = h_online(h, "alice@localhost/a");
        say(alice, "bob@localhost", 0, 80);
        way.hold = true;
        way.copy = copy != 0;
        struct hs *bob = h_login(h, "bob@localhost/b");
        h_send(bob, "<presence/>");
        assert_true(way.holds > 0);
        h_disconnect(&bob, false);
        while (way.holds > 0)
            let_one_go(h, "bob@localhost");
        expect_kept(h, 80);
        assert_int_equal(way.offline, 0);
        way.hold = way.copy = false;
        h_expect_nothing(alice);
        if (copy)
            h_restart(h);
        bob = fetch(h, "bob@localhost/b", 0, 80);
        expect_kept(h, 0);
        h_stop(&h);
    }
}

static void going_unavailable_on_the_way(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 120);
    way.hold = true;
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_send(bob, "<presence><priority>-1</priority></presence>");
    while (way.holds > 0)
        let_one_go(h, "bob@localhost");
    expect_kept(h, 120);
    way.hold = false;
    drop_presence(bob);
    h_expect_nothing(bob);
    h_send(bob, "<presence/>");
    drop_presence(bob);
    expect_numbers(bob, 0, 120);
    h_expect_nothing(bob);
    expect_kept(h, 0);
    h_stop(&h);
}

/* The client reads slowly and its connection breaks: what it may not have seen stays. */
static void a_connection_that_breaks(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 130);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_stall(bob);
    h_send(bob, "<presence/>");
    expect_kept(h, 130);
    h_disconnect(&bob, false);
    expect_kept(h, 130);
    bob = fetch(h, "bob@localhost/b", 0, 130);
    expect_kept(h, 0);
    h_stop(&h);
}

/* The server goes while they are on their way. */
static void a_restart_during_redelivery(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 130);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_stall(bob);
    h_send(bob, "<presence/>");
    h_restart(h);
    expect_kept(h, 130);
    bob = fetch(h, "bob@localhost/b", 0, 130);
    expect_kept(h, 0);
    h_stop(&h);
}

/* Written rows go, the others stay. */
static void a_connection_that_breaks_half_way(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 130);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_stall(bob);
    h_send(bob, "<presence/>");
    h_flow(bob);
    h_stall(bob);
    drop_presence(bob);
    unsigned got = h_count(bob);
    h_disconnect(&bob, false);
    assert_true(got > 0);
    bob = fetch(h, "bob@localhost/b", (int)got, 130);
    expect_kept(h, 0);
    h_stop(&h);
}

/* Nobody tells that another resource is there already: tried again after a pause. */
static void another_resource_gets_what_one_lost(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 3);
    struct hs *one = h_login(h, "bob@localhost/1"), *two;
    h_send(one, "<presence><priority>-1</priority></presence>");
    h_stall(one);
    h_send(one, "<presence><priority>5</priority></presence>");
    two = h_online(h, "bob@localhost/2");
    h_expect_nothing(two); /* they are on their way to the other one */
    h_disconnect(&one, false);
    drop_presence(two);
    h_advance(h, 1500);
    expect_numbers(two, 0, 3);
    h_expect_nothing(two);
    expect_kept(h, 0);
    h_stop(&h);
}

/* The same when the other one was there all the time, so that nobody asks for anything again. */
static void a_present_resource_gets_what_one_lost(void **state)
{
    static const struct gr_coll messages = GR_LOG("offline.messages");
    static const char row[] = "\1" "12345678<message from='alice@localhost/a' to='bob@localhost'>"
                              "<body>0</body></message>";
    struct h *h = start(NULL);

    (void)state;
    struct hs *one = h_login(h, "bob@localhost/1"), *two = h_online(h, "bob@localhost/2");
    h_send(one, "<presence><priority>-1</priority></presence>");
    struct gr_mod *self = h_mod(h, "offline", "bob@localhost");
    struct gr_txn *t = gr_txn_new(self);
    gr_txn_append(t, &messages, "bob@localhost", row, sizeof(row) - 1);
    gr_txn_commit(t, NULL);
    h_run(h);
    h_stall(one);
    h_send(one, "<presence><priority>5</priority></presence>");
    h_disconnect(&one, false);
    drop_presence(two);
    h_expect_nothing(two);
    h_advance(h, 1500);
    expect_numbers(two, 0, 1);
    h_advance(h, 3600 * 1000);
    drop_presence(two);
    h_expect_nothing(two);
    expect_kept(h, 0);
    h_stop(&h);
}

/* A broken connection that nobody has noticed does not make the server try without end. */
static void a_dead_connection_is_not_tried_all_the_time(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 3);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_break(bob);
    h_feed(bob, "<presence/>");
    h_run(h);
    h_advance(h, 3600 * 1000);
    expect_kept(h, 3);
    h_disconnect(&bob, false);
    bob = fetch(h, "bob@localhost/b", 0, 3);
    expect_kept(h, 0);
    h_advance(h, 3600 * 1000);
    h_expect_nothing(bob);
    h_stop(&h);
}

/* --- a reload in the middle --- */

/* The old instance's messages are on their way: the new one must not send them again, and what
 * comes back is kept by it. */
static void a_reload_during_redelivery(void **state)
{
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        struct h *h = start(NULL);
        struct hs *alice = h_online(h, "alice@localhost/a");
        say(alice, "bob@localhost", 0, 120);
        struct hs *bob = h_login(h, "bob@localhost/b"), *two;
        h_stall(bob);
        h_send(bob, "<presence/>");
        assert_int_equal(h_reload(h, CONFIG "limit = 500\n", NULL), 0);
        two = h_login(h, "bob@localhost/2");
        h_send(two, "<presence><priority>-1</priority></presence>");
        h_send(bob, "<presence><priority>-1</priority></presence>");
        h_send(bob, "<presence><priority>7</priority></presence>"); /* asks for them again */
        if (!lost) {
            h_flow(bob);
            drop_presence(bob);
            expect_numbers(bob, 0, 120);
        } else {
            h_disconnect(&bob, false);
            h_advance(h, 600 * 1000);
            drop_presence(two);
            h_expect_nothing(two);
            h_send(two, "<presence/>");
            drop_presence(two);
            expect_numbers(two, 0, 120);
        }
        h_advance(h, 600 * 1000);
        drop_presence(two);
        h_expect_nothing(two);
        assert_int_equal(count(h, "bob@localhost").rows, 0);
        h_stop(&h);
    }
}

/* --- each of them once --- */

static void two_resources_at_once(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 120);
    struct hs *one = h_login(h, "bob@localhost/1"), *two = h_login(h, "bob@localhost/2");
    h_feed(one, "<presence><priority>1</priority></presence>");
    h_feed(two, "<presence/>");
    h_run(h);
    unsigned messages = 0;
    for (int i = 0; i < 2; i++) {
        struct gr_stanza *st;
        while ((st = h_next(i == 0 ? one : two)) != NULL)
            messages += gr_stanza_kind(st) == GR_MESSAGE;
    }
    assert_int_equal(messages, 120);
    expect_kept(h, 0);
    h_stop(&h);
}

static void toggling_priority(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 120);
    way.hold = true;
    struct hs *bob = h_login(h, "bob@localhost/b");
    for (int i = 0; i < 5; i++) {
        h_feed(bob, "<presence/>");
        h_feed(bob, "<presence><priority>-1</priority></presence>");
    }
    h_send(bob, "<presence/>");
    way.hold = false;
    while (way.holds > 0)
        let_one_go(h, "bob@localhost");
    drop_presence(bob);
    expect_numbers(bob, 0, 120);
    drop_presence(bob);
    h_expect_nothing(bob);
    expect_kept(h, 0);
    h_stop(&h);
}

/* While the deletions are not on disk yet. */
static void coming_again_before_the_rows_are_gone(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 20);
    h_hold_store(h, true);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_send(bob, "<presence type='unavailable'/>");
    h_send(bob, "<presence/>");
    struct hs *two = h_login(h, "bob@localhost/2");
    h_send(two, "<presence/>");
    for (int i = 0; i < 10; i++) {
        h_commit(h);
        h_run(h);
    }
    h_hold_store(h, false);
    drop_presence(bob);
    expect_numbers(bob, 0, 20);
    drop_presence(bob);
    h_expect_nothing(bob);
    drop_presence(two);
    h_expect_nothing(two);
    expect_kept(h, 0);
    h_stop(&h);
}

/* Same sender, no id, same millisecond: told apart all the same. */
static void messages_that_look_alike(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    for (int i = 0; i < 5; i++)
        h_sendf(alice, "<message to='bob@localhost'><body>%d</body></message>", i);
    way.copy = true;
    struct hs *bob = fetch(h, "bob@localhost/b", 0, 5);
    expect_kept(h, 0);
    h_disconnect(&bob, true);
    way.copy = false;
    for (int i = 0; i < 5; i++)
        h_sendf(alice, "<message to='bob@localhost'><body>%d</body></message>", i);
    way.copy = way.hold = true;
    bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_disconnect(&bob, true);
    while (way.holds > 0)
        let_one_go(h, "bob@localhost");
    expect_kept(h, 5);
    way.hold = false;
    bob = fetch(h, "bob@localhost/b", 0, 5);
    expect_kept(h, 0);
    h_stop(&h);
}

/* What comes while the stored ones are on their way goes straight through; nothing is lost. */
static void a_message_during_redelivery(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 120);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_feed(bob, "<presence/>");
    h_feed(alice, "<message to='bob@localhost'><body>live</body></message>");
    h_run(h);
    unsigned n = 0, live = 0;
    for (struct gr_stanza *st; (st = h_next(bob)) != NULL;) {
        if (gr_stanza_kind(st) != GR_MESSAGE)
            continue;
        const char *body = gr_el_text(gr_stanza_child(st, NULL, "body"), NULL);
        if (strcmp(body, "live") == 0)
            live++;
        else
            assert_int_equal(atoi(body), n++);
    }
    assert_int_equal(n, 120);
    assert_int_equal(live, 1);
    expect_kept(h, 0);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(nobody_there_any_more),
        cmocka_unit_test(going_unavailable_on_the_way),
        cmocka_unit_test(a_connection_that_breaks),
        cmocka_unit_test(a_restart_during_redelivery),
        cmocka_unit_test(a_connection_that_breaks_half_way),
        cmocka_unit_test(another_resource_gets_what_one_lost),
        cmocka_unit_test(a_present_resource_gets_what_one_lost),
        cmocka_unit_test(a_dead_connection_is_not_tried_all_the_time),
        cmocka_unit_test(a_reload_during_redelivery),
        cmocka_unit_test(two_resources_at_once),
        cmocka_unit_test(toggling_priority),
        cmocka_unit_test(coming_again_before_the_rows_are_gone),
        cmocka_unit_test(messages_that_look_alike),
        cmocka_unit_test(a_message_during_redelivery),
    };

    return H_RUN("offline_drain", cases);
}

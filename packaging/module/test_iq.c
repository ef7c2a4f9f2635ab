/* test_NAME: mod_NAME in a server without sockets and threads (grapnel/test.h). */
#include <grapnel/test.h>

#define NOTE(text) "<note xmlns='urn:example:NAME'>" text "</note>"
#define EMPTY "<note xmlns='urn:example:NAME'/>"

static void keeps_a_text_over_a_restart(void)
{
    struct h *h = h_start("[host localhost]\n[mod_NAME]\n");
    struct hs *alice;

    h_user(h, "alice@localhost");
    alice = h_login(h, "alice@localhost/phone");
    h_iq_error(alice, "get", NULL, EMPTY, GR_ITEM_NOT_FOUND);
    h_iq_result(alice, "set", NULL, NOTE("Buy milk"), NULL);
    h_iq_result(alice, "get", NULL, EMPTY, NOTE("Buy milk"));
    h_restart(h);
    alice = h_login(h, "alice@localhost/phone");
    h_iq_result(alice, "get", NULL, EMPTY, NOTE("Buy milk"));
    h_stop(&h);
}

static void an_answer_means_that_it_is_on_disk(void)
{
    struct h *h = h_start("[host localhost]\n[mod_NAME]\n");
    struct hs *alice = h_login(h, "alice@localhost/phone");

    h_hold_store(h, true);
    h_send(alice, "<iq type='set' id='1'>" NOTE("Buy milk") "</iq>");
    h_expect_nothing(alice);
    h_commit(h);
    h_expect_xml(alice, "<iq type='result' id='1' _='more'/>");
    h_stop(&h);
}

static void the_length_is_bounded(void)
{
    struct h *h = h_start("[host localhost]\n[mod_NAME]\nmax_size = 8\n");
    struct hs *alice = h_login(h, "alice@localhost/phone");

    h_iq_result(alice, "set", NULL, NOTE("12345678"), NULL);
    h_iq_error(alice, "set", NULL, NOTE("123456789"), GR_POLICY_VIOLATION);
    h_stop(&h);
}

static void other_people_stay_out(void)
{
    struct h *h = h_start("[host localhost]\n[mod_NAME]\n");
    struct hs *alice = h_login(h, "alice@localhost/phone");
    const char *bob = h_user_near(h, "alice@localhost", false); /* with loops = 4: on another one */

    h_iq_error(alice, "set", bob, NOTE("Buy milk"), GR_FORBIDDEN);
    h_stop(&h);
}

static void goes_with_the_account(void)
{
    struct h *h = h_start("[host localhost]\n[mod_NAME]\n");
    struct hs *alice;

    h_user(h, "alice@localhost");
    alice = h_login(h, "alice@localhost/phone");
    h_iq_result(alice, "set", NULL, NOTE("Buy milk"), NULL);
    h_check(h_user_delete(h, "alice@localhost") == GR_R_OK);
    h_user(h, "alice@localhost");
    alice = h_login(h, "alice@localhost/phone");
    h_iq_error(alice, "get", NULL, EMPTY, GR_ITEM_NOT_FOUND);
    h_stop(&h);
}

int main(void)
{
    return H_MAIN(H_TEST(keeps_a_text_over_a_restart), H_TEST(an_answer_means_that_it_is_on_disk),
                  H_TEST(the_length_is_bounded), H_TEST(other_people_stay_out),
                  H_TEST(goes_with_the_account));
}

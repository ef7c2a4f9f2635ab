/* test_NAME: mod_NAME in a server without sockets and threads (grapnel/test.h). */
#include <grapnel/test.h>

static void greets_with_the_text(void)
{
    struct h *h = h_start("[host localhost]\n[mod_NAME]\ntext = Welcome!\n");
    struct hs *alice = h_login(h, "alice@localhost/phone");

    h_expect_body(alice, "localhost", "Welcome!");
    h_expect_nothing(alice);
    h_stop(&h);
}

static void a_reload_keeps_the_count(void)
{
    struct h *h = h_start("[host localhost]\n[mod_NAME]\nlimit = 1\n");
    struct hs *first = h_login(h, "alice@localhost/1"), *second, *third;

    h_expect_body(first, "localhost", "Hello!");
    h_reload(h, "[host localhost]\n[mod_NAME]\nlimit = 2\n", NULL);
    second = h_login(h, "alice@localhost/2");
    h_expect_body(second, "localhost", "Hello!");
    third = h_login(h, "alice@localhost/3");
    h_expect_nothing(third);
    h_stop(&h);
}

static void a_wrong_option_is_refused(void)
{
    char *errors;

    h_check(h_start_try("[host localhost]\n[mod_NAME]\nlimit = -1\n", &errors) == NULL);
    gr_free(errors);
}

int main(void)
{
    return H_MAIN(H_TEST(greets_with_the_text), H_TEST(a_reload_keeps_the_count),
                  H_TEST(a_wrong_option_is_refused));
}

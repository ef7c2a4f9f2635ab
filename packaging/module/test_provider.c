/* test_NAME: mod_NAME in a server without sockets and threads (grapnel/test.h). */
#include <grapnel/test.h>

#include <string.h>

#define CONF "[host localhost]\n[mod_NAME]\nusers = alice, bob\npassword = sesame\n"

static void answers_for_passwords(void)
{
    struct h *h = h_start(CONF);

    h_check(h_user_check(h, "alice@localhost", "sesame") == GR_R_OK);
    h_check(h_user_check(h, "bob@localhost", "sesame") == GR_R_OK);
    h_check(h_user_check(h, "alice@localhost", "sesam") == GR_R_FALSE);
    h_check(h_user_check(h, "carol@localhost", "sesame") == GR_R_FALSE);
    h_stop(&h);
}

static void is_the_one_that_answers(void)
{
    struct h *h = h_start(CONF);

    h_check(strstr(h_command(h, "providers localhost"), "type=auth provider=NAME") != NULL);
    h_reload(h, "[host localhost]\n", NULL);
    h_check(strstr(h_command(h, "providers localhost"), "provider=NAME") == NULL);
    h_stop(&h);
}

static void wants_a_password(void)
{
    char *errors;

    h_check(h_start_try("[host localhost]\n[mod_NAME]\nusers = alice\n", &errors) == NULL);
    gr_free(errors);
    h_check(h_start_try("[host localhost]\n[mod_NAME]\npassword = \"\"\n", &errors) == NULL);
    h_check(strstr(errors, "the password is empty") != NULL);
    gr_free(errors);
}

int main(void)
{
    return H_MAIN(H_TEST(answers_for_passwords), H_TEST(is_the_one_that_answers),
                  H_TEST(wants_a_password));
}

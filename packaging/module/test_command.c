/* test_NAME: mod_NAME in a server without sockets and threads (grapnel/test.h). */
#include <grapnel/test.h>

#include <string.h>

#define MESSAGE "<message to='carol@localhost' type='chat'><body>hi</body></message>"

static void counts_on_all_loops(void)
{
    struct h *h = h_start("[host localhost]\n[mod_NAME]\n");
    struct hs *alice = h_login(h, "alice@localhost/phone");
    const char *bob = h_user_near(h, "alice@localhost", false); /* with loops = 4: on another one */
    struct hs *client = h_connect(h, bob);

    h_check(h_bind(client, "phone") == GR_COND_NONE);
    h_send(alice, MESSAGE);
    h_send(alice, MESSAGE);
    h_send(client, MESSAGE);
    h_check(strcmp(h_command(h, "NAME total"), "sent=3") == 0);
    h_check(strcmp(h_command(h, "NAME of alice@localhost"), "jid=alice@localhost sent=2") == 0);
    h_check(strcmp(h_command(h, "NAME of carol@localhost"),
                   "error: carol@localhost is not online") == 0);
    h_stop(&h);
}

static void empty_ones_count_when_wanted(void)
{
    struct h *h = h_start("[host localhost]\n[mod_NAME]\n");
    struct hs *alice = h_login(h, "alice@localhost/phone");

    h_send(alice, "<message to='carol@localhost'><active xmlns='urn:example:x'/></message>");
    h_check(strcmp(h_command(h, "NAME of alice@localhost"), "jid=alice@localhost sent=0") == 0);
    h_reload(h, "[host localhost]\n[mod_NAME]\ncount_empty = yes\n", NULL);
    h_send(alice, "<message to='carol@localhost'><active xmlns='urn:example:x'/></message>");
    h_check(strcmp(h_command(h, "NAME of alice@localhost"), "jid=alice@localhost sent=1") == 0);
    h_stop(&h);
}

int main(void)
{
    return H_MAIN(H_TEST(counts_on_all_loops), H_TEST(empty_ones_count_when_wanted));
}

/* RFC 6120, 10.1: presence and what follows it to the same address arrive in the order in which they
 * were sent, on the same loop and on another one, to one's own resource, and when broadcast. */
#include "harness.h"

#include <stdio.h>

static void check_order(struct h *h, struct hs *a, struct hs *b, bool directed)
{
    char presence[200] = "<presence/>", message[200];

    if (directed)
        snprintf(presence, sizeof(presence), "<presence to='%s'/>", h_full(b));
    snprintf(message, sizeof(message), "<message to='%s'><body>x</body></message>", h_full(b));
    h_drop_all(b);
    for (int i = 0; i < 3; i++) {
        h_feed(a, presence);
        h_feed(a, message);
    }
    h_run(h);
    for (int i = 0; i < 3; i++) {
        h_expect(b, GR_PRESENCE, GR_AVAILABLE, h_full(a));
        h_expect_body(b, h_full(a), "x");
    }
    h_expect_nothing(b);
}

static void test_order(void **state)
{
    struct h *h = h_start("[host localhost]\n[mod_roster]\n[mod_presence]\n");
    struct hs *a, *b;
    char text[200];

    (void)state;
    h_user(h, "alice@localhost");
    a = h_online(h, "alice@localhost/a");
    for (int same = 0; same < 2; same++) {
        const char *bob = h_user_near(h, "alice@localhost", same);

        snprintf(text, sizeof(text), "%s/r", bob);
        b = h_online(h, text);
        check_order(h, a, b, true);
        h_send(b, "<presence type='subscribe' to='alice@localhost'/>");
        snprintf(text, sizeof(text), "<presence type='subscribed' to='%s'/>", bob);
        h_send(a, text);
        check_order(h, a, b, false);
        h_disconnect(&b, true);
    }
    b = h_online(h, "alice@localhost/b");
    check_order(h, a, b, true);
    check_order(h, a, b, false);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = { cmocka_unit_test(test_order) };

    return H_RUN("order", cases);
}

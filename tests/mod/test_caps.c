/* tests/mod/test_caps.c: mod_caps against XEP-0115, 1.6.0, and XEP-0390, 0.3.2. */
#include "caps_vectors.h"
#include "trace.h"

#include <openssl/evp.h>

#define CONFIG "[host localhost]\n[mod_presence]\n[mod_disco]\n[mod_caps]\n[mod_way]\n"
#define INFO "http://jabber.org/protocol/disco#info"
#define QUERY "<query xmlns='" INFO "'/>"
#define NODE1 "http://soft.example"
#define FORM "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>"
#define V115 "QgayPKawpkPSDYmwT/WM94uAlu0="

/* --- a module that listens, and speaks for somebody on another server --- */

static struct gr_stanza *to_remote;
static unsigned remote_count;

static enum gr_verdict on_recognised(struct gr_mod *self, struct gr_caps_ev *ev)
{
    (void)self;
    assert_non_null(ev->session);
    assert_ptr_equal(ev->to, gr_session_jid(ev->session));
    note("%s:", ev->to->full);
    for (size_t i = 0; i < ev->count && i < 4; i++)
        note(" %s", ev->features[i]);
    note(" (%zu)\n", ev->count);
    return GR_OK;
}

static enum gr_verdict on_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    if (strcmp(ev->to->domain, "remote.example") != 0)
        return GR_OK;
    gr_stanza_unref(&to_remote);
    to_remote = gr_stanza_ref(ev->stanza);
    remote_count++;
    return GR_DROP;
}

static const struct gr_hook way_hooks[] = {
    GR_ON(caps_recognised, GR_PRIO_NORMAL, on_recognised),
    GR_ON(filter_packet, GR_PRIO_NORMAL, on_packet),
    GR_HOOK_END
};
static const struct gr_module way_module = { .name = "way", .summary = "test", .hooks = way_hooks };

static struct h *begin(const char *ini)
{
    trace[0] = '\0';
    h_module(&way_module);
    return h_start(ini != NULL ? ini : CONFIG);
}

/* --- the other side of XEP-0115 and XEP-0390, for tests --- */

static const char *digest(const char *algo, const char *s)
{
    static char out[128];
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    assert_int_equal(EVP_Digest(s, strlen(s), md, &len, EVP_get_digestbyname(algo), NULL), 1);
    EVP_EncodeBlock((unsigned char *)out, md, (int)len);
    return out;
}

static const char *v1(const char *s)
{
    return digest("sha1", s);
}

static void announce_v1(struct hs *s, const char *algo, const char *ver)
{
    h_sendf(s, "<presence><c xmlns='http://jabber.org/protocol/caps' hash='%s' node='" NODE1
            "' ver='%s'/></presence>", algo, ver);
}

static void announce_v2(struct hs *s, const char *hashes)
{
    h_sendf(s, "<presence><c xmlns='urn:xmpp:caps'>%s</c></presence>", hashes);
}

#define HASH(algo, value) "<hash xmlns='urn:xmpp:hashes:2' algo='" algo "'>" value "</hash>"

/* The question, which the client gets; its id until the next one. */
static const char *asked(struct hs *s, const char *node)
{
    struct gr_stanza *st;

    while ((st = h_next(s)) != NULL && gr_stanza_kind(st) == GR_PRESENCE)
        continue;
    if (st == NULL)
        fail_msg("%s is not asked", h_full(s));
    assert_int_equal(gr_stanza_type(st), GR_GET);
    assert_string_equal(gr_stanza_from(st)->full, "localhost");
    assert_string_equal(gr_el_attr(gr_stanza_payload(st), "node"), node);
    return gr_stanza_id(st);
}

static void reply(struct hs *s, const char *id, const char *inner)
{
    h_sendf(s, "<iq type='result' to='localhost' id='%s'><query xmlns='" INFO "'>%s</query></iq>",
            id, inner);
}

static void answer(struct hs *s, const char *node, const char *inner)
{
    char id[64];

    snprintf(id, sizeof(id), "%s", asked(s, node));
    reply(s, id, inner);
}

static void answer_v1(struct hs *s, const char *ver, const char *inner)
{
    char node[256];

    snprintf(node, sizeof(node), NODE1 "#%s", ver);
    answer(s, node, inner);
}

static void not_asked(struct hs *s)
{
    for (struct gr_stanza *st; (st = h_next(s)) != NULL;)
        assert_int_equal(gr_stanza_kind(st), GR_PRESENCE);
}

/* --- examples --- */

static void the_examples_of_0115(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");
    (void)state;

    announce_v1(a, "sha-1", V115);
    answer_v1(a, V115, XEP0115_SIMPLE);
    expect_trace("alice@localhost/a: http://jabber.org/protocol/caps " INFO
                 " http://jabber.org/protocol/disco#items http://jabber.org/protocol/muc (4)\n");
    announce_v1(b, "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=");
    answer_v1(b, "q07IKJEyjvHSyhy//CH0CxmKi8w=", XEP0115_COMPLEX);
    expect_trace("alice@localhost/b: http://jabber.org/protocol/caps " INFO
                 " http://jabber.org/protocol/disco#items http://jabber.org/protocol/muc (4)\n");
    h_stop(&h);
}

static void the_examples_of_0390(void **state)
{
    static const struct {
        const char *algo, *value, *inner, *end;
    } examples[] = {
        { "sha-256", "kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8=", XEP0390_SIMPLE, "(17)\n" },
        { "sha3-256", "79mdYAfU9rEdTOcWDO7UEAt6E56SUzk/g6TnqUeuD9Q=", XEP0390_SIMPLE, "(17)\n" },
        { "sha-256", "u79ZroNJbdSWhdSp311mddz44oHHPsEBntQ5b1jqBSY=", XEP0390_COMPLEX, "(42)\n" },
        { "sha3-256", "XpUJzLAc93258sMECZ3FJpebkzuyNXDzRNwQog8eycg=", XEP0390_COMPLEX, "(42)\n" },
    };
    struct h *h = begin(NULL);
    (void)state;

    for (size_t i = 0; i < GR_COUNT(examples); i++) {
        struct hs *s = h_login(h, "alice@localhost/a");
        char hash[256], node[256];

        snprintf(hash, sizeof(hash), HASH("unknown.1", "x") "<hash xmlns='urn:xmpp:hashes:2' "
                 "algo='%s'>%s</hash>", examples[i].algo, examples[i].value);
        snprintf(node, sizeof(node), "urn:xmpp:caps#%s.%s", examples[i].algo, examples[i].value);
        announce_v2(s, hash);
        answer(s, node, examples[i].inner);
        if (strstr(trace, examples[i].end) == NULL)
            fail_msg("%s: %s", examples[i].value, trace);
        trace[0] = '\0';
        h_disconnect(&s, true);
    }
    h_stop(&h);
}

/* --- what counts (XEP-0115, 5.4) --- */

/* v1 goes through without a form; its hash over an answer that must not count. */
static void ill_formed_answers(void **state)
{
    static const struct {
        const char *s, *inner;
        bool good;
    } cases[] = {
        { "client/pc//x<a<b<", "<identity category='client' type='pc' name='x'/>"
          "<feature var='b'/><feature var='a'/>", true },
        { "client/pc//<a<", "<identity category='client' type='pc'/><feature var='a'/><z xmlns='x'/>",
          true }, /* nothing is said about others */
        { "a/b//<a/b//<f<", "<identity category='a' type='b'/><identity category='a' type='b'/>"
          "<feature var='f'/>", false },
        { "a/b//x<a/b//y<f<", "<identity category='a' type='b' name='y'/>"
          "<identity category='a' type='b' name='x'/><feature var='f'/>", true },
        { "a/b//<a-/b//<f<", "<identity category='a-' type='b'/><identity category='a' type='b'/>"
          "<feature var='f'/>", true }, /* by category first */
        { "a/b//<f<f<", "<identity category='a' type='b'/><feature var='f'/><feature var='f'/>",
          false },
        { "a/b//<f<T<v<1<T<w<1<", "<identity category='a' type='b'/><feature var='f'/>"
          FORM "T</value></field><field var='v'><value>1</value></field></x>"
          FORM "T</value></field><field var='w'><value>1</value></field></x>", false },
        { "a/b//<f<T<v<1<", "<identity category='a' type='b'/><feature var='f'/>"
          FORM "T</value><value>U</value></field><field var='v'><value>1</value></field></x>", false },
        { "a/b//<f<T<v<1<", "<identity category='a' type='b'/><feature var='f'/>"
          FORM "T</value><value>T</value></field><field var='v'><value>1</value></field></x>", true },
        { "a/b//<f<S<v<1<T<v<1<2<w<", "<identity category='a' type='b'/><feature var='f'/>"
          FORM "T</value></field><field var='w'/><field var='v'><value>2</value><value>1</value>"
          "</field></x>" FORM "S</value></field><field var='v'><value>1</value></field></x>", true },
        /* not hidden, or no type: as if it were not there */
        { "a/b//<f<", "<identity category='a' type='b'/><feature var='f'/><x xmlns='jabber:x:data'>"
          "<field var='FORM_TYPE'><value>T</value></field></x><x xmlns='jabber:x:data'/>", true },
        /* 5.1, note: what was escaped stays escaped */
        { "a/b//x&lt;f<", "<identity category='a' type='b' name='x&lt;f'/>", true },
        { "a/b//x<f<", "<identity category='a' type='b' name='x&lt;f'/>", false },
    };
    struct h *h = begin(NULL);
    (void)state;

    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        struct hs *s = h_login(h, "alice@localhost/a");
        char ver[64];

        /* the same value twice in this table: with another node of no importance */
        snprintf(ver, sizeof(ver), "%s", v1(cases[i].s));
        announce_v1(s, "sha-1", ver);
        if (h_count(s) > 0 || trace[0] == '\0')
            answer_v1(s, ver, cases[i].inner);
        if ((trace[0] != '\0') != cases[i].good)
            fail_msg("%s: %s", cases[i].inner, trace);
        trace[0] = '\0';
        h_disconnect(&s, true);
    }
    h_stop(&h);
}

/* XEP-0390, 4.1, 1 to 3: what is not understood is refused; and the language of an identity. */
static void ill_formed_answers_v2(void **state)
{
#define IDENT "<identity category='a' type='b'/>"
    static const struct {
        const char *s, *lang, *inner;
        bool good;
    } cases[] = {
        { "f\x1f\x1c" "a\x1f" "b\x1f\x1f\x1f\x1e\x1c" "\x1c", "", IDENT "<feature var='f'/>", true },
        { "f\x1f\x1c" "a\x1f" "b\x1f" "de\x1f\x1f\x1e\x1c" "\x1c", "", IDENT "<feature var='f'/>",
          false },
        { "f\x1f\x1c" "a\x1f" "b\x1f" "de\x1f\x1f\x1e\x1c" "\x1c", " xml:lang='de'",
          IDENT "<feature var='f'/>", true },
        { "g\x1f\x1c" "a\x1f" "b\x1f\x1f\x1f\x1e\x1c" "\x1c", " xml:lang='de'",
          IDENT "<feature var='g'/>", true },
        { "h\x1f\x1c" "a\x1f" "b\x1f\x1f\x1f\x1e\x1c" "\x1c", "",
          IDENT "<feature var='h'/><z xmlns='x'/>", false },
        { "i\x1f\x1c" "a\x1f" "b\x1f\x1f\x1f\x1e\x1c" "FORM_TYPE\x1fT\x1f\x1e\x1d\x1c", "",
          IDENT "<feature var='i'/>" FORM "T</value></field></x>", true },
        { "j\x1f\x1c" "a\x1f" "b\x1f\x1f\x1f\x1e\x1c" "FORM_TYPE\x1fT\x1f\x1e\x1d\x1c", "",
          IDENT "<feature var='j'/>" FORM "T</value></field><reported/></x>", false },
        { "k\x1f\x1c" "a\x1f" "b\x1f\x1f\x1f\x1e\x1c" "FORM_TYPE\x1fT\x1f\x1e\x1d\x1c", "",
          IDENT "<feature var='k'/>" FORM "T</value></field><item/></x>", false },
        { "l\x1f\x1c" "a\x1f" "b\x1f\x1f\x1f\x1e\x1c" "v\x1f" "1\x1f\x1e\x1d\x1c", "",
          IDENT "<feature var='l'/><x xmlns='jabber:x:data'><field var='v'><value>1</value></field>"
          "</x>", false },
    };
    struct h *h = begin(NULL);
    (void)state;

    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        struct hs *s = h_login(h, "alice@localhost/a");
        char hash[256], node[256], id[64];

        snprintf(hash, sizeof(hash), "<hash xmlns='urn:xmpp:hashes:2' algo='sha-512'>%s</hash>",
                 digest("sha512", cases[i].s));
        snprintf(node, sizeof(node), "urn:xmpp:caps#sha-512.%s", digest("sha512", cases[i].s));
        announce_v2(s, hash);
        snprintf(id, sizeof(id), "%s", asked(s, node));
        h_sendf(s, "<iq type='result' to='localhost' id='%s'%s><query xmlns='" INFO "'>%s</query></iq>",
                id, cases[i].lang, cases[i].inner);
        if ((trace[0] != '\0') != cases[i].good)
            fail_msg("%zu %s: %s", i, cases[i].inner, trace);
        trace[0] = '\0';
        h_disconnect(&s, true);
    }
    h_stop(&h);
}

/* --- asking --- */

static void asked_once_for_all(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");
    (void)state;

    announce_v1(a, "sha-1", V115);
    announce_v1(b, "sha-1", V115);
    not_asked(b);
    expect_trace("");
    answer_v1(a, V115, XEP0115_SIMPLE);
    if (strstr(trace, "alice@localhost/a:") == NULL || strstr(trace, "alice@localhost/b:") == NULL)
        fail_msg("%s", trace);
    trace[0] = '\0';
    announce_v1(a, "sha-1", V115); /* an update of one's status */
    h_send(b, "<presence/>");      /* XEP-0115, 8.4: nothing new */
    expect_trace("");
    h_send(b, "<presence type='unavailable'/>");
    announce_v1(b, "sha-1", V115);
    expect_trace("alice@localhost/b: http://jabber.org/protocol/caps " INFO
                 " http://jabber.org/protocol/disco#items http://jabber.org/protocol/muc (4)\n");
    not_asked(a);
    not_asked(b);
    h_stop(&h);
}

/* 5.4, 3.9: who lies is not believed, and the next one is asked; who answers nothing neither. */
static void whoever_tells_the_truth(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b"),
              *c = h_login(h, "alice@localhost/c"), *d = h_login(h, "alice@localhost/d");
    char id[64];
    (void)state;

    announce_v1(a, "sha-1", V115);
    announce_v1(b, "sha-1", V115);
    answer_v1(a, V115, "<identity category='client' type='pc'/><feature var='evil'/>");
    expect_trace("");
    snprintf(id, sizeof(id), "%s", asked(b, NODE1 "#" V115));
    h_advance(h, 5000); /* in silence */
    expect_trace("");
    announce_v1(a, "sha-1", V115);
    announce_v1(b, "sha-1", V115);
    not_asked(a); /* once is enough */
    not_asked(b);
    reply(b, id, XEP0115_SIMPLE); /* too late */
    announce_v1(c, "sha-1", V115);
    snprintf(id, sizeof(id), "%s", asked(c, NODE1 "#" V115));
    h_sendf(c, "<iq type='error' to='localhost' id='%s'><error type='cancel'>"
            "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", id);
    announce_v1(d, "sha-1", V115);
    answer_v1(d, V115, XEP0115_SIMPLE);
    expect_trace("alice@localhost/d: http://jabber.org/protocol/caps " INFO
                 " http://jabber.org/protocol/disco#items http://jabber.org/protocol/muc (4)\n");
    h_stop(&h);
}

/* 5.4, 2: what cannot be checked is true of that address alone. 13: the old format says nothing. */
static void hashes_that_we_cannot_check(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");
    (void)state;

    announce_v1(a, "md5", "abc");
    answer_v1(a, "abc", "<feature var='x'/>");
    expect_trace("alice@localhost/a: x (1)\n");
    announce_v1(b, "md5", "abc");
    answer_v1(b, "abc", "<feature var='y'/>");
    expect_trace("alice@localhost/b: y (1)\n");
    announce_v2(a, HASH("md5", "abc") HASH("sha-256", "") "<hash xmlns='urn:xmpp:hashes:2'>x</hash>");
    h_send(b, "<presence><c xmlns='http://jabber.org/protocol/caps' node='" NODE1 "' ver='0.9'/>"
           "</presence>");
    not_asked(a);
    not_asked(b);
    h_stop(&h);
}

#define ONLY(v) "[host localhost]\n[mod_presence]\n[mod_disco]\n[mod_way]\n[mod_caps]\nversions = " v "\n"

static void one_version_only(void **state)
{
    char *errors = NULL;
    struct h *h = begin(ONLY("v2"));
    struct hs *a = h_login(h, "alice@localhost/a");
    (void)state;

    announce_v1(a, "sha-1", V115);
    not_asked(a);
    h_stop(&h);
    h = begin(ONLY("v1"));
    a = h_login(h, "alice@localhost/a");
    announce_v2(a, HASH("sha-256", "kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8="));
    not_asked(a);
    announce_v1(a, "sha-1", V115);
    asked(a, NODE1 "#" V115);
    h_advance(h, 5000);
    h_stop(&h);
    assert_null(h_start_try("[host localhost]\n[mod_disco]\n[mod_caps]\nversions = v3\n", &errors));
    assert_non_null(strstr(errors, "v1 (XEP-0115)"));
    gr_free(errors);
}

/* --- bounds --- */

static void announce_number(struct hs *s, int i, char ver[64], char inner[64])
{
    char text[64];

    snprintf(text, sizeof(text), "a/b//<f%d<", i);
    snprintf(inner, 64, IDENT "<feature var='f%d'/>", i);
    snprintf(ver, 64, "%s", v1(text));
    announce_v1(s, "sha-1", ver);
}

static void least_recently_used_first(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_presence]\n[mod_disco]\n[mod_way]\n"
                        "[mod_caps]\ncache_size = 10\n");
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");
    char ver[64], inner[64];
    (void)state;

    for (int i = 0; i < 10; i++) {
        announce_number(a, i, ver, inner);
        answer_v1(a, ver, inner);
    }
    trace[0] = '\0';
    announce_number(b, 0, ver, inner); /* used again */
    expect_trace("alice@localhost/b: f0 (1)\n");
    announce_number(a, 10, ver, inner);
    answer_v1(a, ver, inner);
    trace[0] = '\0';
    announce_number(a, 0, ver, inner);
    expect_trace("alice@localhost/a: f0 (1)\n");
    announce_number(a, 1, ver, inner); /* forgotten */
    expect_trace("");
    answer_v1(a, ver, inner);
    expect_trace("alice@localhost/a: f1 (1)\n");
    h_stop(&h);
}

static void eight_questions_at_a_time(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_login(h, "alice@localhost/a");
    char ver[64], inner[64], id[64] = "";
    unsigned asks = 0;
    (void)state;

    for (int i = 0; i < 9; i++)
        announce_number(a, i, ver, inner);
    for (struct gr_stanza *st; (st = h_next(a)) != NULL;)
        if (gr_stanza_kind(st) == GR_IQ) {
            snprintf(id, sizeof(id), "%s", gr_stanza_id(st));
            asks++;
        }
    assert_int_equal(asks, 8);
    reply(a, id, IDENT "<feature var='f7'/>");
    expect_trace(""); /* known, but not what it announces now */
    announce_number(a, 8, ver, inner);
    answer_v1(a, ver, inner);
    expect_trace("alice@localhost/a: f8 (1)\n");
    h_advance(h, 5000);
    h_stop(&h);
}

static void answers_that_are_too_long(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_login(h, "alice@localhost/a");
    char *inner = malloc(64 * 1024), *s = malloc(64 * 1024);
    (void)state;

    for (int n = 1000; n <= 1001; n++) {
        size_t at = (size_t)sprintf(inner, IDENT), end = (size_t)sprintf(s, "a/b//<");
        char ver[64];

        for (int i = 0; i < n; i++) {
            at += (size_t)sprintf(inner + at, "<feature var='f%04d'/>", i);
            end += (size_t)sprintf(s + end, "f%04d<", i);
        }
        snprintf(ver, sizeof(ver), "%s", v1(s));
        announce_v1(a, "sha-1", ver);
        answer_v1(a, ver, inner);
        expect_trace(n == 1000 ? "alice@localhost/a: f0000 f0001 f0002 f0003 (1000)\n" : "");
    }
    free(inner);
    free(s);
    h_stop(&h);
}

/* --- contacts, and who wants which events --- */

static bool dropped(struct h *h, struct hs *s, const char *to, const char *feature)
{
    struct gr_mod *way = h_mod(h, "way", h_full(s));
    struct gr_caps_ev ev = { .session = h_session(s), .to = h_parse_jid(h, to), .feature = feature };

    gr_hook_run(way, GR_HOOK_filter_pep_recipient, &ev.ev, NULL);
    return ev.drop;
}

static void expect_recipients(struct h *h, struct hs *s, const char *feature, const char *first,
                              const char *second)
{
    struct gr_mod *way = h_mod(h, "way", h_full(s));
    struct gr_caps_ev ev = { .session = h_session(s), .feature = feature };
    const char *expected[] = { first, second };

    gr_hook_run(way, GR_HOOK_get_pep_recipients, &ev.ev, NULL);
    assert_int_equal(ev.recipient_count, (first != NULL) + (second != NULL));
    for (size_t i = 0; i < ev.recipient_count; i++)
        assert_string_equal(ev.recipients[i]->full, expected[i]);
    gr_caps_ev_clear(&ev);
}

#define TUNE "http://jabber.org/protocol/tune+notify"

static void contacts_on_this_server(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_online(h, "alice@localhost/a"), *a2 = h_online(h, "alice@localhost/a2"), *b;
    char ver[64], bob[128];
    (void)state;

    b = h_login(h, h_user_near(h, "alice@localhost", false));
    snprintf(bob, sizeof(bob), "%s", h_full(b));
    snprintf(ver, sizeof(ver), "%s", v1("a/b//<" TUNE "<"));
    announce_v1(a, "sha-1", ver);
    answer_v1(a, ver, IDENT "<feature var='" TUNE "'/>");
    assert_false(dropped(h, a, "alice@localhost/a", TUNE));
    assert_false(dropped(h, a2, "alice@localhost/a", TUNE));
    assert_true(dropped(h, a, "alice@localhost/a", "other+notify"));
    assert_true(dropped(h, a, "alice@localhost/a2", TUNE));
    assert_true(dropped(h, a, "alice@localhost", TUNE));
    assert_true(dropped(h, a, bob, TUNE));

    h_sendf(b, "<presence to='alice@localhost'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' "
            "node='" NODE1 "' ver='%s'/></presence>", ver);
    not_asked(b); /* known on alice's loop */
    assert_false(dropped(h, a, bob, TUNE));
    assert_false(dropped(h, a2, bob, TUNE));
    expect_recipients(h, a2, TUNE, "alice@localhost/a", bob);
    expect_recipients(h, a2, "other+notify", NULL, NULL);
    h_send(b, "<presence to='alice@localhost'><show>away</show></presence>");
    assert_false(dropped(h, a, bob, TUNE));
    h_send(b, "<presence to='alice@localhost' type='unavailable'/>");
    assert_true(dropped(h, a, bob, TUNE));
    h_stop(&h);
}

static void remote_presence(struct h *h, const char *from, const char *inner)
{
    struct gr_stanza *st;
    char xml[1024];
    int len = snprintf(xml, sizeof(xml), "<presence from='%s' to='alice@localhost'>%s</presence>",
                       from, inner);

    assert_int_equal(gr_stanza_parse(xml, (size_t)len, &st), 0);
    gr_send(h_mod(h, "way", "alice@localhost"), st);
    h_run(h);
}

static void remote_answer(struct h *h, const char *inner)
{
    struct gr_stanza *result, *st;
    char xml[4096];
    int len = snprintf(xml, sizeof(xml), "<iq type='result' from='%s' to='localhost' id='%s'>"
                       "<query xmlns='" INFO "'>%s</query></iq>", gr_stanza_to(to_remote)->full,
                       gr_stanza_id(to_remote), inner);

    assert_int_equal(gr_stanza_parse(xml, (size_t)len, &result), 0);
    st = to_remote;
    to_remote = NULL;
    gr_stanza_unref(&st);
    gr_send(h_mod(h, "way", "alice@localhost"), result);
    h_run(h);
}

#define C115 "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='" NODE1 "' ver='" V115 "'/>"
#define MUC "http://jabber.org/protocol/muc"

static void contacts_elsewhere(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_online(h, "alice@localhost/a"), *a2 = h_online(h, "alice@localhost/a2");
    (void)state;

    remote_presence(h, "room@remote.example/nick", C115 "<x xmlns='" MUC "#user'/>");
    assert_null(to_remote);
    remote_presence(h, "bob@remote.example", C115);
    assert_null(to_remote);
    remote_presence(h, "bob@remote.example/b", C115);
    assert_non_null(to_remote);
    assert_string_equal(gr_stanza_from(to_remote)->full, "localhost");
    assert_string_equal(gr_stanza_to(to_remote)->full, "bob@remote.example/b");
    assert_string_equal(gr_el_attr(gr_stanza_payload(to_remote), "node"), NODE1 "#" V115);
    assert_true(dropped(h, a, "bob@remote.example/b", MUC));
    remote_presence(h, "bob@remote.example/c", C115);
    remote_answer(h, XEP0115_SIMPLE);
    assert_null(to_remote);
    expect_trace(""); /* of our clients only */
    assert_false(dropped(h, a, "bob@remote.example/b", MUC));
    assert_false(dropped(h, a2, "bob@remote.example/c", MUC));
    assert_true(dropped(h, a, "bob@remote.example/d", MUC));
    h_stop(&h);
}

/* Of everybody together; the others are asked when they announce it again. */
static void two_hundred_questions_at_a_time(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_online(h, "alice@localhost/a");
    char jid[64], c[256];
    (void)state;

    remote_count = 0;
    for (int i = 0; i <= 200; i++) {
        snprintf(jid, sizeof(jid), "c%d@remote.example/r", i);
        snprintf(c, sizeof(c), "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='x' "
                 "ver='%d'/>", i);
        remote_presence(h, jid, c);
    }
    assert_int_equal(remote_count, 200);
    h_advance(h, 5000);
    remote_presence(h, jid, c);
    assert_int_equal(remote_count, 201);
    h_advance(h, 5000);
    assert_true(dropped(h, a, jid, MUC));
    h_stop(&h);
}

/* 1000 of them; the table stays in order when some go. */
static void many_contacts(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_online(h, "alice@localhost/a");
    char jid[64];
    (void)state;

    for (int i = 0; i <= 1000; i++) {
        snprintf(jid, sizeof(jid), "c%d@remote.example/r", i);
        remote_presence(h, jid, C115);
        if (i == 0)
            remote_answer(h, XEP0115_SIMPLE);
    }
    assert_null(to_remote);
    assert_false(dropped(h, a, "c999@remote.example/r", MUC));
    assert_true(dropped(h, a, "c1000@remote.example/r", MUC));
    for (int i = 0; i < 1000; i += 3) {
        struct gr_stanza *st;
        snprintf(jid, sizeof(jid), "c%d@remote.example/r", i);
        st = gr_presence_new(GR_UNAVAILABLE, h_parse_jid(h, jid), h_parse_jid(h, "alice@localhost"));
        gr_send(h_mod(h, "way", "alice@localhost"), st);
    }
    h_run(h);
    for (int i = 0; i < 1000; i++) {
        snprintf(jid, sizeof(jid), "c%d@remote.example/r", i);
        assert_int_equal(dropped(h, a, jid, MUC), i % 3 == 0);
    }
    remote_presence(h, "c1000@remote.example/r", C115);
    assert_false(dropped(h, a, "c1000@remote.example/r", MUC));
    h_stop(&h);
}

/* --- over a reload --- */

static void a_reload_forgets_nothing(void **state)
{
    struct h *h = begin(NULL);
    struct hs *a = h_online(h, "alice@localhost/a"), *b = h_online(h, "alice@localhost/b");
    char ver[64];
    (void)state;

    announce_v1(a, "sha-1", V115);
    answer_v1(a, V115, XEP0115_SIMPLE);
    remote_presence(h, "bob@remote.example/b", C115);
    snprintf(ver, sizeof(ver), "%s", v1("a/b//<f<"));
    announce_v1(b, "sha-1", ver);
    trace[0] = '\0';
    h_reload(h, "[host localhost]\n[mod_presence]\n[mod_disco]\n[mod_way]\n"
             "[mod_caps]\ncache_size = 20\n", NULL);
    answer_v1(b, ver, IDENT "<feature var='f'/>");
    expect_trace("alice@localhost/b: f (1)\n");
    assert_false(dropped(h, a, "alice@localhost/a", MUC));
    assert_false(dropped(h, a, "alice@localhost/b", "f"));
    assert_false(dropped(h, a, "bob@remote.example/b", MUC));
    announce_v1(b, "sha-1", V115); /* known there, too */
    assert_non_null(strstr(trace, "alice@localhost/b:"));
    trace[0] = '\0';
    h_reload(h, "[host localhost]\n[mod_presence]\n[mod_disco]\n[mod_way]\n", NULL);
    h_reload(h, CONFIG, NULL);
    assert_true(dropped(h, a, "alice@localhost/a", MUC));
    h_stop(&h);
}

/* --- the host's own --- */

struct strings {
    char *at[200];
    int count;
};

static void put(struct strings *l, const char *fmt, ...) GR_PRINTF(2, 3);
static void put(struct strings *l, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    assert_true(l->count < 200 && vasprintf(&l->at[l->count++], fmt, ap) >= 0);
    va_end(ap);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void join(char *out, struct strings *l)
{
    qsort(l->at, (size_t)l->count, sizeof(l->at[0]), by_bytes);
    for (int i = 0; i < l->count; i++) {
        strcat(out, l->at[i]);
        free(l->at[i]);
    }
    l->count = 0;
}

static const char *attr(const struct gr_el *el, const char *name)
{
    const char *value = gr_el_attr(el, name);

    return value != NULL ? value : "";
}

/* Both inputs at once, for answers with one value per field: what separates them, and which fields. */
static void input_of(char *out, const struct gr_el *query, bool v2)
{
    struct strings identities = { .count = 0 }, features = { .count = 0 }, fields = { .count = 0 };

    out[0] = '\0';
    for (const struct gr_el *el = gr_el_child(query, NULL, NULL); el; el = gr_el_next(el, NULL, NULL))
        if (gr_el_is(el, NULL, "identity"))
            put(&identities, v2 ? "%s\x1f%s\x1f%s\x1f%s\x1f\x1e" : "%s/%s/%s/%s<",
                attr(el, "category"), attr(el, "type"), attr(el, "xml:lang"), attr(el, "name"));
        else if (gr_el_is(el, NULL, "feature"))
            put(&features, v2 ? "%s\x1f" : "%s<", attr(el, "var"));
        else
            for (const struct gr_el *f = gr_el_child(el, NULL, "field"); f;
                 f = gr_el_next(f, NULL, "field")) {
                const char *value = gr_el_text(gr_el_child(f, NULL, "value"), NULL);
                if (v2)
                    put(&fields, "%s\x1f%s\x1f\x1e", attr(f, "var"), value);
                else if (strcmp(attr(f, "var"), "FORM_TYPE") == 0)
                    put(&fields, " %s<", value); /* the blank: comes first, goes below */
                else
                    put(&fields, "%s<%s<", attr(f, "var"), value);
            }
    bool form = fields.count > 0;
    join(out, v2 ? &features : &identities);
    strcat(out, v2 ? "\x1c" : "");
    join(out, v2 ? &identities : &features);
    strcat(out, v2 ? "\x1c" : "");
    size_t at = strlen(out);
    join(out, &fields);
    if (!v2 && form)
        memmove(out + at, out + at + 1, strlen(out + at));
    strcat(out, v2 ? form ? "\x1d\x1c" : "\x1c" : "");
}

/* <stream:features/> as they are after login. */
static struct gr_stanza *features_of(struct h *h, struct hs *s)
{
    struct gr_features_ev ev = { .session = h_session(s),
                                 .features = gr_nonza_new(GR_NS_STREAM, "features") };

    gr_hook_run(h_mod(h, "way", h_full(s)), GR_HOOK_c2s_stream_features, &ev.ev, NULL);
    return ev.features;
}

static void check_own(struct h *h, struct hs *s, char node1[256], char node2[256])
{
    struct gr_stanza *features = features_of(h, s), *info = h_iq(s, "get", "localhost", QUERY);
    struct gr_el *c1, *c2;
    const struct gr_el *query = gr_stanza_payload(info), *hash;
    char input[16384];

    c1 = gr_stanza_child(features, "http://jabber.org/protocol/caps", "c");
    c2 = gr_stanza_child(features, "urn:xmpp:caps", "c");
    assert_non_null(c1);
    assert_non_null(c2);
    input_of(input, query, false);
    assert_string_equal(gr_el_attr(c1, "hash"), "sha-1");
    assert_string_equal(gr_el_attr(c1, "ver"), v1(input));
    input_of(input, query, true);
    hash = gr_el_child(c2, "urn:xmpp:hashes:2", "hash");
    assert_string_equal(gr_el_attr(hash, "algo"), "sha-256");
    assert_string_equal(gr_el_text(hash, NULL), digest("sha256", input));
    hash = gr_el_next(hash, NULL, NULL);
    assert_string_equal(gr_el_attr(hash, "algo"), "sha3-256");
    assert_string_equal(gr_el_text(hash, NULL), digest("sha3-256", input));
    snprintf(node1, 256, "%s#%s", gr_el_attr(c1, "node"), gr_el_attr(c1, "ver"));
    snprintf(node2, 256, "urn:xmpp:caps#sha3-256.%s", gr_el_text(hash, NULL));
    gr_stanza_unref(&features);
}

/* The answer for a node is that for none. */
static void check_node(struct hs *s, const char *node, const struct gr_stanza *root)
{
    char payload[512], a[16384], b[16384];
    const struct gr_stanza *st;

    snprintf(payload, sizeof(payload), "<query xmlns='" INFO "' node='%s'/>", node);
    st = h_iq(s, "get", "localhost", payload);
    assert_int_equal(gr_stanza_type(st), GR_RESULT);
    assert_string_equal(gr_el_attr(gr_stanza_payload(st), "node"), node);
    input_of(a, gr_stanza_payload(st), true);
    input_of(b, gr_stanza_payload(root), true);
    assert_string_equal(a, b);
}

#define OWN "[host localhost]\n[mod_presence]\n[mod_disco]\nabuse_addresses = mailto:a@b\n[mod_way]\n[mod_caps]\n"

static void the_hosts_own(void **state)
{
    struct h *h = begin(OWN);
    struct hs *a = h_login(h, "alice@localhost/a");
    char node1[256], node2[256], other1[256], other2[256];
    struct gr_stanza *root;
    (void)state;

    check_own(h, a, node1, node2);
    root = gr_stanza_copy(h_iq(a, "get", "localhost", QUERY));
    check_node(a, node1, root);
    check_node(a, node2, root);
    h_iq_error(a, "get", "localhost", "<query xmlns='" INFO "' node='urn:xmpp:caps#sha-256.abc'/>",
               GR_ITEM_NOT_FOUND);
    h_iq_error(a, "get", "localhost", "<query xmlns='" INFO "' node='http://other#x'/>",
               GR_ITEM_NOT_FOUND);

    h_reload(h, OWN "[mod_ping]\n", NULL); /* one feature more */
    check_own(h, a, other1, other2);
    assert_string_not_equal(node1, other1);
    check_node(a, node1, root); /* XEP-0390, 6.1: still answered, as it was */
    check_node(a, other1, h_iq(a, "get", "localhost", QUERY));
    gr_stanza_unref(&root);
    h_stop(&h);
}

static void not_before_login(void **state)
{
    struct h *h = begin(NULL);
    struct hs *s = h_accept(h, "localhost");
    struct gr_features_ev ev = { .features = gr_nonza_new(GR_NS_STREAM, "features") };
    (void)state;

    ev.session = h_session(s);
    gr_hook_run(h_mod(h, "way", "localhost"), GR_HOOK_c2s_stream_features, &ev.ev, NULL);
    assert_null(gr_stanza_child(ev.features, NULL, "c"));
    gr_stanza_unref(&ev.features);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(the_examples_of_0115),
        cmocka_unit_test(the_examples_of_0390),
        cmocka_unit_test(ill_formed_answers),
        cmocka_unit_test(ill_formed_answers_v2),
        cmocka_unit_test(asked_once_for_all),
        cmocka_unit_test(whoever_tells_the_truth),
        cmocka_unit_test(hashes_that_we_cannot_check),
        cmocka_unit_test(one_version_only),
        cmocka_unit_test(least_recently_used_first),
        cmocka_unit_test(eight_questions_at_a_time),
        cmocka_unit_test(answers_that_are_too_long),
        cmocka_unit_test(contacts_on_this_server),
        cmocka_unit_test(contacts_elsewhere),
        cmocka_unit_test(two_hundred_questions_at_a_time),
        cmocka_unit_test(many_contacts),
        cmocka_unit_test(a_reload_forgets_nothing),
        cmocka_unit_test(the_hosts_own),
        cmocka_unit_test(not_before_login),
    };

    return H_RUN("caps", cases);
}

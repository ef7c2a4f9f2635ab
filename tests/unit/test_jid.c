/* Unit tests of core/xml/jid.c, prep.c and precis.c: RFC 7622, 8264, 8265, and RFC 6122 for
 * portable names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <grapnel/jid.h>

#include "base/table.h"
#include "xml/prep.h"

static struct gr_jid *parse(const char *s)
{
    struct gr_jid *jid = (struct gr_jid *)(uintptr_t)1;
    int rc = gr_jid_parse(s, strlen(s), &jid);

    assert_true(rc == 0 ? jid != NULL : rc == GR_EINVAL && jid == NULL);
    return jid;
}

static void assert_text(const char *is, const char *want)
{
    if (want == NULL)
        assert_null(is);
    else {
        assert_non_null(is);
        assert_string_equal(is, want);
    }
}

/* Everything that must hold for any address. */
static void check(const struct gr_jid *jid)
{
    struct gr_jid *again = NULL;
    char text[GR_JID_MAX + 1];

    assert_int_equal(strlen(jid->full), jid->full_len);
    assert_int_equal(strlen(jid->bare), jid->bare_len);
    assert_true(jid->full_len <= GR_JID_MAX);
    snprintf(text, sizeof(text), "%s%s%s", jid->node ? jid->node : "", jid->node ? "@" : "",
             jid->domain);
    assert_string_equal(text, jid->bare);
    if (jid->resource != NULL) {
        strcat(text, "/");
        strcat(text, jid->resource);
    }
    assert_string_equal(text, jid->full);
    assert_true(jid->hash == hash_bytes(jid->bare, jid->bare_len));
    assert_true(gr_jid_is_bare(jid) == (jid->resource == NULL));
    assert_true(gr_jid_is_domain(jid) == (jid->node == NULL && jid->resource == NULL));
    assert_int_equal(gr_jid_parse(jid->full, jid->full_len, &again), 0);
    assert_true(gr_jid_equal(jid, again));
    gr_jid_free(&again);
    assert_null(again);
    assert_int_equal(gr_jid_make(jid->node, jid->domain, jid->resource, &again), 0);
    assert_true(gr_jid_equal(jid, again));
    gr_jid_free(&again);
}

struct valid {
    const char *in, *node, *domain, *resource;
};

static void check_valid(const struct valid *v)
{
    struct gr_jid *jid = parse(v->in);

    if (jid == NULL)
        fail_msg("refused: %s", v->in);
    assert_text(jid->node, v->node);
    assert_text(jid->domain, v->domain);
    assert_text(jid->resource, v->resource);
    check(jid);
    gr_jid_free(&jid);
}

/* RFC 7622, 3.5, table 1, by number. */
static void test_rfc7622_legal(void **state)
{
    static const struct valid table[] = {
        { "juliet@example.com", "juliet", "example.com", NULL },              /* 1 */
        { "juliet@example.com/foo", "juliet", "example.com", "foo" },         /* 2 */
        { "juliet@example.com/foo bar", "juliet", "example.com", "foo bar" }, /* 3 */
        { "juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar" }, /* 4 */
        { "foo\\20bar@example.com", "foo\\20bar", "example.com", NULL },      /* 5 */
        { "fussball@example.com", "fussball", "example.com", NULL },          /* 6 */
        { "fu\u00dfball@example.com", "fu\u00dfball", "example.com", NULL },  /* 7 */
        { "\u03c0@example.com", "\u03c0", "example.com", NULL },              /* 8 */
        { "\u03a3@example.com/foo", "\u03c3", "example.com", "foo" },         /* 9 */
        { "\u03c3@example.com/foo", "\u03c3", "example.com", "foo" },         /* 10 */
        { "\u03c2@example.com/foo", "\u03c2", "example.com", "foo" },         /* 11 */
        { "king@example.com/\u265a", "king", "example.com", "\u265a" },       /* 12 */
        { "example.com", NULL, "example.com", NULL },                         /* 13 */
        { "example.com/foobar", NULL, "example.com", "foobar" },              /* 14 */
        { "a.example.com/b@example.net", NULL, "a.example.com", "b@example.net" }, /* 15 */
    };
    struct gr_jid *six, *seven;

    (void)state;
    for (size_t i = 0; i < GR_COUNT(table); i++)
        check_valid(&table[i]);
    six = parse(table[5].in);
    seven = parse(table[6].in);
    assert_false(gr_jid_equal(six, seven)); /* "the localparts in these examples are different" */
    gr_jid_free(&six);
    gr_jid_free(&seven);
}

/* RFC 7622, 3.5, table 2, by number. */
static void test_rfc7622_illegal(void **state)
{
    static const char *const table[] = {
        "\"juliet\"@example.com",   /* 16 */
        "foo bar@example.com",      /* 17 */
        "juliet@example.com/ foo",  /* 18 */
        "@example.com/",            /* 19 */
        "henry\u2163@example.com",  /* 20 */
        "\u265a@example.com",       /* 21 */
        "juliet@",                  /* 22 */
        "/foobar",                  /* 23 */
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(table); i++)
        if (parse(table[i]) != NULL)
            fail_msg("accepted: %s", table[i]);
}

static void test_parsing(void **state)
{
    static const struct valid good[] = {
        { "A@B/C", "a", "b", "C" },
        { "a@b/@", "a", "b", "@" },
        { "a@b//", "a", "b", "/" },
        { "a@b/c/d@e/f", "a", "b", "c/d@e/f" },
        { "b/a@c/d", NULL, "b", "a@c/d" },
        { "example.com.", NULL, "example.com", NULL },
        { "a@example.com./r", "a", "example.com", "r" },
        { "!#$%*+,-.;=?[\\]^_`{|}~@x", "!#$%*+,-.;=?[\\]^_`{|}~", "x", NULL },
        { "a@b/c ", "a", "b", "c " },
    };
    static const char *const bad[] = {
        "", "@", "/", "@/", "a@", "@b", "a@/r", "@b/r", "b/", "a@b/", "a@@b", "a@b@c", "a@b@c/d",
        "a b@c", "a@b c", "a@b/\n", "a@b/\t", "a@b/\x7f", "a@b/\x1f", "\x7f@b", "a:b@c", "a'b@c",
        "a&b@c", "a<b@c", "a>b@c", "a\"b@c", "a@b:5222", "a@b_c", "a@b..c", "a@.b", "a@b..", "a@.",
        ".", "..", "-b", "b-", "a.-b.c", "a.b-.c", "ab--c", "a@b/ c ", " a@b", "a @b", "a@ b",
        "a@b ",
        "a@\xff", "\xc3@b", "a@b/\xed\xa0\x80", "a@b/\xc0\xaf", "a@b/\xf4\x90\x80\x80",
    };
    struct gr_jid *jid = NULL;

    (void)state;
    for (size_t i = 0; i < GR_COUNT(good); i++)
        check_valid(&good[i]);
    for (size_t i = 0; i < GR_COUNT(bad); i++)
        if (parse(bad[i]) != NULL)
            fail_msg("accepted: %s", bad[i]);
    /* NUL is a character like any other control. */
    assert_int_equal(gr_jid_parse("a\0b@c", 5, &jid), GR_EINVAL);
    assert_int_equal(gr_jid_parse("a@c\0d", 5, &jid), GR_EINVAL);
    assert_int_equal(gr_jid_parse("a@c/d\0", 6, &jid), GR_EINVAL);
    assert_int_equal(gr_jid_parse("a@c\xc3\xa9/d\0", 8, &jid), GR_EINVAL);
    /* Only len bytes are looked at. */
    assert_int_equal(gr_jid_parse("a@b/cdef", 5, &jid), 0);
    assert_string_equal(jid->full, "a@b/c");
    gr_jid_free(&jid);
}

static void test_domains(void **state)
{
    static const struct {
        const char *in, *out; /* NULL: refused */
    } table[] = {
        { "EXAMPLE.com", "example.com" },
        { "localhost", "localhost" },
        { "127.0.0.1", "127.0.0.1" },
        { "[::1]", "[::1]" },
        { "[0:0:0:0:0:0:0:1]", "[::1]" },
        { "[2001:DB8::0:1]", "[2001:db8::1]" },
        { "[fe80::1%25eth0]", "[fe80::1%25eth0]" },
        { "[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]" },
        { "[fe80::1%eth0]", NULL },
        { "[fe80::1%25]", NULL },
        { "[fe80::1%25e th]", NULL },
        { "[::1", NULL },
        { "[]", NULL },
        { "[", NULL },
        { "[:]", NULL },
        { "[::1].", NULL },
        { "[::1]x", NULL },
        { "[127.0.0.1]", NULL },
        { "[1:2:3:4:5:6:7:8:9]", NULL },
        { "[v1.x]", NULL },
        { "::1", NULL },
        { "B\u00dcCHER.example", "b\u00fccher.example" },
        { "bu\u0308cher.example", "b\u00fccher.example" },         /* NFC */
        { "xn--bcher-kva.example", "b\u00fccher.example" },        /* A-label to U-label */
        { "XN--BCHER-KVA.example", "b\u00fccher.example" },
        { "xn--a.example", NULL },                                 /* an A-label must decode */
        { "xn--.example", NULL },
        { "xn--abc-.example", NULL },                              /* of ASCII only */
        { "fa\u00df.example", "fa\u00df.example" },                /* nontransitional */
        { "xn--fa-hia.example", "fa\u00df.example" },
        { "\u03b2\u03cc\u03bb\u03bf\u03c2.example", "\u03b2\u03cc\u03bb\u03bf\u03c2.example" },
        { "\uff45\uff58.example", "ex.example" },                  /* width */
        { "ex\u3002example", "ex.example" },                       /* the other dots of IDNA */
        { "ex\uff0eexample\uff61", "ex.example" },
        { "ex.example\u3002", "ex.example" },
        { "ex.example.\u3002", NULL },
        { "ex.example\u3002.", NULL },
        { "\u3002", NULL },
        { "\u2603.example", NULL },                                /* symbols: not IDNA2008 */
        { "\U0001f600.example", NULL },
        { "xn--n3h.example", NULL },                               /* the snowman in disguise */
        { "a\u200db.example", NULL },
        { "\u0915\u094d\u200d.example", "\u0915\u094d\u200d.example" }, /* virama, ZWJ */
        { "l\u00b7l.example", "l\u00b7l.example" },
        { "a\u00b7l.example", NULL },
        { "\u05d0\u05d1.example", "\u05d0\u05d1.example" },
        { "\u05d0a.example", NULL },                               /* Bidi Rule */
        { "0\u05d0.example", NULL },
        { "\u0301a.example", NULL },                               /* leading mark */
        { "\u20ac.example", NULL },
        { "a\u2488com", NULL },                                    /* maps to "1.": STD3 */
        { "ex\u2100mple", NULL },                                  /* maps to "a/c" */
        { "\u00ad", NULL },                                        /* maps to nothing */
        { "ex\u00adample", "example" },
    };
    char out[PREP_SIZE];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(table); i++) {
        int n = prep_domain(table[i].in, strlen(table[i].in), out, sizeof(out));

        if (table[i].out == NULL && n >= 0)
            fail_msg("accepted: %s as %s", table[i].in, out);
        if (table[i].out != NULL && n < 0)
            fail_msg("refused: %s", table[i].in);
        if (table[i].out != NULL) {
            assert_string_equal(out, table[i].out);
            assert_int_equal(n, strlen(out));
        }
    }
}

static void test_nodes(void **state)
{
    static const struct {
        const char *in, *out;
    } table[] = {
        { "Juliet", "juliet" },
        { "\uff2a\uff35\uff2c\uff29\uff25\uff34", "juliet" }, /* width, then case */
        { "\uff76\uff9e", "\u30ac" },                                /* half width, NFC */
        { "\uff20", NULL },                                          /* fullwidth @: forbidden */
        { "a\uff0fb", NULL },                                        /* fullwidth / */
        { "a\u3000b", NULL },                                        /* wide space */
        { "\u00c9", "\u00e9" },
        { "E\u0301", "\u00e9" },                                     /* NFC after lower case */
        { "\u0130", "i\u0307" },
        { "\u0391\u03a3", "\u03b1\u03c3" },                          /* capital sigma at the end */
        { "\u1e9e", "\u00df" },
        { "\u212b", NULL },                                          /* Angstrom: HasCompat */
        { "\u017f", NULL },                                          /* long s: HasCompat */
        { "\ufb01", NULL },                                          /* ligature */
        { "\u01c5", NULL },                                          /* title case */
        { "\u2163", NULL },
        { "\u221e", NULL },
        { "\U0001f600", NULL },
        { "a\u00adb", NULL },                                        /* ignorable */
        { "a\ufe0f", NULL },
        { "a\u200db", NULL },
        { "\u0915\u094d\u200d", "\u0915\u094d\u200d" },
        { "\u0644\u200c\u0627", "\u0644\u200c\u0627" },              /* ZWNJ breaks a connection */
        { "\u0627\u200c\u0627", NULL },                              /* alef does not connect */
        { "l\u00b7l", "l\u00b7l" },
        { "l\u00b7a", NULL },
        { "\u00b7", NULL },
        { "l\u00b7l\u0323", NULL },                                  /* NFC breaks the context */
        { "\u0375\u03b1", "\u0375\u03b1" },
        { "\u0375a", NULL },
        { "\u05d0\u05f3", "\u05d0\u05f3" },
        { "\u05f3\u05d0", NULL },
        { "\u30fb\u30a2", "\u30fb\u30a2" },
        { "a\u30fb", NULL },
        { "\u0627\u0661", "\u0627\u0661" },
        { "\u0627\u0661\u06f1", NULL },
        { "\u0640", NULL },                                          /* exceptions */
        { "\u3007", "\u3007" },
        { "\u1100", NULL },                                          /* old jamo */
        { "\uac00", "\uac00" },
        { "\u05d0\u05d1", "\u05d0\u05d1" },
        { "\u05d0a", NULL },
        { "a\u05d0", NULL },
        { "1\u05d0", NULL },
        { "\u05d01", "\u05d01" },
        { "\u05d0-", NULL },                                         /* Bidi Rule, 3 */
        { "\u05d0\u05b0", "\u05d0\u05b0" },
        { "\u06271\u0661", NULL },                                   /* 4 */
        { "\u0378", NULL },                                          /* unassigned */
        { "\ue000", NULL },                                          /* private use */
        { "\ufffe", NULL },
        { "\u00a0", NULL },
        { "\u13a0", "\uab70" },                                      /* Cherokee */
        { "\U00010400", "\U00010428" },                              /* beyond the BMP */
    };
    char out[PREP_SIZE];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(table); i++) {
        int n = prep_node(table[i].in, strlen(table[i].in), out, sizeof(out));

        if (table[i].out == NULL && n >= 0)
            fail_msg("accepted: %s as %s", table[i].in, out);
        if (table[i].out != NULL && n < 0)
            fail_msg("refused: %s", table[i].in);
        if (table[i].out != NULL)
            assert_string_equal(out, table[i].out);
    }
}

static void test_resources_and_passwords(void **state)
{
    static const struct {
        const char *in, *resource, *password, *saslprep;
    } table[] = {
        { "Foo Bar", "Foo Bar", "Foo Bar", "Foo Bar" },
        { " lead", NULL, " lead", " lead" },
        { "trail ", "trail ", "trail ", "trail " },
        { "a\u00a0b", "a b", "a b", "a b" },
        { "\u00a0b", NULL, " b", " b" },
        { "a\u3000b", "a b", "a b", "a b" },
        { "\u2000x", NULL, " x", " x" },
        { "e\u0301", "\u00e9", "\u00e9", "\u00e9" },
        { "\u212b", "\u00c5", "\u00c5", "\u00c5" },
        { "\uff21", "\uff21", "\uff21", "A" },                 /* NFKC only in SASLprep */
        { "\ufb01", "\ufb01", "\ufb01", "fi" },
        { "\u2168", "\u2168", "\u2168", "IX" },                /* RFC 4013, 3, example 5 */
        { "I\u00adX", NULL, NULL, "IX" },                      /* example 1 */
        { "user", "user", "user", "user" },                    /* 2 */
        { "USER", "USER", "USER", "USER" },                    /* 3 */
        { "\u00aa", "\u00aa", "\u00aa", "a" },                 /* 4 */
        { "\x07", NULL, NULL, NULL },                          /* 6 */
        { "\u06271", "\u06271", "\u06271", NULL },             /* 7 */
        { "\u265a", "\u265a", "\u265a", "\u265a" },
        { "\U0001f600", "\U0001f600", "\U0001f600", "\U0001f600" }, /* not in Unicode 3.2 */
        { "\u03c0\u00df\u00e5", "\u03c0\u00df\u00e5", "\u03c0\u00df\u00e5", "\u03c0\u00df\u00e5" },
        { "Jack of \u2666s", "Jack of \u2666s", "Jack of \u2666s", "Jack of \u2666s" },
        { "foo\u1680bar", "foo bar", "foo bar", "foo bar" },   /* RFC 8265, example 16 */
        { "my cat is a \tby", NULL, NULL, NULL },              /* RFC 8265, example 18 */
        { "", NULL, NULL, NULL },
        { "\u05d0a", "\u05d0a", "\u05d0a", NULL },             /* no Bidi Rule in OpaqueString */
        { "a\u200db", NULL, NULL, "ab" },
        { "\u0378", NULL, NULL, NULL },
        { "\ue000", NULL, NULL, NULL },
        { "\u2028", NULL, NULL, NULL },
        { "\xff", NULL, NULL, NULL },
    };
    char out[PREP_SIZE];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(table); i++) {
        const char *want[] = { table[i].resource, table[i].password, table[i].saslprep };
        int (*const prep[])(const char *, size_t, char *, size_t) = { prep_resource, prep_password,
                                                                      prep_saslprep };

        for (size_t j = 0; j < 3; j++) {
            int n = prep[j](table[i].in, strlen(table[i].in), out, sizeof(out));

            if ((n < 0) != (want[j] == NULL))
                fail_msg("%s, column %zu: %d", table[i].in, j, n);
            if (n >= 0) {
                assert_string_equal(out, want[j]);
                assert_int_equal(n, strlen(out));
            }
        }
    }
}

static void fill(char *s, size_t len, const char *unit)
{
    size_t n = strlen(unit), i = 0;

    for (; i + n <= len; i += n)
        memcpy(s + i, unit, n);
    memset(s + i, 'z', len - i);
    s[len] = '\0';
}

/* 1023 bytes fit in each part, 1024 do not: ASCII, and after preparation. */
static void test_limits(void **state)
{
    static const char *const units[] = { "a", "\u00e9" };
    char part[8192], text[3 * sizeof(part)];
    struct gr_jid *jid;

    (void)state;
    for (size_t u = 0; u < GR_COUNT(units); u++) {
        for (size_t len = 1023; len <= 1024; len++) {
            fill(part, len, units[u]);
            for (int f = 0; f < 3; f++) {
                int n = f == 0   ? snprintf(text, sizeof(text), "%s@b/c", part)
                        : f == 1 ? snprintf(text, sizeof(text), "a@%s/c", part)
                                 : snprintf(text, sizeof(text), "a@b/%s", part);

                assert_int_equal(n, len + 4);
                jid = parse(text);
                assert_true((jid != NULL) == (len == 1023));
                if (jid != NULL)
                    check(jid);
                gr_jid_free(&jid);
            }
        }
        fill(part, 1023, units[u]);
        snprintf(text, sizeof(text), "%s@%s/%s", part, part, part);
        jid = parse(text);
        assert_non_null(jid);
        assert_int_equal(jid->full_len, GR_JID_MAX);
        check(jid);
        gr_jid_free(&jid);
    }
    /* The limit is for the result: 1023 fullwidth letters of three bytes are 1023 bytes. */
    fill(part, 3 * 1023, "\uff21");
    strcpy(part + 3 * 1023, "@b");
    jid = parse(part);
    assert_non_null(jid);
    assert_int_equal(strlen(jid->node), 1023);
    check(jid);
    gr_jid_free(&jid);
    fill(part, 3 * 1024, "\uff21");
    strcpy(part + 3 * 1024, "@b");
    assert_null(parse(part));
    /* A dot that is stripped does not count. */
    fill(part, 1023, "a");
    strcat(part, ".");
    jid = parse(part);
    assert_non_null(jid);
    gr_jid_free(&jid);
    /* U+0130 takes two bytes and becomes three: 341 of them are 1023. */
    fill(part, 2 * 341, "\u0130");
    strcpy(part + 2 * 341, "@b");
    jid = parse(part);
    assert_non_null(jid);
    assert_int_equal(strlen(jid->node), 1023);
    gr_jid_free(&jid);
    fill(part, 2 * 342, "\u0130");
    strcpy(part + 2 * 342, "@b");
    assert_null(parse(part));
    /* Far too much is refused without looking. */
    fill(part, 8000, "\u0130");
    assert_null(parse(part));
}

static void test_capacity(void **state)
{
    char out[PREP_SIZE];

    (void)state;
    assert_int_equal(prep_node("abc", 3, out, 3), GR_EINVAL);
    assert_int_equal(prep_node("abc", 3, out, 4), 3);
    assert_int_equal(prep_node("ab\u00e9", 4, out, 4), GR_EINVAL);
    assert_int_equal(prep_node("ab\u00e9", 4, out, 5), 4);
    assert_int_equal(prep_resource("abc", 3, out, 3), GR_EINVAL);
    assert_int_equal(prep_domain("abc.", 4, out, 3), GR_EINVAL);
    assert_int_equal(prep_domain("abc.", 4, out, 4), 3);
    assert_int_equal(prep_domain("[::1]", 5, out, 5), GR_EINVAL);
    assert_int_equal(prep_domain("[::1]", 5, out, 6), 5);
}

/* Short cuts and ICU agree on every ASCII string of up to two characters, alone and in the middle
 * and at the ends of a longer one. */
static void test_ascii_paths_agree(void **state)
{
    int (*const prep[])(const char *, size_t, char *, size_t) = { prep_node, prep_resource,
                                                                  prep_domain, prep_password };
    static const enum prep_profile profiles[] = { PREP_NODE, PREP_RESOURCE, PREP_DOMAIN,
                                                  PREP_PASSWORD };
    char quick[PREP_SIZE], slow[PREP_SIZE], text[16];

    (void)state;
    for (size_t p = 0; p < GR_COUNT(profiles); p++) {
        for (int a = 0; a < 128; a++) {
            for (int b = -1; b < 128; b++) {
                for (int shape = 0; shape < 4; shape++) {
                    size_t n = 0;
                    int q, s;

                    if (shape == 1 || shape == 3)
                        text[n++] = 'x';
                    text[n++] = (char)a;
                    if (b >= 0)
                        text[n++] = (char)b;
                    if (shape >= 2)
                        text[n++] = 'N';
                    if (text[0] == '[' && profiles[p] == PREP_DOMAIN)
                        continue; /* not a name for ICU */
                    q = prep[p](text, n, quick, sizeof(quick));
                    s = prep_unicode(profiles[p], text, n, slow, sizeof(slow));
                    if (q != s || (q > 0 && strcmp(quick, slow) != 0))
                        fail_msg("profile %zu: \"%.*s\" %d %d", p, (int)n, text, q, s);
                    if (prep_is_plain(profiles[p], text, n) &&
                        (s != (int)n || memcmp(slow, text, n) != 0))
                        fail_msg("profile %zu: \"%.*s\" is not plain", p, (int)n, text);
                }
            }
        }
    }
    for (size_t len = 1022; len <= 1025; len++) {
        char big[1100];

        fill(big, len, "A");
        for (size_t p = 0; p < GR_COUNT(profiles); p++)
            assert_int_equal(prep[p](big, len, quick, sizeof(quick)),
                             prep_unicode(profiles[p], big, len, slow, sizeof(slow)));
        fill(big, len, "a");
        assert_int_equal(prep_is_plain(PREP_RESOURCE, big, len), len <= 1023);
    }
    assert_true(prep_is_plain(PREP_NODE, "romeo.m-1", 9));
    assert_true(prep_is_plain(PREP_DOMAIN, "muc.example.org", 15));
    assert_true(prep_is_plain(PREP_RESOURCE, "Home/@\"~", 8));
    assert_false(prep_is_plain(PREP_DOMAIN, "", 0));
}

/* Every code point alone, and before and after a letter: what comes out goes through unchanged. */
static void test_idempotent(void **state)
{
    int (*const prep[])(const char *, size_t, char *, size_t) = {
        prep_node, prep_resource, prep_domain, prep_password
    };
    char once[PREP_SIZE], twice[PREP_SIZE], utf8[16];
    int accepted = 0;

    (void)state;
    for (uint32_t c = 0x80; c < 0x110000; c += c < 0x3500 || (c > 0xa000 && c < 0xac00) ||
                                                  (c > 0xf900 && c < 0x1f800) ? 1 : 37) {
        size_t n = 0;

        if (c >= 0xd800 && c < 0xe000)
            continue;
        utf8[n++] = 'l';
        if (c < 0x800) {
            utf8[n++] = (char)(0xc0 | c >> 6);
        } else {
            if (c < 0x10000) {
                utf8[n++] = (char)(0xe0 | c >> 12);
            } else {
                utf8[n++] = (char)(0xf0 | c >> 18);
                utf8[n++] = (char)(0x80 | (c >> 12 & 63));
            }
            utf8[n++] = (char)(0x80 | (c >> 6 & 63));
        }
        utf8[n++] = (char)(0x80 | (c & 63));
        utf8[n++] = 'l';
        for (size_t p = 0; p < GR_COUNT(prep); p++) {
            for (int shape = 0; shape < 3; shape++) {
                const char *s = utf8 + (shape == 0);
                int len = (int)n - (shape == 0) - (shape < 2);
                int m = prep[p](s, (size_t)len, once, sizeof(once));

                if (m < 0)
                    continue;
                accepted++;
                if (prep[p](once, (size_t)m, twice, sizeof(twice)) != m ||
                    memcmp(once, twice, (size_t)m) != 0)
                    fail_msg("not stable: U+%04X, profile %zu, shape %d", c, p, shape);
            }
        }
    }
    assert_true(accepted > 100000);
}

static void test_portable(void **state)
{
    static const char *const good[] = {
        "juliet", "a.b-c_d", "\u00e9", "\u03c0", "\u4e2d\u6587", "\u05d0\u05d1", "foo\\20bar", "0",
    };
    static const char *const bad[] = {
        "", "Juliet", "a b", "a@b",
        "fu\u00dfball",                /* nodeprep: fussball */
        "\u017f",                      /* long s, nodeprep: s */
        "\uff21",                      /* fullwidth */
        "\U0001f600", "\u265a",        /* symbols */
        "\u03c2",                      /* final sigma, nodeprep: sigma */
        "e\u0301",                     /* not NFC */
        "\ufb01",
        "a\u00adb",
        "\u0915\u094d\u200d",          /* nodeprep drops the joiner */
        "\ua7b5",                      /* younger than Unicode 3.2 */
        "\xff",
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(good); i++)
        if (!gr_jid_node_is_portable(good[i]))
            fail_msg("not portable: %s", good[i]);
    for (size_t i = 0; i < GR_COUNT(bad); i++)
        if (gr_jid_node_is_portable(bad[i]))
            fail_msg("portable: %s", bad[i]);
}

static void test_make(void **state)
{
    struct gr_jid *jid = NULL;

    (void)state;
    assert_int_equal(gr_jid_make("A", "B.Example.", "C", &jid), 0);
    assert_string_equal(jid->full, "a@b.example/C");
    gr_jid_free(&jid);
    assert_int_equal(gr_jid_make(NULL, "b", NULL, &jid), 0);
    assert_string_equal(jid->full, "b");
    assert_ptr_equal(jid->full, jid->bare);
    gr_jid_free(&jid);
    gr_jid_free(&jid);
    assert_int_equal(gr_jid_make("", "b", NULL, &jid), GR_EINVAL);
    assert_int_equal(gr_jid_make(NULL, "b", "", &jid), GR_EINVAL);
    assert_int_equal(gr_jid_make(NULL, "", NULL, &jid), GR_EINVAL);
    assert_int_equal(gr_jid_make(NULL, NULL, "r", &jid), GR_EINVAL);
    /* Parts are parts: separators inside do not move the borders. */
    assert_int_equal(gr_jid_make("a@b", "c", NULL, &jid), GR_EINVAL);
    assert_int_equal(gr_jid_make("a", "b/c", NULL, &jid), GR_EINVAL);
    assert_int_equal(gr_jid_make("a", "b@c", NULL, &jid), GR_EINVAL);
    assert_null(jid);
}

static void test_derive(void **state)
{
    static const char *const texts[] = { "a@b.c/d", "a@b.c", "b.c/d", "b.c" };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(texts); i++) {
        struct gr_jid *jid = parse(texts[i]), *other = gr_jid_dup(jid), *third = NULL;

        assert_true(gr_jid_equal(jid, other));
        assert_ptr_not_equal(jid->full, other->full);
        gr_jid_free(&jid); /* the copy stands alone */
        check(other);
        assert_string_equal(other->full, texts[i]);
        assert_text(other->node, i < 2 ? "a" : NULL);
        assert_text(other->resource, i % 2 == 0 ? "d" : NULL);

        jid = gr_jid_dup_bare(other);
        check(jid);
        assert_string_equal(jid->full, i < 2 ? "a@b.c" : "b.c");
        assert_true(gr_jid_bare_equal(jid, other));
        assert_true(gr_jid_equal(jid, other) == (i % 2 == 1));
        assert_true(jid->hash == other->hash);

        assert_int_equal(gr_jid_with_resource(other, "\u00e9 x", &third), 0);
        check(third);
        assert_string_equal(third->resource, "\u00e9 x");
        assert_string_equal(third->bare, jid->bare);
        assert_false(gr_jid_equal(third, other));
        gr_jid_free(&third);
        assert_int_equal(gr_jid_with_resource(other, "", &third), GR_EINVAL);
        assert_int_equal(gr_jid_with_resource(other, " x", &third), GR_EINVAL);
        assert_int_equal(gr_jid_with_resource(other, NULL, &third), GR_EINVAL);
        assert_null(third);
        gr_jid_free(&jid);
        gr_jid_free(&other);
    }
}

static void *parse_much(void *arg)
{
    for (int i = 0; i < 300; i++) {
        struct gr_jid *jid = NULL;

        if (gr_jid_parse("\u00c9a@b\u00fccher.example/\u00a0", 22, &jid) == 0 ||
            gr_jid_parse("\u00c9a@b\u00fccher.example/x\u00a0", 23, &jid) != 0 ||
            !gr_jid_node_is_portable(jid->node))
            *(bool *)arg = true;
        gr_jid_free(&jid);
    }
    return NULL;
}

/* First in the program, so that the threads race to open ICU. */
static void test_threads(void **state)
{
    pthread_t threads[4];
    bool failed[4] = { false };

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, parse_much, &failed[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_false(failed[i]);
    }
}

static void test_list(void **state)
{
    static const char *const list[] = { "a@b.c", "b.c", "d@b.c/r", NULL }, *const none[] = { NULL };
    static const struct { const char *jid; bool in; } want[] = {
        { "a@b.c", true }, { "a@b.c/r", true }, { "b.c", true }, { "b.c/r", true },
        { "d@b.c/r", true }, { "d@b.c", false }, { "d@b.c/s", false }, { "x@b.c", false }
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(want); i++) {
        struct gr_jid *jid;

        assert_int_equal(gr_jid_parse(want[i].jid, strlen(want[i].jid), &jid), 0);
        assert_int_equal(gr_jid_in_list(list, jid), want[i].in);
        assert_false(gr_jid_in_list(none, jid));
        gr_jid_free(&jid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_rfc7622_legal),
        cmocka_unit_test(test_rfc7622_illegal),
        cmocka_unit_test(test_parsing),
        cmocka_unit_test(test_domains),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_resources_and_passwords),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_ascii_paths_agree),
        cmocka_unit_test(test_idempotent),
        cmocka_unit_test(test_portable),
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_derive),
    };

    return cmocka_run_group_tests_name("jid", tests, NULL, NULL);
}

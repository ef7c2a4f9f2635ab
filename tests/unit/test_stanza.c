/* Unit tests of xml/stanza*.c and xml/write.c. */
#include <grapnel/stanza.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "xml/stanza_internal.h"
#include "xml/write.h"

static struct gr_stanza *parse(const char *xml)
{
    struct gr_stanza *st = NULL;

    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    assert_non_null(st);
    return st;
}

static struct gr_jid *jid(const char *s)
{
    struct gr_jid *j = NULL;

    assert_int_equal(gr_jid_parse(s, strlen(s), &j), 0);
    return j;
}

/* to NULL: as it is; else a copy to that address. */
static void check_written(struct gr_stanza *st, const char *to, const char *want)
{
    struct gr_jid *other = to != NULL ? jid(to) : NULL;
    struct gr_stanza *copy = to != NULL ? gr_stanza_copy_to(st, other) : gr_stanza_ref(st);
    struct buf out = { 0 };

    stanza_write(&out, copy);
    assert_string_equal(buf_str(&out), want);
    buf_fini(&out);
    gr_stanza_unref(&copy);
    gr_jid_free(&other);
}

static void test_reading(void **state)
{
    struct gr_stanza *st = parse("<message from='A@Example.org/x' to='b@example.net' id='7' "
                                 "type='chat' xml:lang='cs'><body>hi <b>you</b> there</body>"
                                 "<x xmlns='urn:x'/><body>2</body></message>");
    struct gr_el *el;
    size_t len;

    (void)state;
    assert_int_equal(gr_stanza_kind(st), GR_MESSAGE);
    assert_int_equal(gr_stanza_type(st), GR_MSG_CHAT);
    assert_string_equal(gr_stanza_from(st)->full, "a@example.org/x");
    assert_string_equal(gr_el_attr(gr_stanza_root(st), "from"), "A@Example.org/x");
    assert_string_equal(gr_stanza_to(st)->full, "b@example.net");
    assert_string_equal(gr_stanza_id(st), "7");
    assert_string_equal(gr_stanza_lang(st), "cs");
    assert_string_equal(gr_el_attr(gr_stanza_root(st), "xml:lang"), "cs");
    assert_null(gr_el_attr(gr_stanza_root(st), "lang"));
    el = gr_stanza_child(st, GR_NS_CLIENT, "body");
    assert_string_equal(gr_el_text(el, &len), "hi  there");
    assert_int_equal(len, 9);
    assert_string_equal(gr_el_text(gr_el_child(el, NULL, "b"), NULL), "you");
    el = gr_el_next(el, NULL, NULL);
    assert_true(gr_el_is(el, "urn:x", "x"));
    assert_string_equal(gr_el_ns(el), "urn:x");
    assert_string_equal(gr_el_name(el), "x");
    assert_string_equal(gr_el_text(el, &len), "");
    assert_int_equal(len, 0);
    el = gr_el_next(el, NULL, "body");
    assert_string_equal(gr_el_text(el, NULL), "2");
    assert_null(gr_el_next(el, NULL, NULL));
    assert_null(gr_stanza_child(st, "urn:y", NULL));
    gr_stanza_unref(&st);
    assert_null(st);
    gr_stanza_unref(&st);
}

static void test_types(void **state)
{
    static const struct {
        const char *xml;
        enum gr_kind kind;
        enum gr_type type;
    } cases[] = {
        { "<message/>", GR_MESSAGE, GR_MSG_NORMAL },
        { "<message type='x'/>", GR_MESSAGE, GR_MSG_NORMAL },
        { "<message type='groupchat'/>", GR_MESSAGE, GR_MSG_GROUPCHAT },
        { "<message type='headline'/>", GR_MESSAGE, GR_MSG_HEADLINE },
        { "<message type='error'/>", GR_MESSAGE, GR_TYPE_ERROR },
        { "<iq/>", GR_IQ, GR_TYPE_INVALID },
        { "<iq type='subscribe'/>", GR_IQ, GR_TYPE_INVALID },
        { "<iq type='get'/>", GR_IQ, GR_GET },
        { "<iq type='set'/>", GR_IQ, GR_SET },
        { "<iq type='result'/>", GR_IQ, GR_RESULT },
        { "<iq type='error'/>", GR_IQ, GR_TYPE_ERROR },
        { "<presence/>", GR_PRESENCE, GR_AVAILABLE },
        { "<presence type='available'/>", GR_PRESENCE, GR_TYPE_INVALID },
        { "<presence type='unavailable'/>", GR_PRESENCE, GR_UNAVAILABLE },
        { "<presence type='probe'/>", GR_PRESENCE, GR_PROBE },
        { "<presence type='unsubscribed'/>", GR_PRESENCE, GR_UNSUBSCRIBED },
        { "<presence type='error'/>", GR_PRESENCE, GR_TYPE_ERROR },
        { "<message xmlns='jabber:server'/>", GR_NONZA, GR_TYPE_INVALID },
        { "<query/>", GR_NONZA, GR_TYPE_INVALID },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        struct gr_stanza *st = parse(cases[i].xml);

        assert_int_equal(gr_stanza_kind(st), cases[i].kind);
        assert_int_equal(gr_stanza_type(st), cases[i].type);
        gr_stanza_unref(&st);
    }
}

static void test_malformed_addresses(void **state)
{
    struct gr_stanza *st = parse("<message to='a@@b' from='c@example.org'/>");
    struct gr_jid *to = jid("d@example.org");

    (void)state;
    assert_null(gr_stanza_to(st));
    assert_true(stanza_to_malformed(st));
    assert_false(stanza_from_malformed(st));
    assert_string_equal(gr_el_attr(gr_stanza_root(st), "to"), "a@@b");
    gr_stanza_set_to(st, to);
    assert_false(stanza_to_malformed(st));
    check_written(st, NULL, "<message to='d@example.org' from='c@example.org'/>");
    gr_stanza_set_from(st, NULL);
    assert_null(gr_stanza_from(st));
    check_written(st, NULL, "<message to='d@example.org'/>");
    gr_el_set(st, gr_stanza_root(st), "from", "@");
    assert_true(stanza_from_malformed(st));
    gr_jid_free(&to);
    gr_stanza_unref(&st);

    st = parse("<message to=''/>");
    assert_true(stanza_to_malformed(st));
    gr_stanza_unref(&st);
}

static void test_building(void **state)
{
    struct gr_jid *from = jid("a@example.org/r"), *to = jid("example.net");
    struct gr_stanza *st = gr_iq_new(GR_GET, from, to, NULL);
    struct gr_el *query, *item;

    (void)state;
    assert_int_equal(strlen(gr_stanza_id(st)), GR_ID_SIZE - 1);
    gr_stanza_set_id(st, "i'1");
    query = gr_el_add(st, NULL, "urn:q", "query");
    gr_el_setf(st, query, "n", "%d", 7);
    item = gr_el_add_text(st, query, NULL, "item", "a<b & c>d\r\n'\"");
    gr_el_set(st, item, "xml:lang", "de");
    gr_el_append_text(st, query, "tail", 4);
    gr_el_append_text(st, query, "!", 1);
    gr_el_add_text(st, query, GR_NS_CLIENT, "body", NULL);
    assert_string_equal(gr_el_text(query, NULL), "tail!");
    check_written(st, NULL,
                  "<iq from='a@example.org/r' to='example.net' type='get' id='i&apos;1'>"
                  "<query xmlns='urn:q' n='7'><item xml:lang='de'>a&lt;b &amp; c&gt;d&#xD;\n'\""
                  "</item>tail!<body xmlns='jabber:client'/></query></iq>");
    gr_el_set(st, query, "n", "8");
    gr_el_set(st, item, "xml:lang", NULL);
    gr_el_remove(st, gr_el_child(query, GR_NS_CLIENT, "body"));
    check_written(st, "o@example.com",
                  "<iq from='a@example.org/r' to='o@example.com' type='get' id='i&apos;1'>"
                  "<query xmlns='urn:q' n='8'><item>a&lt;b &amp; c&gt;d&#xD;\n'\"</item>"
                  "tail!</query></iq>");
    gr_el_remove(st, query);
    assert_null(gr_stanza_payload(st));
    gr_stanza_unref(&st);

    st = gr_presence_new(GR_AVAILABLE, NULL, to);
    check_written(st, NULL, "<presence to='example.net'/>");
    gr_stanza_unref(&st);
    st = gr_message_new(GR_MSG_NORMAL, NULL, NULL);
    check_written(st, NULL, "<message/>");
    assert_null(gr_stanza_id(st));
    gr_stanza_unref(&st);
    st = gr_message_new(GR_MSG_CHAT, from, NULL);
    check_written(st, NULL, "<message from='a@example.org/r' type='chat'/>");
    assert_int_equal(gr_stanza_type(st), GR_MSG_CHAT);
    gr_stanza_unref(&st);
    gr_jid_free(&from);
    gr_jid_free(&to);
}

static void test_mixed_content_order(void **state)
{
    static const char xml[] = "<message><p xmlns='urn:h'>a<b>1</b>c<b>2</b><i/>d</p></message>";
    struct gr_stanza *st = parse(xml), *copy;

    (void)state;
    assert_string_equal(gr_el_text(gr_stanza_child(st, NULL, "p"), NULL), "acd");
    copy = gr_stanza_copy(st);
    gr_el_set(copy, gr_stanza_child(copy, NULL, "p"), "k", NULL); /* no raw any more */
    check_written(copy, NULL, xml);
    gr_el_append_text(copy, gr_stanza_child(copy, NULL, "p"), "e", 1);
    gr_el_remove(copy, gr_el_child(gr_stanza_child(copy, NULL, "p"), NULL, "b"));
    check_written(copy, NULL, "<message><p xmlns='urn:h'>ac<b>2</b><i/>de</p></message>");
    gr_stanza_unref(&copy);
    check_written(st, NULL, xml);
    gr_stanza_unref(&st);
}

/* --- copies to another address --- */

/* Such a copy and an ordinary one that was given the address cannot be told apart. */
static void check_alike(struct gr_stanza *copy, struct gr_stanza *plain)
{
    struct gr_stanza *second = gr_stanza_copy(copy);
    char *a = gr_el_xml(gr_stanza_root(copy), NULL), *b = gr_el_xml(gr_stanza_root(plain), NULL);
    struct gr_stanza *wrap[2] = { gr_nonza_new("urn:w", "w"), gr_nonza_new("urn:w", "w") };
    const struct gr_el *x = gr_stanza_payload(copy), *y = gr_stanza_payload(plain);
    struct buf out = { 0 };

    assert_int_equal(gr_stanza_kind(copy), gr_stanza_kind(plain));
    assert_int_equal(gr_stanza_type(copy), gr_stanza_type(plain));
    assert_true(gr_jid_equal(gr_stanza_to(copy), gr_stanza_to(plain)));
    assert_string_equal(gr_el_attr(gr_stanza_root(copy), "to"), gr_stanza_to(plain)->full);
    assert_int_equal(stanza_from_malformed(copy), stanza_from_malformed(plain));
    assert_false(stanza_to_malformed(copy));
    assert_true((gr_stanza_from(copy) == NULL) == (gr_stanza_from(plain) == NULL));
    if (gr_stanza_id(plain) != NULL)
        assert_string_equal(gr_stanza_id(copy), gr_stanza_id(plain));
    if (gr_stanza_lang(plain) != NULL)
        assert_string_equal(gr_stanza_lang(copy), gr_stanza_lang(plain));
    for (; x != NULL && y != NULL; x = gr_el_next(x, NULL, NULL), y = gr_el_next(y, NULL, NULL))
        assert_string_equal(gr_el_text(x, NULL), gr_el_text(y, NULL));
    assert_true(x == NULL && y == NULL);
    assert_string_equal(a, b);
    gr_el_append(wrap[0], NULL, gr_stanza_root(copy));
    gr_el_append(wrap[1], NULL, gr_stanza_root(plain));
    assert_string_equal(gr_stanza_xml(wrap[0], NULL), gr_stanza_xml(wrap[1], NULL));
    stanza_write(&out, copy);
    assert_string_equal(buf_str(&out), gr_stanza_xml(plain, NULL));
    assert_string_equal(gr_stanza_xml(copy, NULL), gr_stanza_xml(plain, NULL));
    assert_string_equal(gr_stanza_xml(second, NULL), gr_stanza_xml(plain, NULL));
    buf_fini(&out);
    gr_free(a);
    gr_free(b);
    gr_stanza_unref(&wrap[0]);
    gr_stanza_unref(&wrap[1]);
    gr_stanza_unref(&second);
}

static const char *const addressed[] = {
    "<presence/>",
    "<presence from='A@example.org/r' to='B@example.net' id='i&apos;1' xml:lang='cs'>"
    "<show>away</show><c xmlns='urn:caps' hash='sha-1' v='1'/>t</presence>",
    "<message xmlns:p='urn:p' p:k='v' from='@' to=''  p:l='w' type='chat'>a"
    "<p  xmlns=\"urn:h\">a<b><c>&#65;</c></b>c<b xmlns='jabber:client'><i/></b>d</p>e</message>",
    "<iq type='get' id='7'><query xmlns='urn:q'/></iq>",
    "<iq type='set' id='8'><q  xmlns=\"urn:raw\" >kept <a   b='c'></a> as it came</q></iq>",
};

static void test_copy_to(void **state)
{
    struct gr_jid *one = jid("one@example.net/R s'"), *two = jid("two.example.net");

    (void)state;
    for (size_t i = 0; i < 3 * GR_COUNT(addressed); i++) {
        struct gr_stanza *st = parse(addressed[i / 3]), *plain = gr_stanza_copy(st), *copy, *again;
        char *before;

        if (i % 3 != 0) { /* not raw; and raw with something behind it */
            if (i % 3 == 1)
                st->raw = NULL;
            gr_el_add_text(st, NULL, "urn:new", "new", "<");
            gr_stanza_unref(&plain);
            plain = gr_stanza_copy(st);
        }
        before = gr_strdup(gr_stanza_xml(st, NULL));
        copy = gr_stanza_copy_to(st, one);
        again = gr_stanza_copy_to(copy, two);
        gr_stanza_set_to(plain, one);
        check_alike(copy, plain);
        assert_string_equal(gr_stanza_xml(st, NULL), before);
        gr_stanza_unref(&st); /* the base goes first */
        check_alike(copy, plain);
        gr_stanza_unref(&copy);
        gr_stanza_set_to(plain, two);
        check_alike(again, plain);
        gr_stanza_unref(&again);
        gr_stanza_unref(&plain);
        gr_free(before);
    }
    gr_jid_free(&one);
    gr_jid_free(&two);
}

static void edit_somehow(struct gr_stanza *st, int how)
{
    struct gr_jid *other = jid("other@example.com");
    struct gr_el *first;

    switch (how) {
    case 0:
        gr_stanza_set_id(st, "new");
        break;
    case 1:
        gr_stanza_set_from(st, other);
        gr_stanza_set_from(st, gr_stanza_from(st));
        break;
    case 2:
        gr_stanza_set_to(st, NULL);
        break;
    case 3:
        gr_el_set(st, gr_stanza_root(st), "xml:lang", NULL);
        break;
    case 4:
        gr_el_set(st, gr_stanza_root(st), "type", "error");
        break;
    case 5:
        gr_stanza_add_delay(st, "d", 0);
        break;
    case 6:
        first = gr_stanza_payload(st);
        gr_el_append(st, NULL, first != NULL ? first : gr_el_add(st, NULL, NULL, "e"));
        break;
    default: /* below the root, after a first change */
        gr_el_add_text(st, NULL, "urn:x", "x", NULL);
        first = gr_el_child(gr_stanza_root(st), NULL, NULL);
        gr_el_append_text(st, first, "more", 4);
        gr_el_set(st, first, "k", "v");
        gr_el_remove(st, gr_stanza_child(st, "urn:x", "x"));
        break;
    }
    gr_jid_free(&other);
}

/* Whatever is changed in one leaves the others alone, and gives what a plain copy would give. */
static void test_copy_to_edited(void **state)
{
    struct gr_jid *one = jid("one@example.net/r"), *two = jid("two@example.net");

    (void)state;
    for (size_t i = 0; i < 8 * GR_COUNT(addressed); i++) {
        struct gr_stanza *st = parse(addressed[i / 8]), *plain = gr_stanza_copy(st), *copy,
                         *sibling, *child;
        char *was = gr_strdup(gr_stanza_xml(st, NULL)), *sibling_was;
        const struct gr_el *read;

        gr_stanza_set_to(plain, one);
        copy = gr_stanza_copy_to(st, one);
        sibling = gr_stanza_copy_to(st, two);
        sibling_was = gr_strdup(gr_stanza_xml(sibling, NULL));
        read = gr_stanza_payload(copy);
        if (i % 2 != 0)
            gr_stanza_xml(copy, NULL); /* a text of its own, soon wrong */
        edit_somehow(copy, (int)(i % 8));
        edit_somehow(plain, (int)(i % 8));
        assert_string_equal(gr_stanza_xml(st, NULL), was);
        assert_string_equal(gr_stanza_xml(sibling, NULL), sibling_was);
        gr_stanza_unref(&sibling);
        gr_stanza_unref(&st);
        assert_string_equal(gr_stanza_xml(copy, NULL), gr_stanza_xml(plain, NULL));
        if (read != NULL) /* what was read before the change is still there */
            assert_non_null(gr_el_name(read));
        child = gr_stanza_copy_to(copy, two); /* an edited one as the base */
        gr_stanza_unref(&copy);
        gr_stanza_set_to(plain, two);
        check_alike(child, plain);
        gr_stanza_unref(&child);
        gr_stanza_unref(&plain);
        gr_free(was);
        gr_free(sibling_was);
    }
    gr_jid_free(&one);
    gr_jid_free(&two);
}

struct addressee {
    struct gr_stanza *base, *copy;
    struct gr_jid *to;
};

static void *write_copies(void *ctx)
{
    struct addressee *a = ctx;
    char want[128];
    bool ok = true;

    snprintf(want, sizeof(want), "<message from='a@b/c' to='%s'><body >ab</body></message>",
             a->to->full);
    for (int i = 0; i < 50; i++) {
        struct gr_stanza *copy = gr_stanza_ref(a->copy), *mine;
        struct buf out = { 0 };

        stanza_write(&out, copy);
        ok = ok && strcmp(buf_str(&out), want) == 0;
        mine = gr_stanza_copy_to(i % 2 != 0 ? a->base : copy, a->to);
        gr_stanza_unref(&copy);
        gr_stanza_set_id(mine, "1"); /* the sole holder of this one */
        ok = ok && strcmp(gr_el_text(gr_stanza_child(mine, NULL, "body"), NULL), "ab") == 0;
        gr_stanza_unref(&mine);
        buf_fini(&out);
    }
    gr_stanza_unref(&a->base);
    gr_stanza_unref(&a->copy);
    return ok ? ctx : NULL;
}

/* For make tsan: copies of one stanza on several threads, which let go of it in any order. */
static void test_copy_to_threads(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct gr_stanza *st = parse("<message from='a@b/c'><body >ab</body></message>");
        struct addressee a[4];
        pthread_t threads[4];
        void *result;

        for (int i = 0; i < 4; i++) {
            char text[16];

            snprintf(text, sizeof(text), "x%d@y", i);
            a[i].to = jid(text);
            a[i].base = gr_stanza_ref(st);
            a[i].copy = gr_stanza_copy_to(st, a[i].to);
        }
        gr_stanza_unref(&st);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, write_copies, &a[i]), 0);
        for (int i = 0; i < 4; i++) {
            pthread_join(threads[i], &result);
            assert_non_null(result);
            gr_jid_free(&a[i].to);
        }
    }
}

/* What is kept for long takes no more than it needs. */
static void test_copy_fits(void **state)
{
    static const char *const cases[] = {
        "<presence/>",
        ("<presence from='a@example.org/r' to='b@example.net' xml:lang='cs' xmlns:p='urn:p' "
         "p:k='v'><show>away</show><c xmlns='urn:caps' hash='sha-1' node='n' ver='v'/></presence>"),
        "<message from='@' to=''>a<p xmlns='urn:h'>a<b>1</b>c<b>2</b><i/>d</p>e</message>",
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        struct gr_stanza *st = parse(cases[i]), *copy = gr_stanza_copy(st);
        /* A block of an arena begins with the block before it. */
        const void *const *block = (const void *)copy->arena.last;

        assert_null(*block);
        assert_true(copy->arena.next_size / 2 < copy->arena.used + 16 * 24);
        assert_string_equal(gr_stanza_xml(copy, NULL), gr_stanza_xml(st, NULL));
        gr_el_append_text(st, gr_stanza_root(st), "", 0); /* not raw any more */
        gr_el_append_text(copy, gr_stanza_root(copy), "", 0);
        assert_string_equal(gr_stanza_xml(copy, NULL), gr_stanza_xml(st, NULL));
        gr_stanza_unref(&copy);
        gr_stanza_unref(&st);
    }
}

static void test_raw_payload(void **state)
{
    /* Two spaces in a tag and the quotes tell raw from rewritten. */
    static const char xml[] = "<message  to=\"A@example.org\">"
                              "<x  xmlns=\"urn:x\">&#65;</x></message>";
    struct gr_stanza *st = parse(xml), *copy = gr_stanza_copy(st);
    struct gr_jid *to = jid("b@example.org/r");
    struct gr_el *added;

    (void)state;
    check_written(st, NULL, "<message to='a@example.org'><x  xmlns=\"urn:x\">&#65;</x></message>");
    gr_stanza_set_to(st, to);
    gr_stanza_set_id(st, "1");
    gr_el_set(st, gr_stanza_root(st), "xml:lang", "en");
    check_written(st, NULL, "<message to='b@example.org/r' id='1' xml:lang='en'>"
                            "<x  xmlns=\"urn:x\">&#65;</x></message>");
    /* Appending keeps what came; the copy carries raw too. */
    added = gr_el_add(st, NULL, "urn:s", "s");
    gr_el_set(st, added, "id", "9");
    check_written(st, NULL, "<message to='b@example.org/r' id='1' xml:lang='en'>"
                            "<x  xmlns=\"urn:x\">&#65;</x><s xmlns='urn:s' id='9'/></message>");
    gr_stanza_unref(&copy);
    copy = gr_stanza_copy(st);
    check_written(copy, "c@d", "<message to='c@d' id='1' xml:lang='en'>"
                               "<x  xmlns=\"urn:x\">&#65;</x><s xmlns='urn:s' id='9'/></message>");
    gr_el_remove(copy, gr_stanza_child(copy, "urn:s", NULL));
    check_written(copy, "c@d", "<message to='c@d' id='1' xml:lang='en'>"
                               "<x  xmlns=\"urn:x\">&#65;</x></message>");
    gr_el_set(copy, gr_stanza_child(copy, "urn:x", NULL), "k", "v");
    check_written(copy, "c@d", "<message to='c@d' id='1' xml:lang='en'>"
                               "<x xmlns='urn:x' k='v'>A</x></message>");
    gr_el_append_text(st, gr_stanza_root(st), "t", 1);
    check_written(st, NULL, "<message to='b@example.org/r' id='1' xml:lang='en'>"
                            "<x xmlns='urn:x'>A</x><s xmlns='urn:s' id='9'/>t</message>");
    gr_stanza_unref(&st);
    gr_stanza_unref(&copy);
    st = parse(xml);
    gr_el_remove(st, gr_stanza_child(st, NULL, "x"));
    check_written(st, NULL, "<message to='a@example.org'/>");
    gr_stanza_unref(&st);
    gr_jid_free(&to);
}

/* Payloads that may not be forwarded as they came. */
static void test_not_raw(void **state)
{
    static const char *const cases[][2] = {
        { "<m xmlns:p='urn:p'><p:a  p:k='v'/></m>",
          "<m><a xmlns='urn:p' xmlns:ns1='urn:p' ns1:k='v'/></m>" },
        { "<m><a  xmlns='jabber:client'/></m>", "<m><a/></m>" },
        { "<m><a  xmlns='jabber:server'/></m>", "<m><a xmlns='jabber:server'/></m>" },
        { "<m><![CDATA[<x>]]></m>", "<m>&lt;x&gt;</m>" },
        { "<p:m xmlns:p='urn:p'><a  /></p:m>", "<m xmlns='urn:p'><a xmlns='jabber:client'/></m>" },
        { "<m><a><p:b xmlns:p='urn:p'/></a><a><b  xmlns:p='u'/></a></m>",
          "<m><a><p:b xmlns:p='urn:p'/></a><a><b  xmlns:p='u'/></a></m>" }, /* raw after all */
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        struct gr_stanza *st = parse(cases[i][0]);

        check_written(st, NULL, cases[i][1]);
        gr_stanza_unref(&st);
    }
}

static void test_namespaced_attributes(void **state)
{
    struct gr_stanza *st = parse("<message xmlns:p='urn:p' xmlns:q='urn:q&amp;' a='0' p:a='1' "
                                 "q:a='2' p:b='3' xml:space='preserve' xmlns='urn:m'/>"),
                     *again;

    (void)state;
    check_written(st, NULL, "<message xmlns='urn:m' a='0' xmlns:ns2='urn:p' ns2:a='1' "
                            "xmlns:ns3='urn:q&amp;' ns3:a='2' ns2:b='3' xml:space='preserve'/>");
    again = parse(gr_stanza_xml(st, NULL));
    assert_string_equal(gr_stanza_xml(again, NULL), gr_stanza_xml(st, NULL));
    gr_stanza_unref(&again);
    gr_stanza_unref(&st);
}

static void test_stream_elements(void **state)
{
    struct gr_stanza *st = gr_nonza_new(GR_NS_STREAM, "features");
    struct gr_el *mechs = gr_el_add(st, NULL, "urn:ietf:params:xml:ns:xmpp-sasl", "mechanisms");

    (void)state;
    gr_el_add_text(st, mechs, NULL, "mechanism", "PLAIN");
    gr_el_add(st, NULL, GR_NS_CLIENT, "c");
    check_written(st, NULL,
                  "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                  "<mechanism>PLAIN</mechanism></mechanisms><c/></stream:features>");
    assert_string_equal(gr_stanza_xml(st, NULL),
                        "<features xmlns='http://etherx.jabber.org/streams'>"
                        "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                        "<mechanism>PLAIN</mechanism></mechanisms>"
                        "<c xmlns='jabber:client'/></features>");
    gr_stanza_unref(&st);
    st = gr_nonza_new(GR_NS_STREAM, "features");
    check_written(st, NULL, "<stream:features/>");
    gr_stanza_unref(&st);
}

static void test_escaping(void **state)
{
    static const struct {
        const char *in;
        size_t len;
        const char *text, *attr;
    } cases[] = {
        { "plain", 5, "plain", "plain" },
        { "<>&'\"\t\n\r", 8, "&lt;&gt;&amp;'\"\t\n&#xD;",
          "&lt;&gt;&amp;&apos;&quot;&#x9;&#xA;&#xD;" },
        { "a\0b\x01\x1f\x7f", 6, "a\uFFFDb\uFFFD\uFFFD\x7f", "a\uFFFDb\uFFFD\uFFFD\x7f" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\u00e9\u20ac\U0001F600",
          "\u00e9\u20ac\U0001F600" },
        { "\xc3", 1, "\uFFFD", "\uFFFD" },
        { "\xc0\x80", 2, "\uFFFD\uFFFD", "\uFFFD\uFFFD" },
        { "\xed\xa0\x80", 3, "\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD" },
        { "\xef\xbf\xbe", 3, "\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD" },
        { "\xf4\x90\x80\x80!", 5, "\uFFFD\uFFFD\uFFFD\uFFFD!", "\uFFFD\uFFFD\uFFFD\uFFFD!" },
        { "\xe0\x80\x80", 3, "\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD" },
        { "]]>", 3, "]]&gt;", "]]&gt;" },
    };
    struct buf out = { 0 };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        xml_escape_text(&out, cases[i].in, cases[i].len);
        assert_string_equal(buf_str(&out), cases[i].text);
        buf_consume(&out, buf_len(&out));
        xml_escape_attr(&out, cases[i].in, cases[i].len);
        assert_string_equal(buf_str(&out), cases[i].attr);
        buf_consume(&out, buf_len(&out));
    }
    for (char c = ' '; c < 0x7f; c++) { /* of printable ASCII, these five alone */
        char in[] = { 'a', c, 'b', '\0' };
        xml_escape_attr(&out, in, 3);
        assert_true((strcmp(buf_str(&out), in) != 0) == (strchr("&<>'\"", c) != NULL));
        buf_consume(&out, buf_len(&out));
    }
    buf_fini(&out);
}

static void test_conditions(void **state)
{
    static const struct {
        int err;
        enum gr_cond want;
    } errors[] = {
        { 0, GR_COND_NONE },
        { GR_ENOMEM, GR_RESOURCE_CONSTRAINT },
        { GR_EINVAL, GR_BAD_REQUEST },
        { GR_EFULL, GR_RESOURCE_CONSTRAINT },
        { GR_EIO, GR_INTERNAL_SERVER_ERROR },
        { GR_ENOENT, GR_ITEM_NOT_FOUND },
        { GR_EEXIST, GR_CONFLICT },
        { GR_EAGAIN, GR_RESOURCE_CONSTRAINT },
        { GR_ECANCELED, GR_INTERNAL_SERVER_ERROR },
        { GR_ELIMIT, GR_POLICY_VIOLATION },
        { GR_ENOTSUP, GR_FEATURE_NOT_IMPLEMENTED },
    };

    (void)state;
    for (int c = GR_BAD_REQUEST; c <= GR_UNEXPECTED_REQUEST; c++) {
        struct gr_stanza *st = parse("<message id='1'/>"), *reply = gr_error_reply(st, c, NULL);

        assert_non_null(gr_cond_type(c));
        assert_int_equal(gr_stanza_cond(reply), c);
        assert_int_equal(gr_stanza_cond(st), GR_COND_NONE);
        gr_stanza_unref(&reply);
        gr_stanza_unref(&st);
    }
    assert_string_equal(gr_cond_name(GR_UNEXPECTED_REQUEST), "unexpected-request");
    assert_string_equal(gr_cond_type(GR_FORBIDDEN), "auth");
    for (size_t i = 0; i < GR_COUNT(errors); i++)
        assert_int_equal(gr_cond_of(errors[i].err), errors[i].want);
}

static void check_error(const char *xml, const char *text, const char *want)
{
    struct gr_stanza *st = parse(xml), *reply = gr_error_reply(st, GR_ITEM_NOT_FOUND, text);

    if (want == NULL)
        assert_null(reply);
    else
        check_written(reply, NULL, want);
    gr_stanza_unref(&reply);
    gr_stanza_unref(&st);
}

static void test_error_reply(void **state)
{
    (void)state;
    check_error("<iq type='get' id='x' from='a@b/c' to='d'><q xmlns='urn:q'><i/></q></iq>", NULL,
                "<iq from='d' to='a@b/c' type='error' id='x'><q xmlns='urn:q'><i/></q>"
                "<error type='cancel'><item-not-found "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>");
    check_error("<message id='x' from='a@b/c' to='d'><body>t</body></message>", "gone & away",
                "<message from='d' to='a@b/c' type='error' id='x'>"
                "<error type='cancel'><item-not-found "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>gone &amp; away"
                "</text></error></message>");
    /* 8.3.1: a malformed address is not repeated; an absent iq id is answered with an empty one. */
    check_error("<iq type='bogus' to='@'/>", NULL,
                "<iq type='error' id=''><error type='cancel'><item-not-found "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>");
    check_error("<presence to='d'/>", NULL,
                "<presence from='d' type='error'><error type='cancel'><item-not-found "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>");
    check_error("<iq type='result' id='1'/>", NULL, NULL);
    check_error("<iq type='error' id='1'/>", NULL, NULL);
    check_error("<message type='error'/>", NULL, NULL);
    check_error("<presence type='error'/>", NULL, NULL);
    check_error("<auth xmlns='urn:a'/>", NULL, NULL);
}

static void test_error_reading(void **state)
{
    struct gr_stanza *st = parse("<iq type='error'><q xmlns='u'/><error><new xmlns='"
                                 GR_NS_STANZAS "'/></error></iq>");

    (void)state;
    assert_int_equal(gr_stanza_cond(st), GR_UNDEFINED_CONDITION);
    assert_true(gr_el_is(gr_stanza_payload(st), "u", "q"));
    gr_stanza_unref(&st);
    st = parse("<iq type='error'><error><text xmlns='" GR_NS_STANZAS "'>x</text><gone xmlns='"
               GR_NS_STANZAS "'>y</gone></error></iq>");
    assert_int_equal(gr_stanza_cond(st), GR_GONE);
    assert_null(gr_stanza_payload(st));
    gr_stanza_unref(&st);
}

static void test_iq_result(void **state)
{
    struct gr_stanza *st = parse("<iq type='get' id='x' from='a@b/c' to='d'><q xmlns='u'/></iq>"),
                     *reply = gr_iq_result(st);

    (void)state;
    check_written(reply, NULL, "<iq from='d' to='a@b/c' type='result' id='x'/>");
    gr_stanza_unref(&reply);
    gr_stanza_unref(&st);
}

static void test_priority(void **state)
{
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        { "0", 0 }, { "127", 127 }, { "-128", -128 }, { "+5", 5 }, { " 7\n", 7 }, { "007", 7 },
        { "128", GR_PRIORITY_INVALID }, { "-129", GR_PRIORITY_INVALID },
        { "", GR_PRIORITY_INVALID }, { "-", GR_PRIORITY_INVALID }, { "1 2", GR_PRIORITY_INVALID },
        { "1.5", GR_PRIORITY_INVALID }, { "99999999999999999999", GR_PRIORITY_INVALID },
        { "0x1", GR_PRIORITY_INVALID },
    };
    struct gr_stanza *st = gr_presence_new(GR_AVAILABLE, NULL, NULL);

    (void)state;
    assert_int_equal(gr_presence_priority(st), 0);
    gr_stanza_unref(&st);
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        st = gr_presence_new(GR_AVAILABLE, NULL, NULL);
        gr_el_add_text(st, NULL, NULL, "priority", cases[i].text);
        assert_int_equal(gr_presence_priority(st), cases[i].want);
        gr_stanza_unref(&st);
    }
}

static void test_delay(void **state)
{
    struct gr_stanza *st = parse("<message><body>x</body></message>");

    (void)state;
    gr_stanza_add_delay(st, "example.org", 0);
    gr_stanza_add_delay(st, NULL, 1500);
    assert_string_equal(gr_el_attr(gr_stanza_child(st, GR_NS_DELAY, "delay"), "from"),
                        "example.org");
    assert_string_equal(gr_el_attr(gr_stanza_child(st, GR_NS_DELAY, "delay"), "stamp"),
                        "1970-01-01T00:00:00.000Z");
    gr_stanza_unref(&st);
}

static void test_append_and_el_xml(void **state)
{
    struct gr_stanza *st = parse("<message from='a@b'><body>x</body></message>"),
                     *out = gr_message_new(GR_MSG_NORMAL, NULL, NULL);
    struct gr_el *fwd = gr_el_add(out, NULL, "urn:xmpp:forward:0", "forwarded");
    char *xml;
    size_t len;

    (void)state;
    gr_el_append(out, fwd, gr_stanza_root(st));
    check_written(out, NULL,
                  "<message><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' "
                  "from='a@b'><body>x</body></message></forwarded></message>");
    xml = gr_el_xml(fwd, &len);
    assert_string_equal(xml, "<forwarded xmlns='urn:xmpp:forward:0'><message "
                             "xmlns='jabber:client' from='a@b'><body>x</body></message>"
                             "</forwarded>");
    assert_int_equal(len, strlen(xml));
    gr_free(xml);
    xml = gr_el_xml(gr_stanza_child(st, NULL, "body"), NULL);
    assert_string_equal(xml, "<body xmlns='jabber:client'>x</body>");
    gr_free(xml);
    /* An element may be appended to its own stanza. */
    gr_el_append(out, NULL, fwd);
    assert_non_null(gr_el_next(fwd, "urn:xmpp:forward:0", "forwarded"));
    gr_stanza_unref(&out);
    gr_stanza_unref(&st);
}

static void test_parse_errors(void **state)
{
    static const struct {
        const char *xml;
        int want;
    } cases[] = {
        { "", GR_EINVAL }, { "  ", GR_EINVAL }, { "<a>", GR_EINVAL }, { "<a/><b/>", GR_EINVAL },
        { "<a/>x", GR_EINVAL }, { "</x>", GR_EINVAL }, { "<a/></x>", GR_EINVAL },
        { "<a/><", GR_EINVAL }, { "<a><!-- --></a>", GR_EINVAL }, { "<p:a/>", GR_EINVAL },
        { "<a>&x;</a>", GR_EINVAL }, { "<a/><![CDATA[", GR_EINVAL }, { " <a/>\n", 0 },
    };
    struct gr_stanza *st = NULL;
    struct buf deep = { 0 };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        assert_int_equal(gr_stanza_parse(cases[i].xml, strlen(cases[i].xml), &st), cases[i].want);
        assert_true((st != NULL) == (cases[i].want == 0));
        gr_stanza_unref(&st);
    }
    for (int i = 0; i < 257; i++)
        buf_puts(&deep, "<a>");
    assert_int_equal(gr_stanza_parse(buf_data(&deep), buf_len(&deep), &st), GR_ELIMIT);
    buf_fini(&deep);
}

/* A cached text follows every change. */
static void test_cache(void **state)
{
    struct gr_stanza *st = gr_message_new(GR_MSG_CHAT, NULL, NULL), *other;
    size_t len;

    (void)state;
    assert_string_equal(gr_stanza_xml(st, &len), "<message type='chat'/>");
    assert_int_equal(len, 22);
    gr_el_add_text(st, NULL, NULL, "body", "b");
    assert_string_equal(gr_stanza_xml(st, NULL), "<message type='chat'><body>b</body></message>");
    gr_stanza_set_id(st, "5");
    assert_string_equal(gr_stanza_xml(st, NULL),
                        "<message type='chat' id='5'><body>b</body></message>");
    other = gr_stanza_ref(st);
    check_written(st, "x@y", "<message type='chat' id='5' to='x@y'><body>b</body></message>");
    gr_stanza_unref(&other);
    gr_el_set(st, gr_stanza_root(st), "type", "headline");
    assert_int_equal(gr_stanza_type(st), GR_MSG_HEADLINE);
    check_written(st, NULL, "<message type='headline' id='5'><body>b</body></message>");
    gr_stanza_unref(&st);
}

/* What is written once needs no cache, however many hold it; the second time makes one. */
static void test_cache_by_writing(void **state)
{
    struct gr_stanza *st = gr_message_new(GR_MSG_CHAT, NULL, NULL), *other = gr_stanza_ref(st);

    (void)state;
    check_written(st, NULL, "<message type='chat'/>");
    assert_null(atomic_load(&st->cache));
    check_written(other, NULL, "<message type='chat'/>");
    assert_non_null(atomic_load(&st->cache));
    check_written(st, "x@y", "<message type='chat' to='x@y'/>");
    check_written(other, NULL, "<message type='chat'/>");
    gr_stanza_unref(&st);
    gr_stanza_unref(&other);
}

static void *reader(void *ctx)
{
    struct gr_stanza *st = ctx;
    struct buf out = { 0 };
    const char *first;

    stanza_write(&out, st);
    first = gr_stanza_xml(st, NULL);
    if (strncmp(buf_str(&out), first, buf_len(&out)) != 0)
        return NULL;
    buf_consume(&out, buf_len(&out));

    for (int i = 0; i < 200; i++) {
        struct gr_stanza *ref = gr_stanza_ref(st);

        stanza_write(&out, ref);
        if (gr_stanza_xml(ref, NULL) != first ||
            strcmp(gr_el_text(gr_stanza_child(ref, NULL, "body"), NULL), "ab") != 0)
            first = NULL;
        gr_stanza_unref(&ref);
        buf_consume(&out, buf_len(&out));
    }
    buf_fini(&out);
    gr_stanza_unref(&st);
    return (void *)first;
}

/* For make tsan: several threads read and let go of one stanza. */
static void test_shared(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct gr_stanza *st = parse("<message from='a@b/c'><body >ab</body></message>"),
                         *made = gr_message_new(GR_MSG_CHAT, NULL, NULL);
        pthread_t threads[4];
        void *result[4];

        gr_el_append_text(made, gr_el_add_text(made, NULL, NULL, "body", "a"), "b", 1);
        if (round % 2 != 0) { /* raw, and from the tree */
            gr_stanza_unref(&st);
            st = gr_stanza_ref(made);
        }
        gr_stanza_unref(&made);
        for (size_t i = 0; i < GR_COUNT(threads); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, reader, gr_stanza_ref(st)), 0);
        for (size_t i = 0; i < GR_COUNT(threads); i++) {
            pthread_join(threads[i], &result[i]);
            assert_non_null(result[i]);
            assert_ptr_equal(result[i], result[0]);
        }
        gr_stanza_unref(&st);
    }
}

static void test_much_text(void **state)
{
    struct gr_stanza *st = gr_message_new(GR_MSG_CHAT, NULL, NULL);
    struct gr_el *body = gr_el_add(st, NULL, NULL, "body");
    size_t len;

    (void)state;
    for (int i = 0; i < 100000; i++)
        gr_el_append_text(st, body, "0123456789", 10);
    gr_el_text(body, &len);
    assert_int_equal(len, 1000000);
    assert_true(st->arena.used < 4000000);
    gr_stanza_unref(&st);
}

static void test_set_text(void **state)
{
    struct gr_stanza *st = parse("<message><body xml:lang='en'>a<b/>c</body><x>y</x></message>");
    struct gr_el *body = gr_stanza_child(st, NULL, "body");

    (void)state;
    gr_el_set_text(st, body, "d & e");
    assert_string_equal(gr_el_text(body, NULL), "d & e");
    gr_el_set_text(st, gr_stanza_child(st, NULL, "x"), NULL);
    assert_string_equal(gr_stanza_xml(st, NULL),
                        "<message><body xml:lang='en'><b/>d &amp; e</body><x/></message>");
    gr_el_set_text(st, body, "f");
    gr_el_append_text(st, body, "g", 1);
    gr_el_add(st, body, NULL, "h");
    gr_el_set_int(st, body, "n", INT64_MIN);
    assert_string_equal(gr_stanza_xml(st, NULL),
                        "<message><body xml:lang='en' n='-9223372036854775808'><b/>fg<h/></body>"
                        "<x/></message>");
    gr_stanza_unref(&st);
}

static void test_payload_as_text(void **state)
{
    static const char text[] = "<x xmlns='urn:x' a='1'>deep</x>";
    struct gr_jid *a = jid("a@b"), *c = jid("c@d");
    struct gr_stanza *st = gr_message_new(GR_MSG_NORMAL, NULL, a), *copy;

    (void)state;
    gr_el_add(st, NULL, "urn:x", "x");
    gr_stanza_set_payload(st, text, sizeof(text) - 1);
    check_written(st, NULL, "<message to='a@b'><x xmlns='urn:x' a='1'>deep</x></message>");
    assert_non_null(gr_stanza_child(st, "urn:x", "x"));
    copy = gr_stanza_copy_to(st, c);
    gr_el_add(copy, NULL, "urn:y", "y");
    check_written(copy, NULL, "<message to='c@d'><x xmlns='urn:x' a='1'>deep</x><y xmlns='urn:y'/>"
                              "</message>");
    gr_stanza_unref(&copy);
    copy = gr_stanza_copy(st);
    gr_stanza_set_id(copy, "1");
    gr_el_set(copy, gr_stanza_child(copy, NULL, "x"), "b", "2"); /* no effect */
    gr_el_remove(copy, gr_stanza_child(copy, NULL, "x"));
    check_written(copy, NULL, "<message to='a@b' id='1'><x xmlns='urn:x' a='1'>deep</x></message>");
    gr_stanza_unref(&copy);
    gr_stanza_unref(&st);
    gr_jid_free(&a);
    gr_jid_free(&c);
}

static void test_error_reply_type(void **state)
{
    struct gr_stanza *st = parse("<message id='1'/>"), *error = parse("<message type='error'/>");
    struct gr_stanza *reply = gr_error_reply_type(st, GR_POLICY_VIOLATION, "wait", NULL);

    (void)state;
    assert_string_equal(gr_el_attr(gr_stanza_child(reply, NULL, "error"), "type"), "wait");
    assert_int_equal(gr_stanza_cond(reply), GR_POLICY_VIOLATION);
    assert_null(gr_error_reply_type(error, GR_POLICY_VIOLATION, "wait", NULL));
    gr_stanza_unref(&reply);
    gr_stanza_unref(&error);
    gr_stanza_unref(&st);
}

/* --- text that is written again after changes --- */

/* A random element of the stanza, or its root. */
static struct gr_el *some_el(struct gr_stanza *st)
{
    struct gr_el *el = gr_stanza_root(st), *next;

    while (rand() % 3 != 0 && (next = gr_el_child(el, NULL, NULL)) != NULL) {
        for (el = next; rand() % 2 != 0 && (next = gr_el_next(el, NULL, NULL)) != NULL;)
            el = next;
    }
    return el;
}

static void change(struct gr_stanza *st)
{
    struct gr_el *el = some_el(st);
    char value[16];

    snprintf(value, sizeof(value), "%d'<", rand() % 100);
    switch (rand() % 9) {
    case 0:
        gr_stanza_set_id(st, value);
        break;
    case 1:
        gr_el_set(st, el, "a", rand() % 2 == 0 ? value : NULL);
        break;
    case 2:
        gr_el_set_text(st, el, value);
        break;
    case 3:
        gr_el_append_text(st, el, value, strlen(value));
        break;
    case 4:
        if (el != gr_stanza_root(st))
            gr_el_remove(st, el);
        break;
    case 5:
        gr_el_add_text(st, el, "urn:n", "n", value);
        break;
    case 6:
        if (rand() % 20 == 0)
            gr_stanza_set_payload(st, "<o xmlns='urn:o'/>", 18);
        break;
    default:
        gr_el_set(st, gr_el_add(st, NULL, "urn:c", "c"), "b", value);
        break;
    }
}

/* Whatever was written before: the text is that of a copy of which nothing was. */
static void test_text_after_changes(void **state)
{
    static const char *const from[] = {
        "<message to='a@b'><body>x</body><x xmlns='urn:x'><y/></x></message>",
        "<message to='a@b'/>", "<message to='a@b'>text</message>",
        "<iq id='1'><q xmlns='urn:q'><![CDATA[<]]></q></iq>",
    };

    (void)state;
    srand(11);
    for (int round = 0; round < 2000; round++) {
        struct gr_stanza *st = parse(from[round % 4]), *same;

        for (int i = 0; i < 12; i++) {
            change(st);
            same = gr_stanza_copy(st);
            if (rand() % 2 == 0)
                assert_string_equal(gr_stanza_xml(st, NULL), gr_stanza_xml(same, NULL));
            check_written(st, NULL, gr_stanza_xml(same, NULL));
            check_written(st, "c@d", (gr_el_set(same, gr_stanza_root(same), "to", "c@d"),
                                      gr_stanza_xml(same, NULL)));
            gr_stanza_unref(&same);
        }
        gr_stanza_unref(&st);
    }
}

/* Children that come after it was written are written behind it, and nothing else is done again. */
static void test_text_grows(void **state)
{
    struct gr_stanza *st = parse("<message to='a@b'><body>x</body></message>");
    struct gr_el *el;

    (void)state;
    gr_stanza_xml(st, NULL);
    el = gr_el_add(st, NULL, "urn:c", "c");
    assert_non_null(st->before);
    gr_el_set(st, el, "d", "1");
    check_written(st, NULL, "<message to='a@b'><body>x</body><c xmlns='urn:c' d='1'/></message>");
    gr_stanza_xml(st, NULL);
    gr_el_remove(st, el);
    assert_non_null(st->before);
    check_written(st, NULL, "<message to='a@b'><body>x</body></message>");
    gr_stanza_set_id(st, "7");
    assert_null(st->before);
    check_written(st, NULL, "<message to='a@b' id='7'><body>x</body></message>");
    gr_stanza_unref(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_after_changes), cmocka_unit_test(test_text_grows),
        cmocka_unit_test(test_payload_as_text),
        cmocka_unit_test(test_reading),          cmocka_unit_test(test_types),
        cmocka_unit_test(test_set_text),         cmocka_unit_test(test_error_reply_type),
        cmocka_unit_test(test_malformed_addresses), cmocka_unit_test(test_building),
        cmocka_unit_test(test_mixed_content_order), cmocka_unit_test(test_raw_payload),
        cmocka_unit_test(test_not_raw),          cmocka_unit_test(test_namespaced_attributes),
        cmocka_unit_test(test_stream_elements),  cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_conditions),       cmocka_unit_test(test_error_reply),
        cmocka_unit_test(test_error_reading),    cmocka_unit_test(test_iq_result),
        cmocka_unit_test(test_priority),         cmocka_unit_test(test_delay),
        cmocka_unit_test(test_append_and_el_xml), cmocka_unit_test(test_parse_errors),
        cmocka_unit_test(test_cache),            cmocka_unit_test(test_shared),
        cmocka_unit_test(test_copy_fits),        cmocka_unit_test(test_copy_to),
        cmocka_unit_test(test_copy_to_edited),   cmocka_unit_test(test_copy_to_threads),
        cmocka_unit_test(test_much_text),        cmocka_unit_test(test_cache_by_writing),
    };

    return cmocka_run_group_tests_name("stanza", tests, NULL, NULL);
}

/* Unit tests of xml/parse*.c: events, cuts, stops, limits, refusals, idle memory. */
#include "xml/parse.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "loop/loop.h"
#include "xml/parse_internal.h"
#include "xml/write.h"

#define HEADER                                                                                  \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "                               \
    "xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0'>"

/* What the callbacks saw, as text; and how they are to behave. */
struct seen {
    struct buf log;
    struct xml_parser *p;
    const char *map;     /* content namespace to set at open */
    bool stop_always, stop_open, restart_at_success;
    unsigned elements;
};

static int on_open(void *ctx, const struct xml_header *h)
{
    struct seen *seen = ctx;

    buf_printf(&seen->log, "O %s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s\n", h->name, h->ns, h->prefix,
               h->content_ns, h->to != NULL ? h->to->full : "-",
               h->from != NULL ? h->from->full : "-", h->to_raw != NULL ? h->to_raw : "-",
               h->from_raw != NULL ? h->from_raw : "-", h->id != NULL ? h->id : "-",
               h->version != NULL ? h->version : "-", h->lang != NULL ? h->lang : "-");
    xml_parser_set_content_ns(seen->p, seen->map);
    return seen->stop_open || seen->stop_always;
}

static int on_element(void *ctx, struct gr_stanza *take)
{
    struct seen *seen = ctx;
    bool success = gr_el_is(gr_stanza_root(take), NULL, "success");

    buf_puts(&seen->log, "E ");
    stanza_write(&seen->log, take);
    buf_puts(&seen->log, "\n");
    seen->elements++;
    gr_stanza_unref(&take);
    if (success && seen->restart_at_success)
        xml_parser_restart(seen->p);
    return seen->stop_always || (success && seen->restart_at_success);
}

static int on_close(void *ctx)
{
    struct seen *seen = ctx;

    buf_puts(&seen->log, "C\n");
    return 0;
}

static const struct xml_events events = { on_open, on_element, on_close };

static void seen_init(struct seen *seen, const struct xml_limits *limits)
{
    static const struct xml_limits defaults;

    seen->p = xml_parser_new(limits != NULL ? limits : &defaults, &events, seen);
}

static void seen_fini(struct seen *seen)
{
    xml_parser_free(&seen->p);
    buf_fini(&seen->log);
}

/* Feeds as a connection would: what was not consumed comes again, with what follows. */
static enum xml_status feed_cuts(struct seen *seen, const char *s, size_t len, const size_t *cuts,
                                 size_t n_cuts)
{
    enum xml_status status = XML_S_OK;
    size_t at = 0, used;

    for (size_t i = 0; i <= n_cuts; i++) {
        size_t end = i < n_cuts ? cuts[i] : len;

        do {
            status = xml_parser_feed(seen->p, s + at, end - at, &used);
            assert_true(used <= end - at);
            at += used;
        } while (status == XML_S_STOPPED && (used > 0 || at < end) &&
                 !strstr(buf_str(&seen->log), "C\n"));
        if (status != XML_S_OK && status != XML_S_STOPPED)
            return status;
    }
    return status;
}

static enum xml_status feed(struct seen *seen, const char *s)
{
    return feed_cuts(seen, s, strlen(s), NULL, 0);
}

static void check_stream(const char *xml, enum xml_status want, const char *want_log)
{
    struct seen seen = { 0 };
    enum xml_status status;

    seen_init(&seen, NULL);
    status = feed(&seen, xml);
    assert_string_equal(buf_str(&seen.log), want_log);
    assert_int_equal(status, want);
    seen_fini(&seen);
}

#define OPENED "O stream|http://etherx.jabber.org/streams|stream|jabber:client|example.org|-|" \
               "example.org|-|-|1.0|-\n"

static void test_header(void **state)
{
    (void)state;
    check_stream(HEADER, XML_S_OK, OPENED);
    check_stream("\n <s:stream xmlns:s='http://etherx.jabber.org/streams' xml:lang='de' id='4' "
                 "from='A@b' to='@'>",
                 XML_S_OK,
                 "O stream|http://etherx.jabber.org/streams|s||-|a@b|@|A@b|4|-|de\n");
    check_stream("<stream xmlns='http://etherx.jabber.org/streams'><message xmlns='jabber:client'>"
                 "<body>x</body></message></stream>",
                 XML_S_STOPPED,
                 "O stream|http://etherx.jabber.org/streams||http://etherx.jabber.org/streams|-|-|"
                 "-|-|-|-|-\nE <message><body>x</body></message>\nC\n");
    check_stream("<x/>", XML_S_STOPPED, "O x||||-|-|-|-|-|-|-\nC\n");
}

static const char sample[] =
    HEADER "\n<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>AA==</auth> \r\n"
    "<iq id='1' type='get'><q xmlns='urn:q' a=\"&lt;&#10;\"/></iq><presence/>\t"
    "<message to='a@b'><body>x &amp; y\xc3\xa9\xf0\x9f\x98\x80]]</body><p:z xmlns:p='urn:p'/>"
    "<![CDATA[<c>]]>\r\n</message><stream:error><a xmlns='u'/></stream:error></stream:stream>";

/* The same events for every cut into three and for single bytes; with and without stops. */
static void test_every_split(void **state)
{
    size_t len = sizeof(sample) - 1, cuts[sizeof(sample)];
    struct seen whole = { 0 };

    (void)state;
    seen_init(&whole, NULL);
    assert_int_equal(feed(&whole, sample), XML_S_STOPPED);
    assert_int_equal(whole.elements, 5);
    assert_non_null(strstr(buf_str(&whole.log), "C\n"));
    for (size_t i = 0; i < len; i++)
        cuts[i] = i;
    for (int stops = 0; stops < 2; stops++) {
        struct seen bytes = { .stop_always = stops };

        seen_init(&bytes, NULL);
        assert_int_equal(feed_cuts(&bytes, sample, len, cuts, len), XML_S_STOPPED);
        assert_string_equal(buf_str(&bytes.log), buf_str(&whole.log));
        seen_fini(&bytes);
        for (size_t a = 0; a < len; a++)
            for (size_t b = a; b < len; b += stops ? 13 : 1 + a % 7) {
                struct seen cut = { .stop_always = stops };
                size_t two[2] = { a, b };

                seen_init(&cut, NULL);
                assert_int_equal(feed_cuts(&cut, sample, len, two, 2), XML_S_STOPPED);
                assert_string_equal(buf_str(&cut.log), buf_str(&whole.log));
                seen_fini(&cut);
            }
    }
    seen_fini(&whole);
}

/* Every complete element is reported with its last byte, however many reads it took: expat's
 * reparse deferral would hold it back. */
static void test_nothing_held_back(void **state)
{
    static const char stanza[] = "<message to='someone@example.org' id='0123456789'/>";
    struct seen seen = { 0 };
    size_t used;

    (void)state;
    seen_init(&seen, NULL);
    for (const char *s = HEADER; *s != '\0'; s++)
        assert_int_equal(xml_parser_feed(seen.p, s, 1, &used), XML_S_OK);
    assert_string_equal(buf_str(&seen.log), OPENED);
    for (int round = 1; round <= 3; round++) {
        for (const char *s = stanza; *s != '\0'; s++) {
            assert_int_equal(seen.elements, round - 1);
            assert_int_equal(xml_parser_feed(seen.p, s, 1, &used), XML_S_OK);
        }
        assert_int_equal(seen.elements, round);
    }
    seen_fini(&seen);
}

static void test_idle(void **state)
{
    struct seen seen = { 0 };
    size_t used;

    (void)state;
    seen_init(&seen, NULL);
    assert_true(xml_parser_is_idle(seen.p));
    assert_int_equal(feed(&seen, HEADER), XML_S_OK);
    assert_true(xml_parser_is_idle(seen.p));
    assert_true(xml_parser_idle_bytes(seen.p) < 100);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(xml_parser_feed(seen.p, " \n\t\r", 4, &used), XML_S_OK);
        assert_int_equal(used, 4);
        assert_true(xml_parser_is_idle(seen.p));
    }
    assert_int_equal(feed(&seen, "<a/><b"), XML_S_OK);
    assert_false(xml_parser_is_idle(seen.p));
    assert_int_equal(feed(&seen, "/> "), XML_S_OK);
    assert_true(xml_parser_is_idle(seen.p));
    assert_int_equal(seen.elements, 2);
    print_message("idle: root tag %zu bytes\n", xml_parser_idle_bytes(seen.p));
    /* Prefixes of the header still work, and so does its end tag. */
    assert_int_equal(feed(&seen, "<stream:x/></stream:stream>"), XML_S_STOPPED);
    assert_int_equal(xml_parser_feed(seen.p, " ", 1, &used), XML_S_STOPPED);
    assert_int_equal(used, 0);
    seen_fini(&seen);
}

static void test_stop_leaves_the_rest(void **state)
{
    static const char in[] = "<starttls xmlns='urn:t'/>\x16\x03\x01";
    struct seen seen = { .stop_always = true };
    size_t used;

    (void)state;
    seen_init(&seen, NULL);
    assert_int_equal(xml_parser_feed(seen.p, HEADER "<a/>", sizeof(HEADER) + 3, &used),
                     XML_S_STOPPED);
    assert_int_equal(used, sizeof(HEADER) - 1);
    assert_int_equal(xml_parser_feed(seen.p, in, sizeof(in) - 1, &used), XML_S_STOPPED);
    assert_int_equal(used, sizeof(in) - 4);
    assert_true(xml_parser_is_idle(seen.p));
    xml_parser_restart(seen.p);
    assert_int_equal(xml_parser_feed(seen.p, HEADER, sizeof(HEADER) - 1, &used), XML_S_STOPPED);
    assert_int_equal(used, sizeof(HEADER) - 1);
    seen_fini(&seen);
}

/* The rest of the same read is the new stream. */
static void test_restart_in_callback(void **state)
{
    struct seen seen = { .restart_at_success = true };

    (void)state;
    seen_init(&seen, NULL);
    assert_int_equal(feed(&seen, HEADER "<success xmlns='u'/>" HEADER "<a/>"), XML_S_OK);
    assert_string_equal(buf_str(&seen.log),
                        OPENED "E <success xmlns='u'/>\n" OPENED "E <a/>\n");
    seen_fini(&seen);
}

static void test_empty_root_with_stop(void **state)
{
    static const char in[] = "<s/>  ";
    struct seen seen = { .stop_open = true };
    size_t used;

    (void)state;
    seen_init(&seen, NULL);
    assert_int_equal(xml_parser_feed(seen.p, in, 6, &used), XML_S_STOPPED);
    assert_int_equal(used, 4);
    assert_string_equal(buf_str(&seen.log), "O s||||-|-|-|-|-|-|-\n");
    assert_int_equal(xml_parser_feed(seen.p, in + 4, 2, &used), XML_S_STOPPED);
    assert_int_equal(used, 0);
    assert_string_equal(buf_str(&seen.log), "O s||||-|-|-|-|-|-|-\nC\n");
    seen_fini(&seen);
}

static void test_refused(void **state)
{
    static const struct {
        const char *xml;
        enum xml_status want;
        const char *condition;
    } cases[] = {
        { "<a></b>", XML_S_NOT_WELL_FORMED, "not-well-formed" },
        { "<a><b:c/></a>", XML_S_NOT_WELL_FORMED, "not-well-formed" },
        { "<a k='1' k='2'/>", XML_S_NOT_WELL_FORMED, "not-well-formed" },
        { "<a>\x01</a>", XML_S_NOT_WELL_FORMED, "not-well-formed" },
        { "<a>&#0;</a>", XML_S_NOT_WELL_FORMED, "not-well-formed" },
        { "<a>]]></a>", XML_S_NOT_WELL_FORMED, "not-well-formed" },
        { "<a>\xef\xbf\xbe</a>", XML_S_NOT_WELL_FORMED, "not-well-formed" },
        { "<?xml version='1.0'?>", XML_S_NOT_WELL_FORMED, "not-well-formed" },
        { HEADER "x</stream:stream>", XML_S_BAD_FORMAT, "bad-format" },
        { "text", XML_S_BAD_FORMAT, "bad-format" },
        { "&#65;", XML_S_BAD_FORMAT, "bad-format" },
        { "<![CDATA[", XML_S_BAD_FORMAT, "bad-format" },
        { "<!-- x -->", XML_S_RESTRICTED, "restricted-xml" },
        { "<a><!-- x --></a>", XML_S_RESTRICTED, "restricted-xml" },
        { "<?pi x?>", XML_S_RESTRICTED, "restricted-xml" },
        { "<a><?pi x?></a>", XML_S_RESTRICTED, "restricted-xml" },
        { "<a>&foo;</a>", XML_S_RESTRICTED, "restricted-xml" },
        { "<a k='&foo;'/>", XML_S_RESTRICTED, "restricted-xml" },
        { "<a>\xff</a>", XML_S_BAD_ENCODING, "unsupported-encoding" },
        { "<a>\xc3(</a>", XML_S_BAD_ENCODING, "unsupported-encoding" },
        { "<a k='\xed\xa0\x80'/>", XML_S_BAD_ENCODING, "unsupported-encoding" },
        { "<a>\xc0\x80</a>", XML_S_BAD_ENCODING, "unsupported-encoding" },
        { "<p:message xmlns:p='jabber:client'/>", XML_S_BAD_PREFIX, "bad-namespace-prefix" },
        { "<message><p:b xmlns:p='jabber:client'/></message>", XML_S_BAD_PREFIX,
          "bad-namespace-prefix" },
        { "<xml:a/>", XML_S_BAD_PREFIX, "bad-namespace-prefix" },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++)
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            struct seen seen = { 0 };
            size_t cuts[512], n = 0;
            size_t used;

            seen_init(&seen, NULL);
            assert_int_equal(feed(&seen, HEADER "<before/>"), XML_S_OK);
            for (; bytewise && n < strlen(cases[i].xml); n++)
                cuts[n] = n;
            if (strncmp(cases[i].xml, HEADER, sizeof(HEADER) - 1) == 0)
                xml_parser_restart(seen.p);
            assert_int_equal(feed_cuts(&seen, cases[i].xml, strlen(cases[i].xml), cuts, n),
                             cases[i].want);
            assert_string_equal(xml_status_condition(cases[i].want), cases[i].condition);
            /* And nothing more is reported. */
            assert_int_equal(seen.elements, 1);
            assert_int_equal(xml_parser_feed(seen.p, "<a/>", 4, &used), cases[i].want);
            assert_int_equal(used, 0);
            assert_int_equal(seen.elements, 1);
            assert_true(xml_parser_is_idle(seen.p));
            seen_fini(&seen);
        }
}

static void check_bytes(const char *s, size_t len, enum xml_status want)
{
    for (size_t cut = 0; cut < len; cut++) {
        struct seen seen = { 0 };

        seen_init(&seen, NULL);
        assert_int_equal(feed_cuts(&seen, s, len, &cut, 1), want);
        assert_string_equal(buf_str(&seen.log), "");
        seen_fini(&seen);
    }
}

static void test_refused_before_header(void **state)
{
    (void)state;
    check_stream("<?xml version='1.0' encoding='UTF-16'?><a>", XML_S_BAD_ENCODING, "");
    check_stream("<?xml version='1.0' encoding='utf-8' standalone='no'?><a>", XML_S_OK,
                 "O a||||-|-|-|-|-|-|-\n");
    check_stream("\xef\xbb\xbf<a>", XML_S_NOT_WELL_FORMED, "");
    check_stream("\xff\xfe<\0", XML_S_BAD_ENCODING, "");
    check_bytes("<\0s\0/\0>\0", 8, XML_S_BAD_ENCODING);
    check_bytes("\0<\0s\0/\0>", 8, XML_S_BAD_ENCODING);
    check_bytes(" \0<\0s\0/\0>\0", 10, XML_S_BAD_ENCODING);
    check_stream("<!DOCTYPE a [<!ENTITY x 'y'>]><a>", XML_S_RESTRICTED, "");
    check_stream("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a>", XML_S_RESTRICTED, "");
    check_stream("<!-- c --><a>", XML_S_RESTRICTED, "");
    check_stream("<?pi?><a>", XML_S_RESTRICTED, "");
    check_stream("GET / HTTP/1.1\r\n", XML_S_NOT_WELL_FORMED, "");
    check_stream("x", XML_S_NOT_WELL_FORMED, "");
}

/* One stanza of `made` under the given limits: the same answer whole and byte by byte. */
static void check_limit(const struct xml_limits *limits, const char *xml, size_t len, bool ok)
{
    for (size_t step = 1; step <= 5000; step = step < 7 ? 7 : step * 9) {
        struct seen seen = { 0 };
        enum xml_status status = XML_S_OK;
        size_t used;

        seen_init(&seen, limits);
        assert_int_equal(feed(&seen, "<s xmlns='jabber:client'>"), XML_S_OK);
        for (size_t at = 0; at < len && status == XML_S_OK; at += step)
            status = xml_parser_feed(seen.p, xml + at, len - at < step ? len - at : step, &used);
        assert_int_equal(status, ok ? XML_S_OK : XML_S_LIMIT);
        assert_string_equal(xml_status_condition(XML_S_LIMIT), "policy-violation");
        assert_int_equal(seen.elements, ok ? 1 : 0);
        seen_fini(&seen);
    }
}

static void repeat(struct buf *b, const char *s, size_t n)
{
    while (n-- > 0)
        buf_puts(b, s);
}

static void test_limit_stanza_bytes(void **state)
{
    struct xml_limits limits = { .stanza_bytes = 10000 };

    (void)state;
    for (size_t size = 9999; size <= 10002; size++) {
        struct buf xml = { 0 };

        repeat(&xml, "<a><b>", 1);
        repeat(&xml, "x", size - 14);
        repeat(&xml, "</b></a>", 1);
        assert_int_equal(buf_len(&xml), size);
        check_limit(&limits, buf_data(&xml), size, size <= 10000);
        /* White space before it does not count. */
        repeat(&xml, " ", 20000);
        check_limit(&limits, buf_data(&xml), buf_len(&xml), size <= 10000);
        buf_fini(&xml);
    }
}

/* Before login: whatever RFC 6120, 13.12 obliges us to take fits, what only costs memory does not. */
static void test_limit_memory(void **state)
{
    struct xml_limits limits = { .stanza_bytes = 10000, .token = 10000, .memory = 65536 };

    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct buf xml = { 0 };
        repeat(&xml, kind == 0 ? "<a><b>" : kind == 1 ? "<a><b k='" : "<a>", 1);
        repeat(&xml, kind == 2 ? "<b/>" : "x", kind == 2 ? 600 : 9900);
        repeat(&xml, kind == 0 ? "</b></a>" : kind == 1 ? "'/></a>" : "</a>", 1);
        check_limit(&limits, buf_data(&xml), buf_len(&xml), kind < 2);
        buf_fini(&xml);
    }
    limits.memory = 0; /* the last one again, without that limit */
    struct buf many = { 0 };
    repeat(&many, "<a>", 1);
    repeat(&many, "<b/>", 600);
    repeat(&many, "</a>", 1);
    check_limit(&limits, buf_data(&many), buf_len(&many), true);
    buf_fini(&many);
}

static void test_limit_depth(void **state)
{
    struct xml_limits limits = { 0 };

    (void)state;
    for (size_t depth = 63; depth <= 65; depth++) {
        struct buf xml = { 0 };

        repeat(&xml, "<a>", depth);
        repeat(&xml, "</a>", depth);
        check_limit(&limits, buf_data(&xml), buf_len(&xml), depth <= 64);
        buf_fini(&xml);
    }
}

static void test_limit_attrs(void **state)
{
    struct xml_limits limits = { 0 };

    (void)state;
    for (int n = 64; n <= 65; n++)
        for (int ns = 32; ns <= 33; ns++) {
            struct buf xml = { 0 };

            buf_puts(&xml, "<a><b");
            for (int i = 0; i < n; i++)
                buf_printf(&xml, " k%d=''", i);
            for (int i = 0; i < ns; i++)
                buf_printf(&xml, " xmlns:n%d='u'", i);
            buf_puts(&xml, "/></a>");
            check_limit(&limits, buf_data(&xml), buf_len(&xml), n == 64 && ns == 32);
            buf_fini(&xml);
        }
}

static void test_limit_names(void **state)
{
    static const char *const forms[][2] = {
        { "<", "/>" }, { "<a ", "=''/>" }, { "<n:", " xmlns:n='u'/>" },
    };
    struct xml_limits limits = { 0 };

    (void)state;
    for (size_t form = 0; form < GR_COUNT(forms); form++)
        for (size_t n = 512; n <= 513; n++) {
            struct buf xml = { 0 };

            buf_puts(&xml, forms[form][0]);
            repeat(&xml, "x", n);
            buf_puts(&xml, forms[form][1]);
            check_limit(&limits, buf_data(&xml), buf_len(&xml), n == 512);
            buf_fini(&xml);
        }
}

static void test_limit_token(void **state)
{
    struct xml_limits limits = { 0 };

    (void)state;
    for (size_t n = 16384; n <= 16385; n++) {
        struct buf xml = { 0 };

        repeat(&xml, "<a k='", 1);
        repeat(&xml, "x", n - 9);
        repeat(&xml, "'/>", 1);
        assert_int_equal(buf_len(&xml), n);
        check_limit(&limits, buf_data(&xml), n, n == 16384);
        buf_fini(&xml);
    }
}

/* End tags, references and the declaration are tokens as well; whole or in reads, the same. */
static void test_limit_token_kinds(void **state)
{
    static const char *const forms[][2] = { { "<a></a", ">" }, { "<a>&#", "65;</a>" } };
    struct xml_limits limits = { .token = 100 };

    (void)state;
    for (size_t form = 0; form < GR_COUNT(forms); form++)
        for (size_t n = 100; n <= 101; n++) {
            struct buf xml = { 0 };

            buf_puts(&xml, forms[form][0]);
            repeat(&xml, form == 0 ? " " : "0", n - (form == 0 ? 4 : 5));
            buf_puts(&xml, forms[form][1]);
            check_limit(&limits, buf_data(&xml), buf_len(&xml), n == 100);
            buf_fini(&xml);
        }
    for (size_t n = 100; n <= 101; n++) {
        struct seen seen = { 0 };
        struct buf xml = { 0 };

        buf_puts(&xml, "<?xml version='1.0'");
        repeat(&xml, " ", n - 21);
        buf_puts(&xml, "?><a>");
        seen_init(&seen, &limits);
        assert_int_equal(feed(&seen, buf_str(&xml)), n == 100 ? XML_S_OK : XML_S_LIMIT);
        seen_fini(&seen);
        buf_fini(&xml);
    }
}

/* Text is reported piece by piece: avatars are no long tokens. */
static void test_long_text(void **state)
{
    struct xml_limits limits = { 0 };
    struct buf xml = { 0 };

    (void)state;
    repeat(&xml, "<a>", 1);
    repeat(&xml, "0123456789abcdef", 16000);
    repeat(&xml, "</a>", 1);
    check_limit(&limits, buf_data(&xml), buf_len(&xml), true);
    buf_fini(&xml);
}

/* Memory: many small elements and many different names end at a bound. */
static void test_limit_amplification(void **state)
{
    struct seen seen = { 0 };
    struct buf xml = { 0 };
    enum xml_status status;

    (void)state;
    seen_init(&seen, NULL);
    buf_puts(&xml, HEADER "<m>");
    repeat(&xml, "<a/>", 65000);
    assert_int_equal(feed(&seen, buf_str(&xml)), XML_S_LIMIT);
    xml_parser_restart(seen.p);
    buf_consume(&xml, buf_len(&xml));
    buf_puts(&xml, HEADER "<m>");
    for (int i = 0; i < 30000; i++)
        buf_printf(&xml, "<a%x/>", i);
    status = feed(&seen, buf_str(&xml));
    assert_true(status == XML_S_LIMIT || status == XML_S_NO_MEMORY);
    seen_fini(&seen);
    buf_fini(&xml);
}

static void test_limit_header(void **state)
{
    struct xml_limits limits = { .stanza_bytes = 1000 };

    (void)state;
    for (int over = 0; over < 4; over++) {
        struct seen seen = { 0 };
        struct buf xml = { 0 };

        buf_puts(&xml, "<s");
        if (over == 1) {
            repeat(&xml, " ", 1000);
        } else if (over == 2) {
            for (int i = 0; i < 17; i++)
                buf_printf(&xml, " xmlns:n%d='u'", i);
        } else if (over == 3) {
            repeat(&xml, " ", 997); /* exactly 1000 */
        } else {
            for (int i = 0; i < 16; i++)
                buf_printf(&xml, " xmlns:n%d='u'", i);
        }
        buf_puts(&xml, ">");
        seen_init(&seen, &limits);
        assert_int_equal(feed(&seen, buf_str(&xml)),
                         over == 0 || over == 3 ? XML_S_OK : XML_S_LIMIT);
        seen_fini(&seen);
        buf_fini(&xml);
    }
    for (size_t n = 1900; n <= 2100; n += 200) {
        struct seen seen = { 0 };
        struct buf xml = { 0 };

        buf_puts(&xml, "<s xmlns='");
        repeat(&xml, "x", n);
        buf_puts(&xml, "'>");
        seen_init(&seen, NULL);
        assert_int_equal(feed(&seen, buf_str(&xml)), n == 1900 ? XML_S_OK : XML_S_LIMIT);
        seen_fini(&seen);
        buf_fini(&xml);
    }
}

static void test_set_limits(void **state)
{
    struct xml_limits limits = { .stanza_bytes = 20 };
    struct seen seen = { 0 };

    (void)state;
    seen_init(&seen, NULL);
    assert_int_equal(feed(&seen, HEADER "<abcdefgh k='123456789'/>"), XML_S_OK);
    xml_parser_set_limits(seen.p, &limits);
    assert_int_equal(feed(&seen, "<a/><a>3456789012345678"), XML_S_OK);
    assert_int_equal(feed(&seen, "9"), XML_S_OK);
    assert_int_equal(feed(&seen, "0"), XML_S_LIMIT);
    assert_int_equal(seen.elements, 2);
    seen_fini(&seen);
}

static void test_content_namespace(void **state)
{
    static const char in[] =
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
        "xmlns:db='jabber:server:dialback'><message><body >x</body>"
        "<f xmlns='urn:f'><message xmlns='jabber:server' /></f></message><message><body >x</body>"
        "</message><db:result>k</db:result>";
    struct seen seen = { .map = GR_NS_SERVER };

    (void)state;
    seen_init(&seen, NULL);
    assert_int_equal(feed(&seen, in), XML_S_OK);
    assert_string_equal(strchr(buf_str(&seen.log), '\n') + 1,
                        "E <message><body>x</body><f xmlns='urn:f'>"
                        "<message xmlns='jabber:client'/></f></message>\n"
                        "E <message><body >x</body></message>\n"
                        "E <result xmlns='jabber:server:dialback'>k</result>\n");
    seen_fini(&seen);
    memset(&seen, 0, sizeof(seen));
    seen_init(&seen, NULL); /* not asked for: not mapped */
    assert_int_equal(feed(&seen, in), XML_S_OK);
    assert_non_null(strstr(buf_str(&seen.log), "E <message xmlns='jabber:server'><body >x"));
    seen_fini(&seen);
}

/* Payload over several pieces and reads arrives as the very bytes. */
static void test_raw_over_pieces(void **state)
{
    struct buf inner = { 0 }, xml = { 0 }, want = { 0 };

    (void)state;
    for (int i = 0; i < 700; i++)
        buf_printf(&inner, "<i  n=\"%d\">\r\n&#x41;&lt;</i  >", i);
    buf_printf(&xml, HEADER "<message  >%s</message   ><a/>", buf_str(&inner));
    buf_printf(&want, OPENED "E <message>%s</message>\nE <a/>\n", buf_str(&inner));
    for (size_t step = 1; step < 20000; step += 1 + step * 3 / 2) {
        struct seen seen = { 0 };
        size_t used;

        seen_init(&seen, NULL);
        for (size_t at = 0; at < buf_len(&xml); at += step)
            assert_int_equal(xml_parser_feed(seen.p, buf_data(&xml) + at,
                                             buf_len(&xml) - at < step ? buf_len(&xml) - at : step,
                                             &used),
                             XML_S_OK);
        assert_string_equal(buf_str(&seen.log), buf_str(&want));
        seen_fini(&seen);
    }
    buf_fini(&inner);
    buf_fini(&xml);
    buf_fini(&want);
}

static void test_free_in_the_middle(void **state)
{
    struct seen seen = { 0 };

    (void)state;
    seen_init(&seen, NULL);
    assert_int_equal(feed(&seen, HEADER "<message><body>half"), XML_S_OK);
    seen_fini(&seen);
    xml_parser_free(&seen.p);
}

static int enter_loop(void **state)
{
    (void)state;
    loops_init(1, true);
    return 0;
}

static int leave_loop(void **state)
{
    (void)state;
    loops_fini();
    return 0;
}

/* All of it twice: where each has an expat parser of its own, and where a loop keeps them. */
int main(void)
{
    const struct CMUnitTest alone[] = { cmocka_unit_test(test_idle) };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),           cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_nothing_held_back),
        cmocka_unit_test(test_stop_leaves_the_rest), cmocka_unit_test(test_restart_in_callback),
        cmocka_unit_test(test_empty_root_with_stop), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_before_header), cmocka_unit_test(test_limit_stanza_bytes),
        cmocka_unit_test(test_limit_memory),
        cmocka_unit_test(test_limit_depth),      cmocka_unit_test(test_limit_attrs),
        cmocka_unit_test(test_limit_names),      cmocka_unit_test(test_limit_token),
        cmocka_unit_test(test_limit_token_kinds),
        cmocka_unit_test(test_long_text),        cmocka_unit_test(test_limit_amplification),
        cmocka_unit_test(test_limit_header),     cmocka_unit_test(test_set_limits),
        cmocka_unit_test(test_content_namespace), cmocka_unit_test(test_raw_over_pieces),
        cmocka_unit_test(test_free_in_the_middle),
    };

    return cmocka_run_group_tests_name("parse_alone", alone, NULL, NULL) +
           cmocka_run_group_tests_name("parse", tests, NULL, NULL) +
           cmocka_run_group_tests_name("parse_kept", tests, enter_loop, leave_loop);
}

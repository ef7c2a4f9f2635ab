/* The stream parser (reliability F1): two bytes of options, then what a peer sends.
 *
 * Fed whole, and again in reads of sizes drawn from the second byte, with a stop after every event
 * and with a parser that is kept between reads, it must report the same; a stanza's raw form must
 * mean the same as its tree; after an error there are no more events. */
#include "fuzz.h"
#include "fuzz_tree.h"

#include "loop/loop.h"
#include "xml/parse_internal.h"
#include "xml/write.h"

struct seen {
    struct xml_parser *p;
    struct buf log;
    const char *map;
    bool cuts, stops, closed;
};

static int on_open(void *ctx, const struct xml_header *h)
{
    struct seen *seen = ctx;

    buf_printf(&seen->log, "O %s %s %s %s %s %s\n", h->name, h->ns, h->prefix, h->content_ns,
               h->to != NULL ? h->to->full : "", h->from_raw != NULL ? h->from_raw : "");
    xml_parser_set_content_ns(seen->p, seen->map);
    return seen->stops;
}

static int on_element(void *ctx, struct gr_stanza *take)
{
    struct seen *seen = ctx;
    size_t len;
    const char *xml = gr_stanza_xml(take, &len);
    char *tree = fuzz_tree(take), *again = fuzz_tree_of(xml, len);

    buf_printf(&seen->log, "E %d %d %s\n", gr_stanza_kind(take), gr_stanza_type(take), tree);
    buf_puts(&seen->log, xml);
    gr_assert(strcmp(tree, again) == 0);
    gr_free(tree);
    gr_free(again);
    gr_stanza_unref(&take);
    return seen->stops;
}

static int on_close(void *ctx)
{
    struct seen *seen = ctx;

    buf_puts(&seen->log, "C\n");
    seen->closed = true;
    return 1;
}

static enum xml_status run(struct seen *seen, const struct xml_limits *limits, const char *s,
                           size_t len, unsigned seed)
{
    static const struct xml_events events = { on_open, on_element, on_close };
    enum xml_status status = XML_S_OK;
    size_t at = 0, end = 0, used, logged;

    seen->p = xml_parser_new(limits, &events, seen);
    while (end < len && !seen->closed && (status == XML_S_OK || status == XML_S_STOPPED)) {
        seed = seed * 1103515245u + 12345u;
        end = seen->cuts ? end + 1 + (seed >> 16) % (1 + seed % 37) : len;
        end = end < len ? end : len;
        do {
            status = xml_parser_feed(seen->p, s + at, end - at, &used);
            gr_assert(used <= end - at);
            gr_assert(status != XML_S_OK || used == end - at);
            at += used;
        } while (status == XML_S_STOPPED && !seen->closed && at < end);
    }
    if (status == XML_S_STOPPED && !seen->closed) /* an empty root closes with the next feed */
        xml_parser_feed(seen->p, "", 0, &used);
    if (status != XML_S_OK && status != XML_S_STOPPED) {
        logged = buf_len(&seen->log);
        gr_assert(xml_parser_feed(seen->p, "<a/>", 4, &used) == status && used == 0);
        gr_assert(buf_len(&seen->log) == logged && xml_parser_is_idle(seen->p));
    }
    xml_parser_free(&seen->p);
    return status == XML_S_STOPPED ? XML_S_OK : status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct xml_limits small = { 400, 5, 4, 3, 12, 100, 0 }, normal = { 0 };
    struct seen whole = { 0 };
    const struct xml_limits *limits;
    enum xml_status a, b;

    if (size < 2)
        return 0;
    if (loop_count() == 0)
        loops_init(1, true);
    limits = data[0] & 1 ? &small : &normal;
    whole.map = data[0] & 2 ? GR_NS_SERVER : NULL;
    a = run(&whole, limits, (const char *)data + 2, size - 2, data[1]);
    for (int stops = 0; stops < 2; stops++) {
        struct seen cut = { .map = whole.map, .cuts = true, .stops = stops };

        b = run(&cut, limits, (const char *)data + 2, size - 2, data[1]);
        if (a != XML_S_NO_MEMORY && b != XML_S_NO_MEMORY) {
            /* Where two mistakes meet, either may be found first (a limit and any other; text
             * between stanzas with "]]>" behind it; a broken character where none is allowed). */
            gr_assert((a == XML_S_OK) == (b == XML_S_OK));
            gr_assert(strcmp(buf_str(&whole.log), buf_str(&cut.log)) == 0);
        }
        buf_fini(&cut.log);
    }
    buf_fini(&whole.log);
    return 0;
}

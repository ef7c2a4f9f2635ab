/* xml/stanza_parse.c: one element from text that is there as a whole, e.g. from the store.
 *
 * A parser that believes its stream to be open, with limits that only keep us from harm: what was
 * within the limits of a stream may have been wrapped and escaped since. */
#include "xml/parse_internal.h"

#define PARSE_MAX ((size_t)64 << 20)

struct one {
    struct gr_stanza *st;
    bool more;
};

static int on_one(void *ctx, struct gr_stanza *take)
{
    struct one *one = ctx;

    one->more = one->st != NULL;
    if (one->more)
        gr_stanza_unref(&take);
    else
        one->st = take;
    return one->more;
}

static int on_one_close(void *ctx)
{
    (void)ctx;
    return 1;
}

int gr_stanza_parse(const char *xml, size_t len, struct gr_stanza **out)
{
    static const struct xml_limits limits = { PARSE_MAX, 256, 256, 256, 2048, PARSE_MAX, 0 };
    static const struct xml_events events = { .element = on_one, .close = on_one_close };
    static const char root[] = "<x xmlns='" GR_NS_CLIENT "'>";
    struct one one = { 0 };
    struct xml_parser *p;
    enum xml_status status;
    size_t consumed;
    bool complete;

    *out = NULL;
    if (len > PARSE_MAX)
        return GR_ELIMIT;
    p = xml_parser_new(&limits, &events, &one);
    p->whole = true;
    p->state = XML_OPEN;
    p->root = gr_strdup(root);
    p->root_len = sizeof(root) - 1;
    status = xml_parser_feed(p, xml, len, &consumed);
    complete = status == XML_S_OK && xml_parser_is_idle(p) && one.st != NULL;
    xml_parser_free(&p);
    if (complete) {
        *out = one.st;
        return 0;
    }
    gr_stanza_unref(&one.st);
    return status == XML_S_LIMIT ? GR_ELIMIT : status == XML_S_NO_MEMORY ? GR_ENOMEM : GR_EINVAL;
}

/* mod_mam/result.c: a kept message as the client gets it (XEP-0313, 4.2; XEP-0297). Put together as
 * text: what was kept is text, and reading it once is enough. */
#include "mam.h"

#include <string.h>

#include <grapnel/log.h>

#define FORWARDED "'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='" GR_NS_DELAY "' stamp='"
#define MESSAGE "<message"
#define INNER "'/>" MESSAGE " xmlns='" GR_NS_CLIENT "'"
#define TAIL "</forwarded></result></message>"

char *result_head(const struct gr_jid *from, const struct gr_jid *to, const char *queryid)
{
    static const char end[] = "/></message>";
    struct gr_stanza *st = gr_message_new(GR_MSG_NORMAL, from, to);
    struct gr_el *result = gr_el_add(st, NULL, NS_MAM, "result");
    size_t len;
    char *head;

    gr_el_set(st, result, "queryid", queryid);
    head = gr_strdup(gr_stanza_xml(st, &len));
    gr_assert(len > sizeof(end) && strcmp(head + len - (sizeof(end) - 1), end) == 0);
    head[len - (sizeof(end) - 1)] = '\0';
    gr_stanza_unref(&st);
    return head;
}

static char *put(char *out, const char *s, size_t len)
{
    memcpy(out, s, len);
    return out + len;
}

struct gr_stanza *result_new(const char *head, const struct gr_mam_row *row)
{
    static const size_t message_len = sizeof(MESSAGE) - 1;
    size_t head_len = strlen(head), id_len = strlen(row->id);
    struct gr_stanza *st = NULL;
    char stamp[GR_STAMP_SIZE], *text, *at;
    int rc = GR_EIO;

    gr_stamp(stamp, row->time_us);
    if (row->len > message_len && memcmp(row->xml, MESSAGE, message_len) == 0) {
        text = gr_alloc(head_len + id_len + row->len + sizeof(" id=''" FORWARDED INNER TAIL) +
                        GR_STAMP_SIZE);
        at = put(text, head, head_len);
        at = put(at, " id='", 5);
        at = put(at, row->id, id_len);
        at = put(at, FORWARDED, sizeof(FORWARDED) - 1);
        at = put(at, stamp, strlen(stamp));
        at = put(at, INNER, sizeof(INNER) - 1);
        at = put(at, row->xml + message_len, row->len - message_len);
        at = put(at, TAIL, sizeof(TAIL) - 1);
        rc = gr_stanza_parse(text, (size_t)(at - text), &st);
        gr_free(text);
    }
    if (rc != 0)
        gr_error("mam.damaged", "the message %s cannot be read: %s", row->id, gr_strerror(rc));
    return st;
}

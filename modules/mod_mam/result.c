/* mod_mam/result.c: a kept message as the client gets it (XEP-0313, 4.2; XEP-0297). Put together as
 * text: what was kept is text, and it is for the client alone to read. */
#include "mam.h"

#include <string.h>

#include <grapnel/log.h>

#define FORWARDED "'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='" GR_NS_DELAY "' stamp='"
#define MESSAGE "<message"
#define INNER "'/>" MESSAGE " xmlns='" GR_NS_CLIENT "'"
#define TAIL "</forwarded></result>"

char *result_head(const char *queryid)
{
    static const char end[] = "/>";
    struct gr_stanza *st = gr_nonza_new(NS_MAM, "result");
    char *head;
    size_t len;

    gr_el_set(st, gr_stanza_root(st), "queryid", queryid);
    head = gr_strdup(gr_stanza_xml(st, &len));
    gr_assert(len > 2 && strcmp(head + len - 2, end) == 0);
    head[len - 2] = '\0';
    gr_stanza_unref(&st);
    return head;
}

static char *put(char *out, const char *s, size_t len)
{
    memcpy(out, s, len);
    return out + len;
}

char *result_text(const char *head, const struct gr_mam_row *row, size_t *len)
{
    static const size_t message_len = sizeof(MESSAGE) - 1;
    size_t head_len = strlen(head), id_len = strlen(row->id);
    char stamp[GR_STAMP_SIZE], *text, *at;

    if (row->len <= message_len || memcmp(row->xml, MESSAGE, message_len) != 0) {
        gr_error("mam.damaged", "the message %s makes no sense", row->id);
        return NULL;
    }
    gr_stamp(stamp, row->time_us);
    at = text = gr_alloc(head_len + id_len + row->len + sizeof(" id='" FORWARDED INNER TAIL) +
                         GR_STAMP_SIZE);
    at = put(at, head, head_len);
    at = put(at, " id='", 5);
    at = put(at, row->id, id_len);
    at = put(at, FORWARDED, sizeof(FORWARDED) - 1);
    at = put(at, stamp, strlen(stamp));
    at = put(at, INNER, sizeof(INNER) - 1);
    at = put(at, row->xml + message_len, row->len - message_len);
    at = put(at, TAIL, sizeof(TAIL) - 1);
    *len = (size_t)(at - text);
    return text;
}

struct gr_stanza *result_new(const char *head, const struct gr_jid *from, const struct gr_jid *to,
                             const struct gr_mam_row *row)
{
    struct gr_stanza *st;
    size_t len;
    char *text = result_text(head, row, &len);

    if (text == NULL)
        return NULL;
    st = gr_message_new(GR_MSG_NORMAL, from, to);
    gr_el_set(st, gr_el_add(st, NULL, NS_MAM, "result"), "id", row->id);
    gr_stanza_set_payload(st, text, len);
    gr_free(text);
    return st;
}

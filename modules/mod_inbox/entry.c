/* mod_inbox/entry.c: a conversation as it is kept, and as clients see it. */
#include <string.h>

#include "inbox.h"

enum { ROW_VERSION = 1, MESSAGE_MAX = 8192, BODY_MAX = 2000 };

void entry_free(struct entry *e)
{
    gr_free(e->archive_id);
    gr_free(e->xml);
    e->archive_id = e->xml = NULL;
}

static char *read_text(struct gr_reader *r)
{
    size_t len;
    const char *s = gr_read_str(r, &len);

    return gr_strndup(s, len);
}

int entry_read(struct entry *e, const void *val, size_t len)
{
    struct gr_reader r = gr_reader_of(val, len);
    unsigned version = gr_read_u8(&r), marks;
    const char *box, *xml;
    size_t box_len;

    *e = (struct entry){ .time_us = gr_read_i64(&r) };
    e->unread = gr_read_u32(&r);
    e->muted_until_us = gr_read_i64(&r);
    e->binned_us = gr_read_i64(&r);
    box = gr_read_str(&r, &box_len);
    if (box_len <= BOX_MAX)
        memcpy(e->box, box, box_len);
    marks = gr_read_u8(&r);
    for (unsigned i = 0; i < marks && i < MARKS; i++)
        e->mark[i] = gr_read_u32(&r);
    e->archive_id = read_text(&r);
    xml = gr_read_rest_str(&r, &e->xml_len);
    e->xml = gr_strndup(xml, e->xml_len);
    if (gr_read_done(&r) && version == ROW_VERSION && box_len <= BOX_MAX && marks <= MARKS)
        return 0;
    entry_free(e);
    return GR_EINVAL;
}

void *entry_write(const struct entry *e, size_t *len)
{
    struct gr_writer w = gr_writer_new(128 + e->xml_len);
    unsigned marks = e->unread < MARKS ? e->unread : MARKS;

    gr_write_u8(&w, ROW_VERSION);
    gr_write_i64(&w, e->time_us);
    gr_write_u32(&w, e->unread);
    gr_write_i64(&w, e->muted_until_us);
    gr_write_i64(&w, e->binned_us);
    gr_write_str(&w, e->box);
    gr_write_u8(&w, (uint8_t)marks);
    for (unsigned i = 0; i < marks; i++)
        gr_write_u32(&w, e->mark[i]);
    gr_write_str(&w, e->archive_id);
    gr_write_bytes(&w, e->xml, e->xml_len);
    return gr_writer_take(&w, len);
}

/* --- changes --- */

/* Of a large message the beginning of its text is kept: a list of conversations shows no more. */
static struct gr_stanza *shortened(const struct gr_stanza *st)
{
    struct gr_stanza *out = gr_message_new(gr_stanza_type(st), gr_stanza_from(st),
                                           gr_stanza_to(st));
    const struct gr_el *body = gr_stanza_child(st, GR_NS_CLIENT, "body");
    size_t len = 0;
    const char *text = body != NULL ? gr_el_text(body, &len) : "";
    struct gr_el *el;

    gr_stanza_set_id(out, gr_stanza_id(st));
    if (len > BODY_MAX)
        for (len = BODY_MAX; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
            ; /* not in the middle of a character */
    if (body != NULL) {
        el = gr_el_add(out, NULL, NULL, "body");
        gr_el_append_text(out, el, text, len);
    }
    return out;
}

void entry_set_message(struct entry *e, const struct gr_stanza *st, int64_t time_us,
                       const char *archive_id)
{
    struct gr_stanza *part = NULL;
    const char *xml = gr_stanza_xml(st, &e->xml_len);

    if (e->xml_len > MESSAGE_MAX) {
        part = shortened(st);
        xml = gr_stanza_xml(part, &e->xml_len);
    }
    entry_free(e);
    e->xml = gr_strndup(xml, e->xml_len);
    e->archive_id = gr_strdup(archive_id != NULL ? archive_id : "");
    e->time_us = time_us;
    gr_stanza_unref(&part);
}

/* Only who has sent a message may take it back (XEP-0424, 5). */
static bool is_meant(const struct gr_stanza *st, const struct gr_stanza *by)
{
    const char *id = gr_el_attr(gr_stanza_child(by, NS_RETRACT, "retract"), "id");

    return gr_stanza_id(st) != NULL && strcmp(gr_stanza_id(st), id) == 0 &&
           gr_stanza_from(st) != NULL && gr_jid_bare_equal(gr_stanza_from(st), gr_stanza_from(by));
}

bool entry_retract(struct entry *e, const struct gr_stanza *by, int64_t now_us)
{
    struct gr_stanza *st = NULL, *tomb;
    char stamp[GR_STAMP_SIZE];
    bool meant = gr_stanza_parse(e->xml, e->xml_len, &st) == 0 && is_meant(st, by);
    const char *xml;
    struct gr_el *el;

    if (meant) {
        tomb = gr_message_new(gr_stanza_type(st), gr_stanza_from(st), gr_stanza_to(st));
        gr_stanza_set_id(tomb, gr_stanza_id(st));
        el = gr_el_add(tomb, NULL, NS_RETRACT, "retracted");
        gr_stamp(stamp, now_us);
        gr_el_set(tomb, el, "stamp", stamp);
        gr_el_set(tomb, el, "id", gr_stanza_id(by));
        gr_free(e->xml);
        xml = gr_stanza_xml(tomb, &e->xml_len);
        e->xml = gr_strndup(xml, e->xml_len);
        gr_stanza_unref(&tomb);
    }
    gr_stanza_unref(&st);
    return meant;
}

void entry_set_box(struct entry *e, const char *box, int64_t now_us)
{
    bool bin = strcmp(box, "bin") == 0;

    if (!bin)
        e->binned_us = 0;
    else if (e->binned_us == 0)
        e->binned_us = now_us;
    gr_assert(strlen(box) <= BOX_MAX);
    memset(e->box, 0, sizeof(e->box));
    memcpy(e->box, box, strlen(box));
}

uint32_t mark_of(const char *id)
{
    uint32_t h = 2166136261u; /* FNV-1a: the same in every process */

    if (id == NULL)
        return 0;
    for (; *id != '\0'; id++)
        h = (h ^ (uint8_t)*id) * 16777619u;
    return h != 0 ? h : 1;
}

void entry_add_unread(struct entry *e, uint32_t mark)
{
    memmove(e->mark + 1, e->mark, (MARKS - 1) * sizeof(e->mark[0]));
    e->mark[0] = mark;
    if (e->unread < UINT32_MAX)
        e->unread++;
}

bool entry_read_up_to(struct entry *e, uint32_t mark)
{
    for (uint32_t i = 0; mark != 0 && i < MARKS && i < e->unread; i++)
        if (e->mark[i] == mark) {
            e->unread = i;
            return true;
        }
    return false;
}

/* --- for clients --- */

void entry_props(struct gr_stanza *st, struct gr_el *to, const struct entry *e, bool read)
{
    char until[GR_STAMP_SIZE] = "0";

    if (e->muted_until_us > gr_wall_us())
        gr_stamp(until, e->muted_until_us);
    gr_el_add_text(st, to, NULL, "box", e->box);
    gr_el_add_text(st, to, NULL, "archive", strcmp(e->box, "archive") == 0 ? "true" : "false");
    gr_el_add_text(st, to, NULL, "mute", until);
    if (read)
        gr_el_add_text(st, to, NULL, "read", e->unread == 0 ? "true" : "false");
}

void entry_forward(struct gr_stanza *st, struct gr_el *to, const struct entry *e)
{
    struct gr_el *forwarded = gr_el_add(st, to, NS_FORWARD, "forwarded");
    struct gr_el *delay = gr_el_add(st, forwarded, GR_NS_DELAY, "delay");
    struct gr_stanza *message;
    char stamp[GR_STAMP_SIZE];

    gr_stamp(stamp, e->time_us);
    gr_el_set(st, delay, "stamp", stamp);
    if (e->xml_len == 0 || gr_stanza_parse(e->xml, e->xml_len, &message) != 0)
        return;
    gr_el_append(st, forwarded, gr_stanza_root(message));
    gr_stanza_unref(&message);
}

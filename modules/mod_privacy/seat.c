/* mod_privacy/seat.c: what is known of a session: its active list. It outlives a restart, as the session
 * does (XEP-0198): the list as it was is in force again at once, and read again then, for a change just
 * before a crash may have reached its row and not what is kept of the session. */
#include "privacy.h"

static void release(void *data)
{
    list_unref(&((struct seat *)data)->active);
}

struct seat *seat_of(struct gr_mod *self, struct gr_session *s)
{
    return gr_session_slot(self, s, &seat_slot);
}

static void *persist(const void *data, size_t *len)
{
    const struct seat *seat = data;
    struct gr_stanza *st = gr_nonza_new(NS_PRIVACY, "list");
    struct gr_writer w = gr_writer_new(256);
    const char *xml;
    size_t xml_len;

    gr_write_u8(&w, seat->interested);
    if (seat->active != NULL) {
        list_write(st, gr_stanza_root(st), seat->active);
        xml = gr_stanza_xml(st, &xml_len);
        gr_write_bytes(&w, xml, xml_len);
    }
    gr_stanza_unref(&st);
    return gr_writer_take(&w, len);
}

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_session *s = gr_session_find(self, NULL, *(uint64_t *)gr_req_data(req));
    struct list *l = rows->rc == 0 ? list_of_row(&rows->row[0]) : NULL;

    if (s != NULL && (l != NULL || rows->rc == GR_ENOENT)) {
        struct seat *seat = seat_of(self, s);

        list_unref(&seat->active);
        seat->active = list_ref(l);
    }
    list_unref(&l);
}

static void read_again(struct gr_mod *self, const struct gr_session *s, const struct list *active)
{
    struct gr_req *req = gr_req_new(self, sizeof(uint64_t), on_row);
    size_t len;
    char *key = list_key(active->name, &len);

    *(uint64_t *)gr_req_data(req) = gr_session_id(s);
    gr_store_get(req, &privacy_colls[0], gr_session_jid(s)->bare, key, len);
    gr_free(key);
}

static int revive(struct gr_mod *self, struct gr_session *s, void *data, const void *bytes,
                  size_t len)
{
    struct gr_reader r = gr_reader_of(bytes, len);
    struct gr_stanza *st = NULL;
    struct seat *seat = data;
    const char *xml;

    seat->interested = gr_read_u8(&r) != 0;
    xml = gr_read_rest(&r, &len);
    book_want(self, gr_session_jid(s));
    if (len == 0)
        return 0;
    if (gr_stanza_parse(xml, len, &st) == 0)
        list_parse(gr_stanza_root(st), SIZE_MAX, &seat->active);
    gr_stanza_unref(&st);
    if (seat->active == NULL)
        return GR_EINVAL;
    read_again(self, s, seat->active);
    return 0;
}

/* A version that changes the struct, struct list, or what is kept, changes the version. */
const struct gr_slot seat_slot = { .name = "struct seat", .version = 2, .size = sizeof(struct seat),
                                   .release = release, .persist = persist, .revive = revive };

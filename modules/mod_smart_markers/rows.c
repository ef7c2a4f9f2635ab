/* mod_smart_markers/rows.c: rows and their keys. */
#include "markers.h"

enum { ROW_VERSION = 1 };

bool key_make(struct key *out, const char *thread, const char *with, enum marker_type type)
{
    struct gr_writer w = gr_writer_on(out->text, sizeof(out->text));

    gr_write_bytes(&w, thread, strlen(thread) + 1);
    if (with != NULL)
        gr_write_bytes(&w, with, strlen(with) + 1);
    if (type != MARKER_NONE)
        gr_write_u8(&w, (uint8_t)type);
    out->len = w.len;
    return !w.failed;
}

int marker_read(struct marker *out, const struct gr_row *row, char **hold)
{
    struct gr_reader r = gr_reader_of(row->val, row->val_len);
    const char *key = row->key, *with, *id;
    size_t thread_len = strnlen(key, row->key_len), with_len, id_len;

    if (thread_len + 2 > row->key_len)
        return GR_EINVAL;
    with = key + thread_len + 1;
    with_len = strnlen(with, row->key_len - thread_len - 1);
    if (thread_len + with_len + 3 != row->key_len || gr_read_u8(&r) != ROW_VERSION)
        return GR_EINVAL;
    out->type = (enum marker_type)(uint8_t)key[row->key_len - 1];
    out->room = gr_read_u8(&r) != 0;
    out->time_us = gr_read_i64(&r);
    id = gr_read_rest_str(&r, &id_len);
    if (!gr_read_done(&r) || out->type >= MARKER_NONE)
        return GR_EINVAL;
    *hold = gr_alloc(thread_len + with_len + id_len + 3);
    memcpy(*hold, key, thread_len + 1);
    memcpy(*hold + thread_len + 1, with, with_len + 1);
    memcpy(*hold + thread_len + with_len + 2, id, id_len);
    out->thread = *hold;
    out->with = *hold + thread_len + 1;
    out->id = *hold + thread_len + with_len + 2;
    return 0;
}

size_t marker_write(const struct marker *m, uint8_t *buf, size_t size)
{
    struct gr_writer w = gr_writer_on(buf, size);

    gr_write_u8(&w, ROW_VERSION);
    gr_write_u8(&w, m->room);
    gr_write_i64(&w, m->time_us);
    gr_write_bytes(&w, m->id, strlen(m->id));
    return w.failed ? 0 : w.len;
}

void read_behind(struct gr_req *take, const char *owner, const struct gr_row *last)
{
    char *from = NULL;
    size_t len = 0;

    if (last != NULL) {
        len = last->key_len + 1; /* the same and a NUL: the next key that there can be */
        from = gr_alloc(len);
        memcpy(from, last->key, last->key_len);
    }
    gr_store_range(take, MARKERS, owner, from, len, PAGE);
    gr_free(from);
}

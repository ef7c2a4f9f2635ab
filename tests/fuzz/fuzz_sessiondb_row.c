/* Fuzz target: rows of mod_sessiondb as they come back from the disk (modules/mod_sessiondb/row.c).
 *
 * The first byte chooses: a row, or a key of the index. What is accepted is encoded to the same
 * bytes again. */
#include "fuzz.h"

#include "../../modules/mod_sessiondb/row.c"

const struct gr_coll sessiondb_colls[3];

static void check_row(const uint8_t *data, size_t size)
{
    struct row r;
    size_t len;
    void *row;

    if (row_decode(data, size, &r) != 0)
        return;
    gr_assert(r.priority >= -128 && r.priority <= 127);
    row = row_encode(&r, &len);
    fuzz_same(row, len, data, size);
    gr_free(row);
}

/* Addresses are prepared when they are read, so only prepared ones come back the same. */
static void check_key(const uint8_t *data, size_t size)
{
    static const char login[8];
    const struct gr_row row = { .key = data, .key_len = size, .val = login, .val_len = 8 };
    struct gr_jid *jid = index_jid(&row), *again;
    struct gr_row same = row;
    void *key;

    if (jid == NULL)
        return;
    gr_assert(jid->resource != NULL);
    key = index_key(jid, &same.key_len);
    same.key = key;
    again = index_jid(&same);
    gr_assert(again != NULL && gr_jid_equal(jid, again));
    gr_free(key);
    gr_jid_free(&jid);
    gr_jid_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] % 2 == 0)
        check_row(data + 1, size - 1);
    else
        check_key(data + 1, size - 1);
    return 0;
}

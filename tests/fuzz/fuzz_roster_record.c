/* Fuzz target: rows of mod_roster as they come back from the disk (modules/mod_roster/record.c).
 *
 * The first byte chooses the kind of row. Beyond not crashing: what is accepted is encoded to
 * the same bytes again, and every shorter row of the same beginning is refused (items; they know
 * their end). */
#include "fuzz.h"

#include "../../modules/mod_roster/record.c"

static void check_item(const uint8_t *data, size_t size)
{
    struct contact c, cut;
    size_t len;
    void *row;

    if (contact_decode(data, size, &c) != 0) {
        gr_assert(c.mem == NULL);
        return;
    }
    gr_assert(c.ver != 0 && (c.name == NULL || c.name[0] != '\0'));
    for (size_t i = 0; c.groups != NULL && c.groups[i] != NULL; i++)
        gr_assert(c.groups[i][0] != '\0');
    row = contact_encode(&c, &len);
    fuzz_same(row, len, data, size);
    gr_free(row);
    contact_fini(&c);
    gr_assert(contact_decode(data, size - 1, &cut) != 0);
}

static void check_request(const uint8_t *data, size_t size)
{
    struct request r;
    size_t len;
    void *row;

    if (request_decode(data, size, &r) != 0)
        return;
    gr_assert(r.len > 0 && r.time_us >= 0);
    row = request_encode(&r, &len);
    fuzz_same(row, len, data, size);
    gr_free(row);
}

static void check_meta(const uint8_t *data, size_t size)
{
    uint8_t row[META_SIZE];
    struct meta m;

    if (meta_decode(data, size, &m) != 0)
        return;
    gr_assert(m.floor <= m.ver);
    meta_encode(row, &m);
    fuzz_same(row, sizeof(row), data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] % 3 == 0)
        check_item(data + 1, size - 1);
    else if (data[0] % 3 == 1)
        check_request(data + 1, size - 1);
    else
        check_meta(data + 1, size - 1);
    return 0;
}

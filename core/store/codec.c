/* store/codec.c: see codec.h for the formats. Callers have checked the lengths of what they encode;
 * what they decode may be anything. */
#include "store/codec.h"

#include <openssl/sha.h>
#include <string.h>

enum {
    HEAD = 0x10,      /* version 1, no flags */
    HEAD_LONG = 0x11, /* version 1, the value starts with u32 length and the whole key */
    OWNER_PREFIX = 64,
    LONG_LEN = 4,
};

void codec_u64(uint8_t out[8], uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
}

uint64_t codec_get_u64(const void *in)
{
    const uint8_t *p = in;
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

size_t codec_owner_key(uint8_t out[CODEC_KEY_MAX], const char *owner, size_t len)
{
    if (len <= CODEC_OWNER_DIRECT) {
        out[0] = 0;
        memcpy(out + 1, owner, len);
        return 1 + len;
    }
    out[0] = 1;
    SHA256((const unsigned char *)owner, len, out + 1);
    memcpy(out + 1 + SHA256_DIGEST_LENGTH, owner, OWNER_PREFIX);
    return 1 + SHA256_DIGEST_LENGTH + OWNER_PREFIX;
}

size_t codec_owner_size(size_t owner_len)
{
    return 1 + CODEC_ID + owner_len;
}

void codec_owner(uint8_t *out, uint64_t id, const char *owner, size_t len)
{
    out[0] = HEAD;
    codec_u64(out + 1, id);
    memcpy(out + 1 + CODEC_ID, owner, len);
}

int codec_get_owner(struct bytes rec, const char *owner, size_t len, uint64_t *id)
{
    const uint8_t *p = rec.data;

    if (rec.len != codec_owner_size(len) || p[0] != HEAD ||
        memcmp(p + 1 + CODEC_ID, owner, len) != 0)
        return GR_EIO;
    *id = codec_get_u64(p + 1);
    return *id == 0 ? GR_EIO : 0; /* ids start at 1 */
}

void codec_counter(uint8_t out[CODEC_COUNTER], uint64_t v)
{
    out[0] = HEAD;
    codec_u64(out + 1, v);
}

int codec_get_counter(struct bytes rec, uint64_t *v)
{
    const uint8_t *p = rec.data;

    if (rec.len != CODEC_COUNTER || p[0] != HEAD)
        return GR_EIO;
    *v = codec_get_u64(p + 1);
    return 0;
}

void codec_log_head(uint8_t out[CODEC_LOG_HEAD], const struct log_head *head)
{
    out[0] = HEAD;
    codec_u64(out + 1, head->last);
    codec_u64(out + 1 + CODEC_ID, head->count);
    codec_u64(out + 1 + 2 * CODEC_ID, head->bytes);
}

int codec_get_log_head(struct bytes rec, struct log_head *head)
{
    const uint8_t *p = rec.data;

    if (rec.len != CODEC_LOG_HEAD || p[0] != HEAD)
        return GR_EIO;
    head->last = codec_get_u64(p + 1);
    head->count = codec_get_u64(p + 1 + CODEC_ID);
    head->bytes = codec_get_u64(p + 1 + 2 * CODEC_ID);
    return head->count > head->last ? GR_EIO : 0;
}

int codec_get_log_head_1(struct bytes rec, struct log_head *head)
{
    const uint8_t *p = rec.data;

    if (rec.len != 1 + 2 * CODEC_ID || p[0] != HEAD)
        return GR_EIO;
    head->last = codec_get_u64(p + 1);
    head->count = codec_get_u64(p + 1 + CODEC_ID);
    head->bytes = 0;
    return head->count > head->last ? GR_EIO : 0;
}

void codec_head_key(uint8_t out[CODEC_HEAD_KEY], uint64_t id)
{
    codec_log_key(out, id, UINT64_MAX);
    out[2 * CODEC_ID] = 0;
}

void codec_log_key(uint8_t out[2 * CODEC_ID], uint64_t id, uint64_t seq)
{
    codec_u64(out, id);
    codec_u64(out + CODEC_ID, seq);
}

size_t codec_map_key(uint8_t out[CODEC_KEY_MAX], uint64_t id, const void *key, size_t key_len)
{
    codec_u64(out, id);
    if (!codec_long_key(key_len)) {
        if (key_len > 0)
            memcpy(out + CODEC_ID, key, key_len);
        return CODEC_ID + key_len;
    }
    memcpy(out + CODEC_ID, key, CODEC_MAP_PREFIX);
    SHA256(key, key_len, out + CODEC_ID + CODEC_MAP_PREFIX);
    return CODEC_KEY_MAX;
}

size_t codec_row_size(size_t key_len, size_t val_len)
{
    return 1 + (codec_long_key(key_len) ? LONG_LEN + key_len : 0) + val_len;
}

void codec_row(uint8_t *out, const void *key, size_t key_len, const void *val, size_t val_len)
{
    if (codec_long_key(key_len)) {
        *out++ = HEAD_LONG;
        for (int shift = 24; shift >= 0; shift -= 8)
            *out++ = (uint8_t)(key_len >> shift);
        memcpy(out, key, key_len);
        out += key_len;
    } else {
        *out++ = HEAD;
    }
    if (val_len > 0)
        memcpy(out, val, val_len);
}

static int get_long_row(struct bytes skey, struct bytes sval, struct bytes *key, struct bytes *val)
{
    const uint8_t *k = skey.data, *v = sval.data;
    uint8_t digest[SHA256_DIGEST_LENGTH];

    if (sval.len < 1 + LONG_LEN || v[0] != HEAD_LONG)
        return GR_EIO;
    key->len = (size_t)v[1] << 24 | (size_t)v[2] << 16 | (size_t)v[3] << 8 | v[4];
    key->data = v + 1 + LONG_LEN;
    if (!codec_long_key(key->len) || key->len > CODEC_MAP_KEY_MAX ||
        key->len > sval.len - 1 - LONG_LEN)
        return GR_EIO;
    SHA256(key->data, key->len, digest);
    if (memcmp(k + CODEC_ID, key->data, CODEC_MAP_PREFIX) != 0 ||
        memcmp(k + CODEC_ID + CODEC_MAP_PREFIX, digest, sizeof(digest)) != 0)
        return GR_EIO;
    val->data = v + 1 + LONG_LEN + key->len;
    val->len = sval.len - 1 - LONG_LEN - key->len;
    return 0;
}

int codec_get_map_row(struct bytes skey, struct bytes sval, struct bytes *key, struct bytes *val)
{
    if (skey.len == CODEC_KEY_MAX)
        return get_long_row(skey, sval, key, val);
    if (skey.len < CODEC_ID || skey.len > CODEC_ID + CODEC_MAP_DIRECT || sval.len < 1 ||
        *(const uint8_t *)sval.data != HEAD)
        return GR_EIO;
    *key = (struct bytes){ (const uint8_t *)skey.data + CODEC_ID, skey.len - CODEC_ID };
    *val = (struct bytes){ (const uint8_t *)sval.data + 1, sval.len - 1 };
    return 0;
}

int codec_get_log_row(struct bytes skey, struct bytes sval, struct bytes *key, struct bytes *val)
{
    if (skey.len != 2 * CODEC_ID || sval.len < 1 || *(const uint8_t *)sval.data != HEAD)
        return GR_EIO;
    *key = (struct bytes){ (const uint8_t *)skey.data + CODEC_ID, CODEC_ID };
    *val = (struct bytes){ (const uint8_t *)sval.data + 1, sval.len - 1 };
    return codec_get_u64(key->data) == 0 ? GR_EIO : 0; /* numbers start at 1 */
}

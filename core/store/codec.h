/* store/codec.h: how rows look in the embedded engine. Pure functions over bytes, no state.
 *
 * All numbers are big-endian. Every value starts with a head byte: format version in the high
 * nibble, flags in the low one. Whatever comes back from the disk is decoded strictly: one byte
 * out of place is "damaged", never a guess. LMDB refuses keys over 511 bytes, so:
 *   owner:  0x00 owner, or for more than 400 bytes 0x01 SHA-256 first-64-bytes; the value holds
 *           the id and the whole owner, which is compared.
 *   map:    owner-id key, or for keys over 492 bytes owner-id first-471-bytes SHA-256; the value
 *           then starts with the whole key. The lengths (<= 500, 511) keep the two kinds apart.
 *   log:    owner-id sequence-number. Behind the owner's last row lies the log's head (last number,
 *           row count, bytes of all values): next to where the next row goes, so that appending
 *           rewrites one page and not two.
 * Rows that share their first 471 key bytes lie together but not in key order: whoever lists them
 * sorts them (lmdb_read.c). */
#pragma once

#include <grapnel/base.h>

enum {
    CODEC_KEY_MAX = 511,         /* what LMDB takes */
    CODEC_ID = 8,                /* owner ids and sequence numbers */
    CODEC_OWNER_DIRECT = 400,
    CODEC_OWNER_MAX = 4096,      /* a bare JID has at most 2047 bytes */
    CODEC_MAP_DIRECT = 492,
    CODEC_MAP_PREFIX = 471,
    CODEC_MAP_KEY_MAX = 16384,
};

struct bytes {
    const void *data;
    size_t len;
};

void codec_u64(uint8_t out[8], uint64_t v);
uint64_t codec_get_u64(const void *in);

/* Key of an owner's id record; returns its length (at most CODEC_KEY_MAX). */
size_t codec_owner_key(uint8_t out[CODEC_KEY_MAX], const char *owner, size_t len);
/* The record: head, id, owner. The size to reserve, then the bytes. */
size_t codec_owner_size(size_t owner_len);
void codec_owner(uint8_t *out, uint64_t id, const char *owner, size_t len);
/* 0; GR_EIO when damaged or when it is another owner's. */
int codec_get_owner(struct bytes rec, const char *owner, size_t len, uint64_t *id);

/* Counters (next owner id, schema). */
enum { CODEC_COUNTER = 9 };
void codec_counter(uint8_t out[CODEC_COUNTER], uint64_t v);
int codec_get_counter(struct bytes rec, uint64_t *v);

void codec_log_key(uint8_t out[2 * CODEC_ID], uint64_t id, uint64_t seq);

/* Head of an owner's log. */
struct log_head {
    uint64_t last;               /* number given out */
    uint64_t count, bytes;       /* of the rows there are; of their values */
};
enum { CODEC_LOG_HEAD = 25, CODEC_HEAD_KEY = 17 };
void codec_log_head(uint8_t out[CODEC_LOG_HEAD], const struct log_head *head);
int codec_get_log_head(struct bytes rec, struct log_head *head);
/* As schema 1 had it: under the owner's id alone, so before the rows; without bytes (0 here). */
int codec_get_log_head_1(struct bytes rec, struct log_head *head);
/* Sorts behind every row of the owner; no row's key is as long. */
void codec_head_key(uint8_t out[CODEC_HEAD_KEY], uint64_t id);

static inline bool codec_long_key(size_t key_len) { return key_len > CODEC_MAP_DIRECT; }
size_t codec_map_key(uint8_t out[CODEC_KEY_MAX], uint64_t id, const void *key, size_t key_len);
/* Size of a stored row and its bytes; long keys (maps) are stored in front of the value. */
size_t codec_row_size(size_t key_len, size_t val_len);
void codec_row(uint8_t *out, const void *key, size_t key_len, const void *val, size_t val_len);

/* From a stored pair back to key and value, pointing into the arguments. GR_EIO when damaged. */
int codec_get_map_row(struct bytes skey, struct bytes sval, struct bytes *key, struct bytes *val);
/* What a log's row counts for in its head. A damaged one may be shorter than its own header. */
static inline uint64_t codec_log_bytes(size_t stored) { return stored > 1 ? stored - 1 : 0; }
int codec_get_log_row(struct bytes skey, struct bytes sval, struct bytes *key, struct bytes *val);

/* mod_stream_management/journal.h: the rows in the store. Owner: the server's id; keys begin with the
 * hash of the SM-ID. */
#pragma once

#include "sm.h"

extern const struct gr_coll sm_colls[4];
#define SESSIONS (&sm_colls[0])  /* version, time-out, full JID with NUL, gr_session_image */
#define COUNTERS (&sm_colls[1])  /* version, clean, h, acked, sent, crashed_at */
#define QUEUE (&sm_colls[2])     /* key: and the number; version, copy, time, XML */

enum { ROW_VERSION = 1, IMAGE_HEAD = 9, COUNTERS_ROW = 34, STANZA_HEAD = 10,
       QUEUE_KEY = HASH_SIZE + 8 };

void put_u64(uint8_t *out, uint64_t v);
uint64_t get_u64(const uint8_t *in);
/* end.c: NULL: damaged / a row of that queue, with a number below that */
struct gr_held *stanza_of_row(const struct gr_row *row);
bool row_is_of(const struct gr_row *row, const uint8_t hash[HASH_SIZE], uint64_t before);
void queue_key(const uint8_t hash[HASH_SIZE], uint64_t number, uint8_t out[QUEUE_KEY]);

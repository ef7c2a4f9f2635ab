/* grapnel/base.h: result codes, assertions, memory and small strings for everybody.
 *
 * Conventions of the whole API: an `int` result is 0 (or a count) or a negative GR_E...; a pointer
 * result of NULL means "not there"; a `bool` answers a question and is never a success code.
 * `take` in a parameter name passes ownership, also when the call fails. Pointers handed to a
 * callback are borrowed until it returns. Times are milliseconds unless a name says otherwise. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GR_API __attribute__((visibility("default")))
#define GR_PRINTF(f, a) __attribute__((format(printf, f, a)))

enum gr_err {
    GR_E_OK = 0,
    GR_ENOMEM = -1,    /* memory, or a limit on memory                              */
    GR_EINVAL = -2,    /* malformed input                                           */
    GR_EFULL = -3,     /* disk full, map full: try later                            */
    GR_EIO = -4,       /* the environment failed                                    */
    GR_ENOENT = -5,    /* not there                                                 */
    GR_EEXIST = -6,    /* there already                                             */
    GR_EAGAIN = -7,    /* busy, a queue is at its bound: try later                  */
    GR_ECANCELED = -8, /* whoever asked or answered went away                       */
    GR_ELIMIT = -9,    /* larger than a configured limit                            */
    GR_ENOTSUP = -10   /* nobody here can do that                                   */
};

/* A short English phrase for a gr_err; static memory. Any thread. */
GR_API const char *gr_strerror(int err);

/* Our own promises. Always on: a broken invariant stops the server rather than corrupt data.
 * Peers' mistakes are answered, never asserted. */
#define gr_assert(x) ((x) ? (void)0 : gr_assert_failed(#x, __FILE__, __LINE__))
GR_API _Noreturn void gr_assert_failed(const char *expr, const char *file, int line);

/* Zeroed memory; aborts when there is none (small, bounded sizes only). Free with gr_free. */
GR_API void *gr_alloc(size_t size);
/* As gr_alloc for sizes that a peer can choose: NULL when there is none. */
GR_API void *gr_try_alloc(size_t size);
/* Aborts when there is none, as gr_alloc; what is new in a larger block is not zeroed. */
GR_API void *gr_realloc(void *take, size_t size);
GR_API void gr_free(void *take); /* accepts NULL */
/* The caller frees these; like gr_alloc they abort when there is no memory. */
GR_API char *gr_strdup(const char *s);
GR_API char *gr_strndup(const char *s, size_t len); /* up to len bytes or the first NUL */
GR_API char *gr_asprintf(const char *fmt, ...) GR_PRINTF(1, 2);
/* Overwrites a secret; is not optimised away. */
GR_API void gr_wipe(void *p, size_t len);

/* Equal without a hint where they differ; for secrets. */
GR_API bool gr_equal_secret(const void *a, const void *b, size_t len);

/* Wall clock in microseconds since 1970 / monotonic milliseconds of the calling loop (the clock
 * of the last wake-up; virtual in the test harness). */
GR_API int64_t gr_wall_us(void);
GR_API int64_t gr_now_ms(void);

/* `len` unpredictable bytes; never fails (stops the process when the system has none). */
GR_API void gr_random(void *out, size_t len);
/* Unpredictable id of 16 characters [a-z0-9] plus NUL. Unique across nodes. */
#define GR_ID_SIZE 17
GR_API void gr_random_id(char out[GR_ID_SIZE]);

/* XEP-0082 DateTime in UTC, e.g. 2026-11-20T06:10:57.123Z; out needs GR_STAMP_SIZE bytes. */
#define GR_STAMP_SIZE 32
GR_API void gr_stamp(char out[GR_STAMP_SIZE], int64_t wall_us);
/* Reads one, with any offset from UTC and any fraction of a second (rounded down to microseconds). 0,
 * or GR_EINVAL. */
GR_API int gr_stamp_parse(const char *s, int64_t *wall_us);

/* Strict base64 (RFC 4648, 4). Encode: out needs 4 * ((len + 2) / 3) + 1 bytes. Decode: out needs
 * 3 * (len / 4) bytes; returns the length or GR_EINVAL (white space, bad padding, bad alphabet). */
GR_API size_t gr_base64_encode(char *out, const void *in, size_t len);
GR_API int gr_base64_decode(void *out, const char *in, size_t len);
GR_API void gr_sha256(uint8_t out[32], const void *in, size_t len);
/* Lower case; out needs 2 * len + 1 bytes. */
GR_API void gr_hex_encode(char *out, const void *in, size_t len);

/* Hash functions by their names in XMPP (XEP-0300, 4 and 5): sha-1, sha-224, sha-256, sha-384, sha-512,
 * sha3-224 to sha3-512, blake2b-512. The size in bytes, 0: unknown; gr_hash: that, or GR_ENOTSUP. */
#define GR_HASH_MAX 64
GR_API size_t gr_hash_size(const char *name);
GR_API int gr_hash(const char *name, const void *in, size_t len, uint8_t out[GR_HASH_MAX]);
/* HMAC with that hash function (RFC 2104); answers as gr_hash. Any thread. */
GR_API int gr_hmac(const char *name, const void *key, size_t key_len, const void *in, size_t len,
                   uint8_t out[GR_HASH_MAX]);

#define GR_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define GR_COUNT(a) (sizeof(a) / sizeof((a)[0]))

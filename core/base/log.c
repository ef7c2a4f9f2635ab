/* base/log.c: one escaped line per event to stderr, the journal or a test, with rate limits per id.
 *
 * Lines are formatted on the caller's stack; the lock covers the limits' table and the one write
 * that emits a line, so lines of different threads do not mix. Any thread. */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/table.h"

#define MESSAGE_MAX 2048
#define LINE_MAX (4 * MESSAGE_MAX + 256) /* an escaped byte is four characters */
#define ID_MAX 48
#define LIMITS 256                       /* ids that are counted at the same time */
#define PROBES 8
#define WINDOW_MS 10000
#define SWEEP_MS 1000

struct limit {
    char id[ID_MAX]; /* a copy: the id may be text of a module that is unloaded later */
    enum gr_log_level level;
    int64_t since;
    unsigned lines; /* 0: the entry is free */
    unsigned suppressed;
};

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const unsigned budgets[] = { 200, 20, 20, UINT32_MAX };

static atomic_int max_level = GR_LOG_INFO;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* All below under the lock. */
static struct limit limits[LIMITS];
static int64_t last_sweep;
static void (*sink)(void *ctx, enum gr_log_level level, const char *line);
static void *sink_ctx;

static bool to_journal;
static pthread_once_t journal_once = PTHREAD_ONCE_INIT;

/* JOURNAL_STREAM is device:inode of the journal's socket; it is inherited also by processes whose
 * stderr has been redirected since, hence the comparison (systemd.exec(5)). */
static void find_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;

    if (stream == NULL || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
        return;
    to_journal = fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_set_level(enum gr_log_level level)
{
    atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

bool gr_log_enabled(enum gr_log_level level)
{
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

void log_set_sink(void (*new_sink)(void *ctx, enum gr_log_level level, const char *line), void *ctx)
{
    pthread_mutex_lock(&lock);
    sink = new_sink;
    sink_ctx = ctx;
    memset(limits, 0, sizeof(limits));
    last_sweep = 0;
    pthread_mutex_unlock(&lock);
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629, 4), 0 when there is none. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

/* What could forge a line, drive a terminal or reorder the text on it: C0, DEL, C1, the line and
 * paragraph separators, the bidi controls. And the backslash, so that escapes cannot be forged. */
static bool is_plain(const uint8_t *p, size_t len)
{
    if (len == 1)
        return p[0] >= 0x20 && p[0] < 0x7f && p[0] != '\\';
    if (len == 2)
        return p[0] != 0xc2 || p[1] >= 0xa0;
    if (p[0] == 0xe2 && p[1] == 0x80)
        return p[2] != 0x8e && p[2] != 0x8f && (p[2] < 0xa8 || p[2] > 0xae);
    return p[0] != 0xe2 || p[1] != 0x81 || p[2] < 0xa6 || p[2] > 0xa9;
}

/* out needs 4 * strlen(text) + 1 bytes. */
static void escape(char *out, const char *text)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t left = strlen(text);
    char *o = out;

    while (left > 0) {
        size_t len = utf8_len(p, left);

        if (len > 0 && is_plain(p, len)) {
            memcpy(o, p, len);
            o += len;
        } else {
            len = len == 0 ? 1 : len;
            for (size_t i = 0; i < len; i++) {
                if (p[i] == '\n' || p[i] == '\\')
                    o += sprintf(o, "\\%c", p[i] == '\n' ? 'n' : '\\');
                else
                    o += sprintf(o, "\\x%02x", p[i]);
            }
        }
        p += len;
        left -= len;
    }
    *o = '\0';
}

static void write_all(const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* a log that cannot be written is no reason to stop */
        p += n;
        len -= (size_t)n;
    }
}

/* Under the lock. `id` and `message` are clean. */
static void emit(enum gr_log_level level, const char *id, const char *message)
{
    static const int priorities[] = { 3, 4, 6, 7 }; /* syslog(3) */
    char line[LINE_MAX], stamp[GR_STAMP_SIZE];
    int n;

    if (sink != NULL) {
        snprintf(line, sizeof(line), "%s %s: %s", level_names[level], id, message);
        sink(sink_ctx, level, line);
        return;
    }
    if (to_journal) {
        n = snprintf(line, sizeof(line), "<%d>%s: %s\n", priorities[level], id, message);
    } else {
        gr_stamp(stamp, gr_wall_us());
        n = snprintf(line, sizeof(line), "%s %s %s: %s\n", stamp, level_names[level], id, message);
    }
    if (n > 0)
        write_all(line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

/* Ends a window: says what was left out, frees the entry. */
static void limit_end(struct limit *l)
{
    char text[160];

    if (l->suppressed > 0) {
        snprintf(text, sizeof(text), "%u more %s lines of %s were left out", l->suppressed,
                 level_names[l->level], l->id);
        emit(l->level, "log.suppressed", text);
    }
    l->lines = l->suppressed = 0;
}

static void sweep(int64_t now)
{
    if (now - last_sweep < SWEEP_MS && now >= last_sweep)
        return;
    last_sweep = now;
    for (size_t i = 0; i < LIMITS; i++)
        if (limits[i].lines > 0 && now - limits[i].since >= WINDOW_MS)
            limit_end(&limits[i]);
}

/* The window of this id, new if need be. When the neighbourhood is full the oldest one ends early:
 * more ids than places can only mean more lines, never a lost count. */
static struct limit *limit_of(enum gr_log_level level, const char *id, int64_t now)
{
    size_t at = (size_t)(hash_bytes(id, strlen(id)) + (uint64_t)level);
    struct limit *place = NULL;

    for (size_t i = 0; i < PROBES; i++) {
        struct limit *l = &limits[(at + i) % LIMITS];

        if (l->lines > 0 && l->level == level && strcmp(l->id, id) == 0)
            return l;
        if (place == NULL || (place->lines > 0 && (l->lines == 0 || l->since < place->since)))
            place = l;
    }
    limit_end(place);
    snprintf(place->id, sizeof(place->id), "%s", id);
    place->level = level;
    place->since = now;
    return place;
}

/* True when the line is within its id's budget. */
static bool admit(enum gr_log_level level, const char *id)
{
    int64_t now = clock_monotonic_ms();
    struct limit *l;

    sweep(now);
    if (level == GR_LOG_DEBUG)
        return true;
    l = limit_of(level, id, now);
    if (now - l->since >= WINDOW_MS) { /* ended since the last sweep */
        limit_end(l);
        l->since = now;
    }
    if (l->lines >= budgets[level]) {
        l->suppressed++;
        return false;
    }
    l->lines++;
    return true;
}

void gr_log(enum gr_log_level level, const char *id, const char *fmt, ...)
{
    char message[MESSAGE_MAX], escaped[4 * MESSAGE_MAX], id_text[ID_MAX];
    int saved_errno = errno;
    va_list ap;
    bool admitted;
    int n;

    gr_assert((unsigned)level < GR_COUNT(level_names));
    if (!gr_log_enabled(level))
        return;
    snprintf(id_text, sizeof(id_text), "%s", id);
    pthread_once(&journal_once, find_journal);
    pthread_mutex_lock(&lock);
    admitted = admit(level, id_text);
    pthread_mutex_unlock(&lock);
    if (!admitted) /* a flood does not pay for formatting */
        goto out;

    va_start(ap, fmt);
    n = vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    if (n < 0)
        snprintf(message, sizeof(message), "(unprintable) %s", fmt);
    else if ((size_t)n >= sizeof(message))
        memcpy(message + sizeof(message) - 4, "...", 4);
    escape(escaped, message);
    pthread_mutex_lock(&lock);
    emit(level, id_text, escaped);
    pthread_mutex_unlock(&lock);
out:
    errno = saved_errno;
}

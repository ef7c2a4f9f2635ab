/* net/peers.c: how many connections each address has and how fast it makes them (reliability 6.5).
 *
 * Any loop counts, so this is one of the few places with locks: SHARDS small tables, each with its
 * mutex, held for a lookup. An entry lives while it has connections (bounded by file descriptors);
 * afterwards only its rate is remembered, for at most IDLE_MAX addresses per shard, oldest out. */
#include "net/listen.h"

#include "base/table.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define SHARDS   16
#define IDLE_MAX 1024
#define BURST_S  3

struct peer {
    struct table_node node;
    struct link idle; /* in the shard's list while it has no connections */
    uint8_t key[16];
    int connections, unauthenticated;
    int64_t tokens; /* thousandths of a connection that may still come at once */
    int64_t at;     /* when tokens was right */
};

static struct shard {
    pthread_mutex_t lock;
    struct table peers;
    struct link idle; /* oldest first */
    size_t idle_count;
} shards[SHARDS];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int unauthenticated_all, connections_all;

static void shards_init(void)
{
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&shards[i].lock, NULL);
        list_init(&shards[i].idle);
    }
}

static struct shard *lock_shard(const uint8_t key[16])
{
    struct shard *s;

    pthread_once(&once, shards_init);
    s = &shards[(hash_bytes(key, 16) >> 32) % SHARDS];
    pthread_mutex_lock(&s->lock);
    return s;
}

static struct peer *find(const struct shard *s, const uint8_t key[16])
{
    struct table_node *n = table_find(&s->peers, key, 16);

    return n != NULL ? GR_CONTAINER_OF(n, struct peer, node) : NULL;
}

static void forget_oldest(struct shard *s)
{
    struct peer *p = list_entry(s->idle.next, struct peer, idle);

    list_remove(&p->idle);
    s->idle_count--;
    table_remove(&s->peers, &p->node);
    gr_free(p);
}

static void put_idle(struct shard *s, struct peer *p)
{
    list_append(&s->idle, &p->idle);
    if (++s->idle_count > IDLE_MAX)
        forget_oldest(s);
}

static void take_idle(struct shard *s, struct peer *p)
{
    if (p->idle.next == NULL)
        return;
    list_remove(&p->idle);
    s->idle_count--;
}

static struct peer *obtain(struct shard *s, const uint8_t key[16], int64_t now)
{
    struct peer *p = find(s, key);

    if (p != NULL)
        return p;
    p = gr_alloc(sizeof(*p));
    memcpy(p->key, key, sizeof(p->key));
    p->tokens = INT64_MAX; /* a full bucket, whatever the rate is */
    p->at = now;
    table_insert(&s->peers, &p->node, p->key, sizeof(p->key));
    return p;
}

static bool under_rate(struct peer *p, int rate, int64_t now)
{
    int64_t full, passed = now - p->at;

    if (rate <= 0)
        return true;
    full = (int64_t)rate * BURST_S * 1000;
    if (passed > BURST_S * 1000)
        passed = BURST_S * 1000;
    if (passed > 0) { /* loops' clocks differ by a wake-up */
        p->tokens = p->tokens < full ? p->tokens + passed * rate : full;
        p->at = now;
    }
    if (p->tokens > full)
        p->tokens = full;
    if (p->tokens < 1000)
        return false;
    p->tokens -= 1000;
    return true;
}

bool peers_admit(const uint8_t key[16], const struct listen_opts *o)
{
    int64_t now = gr_now_ms();
    struct shard *s = lock_shard(key);
    struct peer *p = obtain(s, key, now);
    bool ok;

    take_idle(s, p);
    ok = under_rate(p, o->new_per_ip_per_s, now) &&
         (o->max_per_ip <= 0 || p->connections < o->max_per_ip) &&
         (o->max_unauthenticated_per_ip <= 0 || p->unauthenticated < o->max_unauthenticated_per_ip);
    if (ok) {
        int all = atomic_fetch_add(&unauthenticated_all, 1);

        ok = o->max_unauthenticated <= 0 || all < o->max_unauthenticated;
        if (!ok)
            atomic_fetch_sub(&unauthenticated_all, 1);
    }
    if (ok) {
        p->connections++;
        p->unauthenticated++;
        atomic_fetch_add(&connections_all, 1);
    } else if (p->connections == 0) {
        put_idle(s, p);
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

void peers_authenticated(const uint8_t key[16])
{
    struct shard *s = lock_shard(key);
    struct peer *p = find(s, key);

    gr_assert(p != NULL && p->unauthenticated > 0);
    p->unauthenticated--;
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_sub(&unauthenticated_all, 1);
}

void peers_gone(const uint8_t key[16], bool was_authenticated)
{
    struct shard *s = lock_shard(key);
    struct peer *p = find(s, key);

    gr_assert(p != NULL && p->connections > 0);
    if (!was_authenticated) {
        gr_assert(p->unauthenticated > 0);
        p->unauthenticated--;
        atomic_fetch_sub(&unauthenticated_all, 1);
    }
    atomic_fetch_sub(&connections_all, 1);
    if (--p->connections == 0)
        put_idle(s, p);
    pthread_mutex_unlock(&s->lock);
}

void peers_totals(size_t *connections, size_t *unauthenticated, size_t *addresses)
{
    pthread_once(&once, shards_init);
    *connections = (size_t)atomic_load(&connections_all);
    *unauthenticated = (size_t)atomic_load(&unauthenticated_all);
    *addresses = 0;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&shards[i].lock);
        *addresses += shards[i].peers.count;
        pthread_mutex_unlock(&shards[i].lock);
    }
}

void peers_key(const struct sockaddr_storage *peer, uint8_t key[16], char text[INET6_ADDRSTRLEN])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    const void *v4 = NULL;

    memset(key, 0, 16);
    if (text != NULL)
        strcpy(text, "local");
    if (peer == NULL)
        return;
    if (peer->ss_family == AF_INET) {
        v4 = &((const struct sockaddr_in *)peer)->sin_addr;
    } else if (peer->ss_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)peer)->sin6_addr;

        if (IN6_IS_ADDR_V4MAPPED(a)) {
            v4 = &a->s6_addr[12];
        } else {
            memcpy(key, a->s6_addr, 8); /* /64: what one customer gets */
            if (text != NULL)
                inet_ntop(AF_INET6, a, text, INET6_ADDRSTRLEN);
        }
    }
    if (v4 != NULL) {
        memcpy(key, mapped, sizeof(mapped));
        memcpy(key + 12, v4, 4);
        if (text != NULL)
            inet_ntop(AF_INET, v4, text, INET6_ADDRSTRLEN);
    }
}

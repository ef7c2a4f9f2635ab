/* mod_register/rate.c: how many accounts were made within the last hour, per address and in all.
 *
 * One row per account: the key is the time (microseconds, big-endian) and 8 random bytes, the
 * value the address; IPv6 addresses count by their /64, which is what one customer has. Rows older
 * than an hour go when the next one comes. Two loops that ask at the same instant may both get the
 * last place; otherwise the bounds are exact. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "register.h"

#define ROWS_MAX 10000 /* more than `total` allows in an hour */
#define HOUR_US ((int64_t)3600 * 1000000)

const struct gr_coll rate_collections[] = { GR_MAP("register_rate"), GR_COLL_END };

struct asking {
    rate_f done;
    void *ctx;
    unsigned char *key;
    char group[INET6_ADDRSTRLEN + 4];
};

/* "192.0.2.1" or "2001:db8::/64". */
static void group_of(const char *ip, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;

    if (inet_pton(AF_INET6, ip, &addr) != 1) {
        snprintf(out, size, "%s", ip);
    } else if (IN6_IS_ADDR_V4MAPPED(&addr)) {
        inet_ntop(AF_INET, addr.s6_addr + 12, text, sizeof(text));
        snprintf(out, size, "%s", text);
    } else {
        memset(addr.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &addr, text, sizeof(text));
        snprintf(out, size, "%s/64", text);
    }
}

static void make_key(unsigned char key[RATE_KEY_SIZE], int64_t us)
{
    for (int i = 0; i < 8; i++)
        key[i] = (unsigned char)((uint64_t)us >> (56 - 8 * i));
    gr_random(key + 8, 8);
}

static int64_t time_of(const struct gr_row *row)
{
    uint64_t us = 0;

    for (size_t i = 0; i < 8 && i < row->key_len; i++)
        us = us << 8 | ((const unsigned char *)row->key)[i];
    return (int64_t)us;
}

static bool is_from(const struct gr_row *row, const char *group)
{
    return row->val_len == strlen(group) && memcmp(row->val, group, row->val_len) == 0;
}

/* Of the last hour; a clock that was set back leaves rows of the future, which do not count. */
static bool is_recent(const struct gr_row *row, int64_t now)
{
    int64_t at = time_of(row);

    return at > now - HOUR_US && at < now + HOUR_US;
}

static void update(struct gr_mod *self, const struct asking *a, const struct gr_rows *rows,
                   int64_t now, bool allowed)
{
    const char *host = gr_mod_host_jid(self)->domain;
    struct gr_txn *t = gr_txn_new(self);
    size_t changes = allowed;

    for (size_t i = 0; i < rows->count; i++) {
        if (is_recent(&rows->row[i], now))
            continue;
        gr_txn_del(t, &rate_collections[0], host, rows->row[i].key, rows->row[i].key_len);
        changes++;
    }
    if (allowed) {
        make_key(a->key, now);
        gr_txn_put(t, &rate_collections[0], host, a->key, RATE_KEY_SIZE, a->group,
                   strlen(a->group));
    }
    if (changes > 0)
        gr_txn_commit(t, NULL);
    else
        gr_txn_drop(&t);
}

static void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct register_conf *conf = gr_conf(self);
    const struct asking *a = gr_req_data(req);
    int64_t now = gr_wall_us(), all = 0, same = 0;
    bool allowed;

    for (size_t i = 0; i < rows->count; i++) {
        if (!is_recent(&rows->row[i], now))
            continue;
        all++;
        same += is_from(&rows->row[i], a->group);
    }
    allowed = rows->rc == 0 && !rows->more && (conf->total == 0 || all < conf->total) &&
              (conf->per_ip == 0 || same < conf->per_ip);
    update(self, a, rows, now, allowed);
    a->done(self, a->ctx, allowed);
}

void rate_take(struct gr_mod *self, const char *ip, unsigned char key[RATE_KEY_SIZE], rate_f done,
               void *ctx)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct asking), on_rows);
    struct asking *a = gr_req_data(req);

    a->done = done;
    a->ctx = ctx;
    a->key = key;
    group_of(ip, a->group, sizeof(a->group));
    gr_store_range(req, &rate_collections[0], gr_mod_host_jid(self)->domain, NULL, 0, ROWS_MAX);
}

void rate_give_back(struct gr_mod *self, const unsigned char key[RATE_KEY_SIZE])
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_del(t, &rate_collections[0], gr_mod_host_jid(self)->domain, key, RATE_KEY_SIZE);
    gr_txn_commit(t, NULL);
}

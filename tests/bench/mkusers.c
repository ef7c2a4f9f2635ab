/* tests/bench/mkusers.c: fills a data directory for measurements while the server is down:
 * accounts (all with the same credentials, so that one PBKDF2 is enough), rosters of mutual
 * contacts, messages that wait. Rows are those of stream/auth.c, mod_roster/record.c and
 * mod_offline/keep.c. */
#include "loop/loop.h"
#include "store/store.h"
#include "stream/creds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *domain = "localhost", *password = "secret", *prefix = "u";
static int in_flight;
static uint64_t rows, failures;

static void on_done(struct store_req *req)
{
    failures += req->rows.rc != 0;
    in_flight--;
    free(req);
}

static void run(void)
{
    while (in_flight > 0) {
        store_step();
        loops_step();
    }
}

static void commit(struct store_txn *t)
{
    struct store_req *req = calloc(1, sizeof(*req));

    req->done = on_done;
    in_flight++;
    store_commit(t, req);
    if (in_flight >= 5000)
        run();
}

static uint8_t *put_be(uint8_t *at, uint64_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *at++ = (uint8_t)(v >> (8 * i));
    return at;
}

/* --- rows --- */

static void accounts(int first, int count)
{
    struct store_coll *coll = store_coll("account", GR_COLL_MAP);
    uint32_t iterations[SCRAM_HASHES] = { 4096, 4096, 4096 };
    uint8_t row[10 + CREDS_ENCODED_MAX] = { 1 };
    struct creds creds;
    char name[64];

    if (creds_make(password, strlen(password), SCRAM_ALL_HASHES, iterations, &creds) != 0)
        abort();
    size_t len = 10 + creds_encode(&creds, row + 10, CREDS_ENCODED_MAX);
    put_be(row + 2, (uint64_t)gr_wall_us(), 8);
    for (int i = first; i < first + count; i++, rows++) {
        struct store_txn *t = store_txn_new();
        snprintf(name, sizeof(name), "%s%d", prefix, i);
        store_txn_add(t, STORE_PUT, coll, domain, name, strlen(name), row, len);
        commit(t);
    }
    run();
}

/* Groups of `size` accounts, each the contact of all others; a group that does not exist as
 * accounts is fine, too. */
static void rosters(int first, int count, int size)
{
    struct store_coll *items = store_coll("roster_items", GR_COLL_MAP);
    struct store_coll *meta = store_coll("roster_meta", GR_COLL_MAP);
    uint8_t row[64] = { 1, 1 | 2 }, head[29] = { 1 };
    char owner[128], contact[128];
    uint64_t ver = (uint64_t)gr_wall_us();

    put_be(row + 2, ver, 8);
    size_t row_len = (size_t)(put_be(put_be(row + 10, 0, 2), 0, 2) - row);
    put_be(head + 1, ver, 8);
    put_be(head + 17, (uint64_t)size - 1, 4);
    for (int i = first; i < first + count; i++) {
        struct store_txn *t = store_txn_new();
        int base = first + (i - first) / size * size;
        snprintf(owner, sizeof(owner), "%s%d@%s", prefix, i, domain);
        for (int k = base; k < base + size; k++) {
            if (k == i)
                continue;
            snprintf(contact, sizeof(contact), "%s%d@%s", prefix, k, domain);
            store_txn_add(t, STORE_PUT, items, owner, contact, strlen(contact), row, row_len);
            rows++;
        }
        store_txn_add(t, STORE_PUT, meta, owner, "meta", 4, head, sizeof(head));
        commit(t);
        if (size > 100)
            run();
    }
    run();
}

static void messages(int first, int count, int each)
{
    struct store_coll *log = store_coll("offline.messages", GR_COLL_LOG);
    uint8_t row[1024] = { 1 };
    char owner[128];

    for (int i = first; i < first + count; i++) {
        struct store_txn *t = store_txn_new();
        snprintf(owner, sizeof(owner), "%s%d@%s", prefix, i, domain);
        put_be(row + 1, (uint64_t)gr_wall_us(), 8);
        for (int k = 0; k < each; k++, rows++) {
            int n = snprintf((char *)row + 9, sizeof(row) - 9,
                             "<message xmlns='jabber:client' from='%s%d@%s/b' to='%s' type='chat' "
                             "id='k%d'><body>%0200d</body></message>",
                             prefix, i + 1, domain, owner, k, k);
            store_txn_add(t, STORE_APPEND, log, owner, NULL, 0, row, 9 + (size_t)n);
        }
        commit(t);
    }
    run();
}

int main(int argc, char **argv)
{
    struct store_opts opts = {
        .manual = true, .commit_delay_us = -1, .sync = false, .map_size = (size_t)64 << 30
    };
    char *why = NULL;

    if (argc < 5) {
        fputs(
            "mkusers DIR PREFIX FIRST COUNT [roster=SIZE] [messages=EACH] [domain=D] [password=P]\n"
            "        [accounts=no]: fills the data directory of a server that does not run\n",
            stderr);
        return 2;
    }
    prefix = argv[2];
    int first = atoi(argv[3]), count = atoi(argv[4]), roster = 0, each = 0;
    bool make = true;
    for (int i = 5; i < argc; i++) {
        if (strncmp(argv[i], "roster=", 7) == 0)
            roster = atoi(argv[i] + 7);
        else if (strncmp(argv[i], "messages=", 9) == 0)
            each = atoi(argv[i] + 9);
        else if (strncmp(argv[i], "domain=", 7) == 0)
            domain = argv[i] + 7;
        else if (strncmp(argv[i], "password=", 9) == 0)
            password = argv[i] + 9;
        else if (strcmp(argv[i], "accounts=no") == 0)
            make = false;
    }
    opts.dir = argv[1];
    mkdir(opts.dir, 0700);
    loops_init(1, true);
    loop_enter(loop_at(0));
    if (store_open(&opts, &why) != 0) {
        fprintf(stderr, "mkusers: %s\n", why);
        return 1;
    }
    if (make)
        accounts(first, count);
    if (roster > 1)
        rosters(first, count, roster);
    if (each > 0)
        messages(first, count, each);
    store_close();
    loops_fini();
    printf("%llu rows, %llu failed\n", (unsigned long long)rows, (unsigned long long)failures);
    return failures == 0 ? 0 : 1;
}

/* ports.c: the open listeners and how a reload exchanges them. Each is known by everything its
 * configuration says: one that says the same stays open, so established and waiting connections never
 * notice a reload. */
#include "ports.h"

#include "base/buf.h"
#include "net/listen.h"
#include "stream/c2s.h"

#include <string.h>
#include <unistd.h>

/* An open listener. Loops read only `tls`, which never changes. */
struct port {
    struct link link;
    enum conf_tls tls;
    char *key;               /* everything its configuration says */
    struct listener *listener;
};
static struct link open_now = { &open_now, &open_now };

static void on_accepted(void *ctx, int fd, const struct sockaddr_storage *peer, bool first_is_tls)
{
    const struct port *p = ctx;

    c2s_accept(p->tls, fd, peer, first_is_tls);
}

static char *port_key(const struct conf_listen *l, const struct conf_limits *lim)
{
    struct buf b = { 0 };
    char *key;

    buf_printf(&b, "%s %d %d %lld %lld %lld %lld %lld", l->name, (int)l->type, (int)l->tls,
               (long long)l->port, (long long)l->max_per_ip,
               (long long)lim->unauthenticated_per_ip, (long long)lim->accept_rate_per_ip,
               (long long)lim->unauthenticated_percent);
    for (size_t i = 0; l->address[i] != NULL; i++)
        buf_printf(&b, " %s", l->address[i]);
    key = gr_strdup(buf_str(&b));
    buf_fini(&b);
    return key;
}

static struct port *find_port(const struct link *ports, const char *key)
{
    list_each(p, ports, struct port, link)
        if (strcmp(p->key, key) == 0)
            return p;
    return NULL;
}

static void close_port(struct port *p)
{
    list_remove(&p->link);
    if (p->listener != NULL)
        listener_close(&p->listener);
    gr_free(p->key);
    gr_free(p);
}

void ports_drop(struct link *ports)
{
    while (!list_empty(ports))
        close_port(list_entry(ports->next, struct port, link));
}

static int open_port(struct link *ports, const struct conf_listen *l, const struct conf_limits *lim,
                     char *take_key, char **why)
{
    struct port *p = gr_alloc(sizeof(*p));
    struct listen_opts o = {
        .name = l->name, .addresses = l->address, .port = (uint16_t)l->port,
        .direct_tls = l->tls == CONF_TLS_DIRECT, .sniff_tls = true,
        .max_per_ip = (int)l->max_per_ip,
        .max_unauthenticated_per_ip = (int)lim->unauthenticated_per_ip,
        .max_unauthenticated = (int)(sysconf(_SC_OPEN_MAX) * lim->unauthenticated_percent / 100),
        .new_per_ip_per_s = (int)lim->accept_rate_per_ip,
        .accepted = on_accepted, .ctx = p,
    };

    p->tls = l->tls;
    p->key = take_key;
    list_append(ports, &p->link);
    return listener_open(&o, &p->listener, why);
}

int ports_open(const struct conf *conf, struct link *fresh, char **why)
{
    list_init(fresh);
    for (size_t i = 0; i < conf->listen_count; i++) {
        char *key = port_key(&conf->listens[i], &conf->limits);
        if (find_port(&open_now, key) != NULL) {
            gr_free(key);
            continue;
        }
        char *reason = NULL;
        int rc = open_port(fresh, &conf->listens[i], &conf->limits, key, &reason);
        if (rc != 0) {
            const struct conf_place at = conf->listens[i].at;

            *why = gr_asprintf("%s:%d: %s", at.file, at.line, reason);
            gr_free(reason);
            ports_drop(fresh);
            return rc;
        }
    }
    return 0;
}

void ports_use(const struct conf *conf, struct link *fresh)
{
    list_each(p, &open_now, struct port, link) {
        bool wanted = false;
        for (size_t i = 0; i < conf->listen_count && !wanted; i++) {
            char *key = port_key(&conf->listens[i], &conf->limits);
            wanted = strcmp(key, p->key) == 0;
            gr_free(key);
        }
        if (!wanted)
            close_port(p);
    }
    while (!list_empty(fresh)) {
        struct port *p = list_entry(fresh->next, struct port, link);
        list_remove(&p->link);
        list_append(&open_now, &p->link);
        listener_start(p->listener);
        gr_info("server.listening", "%.*s on port %u", (int)strcspn(p->key, " "), p->key,
                (unsigned)listener_port(p->listener));
    }
}

void ports_close(void)
{
    ports_drop(&open_now);
}

/* conf/check.c: what must be right across options and sections, when each alone is. */
#include "conf/check.h"

#include <arpa/inet.h>
#include <string.h>

#define SOCKET_PATH_MAX 107 /* sun_path without NUL */

static struct conf_place key_place(const struct conf *c, const char *section, const char *key)
{
    struct table_node *n = table_find_str(&c->ini.sections, section);
    const struct ini_section *s = n != NULL ? GR_CONTAINER_OF(n, struct ini_section, node) : NULL;
    const struct ini_entry *e = ini_find(s, key);

    return e != NULL   ? e->at
           : s != NULL ? s->at
                       : (struct conf_place){ c->ini.files[0].path, 0 };
}

static void server_check(const struct conf *c, struct conf_errors *errs)
{
    const struct conf_server *s = &c->server;

    if (s->data_dir[0] == '\0')
        conf_errors_add(errs, key_place(c, "server", "data_dir"),
                        "`data_dir` is empty: write the name of a folder");
    if (strlen(s->ctl_socket) > SOCKET_PATH_MAX)
        conf_errors_add(errs, key_place(c, "server", "data_dir"), "the path %.60s... is too long "
                        "for a socket (%d bytes): set `ctl_socket` to a shorter one",
                        s->ctl_socket, SOCKET_PATH_MAX);
}

static void limits_check(const struct conf *c, struct conf_errors *errs)
{
    const struct conf_limits *l = &c->limits;

    if (l->output_hard < l->output_high)
        conf_errors_add(errs, key_place(c, "limits", "output_hard"),
                        "`output_hard` is below `output_high`: raise it");
    if (l->memory_before_login < 6 * l->stanza_before_login)
        conf_errors_add(errs, key_place(c, "limits", "memory_before_login"),
                        "`memory_before_login` has no room for `stanza_before_login`: make it at "
                        "least six times as large");
}

static const char *address_shared(const struct conf_listen *a, const struct conf_listen *b)
{
    for (size_t i = 0; a->address[i] != NULL; i++) {
        for (size_t j = 0; b->address[j] != NULL; j++) {
            if (strcmp(a->address[i], b->address[j]) == 0)
                return a->address[i];
        }
    }
    return NULL;
}

static void addresses_check(const struct conf_listen *l, struct conf_errors *errs)
{
    struct in6_addr any;

    for (size_t i = 0; l->address[i] != NULL; i++)
        if (inet_pton(AF_INET, l->address[i], &any) != 1 &&
            inet_pton(AF_INET6, l->address[i], &any) != 1)
            conf_errors_add(errs, l->at, "[listen %s]: %s is no numeric address: write one such as "
                            "127.0.0.1, ::1, or :: for all", l->name, l->address[i]);
}

static void listens_check(const struct conf *c, struct conf_errors *errs)
{
    for (size_t i = 0; i < c->listen_count; i++) {
        addresses_check(&c->listens[i], errs);
        for (size_t j = 0; j < i; j++) {
            const struct conf_listen *a = &c->listens[i], *b = &c->listens[j];
            const char *both = a->port != 0 && a->port == b->port ? address_shared(a, b) : NULL;

            if (both != NULL)
                conf_errors_add(errs, a->at, "[listen %s] and [listen %s] at %s:%d both use %s "
                                "port %d: change one", a->name, b->name, b->at.file, b->at.line,
                                both, (int)a->port);
        }
    }
}

/* An admin that is no account, or a mechanism nobody knows, would protect nobody. */
static void host_check(const struct conf *c, const struct conf_host *h, struct conf_errors *errs)
{
    static const char *const known[] = { "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512",
                                         "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS",
                                         "SCRAM-SHA-512-PLUS", "HT-SHA-256-EXPR",
                                         "HT-SHA-256-UNIQ", "HT-SHA-256-ENDP", "HT-SHA-256-NONE",
                                         "X-OAUTH",
                                         NULL };

    for (size_t i = 0; h->admins != NULL && h->admins[i] != NULL; i++) {
        const char *at = strchr(h->admins[i], '@');
        if (at == NULL)
            conf_errors_add(errs, h->at, "[host %s]: `admins`: %s is not an account: write "
                            "user@domain", h->domain, h->admins[i]);
        else if (conf_host(c, at + 1) == NULL)
            conf_errors_add(errs, h->at, "[host %s]: `admins`: %s is of no domain that is served "
                            "here", h->domain, h->admins[i]);
    }
    for (size_t i = 0; h->sasl_disable != NULL && h->sasl_disable[i] != NULL; i++) {
        size_t k = 0;
        while (known[k] != NULL && strcmp(known[k], h->sasl_disable[i]) != 0)
            k++;
        if (known[k] == NULL)
            conf_errors_add(errs, h->at, "[host %s]: `sasl_disable`: there is no mechanism %s; "
                            "there are PLAIN, SCRAM-SHA-1, -256, -512, the latter with -PLUS, and "
                            "HT-SHA-256-EXPR, -UNIQ, -ENDP, -NONE for tokens",
                            h->domain, h->sasl_disable[i]);
    }
}

static void components_check(const struct conf *c, struct conf_errors *errs)
{
    for (size_t i = 0; i < c->component_count; i++) {
        const struct conf_component *k = &c->components[i];
        const struct conf_host *h = conf_host(c, k->domain);

        if (h != NULL)
            conf_errors_add(errs, k->at, "[component %s] is the host at %s:%d as well: remove one",
                            k->domain, h->at.file, h->at.line);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(k->domain, c->components[j].domain) == 0)
                conf_errors_add(errs, k->at, "[component %s] is declared at %s:%d as well: remove "
                                "one", k->domain, c->components[j].at.file,
                                c->components[j].at.line);
        }
    }
}

void conf_check(const struct conf *c, struct conf_errors *errs)
{
    server_check(c, errs);
    limits_check(c, errs);
    listens_check(c, errs);
    components_check(c, errs);
    for (size_t i = 0; i < c->host_count; i++)
        host_check(c, &c->hosts[i], errs);
}

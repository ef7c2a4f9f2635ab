/* conf/conf.c: builds a generation of configuration from sections.
 *
 * Every check runs even after errors, on whatever could be read, so that one start shows all that
 * is wrong. A generation with any error is thrown away: nothing half-right is ever in use. */
#include "conf/conf.h"

#include <string.h>

#include "conf/check.h"
#include "conf/modules.h"
#include "conf/value.h"

#define LISTENS_MAX 256

static const struct gr_opt *table_of(const char *name)
{
    for (const struct conf_section *s = conf_sections; s->name != NULL; s++) {
        if (strcmp(s->name, name) == 0)
            return s->table;
    }
    gr_assert(!"a section of the core");
    return NULL;
}

static void apply(struct conf *c, const struct ini_section *s, const char *name, void *out,
                  struct conf_errors *errs)
{
    schema_apply(table_of(name), &s, 1, (struct conf_place){ c->ini.files[0].path, 0 }, out,
                 &c->mem, errs);
}

static const char *none_if_empty(const char *s)
{
    return s != NULL && s[0] != '\0' ? s : NULL;
}

/* --- listeners, components, hosts --- */

static void listen_add(struct conf *c, const struct ini_section *s, struct conf_errors *errs)
{
    struct conf_listen *l = &c->listens[c->listen_count];
    const struct ini_entry *tls = ini_find(s, "tls");

    if (c->listen_count == LISTENS_MAX) {
        conf_errors_add(errs, s->at, "there are more than %d listeners: remove [%s]", LISTENS_MAX,
                        s->title);
        return;
    }
    c->listen_count++;
    l->name = s->arg;
    l->at = s->at;
    apply(c, s, "listen", l, errs);
    if (l->type == CONF_COMPONENT && tls == NULL)
        l->tls = CONF_TLS_OPTIONAL; /* XEP-0114 knows no TLS; usually on the same machine */
    if (l->max_per_ip == 0)
        l->max_per_ip = c->limits.connections_per_ip;
    if (l->address != NULL && l->address[0] == NULL)
        conf_errors_add(errs, s->at, "[%s] has no address: write one, or remove the line to "
                        "listen on all", s->title);
}

static const char *domain_of(struct conf *c, const struct ini_section *s, struct conf_errors *errs)
{
    const char *domain = schema_address(&c->mem, s->arg, strlen(s->arg), true);

    if (domain == NULL)
        conf_errors_add(errs, s->at, "[%s]: this is not a domain: write for instance "
                        "[%s example.org]", s->title, s->name);
    return domain;
}

static void component_add(struct conf *c, const struct ini_section *s, struct conf_errors *errs)
{
    struct conf_component *k = &c->components[c->component_count];
    const char *domain = domain_of(c, s, errs);

    apply(c, s, "component", k, errs);
    if (domain == NULL)
        return;
    k->domain = domain;
    k->at = s->at;
    c->component_count++;
}

static void host_add(struct conf *c, const struct ini_section *s, struct conf_errors *errs)
{
    struct conf_host *h = &c->hosts[c->host_count];
    const char *domain = domain_of(c, s, errs);
    const struct conf_host *same;

    apply(c, s, "host", h, errs);
    if (domain == NULL)
        return;
    same = conf_host(c, domain);
    if (same != NULL) {
        conf_errors_add(errs, s->at, "[%s] is the same host as the one at %s:%d: remove one",
                        s->title, same->at.file, same->at.line);
        *h = (struct conf_host){ 0 };
        return;
    }
    h->domain = domain;
    h->at = s->at;
    h->certificate = none_if_empty(h->certificate);
    if (h->certificate != NULL)
        h->certificate_at = ini_find(s, "certificate")->at;
    h->key = none_if_empty(h->key);
    if (h->key != NULL && h->certificate == NULL)
        conf_errors_add(errs, ini_find(s, "key")->at, "[%s] has a key and no certificate: add "
                        "`certificate = ...`", s->title);
    if (h->key == NULL)
        h->key = h->certificate;
    if (h->max_sessions == 0)
        h->max_sessions = c->limits.sessions_per_account;
    table_insert(&c->by_domain, &h->node, h->domain, strlen(h->domain));
    c->host_count++;
}

/* --- which section is which --- */

static void section_unknown(const struct ini_section *s, struct conf_errors *errs)
{
    struct words_nearest near = { 0 };

    for (const struct conf_section *k = conf_sections; k->name != NULL; k++)
        words_try(&near, s->name, k->name);
    if (near.word != NULL)
        conf_errors_add(errs, s->at, "there is no section [%s]: did you mean [%s]?", s->name,
                        near.word);
    else
        conf_errors_add(errs, s->at, "there is no section [%s]: write [mod_%s] for a module, or "
                        "one of server, limits, listen, component, host", s->name, s->name);
}

/* The name is known; whether it has an argument as it should. */
static bool section_argument(const struct ini_section *s, const struct conf_section *k,
                             struct conf_errors *errs)
{
    bool wanted = strcmp(k->name, k->title) != 0;

    if (wanted && s->arg == NULL)
        conf_errors_add(errs, s->at, "[%s] is not complete: write [%s]", s->title, k->title);
    else if (!wanted && s->arg != NULL)
        conf_errors_add(errs, s->at, "[%s] has one word too many: write [%s]", s->title, k->name);
    return wanted == (s->arg != NULL);
}

static void sections_check(const struct conf *c, struct conf_errors *errs)
{
    for (const struct ini_section *s = c->ini.first; s != NULL; s = s->next) {
        const struct conf_section *k = conf_sections;

        while (k->name != NULL && strcmp(k->name, s->name) != 0)
            k++;
        if (k->name != NULL)
            section_argument(s, k, errs);
        else if (!conf_is_module(s))
            section_unknown(s, errs);
    }
}

static const struct ini_section *section_only(const struct conf *c, const char *name)
{
    struct table_node *n = table_find_str(&c->ini.sections, name);

    return n != NULL ? GR_CONTAINER_OF(n, struct ini_section, node) : NULL;
}

static void sections_each(struct conf *c, const char *name, struct conf_errors *errs,
                          void (*add)(struct conf *, const struct ini_section *,
                                      struct conf_errors *))
{
    for (const struct ini_section *s = c->ini.first; s != NULL; s = s->next) {
        if (strcmp(s->name, name) == 0 && s->arg != NULL)
            add(c, s, errs);
    }
}

static size_t sections_count(const struct conf *c, const char *name)
{
    size_t n = 1; /* the element that a refused section leaves behind */

    for (const struct ini_section *s = c->ini.first; s != NULL; s = s->next)
        n += strcmp(s->name, name) == 0;
    return n;
}

static void build(struct conf *c, struct conf_errors *errs)
{
    sections_check(c, errs);
    apply(c, section_only(c, "server"), "server", &c->server, errs);
    apply(c, section_only(c, "limits"), "limits", &c->limits, errs);
    c->listens = arena_alloc(&c->mem, (LISTENS_MAX + 1) * sizeof *c->listens);
    c->components = arena_alloc(&c->mem, sections_count(c, "component") * sizeof *c->components);
    c->hosts = arena_alloc(&c->mem, sections_count(c, "host") * sizeof *c->hosts);
    sections_each(c, "listen", errs, listen_add);
    sections_each(c, "component", errs, component_add);
    sections_each(c, "host", errs, host_add);
    conf_modules_build(c, errs);
    if (none_if_empty(c->server.ctl_socket) == NULL)
        c->server.ctl_socket = arena_printf(&c->mem, "%s/grapnel.sock", c->server.data_dir);
    conf_check(c, errs);
    if (sections_count(c, "host") == 1)
        conf_errors_add(errs, (struct conf_place){ c->ini.files[0].path, 0 },
                        "there is no host: add a section [host DOMAIN]");
    if (sections_count(c, "listen") == 1)
        conf_errors_add(errs, (struct conf_place){ c->ini.files[0].path, 0 },
                        "nobody could connect: add a section [listen c2s] with type and port");
}

static int finish(struct conf *c, struct conf **out, struct conf_errors *errs, size_t before)
{
    if (c->ini.file_count > 0)
        build(c, errs);
    else /* the main file could not be read: no more to say */
        conf_free(&c);
    *out = c;
    return conf_errors_total(errs) == before ? 0 : GR_EINVAL;
}

int conf_judge(const char *path, struct conf **out, struct conf_errors *errs)
{
    struct conf *c = gr_alloc(sizeof *c);
    size_t before = conf_errors_total(errs);

    ini_load(&c->ini, path, errs);
    return finish(c, out, errs, before);
}

int conf_load(const char *path, struct conf **out, struct conf_errors *errs)
{
    int rc = conf_judge(path, out, errs);

    if (rc != 0)
        conf_free(out);
    return rc;
}

int conf_load_text(const char *name, const char *text, size_t len, struct conf **out,
                   struct conf_errors *errs)
{
    struct conf *c = gr_alloc(sizeof *c);
    size_t before = conf_errors_total(errs);

    ini_load_text(&c->ini, name, text, len, errs);
    int rc = finish(c, out, errs, before);
    if (rc != 0)
        conf_free(out);
    return rc;
}

void conf_free(struct conf **take)
{
    struct conf *c = *take;

    *take = NULL;
    if (c == NULL)
        return;
    table_fini(&c->by_domain);
    ini_fini(&c->ini);
    arena_fini(&c->mem);
    gr_free(c);
}

const struct conf_host *conf_host(const struct conf *c, const char *domain)
{
    struct table_node *n = table_find_str(&c->by_domain, domain);

    return n != NULL ? GR_CONTAINER_OF(n, struct conf_host, node) : NULL;
}

void conf_print_help(FILE *out)
{
    for (const struct conf_section *s = conf_sections; s->name != NULL; s++) {
        fprintf(out, "; %s\n", s->help);
        schema_print_help(out, s->title, s->table);
        fputc('\n', out);
    }
}

void conf_print_ini(FILE *out)
{
    for (const struct conf_section *s = conf_sections; s->name != NULL; s++) {
        fprintf(out, "; --- %s ---\n%s", s->help, strcmp(s->name, s->title) != 0 ? ";" : "");
        schema_print_ini(out, s->title, s->table);
    }
}

void conf_print_markdown(FILE *out)
{
    for (const struct conf_section *s = conf_sections; s->name != NULL; s++)
        schema_print_markdown(out, s->title, s->table);
}

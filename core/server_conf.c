/* server_conf.c: judges a configuration: the file, what the modules say about it, the hosts'
 * certificates. */
#include "server_priv.h"

#include "admin.h"
#include "admin_data.h"
#include "conf/conf.h"
#include "conf/schema.h"
#include "mod/reload.h"
#include "mod/trial.h"
#include "net/tls.h"
#include "route/session.h"
#include "server.h"
#include "store/store.h"
#include "stream/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void server_conf_init(void)
{
    schema_prep = (struct schema_prep){ gr_jid_parse, gr_jid_free };
}

void server_add_builtins(void)
{
    mod_add_builtin(&auth_module);
    mod_add_builtin(&sm_module);
    mod_add_builtin(&admin_module);
    mod_add_builtin(&admin_data_module);
}

/* --- lines for people --- */

void server_print_lines(char *take_text)
{
    if (take_text != NULL && *take_text != '\0')
        fprintf(stderr, "%s%s", take_text, take_text[strlen(take_text) - 1] == '\n' ? "" : "\n");
    gr_free(take_text);
}

char *server_join_lines(char *take_first, char *take_second)
{
    const char *first = take_first != NULL ? take_first : "";
    bool line = *first == '\0' || first[strlen(first) - 1] == '\n';
    char *both = gr_asprintf("%s%s%s", first, line ? "" : "\n",
                             take_second != NULL ? take_second : "");

    gr_free(take_first);
    gr_free(take_second);
    return both;
}

/* --- the file, the certificates and the modules --- */

/* What a faulty configuration has besides: certificates, modules. NULL: nothing. Without any certificate
 * the fault may well be that it was not understood. */
static char *further_errors(const struct conf *conf)
{
    char *of_tls = NULL, *of_modules = NULL;
    struct tls_ctx *tls = NULL;
    size_t i = 0;

    while (i < conf->host_count && conf->hosts[i].certificate == NULL)
        i++;
    if (i < conf->host_count)
        server_load_tls(conf, &tls, &of_tls);
    tls_ctx_unref(&tls);
    mod_check_conf(conf, &of_modules);
    return of_tls != NULL ? server_join_lines(of_tls, of_modules) : of_modules;
}

/* What the configuration knows, and this version does not serve. */
static void find_unserved(const struct conf *conf, struct conf_errors *errs)
{
    for (size_t i = 0; i < conf->listen_count; i++) {
        if (conf->listens[i].type != CONF_C2S)
            conf_errors_add(errs, conf->listens[i].at,
                            "[listen %s]: this version speaks type = c2s only",
                            conf->listens[i].name);
    }
    for (size_t i = 0; i < conf->component_count; i++)
        conf_errors_add(errs, conf->components[i].at,
                        "[component %s]: this version serves no components",
                        conf->components[i].domain);
}

int server_load_conf(const char *path, struct conf **out, char **errors)
{
    struct conf_errors *errs = gr_alloc(sizeof(*errs));
    int rc = conf_judge(path, out, errs);

    if (rc == 0) {
        find_unserved(*out, errs);
        rc = conf_errors_total(errs) > 0 ? GR_ENOTSUP : 0;
    }
    if (rc != 0) {
        char *text, *further = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        conf_errors_print(errs, f);
        fclose(f);
        if (*out != NULL && loop_count() > 0)
            further = further_errors(*out);
        *errors = server_join_lines(gr_strdup(text), further);
        free(text);
        conf_free(out);
    }
    conf_errors_fini(errs);
    gr_free(errs);
    return rc;
}

/* --- certificates --- */

/* A certificate that cannot be used is one of a host, whose place in the file is to be known. */
static void blame(const struct conf *conf, const struct tls_opts *all, char **why)
{
    char *text = NULL;
    size_t k = 0;

    for (size_t i = 0; i < conf->host_count; i++) {
        const struct conf_host *h = &conf->hosts[i];
        struct tls_opts one = *all;
        struct tls_ctx *tls = NULL;
        char *mine = NULL;

        if (h->certificate == NULL)
            continue;
        one.certs = &all->certs[k++];
        one.count = 1;
        if (tls_ctx_new(&one, &tls, &mine) != 0)
            text = server_join_lines(text, gr_asprintf("%s:%d: [host %s]: %s",
                                                       h->certificate_at.file,
                                                       h->certificate_at.line, h->domain, mine));
        tls_ctx_unref(&tls);
        gr_free(mine);
    }
    if (text == NULL)
        return;
    gr_free(*why);
    *why = text;
}

int server_load_tls(const struct conf *conf, struct tls_ctx **out, char **why)
{
    struct tls_cert *certs = gr_alloc((conf->host_count + 1) * sizeof(*certs));
    struct tls_opts opts = { .certs = certs, .alpn = TLS_ALPN_CLIENT,
                             .tickets = conf->server.tls_tickets };
    bool needed = false;
    int rc = 0;

    for (size_t i = 0; i < conf->host_count; i++) {
        const struct conf_host *h = &conf->hosts[i];
        if (h->certificate != NULL)
            certs[opts.count++] = (struct tls_cert){
                h->domain, h->certificate,
                strcmp(h->key, h->certificate) == 0 ? NULL : h->key };
    }
    for (size_t i = 0; i < conf->listen_count; i++)
        needed = needed || conf->listens[i].tls != CONF_TLS_OPTIONAL;
    *out = NULL;
    if (opts.count == 0 && needed) {
        *why = gr_strdup("no [host ...] has a certificate and TLS is required, so nobody could log "
                         "in: name one, or set `tls = optional` in the [listen ...] section");
        rc = GR_EINVAL;
    } else if (opts.count > 0) {
        rc = tls_ctx_new(&opts, out, why);
        if (rc != 0)
            blame(conf, &opts, why);
    }
    gr_free(certs);
    return rc;
}

/* --- grapnel --check, --options --- */

/* As much of a server as modules need to be looked at. */
static int open_for_looking(const char *config, struct conf **conf, char **errors)
{
    int rc;

    server_conf_init();
    loops_init(1, true);
    server_add_builtins();
    rc = store_open(&(struct store_opts){ .dir = NULL }, errors); /* no file is touched */
    return rc == 0 ? server_load_conf(config, conf, errors) : rc;
}

static int close_after_looking(int rc, struct conf *take_conf, char *take_errors)
{
    store_close();
    loops_fini();
    conf_free(&take_conf);
    server_print_lines(take_errors);
    return rc == 0 ? 0 : 1;
}

int server_check(const char *config)
{
    struct conf *conf = NULL;
    struct tls_ctx *tls = NULL;
    char *errors = NULL, *of_modules = NULL, *of_data = NULL;
    int rc = open_for_looking(config, &conf, &errors);

    if (rc == 0) {
        rc = server_load_tls(conf, &tls, &errors);
        trial_open(conf->server.data_dir, false);
        if (mod_check_conf(conf, &of_modules) != 0)
            rc = GR_EINVAL;
        trial_close();
        if (store_look(conf->server.data_dir, &of_data) != 0)
            rc = GR_EINVAL;
        errors = server_join_lines(server_join_lines(errors, of_modules), of_data);
    }
    tls_ctx_unref(&tls);
    return close_after_looking(rc, conf, errors);
}

int server_print_options(const char *config)
{
    struct conf *conf = NULL;
    char *errors = NULL;
    int rc;

    conf_print_ini(stdout);
    if (config == NULL) {
        puts("; --- modules: --config FILE --options shows those that FILE enables ---");
        return 0;
    }
    rc = open_for_looking(config, &conf, &errors);
    if (rc == 0) {
        trial_open(conf->server.data_dir, false);
        rc = mod_print_options(conf, stdout, &errors);
        trial_close();
    }
    return close_after_looking(rc, conf, errors);
}

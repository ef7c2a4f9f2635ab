/* tests/mod/harness.c: starting, running and stopping the server of a test. All loops are virtual
 * and take turns on the test's thread; the store is in memory and commits between two turns. */
#include "harness_priv.h"

#include "admin.h"
#include "base/log.h"
#include "base/table.h"
#include "mod/node.h"
#include "stream/auth.h"

#include <stdio.h>

#define GRACE_MS 120000

struct h *h_current;
const char *h_data_dir;

/* --- modules of the test --- */

static struct gr_module own[H_MODULES_MAX];
static size_t own_count;

static void stop(struct h **take, bool strict);

void h_stop_leftover(void)
{
    struct h *left = h_current;

    stop(&left, false);
}

void h_module(const struct gr_module *desc)
{
    h_stop_leftover();
    if (own_count == H_MODULES_MAX)
        h_fail("more than %d modules of the test", H_MODULES_MAX);
    own[own_count] = *desc;
    own[own_count].abi = GR_ABI_VERSION;
    own[own_count++].abi_tag = GR_ABI_TAG;
}

static void add_builtins(void)
{
    mod_add_builtin(&sm_module);
    mod_add_builtin(&auth_module);
    mod_add_builtin(&admin_module);
    for (size_t i = 0; i < own_count; i++)
        mod_add_builtin(&own[i]);
}

/* --- log --- */

static void on_log(void *ctx, enum gr_log_level level, const char *line)
{
    struct h *h = ctx;

    (void)level;
    buf_puts(&h->log, line);
    buf_puts(&h->log, "\n");
    if (getenv("H_VERBOSE") != NULL)
        fprintf(stderr, "# %s\n", line);
}

const char *h_log(struct h *h)
{
    gr_free(h->log_text);
    h->log_text = gr_strdup(buf_str(&h->log));
    buf_consume(&h->log, buf_len(&h->log));
    return h->log_text;
}

/* --- failing --- */

static void (*on_fail)(const char *text);

void h_on_fail(void (*f)(const char *text))
{
    on_fail = f;
}

void h_fail(const char *fmt, ...)
{
    static struct buf text; /* whoever is told may not come back */
    char *what;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&what, fmt, ap) < 0)
        abort();
    va_end(ap);
    buf_consume(&text, buf_len(&text));
    buf_puts(&text, what);
    free(what);
    if (h_current != NULL && buf_len(&h_current->log) > 0)
        buf_printf(&text, "\nlog:\n%s", buf_str(&h_current->log));
    if (on_fail != NULL)
        on_fail(buf_str(&text));
    fprintf(stderr, "%s\n", buf_str(&text));
    exit(1);
}

/* --- running --- */

static void on_commit(struct ev_loop *ev, ev_prepare *p, int events)
{
    struct h *h = GR_CONTAINER_OF(p, struct h, committer);

    (void)ev, (void)events;
    if (!h->hold_store)
        store_step();
}

void h_run(struct h *h)
{
    (void)h;
    /* The commit of what the last turn wrote happens in the main loop's next turn. */
    while (loops_step())
        ;
}

void h_advance(struct h *h, int64_t ms)
{
    loops_advance(ms);
    h_run(h);
}

void h_hold_store(struct h *h, bool hold)
{
    h->hold_store = hold;
    h_run(h);
}

void h_commit(struct h *h)
{
    store_step();
    h_run(h);
}

int h_loops(const struct h *h)
{
    return h->loops;
}

/* --- starting --- */

/* Ours lie in the build folder; whoever tests a module elsewhere has it in the working directory. */
static const char *module_path(char *out, size_t size)
{
    const char *path = getenv("GRAPNEL_MODULES"), *build = getenv("GRAPNEL_BUILD");

    if (path != NULL)
        return path;
    snprintf(out, size, ".:%s/modules", build != NULL ? build : "build");
    return out;
}

static char *complete(const char *ini)
{
    char path[4096];

    if (ini == NULL)
        ini = "[host localhost]\n";
    const char *listen = strstr(ini, "[listen") != NULL ? "" : "\n[listen c2s]\ntype = c2s\n"
                                                               "port = 0\n";
    if (strstr(ini, "[server]") != NULL)
        return gr_asprintf("%s%s", ini, listen);
    return gr_asprintf("%s\n[server]\nmodule_path = %s\ndata_dir = /nonexistent\n%s", ini,
                       module_path(path, sizeof(path)), listen);
}

/* The configuration, or NULL and what is wrong with it. */
static struct conf *parse_ini(const char *text, char **errors)
{
    struct conf_errors *errs = gr_alloc(sizeof(*errs));
    struct conf *conf = NULL;
    size_t len;

    *errors = NULL;
    if (conf_load_text("test.ini", text, strlen(text), &conf, errs) != 0) {
        FILE *f = open_memstream(errors, &len);
        conf_errors_print(errs, f);
        fclose(f);
        char *mine = gr_strdup(*errors);
        free(*errors);
        *errors = mine;
    }
    conf_errors_fini(errs);
    gr_free(errs);
    return conf;
}

static void cleaned(void *arg)
{
    (void)arg;
}

static int load(struct h *h, char **errors)
{
    struct conf *conf = parse_ini(h->ini, errors);

    if (conf == NULL)
        return GR_EINVAL;
    route_init();
    add_builtins();
    loop_enter(loop_main());
    int rc = mod_load_first(conf, errors);
    loop_enter(loop_at(0));
    if (rc != 0)
        conf_free(&conf);
    else
        node_cleanup(gr_server_id(), cleaned, NULL); /* as server.c does */
    return rc;
}

static int loops_set;

void h_set_loops(int loops)
{
    loops_set = loops;
}

static int loops_wanted(void)
{
    const char *n = getenv("GRAPNEL_TEST_LOOPS");
    int loops = loops_set != 0 ? loops_set : n != NULL ? atoi(n) : 1;

    if (loops < 1 || loops > LOOPS_MAX)
        h_fail("%d loops: 1 to %d are possible", loops, LOOPS_MAX);
    return loops;
}

static void release(struct h *h)
{
    list_each (k, &h->jids, struct h_kept, link) {
        gr_jid_free(&k->jid);
        gr_free(k);
    }
    h_forget_accounts(h);
    h_http_close();
    store_close();
    ev_prepare_stop(loop_ev(loop_main()), &h->committer);
    loop_enter(loop_main());
    mod_fini();
    h_run(h);
    route_fini();
    loops_fini();
    log_set_sink(NULL, NULL);
    buf_fini(&h->log);
    gr_free(h->log_text);
    gr_free(h->answer);
    gr_free(h->template);
    gr_free(h->ini);
    gr_free(h);
    own_count = 0;
    h_current = NULL;
}

struct h *h_start_try(const char *ini, char **errors)
{
    struct store_opts opts = { .manual = true, .commit_delay_us = -1, .dir = h_data_dir };
    static const uint8_t key[16] = "grapnel-harness";

    h_stop_leftover();
    hash_set_key(key); /* the same homes every time */
    struct h *h = h_current = gr_alloc(sizeof(*h));
    list_init(&h->clients);
    list_init(&h->jids);
    log_set_sink(on_log, h);
    h->ini = complete(ini);
    h->loops = loops_wanted();
    loops_init(h->loops, true);
    h_http_open();
    char *why = NULL;
    if (store_open(&opts, &why) != 0)
        h_fail("store_open: %s", why);
    ev_prepare_init(&h->committer, on_commit);
    ev_prepare_start(loop_ev(loop_main()), &h->committer);
    if (load(h, errors) != 0) {
        release(h);
        return NULL;
    }
    h_run(h);
    return h;
}

struct h *h_start(const char *ini)
{
    char *errors;
    struct h *h = h_start_try(ini, &errors);

    if (h == NULL)
        h_fail("the server does not start:\n%s", errors);
    return h;
}

int h_reload(struct h *h, const char *ini, char **report)
{
    char *mine = NULL, *text = complete(ini);
    struct loop *before = loop_self();
    struct conf *conf = parse_ini(text, &mine);
    int rc = GR_EINVAL;

    if (conf != NULL) {
        loop_enter(loop_main());
        rc = mod_reload(conf, &mine);
        loop_enter(before);
        if (rc != 0)
            conf_free(&conf);
    }
    h_run(h);
    if (rc == 0) {
        gr_free(h->ini);
        h->ini = text;
    } else {
        gr_free(text);
        if (report == NULL)
            h_fail("the reload is refused:\n%s", mine);
    }
    if (report != NULL)
        *report = mine;
    else
        gr_free(mine);
    return rc;
}

/* --- stopping --- */

struct left {
    struct buf text;
};

static void note_pending(void *ctx, const struct gr_mod *self)
{
    struct left *l = ctx;

    if (self->pending > 0)
        buf_printf(&l->text, "  mod_%s of %s on loop %d: %u requests in flight\n", self->desc->name,
                   gr_host_name(self->host), loop_index(self->loop), self->pending);
}

/* Everything that ought to be gone once nobody is connected and nothing moves. */
static void note_left(void *ctx)
{
    struct left *l = ctx;
    const struct route_loop *rl = route_loop();
    int i = loop_index(loop_self());

    if (rl->sessions.count > 0)
        buf_printf(&l->text, "  loop %d: %zu sessions\n", i, rl->sessions.count);
    if (rl->accounts.count > 0)
        buf_printf(&l->text, "  loop %d: %zu accounts\n", i, rl->accounts.count);
    if (rl->bound > 0)
        buf_printf(&l->text, "  loop %d: %zu bound sessions\n", i, rl->bound);
    if (rl->lanes.count > 0)
        buf_printf(&l->text, "  loop %d: %zu lanes\n", i, rl->lanes.count);
    mod_each(note_pending, l);
}

static char *what_is_left(void)
{
    struct left l = { 0 };

    loops_call(note_left, &l);
    char *text = buf_len(&l.text) > 0 ? gr_strdup(buf_str(&l.text)) : NULL;
    buf_fini(&l.text);
    return text;
}

static void forget_kept(void *arg)
{
    (void)arg;
    session_forget_kept();
}

/* Clients away, modules stopped; complains about what stays. Questions to clients that are gone may
 * run into their time-out first; holds may not. */
static char *tear_down(struct h *h, enum gr_end_reason reason)
{
    h->hold_store = false;
    hs_end_all(h, reason);
    h_run(h);
    loops_call(forget_kept, NULL);
    char *text = what_is_left();
    if (text != NULL) {
        gr_free(text);
        h_log(h);
        h_advance(h, GRACE_MS);
        text = what_is_left();
        if (text == NULL && strstr(h_log(h), "hook.timeout") != NULL)
            text = gr_strdup("  a hold that nobody resumed\n");
    }
    loop_enter(loop_main());
    mod_stop_all();
    loop_enter(loop_at(0));
    h_run(h);
    return text;
}

static void stop(struct h **take, bool strict)
{
    struct h *h = *take;

    *take = NULL;
    if (h == NULL)
        return;
    char *left = tear_down(h, GR_END_NORMAL);
    release(h);
    if (left != NULL && strict)
        h_fail("left behind:\n%s", left);
    gr_free(left);
}

void h_stop(struct h **take)
{
    stop(take, true);
}

void h_restart(struct h *h)
{
    char *errors, *left = tear_down(h, GR_END_SHUTDOWN);

    if (left != NULL)
        h_fail("left behind before the restart:\n%s", left);
    loop_enter(loop_main());
    mod_fini();
    h_run(h);
    route_fini();
    if (load(h, &errors) != 0)
        h_fail("the server does not start again:\n%s", errors);
    h_run(h);
}

/* --- loops and instances --- */

const struct gr_jid *h_parse_jid(struct h *h, const char *text)
{
    struct h_kept *k = gr_alloc(sizeof(*k));

    if (gr_jid_parse(text, strlen(text), &k->jid) != 0)
        h_fail("\"%s\" is no address", text);
    list_append(&h->jids, &k->link);
    return k->jid;
}

int h_home(struct h *h, const char *jid)
{
    return loop_index(loop_home(h_parse_jid(h, jid)->hash));
}

int h_enter(struct h *h, const char *jid)
{
    int home = h_home(h, jid);

    loop_enter(loop_at(home));
    return home;
}

struct gr_mod *h_mod(struct h *h, const char *module, const char *jid)
{
    const struct gr_jid *j = h_parse_jid(h, jid);
    struct gr_host *host;

    loop_enter(loop_home(j->hash));
    if (strncmp(module, "mod_", 4) == 0)
        module += 4;
    host = host_find(j->domain);
    if (host == NULL)
        h_fail("%s is not served", j->domain);
    list_each (mod, &host->instances, struct gr_mod, of_host)
        if (strcmp(mod->desc->name, module) == 0)
            return mod;
    h_fail("no mod_%s on %s", module, j->domain);
}

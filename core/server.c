/* server.c: puts the layers together in order, turns signals into actions, takes everything down again.
 * SIGHUP (or `grapnelctl reload`) reloads; SIGTERM, SIGINT (or `stop`) stop in order; a failing disk
 * ends the process at once, because nothing may be acknowledged any more (reliability 4). */
#include "server.h"

#include "admin.h"
#include "admin_data.h"
#include "base/clock.h"
#include "base/log.h"
#include "command.h"
#include "conf/overlay.h"
#include "control.h"
#include "loop/work.h"
#include "mod/node.h"
#include "mod/reload.h"
#include "mod/trial.h"
#include "module_admin.h"
#include "ports.h"
#include "route/session.h"
#include "store/store.h"
#include "stream/auth.h"
#include "stream/c2s.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_MS 10000 /* what clients sent is worked off within this */
#define CLEANUP_MS 60000 /* modules may take this long for what an earlier process left behind */
#define EXIT_DISK 75 /* EX_TEMPFAIL: let the supervisor restart us */

static struct {
    const char *config;
    struct overlay overlay; /* modules loaded and unloaded by hand */
    struct tls_ctx *tls;
    ev_signal hup, term, intr;
    struct timer stop_poll, cleanup_limit;
    struct post cleanup;
    int64_t stop_by;
    bool started, stopping;
} server;

static void print_lines(char *take_text)
{
    if (take_text != NULL && *take_text != '\0')
        fprintf(stderr, "%s%s", take_text, take_text[strlen(take_text) - 1] == '\n' ? "" : "\n");
    gr_free(take_text);
}

static char *joined(char *take_first, char *take_second)
{
    const char *first = take_first != NULL ? take_first : "";
    bool line = *first == '\0' || first[strlen(first) - 1] == '\n';
    char *both = gr_asprintf("%s%s%s", first, line ? "" : "\n",
                             take_second != NULL ? take_second : "");

    gr_free(take_first);
    gr_free(take_second);
    return both;
}

/* Everything that is wrong with it: of the core first, then (once there are loops and a store) of the
 * modules. */
static int load_conf(const char *path, struct conf **out, char **errors)
{
    struct conf_errors *errs = gr_alloc(sizeof(*errs));
    int rc = conf_judge(path, out, errs);

    if (rc != 0) {
        char *text, *of_modules = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        conf_errors_print(errs, f);
        fclose(f);
        if (*out != NULL && loop_count() > 0)
            mod_check_conf(*out, &of_modules);
        *errors = joined(gr_strdup(text), of_modules);
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
            text = joined(text, gr_asprintf("%s:%d: [host %s]: %s", h->certificate_at.file,
                                            h->certificate_at.line, h->domain, mine));
        tls_ctx_unref(&tls);
        gr_free(mine);
    }
    if (text == NULL)
        return;
    gr_free(*why);
    *why = text;
}

static int load_tls(const struct conf *conf, struct tls_ctx **out, char **why)
{
    struct tls_cert *certs = gr_alloc((conf->host_count + 1) * sizeof(*certs));
    struct tls_opts opts = { .certs = certs, .alpn = TLS_ALPN_CLIENT };
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
    if (conf->component_count > 0) {
        *why = gr_asprintf("[component %s]: this version serves no components",
                           conf->components[0].domain);
        rc = GR_ENOTSUP;
    } else if (opts.count == 0 && needed) {
        *why = gr_strdup("no [host ...] has a certificate and TLS is required, so nobody could log in: "
                         "name one, or set `tls = optional` in the [listen ...] section");
        rc = GR_EINVAL;
    } else if (opts.count > 0) {
        rc = tls_ctx_new(&opts, out, why);
        if (rc != 0)
            blame(conf, &opts, why);
    }
    gr_free(certs);
    return rc;
}

static void set_tls(void *arg)
{
    c2s_set_tls(arg);
}

static void use_tls(struct tls_ctx *take)
{
    tls_ctx_unref(&server.tls);
    server.tls = take;
    loops_call(set_tls, take);
}

/* --- secrets --- */

/* Under another name until it is whole: a crash in between must not leave half of it. */
static int make_secret(const char *path, const uint8_t *secret, size_t len)
{
    char *fresh = gr_asprintf("%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 || write(fd, secret, len) != (ssize_t)len || fsync(fd) != 0 ||
             rename(fresh, path) != 0 ? GR_EIO : 0;

    if (fd >= 0)
        close(fd);
    gr_free(fresh);
    return rc;
}

/* The server's own secret (decoys of unknown users must look the same after a restart). */
static int load_secret(const char *dir, char **why)
{
    char *path = gr_asprintf("%s/secret", dir);
    uint8_t secret[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = 0;

    errno = fd < 0 ? errno : 0;
    if (fd < 0 && errno == ENOENT) {
        gr_random(secret, sizeof(secret));
        rc = make_secret(path, secret, sizeof(secret));
    } else if (fd < 0 || read(fd, secret, sizeof(secret)) != (ssize_t)sizeof(secret)) {
        rc = GR_EIO;
    }
    if (rc != 0)
        *why = gr_asprintf("%s: cannot be read or made: %s", path,
                           errno != 0 ? strerror(errno) : "it is too short: remove it");
    if (fd >= 0)
        close(fd);
    c2s_set_secret(secret, sizeof(secret));
    auth_set_secret(secret, sizeof(secret));
    gr_wipe(secret, sizeof(secret));
    gr_free(path);
    return rc;
}

static void disk_failed(void)
{
    static const char text[] = "grapnel: the disk failed in a commit: stopping, because nothing "
                               "can be acknowledged any more\n";
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
        _exit(EXIT_DISK);
    _exit(EXIT_DISK);
}

/* --- reload --- */

/* NULL, or why nothing was changed (caller frees). Everything that can fail comes first. */
static char *reload(struct overlay *overlay, char **report)
{
    struct conf *conf;
    struct tls_ctx *tls;
    struct link fresh;
    char *errors = NULL;

    *report = NULL;
    if (load_conf(server.config, &conf, &errors) != 0)
        return errors;
    overlay_apply(overlay, conf);
    if (load_tls(conf, &tls, &errors) != 0 || ports_open(conf, &fresh, &errors) != 0) {
        char *of_modules = NULL;
        mod_check_conf(conf, &of_modules);
        tls_ctx_unref(&tls);
        conf_free(&conf);
        return of_modules != NULL ? joined(errors, of_modules) : errors;
    }
    if (mod_reload(conf, &errors) != 0) {
        ports_drop(&fresh);
        tls_ctx_unref(&tls);
        conf_free(&conf);
        return errors != NULL ? errors : gr_strdup("reload failed");
    }
    use_tls(tls);
    ports_use(mod_current(), &fresh);
    log_set_level((enum gr_log_level)mod_current()->server.log_level);
    *report = errors != NULL ? errors : gr_strdup("");
    return NULL;
}

static void log_lines(enum gr_log_level level, const char *id, const char *text)
{
    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, "\n");
        if (len > 0)
            gr_log(level, id, "%.*s", (int)len, text);
        text += len + (text[len] == '\n');
    }
}

const struct overlay *server_overlay(void)
{
    return &server.overlay;
}

const char *server_config(void)
{
    return server.config;
}

char *server_reload(struct overlay *take, char **report)
{
    struct overlay next = take != NULL ? *take : overlay_copy(&server.overlay);
    char *error;

    if (take != NULL)
        *take = (struct overlay){ NULL, 0 };
    *report = NULL;
    error = server.stopping   ? gr_strdup("the server is stopping")
            : !server.started ? gr_strdup("the server is starting")
                              : reload(&next, report);
    if (error != NULL) {
        overlay_fini(&next);
        log_lines(GR_LOG_ERROR, "reload.refused", error);
        return error;
    }
    overlay_fini(&server.overlay);
    server.overlay = next;
    gr_info("reload.done", "configuration and modules reloaded");
    log_lines(GR_LOG_INFO, "reload.change", *report);
    return NULL;
}

static void on_hup(struct ev_loop *ev, ev_signal *w, int events)
{
    char *report;

    (void)ev, (void)w, (void)events;
    gr_free(server_reload(NULL, &report));
    gr_free(report);
}

/* --- stopping --- */

static void stop_streams(void *arg)
{
    (void)arg;
    c2s_shutdown();
}

static void count_busy(void *arg)
{
    *(size_t *)arg += c2s_count() + session_unhandled_total();
}

/* Streams end, connections linger a moment for the peer's goodbye; at most STOP_MS in all. */
static void poll_stop(struct timer *t)
{
    size_t busy = conn_count() + control_busy();

    loops_call(count_busy, &busy);
    busy += job_count(); /* last: what ends a stream may put stanzas on their way */
    if (busy == 0 || gr_now_ms() >= server.stop_by)
        loop_stop_main();
    else
        timer_start(t, 10, poll_stop);
}

/* Clients are told, what they sent is worked off, then the loops stop. */
static void begin_stop(void)
{
    if (server.stopping)
        return;
    server.stopping = true;
    gr_info("server.stopping", "closing streams");
    control_close();
    ports_close();
    loops_call(stop_streams, NULL);
    server.stop_by = gr_now_ms() + STOP_MS;
    timer_start(&server.stop_poll, 1, poll_stop);
}

static void on_term(struct ev_loop *ev, ev_signal *w, int events)
{
    (void)ev, (void)w, (void)events;
    begin_stop();
}

static char *command_stop(const struct gr_cmd *cmd, struct buf *result)
{
    (void)cmd, (void)result;
    begin_stop();
    return NULL;
}

static const struct main_command main_commands[] = {
    { "modules", "what is loaded, per host", module_list_args, module_list },
    { "module list", "the same", module_list_args, module_list },
    { "module load", "switch a module on until the server stops", module_load_args, module_load },
    { "module unload", "switch a module off until the server stops", module_load_args,
      module_unload },
    { "module reload", "as reload; tells about that module", module_reload_args, module_reload },
    { "reload", "read the configuration and changed modules again", NULL, module_reload },
    { "stop", "end the server in order", NULL, command_stop },
};

/* --- what an earlier process with our id has left behind, before anybody can connect --- */

static void cleanup_back(struct post *p)
{
    (void)p;
    if (timer_running(&server.cleanup_limit)) /* else nobody waits any more */
        loop_stop_main();
    timer_stop(&server.cleanup_limit);
}

static void cleanup_done(void *arg)
{
    (void)arg;
    server.cleanup.run = cleanup_back;
    loop_post(loop_main(), &server.cleanup);
}

static void cleanup_run(struct post *p)
{
    (void)p;
    node_cleanup(gr_server_id(), cleanup_done, NULL);
}

static void cleanup_late(struct timer *t)
{
    (void)t;
    gr_error("server.cleanup", "modules have not cleaned up within %d s; starting all the same",
             CLEANUP_MS / 1000);
    loop_stop_main();
}

static void clean_up(void)
{
    server.cleanup.run = cleanup_run;
    timer_start(&server.cleanup_limit, CLEANUP_MS, cleanup_late);
    loop_post(loop_at(0), &server.cleanup);
    loop_run_main();
    timer_stop(&server.cleanup_limit);
}

/* --- start --- */

static void watch_signal(ev_signal *w, int signum, void (*f)(struct ev_loop *, ev_signal *, int))
{
    ev_signal_init(w, f, signum);
    ev_signal_start(loop_ev(loop_main()), w);
}

static int auto_count(int64_t configured, int per)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (configured > 0)
        return (int)configured;
    return cores < per ? 1 : (int)(cores / per);
}

static int start_all(const struct conf *conf_in, struct conf *take_conf, char **why)
{
    const struct conf_server *s = &conf_in->server;
    struct store_opts store = { .dir = s->data_dir, .map_size = (size_t)s->map_size,
                                .commit_delay_us = s->commit_delay * 1000, .sync = true,
                                .upgrade = true, .failed = disk_failed };
    struct tls_ctx *tls;
    struct link fresh;
    int rc;

    if (mkdir(s->data_dir, 0700) != 0 && errno != EEXIST) {
        *why = gr_asprintf("data_dir: cannot create %s: %s", s->data_dir, strerror(errno));
        conf_free(&take_conf);
        return GR_EIO;
    }
    if ((rc = store_open(&store, why)) != 0 || (rc = load_secret(s->data_dir, why)) != 0 ||
        (rc = load_tls(conf_in, &tls, why)) != 0) {
        conf_free(&take_conf);
        return rc;
    }
    trial_open(s->data_dir, true);
    route_init();
    mod_add_builtin(&auth_module);
    mod_add_builtin(&sm_module);
    mod_add_builtin(&admin_module);
    mod_add_builtin(&admin_data_module);
    if ((rc = mod_load_first(take_conf, why)) != 0) {
        tls_ctx_unref(&tls);
        conf_free(&take_conf);
        return rc;
    }
    loops_start();
    use_tls(tls);
    clean_up();
    if (server.stopping) /* somebody did not want to wait */
        return 0;
    if ((rc = ports_open(mod_current(), &fresh, why)) != 0)
        return rc;
    command_add_main(main_commands, GR_COUNT(main_commands));
    if ((rc = control_open(mod_current()->server.ctl_socket, why)) != 0) {
        ports_drop(&fresh);
        return rc;
    }
    ports_use(mod_current(), &fresh);
    server.started = true;
    return 0;
}

static void forget_kept(void *arg)
{
    (void)arg;
    session_forget_kept();
}

static void stop_all(void)
{
    control_close();
    ports_close();
    use_tls(NULL);
    loops_call(forget_kept, NULL);
    mod_stop_all();
    store_close();
    work_fini();
    loops_stop();
    loops_drain();
    route_fini();
    mod_fini();
    overlay_fini(&server.overlay);
}

static void set_preparation(void)
{
    schema_prep = (struct schema_prep){ gr_jid_parse, gr_jid_free };
}

int server_check(const char *config)
{
    struct conf *conf = NULL;
    struct tls_ctx *tls = NULL;
    char *errors = NULL, *of_modules = NULL, *of_data = NULL;
    int rc;

    set_preparation();
    loops_init(1, true);
    mod_add_builtin(&auth_module);
    mod_add_builtin(&sm_module);
    mod_add_builtin(&admin_module);
    mod_add_builtin(&admin_data_module);
    rc = store_open(&(struct store_opts){ .dir = NULL }, &errors); /* no file is touched */
    if (rc == 0)
        rc = load_conf(config, &conf, &errors);
    if (rc == 0) {
        rc = load_tls(conf, &tls, &errors);
        trial_open(conf->server.data_dir, false);
        if (mod_check_conf(conf, &of_modules) != 0)
            rc = GR_EINVAL;
        trial_close();
        if (store_look(conf->server.data_dir, &of_data) != 0)
            rc = GR_EINVAL;
        errors = joined(joined(errors, of_modules), of_data);
    }
    tls_ctx_unref(&tls);
    store_close();
    loops_fini();
    conf_free(&conf);
    print_lines(errors);
    return rc == 0 ? 0 : 1;
}

int server_run(const char *config)
{
    struct conf *conf;
    char *why = NULL;

    server.config = config;
    tls_keep_buffers();
    set_preparation();
    if (load_conf(config, &conf, &why) != 0) {
        gr_free(why);
        server_check(config); /* says it all */
        return 1;
    }
    umask(0077);
    log_set_level((enum gr_log_level)conf->server.log_level);
    loops_init(auto_count(conf->server.loops, 1), false);
    work_init(auto_count(conf->server.workers, 2), (int)conf->limits.password_queue);
    watch_signal(&server.hup, SIGHUP, on_hup);
    watch_signal(&server.term, SIGTERM, on_term);
    watch_signal(&server.intr, SIGINT, on_term);
    int rc = start_all(conf, conf, &why);
    if (rc == 0) {
        if (server.started)
            loop_run_main();
    } else {
        print_lines(why);
    }
    stop_all();
    if (rc == 0) /* else the last line is the reason */
        gr_info("server.stopped", "all committed");
    loops_fini();
    return rc == 0 ? 0 : 1;
}

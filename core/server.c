/* server.c: puts the layers together in order, turns signals into actions, takes everything down
 * again. SIGHUP (or `grapnelctl reload`) reloads; SIGTERM, SIGINT (or `stop`) stop in order; a
 * failing disk ends the process at once: nothing may be acknowledged any more (reliability 4).
 *
 *   server_conf.c  judging a configuration     server_reload.c  going over to another one
 *   server_cleanup.c  what an earlier process has left behind     secret.c  the server's secret */
#include "server.h"

#include "base/clock.h"
#include "base/log.h"
#include "command.h"
#include "control.h"
#include "loop/work.h"
#include "metrics.h"
#include "mod/crash.h"
#include "mod/reload.h"
#include "mod/trial.h"
#include "module_admin.h"
#include "net/http.h"
#include "net/tls.h"
#include "ports.h"
#include "route/session.h"
#include "secret.h"
#include "server_priv.h"
#include "store/store.h"
#include "stream/c2s.h"
#include "watchdog.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_MS 10000 /* what clients sent is worked off within this */
#define EXIT_DISK 75 /* EX_TEMPFAIL: let the supervisor restart us */

static struct {
    const char *config;
    struct tls_ctx *tls;
    ev_signal hup, term, intr;
    struct timer stop_poll;
    int64_t stop_by;
    bool started, stopping;
} server;

const char *server_config(void)
{
    return server.config;
}

const char *server_busy(void)
{
    if (server.stopping)
        return "the server is stopping";
    return server.started ? NULL : "the server is starting";
}

static void ready_for_crashes(void *arg)
{
    (void)arg;
    crash_thread_ready();
}

static void set_tls(void *arg)
{
    c2s_set_tls(arg);
}

void server_use_tls(struct tls_ctx *take)
{
    tls_ctx_unref(&server.tls);
    server.tls = take;
    loops_call(set_tls, take);
}

static void disk_failed(void)
{
    static const char text[] = "grapnel: the disk failed in a commit: stopping, because nothing "
                               "can be acknowledged any more\n";
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
        _exit(EXIT_DISK);
    _exit(EXIT_DISK);
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
    watchdog_stopping(WATCHDOG_STOP_BEGUN);
    gr_info("server.stopping", "closing streams");
    control_close();
    ports_close();
    loops_call(stop_streams, NULL);
    server.stop_by = gr_now_ms() + STOP_MS;
    timer_start(&server.stop_poll, 1, poll_stop);
}

/* --- signals, and commands of the process itself --- */

static void on_hup(struct ev_loop *ev, ev_signal *w, int events)
{
    char *report;

    (void)ev, (void)w, (void)events;
    gr_free(server_reload(NULL, &report));
    gr_free(report);
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

static char *command_reload(const struct gr_cmd *cmd, struct buf *result)
{
    size_t before = buf_len(result);
    char *error = module_reload(cmd, result);

    if (error == NULL && buf_len(result) == before) {
        command_row(result);
        command_text(result, "change", "options and modules are those in use; certificates were "
                                       "read again");
    }
    return error;
}

static const struct main_command main_commands[] = {
    { "modules", "what is loaded, per host", module_list_args, module_list },
    { "module list", "the same", module_list_args, module_list },
    { "module load", "switch a module on until the server stops", module_load_args, module_load },
    { "module unload", "switch a module off until the server stops", module_load_args,
      module_unload },
    { "module reload", "as reload; tells about that module", module_reload_args, module_reload },
    { "metrics", "what the server counts, for Prometheus", NULL, metrics },
    { "reload", "read the configuration and changed modules again", NULL, command_reload },
    { "stop", "end the server in order", NULL, command_stop },
};

/* --- start --- */

static void watch_signal(ev_signal *w, int signum, void (*f)(struct ev_loop *, ev_signal *, int))
{
    ev_signal_init(w, f, signum);
    ev_signal_start(loop_ev(loop_main()), w);
}

/* As libev's own handler, but what the main loop may be too busy to notice is noted at once. */
static void on_end_signal(int signum)
{
    watchdog_stopping(WATCHDOG_STOP_ASKED);
    ev_feed_signal(signum);
}

static void watch_end_signal(ev_signal *w, int signum)
{
    struct sigaction act = { .sa_handler = on_end_signal, .sa_flags = SA_RESTART };

    watch_signal(w, signum, on_term);
    sigfillset(&act.sa_mask);
    sigaction(signum, &act, NULL);
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
    if ((rc = store_open(&store, why)) != 0 || (rc = secret_load(s->data_dir, why)) != 0 ||
        (rc = server_load_tls(conf_in, &tls, why)) != 0) {
        conf_free(&take_conf);
        return rc;
    }
    trial_open(s->data_dir, true);
    route_init();
    server_add_builtins();
    watchdog_start(WATCHDOG_MS);
    if ((rc = mod_load_first(take_conf, why)) != 0) {
        tls_ctx_unref(&tls);
        conf_free(&take_conf);
        return rc;
    }
    loops_start();
    loops_call(ready_for_crashes, NULL);
    tls_tickets_start();
    server_use_tls(tls);
    server_clean_up();
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

static void close_http(void *arg)
{
    (void)arg;
    http_close();
}

static void stop_all(void)
{
    control_close();
    ports_close();
    server_use_tls(NULL);
    loops_call(forget_kept, NULL);
    mod_stop_all();
    loops_call(close_http, NULL);
    store_close();
    work_fini();
    loops_stop();
    tls_tickets_stop();
    watchdog_stop();
    loops_drain();
    route_fini();
    mod_fini();
    server_reload_fini();
}

int server_run(const char *config)
{
    struct conf *conf;
    char *why = NULL;

    server.config = config;
    crash_watch();
    tls_keep_buffers();
    server_conf_init();
    if (server_load_conf(config, &conf, &why) != 0) {
        gr_free(why);
        server_check(config); /* says it all */
        return 1;
    }
    umask(0077);
    log_set_level((enum gr_log_level)conf->server.log_level);
    loops_init(auto_count(conf->server.loops, 1), false);
    work_init(auto_count(conf->server.workers, 2), (int)conf->limits.password_queue);
    watch_signal(&server.hup, SIGHUP, on_hup);
    watch_end_signal(&server.term, SIGTERM);
    watch_end_signal(&server.intr, SIGINT);
    int rc = start_all(conf, conf, &why);
    if (rc == 0) {
        if (server.started)
            loop_run_main();
    } else {
        server_print_lines(why);
    }
    stop_all();
    if (rc == 0) /* else the last line is the reason */
        gr_info("server.stopped", "all committed");
    loops_fini();
    return rc == 0 ? 0 : 1;
}

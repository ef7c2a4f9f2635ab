/* tests/unit/mod_world.h: a server's module layer in virtual time, for the unit tests of core/mod. */
#pragma once

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "conf/conf.h"
#include "loop/loop.h"
#include "loop/work.h"
#include "mod/hook.h"
#include "mod/instance.h"
#include "mod/provider.h"
#include "mod/reload.h"
#include "store/store.h"

/* Lines that were logged, newline after each. */
static char world_log[16384] __attribute__((unused));

static inline void world_sink(void *ctx, enum gr_log_level level, const char *line)
{
    size_t used = strlen(world_log), room = sizeof(world_log) - used;

    (void)ctx;
    (void)level;
    snprintf(world_log + used, room, "%s\n", line);
}

static inline bool world_logged(const char *text)
{
    bool yes = strstr(world_log, text) != NULL;

    world_log[0] = '\0';
    log_set_sink(world_sink, NULL); /* forgets the rate limits */
    return yes;
}

static inline void world_open(int loops)
{
    const struct store_opts memory = { .dir = NULL };
    char *why = NULL;

    schema_prep.parse = gr_jid_parse;
    schema_prep.free = gr_jid_free;
    world_log[0] = '\0';
    log_set_sink(world_sink, NULL);
    loops_init(loops, true);
    assert_int_equal(store_open(&memory, &why), 0);
    work_init(1, 100);
    loop_enter(loop_at(0));
}

static inline void world_close(void)
{
    mod_stop_all();
    loops_step();
    work_fini();
    store_close();
    mod_fini();
    loops_fini();
    log_set_sink(NULL, NULL);
}

/* `hosts` is text with [host] and [mod_x] sections; a listener is added. */
static inline struct conf *world_conf(const char *hosts)
{
    struct conf_errors errs = { 0 };
    struct conf *conf = NULL;
    char *text = gr_asprintf("[listen c2s]\ntype = c2s\nport = 5222\ntls = optional\n%s", hosts);

    conf_load_text("test.ini", text, strlen(text), &conf, &errs);
    if (conf == NULL)
        conf_errors_print(&errs, stderr);
    assert_non_null(conf);
    conf_errors_fini(&errs);
    gr_free(text);
    return conf;
}

static inline void world_load(const char *hosts)
{
    char *errors = NULL;

    if (mod_load_first(world_conf(hosts), &errors) != 0)
        fail_msg("%s", errors);
    assert_null(errors);
}

/* Expects the load to fail; the caller frees the text. */
static inline char *world_refused(const char *hosts)
{
    struct conf *conf = world_conf(hosts);
    char *errors = NULL;

    assert_int_not_equal(mod_load_first(conf, &errors), 0);
    conf_free(&conf);
    assert_non_null(errors);
    return errors;
}

static inline int world_reload(const char *hosts, char **report)
{
    struct conf *conf = world_conf(hosts);
    int rc = mod_reload(conf, report);

    if (rc != 0)
        conf_free(&conf);
    return rc;
}

static inline struct gr_mod *world_mod(const char *domain, const char *name)
{
    struct gr_host *h = host_find(domain);

    assert_non_null(h);
    list_each (self, &h->instances, struct gr_mod, of_host) {
        if (strcmp(self->desc->name, name) == 0)
            return self;
    }
    return NULL;
}

/* conf/conf.h: one generation of the configuration: immutable, made and freed as a whole.
 *
 * Main thread makes and frees; any thread reads while it lives. Paths are as written: relative ones
 * are relative to the working directory. */
#pragma once

#include "conf/schema.h"

enum conf_type { CONF_C2S, CONF_S2S, CONF_COMPONENT, CONF_HTTP };
enum conf_tls { CONF_TLS_REQUIRED, CONF_TLS_OPTIONAL, CONF_TLS_DIRECT };
enum conf_when { CONF_IN_TLS, CONF_ALWAYS, CONF_NEVER };
enum conf_conflict { CONF_KICK_OLD, CONF_REFUSE, CONF_NEW_RESOURCE };

/* [server] */
struct conf_server {
    const char *data_dir;
    const char *const *module_path;
    const char *const *include; /* read already */
    const char *ctl_socket;     /* never NULL: by default in data_dir */
    const char *server_id;
    int64_t loops;              /* 0: one per core */
    int64_t workers;            /* 0: one per two cores */
    int log_level;              /* enum gr_log_level */
    int64_t commit_delay, map_size;
    bool tls_tickets;
};

/* [limits]; durations in ms, sizes in bytes, rates per second */
struct conf_limits {
    int64_t stanza_before_login, memory_before_login, stanza_c2s;
    int64_t xml_depth, xml_attributes, xml_name, xml_token;
    int64_t rate_c2s, burst_c2s;
    int64_t login_timeout, idle_timeout;
    int64_t unauthenticated_per_ip, unauthenticated_percent;
    int64_t connections_per_ip, accept_rate_per_ip;
    int64_t auth_retries, password_queue, sessions_per_account;
    int64_t output_high, output_hard, output_timeout;
};

/* [listen NAME] */
struct conf_listen {
    const char *name;
    struct conf_place at;
    enum conf_type type;
    const char *const *address; /* at least one */
    int64_t port;               /* 0: any free one */
    enum conf_tls tls;
    int64_t max_per_ip;         /* from [limits] when not given */
};

/* [component DOMAIN] */
struct conf_component {
    const char *domain; /* prepared */
    struct conf_place at;
    const char *secret;
};

/* A module on a host; the sections are for conf_module_apply once its schema is known. */
struct conf_module {
    const char *name; /* mod_x */
    const struct ini_section *global, *local; /* [mod_x], [mod_x DOMAIN]; NULL when absent */
    bool by_hand; /* not enabled in the file: conf/overlay.h */
};

/* [host DOMAIN] */
struct conf_host {
    struct table_node node; /* by domain */
    const char *domain;     /* prepared */
    struct conf_place at;
    const char *certificate; /* NULL: none, no TLS on this host */
    struct conf_place certificate_at;
    const char *key;         /* the certificate's file when not given */
    const char *const *admins;
    const char *const *sasl_disable;
    enum conf_when plain;
    enum conf_when sasl2;
    int64_t scram_iterations;
    int64_t token_max_age;
    bool token_single_use;
    enum conf_conflict resource_conflict;
    int64_t max_sessions;              /* from [limits] when not given */
    const struct conf_module *modules; /* enabled ones in order of appearance */
    size_t module_count;
};

struct conf {
    struct arena mem;
    struct ini ini;
    struct conf_server server;
    struct conf_limits limits;
    struct conf_listen *listens;
    struct conf_component *components;
    struct conf_host *hosts; /* in order of appearance */
    size_t listen_count, component_count, host_count;
    struct table by_domain;
};

/* The sections above and their tables, for printing: a NULL title ends the list. */
struct conf_section {
    const char *name, *title, *help;
    const struct gr_opt *table;
};
extern const struct conf_section conf_sections[];

/* 0, or GR_EINVAL with at least one error in errs. *out is what could be read of a faulty one, to look
 * for further errors in, and for nothing else; NULL: not even a file. */
int conf_judge(const char *path, struct conf **out, struct conf_errors *errs);
/* The same with *out NULL after any error. */
int conf_load(const char *path, struct conf **out, struct conf_errors *errs);
/* The same for text in memory, without includes. */
int conf_load_text(const char *name, const char *text, size_t len, struct conf **out,
                   struct conf_errors *errs);
void conf_free(struct conf **take);

const struct conf_host *conf_host(const struct conf *c, const char *domain); /* prepared */
/* NULL when the module is off on that host. */
const struct conf_module *conf_module(const struct conf_host *host, const char *name);
/* Fills a module's zeroed struct; errors as in schema_apply. */
void conf_module_apply(const struct conf_module *m, const struct gr_opt *table, void *out,
                       struct arena *mem, struct conf_errors *errs);
/* A place to blame for the module as a whole, e.g. when its .so is missing. */
struct conf_place conf_module_place(const struct conf_module *m);

/* What options that need a restart were when the process started. */
struct conf_started;
struct conf_started *conf_started_new(const struct conf *c);
void conf_started_free(struct conf_started **take);

struct conf_change {
    const char *section;        /* "listen c2s" */
    const char *key;            /* NULL: the whole section came or went */
    const char *before, *after; /* NULL: absent; secrets are "***" */
    enum gr_when when;
};
struct conf_diff {
    void (*change)(void *ctx, const struct conf_change *change);
    /* The schema of a module; NULL when there is none. May be NULL itself. */
    const struct gr_opt *(*options)(void *ctx, const char *module);
    void *ctx;
    const struct conf_started *started; /* NULL: `before` is what is in force */
};
/* What a reload from `before` to `after` changes. All strings are borrowed until `change`
 * returns. */
void conf_diff(const struct conf *before, const struct conf *after, const struct conf_diff *diff);
/* "[listen c2s] port: 5222 -> 5223 (the listener is opened anew)" */
void conf_change_print(const struct conf_change *change, FILE *out);

/* Every section of the core, in the forms of schema_print_...; conf_print_ini comments
 * out whatever has a default, and the headers of sections that need a name. */
void conf_print_help(FILE *out);
void conf_print_ini(FILE *out);
void conf_print_markdown(FILE *out);

/* conf/options.c: the core's own options. Their help texts are the manual. */
#include <grapnel/log.h>

#include "conf/conf.h"

#define LOG_WORDS GR_WORDS("error", "warn", "info", "debug") /* enum gr_log_level */

static const struct gr_opt server_options[] = {
    GR_OPT_STR(struct conf_server, data_dir, "/var/lib/grapnel",
               "folder of everything that is kept; only the server's user may read it",
               .when = GR_RESTART),
    GR_OPT_LIST(struct conf_server, module_path, "/usr/local/lib/grapnel/modules:/usr/lib/grapnel/modules",
                "folders in which modules are looked for, in this order", .sep = ':'),
    GR_OPT_LIST(struct conf_server, include, NULL,
                "more files to read, e.g. conf.d/*.ini, relative to the including file; one "
                "pattern per line, the line may be repeated"),
    GR_OPT_STR(struct conf_server, ctl_socket, NULL,
               "Unix socket for grapnelctl; by default grapnel.sock in data_dir",
               .when = GR_RESTART, .max = 107),
    GR_OPT_STR(struct conf_server, server_id, "local",
               "names this server among those that share a store", .when = GR_RESTART, .max = 64),
    GR_OPT_INT(struct conf_server, loops, 0, 1, 64, "event-loop threads; auto is one per core",
               .zero = "auto", .when = GR_RESTART),
    GR_OPT_INT(struct conf_server, workers, 0, 1, 64,
               "threads for password hashing and other slow work; auto is one per two cores",
               .zero = "auto", .when = GR_RESTART),
    GR_OPT_ENUM(struct conf_server, log_level, GR_LOG_INFO, LOG_WORDS, "how much is logged"),
    GR_OPT_DURATION(struct conf_server, commit_delay, 0, 0, GR_SECOND,
                    "how long a write waits for others to share its disk sync; auto is up to 8 ms, under load only",
                    .zero = "auto", .when = GR_RESTART),
    GR_OPT_SIZE(struct conf_server, map_size, 64 * GR_GIB, GR_MIB, 1024 * GR_GIB,
                "largest size of the database: address space, not memory", .when = GR_RESTART),
    GR_OPT_BOOL(struct conf_server, tls_tickets, true,
                "clients that come back within 12 hours need a shorter TLS handshake (TLS 1.3; RFC 8446, 2.2)"),
    GR_OPT_END
};

#define L struct conf_limits

static const struct gr_opt limit_options[] = {
    GR_OPT_SIZE(L, stanza_before_login, 10000, 10000, GR_MIB,
                "largest stanza before login (RFC 6120, 13.12 asks for 10000 at least)"),
    GR_OPT_SIZE(L, memory_before_login, 64 * GR_KIB, 32 * GR_KIB, 16 * GR_MIB,
                "memory for parsing a connection's input before login; TLS needs some 14K beside it"),
    GR_OPT_SIZE(L, stanza_c2s, 256 * GR_KIB, 10000, 16 * GR_MIB, "largest stanza of a client"),
    GR_OPT_INT(L, xml_depth, 64, 16, 1024, "nested elements in a stanza"),
    GR_OPT_INT(L, xml_attributes, 64, 16, 1024, "attributes of an element"),
    GR_OPT_SIZE(L, xml_name, 512, 128, 64 * GR_KIB, "an element's or attribute's name"),
    GR_OPT_SIZE(L, xml_token, 16 * GR_KIB, 4 * GR_KIB, GR_MIB,
                "a tag with its attributes, or another indivisible piece of XML"),
    GR_OPT_SIZE(L, rate_c2s, 64 * GR_KIB, GR_KIB, GR_GIB,
                "bytes per second read from a client; above, reading pauses", .zero = "unlimited"),
    GR_OPT_SIZE(L, burst_c2s, 256 * GR_KIB, GR_KIB, GR_GIB,
                "bytes that a client may send at once"),
    GR_OPT_DURATION(L, login_timeout, 30 * GR_SECOND, GR_SECOND, GR_HOUR,
                    "from accepting a connection to a completed login"),
    GR_OPT_DURATION(L, idle_timeout, 5 * GR_MINUTE, 10 * GR_SECOND, GR_DAY,
                    "silence after which the other side is probed"),
    GR_OPT_INT(L, unauthenticated_per_ip, 20, 1, 1000000,
               "connections of an address (IPv6: /64) that have not logged in",
               .when = GR_REBIND),
    GR_OPT_INT(L, unauthenticated_percent, 10, 1, 100,
               "of all file descriptors, for connections that have not logged in; above, new ones "
               "are refused",
               .when = GR_REBIND),
    GR_OPT_INT(L, connections_per_ip, 200, 1, 1000000, "connections of an address (IPv6: /64)",
               .when = GR_REBIND),
    GR_OPT_INT(L, accept_rate_per_ip, 20, 1, 1000000, "new connections per second of an address, after a burst of three seconds' worth",
               .when = GR_REBIND),
    GR_OPT_INT(L, auth_retries, 3, 1, 100, "failed logins after which a stream is closed"),
    GR_OPT_INT(L, password_queue, 64, 1, 100000,
               "password checks that may wait; above, a login fails for now",
               .when = GR_RESTART),
    GR_OPT_INT(L, sessions_per_account, 32, 1, 10000, "sessions of an account at the same time"),
    GR_OPT_SIZE(L, output_high, GR_MIB, 16 * GR_KIB, GR_GIB,
                "unsent bytes of a connection above which its sources are not read"),
    GR_OPT_SIZE(L, output_hard, 4 * GR_MIB, 64 * GR_KIB, GR_GIB,
                "unsent bytes of a connection above which it is closed"),
    GR_OPT_DURATION(L, output_timeout, 180 * GR_SECOND, GR_SECOND, GR_DAY,
                    "time without progress in sending after which a connection is closed"),
    GR_OPT_END
};

static const struct gr_opt listen_options[] = {
    GR_OPT_ENUM(struct conf_listen, type, CONF_C2S, GR_WORDS("c2s", "s2s", "component", "http"),
                "what is spoken: clients, servers, components, web", .required = true,
                .when = GR_REBIND),
    GR_OPT_LIST(struct conf_listen, address, "::, 0.0.0.0", "addresses to listen on",
                .when = GR_REBIND, .max = 64),
    GR_OPT_INT(struct conf_listen, port, 0, 1, 65535,
               "usually 5222 for c2s, 5269 for s2s, 5347 for components, 5280 for http",
               .zero = "any", .required = true, .when = GR_REBIND),
    GR_OPT_ENUM(struct conf_listen, tls, CONF_TLS_REQUIRED,
                GR_WORDS("required", "optional", "direct"),
                "required: STARTTLS or direct TLS before anything else; optional: plain text as "
                "well; direct: from the first byte; component listeners: optional by default",
                .when = GR_REBIND),
    GR_OPT_INT(struct conf_listen, max_per_ip, 0, 1, 1000000,
               "connections of an address here; limits: connections_per_ip of [limits]",
               .zero = "limits", .when = GR_REBIND),
    GR_OPT_END
};

static const struct gr_opt component_options[] = {
    GR_OPT_STR(struct conf_component, secret, NULL,
               "shared secret of the handshake (XEP-0114, 3)", .required = true, .secret = true),
    GR_OPT_END
};

static const struct gr_opt host_options[] = {
    GR_OPT_STR(struct conf_host, certificate, NULL, "PEM file with the certificate chain",
               .max = 4095),
    GR_OPT_STR(struct conf_host, key, NULL,
               "PEM file with the private key; by default the file of the certificate",
               .max = 4095),
    GR_OPT_JIDLIST(struct conf_host, admins, NULL, "accounts that may administer the server"),
    GR_OPT_LIST(struct conf_host, sasl_disable, NULL,
                "login mechanisms that are not offered, e.g. SCRAM-SHA-1"),
    GR_OPT_ENUM(struct conf_host, plain, CONF_IN_TLS, GR_WORDS("tls", "always", "never"),
                "when the PLAIN mechanism is offered: inside TLS, also without it, not at all"),
    GR_OPT_ENUM(struct conf_host, sasl2, CONF_IN_TLS, GR_WORDS("tls", "always", "never"),
                "when logging in with one round trip is offered (XEP-0388): inside TLS, also "
                "without it, where that is allowed at all (against the text), not at all"),
    GR_OPT_INT(struct conf_host, scram_iterations, 0, 4096, 1000000,
               "rounds of password hashing for new passwords (RFC 7677, 4); standard is 10000 for "
               "SHA-1 and 50000 for SHA-256 and SHA-512", .zero = "standard"),
    GR_OPT_DURATION(struct conf_host, token_max_age, 30 * GR_SECOND, GR_SECOND, GR_DAY,
                    "for how long a token of `token issue` is good as a password"),
    GR_OPT_BOOL(struct conf_host, token_single_use, false, "such a token is good for one login"),
    GR_OPT_ENUM(struct conf_host, resource_conflict, CONF_KICK_OLD,
                GR_WORDS("kick_old", "refuse", "new_resource"),
                "when a resource is bound that is in use (RFC 6120, 7.7.2.2): the old session "
                "ends, the new one is refused, or it gets another resource"),
    GR_OPT_INT(struct conf_host, max_sessions, 0, 1, 10000,
               "sessions of an account at the same time; limits: sessions_per_account of [limits]",
               .zero = "limits"),
    GR_OPT_END
};

const struct conf_section conf_sections[] = {
    { "server", "server", "the process as a whole", server_options },
    { "limits", "limits", "what one peer may use; all of them are per node", limit_options },
    { "listen", "listen NAME", "a port; the name is free", listen_options },
    { "component", "component SUB.DOMAIN", "an external component (XEP-0114)", component_options },
    { "host", "host DOMAIN", "a domain with accounts", host_options },
    { NULL, NULL, NULL, NULL }
};

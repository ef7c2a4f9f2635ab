/* tests/bench/grapnel-load.c: the command line of the load engine. */
#include "load.h"
#include "load_epoll.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

struct opts opts = {
    .scenario = "chat",
    .host = "127.0.0.1",
    .domain = "localhost",
    .prefix = "u",
    .password = "secret",
    .mech = "SCRAM-SHA-1",
    .resource = "b",
    .label = "",
    .port = 5222,
    .sessions = 100,
    .parallel = 50,
    .window = 1,
    .group = 2,
    .to_count = 1,
    .body = 200,
    .duration = 5,
    .warmup = 1,
    .settle = 1,
};

static const char help[] =
    "grapnel-load SCENARIO [options]: puts load on an XMPP server, reads its CPU time and memory\n"
    "  login      open --sessions, CPU per login\n"
    "  login_fast the same with a token (XEP-0484), which a first login has fetched\n"
    "  login_resumed  with the token, in one flight, and going on with the session of before, whose\n"
    "             connection was cut (XEP-0198); --tls-resume: with the TLS session of before as well\n"
    "  idle       open and hold them: bytes per session, CPU while idle for --duration\n"
    "  chat       pairs (0,1), (2,3)...: closed loop with --window messages in flight per pair,\n"
    "             or --rate messages per second; --active limits who chats\n"
    "  storm      chat, beside --parallel logins at a time of accounts --to-first, --to-count\n"
    "  presence   groups of --group mutual contacts, one presence in flight per group\n"
    "  befriend   makes those contacts (once)\n"
    "  offline    --messages to accounts --to-first, --to-count that are away; --rate, --sm\n"
    "  drain      logs in those and expects --messages\n"
    "  soak       chats and requests at --rate, each counted, for --duration or until SIGINT\n"
    "  register   makes the accounts (XEP-0077)\n"
    "server:   --host ADDRESS --port N --domain NAME --tls starttls|direct|none --raw (relay)\n"
    "          --pid N (several times): processes whose CPU and memory are read\n"
    "accounts: --prefix u --password secret --first 0 --sessions 100\n"
    "          --mech SCRAM-SHA-1|SCRAM-SHA-256|PLAIN\n"
    "          --resource b --parallel 50 (logins at a time) --login-rate N\n"
    "          --no-presence --no-roster\n"
    "load:     --duration S --warmup S --settle S --rate N --window N --active N\n"
    "          --group N --body 200\n"
    "          --messages N --to-first N --to-count N\n"
    "          --sm --resume: XEP-0198, in offline and chat; sessions that can be resumed\n"
    "output:   --json FILE --label TEXT\n";

enum {
    O_HOST = 256,
    O_PORT,
    O_DOMAIN,
    O_TLS,
    O_RAW,
    O_PID,
    O_PREFIX,
    O_PASSWORD,
    O_FIRST,
    O_SESSIONS,
    O_MECH,
    O_RESOURCE,
    O_PARALLEL,
    O_LOGIN_RATE,
    O_NO_PRESENCE,
    O_NO_ROSTER,
    O_DURATION,
    O_WARMUP,
    O_SETTLE,
    O_RATE,
    O_WINDOW,
    O_ACTIVE,
    O_GROUP,
    O_BODY,
    O_MESSAGES,
    O_TO_FIRST,
    O_TO_COUNT,
    O_SM,
    O_RESUME,
    O_TLS_RESUME,
    O_JSON,
    O_LABEL,
    O_HELP
};

static const struct option longs[] = {
    { "host", 1, NULL, O_HOST },
    { "port", 1, NULL, O_PORT },
    { "domain", 1, NULL, O_DOMAIN },
    { "tls", 1, NULL, O_TLS },
    { "raw", 0, NULL, O_RAW },
    { "pid", 1, NULL, O_PID },
    { "prefix", 1, NULL, O_PREFIX },
    { "password", 1, NULL, O_PASSWORD },
    { "first", 1, NULL, O_FIRST },
    { "sessions", 1, NULL, O_SESSIONS },
    { "mech", 1, NULL, O_MECH },
    { "resource", 1, NULL, O_RESOURCE },
    { "parallel", 1, NULL, O_PARALLEL },
    { "login-rate", 1, NULL, O_LOGIN_RATE },
    { "no-presence", 0, NULL, O_NO_PRESENCE },
    { "no-roster", 0, NULL, O_NO_ROSTER },
    { "duration", 1, NULL, O_DURATION },
    { "warmup", 1, NULL, O_WARMUP },
    { "settle", 1, NULL, O_SETTLE },
    { "rate", 1, NULL, O_RATE },
    { "window", 1, NULL, O_WINDOW },
    { "active", 1, NULL, O_ACTIVE },
    { "group", 1, NULL, O_GROUP },
    { "body", 1, NULL, O_BODY },
    { "messages", 1, NULL, O_MESSAGES },
    { "to-first", 1, NULL, O_TO_FIRST },
    { "to-count", 1, NULL, O_TO_COUNT },
    { "sm", 0, NULL, O_SM },
    { "resume", 0, NULL, O_RESUME },
    { "tls-resume", 0, NULL, O_TLS_RESUME },
    { "json", 1, NULL, O_JSON },
    { "label", 1, NULL, O_LABEL },
    { "help", 0, NULL, O_HELP },
    { NULL, 0, NULL, 0 },
};

static bool set(int option, const char *v)
{
    switch (option) {
    case O_HOST: opts.host = v; break;
    case O_PORT: opts.port = atoi(v); break;
    case O_DOMAIN: opts.domain = v; break;
    case O_TLS:
        opts.tls = strcmp(v, "none") == 0     ? TLS_NONE
                   : strcmp(v, "direct") == 0 ? TLS_DIRECT
                                              : TLS_STARTTLS;
        break;
    case O_RAW: opts.raw = true; break;
    case O_PID:
        if (opts.pid_count < PIDS_MAX)
            opts.pids[opts.pid_count++] = atoi(v);
        break;
    case O_PREFIX: opts.prefix = v; break;
    case O_PASSWORD: opts.password = v; break;
    case O_FIRST: opts.first = atoi(v); break;
    case O_SESSIONS: opts.sessions = atoi(v); break;
    case O_MECH: opts.mech = v; break;
    case O_RESOURCE: opts.resource = v; break;
    case O_PARALLEL: opts.parallel = atoi(v); break;
    case O_LOGIN_RATE: opts.login_rate = atof(v); break;
    case O_NO_PRESENCE: opts.no_presence = true; break;
    case O_NO_ROSTER: opts.no_roster = true; break;
    case O_DURATION: opts.duration = atof(v); break;
    case O_WARMUP: opts.warmup = atof(v); break;
    case O_SETTLE: opts.settle = atoi(v); break;
    case O_RATE: opts.rate = atof(v); break;
    case O_WINDOW: opts.window = atoi(v); break;
    case O_ACTIVE: opts.active = atoi(v); break;
    case O_GROUP: opts.group = atoi(v); break;
    case O_BODY: opts.body = atoi(v); break;
    case O_MESSAGES: opts.messages = strtoull(v, NULL, 10); break;
    case O_TO_FIRST: opts.to_first = atoi(v); break;
    case O_TO_COUNT: opts.to_count = atoi(v); break;
    case O_SM: opts.sm = true; break;
    case O_RESUME: opts.sm = opts.resume = true; break;
    case O_TLS_RESUME: opts.tls_resume = true; break;
    case O_JSON: opts.json = v; break;
    case O_LABEL: opts.label = v; break;
    default: return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    int o;

    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (!set(o, optarg)) {
            fputs(help, o == O_HELP ? stdout : stderr);
            return o == O_HELP ? 0 : 2;
        }
    }
    if (optind < argc)
        opts.scenario = argv[optind];
    if (opts.sessions < 1 || opts.group < 2 || opts.to_count < 1 || opts.body > 8000) {
        fputs("grapnel-load: sessions, group, to-count or body out of range\n", stderr);
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)opts.sessions, sizeof(*conns));
    tls_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(tls_ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls_ctx, 1);
    SSL_CTX_set_verify(tls_ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(tls_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set1_groups_list(tls_ctx, "X25519:P-256");
    return run();
}

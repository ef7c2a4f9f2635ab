/* tests/unit/test_conf.c: values, schemas, the core's sections, module lists, differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <grapnel/log.h>

#include "conf/conf.h"
#include "conf/value.h"

#define LISTEN "[listen c2s]\ntype = c2s\nport = 5222\n"
#define HOST "[host localhost]\n"

/* --- a stand-in for the xml layer: ASCII only, spaces are wrong --- */

static int fake_parse(const char *s, size_t len, struct gr_jid **out)
{
    struct gr_jid *j;
    char *copy;

    if (memchr(s, ' ', len) != NULL || s[0] == '@' || s[len - 1] == '@')
        return GR_EINVAL;
    j = gr_alloc(sizeof *j);
    copy = gr_strndup(s, len);
    for (char *p = copy; *p != '\0'; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    j->full = j->bare = copy;
    j->full_len = (uint16_t)len;
    *out = j;
    return 0;
}

static void fake_free(struct gr_jid **take)
{
    gr_free((char *)(uintptr_t)(*take)->full);
    gr_free(*take);
    *take = NULL;
}

/* --- a module's schema --- */

enum colour { RED, GREEN, BLUE };
struct thing {
    const char *text, *secret, *jid;
    int64_t number, time, size;
    bool loud;
    enum colour colour;
    const char *const *list, *const *path, *const *jids;
};
static const struct gr_opt thing_options[] = {
    GR_OPT_STR(struct thing, text, "Hello!", "what is said", .max = 20),
    GR_OPT_STR(struct thing, secret, NULL, "a password", .secret = true, .max = 5),
    GR_OPT_JID(struct thing, jid, NULL, "somebody"),
    GR_OPT_INT(struct thing, number, 7, 1, 100, "a count", .zero = "never"),
    GR_OPT_DURATION(struct thing, time, 90 * GR_SECOND, GR_SECOND, GR_DAY, "a time",
                    .when = GR_RESTART),
    GR_OPT_SIZE(struct thing, size, 64 * GR_KIB, 0, GR_MIB, "a size"),
    GR_OPT_BOOL(struct thing, loud, false, "in capitals"),
    GR_OPT_ENUM(struct thing, colour, GREEN, GR_WORDS("red", "green", "blue"), "its colour"),
    GR_OPT_LIST(struct thing, list, "a, b", "words", .max = 3),
    GR_OPT_LIST(struct thing, path, NULL, "folders", .sep = ':'),
    GR_OPT_JIDLIST(struct thing, jids, "Root@Localhost", "people"),
    GR_OPT_END
};

struct fixture {
    struct conf *conf;
    struct conf_errors errs;
    struct arena mem;
    struct thing thing;
};

static int setup(void **state)
{
    *state = gr_alloc(sizeof(struct fixture));
    schema_prep = (struct schema_prep){ fake_parse, fake_free };
    return 0;
}

static void reset(struct fixture *f)
{
    conf_free(&f->conf);
    conf_errors_fini(&f->errs);
    arena_fini(&f->mem);
    memset(&f->thing, 0, sizeof f->thing);
}

static int teardown(void **state)
{
    reset(*state);
    gr_free(*state);
    return 0;
}

static void no_errors(const struct fixture *f)
{
    if (f->errs.count > 0)
        fail_msg("%s:%d: %s", f->errs.items[0].file, f->errs.items[0].line, f->errs.items[0].text);
}

static void load(struct fixture *f, const char *text)
{
    reset(f);
    conf_load_text("t", text, strlen(text), &f->conf, &f->errs);
    no_errors(f);
    assert_non_null(f->conf);
}

static void error_is(const struct fixture *f, size_t n, int line, const char *text)
{
    assert_true(f->errs.count > n);
    if (f->errs.items[n].line != line || strstr(f->errs.items[n].text, text) == NULL)
        fail_msg("expected line %d with \"%s\", got line %d: %s", line, text,
                 f->errs.items[n].line, f->errs.items[n].text);
}

/* The whole configuration is refused with exactly this. */
static void refused(struct fixture *f, const char *text, int line, const char *words)
{
    reset(f);
    assert_int_equal(conf_load_text("t", text, strlen(text), &f->conf, &f->errs), GR_EINVAL);
    assert_null(f->conf);
    error_is(f, 0, line, words);
    if (f->errs.count > 1)
        fail_msg("a second error: %s", f->errs.items[1].text);
}

/* The lines, as [mod_thing] from line 5 on, into f->thing. */
static void thing(struct fixture *f, const char *lines)
{
    char text[12000];
    const struct conf_module *m;

    snprintf(text, sizeof text, LISTEN HOST "[mod_thing]\n%s", lines);
    load(f, text);
    m = conf_module(conf_host(f->conf, "localhost"), "mod_thing");
    assert_non_null(m);
    conf_module_apply(m, thing_options, &f->thing, &f->mem, &f->errs);
}

static void thing_refused(struct fixture *f, const char *line, const char *words)
{
    thing(f, line);
    error_is(f, 0, 6, words);
    assert_int_equal(f->errs.count, 1);
}

static void reads_units(void **state)
{
    int64_t v;
    bool b;
    static const struct {
        const char *text;
        int64_t ms;
    } times[] = {
        { "0", 0 }, { "500ms", 500 }, { "30s", 30000 }, { "5m", 300000 }, { "1h30m", 5400000 },
        { "7d", 604800000 }, { "2w", 1209600000 }, { "1D", 86400000 },
    };
    static const char *const not_times[] = { "", "30", "s", "1x", "1s1s", "30m1h", "-1s", "1.5h",
                                             " 1s", "1s ", "1 s" };
    static const char *const not_sizes[] = { "", "K", "1KB", "1kk", "-1", "1.5M", "1 M", "1iB" };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(times); i++) {
        assert_int_equal(value_duration(times[i].text, &v), 0);
        assert_int_equal(v, times[i].ms);
    }
    for (size_t i = 0; i < GR_COUNT(not_times); i++)
        assert_int_equal(value_duration(not_times[i], &v), GR_EINVAL);
    assert_int_equal(value_duration("9223372036854775807w", &v), GR_ELIMIT);
    assert_int_equal(value_duration("99999999999999999999s", &v), GR_ELIMIT);
    assert_int_equal(value_size("512", &v), 0);
    assert_int_equal(v, 512);
    assert_int_equal(value_size("64k", &v), 0);
    assert_int_equal(v, 65536);
    assert_int_equal(value_size("1MiB", &v), 0);
    assert_int_equal(v, 1048576);
    assert_int_equal(value_size("9999999T", &v), GR_ELIMIT);
    for (size_t i = 0; i < GR_COUNT(not_sizes); i++)
        assert_int_equal(value_size(not_sizes[i], &v), GR_EINVAL);
    assert_int_equal(value_int("-12", &v), 0);
    assert_int_equal(v, -12);
    assert_int_equal(value_int("12x", &v), GR_EINVAL);
    assert_int_equal(value_int("99999999999999999999", &v), GR_ELIMIT);
    assert_int_equal(value_int("99999999999999999999x", &v), GR_EINVAL);
    assert_int_equal(value_bool("On", &b), 0);
    assert_true(b);
    assert_int_equal(value_bool("maybe", &b), GR_EINVAL);
}

static void prints_values(void **state)
{
    char out[VALUE_TEXT_SIZE];

    (void)state;
    value_print(out, GR_KIND_DURATION, 5400000);
    assert_string_equal(out, "90m");
    value_print(out, GR_KIND_DURATION, 1500);
    assert_string_equal(out, "1500ms");
    value_print(out, GR_KIND_DURATION, 0);
    assert_string_equal(out, "0");
    value_print(out, GR_KIND_SIZE, 65536);
    assert_string_equal(out, "64K");
    value_print(out, GR_KIND_SIZE, 10000);
    assert_string_equal(out, "10000");
    value_print(out, GR_KIND_INT, INT64_MIN);
    assert_string_equal(out, "-9223372036854775808");
}

static void finds_near_words(void **state)
{
    (void)state;
    assert_int_equal(words_distance("limit", "limit"), 0);
    assert_int_equal(words_distance("limt", "limit"), 1);
    assert_int_equal(words_distance("tsl", "tls"), 1);
    assert_int_equal(words_distance("", "abc"), 3);
    assert_int_equal(words_distance("kitten", "sitting"), 3);
}

static void defaults_fill_the_struct(void **state)
{
    struct fixture *f = *state;

    thing(f, "");
    no_errors(f);
    assert_string_equal(f->thing.text, "Hello!");
    assert_null(f->thing.secret);
    assert_null(f->thing.jid);
    assert_int_equal(f->thing.number, 7);
    assert_int_equal(f->thing.time, 90000);
    assert_int_equal(f->thing.size, 65536);
    assert_false(f->thing.loud);
    assert_int_equal(f->thing.colour, GREEN);
    assert_string_equal(f->thing.list[0], "a");
    assert_string_equal(f->thing.list[1], "b");
    assert_null(f->thing.list[2]);
    assert_null(f->thing.path[0]);
    assert_string_equal(f->thing.jids[0], "root@localhost");
}

static void values_fill_the_struct(void **state)
{
    struct fixture *f = *state;

    thing(f, "text = \" x\"\nsecret = abc\njid = Me@X\nnumber = never\ntime = 2h\nsize = 1M\n"
             "loud = yes\ncolour = blue\nlist = x ,y,  z z\npath = a:/b c:d\njids =\n"
             "enabled = yes\n");
    no_errors(f);
    assert_string_equal(f->thing.text, " x");
    assert_string_equal(f->thing.secret, "abc");
    assert_string_equal(f->thing.jid, "me@x");
    assert_int_equal(f->thing.number, 0);
    assert_int_equal(f->thing.time, 7200000);
    assert_int_equal(f->thing.size, 1048576);
    assert_true(f->thing.loud);
    assert_int_equal(f->thing.colour, BLUE);
    assert_string_equal(f->thing.list[1], "y");
    assert_string_equal(f->thing.list[2], "z z");
    assert_string_equal(f->thing.path[1], "/b c");
    assert_null(f->thing.path[3]);
    assert_null(f->thing.jids[0]);
}

static void refuses_values_with_a_sentence(void **state)
{
    struct fixture *f = *state;

    thing_refused(f, "txt = x", "[mod_thing] has no option `txt`: did you mean `text`?");
    thing_refused(f, "enabeld = x", "did you mean `enabled`?");
    thing_refused(f, "qqqqqq = x", "has no option `qqqqqq`: it has text, secret, jid, number");
    thing_refused(f, "number = 12x", "`number = 12x`: write a whole number from 1 to 100, or n");
    thing_refused(f, "number = 101", "`number = 101` is out of range: write a whole number from 1");
    thing_refused(f, "number = 99999999999999999999", "is out of range");
    thing_refused(f, "number = 5 # five", "(a comment behind a value starts with ;)");
    thing_refused(f, "number =", "`number` has no value: write a whole number");
    thing_refused(f, "time = 30", "`time = 30`: write a time from 1s to 1d with its unit");
    thing_refused(f, "time = 0", "`time = 0` is out of range");
    thing_refused(f, "size = 2M", "`size = 2M` is out of range: write a size from 0 to 1M (");
    thing_refused(f, "loud = perhaps", "`loud = perhaps`: write yes or no");
    thing_refused(f, "colour = gren", "did you mean `green`? Write red, green or blue");
    thing_refused(f, "colour = GREEN", "`colour = GREEN`: write red, green or blue");
    thing_refused(f, "text = 123456789012345678901", "out of range: write text of at most 20");
    thing_refused(f, "list = a,,b", "at most 3 words separated by commas");
    thing_refused(f, "list = a,b,c,d", "is out of range: write at most 3 words");
    thing_refused(f, "jid = a b", "write an address such as user@example.org");
    thing_refused(f, "jids = a@b, c d", "addresses such as user@example.org");
    thing(f, "secret = hunter2\n");
    error_is(f, 0, 6, "`secret` is out of range");
    assert_null(strstr(f->errs.items[0].text, "hunter2"));
}

static void all_errors_of_a_section(void **state)
{
    struct fixture *f = *state;

    thing(f, "number = x\nloud = y\nzz = 1\n");
    assert_int_equal(f->errs.count, 3);
    error_is(f, 2, 8, "no option `zz`");
    assert_int_equal(f->thing.number, 7); /* a refused value leaves the default */
}

static void required_options_must_be_given(void **state)
{
    static const struct gr_opt table[] = {
        GR_OPT_STR(struct thing, text, NULL, "what is said", .required = true), GR_OPT_END
    };
    struct fixture *f = *state;
    struct thing t = { 0 };

    load(f, LISTEN HOST "[mod_thing]\n");
    conf_module_apply(&f->conf->hosts[0].modules[0], table, &t, &f->mem, &f->errs);
    error_is(f, 0, 5, "[mod_thing] needs a line `text = ...`: what is said");
}

static void checks_a_modules_table(void **state)
{
    static const char *const words[] = { "a", NULL };
    static const struct gr_opt bad[] = {
        { .name = "Name", .kind = GR_KIND_STR, .help = "h" },
        { .name = "enabled", .kind = GR_KIND_BOOL, .help = "h" },
        { .name = "x", .kind = GR_KIND_STR, .help = "h" },
        { .name = "x", .kind = GR_KIND_STR, .help = "h" },
        { .name = "nohelp", .kind = GR_KIND_STR },
        { .name = "nokind", .kind = (enum gr_opt_kind)99, .help = "h" },
        { .name = "word", .kind = GR_KIND_ENUM, .words = words, .value = 1, .help = "h" },
        { .name = "range", .kind = GR_KIND_INT, .min = 2, .max = 1, .help = "h" },
        { .name = "def", .kind = GR_KIND_INT, .min = 2, .max = 9, .help = "h" },
        { .name = "ctl", .kind = GR_KIND_STR, .text = "a\nb", .help = "h" },
        { .name = "list", .kind = GR_KIND_LIST, .text = "a,,b", .help = "h" },
        GR_OPT_END
    };
    static const char *const texts[] = {
        "cannot be a key", "reserved", "twice", "no help", "no kind", "no word", "impossible",
        "out of its range", "control characters", "not valid"
    };
    struct fixture *f = *state;

    schema_check(bad, "mod_bad.so", &f->errs);
    assert_int_equal(f->errs.count, GR_COUNT(texts));
    for (size_t i = 0; i < GR_COUNT(texts); i++)
        error_is(f, i, 0, texts[i]);
    conf_errors_fini(&f->errs);
    schema_check(thing_options, "mod_thing.so", &f->errs);
    for (const struct conf_section *s = conf_sections; s->name != NULL; s++)
        schema_check(s->table, s->name, &f->errs);
    schema_check(NULL, "mod_none.so", &f->errs);
    no_errors(f);
}

/* --- the core's sections --- */

static void core_defaults(void **state)
{
    struct fixture *f = *state;
    const struct conf_host *h;

    load(f, LISTEN HOST);
    assert_string_equal(f->conf->server.data_dir, "/var/lib/grapnel");
    assert_string_equal(f->conf->server.ctl_socket, "/var/lib/grapnel/grapnel.sock");
    assert_int_equal(f->conf->server.loops, 0);
    assert_int_equal(f->conf->server.log_level, GR_LOG_INFO);
    assert_int_equal(f->conf->limits.stanza_before_login, 10000);
    assert_int_equal(f->conf->limits.login_timeout, 30000);
    assert_int_equal(f->conf->limits.output_hard, 4 << 20);
    assert_int_equal(f->conf->listen_count, 1);
    assert_int_equal(f->conf->listens[0].type, CONF_C2S);
    assert_int_equal(f->conf->listens[0].tls, CONF_TLS_REQUIRED);
    assert_int_equal(f->conf->listens[0].max_per_ip, 200);
    assert_string_equal(f->conf->listens[0].address[0], "::");
    h = conf_host(f->conf, "localhost");
    assert_non_null(h);
    assert_null(h->certificate);
    assert_null(h->key);
    assert_int_equal(h->max_sessions, 32);
    assert_int_equal(h->resource_conflict, CONF_KICK_OLD);
    assert_int_equal(h->module_count, 0);
    assert_null(conf_host(f->conf, "other"));
}

static void core_values(void **state)
{
    struct fixture *f = *state;
    const struct conf_host *h;

    load(f, "[server]\ndata_dir = run/data\nmodule_path = build/modules:/usr/lib/x\nloops = auto\n"
            "log_level = debug\n[limits]\nsessions_per_account = 5\n"
            "[listen a]\ntype = s2s\naddress = 127.0.0.1, ::1\nport = 5269\ntls = direct\n"
            "[listen b]\ntype = component\nport = any\nmax_per_ip = 3\n"
            "[component Gate.localhost]\nsecret = s\n"
            "[host LocalHost]\ncertificate = c.pem\nadmins = Root@LocalHost, b@localhost\n"
            "plain = never\nsasl_disable = SCRAM-SHA-1\nresource_conflict = new_resource\n"
            "[host example.org]\ncertificate = d.pem\nkey = k.pem\nmax_sessions = 2\n");
    assert_string_equal(f->conf->server.module_path[1], "/usr/lib/x");
    assert_string_equal(f->conf->server.ctl_socket, "run/data/grapnel.sock");
    assert_string_equal(f->conf->listens[0].name, "a");
    assert_string_equal(f->conf->listens[0].address[1], "::1");
    assert_int_equal(f->conf->listens[0].tls, CONF_TLS_DIRECT);
    assert_int_equal(f->conf->listens[1].tls, CONF_TLS_OPTIONAL);
    assert_int_equal(f->conf->listens[1].port, 0);
    assert_int_equal(f->conf->listens[1].max_per_ip, 3);
    assert_string_equal(f->conf->components[0].domain, "gate.localhost");
    assert_string_equal(f->conf->components[0].secret, "s");
    h = conf_host(f->conf, "localhost");
    assert_string_equal(h->key, "c.pem");
    assert_string_equal(h->admins[0], "root@localhost");
    assert_int_equal(h->plain, CONF_NEVER);
    assert_int_equal(h->max_sessions, 5);
    assert_int_equal(h->resource_conflict, CONF_NEW_RESOURCE);
    h = conf_host(f->conf, "example.org");
    assert_string_equal(h->key, "k.pem");
    assert_int_equal(h->max_sessions, 2);
}

static void core_refuses(void **state)
{
    struct fixture *f = *state;

    refused(f, LISTEN HOST "[sever]\n", 5, "there is no section [sever]: did you mean [server]?");
    refused(f, LISTEN HOST "[roster]\n", 5, "write [mod_roster] for a module");
    refused(f, LISTEN HOST "[server x]\n", 5, "one word too many: write [server]");
    refused(f, LISTEN HOST "[listen]\n", 5, "is not complete: write [listen NAME]");
    refused(f, LISTEN HOST "[mod_]\n", 5, "has no module name");
    refused(f, LISTEN HOST "[listen x]\ntype = c2s\n", 5, "[listen x] needs a line `port = ...`");
    refused(f, LISTEN HOST "[listen x]\nport = 1\n", 5, "[listen x] needs a line `type = ...`");
    refused(f, LISTEN HOST "[listen x]\ntype = xmpp\nport = 1\n", 6, "c2s, s2s, component or http");
    refused(f, LISTEN HOST "[listen x]\ntype = s2s\nport = 5222\naddress = ::\n", 5,
            "[listen x] and [listen c2s] at t:1 both use :: port 5222");
    refused(f, LISTEN HOST "[listen x]\ntype = s2s\nport = 1\naddress =\n", 5, "has no address");
    refused(f, LISTEN HOST "tls = requird\n", 5, "[host localhost] has no option `tls`");
    refused(f, LISTEN "tsl = optional\n" HOST, 4, "did you mean `tls`?");
    refused(f, LISTEN "tls = optinal\n" HOST, 4, "did you mean `optional`?");
    refused(f, LISTEN HOST "key = k\n", 5, "has a key and no certificate");
    refused(f, LISTEN HOST "[host LOCALHOST]\n", 5, "is the same host as the one at t:4");
    refused(f, LISTEN HOST "[host a b]\n", 5, "this is not a domain");
    refused(f, LISTEN HOST "[host a@b]\n", 5, "this is not a domain");
    refused(f, LISTEN HOST "[component localhost]\nsecret = x\n", 5, "is the host at t:4 as well");
    refused(f, LISTEN HOST "[component c]\n", 5, "needs a line `secret = ...`");
    refused(f, LISTEN HOST "[component c]\nsecret = x\n[component C]\nsecret = y\n", 7,
            "is declared at t:5 as well");
    refused(f, LISTEN HOST "[mod_x localhots]\n", 5, "there is no [host localhots], did you mean "
            "localhost?");
    refused(f, LISTEN HOST "[mod_x elsewhere.example]\n", 5, "add it or remove this section");
    refused(f, LISTEN HOST "[mod_x localhost]\n[mod_x LocalHost]\n", 6, "is for the same host as "
            "[mod_x localhost] at t:5");
    refused(f, LISTEN HOST "[mod_x]\nenabled = perhaps\n", 6, "write yes or no");
    refused(f, LISTEN HOST "[limits]\noutput_hard = 512K\n", 6, "below `output_high`");
    refused(f, LISTEN HOST "[limits]\nmemory_before_login = 32K\n", 6, "at least six times");
    refused(f, LISTEN HOST "[limits]\nstanza_before_login = 100K\n", 5, "has no room for");
    refused(f, LISTEN HOST "[server]\ndata_dir =\n", 6, "`data_dir` is empty");
    refused(f, LISTEN HOST "admins = admin\n", 4, "admin is not an account");
    refused(f, LISTEN HOST "admins = a@elsewhere\n", 4, "of no domain that is served");
    refused(f, LISTEN HOST "sasl_disable = SCRAM-SHA1\n", 4, "no mechanism SCRAM-SHA1");
    refused(f, LISTEN, 0, "there is no host");
    refused(f, HOST, 0, "nobody could connect");
    assert_int_equal(conf_load("/nonexistent/x.ini", &f->conf, &f->errs), GR_EINVAL);
    assert_int_equal(f->errs.count, 2); /* and nothing about missing sections */
    error_is(f, 1, 0, "cannot read /nonexistent/x.ini");
}

static void modules_per_host_in_order(void **state)
{
    struct fixture *f = *state;
    const struct conf_host *a, *b, *c;

    load(f, LISTEN "[host a]\n[host b]\n[host c]\n"
            "[mod_one]\nnumber = 1\n[mod_two b]\n[mod_three]\nenabled = no\n[mod_two]\nx = 1\n"
            "[mod_one B]\nenabled = no\n[mod_three a]\nnumber = 3\n[mod_four]\n");
    a = conf_host(f->conf, "a");
    b = conf_host(f->conf, "b");
    c = conf_host(f->conf, "c");
    assert_int_equal(a->module_count, 4);
    assert_string_equal(a->modules[0].name, "mod_one");
    assert_string_equal(a->modules[1].name, "mod_three");
    assert_non_null(a->modules[1].global);
    assert_non_null(a->modules[1].local);
    assert_string_equal(a->modules[2].name, "mod_two");
    assert_string_equal(a->modules[3].name, "mod_four");
    assert_int_equal(b->module_count, 2); /* not one, three is off by default */
    assert_string_equal(b->modules[0].name, "mod_two");
    assert_non_null(b->modules[0].global);
    assert_int_equal(conf_module_place(&b->modules[0]).line, 9);
    assert_string_equal(b->modules[1].name, "mod_four");
    assert_int_equal(c->module_count, 3);
    assert_null(conf_module(c, "mod_three"));
    assert_null(conf_module(c, "mod_two")->local);
}

static void local_values_override_global_ones(void **state)
{
    struct fixture *f = *state;

    load(f, LISTEN "[host a]\n[host b]\n[mod_t]\nnumber = 1\ntext = g\n[mod_t b]\nnumber = 2\n");
    conf_module_apply(&f->conf->hosts[1].modules[0], thing_options, &f->thing, &f->mem, &f->errs);
    no_errors(f);
    assert_int_equal(f->thing.number, 2);
    assert_string_equal(f->thing.text, "g");
    f->thing = (struct thing){ 0 };
    conf_module_apply(&f->conf->hosts[0].modules[0], thing_options, &f->thing, &f->mem, &f->errs);
    assert_int_equal(f->thing.number, 1);
}

/* --- differences --- */

static const struct gr_opt *find_options(void *ctx, const char *module)
{
    (void)ctx;
    return strcmp(module, "mod_thing") == 0 ? thing_options : NULL;
}

static void print_change(void *ctx, const struct conf_change *change)
{
    conf_change_print(change, ctx);
}

static void differences_are_listed(void **state)
{
    static const char before[] =
        "[server]\nloops = 2\n[limits]\nlogin_timeout = 60s\n[listen a]\ntype = c2s\nport = 1\n"
        "[listen old]\ntype = s2s\nport = 2\n[host h]\nadmins = a@h\n[host gone]\n"
        "[component c]\nsecret = one\n[mod_thing]\ntime = 5m\nsecret = abc\nnumber = 1\n[mod_old]\n"
        "[mod_odd]\nkey = value\n";
    static const char after[] =
        "[server]\nloops = 4\n[limits]\nlogin_timeout = 1m\n[listen a]\ntype = c2s\nport = 3\n"
        "[listen new]\ntype = s2s\nport = 2\n[host h]\nadmins = a@h, b@h\n[host more]\n"
        "[component c]\nsecret = two\n[mod_thing]\ntime = 6m\nsecret = abd\nloud = yes\n[mod_new]\n"
        "[mod_odd]\nkey = other\n";
    struct fixture *f = *state;
    struct conf *old = NULL;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    const struct conf_diff diff = { print_change, find_options, out, NULL };

    assert_int_equal(conf_load_text("o", before, sizeof before - 1, &old, &f->errs), 0);
    assert_int_equal(conf_load_text("n", after, sizeof after - 1, &f->conf, &f->errs), 0);
    conf_diff(old, f->conf, &diff);
    fclose(out);
    assert_string_equal(text, "[server] loops: 2 -> 4 (needs a restart)\n"
                              "[listen a] port: 1 -> 3 (the listener is opened anew)\n"
                              "[listen old]: removed (the listener is opened anew)\n"
                              "[listen new]: added (the listener is opened anew)\n"
                              "[component c] secret: *** -> *** (live)\n"
                              "[host h] admins: a@h -> a@h, b@h (live)\n"
                              "[host gone]: removed (live)\n"
                              "[host more]: added (live)\n"
                              "[mod_thing] time: 5m -> 6m (needs a restart)\n"
                              "[mod_thing] secret: *** -> *** (live)\n"
                              "[mod_thing] number: 1 -> (default) (live)\n"
                              "[mod_thing] loud: (default) -> yes (live)\n"
                              "[mod_old]: removed (live)\n"
                              "[mod_odd] key: *** -> *** (live)\n"
                              "[mod_new]: added (live)\n");
    free(text);
    out = open_memstream(&text, &len);
    conf_diff(old, old, &(struct conf_diff){ print_change, NULL, out, NULL });
    fclose(out);
    assert_string_equal(text, "");
    free(text);
    conf_free(&old);
}

static char *change(const char *before, const char *after, const struct conf_started *started)
{
    struct conf_errors errs = { 0 };
    struct conf *a = NULL, *b = NULL;
    char *text = NULL, *one = gr_asprintf(LISTEN "[host h]\n%s", before);
    char *two = gr_asprintf(LISTEN "[host h]\n%s", after);
    size_t len;
    FILE *out = open_memstream(&text, &len);

    assert_int_equal(conf_load_text("a", one, strlen(one), &a, &errs), 0);
    assert_int_equal(conf_load_text("b", two, strlen(two), &b, &errs), 0);
    conf_diff(a, b, &(struct conf_diff){ print_change, NULL, out, started });
    fclose(out);
    gr_free(one);
    gr_free(two);
    conf_free(&a);
    conf_free(&b);
    return text;
}

static void expect_change(const char *before, const char *after, const char *want)
{
    char *text = change(before, after, NULL);

    assert_string_equal(text, want);
    free(text);
}

static void a_module_that_is_switched_off_is_removed(void **state)
{
    (void)state;
    expect_change("[mod_x]\n", "[mod_x]\nenabled = no\n", "[mod_x]: removed (live)\n");
    expect_change("[mod_x]\nenabled = off\n", "[mod_x]\n", "[mod_x]: added (live)\n");
    expect_change("[mod_x]\nenabled = no\n", "[mod_x]\nenabled = off\n", "");
    expect_change("[mod_x]\nenabled = no\n", "", "");
    expect_change("", "[mod_x]\nenabled = no\n", "");
    expect_change("[mod_x]\n", "[mod_x]\n[mod_x h]\nenabled = no\n", "[mod_x h]: removed (live)\n");
    expect_change("[mod_x]\n[mod_x h]\nenabled = no\n", "[mod_x]\n", "[mod_x h]: added (live)\n");
}

/* A reload does not forget what an earlier one could not apply. */
static void a_restart_is_asked_for_until_it_happens(void **state)
{
    static const char text[] = LISTEN "[host h]\n[server]\nloops = 2\n";
    struct fixture *f = *state;
    struct conf_started *started;
    char *said;

    load(f, text);
    started = conf_started_new(f->conf);
    said = change("[server]\nloops = 2\n", "[server]\nloops = 3\nlog_level = warn\n", started);
    assert_string_equal(said, "[server] log_level: info -> warn (live)\n"
                              "[server] loops: 2 -> 3 (needs a restart)\n");
    free(said);
    said = change("[server]\nloops = 3\n", "[server]\nloops = 3\n", started);
    assert_string_equal(said, "[server] loops: 2 -> 3 (needs a restart)\n");
    free(said);
    said = change("[server]\nloops = 3\n", "[server]\nloops = 2\n", started);
    assert_string_equal(said, "[server] loops: 3 -> 2 (live)\n"); /* never left */
    free(said);
    conf_started_free(&started);
}

/* --- printing --- */

static char *printed(void (*print)(FILE *))
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    print(out);
    fclose(out);
    return text;
}

/* Every default, taken out of its comment, reads back as itself. */
static void printed_sample_is_read_back(void **state)
{
    struct fixture *f = *state;
    char *text = printed(conf_print_ini), *p = text;
    struct conf *sample = NULL;

    /* Take the options out of their comments; the two required ones and the names are filled in. */
    for (; (p = strchr(p, ';')) != NULL; p++) {
        if ((p == text || p[-1] == '\n') && p[1] != ' ' && strncmp(p, ";include", 8) != 0)
            *p = ' ';
    }
    assert_non_null(strstr(text, "\n loops = auto\n"));
    assert_null(strstr(text, "\n;loops"));
    p = strstr(text, "\n secret = \n");
    assert_non_null(p);
    load(f, LISTEN "tls = required\n[component c]\nsecret = \"\"\n[host domain]\n");
    conf_load_text("s", text, strlen(text), &sample, &f->errs);
    no_errors(f);
    assert_int_equal(sample->host_count, 1);
    for (const struct conf_section *s = conf_sections; s->name != NULL; s++) {
        const void *a = strcmp(s->name, "server") == 0   ? (void *)&sample->server
                        : strcmp(s->name, "limits") == 0 ? (void *)&sample->limits
                                                         : NULL;
        const void *b = strcmp(s->name, "server") == 0 ? (void *)&f->conf->server
                                                       : (void *)&f->conf->limits;

        for (const struct gr_opt *o = s->table; a != NULL && o->name != NULL; o++)
            assert_string_equal(schema_text(o, a, &f->mem), schema_text(o, b, &f->mem));
    }
    conf_free(&sample);
    free(text);
}

static void prints_help_and_manual(void **state)
{
    char *help = printed(conf_print_help), *manual = printed(conf_print_markdown);

    (void)state;
    assert_non_null(strstr(help, "[listen NAME]\n  type\n      what is spoken: clients, servers, "
                                 "components, web\n      c2s, s2s, component or http; required; "
                                 "rebind\n"));
    assert_non_null(strstr(help, "  loops\n      event-loop threads; auto is one per core\n      "
                                 "a whole number from 1 to 64, or auto; default: auto; restart\n"));
    assert_non_null(strstr(manual, "| `output_timeout` | a time from 1s to 1d with its unit (ms, "
                                   "s, m, h, d, w) | `3m` | live | "));
    for (const char *line = help; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_true(strcspn(line, "\n") <= 90);
    free(help);
    free(manual);
}

static void text_of_values_needs_quotes_sometimes(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = { "", "x", " x", "x ", "a ;b", ";", "\"a\\\"", "a;b", "\\" };

    for (size_t i = 0; i < GR_COUNT(texts); i++) {
        struct thing t = { .text = texts[i] };
        char line[64];

        snprintf(line, sizeof line, "text = %s\n", schema_text(&thing_options[0], &t, &f->mem));
        thing(f, line);
        no_errors(f);
        assert_string_equal(f->thing.text, texts[i]);
    }
}

static void without_preparation_ascii_is_folded(void **state)
{
    struct fixture *f = *state;

    schema_prep = (struct schema_prep){ NULL, NULL };
    load(f, LISTEN "[host Example.ORG]\n[mod_x EXAMPLE.org]\n");
    assert_non_null(conf_module(conf_host(f->conf, "example.org"), "mod_x"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reads_units), T(prints_values), T(finds_near_words), T(defaults_fill_the_struct),
        T(values_fill_the_struct), T(refuses_values_with_a_sentence), T(all_errors_of_a_section),
        T(required_options_must_be_given), T(checks_a_modules_table), T(core_defaults),
        T(core_values), T(core_refuses), T(modules_per_host_in_order),
        T(local_values_override_global_ones), T(differences_are_listed), T(a_module_that_is_switched_off_is_removed),
        T(a_restart_is_asked_for_until_it_happens),
        T(printed_sample_is_read_back), T(prints_help_and_manual),
        T(text_of_values_needs_quotes_sometimes), T(without_preparation_ascii_is_folded),
    };

    return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}

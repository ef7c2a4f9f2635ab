/* tests/mod/test_hooks_data.c: the hooks about accounts' and hosts' data and about what is posted to
 * sessions, run as the server runs them: by commands, at the start, by gr_session_post. */
#include "harness.h"

#include "admin_data.h"
#include "base/buf.h"
#include "command.h"
#include "loop/loop.h"
#include "loop/work.h"
#include "mod/instance.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- a module that has data of its own and handles everything --- */

static const struct gr_coll colls[] = { GR_MAP("t.rows"), GR_LOG("t.log"), GR_COLL_END };

static struct {
    char trace[2048];
    enum gr_verdict verdict;         /* of remove_domain, get_personal_data, node_cleanup */
    enum gr_verdict foreign;
    bool wait;
    struct gr_hold *hold;
    struct loop *held_on;
} t;

static void note(const char *fmt, ...) GR_PRINTF(1, 2);
static void note(const char *fmt, ...)
{
    size_t n = strlen(t.trace);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(t.trace + n, sizeof(t.trace) - n, fmt, ap);
    va_end(ap);
}

static void expect_trace(const char *what)
{
    assert_string_equal(t.trace, what);
    t.trace[0] = '\0';
}

static enum gr_verdict decide(struct gr_mod *self, struct gr_ev *ev)
{
    if (!t.wait)
        return t.verdict;
    t.hold = gr_hold(self, ev);
    t.held_on = loop_self();
    return GR_PENDING;
}

static enum gr_verdict on_node(struct gr_mod *self, struct gr_domain_ev *ev)
{
    assert_null(ev->ev.host);
    note("node(%s) ", ev->node);
    return decide(self, &ev->ev);
}

static enum gr_verdict on_domain(struct gr_mod *self, struct gr_domain_ev *ev)
{
    assert_ptr_equal(gr_mod_host(self), ev->ev.host);
    note("domain(%s) ", ev->domain);
    return decide(self, &ev->ev);
}

static enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    assert_ptr_equal(gr_mod_host(self), ev->ev.host);
    note("export(%s) ", ev->user->bare);
    if (t.verdict == GR_OK)
        gr_el_add_text(ev->data, NULL, "t", "mine", "& all");
    return decide(self, &ev->ev);
}

static enum gr_verdict on_foreign(struct gr_mod *self, struct gr_foreign_ev *ev)
{
    assert_ptr_equal(gr_mod_host(self), ev->ev.host);
    assert_ptr_equal(gr_session_host(ev->session), ev->ev.host);
    assert_non_null(ev->ev.acc);
    assert_ptr_equal(loop_home(gr_session_jid(ev->session)->hash), loop_self());
    note("%s:%s=%.*s ", gr_session_jid(ev->session)->full, ev->tag, (int)ev->len,
         ev->len > 0 ? (const char *)ev->data : "");
    return t.foreign;
}

static const struct gr_hook hooks[] = {
    GR_ON(node_cleanup, 50, on_node), GR_ON(remove_domain, 50, on_domain),
    GR_ON(get_personal_data, 60, on_export), GR_ON(foreign_event, 50, on_foreign), GR_HOOK_END
};
static const struct gr_module tester = { .name = "t", .summary = "test", .hooks = hooks,
                                         .collections = colls };

static struct h *begin(const char *ini)
{
    h_module(&tester);
    h_module(&admin_data_module);
    struct h *h = h_start(ini);
    h_user(h, "alice@localhost");
    t.trace[0] = '\0';
    return h;
}

static int clean(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    return 0;
}

static void resume(struct h *h)
{
    struct loop *l = loop_self();

    t.wait = false;
    loop_enter(t.held_on);
    gr_resume(t.hold, GR_OK);
    loop_enter(l);
    h_run(h);
}

/* --- commands --- */

static struct {
    int done;
    char error[512], rows[512];
} answer;

static void on_answer(void *arg, const char *error, const struct buf *result)
{
    (void)arg;
    answer.done++;
    snprintf(answer.error, sizeof(answer.error), "%s", error != NULL ? error : "");
    memcpy(answer.rows, buf_data(result), buf_len(result));
    for (size_t i = 0; i < buf_len(result); i++)
        answer.rows[i] = answer.rows[i] == '\0' ? ' ' : answer.rows[i];
    answer.rows[buf_len(result)] = '\0';
}

static void command(struct h *h, const char *line)
{
    char text[512];
    const char *words[8];
    size_t n = 0;
    struct loop *l = loop_self();

    snprintf(text, sizeof(text), "%s", line);
    for (char *rest = text, *w; (w = strtok_r(rest, " ", &rest)) != NULL && n < 8;)
        words[n++] = w;
    memset(&answer, 0, sizeof(answer));
    loop_enter(loop_main());
    command_run(words, n, on_answer, NULL);
    loop_enter(l);
    h_run(h);
}

/* --- node_cleanup --- */

static void node_cleanup_at_the_start(void **state)
{
    (void)state;
    h_module(&tester);
    struct h *h = h_start("[host localhost]\n[host two.example]\n");
    expect_trace("node(local) "); /* once, whatever the number of hosts and loops */
    h_restart(h);
    expect_trace("node(local) ");
    h_reload(h, "[host localhost]\n", NULL);
    expect_trace("");
    h_stop(&h);
    h_module(&tester);
    h = h_start("[server]\nserver_id = node-7\n[host localhost]\n");
    expect_trace("node(node-7) ");
    assert_string_equal(gr_server_id(), "node-7");
    t.wait = true;
    h_restart(h);
    assert_non_null(t.hold);
    resume(h);
    h_stop(&h);
}

/* --- foreign_event --- */

static void posts_reach_their_session(void **state)
{
    struct h *h = begin("[host localhost]\n");
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");
    uint64_t id = gr_session_id(h_session(a));
    const struct gr_jid *alice = h_jid(a);

    (void)state;
    t.foreign = GR_STOP;
    h_log(h);
    for (int i = 0; i < h_loops(h); i++) { /* from any loop */
        char data[] = "1";
        loop_enter(loop_at(i));
        assert_int_equal(gr_session_post(NULL, alice, id, "t.x", data, 1), 0);
        assert_int_equal(gr_session_post(NULL, alice, id, "t.y", NULL, 0), 0);
        data[0] = '2'; /* copied */
        expect_trace("");
        h_run(h);
        expect_trace("alice@localhost/a:t.x=1 alice@localhost/a:t.y= ");
    }
    assert_null(strstr(h_log(h), "foreign"));
    static const enum gr_verdict not_known[] = { GR_OK, GR_FAIL, GR_PENDING, GR_DROP,
                                                 (enum gr_verdict)77 };
    for (size_t i = 0; i < GR_COUNT(not_known); i++) {
        t.foreign = not_known[i];
        gr_session_post(NULL, alice, id, "t.x", "1", 1);
        h_run(h);
        expect_trace("alice@localhost/a:t.x=1 ");
        assert_non_null(strstr(h_log(h), "no module knows \"t.x\""));
    }
    struct hs *early = h_connect(h, "alice@localhost"); /* not bound yet */
    gr_session_post(NULL, alice, gr_session_id(h_session(early)), "t.x", "1", 1);
    h_run(h);
    expect_trace("alice@localhost:t.x=1 ");
    h_expect_nothing(b);
    h_stop(&h);
}

static void posts_that_cannot_arrive(void **state)
{
    struct h *h = begin("[host localhost]\n");
    struct hs *a = h_login(h, "alice@localhost/a");
    struct gr_jid *alice = gr_jid_dup(h_jid(a));
    uint64_t id = gr_session_id(h_session(a));
    char tag[GR_POST_TAG_MAX + 2], *data = gr_alloc(GR_POST_MAX + 1);

    (void)state;
    t.foreign = GR_STOP;
    memset(data, 'x', GR_POST_MAX + 1);
    memset(tag, 't', sizeof(tag) - 1);
    tag[sizeof(tag) - 1] = '\0';
    assert_int_equal(gr_session_post(NULL, alice, id, "t.x", data, GR_POST_MAX + 1), GR_ELIMIT);
    assert_int_equal(gr_session_post(NULL, alice, id, tag, data, 1), GR_ELIMIT);
    assert_int_equal(gr_session_post(NULL, alice, id, tag + 1, data, 1), 0);
    assert_int_equal(gr_session_post(NULL, alice, id, "t.x", data, GR_POST_MAX), 0);
    h_run(h);
    t.trace[0] = '\0';
    int sent = 0;
    while (gr_session_post(NULL, alice, id, "t", NULL, 0) == 0)
        sent++;
    assert_int_equal(sent, 10000);
    assert_int_equal(gr_session_post(NULL, alice, id, "t", NULL, 0), GR_EAGAIN);
    h_run(h);
    assert_int_equal(gr_session_post(NULL, alice, id, "t", NULL, 0), 0);
    h_run(h);
    t.trace[0] = '\0';
    /* Somebody else's number, and one that is gone: also between post and arrival. */
    gr_session_post(NULL, h_parse_jid(h, "bob@localhost"), id, "t.x", NULL, 0);
    gr_session_post(NULL, alice, id + 1000, "t.x", NULL, 0);
    h_run(h);
    gr_session_post(NULL, alice, id, "t.late", NULL, 0);
    h_log(h);
    h_disconnect(&a, true);
    h_run(h);
    gr_session_post(NULL, alice, id, "t.x", NULL, 0);
    h_run(h);
    assert_null(strstr(t.trace, "t.x"));
    assert_non_null(strstr(h_log(h), "posted to a session that is gone"));
    gr_jid_free(&alice);
    gr_free(data);
    h_stop(&h);
}

/* --- get_personal_data --- */

static char *content(const char *path)
{
    static char text[4096];
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    return text;
}

static void export_writes_a_file(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_vcard]\n[mod_roster]\n");
    struct hs *a = h_login(h, "alice@localhost/a");
    char path[] = "/tmp/grapnel-export-XXXXXX", line[128];
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(path));
    h_iq_result(a, "set", NULL, "<vCard xmlns='vcard-temp'><FN>A &lt; B</FN></vCard>", NULL);
    snprintf(line, sizeof(line), "user export alice@localhost %s/x", path);
    command(h, line);
    h_run(h);
    assert_string_equal(answer.error, "");
    expect_trace("export(alice@localhost) ");
    assert_non_null(strstr(answer.rows, "n:failed=0"));
    char *text = content(strrchr(line, ' ') + 1);
    assert_memory_equal(text, "<?xml version='1.0' encoding='UTF-8'?>\n<server-data", 51);
    struct gr_stanza *doc;
    char *xml = strchr(text, '\n') + 1;
    assert_int_equal(gr_stanza_parse(xml, strlen(xml) - 1, &doc), 0);
    h_assert_xml(doc, "<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>"
                      "<user name='alice' _='more'><vCard xmlns='vcard-temp'><FN>A &lt; B</FN></vCard>"
                      "<mine xmlns='t'>&amp; all</mine></user></host></server-data>");
    gr_stanza_unref(&doc);
    assert_int_equal(stat(strrchr(line, ' ') + 1, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, strlen(text));
    command(h, line); /* never over something else */
    assert_non_null(strstr(answer.error, "File exists"));
    unlink(strrchr(line, ' ') + 1);
    t.trace[0] = '\0';
    t.verdict = GR_FAIL;
    command(h, line);
    assert_non_null(strstr(answer.rows, "n:failed=1"));
    unlink(strrchr(line, ' ') + 1);
    t.verdict = GR_OK;
    t.wait = true;
    command(h, line);
    assert_int_equal(answer.done, 0);
    resume(h);
    assert_int_equal(answer.done, 1);
    unlink(strrchr(line, ' ') + 1);
    rmdir(path);
    command(h, line);
    assert_non_null(strstr(answer.error, "No such file"));
    command(h, "user export alice@localhost x");
    assert_non_null(strstr(answer.error, "must begin with /"));
    command(h, "user export localhost /tmp/x");
    assert_non_null(strstr(answer.error, "is not an account"));
    h_stop(&h);
}

/* --- remove_domain --- */

static size_t counted;

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    counted += rows->count;
}

static size_t rows_of(struct h *h, const char *owner)
{
    struct gr_mod *self = h_mod(h, "t", "localhost");

    counted = 0;
    for (int i = 0; i < 2; i++)
        gr_store_count(gr_req_new(self, 0, on_count), &colls[i], owner);
    h_run(h);
    return counted;
}

static void put_row(struct h *h, const char *owner)
{
    struct gr_mod *self = h_mod(h, "t", "localhost");
    struct gr_txn *txn = gr_txn_new(self);

    gr_txn_put(txn, &colls[0], owner, "k", 1, "v", 1);
    gr_txn_append(txn, &colls[1], owner, "v", 1);
    gr_txn_commit(txn, NULL);
    h_run(h);
}

static const char *const theirs[] = { "two.example", "a@two.example", "nobody@two.example" };
static const char *const others[] = { "localhost", "alice@localhost", "a@not-two.example",
                                      "a@two.example.org", "not-two.example" };

static void purge_deletes_everything(void **state)
{
    struct h *h = begin("[host localhost]\n[host two.example]\n[mod_vcard]\n");

    (void)state;
    h_user(h, "a@two.example");
    struct hs *a = h_login(h, "a@two.example/r");
    h_iq_result(a, "set", NULL, "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>", NULL);
    for (size_t i = 0; i < GR_COUNT(theirs); i++)
        put_row(h, theirs[i]);
    for (size_t i = 0; i < GR_COUNT(others); i++)
        put_row(h, others[i]);
    for (int i = 0; i < 250; i++) { /* more than one page */
        char owner[32];
        snprintf(owner, sizeof(owner), "u%d@two.example", i);
        put_row(h, owner);
    }
    t.trace[0] = '\0';
    command(h, "host purge two.example");
    assert_non_null(strstr(answer.error, "add --yes two.example"));
    command(h, "host purge two.example --yes yes");
    assert_non_null(strstr(answer.error, "add --yes two.example"));
    command(h, "host purge a@two.example --yes a@two.example");
    assert_non_null(strstr(answer.error, "is not a domain"));
    command(h, "host purge two.example --yes two.example");
    assert_non_null(strstr(answer.error, "1 sessions are there"));
    expect_trace("");
    assert_int_equal(rows_of(h, "a@two.example"), 2);
    h_disconnect(&a, true);
    t.verdict = GR_FAIL;
    command(h, "host purge two.example --yes two.example");
    assert_string_equal(answer.error, "");
    expect_trace("domain(two.example) ");
    assert_non_null(strstr(answer.rows, "n:failed=1"));
    for (size_t i = 0; i < GR_COUNT(theirs); i++)
        assert_int_equal(rows_of(h, theirs[i]), 0);
    for (size_t i = 0; i < GR_COUNT(others); i++)
        assert_int_equal(rows_of(h, others[i]), 2);
    assert_int_equal(rows_of(h, "u0@two.example"), 0);
    assert_int_equal(rows_of(h, "u249@two.example"), 0);
    h_user(h, "a@two.example"); /* the account is gone as well: it can be made again */
    a = h_login(h, "a@two.example/r");
    h_iq_error(a, "get", NULL, "<vCard xmlns='vcard-temp'/>", GR_ITEM_NOT_FOUND);
    h_stop(&h);
}

static void purge_of_a_host_that_is_not_served(void **state)
{
    struct h *h = begin("[host localhost]\n");

    (void)state;
    put_row(h, "a@two.example");
    put_row(h, "alice@localhost");
    command(h, "host purge two.example --yes two.example");
    assert_string_equal(answer.error, "");
    assert_non_null(strstr(answer.rows, "n:owners=2 ")); /* in two collections */
    expect_trace("");
    assert_int_equal(rows_of(h, "a@two.example"), 0);
    assert_int_equal(rows_of(h, "alice@localhost"), 2);
    t.wait = true;
    command(h, "host purge localhost --yes localhost");
    expect_trace("domain(localhost) ");
    assert_int_equal(answer.done, 0);
    assert_int_equal(rows_of(h, "alice@localhost"), 2);
    resume(h);
    assert_int_equal(answer.done, 1);
    assert_int_equal(rows_of(h, "alice@localhost"), 0);
    h_stop(&h);
}

/* --- what the core keeps for a module is counted --- */

static void on_nothing(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req, (void)rows;
}

static const char before_text[100] = "";

static void run_nothing(void *data)
{
    (void)data;
}

static void done_nothing(struct gr_mod *self, void *data)
{
    (void)self, (void)data;
}

static void memory_is_counted(void **state)
{
    struct h *h = begin("[host localhost]\n");
    struct gr_mod *self = h_mod(h, "t", "localhost");
    uint64_t before = mod_memory(self);
    struct gr_req *req = gr_req_new(self, 1000, on_nothing);

    (void)state;
    assert_in_range(before, sizeof(struct gr_mod), 2 * sizeof(struct gr_mod));
    assert_in_range(mod_memory(self), before + 1000, before + 1500);
    gr_store_get(req, &colls[0], "localhost", "k", 1);
    h_run(h);
    assert_int_equal(mod_memory(self), before);
    req = gr_req_new(self, 10, on_nothing);
    gr_req_drop(&req);
    gr_req_drop(&req);
    assert_int_equal(mod_memory(self), before);
    assert_int_equal(gr_work(self, before_text, sizeof(before_text), run_nothing, done_nothing), 0);
    assert_in_range(mod_memory(self), before + sizeof(before_text), before + 1000);
    h_run(h);
    assert_int_equal(mod_memory(self), before);
    t.wait = true;
    loop_enter(loop_at(0));
    self = h_mod(h, "t", "localhost");
    struct gr_domain_ev ev = { .domain = "x" };
    gr_hook_run(self, GR_HOOK_remove_domain, &ev.ev, NULL);
    assert_true(mod_memory(self) > before);
    resume(h);
    assert_int_equal(mod_memory(self), before);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup(node_cleanup_at_the_start, clean),
        cmocka_unit_test_setup(posts_reach_their_session, clean),
        cmocka_unit_test_setup(posts_that_cannot_arrive, clean),
        cmocka_unit_test_setup(export_writes_a_file, clean),
        cmocka_unit_test_setup(purge_deletes_everything, clean),
        cmocka_unit_test_setup(memory_is_counted, clean),
        cmocka_unit_test_setup(purge_of_a_host_that_is_not_served, clean),
    };

    return H_RUN("hooks_data", cases);
}

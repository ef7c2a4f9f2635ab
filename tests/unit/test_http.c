/* tests/unit/test_http.c: the HTTP client against a real server, on threads of this program:
 * answers of every kind, what goes wrong, and that nothing keeps the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "loop/loop.h"
#include "net/http.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- the resolver that libcurl's threads call: one name takes its time --- */

static atomic_int lookups;
static atomic_bool nameserver_answers;

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **res)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *f = dlsym(RTLD_NEXT, "getaddrinfo");

    memcpy(&real, &f, sizeof(real));
    if (node != NULL && strcmp(node, "slow.example") == 0) {
        atomic_fetch_add(&lookups, 1);
        while (!atomic_load(&nameserver_answers))
            usleep(1000);
        return EAI_AGAIN;
    }
    return real(node, service, hints, res);
}

/* --- the server --- */

static int port;
static atomic_int connections;

static void say(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        return;
}

static void repeat(int fd, const char *head, const char *line)
{
    say(fd, head);
    while (send(fd, line, strlen(line), MSG_NOSIGNAL) > 0)
        ;
}

static void sized(int fd, int size)
{
    char *answer;

    if (asprintf(&answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%0*d", size, size, 0) > 0)
        say(fd, answer);
    free(answer);
}

/* Not all at once. */
static void drip(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\n\r\n");
    while (send(fd, "x", 1, MSG_NOSIGNAL) > 0)
        usleep(20000);
}

/* One request; false: the connection is to be closed. */
static bool serve(int fd, char *text)
{
    char answer[8192], *body = strstr(text, "\r\n\r\n") + 4, *path = strchr(text, ' ') + 1;

    if (strncmp(path, "/ok", 3) == 0) {
        snprintf(answer, sizeof(answer), "%.*s:%s:%s", (int)(path - 1 - text), text, body,
                 strstr(text, "X-Test: yes") != NULL ? "yes" : "no");
        char *head;
        if (asprintf(&head, "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\n"
                            "Content-Length: %zu\r\n\r\n%s", strlen(answer), answer) > 0)
            say(fd, head);
        free(head);
        return true;
    }
    if (strncmp(path, "/500", 4) == 0) {
        say(fd, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        return true;
    }
    if (strncmp(path, "/to-to-ok", 9) == 0)
        say(fd, "HTTP/1.1 302 There\r\nLocation: /to-ok\r\nContent-Length: 0\r\n\r\n");
    else if (strncmp(path, "/to-ok", 6) == 0)
        say(fd, "HTTP/1.1 302 There\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
    else if (strncmp(path, "/to-file", 8) == 0)
        say(fd, "HTTP/1.1 302 There\r\nLocation: file:///etc/hostname\r\n"
                "Content-Length: 0\r\n\r\n");
    else if (strncmp(path, "/sized/", 7) == 0)
        sized(fd, atoi(path + 7));
    else if (strncmp(path, "/large", 6) == 0)
        repeat(fd, "HTTP/1.1 200 OK\r\n\r\n", "0123456789");
    else if (strncmp(path, "/headers", 8) == 0)
        repeat(fd, "HTTP/1.1 200 OK\r\n", "X-More: and more\r\n");
    else if (strncmp(path, "/half", 5) == 0)
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    else if (strncmp(path, "/drip", 5) == 0)
        drip(fd);
    else if (strncmp(path, "/hang", 5) == 0)
        while (recv(fd, answer, sizeof(answer), 0) > 0)
            ;
    return strncmp(path, "/to-", 4) == 0;
}

/* Requests are short; a body follows its head at once. */
static void *connection(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char text[8192];
    size_t len = 0;
    ssize_t n;

    atomic_fetch_add(&connections, 1);
    while ((n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0) {
        const char *end, *size;

        text[len += (size_t)n] = '\0';
        end = strstr(text, "\r\n\r\n");
        if (end == NULL)
            continue;
        size = strstr(text, "Content-Length: ");
        if (size != NULL && strlen(end + 4) < (size_t)atoi(size + 16))
            continue;
        if (!serve(fd, text))
            break;
        len = 0;
    }
    close(fd);
    return NULL;
}

static void *listener(void *arg)
{
    int fd = (int)(intptr_t)arg, one;

    while ((one = accept(fd, NULL, NULL)) >= 0) {
        pthread_t t;
        pthread_create(&t, NULL, connection, (void *)(intptr_t)one);
        pthread_detach(t);
    }
    return NULL;
}

static int start_server(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t t;

    if (bind(fd, (struct sockaddr *)&a, len) != 0 || listen(fd, 100) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return -1;
    port = ntohs(a.sin_port);
    pthread_create(&t, NULL, listener, (void *)(intptr_t)fd);
    pthread_detach(t);
    return 0;
}

/* --- the client's side: everything of it is the loop's, the test waits --- */

struct call {
    struct http_req req;
    struct post post;
    struct gr_http_request what;
    char url[128];
    bool cancel;             /* right after it was sent */
    sem_t done;
    int sent, rc, status;
    char why[256], type[64], body[256];
    size_t len;
};

static void on_done(struct http_req *r, const struct gr_http_response *resp)
{
    struct call *c = GR_CONTAINER_OF(r, struct call, req);

    c->rc = resp->rc;
    c->status = resp->status;
    c->len = resp->len;
    snprintf(c->why, sizeof(c->why), "%s", resp->why);
    snprintf(c->type, sizeof(c->type), "%s", resp->type);
    snprintf(c->body, sizeof(c->body), "%s", resp->body);
    sem_post(&c->done);
}

static void on_loop(struct post *p)
{
    struct call *c = GR_CONTAINER_OF(p, struct call, post);

    c->req.done = on_done;
    c->sent = http_send(&c->req, &c->what);
    if (c->sent == 0 && c->cancel)
        http_cancel(&c->req);
    if (c->sent != 0 || c->cancel)
        sem_post(&c->done);
}

static void begin(struct call *c, const char *path)
{
    if (path[0] == '/')
        snprintf(c->url, sizeof(c->url), "http://127.0.0.1:%d%s", port, path);
    else
        snprintf(c->url, sizeof(c->url), "%s", path);
    c->what.url = c->url;
    sem_init(&c->done, 0, 0);
    c->post.run = on_loop;
    loop_post(loop_at(0), &c->post);
}

static void finish(struct call *c)
{
    while (sem_wait(&c->done) != 0)
        ;
    sem_destroy(&c->done);
}

static void run(struct call *c, const char *path)
{
    begin(c, path);
    finish(c);
}

/* --- tests --- */

static void answers(void **state)
{
    static const char *const headers[] = { "X-Test: yes", NULL };
    struct call get = { .rc = 1 }, post = { .what = { .method = GR_HTTP_POST, .headers = headers,
                                                      .body = "a=b", .body_len = 3 } };
    struct call put = { .what = { .method = GR_HTTP_PUT, .body = "xyz", .body_len = 3 } };
    struct call del = { .what.method = GR_HTTP_DELETE }, bad = { .rc = 1 };

    (void)state;
    run(&get, "/ok");
    assert_int_equal(get.rc, 0);
    assert_int_equal(get.status, 200);
    assert_string_equal(get.type, "text/x");
    assert_string_equal(get.body, "GET::no");
    assert_string_equal(get.why, "");
    run(&post, "/ok");
    assert_string_equal(post.body, "POST:a=b:yes");
    run(&put, "/ok");
    assert_string_equal(put.body, "PUT:xyz:no");
    run(&del, "/ok");
    assert_string_equal(del.body, "DELETE::no");
    run(&bad, "/500");
    assert_int_equal(bad.rc, 0);
    assert_int_equal(bad.status, 500);
}

static void what_goes_wrong(void **state)
{
    static const char *const paths[] = { "/close", "/half", "http://127.0.0.1:1/",
                                         "http://no-such-name.invalid/" };
    struct call slow = { .what.timeout_ms = 200 };
    int64_t before = clock_monotonic_ms();

    (void)state;
    for (size_t i = 0; i < GR_COUNT(paths); i++) {
        struct call c = { .rc = 0 };

        run(&c, paths[i]);
        assert_int_equal(c.rc, GR_EIO);
        assert_true(c.why[0] != '\0');
        assert_int_equal(c.status, 0);
        assert_int_equal(c.len, 0);
    }
    before = clock_monotonic_ms();
    run(&slow, "/hang");
    assert_int_equal(slow.rc, GR_EIO);
    assert_true(clock_monotonic_ms() - before >= 200);
}

/* One byte at a time is not progress enough; nor is waiting for a connection. */
static void time_is_up(void **state)
{
    static struct call hanging[16];
    struct call drip = { .what.timeout_ms = 300 }, waits = { .what.timeout_ms = 300 };
    int64_t before = clock_monotonic_ms();

    (void)state;
    run(&drip, "/drip");
    assert_int_equal(drip.rc, GR_EIO);
    for (size_t i = 0; i < GR_COUNT(hanging); i++) {
        hanging[i].what.timeout_ms = 3000;
        begin(&hanging[i], "/hang");
    }
    run(&waits, "/ok");
    assert_int_equal(waits.rc, GR_EIO);
    assert_in_range(clock_monotonic_ms() - before, 600, 2800);
    for (size_t i = 0; i < GR_COUNT(hanging); i++)
        finish(&hanging[i]);
}

static void too_much(void **state)
{
    struct call large = { .what.max_response = 1000 }, head = { .rc = 0 };
    struct call fits = { .rc = 1 }, does_not = { .rc = 0 };

    (void)state;
    run(&large, "/large");
    assert_int_equal(large.rc, GR_ELIMIT);
    assert_int_equal(large.len, 0);
    run(&fits, "/sized/65536"); /* unless something else is said */
    assert_int_equal(fits.rc, 0);
    assert_int_equal(fits.len, 65536);
    run(&does_not, "/sized/65537");
    assert_int_equal(does_not.rc, GR_ELIMIT);
    run(&head, "/headers");
    assert_int_equal(head.rc, GR_ELIMIT);
}

static void redirects(void **state)
{
    struct call none = { .rc = 1 }, one = { .what.redirects = 1 }, file = { .what.redirects = 5 };
    struct call two = { .what.redirects = 2 }, too_many = { .what.redirects = 1 };

    (void)state;
    run(&none, "/to-ok");
    assert_int_equal(none.status, 302);
    run(&one, "/to-ok");
    assert_int_equal(one.status, 200);
    assert_string_equal(one.body, "GET::no");
    run(&two, "/to-to-ok");
    assert_int_equal(two.status, 200);
    run(&too_many, "/to-to-ok");
    assert_int_equal(too_many.rc, GR_EIO);
    run(&file, "/to-file");
    assert_int_equal(file.rc, GR_EIO);
    assert_string_equal(file.body, "");
}

/* Many at once: no more connections than one origin may have, every one answered. Hanging ones do
 * not keep those to another origin. */
static void many(void **state)
{
    static struct call calls[100], hanging[20];
    struct call other = { .rc = 1 };
    int before = atomic_load(&connections);
    char url[64];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(calls); i++)
        begin(&calls[i], "/ok");
    for (size_t i = 0; i < GR_COUNT(calls); i++) {
        finish(&calls[i]);
        assert_int_equal(calls[i].status, 200);
    }
    assert_in_range(atomic_load(&connections) - before, 0, 16);
    for (size_t i = 0; i < GR_COUNT(hanging); i++) {
        hanging[i].what.timeout_ms = 1000;
        begin(&hanging[i], "/hang");
    }
    snprintf(url, sizeof(url), "http://localhost:%d/ok", port);
    run(&other, url);
    assert_int_equal(other.status, 200);
    for (size_t i = 0; i < GR_COUNT(hanging); i++) {
        finish(&hanging[i]);
        assert_int_equal(hanging[i].rc, GR_EIO);
    }
}

/* Nor have many origins more connections than a loop may have. (Names below localhost are looked up
 * nowhere.) */
static void many_origins(void **state)
{
    static struct call hanging[32], waiting[4];
    int before = atomic_load(&connections);
    char url[64];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(hanging) + GR_COUNT(waiting); i++) {
        struct call *c = i < GR_COUNT(hanging) ? &hanging[i] : &waiting[i - GR_COUNT(hanging)];

        c->what.timeout_ms = i < GR_COUNT(hanging) ? 3000 : 1000;
        snprintf(url, sizeof(url), "http://%c.localhost:%d/hang", (char)('a' + i % 4), port);
        begin(c, url);
    }
    for (size_t i = 0; i < GR_COUNT(waiting); i++) {
        finish(&waiting[i]);
        assert_int_equal(waiting[i].rc, GR_EIO);
    }
    assert_in_range(atomic_load(&connections) - before, 17, 32);
    for (size_t i = 0; i < GR_COUNT(hanging); i++)
        finish(&hanging[i]);
}

/* A server that does not even accept: five seconds, whatever the request's time is. */
static void nobody_accepts(void **state)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct call c = { .what.timeout_ms = 60000 };
    int64_t before = clock_monotonic_ms();
    int fd = socket(AF_INET, SOCK_STREAM, 0), fill[4];
    socklen_t len = sizeof(a);
    char url[64];

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    for (size_t i = 0; i < GR_COUNT(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&a, len);
    }
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(a.sin_port));
    run(&c, url);
    assert_int_equal(c.rc, GR_EIO);
    assert_in_range(clock_monotonic_ms() - before, 4500, 20000);
    for (size_t i = 0; i < GR_COUNT(fill); i++)
        close(fill[i]);
    close(fd);
}

/* A name server that says nothing keeps neither others, nor who has given up waiting. */
static void names_that_take_their_time(void **state)
{
    struct call slow = { .what.timeout_ms = 500 }, other = { .rc = 1 };

    (void)state;
    begin(&slow, "http://slow.example/");
    while (atomic_load(&lookups) == 0)
        sched_yield();
    run(&other, "/ok");
    assert_int_equal(other.status, 200);
    finish(&slow);
    assert_int_equal(slow.rc, GR_EIO);
    run(&other, "/ok");
    assert_int_equal(other.status, 200);
    atomic_store(&nameserver_answers, true); /* not before: nobody has waited for it */
}

/* At once, also while a name is being looked up; the loop does not wait for either. */
static void called_off(void **state)
{
    struct call a = { .cancel = true }, b = { .cancel = true }, after = { .rc = 1 };

    (void)state;
    run(&a, "/hang");
    run(&b, "http://no-such-name.invalid/");
    run(&after, "/ok");
    assert_int_equal(after.status, 200);
}

static void close_all(void *arg)
{
    (void)arg;
    http_close();
}

/* A second client after the first: what a loop had is gone, and made again. */
static void closed_and_again(void **state)
{
    struct call c = { .rc = 1 };

    (void)state;
    loops_call(close_all, NULL);
    run(&c, "/ok");
    assert_int_equal(c.status, 200);
}

static int start(void **state)
{
    const char *why;

    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* is not looked at */
    loops_init(2, false);
    loops_start();
    return gr_http_load(&why) != 0 ? -1 : start_server();
}

static int stop(void **state)
{
    (void)state;
    loops_call(close_all, NULL);
    loops_stop();
    loops_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(answers), cmocka_unit_test(what_goes_wrong), cmocka_unit_test(time_is_up),
        cmocka_unit_test(too_much), cmocka_unit_test(redirects), cmocka_unit_test(many),
        cmocka_unit_test(names_that_take_their_time), cmocka_unit_test(many_origins),
        cmocka_unit_test(nobody_accepts), cmocka_unit_test(called_off),
        cmocka_unit_test(closed_and_again),
    };
    return cmocka_run_group_tests_name("http", cases, start, stop);
}

/* tests/mod/raw.c: streams of bytes for module tests. */
#include "raw.h"

#include "loop/loop.h"
#include "net/conn.h"
#include "stream/c2s.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

void raw_run(struct raw *r)
{
    size_t n;
    ssize_t more;

    h_run(r->h);
    n = strlen(r->got);
    while ((more = read(r->fd, r->got + n, sizeof(r->got) - n - 1)) > 0)
        n += (size_t)more;
    r->got[n] = '\0';
    r->eof = more == 0;
}

void raw_say(struct raw *r, const char *text)
{
    r->got[0] = '\0';
    assert_int_equal(write(r->fd, text, strlen(text)), strlen(text));
    raw_run(r);
}

void raw_expect(const struct raw *r, const char *part)
{
    if (strstr(r->got, part) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", part, r->got);
}

void raw_header(struct raw *r)
{
    raw_say(r, "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' "
               "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
}

/* Accepted from that address, on some loop. */
struct raw raw_accept(struct h *h, uint32_t ip)
{
    static const struct listen_opts unlimited;
    struct sockaddr_storage peer = { .ss_family = AF_INET };
    struct raw r = { .h = h };
    uint8_t key[16];
    int fd[2];

    ((struct sockaddr_in *)(void *)&peer)->sin_addr.s_addr = htonl(ip);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    loop_enter(loop_at(0));
    peers_key(&peer, key, NULL);
    assert_true(peers_admit(key, &unlimited));
    c2s_accept(CONF_TLS_OPTIONAL, fd[0], &peer, false);
    r.fd = fd[1];
    raw_run(&r);
    return r;
}

struct raw raw_open(struct h *h)
{
    struct raw r = raw_accept(h, 0x7f000001);

    raw_header(&r);
    raw_expect(&r, "<stream:features>");
    return r;
}

void raw_plain(struct raw *r, const char *user, const char *password)
{
    size_t user_len = strlen(user), len = user_len + strlen(password) + 2;
    char *text = gr_asprintf(" %s %s", user, password);
    char *coded = gr_alloc(4 * ((len + 2) / 3) + 1);
    char *xml;

    text[0] = text[user_len + 1] = '\0';
    gr_base64_encode(coded, text, len);
    xml = gr_asprintf(PLAIN("%s"), coded);
    raw_say(r, xml);
    gr_free(xml);
    gr_free(coded);
    gr_free(text);
}

void raw_bind(struct raw *r, const char *resource)
{
    char *xml = gr_asprintf("<iq type='set' id='b'><bind xmlns='" BIND_NS "'><resource>%s"
                            "</resource></bind></iq>", resource);

    raw_say(r, xml);
    gr_free(xml);
}

void raw_authenticate(struct raw *r, const char *auth)
{
    raw_say(r, auth);
    raw_expect(r, "<success");
    raw_header(r);
    raw_expect(r, BIND_NS);
}

struct raw raw_login(struct h *h, const char *auth, const char *resource)
{
    struct raw r = raw_open(h);

    raw_authenticate(&r, auth);
    raw_bind(&r, resource);
    raw_expect(&r, "<jid>");
    return r;
}

void raw_close(struct raw *r)
{
    close(r->fd);
    h_run(r->h);
}

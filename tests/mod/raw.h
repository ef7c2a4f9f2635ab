/* tests/mod/raw.h: a real stream for module tests: bytes over a socket pair into the server's own
 * stream code, without TLS ("plain = always"), in virtual time. */
#pragma once

#include "harness.h"

#define SASL_NS "urn:ietf:params:xml:ns:xmpp-sasl"
#define BIND_NS "urn:ietf:params:xml:ns:xmpp-bind"
#define PLAIN(b64) "<auth xmlns='" SASL_NS "' mechanism='PLAIN'>" b64 "</auth>"

struct raw {
    struct h *h;
    int fd;
    bool eof;
    char got[16384];
};

/* What arrives is in `got`, from the last thing said on. */
void raw_run(struct raw *r);
void raw_say(struct raw *r, const char *text);
void raw_expect(const struct raw *r, const char *part);
void raw_header(struct raw *r);
/* Accepted from that address, on some loop; open: from 127.0.0.1, with header and features. */
struct raw raw_accept(struct h *h, uint32_t ip);
struct raw raw_open(struct h *h);
/* <auth/> of PLAIN with that name and password. */
void raw_plain(struct raw *r, const char *user, const char *password);
void raw_bind(struct raw *r, const char *resource);
void raw_authenticate(struct raw *r, const char *auth);
struct raw raw_login(struct h *h, const char *auth, const char *resource);
void raw_close(struct raw *r);

/* stream/c2s.h: a client's stream (RFC 6120): negotiation, then stanzas in and out. One per accepted
 * connection, on the connection's loop; it moves home with the connection after SASL. */
#pragma once

#include "net/conn.h"
#include "net/listen.h"
#include "net/tls.h"
#include "route/session.h"
#include "stream/sasl.h"
#include "xml/parse.h"

#define C2S_UNHANDLED_MAX 128 /* stanzas of one session in flight before its input waits */
#define C2S_BIND_TRIES 5
#define CONFIG_SIZE 25 /* base64 of 16 bytes, with NUL */

enum c2s_state {
    C2S_HEADER,      /* waiting for a stream header                           */
    C2S_FEATURES,    /* before authentication                                 */
    C2S_SASL,        /* an exchange is under way                              */
    C2S_MOVING,      /* authenticated, on the way to the home loop            */
    C2S_INLINE,      /* at home, carrying out what came with a SASL2 login    */
    C2S_BIND,        /* authenticated, resource not bound                     */
    C2S_OPEN,        /* stanzas                                               */
    C2S_CLOSED       /* our </stream:stream> is written; input is discarded   */
};

struct c2s;
struct sasl2;

/* How an exchange is put into XML: RFC 6120, 6 or XEP-0388. */
struct c2s_profile {
    void (*challenge)(struct c2s *c);
    void (*success)(struct c2s *c);  /* says so, or keeps what is to be said until it is at home */
    void (*failure)(struct c2s *c);
};

/* What only a stream that is not open yet needs; freed when the resource is bound. */
struct c2s_login {
    struct c2s *stream;
    struct timer deadline;
    struct sasl *sasl;
    struct sasl_props props;
    char *disabled_names[SASL_MECHS_MAX];
    size_t n_disabled;
    struct scram_binding bindings[3];
    uint8_t exporter[32], endpoint[64], unique[64];
    unsigned bind_tries, exchanges;
    int64_t guesses;         /* failed logins that named a user */
    enum gr_result account;  /* what the provider last said: NONE is no such account */
    uint32_t changes;        /* of the account, when the provider was asked (provider.h) */
    bool by_password;        /* what it was asked about, and not a token in its place */
    int64_t until_s;         /* when what was shown in its place ends (gr_session_auth_until) */
    bool by_key;             /* the proof is measured by stored_key, which may be another now */
    uint8_t stored_key[CREDS_KEY_MAX];
    bool start_tls;          /* <proceed/> is written, the handshake comes next */
    enum conf_tls tls;
    uint32_t iterations[SCRAM_HASHES];
    struct gr_stanza *bind;  /* the request in progress */
    const struct c2s_profile *profile; /* of the exchange under way */
    struct sasl2 *sasl2;     /* the same, while it is one of XEP-0388: sasl2.h */
    struct gr_jid *from;     /* whom the stream header said to be from; NULL: nobody */
    char config[CONFIG_SIZE];/* of the features sent (XEP-0509); "": none */
};

struct c2s {
    struct conn *conn;
    struct xml_parser *parser;
    struct gr_session *session;
    struct c2s_login *login;
    struct timer idle;       /* also ends a pause for the rate limit */
    int64_t last_input_ms;
    int64_t credit;          /* bytes that may be read now; negative: overdrawn */
    enum c2s_state state;
    bool header_sent, waiting, authenticated, freeing, paused, closing;
    uint8_t peer[16];
    struct post post;
};

/* A listener's callback: takes fd, on the accepting loop. `tls`: what its listener demands. */
void c2s_accept(enum conf_tls tls, int take_fd, const struct sockaddr_storage *peer,
                bool first_is_tls);
/* Certificates for new handshakes on the calling loop; NULL: no TLS. Takes a reference. */
void c2s_set_tls(struct tls_ctx *tls);
/* Secret for decoys of unknown users; before any stream. */
void c2s_set_secret(const void *bytes, size_t len);
/* Ends every stream of the calling loop with <system-shutdown/>. */
void c2s_shutdown(void);
size_t c2s_count(void); /* streams of the calling loop */

/* --- between the files of c2s --- */
const struct conf_limits *c2s_limits(void);
void c2s_counted(int change);                             /* streams of this loop */
bool c2s_stopping(void);
int c2s_open(void *ctx, const struct xml_header *h);      /* c2s_header.c */
void c2s_write_header(struct c2s *c, const struct xml_header *h); /* h NULL: none came */
void c2s_write(struct c2s *c, const char *xml);           /* raw, well-formed */
void c2s_write_el(struct c2s *c, const struct gr_stanza *st);
void c2s_error(struct c2s *c, const char *condition, const char *text); /* stream error, then end */
void c2s_features(struct c2s *c);                         /* c2s_features.c */
bool c2s_tls_available(const struct c2s *c);
void c2s_sasl_props(struct c2s *c);                       /* c2s_sasl.c */
void c2s_sasl_element(struct c2s *c, const struct gr_stanza *st);
/* An exchange of that profile begins; false: one too many, the stream ends. */
bool c2s_sasl_begin(struct c2s *c, const struct c2s_profile *profile);
void c2s_sasl_step(struct c2s *c, enum sasl_step step); /* what follows from it */
void c2s_sasl_succeed(struct c2s *c);                   /* nothing stands between it and home */
void c2s_sasl_fini(struct c2s_login *login);
void c2s_bind_element(struct c2s *c, struct gr_stanza *take); /* c2s_bind.c */
void c2s_stanza(struct c2s *c, struct gr_stanza *take);       /* c2s_stanza.c */
void c2s_login_free(struct c2s *c);
void c2s_go_home(struct c2s *c);                          /* c2s_home.c */
extern const struct session_out c2s_out;                      /* c2s_out.c */
/* Input may go on: nothing that must come first is outstanding. */
void c2s_continue(struct c2s *c);

#define NS_SASL "urn:ietf:params:xml:ns:xmpp-sasl"
#define NS_TLS "urn:ietf:params:xml:ns:xmpp-tls"
#define NS_BIND "urn:ietf:params:xml:ns:xmpp-bind"
#define NS_SESSION "urn:ietf:params:xml:ns:xmpp-session"

/* mod/provider_priv.h: what provider.c (sets and instances), ask.c (calls) and the files that know
 * who is asked what (provider_ask.c, provider_auth.c, provider_session.c) share. Of a loop. */
#pragma once

#include "mod/instance.h"
#include "mod/provider.h"

#define ASK_MS 30000 /* a provider that has not answered by then has failed */

/* One installation by one instance. */
struct provider {
    struct provider *next;       /* gr_mod.provides */
    struct gr_mod *self;
    enum gr_provider_type type;
    const void *vt;              /* gr_auth_provider, ... by type */
    int prio;
    struct link insts;           /* provider_inst.of_provider */
    struct provider_inst *of_loop; /* for calls without a session */
};

/* What its open() returned, for one session or for the loop. */
struct provider_inst {
    struct provider_inst *next;  /* of the holder and type */
    struct provider_insts *holder; /* NULL: the loop's */
    struct link of_provider;
    struct provider *provider;
    struct gr_mod *self;         /* for after the provider is forgotten */
    enum gr_provider_type type;
    const void *vt;
    struct gr_session *session;
    void *inst;
    bool bound, dying;
    unsigned calls;              /* in flight; a dying one is closed by the last answer */
};

struct provider_set {
    struct provider **list[3];   /* by priority, highest first; ties: first installed first */
    unsigned count[3];
};

/* The first provider with the function at that offset of its table; NULL: none. */
struct provider *provider_find(const struct gr_host *h, enum gr_provider_type type, size_t offset);
bool provider_has(const struct provider *p, size_t offset);
/* Opened at its first use. holder NULL: the loop's. */
struct provider_inst *provider_open(struct provider *p, struct provider_insts *holder,
                                    struct gr_session *session);
void provider_inst_done(struct provider_inst *pi); /* one call less in flight */

struct gr_ask {
    struct link in_loop;         /* mod_loop.asks: from issue to the end */
    struct timer timer;
    struct post post;
    struct loop *loop;
    struct gr_mod *asker;        /* NULL: the core */
    gr_answer_f done;
    provider_done_f core_done;
    void *arg;
    struct gr_mod *answerer;
    struct gr_mod *before;       /* at work when the provider was called (usage.h) */
    struct provider_inst *inst;
    bool answered, expired;
    max_align_t data[];
};
struct gr_ask *ask_new(provider_done_f done, void *arg);
/* The asker waits from here on; once, before anything else. */
void ask_issue(struct gr_ask *ask);
/* Around the provider's function. */
void ask_to(struct gr_ask *ask, struct provider_inst *pi);
void ask_sent(struct gr_ask *ask);
/* The instance goes. Before stop(): calls it has not answered (timed out, or cut short by a
 * shutdown) are answered for it and its open instances can be closed. After stop(): the shells are
 * freed. */
void asks_expire(const struct gr_mod *answerer);
void asks_forget(const struct gr_mod *answerer);

/* A provider about to be called: what its function takes. */
struct provider_call {
    const void *vt;
    struct gr_mod *self;
    void *inst;
};
void provider_call_to(struct provider_call *c, struct gr_ask *ask, struct provider *p,
                      struct provider_insts *insts, struct gr_session *s);
/* Whoever has the function at that offset, ready to be called; false: nobody. */
bool provider_call_find(struct provider_call *c, struct gr_ask *ask, const struct gr_host *h,
                        enum gr_provider_type type, size_t offset, struct provider_insts *insts,
                        struct gr_session *s);

/* provider_auth.c, for account.c: no hooks yet. */
void provider_create_user(struct gr_host *h, struct gr_ask *ask, const char *user,
                          const char *password);
void provider_set_password(struct gr_host *h, struct gr_ask *ask, const char *user,
                           const char *password);
void provider_delete_user(struct gr_host *h, struct gr_ask *ask, const char *user);

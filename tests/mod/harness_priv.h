/* tests/mod/harness_priv.h: what the files of the harness share. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include <grapnel/test.h>

#include "base/buf.h"
#include "loop/loop.h"
#include "mod/provider_priv.h"
#include "mod/reload.h"
#include "route/session.h"
#include "store/store.h"

#define H_MODULES_MAX 8

struct h {
    char *ini;
    int loops;
    bool hold_store;
    struct link clients;         /* struct hs */
    struct link jids;            /* struct h_kept */
    struct table accounts;       /* that the test knows of: harness_account.c */
    struct buf log;
    char *log_text;              /* what h_log returned last */
    char *answer;                /* what h_command returned last */
    void *template;              /* the row of an account with the password "secret" */
    size_t template_len;
    unsigned near;               /* accounts made by h_user_near */
    ev_prepare committer;
};

struct h_kept {
    struct link link;
    struct gr_jid *jid;
};

/* A stanza with a receipt that the client has not read yet. */
struct h_mark {
    struct link link;
    struct receipt *receipt;
    struct gr_stanza *st;
    bool answered_for;           /* by a module (gr_session_keep): not to be routed again */
};

struct hs {
    struct link link;
    struct h *h;
    struct loop *loop;
    struct gr_session *s;        /* NULL once the stream is closed */
    uint64_t id;
    struct gr_jid *jid;
    bool broken, stalled;
    enum gr_cond bound;
    char *closed;                /* condition; NULL: open */
    unsigned resumed, iqs;
    struct gr_stanza **got;      /* got[first .. count) have not been looked at */
    size_t first, count, cap;
    struct link marks;           /* while stalled */
};

#define H_WAITING ((enum gr_cond)-1)

extern struct h *h_current;
extern const char *h_data_dir; /* where the next server keeps its data; NULL: in memory. Benchmarks */

/* harness_http.c: requests to web servers stay here, from now on / no longer; on every loop. */
void h_http_open(void);
void h_http_close(void);
/* What a test that failed has left running. */
void h_stop_leftover(void);
/* harness_account.c: who logs in without having been mentioned has an account, too. */
void h_ensure_account(struct h *h, const struct gr_jid *jid);
void h_forget_accounts(struct h *h);
/* The connection is gone: what was not read is lost. */
void hs_lose(struct hs *s);
void hs_free(struct hs **take);
void hs_end_all(struct h *h, enum gr_end_reason reason);
/* What arrived and was not looked at yet, as text. */
void hs_print(struct buf *out, const struct hs *s);
struct gr_stanza *hs_take(struct hs *s, size_t i);
/* Why the pattern does not fit; NULL: it does. Free it. */
char *h_difference(const struct gr_stanza *st, const char *pattern);
struct gr_stanza *h_parse(const char *xml);

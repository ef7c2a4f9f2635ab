/* mod_register/register.h: what the files of mod_register share. */
#pragma once

#include <grapnel/module.h>

#define NS_REGISTER "jabber:iq:register"
#define NS_FEATURE "http://jabber.org/features/iq-register"

struct register_conf {
    bool create, change_password, remove, require_tls;
    int64_t per_ip, total, min_password;
    const char *instructions, *redirect_url;
    const char *welcome_subject, *welcome_message;
    const char *const *blocked, *const *watchers;
};

/* The account of a removal hears of it before its sessions end. */
struct removal {
    struct removal *next;
    struct gr_iq_req *req; /* NULL: answered */
};
struct register_state {
    struct removal *removals;
};

/* rules.c */

/* Why this cannot be the name or password of an account, or NULL. */
const char *rule_name(const struct register_conf *conf, const char *node);
const char *rule_password(const struct register_conf *conf, const char *node,
                          const char *password);
/* Text of a child of the query, NULL when it is missing. */
const char *field(const struct gr_el *query, const char *name);

/* rate.c: accounts made within the last hour, in the store: the bounds hold for all loops together
 * and over a restart. */
#define RATE_KEY_SIZE 16
extern const struct gr_coll rate_collections[];
typedef void (*rate_f)(struct gr_mod *self, void *ctx, bool allowed);
/* Asks whether another account may be made from this address, and notes it: *key names the note.
 * done is not called when the module stops first. */
void rate_take(struct gr_mod *self, const char *ip, unsigned char key[RATE_KEY_SIZE], rate_f done,
               void *ctx);
/* It was not made after all. */
void rate_give_back(struct gr_mod *self, const unsigned char key[RATE_KEY_SIZE]);

/* create.c: before login */
enum gr_verdict create_on_element(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict create_on_features(struct gr_mod *self, struct gr_features_ev *ev);
extern const struct gr_slot create_slot;

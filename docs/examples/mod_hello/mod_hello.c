/* mod_hello: greets new sessions; tells <hello xmlns='urn:example:hello'/> how many it greeted. */
#include <grapnel/module.h>
struct hello { const char *text; }; /* the configuration: filled by the core, read-only */
static uint64_t *count(struct gr_mod *m) { return gr_state(m); } /* per host and loop: no lock */
static void on_bound(struct gr_mod *self, struct gr_session_ev *ev) {
    const struct hello *conf = gr_conf(self);
    struct gr_stanza *st = gr_message_new(GR_MSG_CHAT, gr_mod_host_jid(self), ev->jid);
    gr_el_add_text(st, NULL, NULL, "body", conf->text);
    gr_send(self, st); /* takes the stanza */
    ++*count(self);
}
static void on_query(struct gr_mod *self, struct gr_iq_ev *ev) {
    struct gr_stanza *st = gr_iq_result(ev->stanza);
    gr_el_setf(st, gr_el_add(st, NULL, "urn:example:hello", "hello"), "greeted", "%llu",
               (unsigned long long)*count(self));
    gr_iq_reply(ev->req, st); /* exactly once (RFC 6120, 8.2.3) */
}
static void save(struct gr_mod *m, struct gr_bag *b) { gr_bag_put_u64(b, "n", *count(m)); }
static void restore(struct gr_mod *m, const struct gr_bag *b) { *count(m) = gr_bag_u64(b, "n", 0); }
static const struct gr_opt opts[] = { GR_OPT_STR(struct hello, text, "Hi!", "text"), GR_OPT_END };
static const struct gr_hook hooks[] = { GR_ON(sm_register_connection, 90, on_bound), GR_HOOK_END };
static const struct gr_iq iqs[] = { GR_IQ(GR_IQ_GET, GR_TO_HOST, "urn:example:hello", "hello",
                                          on_query), GR_IQ_END };
GR_MODULE(hello, .conf_size = sizeof(struct hello), .state_size = sizeof(uint64_t), .iqs = iqs,
    .options = opts, .hooks = hooks, .save = save, .restore = restore, .summary = "greetings");

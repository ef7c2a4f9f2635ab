/* mod_amp/rules.c: the rules of a message: which are supported, which one matches (the first, 2.2.3),
 * and what its sender is told then (2.2.5). */
#include "amp.h"

#include <string.h>

enum { RULES_MAX = 20 };

struct gr_el *amp_of(const struct gr_stanza *st)
{
    return gr_stanza_child(st, NS_AMP, "amp");
}

/* --- replies (2.2.5) --- */

void add_rule(struct gr_stanza *to, struct gr_el *parent, const struct gr_el *rule)
{
    static const char *const attr[] = { "condition", "action", "value" };
    struct gr_el *el = gr_el_add(to, parent, NULL, "rule");

    for (size_t i = 0; i < GR_COUNT(attr); i++)
        gr_el_set(to, el, attr[i], gr_el_attr(rule, attr[i]));
}

/* <amp/> with where the message came from and was for, and a rule. */
static void add_amp(struct gr_stanza *to, const struct gr_stanza *st, const struct gr_el *rule,
                    const char *status)
{
    struct gr_el *amp = gr_el_add(to, NULL, NS_AMP, "amp");

    gr_el_set(to, amp, "status", status);
    gr_el_set(to, amp, "from", gr_stanza_from(st)->full);
    gr_el_set(to, amp, "to", gr_stanza_to(st)->full);
    add_rule(to, amp, rule);
}

static void tell(struct gr_mod *self, const struct gr_stanza *st, const struct gr_el *rule,
                 const char *status)
{
    struct gr_stanza *reply = gr_message_new(GR_MSG_NORMAL, gr_mod_host_jid(self),
                                             gr_stanza_from(st));

    gr_stanza_set_id(reply, gr_stanza_id(st));
    add_amp(reply, st, rule, status);
    gr_send(self, reply);
}

void refuse(struct gr_mod *self, const struct gr_stanza *st, const struct gr_el *rule,
            enum gr_cond cond, const char *ns, const char *specific)
{
    struct gr_stanza *reply = gr_error_reply_type(st, cond, "modify", NULL);
    struct gr_el *named;

    if (reply == NULL)
        return;
    gr_stanza_set_from(reply, gr_mod_host_jid(self));
    add_amp(reply, st, rule, strcmp(ns, NS_ERRORS) == 0 ? "error" : NULL);
    named = gr_el_add(reply, gr_stanza_child(reply, NULL, "error"), ns, specific);
    add_rule(reply, named, rule);
    gr_send(self, reply);
}

/* --- are the rules supported? --- */

static bool is_one_of(const char *word, const char *const *words)
{
    while (*words != NULL && (word == NULL || strcmp(word, *words) != 0))
        words++;
    return *words != NULL;
}

const char *const actions[] = { "alert", "drop", "error", "notify", NULL };
static const char *const deliveries[] = { "direct", "none", "stored", NULL };
static const char *const matches[] = { "any", "exact", "other", NULL };

enum gr_verdict on_verify(struct gr_mod *self, struct gr_amp_ev *ev)
{
    int64_t us;

    (void)self;
    if (ev->supported || !is_one_of(ev->action, actions))
        return GR_OK;
    ev->supported =
        (strcmp(ev->condition, "expire-at") == 0 && is_time(ev->value, &us)) ||
        (strcmp(ev->condition, "deliver") == 0 && is_one_of(ev->value, deliveries)) ||
        (strcmp(ev->condition, "match-resource") == 0 && is_one_of(ev->value, matches));
    return GR_OK;
}

struct gr_amp_ev event_of(const struct gr_el *rule)
{
    const char *condition = gr_el_attr(rule, "condition"), *value = gr_el_attr(rule, "value");
    const char *action = gr_el_attr(rule, "action");

    return (struct gr_amp_ev){ .condition = condition != NULL ? condition : "",
                               .value = value != NULL ? value : "",
                               .action = action != NULL ? action : "" };
}

bool is_known(const char *condition)
{
    return strcmp(condition, "deliver") == 0 || strcmp(condition, "match-resource") == 0 ||
           strcmp(condition, "expire-at") == 0;
}

/* Table 7 tells three reasons apart. */
bool verify(struct gr_mod *self, const struct gr_stanza_ev *from)
{
    const struct gr_el *rule = gr_el_child(amp_of(from->stanza), NS_AMP, "rule");
    size_t n = 0;

    for (; rule != NULL; rule = gr_el_next(rule, NS_AMP, "rule")) {
        struct gr_amp_ev ev = event_of(rule);

        ev.from = from->from;
        ev.to = from->to;
        ev.stanza = from->stanza;
        gr_hook_run(self, GR_HOOK_amp_verify_support, &ev.ev, NULL);
        if (ev.supported && ++n <= RULES_MAX)
            continue;
        if (ev.supported)
            refuse(self, from->stanza, rule, GR_NOT_ACCEPTABLE, NS_AMP, "invalid-rules");
        else if (!is_one_of(ev.action, actions))
            refuse(self, from->stanza, rule, GR_BAD_REQUEST, NS_AMP, "unsupported-actions");
        else if (!is_known(ev.condition))
            refuse(self, from->stanza, rule, GR_BAD_REQUEST, NS_AMP, "unsupported-conditions");
        else
            refuse(self, from->stanza, rule, GR_NOT_ACCEPTABLE, NS_AMP, "invalid-rules");
        return false;
    }
    return true;
}

/* --- the rules are judged --- */

enum gr_verdict on_condition(struct gr_mod *self, struct gr_amp_ev *ev)
{
    bool deliver = strcmp(ev->condition, "deliver") == 0;
    bool any = !deliver && strcmp(ev->value, "any") == 0;
    int64_t us;

    (void)self;
    if (ev->match != 0)
        return GR_OK;
    if (strcmp(ev->condition, "expire-at") == 0)
        ev->match = is_time(ev->value, &us) && gr_wall_us() >= us;
    else if (any)
        ev->match = strcmp(ev->match_resource, "none") != 0;
    else if (deliver || is_known(ev->condition))
        ev->match = strcmp(ev->value, deliver ? ev->deliver : ev->match_resource) == 0;
    return GR_OK;
}

bool judge(struct gr_mod *self, const struct gr_stanza *st, const struct gr_el *rules,
           const char *deliver, const char *match)
{
    const char *ns = gr_el_ns(rules);
    const struct gr_el *rule = gr_el_child(rules, ns, "rule");

    for (; rule != NULL; rule = gr_el_next(rule, ns, "rule")) {
        struct gr_amp_ev ev = event_of(rule);

        ev.from = gr_stanza_from(st);
        ev.to = gr_stanza_to(st);
        ev.stanza = (struct gr_stanza *)st;
        ev.deliver = deliver;
        ev.match_resource = match;
        gr_hook_run(self, GR_HOOK_amp_check_condition, &ev.ev, NULL);
        if (ev.match != 1)
            continue;
        if (strcmp(ev.action, "error") == 0)
            refuse(self, st, rule, GR_UNDEFINED_CONDITION, NS_ERRORS, "failed-rules");
        else if (strcmp(ev.action, "drop") != 0)
            tell(self, st, rule, ev.action);
        return strcmp(ev.action, "notify") == 0;
    }
    return true;
}

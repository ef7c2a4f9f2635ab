/* mod_wordfilter: messages with certain words are made harmless, or refused with an error. */
#include <grapnel/module.h>

#include <string.h>
#include <strings.h>

enum action { MASK, REFUSE };
struct filter_conf { const char *const *words; enum action action; };

static const struct gr_opt options[] = {
    GR_OPT_LIST(struct filter_conf, words, "", "words that are not wanted"),
    GR_OPT_ENUM(struct filter_conf, action, MASK, GR_WORDS("mask", "refuse"),
                "what is done to a message with such a word"),
    GR_OPT_END
};

/* Stars instead of every unwanted word; how many there were. */
static int mask(char *text, const char *const *words)
{
    int found = 0;

    for (; *words != NULL; words++) {
        size_t len = strlen(*words);
        for (char *p = text; *p != '\0' && len > 0; p++) {
            if (strncasecmp(p, *words, len) == 0) {
                memset(p, '*', len);
                found++;
            }
        }
    }
    return found;
}

/* gr_ev_edit may give a copy of the stanza, so its elements are looked up after it. */
static void replace_body(struct gr_stanza_ev *ev, const char *text)
{
    struct gr_stanza *st = gr_ev_edit(ev);

    gr_el_set_text(st, gr_stanza_child(st, NULL, "body"), text);
}

static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct filter_conf *conf = gr_conf(self);
    const struct gr_el *body = gr_stanza_child(ev->stanza, NULL, "body");
    enum gr_verdict verdict = GR_OK;

    if (body == NULL)
        return GR_OK;
    char *text = gr_strdup(gr_el_text(body, NULL));
    if (mask(text, conf->words) > 0) {
        if (conf->action == REFUSE)
            verdict = gr_ev_refuse(self, ev, GR_NOT_ACCEPTABLE, "mind your words");
        else
            replace_body(ev, text);
    }
    gr_free(text);
    return verdict;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_POLICY, on_message),
    GR_HOOK_END
};

GR_MODULE(wordfilter, .summary = "masks or refuses words", .options = options,
          .conf_size = sizeof(struct filter_conf), .hooks = hooks);

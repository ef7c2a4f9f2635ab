/* command_serve.c: commands for modules that serve them: what there is, and running one from a loop
 * (include/grapnel/command.h). The main thread runs it; the answer comes back to the loop that asked. */
#include "command_priv.h"

#include "mod/usage.h"

#include <string.h>

#define WORDS_MAX 64

bool gr_is_admin(const struct gr_mod *self, const struct gr_jid *jid)
{
    const char *const *admins = self->host->conf->admins;

    return admins != NULL && jid->node != NULL && gr_jid_in_list(admins, jid);
}

void gr_command_each(struct gr_mod *self,
                     void (*f)(void *ctx, const char *name, const char *help,
                               const struct gr_arg *args),
                     void *ctx)
{
    size_t count;
    const struct main_command *main = command_mains(&count);

    for (size_t i = 0; i < count; i++)
        f(ctx, main[i].name, main[i].help, main[i].args);
    list_each (mod, &self->host->instances, struct gr_mod, of_host) {
        const struct gr_command *c = mod->desc != NULL ? mod->desc->commands : NULL;

        for (; c != NULL && c->name != NULL; c++)
            f(ctx, c->name, c->help, c->args);
    }
}

/* --- the answer --- */

/* Pieces are "row", or "s:name" and the value, each ended by NUL. */
bool gr_cmd_result_next(struct gr_cmd_result *r, const char **name, const char **value)
{
    *name = *value = NULL;
    if (r->at == r->end)
        return false;
    if (r->at[1] == ':') {
        *name = r->at + 2;
        *value = *name + strlen(*name) + 1;
    }
    r->at = *value != NULL ? *value : r->at;
    r->at += strlen(r->at) + 1;
    return true;
}

/* Of a result as command.h has it, where name and value are one text. */
static void split(char *at, const char *end)
{
    for (; at < end; at += strlen(at) + 1) {
        char *eq = at[1] == ':' ? strchr(at, '=') : NULL;

        if (eq == NULL)
            continue;
        *eq = '\0';
        at = eq + 1;
    }
}

/* --- running --- */

/* A retired instance cannot wait for long: the command may be one of its own, which only its stop()
 * ends. So the answer is owed (see mod/instance.h), by us. */
struct served {
    struct post post;
    struct gr_mod *self;    /* NULL: it has gone without waiting */
    struct owed owed;
    struct loop *back;
    gr_command_f f;
    void *data;
    struct buf words;       /* each ended by NUL */
    size_t count;
    char *error;
    struct buf result;
};

static void served_free(struct served *s)
{
    gr_free(s->data);
    gr_free(s->error);
    buf_fini(&s->result);
    gr_free(s);
}

static void give_up(struct owed *o)
{
    struct served *s = GR_CONTAINER_OF(o, struct served, owed);

    mod_settle(s->self, o);
    s->self = NULL;
}

static void on_answer(struct post *p)
{
    struct served *s = GR_CONTAINER_OF(p, struct served, post);
    struct gr_mod *self = s->self;
    const char *at = buf_data(&s->result);
    struct gr_cmd_result result = { at, at + (s->error == NULL ? buf_len(&s->result) : 0) };

    if (self != NULL) {
        struct gr_mod *before = usage_begin(self);
        s->f(self, s->data, s->error, &result);
        usage_end(self, before);
        mod_settle(self, &s->owed);
    }
    served_free(s);
}

static void on_ran(void *arg, const char *error, const struct buf *result)
{
    struct served *s = arg;
    size_t len = buf_len(result);

    if (error != NULL) {
        s->error = gr_strdup(error);
    } else if (len > 0) {
        char *to = buf_reserve(&s->result, len);

        memcpy(to, buf_data(result), len);
        buf_produced(&s->result, len);
        split(to, to + len);
    }
    s->post.run = on_answer;
    loop_post(s->back, &s->post);
}

static void run_it(struct post *p)
{
    struct served *s = GR_CONTAINER_OF(p, struct served, post);
    struct buf words = s->words;
    const char *word[WORDS_MAX], *at = buf_data(&words);

    for (size_t i = 0; i < s->count; i++, at += strlen(at) + 1)
        word[i] = at;
    s->words = (struct buf){ 0 };
    command_run(word, s->count, on_ran, s); /* which may have ended s */
    gr_wipe(words.mem, words.cap); /* there may be a password */
    buf_fini(&words);
}

void gr_command_run(struct gr_mod *self, const char *const *words, size_t count, gr_command_f f,
                    void *take_data)
{
    struct served *s = gr_alloc(sizeof(*s));

    gr_assert(count >= 1 && count <= WORDS_MAX);
    s->self = self;
    s->f = f;
    s->data = take_data;
    s->count = count;
    for (size_t i = 0; i < count; i++)
        buf_append(&s->words, words[i], strlen(words[i]) + 1);
    s->post.run = run_it;
    s->back = self->loop;
    mod_owe(self, &s->owed, give_up);
    loop_post(loop_main(), &s->post);
}

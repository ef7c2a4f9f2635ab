/* command.c: finds a command by its words and runs it on the loop or loops it asks for (design
 * 3.8). The registry is the descriptors' tables: what an enabled module declares exists. */
#include "command_priv.h"

#include "base/list.h"
#include "mod/reload.h"
#include "mod/spec.h"
#include "mod/usage.h"

#include <stdio.h>
#include <string.h>

static const struct main_command *mains;
static size_t main_count;

void command_add_main(const struct main_command *table, size_t count)
{
    mains = table;
    main_count = count;
}

const struct main_command *command_mains(size_t *count)
{
    *count = main_count;
    return mains;
}

/* --- finishing --- */

static void cmd_free(struct gr_cmd *cmd)
{
    cmd_args_fini(cmd);
    buf_fini(&cmd->out);
    gr_free(cmd->error);
    gr_free(cmd);
}

static void finish(struct invocation *inv)
{
    struct buf out = { 0 };
    const char *error = inv->error;

    for (int i = 0; i < inv->part_count && error == NULL; i++)
        error = inv->part[i]->error;
    command_gather(inv, &out);
    inv->done(inv->arg, error, &out);
    buf_fini(&out);
    for (int i = 0; i < inv->part_count; i++)
        cmd_free(inv->part[i]);
    gr_free(inv->error);
    gr_free(inv);
}

static void part_back(struct post *p)
{
    struct gr_cmd *cmd = GR_CONTAINER_OF(p, struct gr_cmd, post);

    if (--cmd->inv->parts == 0)
        finish(cmd->inv);
}

void gr_cmd_done(struct gr_cmd *take)
{
    if (take->inv == NULL) /* too late */
        return;
    if (take->self != NULL)
        mod_settle(take->self, &take->owed);
    take->self = NULL;
    take->post.run = part_back;
    loop_post(loop_main(), &take->post);
}

void gr_cmd_fail(struct gr_cmd *take, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    if (take->inv == NULL)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    take->error = gr_strdup(text);
    gr_cmd_done(take);
}

static void on_drop(struct kept *k)
{
    cmd_free(GR_CONTAINER_OF(k, struct gr_cmd, kept));
}

/* The code that would have finished it is gone (see route/iq.c): the answer leaves with all that it
 * needs, and what old code on another loop may still point to stays with the spec as a shell. */
static void give_up(struct owed *o)
{
    struct gr_cmd *shell = GR_CONTAINER_OF(o, struct gr_cmd, owed), *cmd = gr_alloc(sizeof(*cmd));
    struct gr_mod *self = shell->self;
    const char *name = shell->command->name;

    *cmd = *shell;
    cmd->self = NULL;
    cmd->inv->part[cmd->place] = cmd;
    *shell = (struct gr_cmd){ .command = cmd->command, .owed = cmd->owed };
    spec_keep(self->spec, &shell->kept, on_drop);
    gr_cmd_fail(cmd, "mod_%s has gone without finishing \"%s\"", self->desc->name, name);
    mod_settle(self, o);
}

/* --- finding --- */

struct search {
    const char *const *words;
    size_t count, matched;         /* words of the name */
    const struct gr_command *command;
    const struct gr_mod *owner;
    const char *host;              /* wanted, or NULL */
    struct buf *help;              /* collects every command instead */
    struct buf *alike;             /* collects names that begin with the first word */
};

/* Number of leading words that spell `name`; 0: they do not. */
static size_t matches(const char *name, const char *const *words, size_t count)
{
    size_t n = 0;

    while (*name != '\0') {
        size_t len = strcspn(name, " ");
        if (n == count || strlen(words[n]) != len || strncmp(words[n], name, len) != 0)
            return 0;
        n++;
        name += len + (name[len] == ' ');
    }
    return n;
}

static void add_alike(struct buf *out, const char *name, const char *word)
{
    size_t len = strlen(word);

    if (strncmp(name, word, len) == 0 && name[len] == ' ')
        buf_printf(out, "%s%s", buf_len(out) > 0 ? ", " : "", name);
}

static void consider(void *ctx, const struct gr_mod *mod)
{
    struct search *s = ctx;
    const struct gr_command *c = mod->desc->commands;

    if (mod->retired) /* its code may go any moment, and would run with its successor's state */
        return;
    for (; c != NULL && c->name != NULL; c++) {
        if (s->help != NULL) {
            if (mod->host == host_default())
                command_help_row(s->help, c->name, c->args, c->help);
            continue;
        }
        if (s->alike != NULL) {
            if (mod->host == host_default())
                add_alike(s->alike, c->name, s->words[0]);
            continue;
        }
        size_t n = matches(c->name, s->words, s->count);
        bool better = n > s->matched ||
                      (n == s->matched && n > 0 && s->host != NULL &&
                       strcmp(gr_host_name(mod->host), s->host) == 0);
        if (better) {
            s->matched = n;
            s->command = c;
            s->owner = mod;
        }
    }
}

static void search_loop(void *arg)
{
    if (loop_index(loop_self()) == 0)
        mod_each(consider, arg);
}

/* --- starting --- */

static void run_part(struct post *p)
{
    struct gr_cmd *cmd = GR_CONTAINER_OF(p, struct gr_cmd, post);
    const struct gr_jid *jid = cmd_first_jid(cmd);
    struct gr_host *host = host_find(jid != NULL ? jid->domain : cmd->host);
    struct gr_mod *before;

    if (host == NULL) {
        if (jid != NULL && jid->node == NULL)
            gr_cmd_fail(cmd, "%s is not an account: write NAME@DOMAIN, such as %s@%s", jid->domain,
                        jid->domain, gr_host_name(host_default()));
        else
            gr_cmd_fail(cmd, "%s is not served here", jid != NULL ? jid->domain : cmd->host);
        return;
    }
    list_each(mod, &host->instances, struct gr_mod, of_host) {
        if (mod->desc != NULL && strcmp(mod->desc->name, cmd->module) == 0) {
            cmd->self = mod;
            mod_owe(mod, &cmd->owed, give_up);
            before = usage_begin(mod);
            cmd->command->run(mod, cmd);
            usage_end(mod, before);
            return;
        }
    }
    gr_cmd_fail(cmd, "mod_%s is not enabled on %s", cmd->module, gr_host_name(host));
}

static void start(struct invocation *inv, struct gr_cmd *cmd, struct loop *loop)
{
    cmd->place = inv->part_count;
    inv->part[inv->part_count++] = cmd;
    inv->parts++;
    cmd->inv = inv;
    cmd->loop = loop;
    cmd->post.run = run_part;
}

static struct gr_cmd *cmd_new(const struct search *s)
{
    struct gr_cmd *cmd = gr_alloc(sizeof(*cmd));

    cmd->command = s->command;
    cmd->module = s->owner->desc->name;
    cmd->host = gr_host_name(s->owner->host);
    return cmd;
}

static void fail_now(struct invocation *inv, char *take_error)
{
    inv->error = take_error;
    finish(inv);
}

static void dispatch(struct invocation *inv, const struct search *s, const char *const *rest,
                     size_t count)
{
    bool all = s->command->where == GR_RUN_ALL;

    for (int i = 0; i < (all ? loop_count() : 1); i++) {
        struct gr_cmd *cmd = cmd_new(s);
        char *error = cmd_take_args(cmd, rest, count);
        if (error != NULL) {
            cmd_free(cmd);
            fail_now(inv, error);
            return;
        }
        const struct gr_jid *jid = cmd_first_jid(cmd);
        start(inv, cmd, s->command->where == GR_RUN_HOME && jid != NULL ? loop_home(jid->hash)
                                                                         : loop_at(i));
    }
    for (int i = 0; i < inv->part_count; i++)
        loop_post(inv->part[i]->loop, &inv->part[i]->post);
}

static void run_help(struct invocation *inv)
{
    struct buf out = { 0 };
    struct search s = { .help = &out };

    for (size_t i = 0; i < main_count; i++)
        command_help_row(&out, mains[i].name, mains[i].args, mains[i].help);
    loops_call(search_loop, &s);
    inv->done(inv->arg, NULL, &out);
    buf_fini(&out);
    gr_free(inv);
}

/* The caller frees. */
static char *unknown(struct search *s)
{
    struct buf alike = { 0 };
    char *text;

    s->alike = &alike;
    for (size_t i = 0; i < main_count; i++)
        add_alike(&alike, mains[i].name, s->words[0]);
    loops_call(search_loop, s);
    text = buf_len(&alike) > 0
               ? gr_asprintf("unknown command; with %s begin: %s", s->words[0], buf_str(&alike))
               : gr_asprintf("unknown command: %s (grapnelctl help lists all)", s->words[0]);
    buf_fini(&alike);
    return text;
}

static const struct main_command *find_main(const char *const *words, size_t count)
{
    for (size_t i = 0; i < main_count; i++) {
        if (matches(mains[i].name, words, count) > 0)
            return &mains[i];
    }
    return NULL;
}

static void run_main(struct invocation *inv, const struct main_command *m, const char *const *words,
                     size_t count)
{
    const struct gr_command as = { .name = m->name, .args = m->args };
    size_t named = matches(m->name, words, count);
    struct gr_cmd *cmd = gr_alloc(sizeof(*cmd));
    struct buf out = { 0 };

    cmd->command = &as;
    inv->error = cmd_take_args(cmd, words + named, count - named);
    if (inv->error == NULL)
        inv->error = m->run(cmd, &out);
    inv->done(inv->arg, inv->error, &out);
    buf_fini(&out);
    cmd_free(cmd);
    gr_free(inv->error);
    gr_free(inv);
}

void command_run(const char *const *words, size_t count, command_done_f done, void *arg)
{
    struct invocation *inv = gr_alloc(sizeof(*inv));
    struct search s = { .words = words, .count = count };
    const struct main_command *m;

    inv->done = done;
    inv->arg = arg;
    if (count == 0 || strcmp(words[0], "help") == 0) {
        run_help(inv);
        return;
    }
    m = find_main(words, count);
    if (m != NULL) {
        run_main(inv, m, words, count);
        return;
    }
    loops_call(search_loop, &s);
    if (s.command == NULL)
        fail_now(inv, unknown(&s));
    else
        dispatch(inv, &s, words + s.matched, count - s.matched);
}

/* command.c: finds a command by its words, runs it on the loop or loops it asks for, and gathers the
 * rows (design 3.8). The registry is the descriptors' tables: what an enabled module declares exists. */
#include "command.h"

#include "base/list.h"
#include "mod/reload.h"
#include "mod/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_MAX 16

/* One invocation; lives on the main loop while parts of it work elsewhere. */
struct invocation {
    struct post post;
    command_done_f done;
    void *arg;
    int parts;                /* not back yet */
    char *error;
    struct gr_cmd *part[LOOPS_MAX];
    int part_count;
};
struct gr_cmd {
    struct post post;
    struct invocation *inv;
    struct gr_mod *self;
    const struct gr_command *command;
    const char *module, *host;
    struct loop *loop;
    char *value[ARGS_MAX];    /* by position in command->args */
    struct gr_jid *jid[ARGS_MAX];
    struct buf out;
    unsigned rows;
    char *error;
};

static const struct main_command *mains;
static size_t main_count;

void command_add_main(const struct main_command *table, size_t count)
{
    mains = table;
    main_count = count;
}

/* --- rows --- */

static void put(struct buf *out, char kind, const char *name, const char *value)
{
    buf_printf(out, "%c:%s=%s", kind, name, value);
    buf_append(out, "", 1);
}

void command_row(struct buf *result)
{
    buf_append(result, "row", 4);
}

void command_text(struct buf *result, const char *name, const char *value)
{
    put(result, 's', name, value);
}

void command_number(struct buf *result, const char *name, int64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    put(result, 'n', name, text);
}

void gr_cmd_row(struct gr_cmd *cmd)
{
    command_row(&cmd->out);
    cmd->rows++;
}

void gr_cmd_field(struct gr_cmd *cmd, const char *name, const char *fmt, ...)
{
    char value[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    put(&cmd->out, 's', name, value);
}

void gr_cmd_number(struct gr_cmd *cmd, const char *name, int64_t value)
{
    command_number(&cmd->out, name, value);
}

/* --- arguments --- */

static int arg_index(const struct gr_command *c, const char *name)
{
    for (int i = 0; c->args != NULL && c->args[i].name != NULL; i++)
        if (strcmp(c->args[i].name, name) == 0)
            return i;
    return -1;
}

const char *gr_cmd_text(const struct gr_cmd *cmd, const char *arg)
{
    int i = arg_index(cmd->command, arg);

    return i >= 0 ? cmd->value[i] : NULL;
}

const struct gr_jid *gr_cmd_jid(const struct gr_cmd *cmd, const char *arg)
{
    int i = arg_index(cmd->command, arg);

    return i >= 0 ? cmd->jid[i] : NULL;
}

int64_t gr_cmd_int(const struct gr_cmd *cmd, const char *arg, int64_t otherwise)
{
    const char *v = gr_cmd_text(cmd, arg);

    return v != NULL ? strtoll(v, NULL, 10) : otherwise;
}

/* --- finishing --- */

static void cmd_free(struct gr_cmd *cmd)
{
    for (int i = 0; i < ARGS_MAX; i++) {
        if (cmd->value[i] != NULL)
            gr_wipe(cmd->value[i], strlen(cmd->value[i]));
        gr_free(cmd->value[i]);
        gr_jid_free(&cmd->jid[i]);
    }
    buf_fini(&cmd->out);
    gr_free(cmd->error);
    gr_free(cmd);
}

/* Value of a number field in a part's only row; 0 when it is not there. */
static int64_t number_in(const struct gr_cmd *cmd, const char *field, size_t name_len)
{
    const char *p = buf_data(&cmd->out), *end = p + buf_len(&cmd->out);

    for (; p < end; p += strlen(p) + 1)
        if (strncmp(p, field, name_len) == 0)
            return strtoll(p + name_len, NULL, 10);
    return 0;
}

/* One row from each loop is one row about the server: numbers add up. */
static void add_up(const struct invocation *inv, struct buf *out)
{
    const struct gr_cmd *first = inv->part[0];
    const char *p = buf_data(&first->out), *end = p + buf_len(&first->out);

    for (; p < end; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (p[0] != 'n' || eq == NULL) {
            buf_append(out, p, strlen(p) + 1);
            continue;
        }
        size_t name_len = (size_t)(eq - p) + 1;
        int64_t sum = 0;
        for (int i = 0; i < inv->part_count; i++)
            sum += number_in(inv->part[i], p, name_len);
        buf_append(out, p, name_len);
        buf_printf(out, "%lld", (long long)sum);
        buf_append(out, "", 1);
    }
}

static void finish(struct invocation *inv)
{
    struct buf out = { 0 };
    bool single = inv->part_count > 1;
    const char *error = inv->error;

    for (int i = 0; i < inv->part_count; i++) {
        single = single && inv->part[i]->rows == 1;
        if (error == NULL)
            error = inv->part[i]->error;
    }
    if (single)
        add_up(inv, &out);
    else
        for (int i = 0; i < inv->part_count; i++)
            buf_append(&out, buf_data(&inv->part[i]->out), buf_len(&inv->part[i]->out));
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
    if (take->self != NULL)
        mod_unpend(take->self);
    take->self = NULL;
    take->post.run = part_back;
    loop_post(loop_main(), &take->post);
}

void gr_cmd_fail(struct gr_cmd *take, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    take->error = gr_strdup(text);
    gr_cmd_done(take);
}

/* --- finding --- */

struct search {
    const char *const *words;
    size_t count, matched;         /* words of the name */
    const struct gr_command *command;
    const struct gr_mod *owner;
    const char *host;              /* wanted, or NULL */
    struct buf *help;              /* collects every command instead */
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

static void usage(struct buf *out, const char *name, const struct gr_arg *args)
{
    buf_puts(out, name);
    for (; args != NULL && args->name != NULL; args++) {
        if (args->kind == GR_ARG_SECRET)
            buf_printf(out, " [--%s-stdin | --%s TEXT]", args->name, args->name);
        else if (args->kind == GR_ARG_FLAG)
            buf_printf(out, " [--%s]", args->name);
        else
            buf_printf(out, args->optional ? " [%s]" : " %s", args->name);
    }
}

static void help_row(struct buf *out, const char *name, const struct gr_arg *args, const char *help)
{
    struct buf line = { 0 };

    usage(&line, name, args);
    command_row(out);
    command_text(out, "command", buf_str(&line));
    command_text(out, "help", help);
    buf_fini(&line);
}

static void consider(void *ctx, const struct gr_mod *mod)
{
    struct search *s = ctx;
    const struct gr_command *c = mod->desc->commands;

    for (; c != NULL && c->name != NULL; c++) {
        if (s->help != NULL) {
            if (mod->host == host_default())
                help_row(s->help, c->name, c->args, c->help);
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

/* Arguments of these kinds are not given by their place. */
static bool is_named(enum gr_arg_kind kind)
{
    return kind == GR_ARG_SECRET || kind == GR_ARG_FLAG;
}

static char *take_args(struct gr_cmd *cmd, const char *const *words, size_t count)
{
    const struct gr_arg *args = cmd->command->args;
    int next = 0;

    for (size_t i = 0; i < count; i++) {
        int at;
        if (strncmp(words[i], "--", 2) == 0) {
            at = arg_index(cmd->command, words[i] + 2);
            if (at < 0 || (args[at].kind != GR_ARG_FLAG && ++i == count))
                return gr_asprintf("%s: unknown option, or its value is missing",
                                   words[i < count ? i : count - 1]);
        } else {
            while (args != NULL && args[next].name != NULL && is_named(args[next].kind))
                next++;
            if (args == NULL || args[next].name == NULL)
                return gr_asprintf("too many arguments: %s", words[i]);
            at = next++;
        }
        gr_free(cmd->value[at]);
        cmd->value[at] = gr_strdup(words[i]);
    }
    for (int i = 0; args != NULL && args[i].name != NULL; i++) {
        if (cmd->value[i] == NULL && !args[i].optional && args[i].kind != GR_ARG_FLAG)
            return gr_asprintf("missing argument: %s (%s)", args[i].name, args[i].help);
        if (cmd->value[i] != NULL && args[i].kind == GR_ARG_JID &&
            gr_jid_parse(cmd->value[i], strlen(cmd->value[i]), &cmd->jid[i]) != 0)
            return gr_asprintf("%s is not an address", cmd->value[i]);
        if (cmd->value[i] != NULL && args[i].kind == GR_ARG_INT) {
            char *end;
            strtoll(cmd->value[i], &end, 10);
            if (*end != '\0' || end == cmd->value[i])
                return gr_asprintf("%s is not a number", cmd->value[i]);
        }
    }
    return NULL;
}

static const struct gr_jid *first_jid(const struct gr_cmd *cmd)
{
    for (int i = 0; i < ARGS_MAX; i++)
        if (cmd->jid[i] != NULL)
            return cmd->jid[i];
    return NULL;
}

static void run_part(struct post *p)
{
    struct gr_cmd *cmd = GR_CONTAINER_OF(p, struct gr_cmd, post);
    const struct gr_jid *jid = first_jid(cmd);
    struct gr_host *host = host_find(jid != NULL ? jid->domain : cmd->host);
    struct gr_mod *before;

    if (host == NULL) {
        gr_cmd_fail(cmd, "%s is not served here", jid != NULL ? jid->domain : cmd->host);
        return;
    }
    list_each(mod, &host->instances, struct gr_mod, of_host) {
        if (mod->desc != NULL && strcmp(mod->desc->name, cmd->module) == 0) {
            cmd->self = mod;
            mod_pend(mod);
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
        char *error = take_args(cmd, rest, count);
        if (error != NULL) {
            cmd_free(cmd);
            fail_now(inv, error);
            return;
        }
        const struct gr_jid *jid = first_jid(cmd);
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
        help_row(&out, mains[i].name, mains[i].args, mains[i].help);
    loops_call(search_loop, &s);
    inv->done(inv->arg, NULL, &out);
    buf_fini(&out);
    gr_free(inv);
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
    inv->error = take_args(cmd, words + named, count - named);
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
        fail_now(inv, gr_asprintf("unknown command: %s (grapnelctl help lists all)", words[0]));
    else
        dispatch(inv, &s, words + s.matched, count - s.matched);
}

/* mod_adhoc/registry.c: every command of the server as a node "command:NAME", its arguments as the
 * fields of a form. */
#include "adhoc.h"

#include <string.h>

#define PREFIX "command:"

static bool is_withheld(struct gr_mod *self, const char *name)
{
    const struct adhoc_conf *conf = gr_conf(self);
    const char *const *w = conf->withheld;

    for (; w != NULL && *w != NULL; w++)
        if (strcmp(*w, name) == 0)
            return true;
    return false;
}

struct looking {
    struct gr_mod *self;
    const char *wanted;
    struct recipe *recipe;
    bool found;
    void (*f)(void *ctx, const char *node, const char *title);
    void *ctx;
};

static struct field field_of(const struct gr_arg *arg)
{
    static const char *const types[] = {
        [GR_ARG_TEXT] = "text-single", [GR_ARG_JID] = "jid-single", [GR_ARG_INT] = "text-single",
        [GR_ARG_SECRET] = "text-private", [GR_ARG_FLAG] = "boolean",
    };
    bool flag = arg->kind == GR_ARG_FLAG;

    return (struct field){
        .var = arg->name, .type = types[arg->kind], .label = arg->help, .arg = arg->name,
        .use = flag ? FIELD_FLAG : FIELD_VALUE, .required = !arg->optional && !flag,
    };
}

static void consider(void *ctx, const char *name, const char *help, const struct gr_arg *args)
{
    struct looking *l = ctx;

    if (l->found || strcmp(name, l->wanted) != 0)
        return;
    l->found = true;
    if (l->recipe == NULL)
        return;
    l->recipe->title = help;
    l->recipe->command = name;
    for (size_t i = 0; args != NULL && args[i].name != NULL && i < FIELDS_MAX; i++)
        l->recipe->field[i] = field_of(&args[i]);
}

bool registry_has(struct gr_mod *self, const char *command)
{
    struct looking l = { .wanted = command };

    gr_command_each(self, consider, &l);
    return l.found && !is_withheld(self, command);
}

bool registry_recipe(struct gr_mod *self, const char *node, struct recipe *out)
{
    const struct adhoc_conf *conf = gr_conf(self);
    struct looking l = { .recipe = out };

    if (!conf->server_commands || strncmp(node, PREFIX, sizeof(PREFIX) - 1) != 0)
        return false;
    l.wanted = node + sizeof(PREFIX) - 1;
    if (is_withheld(self, l.wanted))
        return false;
    *out = (struct recipe){ 0 };
    gr_command_each(self, consider, &l);
    return l.found;
}

static void name_it(void *ctx, const char *name, const char *help, const struct gr_arg *args)
{
    struct looking *l = ctx;
    char *node;

    (void)args;
    if (is_withheld(l->self, name))
        return;
    node = gr_asprintf(PREFIX "%s", name);
    l->f(l->ctx, node, help);
    gr_free(node);
}

void registry_each(struct gr_mod *self, void (*f)(void *ctx, const char *node, const char *title),
                   void *ctx)
{
    const struct adhoc_conf *conf = gr_conf(self);
    struct looking l = { .self = self, .f = f, .ctx = ctx };

    if (conf->server_commands)
        gr_command_each(self, name_it, &l);
}

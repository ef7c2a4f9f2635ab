/* command_args.c: the arguments of a command, from the words behind its name. */
#include "command_priv.h"

#include <stdlib.h>
#include <string.h>

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

/* Arguments of these kinds are not given by their place. */
static bool is_named(enum gr_arg_kind kind)
{
    return kind == GR_ARG_SECRET || kind == GR_ARG_FLAG;
}

char *cmd_take_args(struct gr_cmd *cmd, const char *const *words, size_t count)
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

const struct gr_jid *cmd_first_jid(const struct gr_cmd *cmd)
{
    for (int i = 0; i < ARGS_MAX; i++)
        if (cmd->jid[i] != NULL)
            return cmd->jid[i];
    return NULL;
}

void cmd_args_fini(struct gr_cmd *cmd)
{
    for (int i = 0; i < ARGS_MAX; i++) {
        if (cmd->value[i] != NULL)
            gr_wipe(cmd->value[i], strlen(cmd->value[i]));
        gr_free(cmd->value[i]);
        gr_jid_free(&cmd->jid[i]);
    }
}

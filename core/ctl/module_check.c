/* ctl/module_check.c: `grapnelctl module check`: what the server would say about a module's file,
 * and what a reader of docs/modules.md would say about it, without loading it. */
#include "ctl/ctl.h"

#include "base/elf.h"

#include <dlfcn.h>
#include <offered.h> /* made by make */
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: grapnelctl module check FILE.so ...\n"
    "\n"
    "Judges files without running their code: whether they were built for this server, what they\n"
    "need, and what would be in the way of a reload. No server is needed. Exit status: 0 when the\n"
    "server would load all of them (warnings do not count), 1 when not.\n";

/* --- what a module may use --- */

/* The server's own symbols are a list made with it; libc's are ours as well. */
static bool has(void *ctx, const char *symbol)
{
    (void)ctx;
    for (size_t i = 0; i < GR_COUNT(offered); i++) {
        if (strcmp(offered[i], symbol) == 0)
            return true;
    }
    return dlsym(RTLD_DEFAULT, symbol) != NULL;
}

/* --- the verdict --- */

struct verdict {
    unsigned refused, warnings;
};

static void say(void *ctx, bool refused, const char *sentence)
{
    struct verdict *v = ctx;

    printf("  %s %s\n", refused ? "refused:" : "warning:", sentence);
    v->refused += refused;
    v->warnings += !refused;
}

bool module_file_fits(const char *path)
{
    struct module_file file = { NULL, 0 };
    struct verdict v = { 0, 0 };
    const struct elf_look how = { say, has, &v };
    char *name = module_name_of(path), *why = NULL;

    printf("%s\n", path);
    if (name == NULL)
        say(&v, true, "is not called mod_NAME.so: rename it");
    if (module_file_read(&file, path, &why) != 0 ||
        elf_check(file.data, file.len, name, &why) != 0)
        say(&v, true, why);
    else
        elf_look(file.data, file.len, &how);
    if (v.refused > 0)
        printf("  the server does not load it\n");
    else if (v.warnings > 0)
        printf("  the server loads it; see the warnings\n");
    else
        printf("  in order: for interface %d, headers %s\n", GR_ABI_VERSION, GR_ABI_TAG);
    fflush(stdout);
    module_file_fini(&file);
    gr_free(name);
    gr_free(why);
    return v.refused == 0;
}

int module_check(int argc, char **argv)
{
    bool all = true;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc < 2 || argv[1][0] == '-') {
        fputs(usage, stderr);
        return 2;
    }
    for (int i = 1; i < argc; i++)
        all = module_file_fits(argv[i]) && all;
    return all ? 0 : 1;
}

/* tests/unit/mod_compile.h: compiles a module of tests/modules while a test runs, as an author would:
 * with nothing but the public headers. Needs the compiler that `make` used (CC, or gcc) and the folders
 * that the Makefile exports: GRAPNEL_SRC, GRAPNEL_BUILD. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <grapnel/base.h>

static char mod_compile_dir[64];

static inline const char *mod_compile_env(const char *name, const char *otherwise)
{
    const char *v = getenv(name);

    return v != NULL && v[0] != '\0' ? v : otherwise;
}

/* Where the results are; removed by mod_compile_clean. */
static inline const char *mod_compile_folder(void)
{
    if (mod_compile_dir[0] == '\0') {
        strcpy(mod_compile_dir, "/tmp/grapnel-mods-XXXXXX");
        if (mkdtemp(mod_compile_dir) == NULL)
            abort();
    }
    return mod_compile_dir;
}

static inline char *mod_compile_path(const char *file)
{
    return gr_asprintf("%s/%s", mod_compile_folder(), file);
}

/* Makes mod_NAME.so (replacing it by rename); returns its path, the caller frees. */
static inline char *mod_compile(const char *name, const char *source, const char *flags)
{
    const char *src = mod_compile_env("GRAPNEL_SRC", ".");
    const char *build = mod_compile_env("GRAPNEL_BUILD", "build");
    char *file = gr_asprintf("mod_%s.so", name), *so = mod_compile_path(file);
    char *cmd = gr_asprintf("%s -std=c11 -O1 -g -Wall -Wextra -Werror -fPIC -shared "
                            "-fvisibility=hidden -Wl,-z,now -I%s/include -I%s/include %s -o %s.new "
                            "%s/tests/modules/%s && mv %s.new %s && chmod 755 %s",
                            mod_compile_env("CC", "gcc"), src, build, flags, so, src, source, so,
                            so, so);

    if (system(cmd) != 0) {
        fprintf(stderr, "this failed: %s\n", cmd);
        abort();
    }
    gr_free(cmd);
    gr_free(file);
    return so;
}

static inline void mod_compile_clean(void)
{
    char *cmd = gr_asprintf("rm -rf %s", mod_compile_dir);

    if (mod_compile_dir[0] != '\0' && system(cmd) != 0)
        abort();
    mod_compile_dir[0] = '\0';
    gr_free(cmd);
}

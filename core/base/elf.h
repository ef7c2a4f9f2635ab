/* base/elf.h: judges the file of a module without running any of it. Pure; any thread. */
#pragma once

#include <grapnel/module.h>

/* The file as it was read at once; zeroed is empty. */
struct module_file {
    char *data;
    size_t len;
};
/* module_file.c. 0, or GR_EINVAL with one sentence in *why (caller frees): it cannot be read,
 * everybody can write it, it is no file. */
int module_file_read(struct module_file *f, const char *path, char **why);
void module_file_fini(struct module_file *f);
/* "x" for a file called mod_x.so (caller frees); NULL: it is not called like a module. */
char *module_name_of(const char *path);

/* elf.c: the note of grapnel/module.h. 0, or GR_EINVAL with one sentence in *why (caller frees).
 * `name` NULL: any. */
int elf_check(const void *data, size_t len, const char *name, char **why);

/* elf_look.c: what else can be seen in a file that elf_check accepts. say() gets sentences;
 * refused: the server will not load it, else a promise of docs/modules.md is broken. has() says
 * whether a program's symbol is there for it. */
struct elf_look {
    void (*say)(void *ctx, bool refused, const char *sentence);
    bool (*has)(void *ctx, const char *symbol);
    void *ctx;
};
void elf_look(const void *data, size_t len, const struct elf_look *how);

/* ctl/module_new.c: `grapnelctl module new`: writes the beginning of a module: code, test,
 * makefile, page. The files are packaging/module/, in which NAME stands for the name. */
#include "ctl/ctl.h"

#include <errno.h>
#include <shipped.h> /* made by make: "x" for each mod_x of this version */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <templates.h> /* made by make of packaging/module/ */
#include <unistd.h>

#define NAME_MAX_BYTES 39 /* struct gr_note has 40 with NUL */

static const char usage[] =
    "usage: grapnelctl module new NAME --hook|--iq|--provider|--command\n"
    "\n"
    "Writes the folder mod_NAME with a module that builds, its test, a Makefile and a page:\n"
    "  --hook       handles an event: greets whoever logs in\n"
    "  --iq         answers iqs and keeps a text per account in the store\n"
    "  --provider   answers for accounts: names and a password from the configuration\n"
    "  --command    adds commands to grapnelctl\n"
    "NAME: a-z, 0-9 and _, beginning with a letter, at most 39 bytes. No server is needed.\n";

struct kind {
    const char *option, *module, *test, *page;
    const char *required; /* an option without which its section is refused, or NULL */
};
static const struct kind kinds[] = {
    { "--hook", file_hook_c, file_test_hook_c, file_hook_md, NULL },
    { "--iq", file_iq_c, file_test_iq_c, file_iq_md, NULL },
    { "--provider", file_provider_c, file_test_provider_c, file_provider_md, "password = ..." },
    { "--command", file_command_c, file_test_command_c, file_command_md, NULL },
};

/* --- the name --- */

static bool is_one_of(const char *name, const char *const *words)
{
    while (*words != NULL && strcmp(*words, name) != 0)
        words++;
    return *words != NULL;
}

/* NULL, or why no module can be called so. */
static const char *wrong_name(const char *name)
{
    static const char *const core[] = { "auth", "sm", "admin", "admin_data", NULL };
    static const char *const commands[] = { "user", "sessions", "module", "modules", "hooks",
                                            "providers", "status", "reload", "stop", "help",
                                            "metrics", NULL };
    static const char *const macros[] = { "bool", "true", "false", NULL };

    if (strncmp(name, "mod_", 4) == 0)
        return "write the name without mod_";
    if (*name < 'a' || *name > 'z' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name))
        return "a name has a-z, 0-9 and _ only, and begins with a letter";
    if (strlen(name) > NAME_MAX_BYTES)
        return "a name has 39 bytes at most";
    if (is_one_of(name, core))
        return "a part of the server is called so";
    for (size_t i = 0; i < GR_COUNT(shipped); i++) {
        if (strcmp(shipped[i], name) == 0)
            return "the server comes with a module of that name, which would be found instead";
    }
    if (is_one_of(name, commands))
        return "a command of grapnelctl is called so";
    if (is_one_of(name, macros))
        return "this is a word of C";
    return NULL;
}

/* --- the files --- */

/* Where this program's grapnel.pc lies: in the build folder, or in the prefix; the caller frees. */
static char *pc_dir(void)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *dir, *slash;

    self[n > 0 ? n : 0] = '\0';
    slash = strrchr(self, '/');
    if (slash == NULL)
        return gr_strdup("/usr/local/lib/pkgconfig");
    *slash = '\0';
    dir = gr_asprintf("%s/pkgconfig", self);
    if (access(dir, F_OK) == 0)
        return dir;
    gr_free(dir);
    slash = strrchr(self, '/');
    return gr_asprintf("%.*s/lib/pkgconfig", slash != NULL ? (int)(slash - self) : 0, self);
}

struct writer {
    const char *name, *folder, *pc;
};

/* `text` with every NAME and PCDIR replaced. */
static void replace(struct buf *out, const struct writer *w, const char *text)
{
    while (*text != '\0') {
        if (strncmp(text, "NAME", 4) == 0) {
            buf_puts(out, w->name);
            text += 4;
        } else if (strncmp(text, "PCDIR", 5) == 0) {
            buf_puts(out, w->pc);
            text += 5;
        } else {
            buf_append(out, text++, 1);
        }
    }
}

static int write_file(const struct writer *w, const char *file, const char *text)
{
    char *path = gr_asprintf("%s/%s", w->folder, file);
    FILE *f = fopen(path, "wx");
    struct buf out = { 0 };
    int rc = 0;

    replace(&out, w, text);
    if (f == NULL || fwrite(buf_data(&out), 1, buf_len(&out), f) != buf_len(&out))
        rc = ctl_fail(path, strerror(errno));
    if (f != NULL && fclose(f) != 0 && rc == 0)
        rc = ctl_fail(path, strerror(errno));
    buf_fini(&out);
    gr_free(path);
    return rc;
}

static void print_next(const char *name, const struct kind *kind)
{
    printf("next: cd mod_%s && make check && make install, then ", name);
    if (kind->required != NULL)
        printf("write a section [mod_%s] with `%s` to the\n"
               "configuration (mod_%s.md shows one) and say grapnelctl reload\n",
               name, kind->required, name);
    else
        printf("grapnelctl module load %s\n", name);
}

static int write_all(const char *name, const struct kind *kind)
{
    char *folder = gr_asprintf("mod_%s", name), *pc = pc_dir();
    char *module = gr_asprintf("mod_%s.c", name), *page = gr_asprintf("mod_%s.md", name);
    char *test = gr_asprintf("test_%s.c", name);
    const struct writer w = { name, folder, pc };
    int rc = 1;

    if (mkdir(folder, 0777) != 0)
        ctl_fail(folder, errno == EEXIST ? "is there already: choose another name, or remove it" :
                                           strerror(errno));
    else if (write_file(&w, module, kind->module) == 0 && write_file(&w, test, kind->test) == 0 &&
             write_file(&w, page, kind->page) == 0 &&
             write_file(&w, "Makefile", file_Makefile) == 0)
        rc = 0;
    if (rc == 0) {
        printf("%s/: %s %s Makefile %s\n", folder, module, test, page);
        print_next(name, kind);
    }
    gr_free(folder);
    gr_free(pc);
    gr_free(module);
    gr_free(page);
    gr_free(test);
    return rc;
}

/* --- the command line --- */

static const struct kind *kind_of(const char *option)
{
    for (size_t i = 0; i < GR_COUNT(kinds); i++) {
        if (strcmp(kinds[i].option, option) == 0)
            return &kinds[i];
    }
    return NULL;
}

int module_new(int argc, char **argv)
{
    const struct kind *kind = NULL;
    const char *name = NULL, *why;

    for (int i = 1; i < argc; i++) {
        bool option = argv[i][0] == '-';

        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (option && kind == NULL && (kind = kind_of(argv[i])) != NULL)
            continue;
        if (!option && name == NULL) {
            name = argv[i];
            continue;
        }
        fprintf(stderr, "grapnelctl: %s %s\n%s", option ? "unknown option" : "one name is enough:",
                argv[i], usage);
        return 2;
    }
    if (name == NULL || kind == NULL) {
        fputs(usage, stderr);
        return 2;
    }
    why = wrong_name(name);
    return why != NULL ? ctl_fail(name, why) : write_all(name, kind);
}

/* base/elf_look.c: what a module's file tells about how it will behave: whom it needs, what it
 * exports, what would run when it is loaded, what would keep it from being unloaded. From the
 * section headers, which a linker always writes; every offset is checked against the file's length,
 * as in elf.c. ELF gABI 4.1, chapters 4 and 5. */
#include "base/elf.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#define NAMES_MAX 5    /* of a list in one sentence */
#define EVERY_MODULE 8 /* bytes that the compiler's own start files put into a section */

struct look {
    const char *at;
    size_t len;
    Elf64_Ehdr eh;
    const struct elf_look *how;
    bool other_libraries; /* besides libc: what they offer is not looked at */
};
struct names {
    struct buf text;
    unsigned count;
};

/* --- reading --- */

static bool inside(const struct look *l, uint64_t offset, uint64_t size)
{
    return offset <= l->len && size <= l->len - offset;
}

static bool section(const struct look *l, unsigned i, Elf64_Shdr *sh)
{
    uint64_t at = l->eh.e_shoff + (uint64_t)i * sizeof(*sh);

    if (i >= l->eh.e_shnum || l->eh.e_shentsize != sizeof(*sh) || l->eh.e_shoff > l->len ||
        !inside(l, at, sizeof(*sh)))
        return false;
    memcpy(sh, l->at + at, sizeof(*sh));
    return sh->sh_type == SHT_NOBITS || inside(l, sh->sh_offset, sh->sh_size);
}

/* A text of a string table; "" when it is not whole. */
static const char *text(const struct look *l, unsigned table, uint64_t offset)
{
    Elf64_Shdr sh;

    if (!section(l, table, &sh) || sh.sh_type != SHT_STRTAB || offset >= sh.sh_size ||
        memchr(l->at + sh.sh_offset + offset, '\0', sh.sh_size - offset) == NULL)
        return "";
    return l->at + sh.sh_offset + offset;
}

static const char *section_name(const struct look *l, const Elf64_Shdr *sh)
{
    return text(l, l->eh.e_shstrndx, sh->sh_name);
}

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* --- saying --- */

static void say(const struct look *l, bool refused, const char *fmt, ...) GR_PRINTF(3, 4);

static void say(const struct look *l, bool refused, const char *fmt, ...)
{
    char sentence[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, ap);
    va_end(ap);
    l->how->say(l->how->ctx, refused, sentence);
}

static void names_add(struct names *n, const char *name)
{
    if (n->count++ < NAMES_MAX)
        buf_printf(&n->text, "%s%.60s", n->count > 1 ? ", " : "", name);
}

/* "a, b and 7 more"; borrowed until names_fini. */
static const char *names_text(struct names *n)
{
    if (n->count > NAMES_MAX)
        buf_printf(&n->text, " and %u more", n->count - NAMES_MAX);
    return buf_str(&n->text);
}

/* --- symbols --- */

static void look_at_undefined(const struct look *l, const Elf64_Sym *sym, const char *name)
{
    if (ELF64_ST_BIND(sym->st_info) == STB_WEAK || *name == '\0' ||
        l->how->has(l->how->ctx, name))
        return;
    if (begins(name, "gr_"))
        say(l, true, "needs %.60s, which this server does not have: build it again with this "
            "server's headers", name);
    else if (!l->other_libraries)
        say(l, true, "needs %.60s, which nobody offers: define it, or link the library that has it",
            name);
}

static void look_at_symbols(const struct look *l, const Elf64_Shdr *table)
{
    struct names exports = { 0 };
    bool descriptor = false;

    for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= table->sh_size; at += sizeof(Elf64_Sym)) {
        const char *name;
        Elf64_Sym sym;

        memcpy(&sym, l->at + table->sh_offset + at, sizeof(sym));
        name = text(l, table->sh_link, sym.st_name);
        if (sym.st_shndx == SHN_UNDEF)
            look_at_undefined(l, &sym, name);
        else if (strcmp(name, "gr_module_descriptor") == 0)
            descriptor = true;
        else if (ELF64_ST_BIND(sym.st_info) != STB_LOCAL)
            names_add(&exports, name);
    }
    if (!descriptor)
        say(l, true, "has no gr_module_descriptor: use GR_MODULE once");
    if (exports.count > 0)
        say(l, false, "exports %s: make it static, or build with -fvisibility=hidden",
            names_text(&exports));
    buf_fini(&exports.text);
}

/* --- data --- */

/* What the compiler's start files define. */
static bool is_compilers(const char *name)
{
    return begins(name, "__dso_handle") || begins(name, "completed.") || begins(name, "__TMC_");
}

/* Names of variables in that section, from the table that strip removes; false: there is none. */
static bool variables(const struct look *l, unsigned where, struct names *found)
{
    Elf64_Shdr table;
    unsigned i = 0;

    while (i < l->eh.e_shnum && !(section(l, i, &table) && table.sh_type == SHT_SYMTAB))
        i++;
    if (i == l->eh.e_shnum)
        return false;
    for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= table.sh_size; at += sizeof(Elf64_Sym)) {
        Elf64_Sym sym;

        memcpy(&sym, l->at + table.sh_offset + at, sizeof(sym));
        if (sym.st_shndx == where && ELF64_ST_TYPE(sym.st_info) == STT_OBJECT &&
            !is_compilers(text(l, table.sh_link, sym.st_name)))
            names_add(found, text(l, table.sh_link, sym.st_name));
    }
    return true;
}

static void look_at_data(const struct look *l, unsigned i, const Elf64_Shdr *sh)
{
    struct names found = { 0 };
    bool named = variables(l, i, &found);

    if (named ? found.count > 0 : sh->sh_size > EVERY_MODULE)
        say(l, false, "has static data that changes (%s%s%llu bytes in %s): event loops share it "
            "without a lock, and each version has its own; use the state", names_text(&found),
            found.count > 0 ? "; " : "", (unsigned long long)sh->sh_size, section_name(l, sh));
    buf_fini(&found.text);
}

/* --- sections and segments --- */

static void look_at_section(const struct look *l, unsigned i, const Elf64_Shdr *sh)
{
    const char *name = section_name(l, sh);
    unsigned long long functions = sh->sh_size / sizeof(Elf64_Addr);
    bool changes = (sh->sh_flags & SHF_ALLOC) != 0 && (sh->sh_flags & SHF_WRITE) != 0;

    if (sh->sh_type == SHT_DYNSYM)
        look_at_symbols(l, sh);
    else if (sh->sh_type == SHT_INIT_ARRAY && sh->sh_size > EVERY_MODULE)
        say(l, false, "has %llu constructors: they run wherever the file is loaded; use start",
            functions - 1);
    else if (sh->sh_type == SHT_FINI_ARRAY && sh->sh_size > EVERY_MODULE)
        say(l, false, "has %llu destructors: use stop", functions - 1);
    else if (changes && (sh->sh_flags & SHF_TLS) != 0)
        say(l, false, "has thread-local data: it could not be unloaded; use the state");
    else if (changes && (begins(name, ".bss") ||
                         (begins(name, ".data") && !begins(name, ".data.rel.ro"))))
        look_at_data(l, i, sh);
}

static void look_at_dynamic(struct look *l, const Elf64_Shdr *sh)
{
    for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= sh->sh_size; at += sizeof(Elf64_Dyn)) {
        Elf64_Dyn d;

        memcpy(&d, l->at + sh->sh_offset + at, sizeof(d));
        if (d.d_tag == DT_NEEDED && !begins(text(l, sh->sh_link, d.d_un.d_val), "libc.so"))
            l->other_libraries = true;
        if (d.d_tag == DT_TEXTREL || (d.d_tag == DT_FLAGS && (d.d_un.d_val & DF_TEXTREL) != 0))
            say(l, true, "changes its own code when it is loaded: build it with -fPIC");
    }
}

static void look_at_segments(const struct look *l)
{
    for (unsigned i = 0; i < l->eh.e_phnum; i++) {
        Elf64_Phdr ph;

        memcpy(&ph, l->at + l->eh.e_phoff + i * sizeof(ph), sizeof(ph)); /* elf_check has looked */
        if (ph.p_type == PT_GNU_STACK && (ph.p_flags & PF_X) != 0)
            say(l, true, "wants an executable stack: build it with -Wl,-z,noexecstack");
    }
}

void elf_look(const void *data, size_t len, const struct elf_look *how)
{
    struct look l = { .at = data, .len = len, .how = how };
    Elf64_Shdr sh;

    memcpy(&l.eh, data, sizeof(l.eh));
    look_at_segments(&l);
    if (l.eh.e_shnum == 0 || !section(&l, 0, &sh)) {
        say(&l, false, "has no section headers: what it needs cannot be looked at");
        return;
    }
    for (unsigned i = 0; i < l.eh.e_shnum; i++) {
        if (section(&l, i, &sh) && sh.sh_type == SHT_DYNAMIC)
            look_at_dynamic(&l, &sh);
    }
    for (unsigned i = 0; i < l.eh.e_shnum; i++) {
        if (section(&l, i, &sh))
            look_at_section(&l, i, &sh);
    }
}

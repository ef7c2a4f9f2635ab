/* base/elf.c: finds and judges the note that every module carries (grapnel/module.h, GR_NOTE), before
 * dlopen could run a constructor. Reads an untrusted file: every offset is checked against its length.
 * The loader maps what the program headers say, so those must lie inside the file as well: a truncated
 * one would otherwise end the server with SIGBUS. ELF gABI 4.1, chapters 4 and 5. */
#include "base/elf.h"

#include <elf.h>
#include <string.h>

#define PHDRS_MAX 128
#define NOTE_OWNER "Grapnel"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#elif defined(__riscv)
#define MACHINE EM_RISCV
#elif defined(__powerpc64__)
#define MACHINE EM_PPC64
#elif defined(__s390x__)
#define MACHINE EM_S390
#else
#define MACHINE EM_NONE
#endif
_Static_assert(MACHINE != EM_NONE, "add this machine's number");

struct bytes {
    const char *at;
    size_t len;
};

static bool inside(struct bytes b, uint64_t offset, uint64_t size)
{
    return offset <= b.len && size <= b.len - offset;
}

static int refuse(char **why, const char *sentence)
{
    *why = gr_strdup(sentence);
    return GR_EINVAL;
}

static int check_header(struct bytes file, Elf64_Ehdr *eh, char **why)
{
    const unsigned char native = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;

    if (file.len < sizeof(*eh) || memcmp(file.at, ELFMAG, SELFMAG) != 0)
        return refuse(why, "is not a shared object: build it as one (-shared)");
    memcpy(eh, file.at, sizeof(*eh));
    if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != native ||
        eh->e_machine != MACHINE)
        return refuse(why, "is for another kind of machine: rebuild it here");
    if (eh->e_type != ET_DYN)
        return refuse(why, "is not a shared object: build it as one (-shared)");
    if (eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phnum == 0 || eh->e_phnum > PHDRS_MAX ||
        !inside(file, eh->e_phoff, (uint64_t)eh->e_phnum * sizeof(Elf64_Phdr)))
        return refuse(why, "is damaged or incomplete: install it again");
    return 0;
}

static uint64_t round_up(uint64_t n, uint64_t align)
{
    return (n + align - 1) / align * align;
}

/* Our note's description within one segment of notes; false: not there. */
static bool find_note(struct bytes seg, uint64_t align, struct bytes *desc)
{
    uint64_t at = 0;

    while (inside(seg, at, sizeof(Elf64_Nhdr))) {
        Elf64_Nhdr nh;
        uint64_t name, text;

        memcpy(&nh, seg.at + at, sizeof(nh));
        name = at + sizeof(nh);
        if (!inside(seg, name, nh.n_namesz))
            return false;
        text = round_up(name + nh.n_namesz, align);
        if (!inside(seg, text, nh.n_descsz))
            return false;
        if (nh.n_type == 1 && nh.n_namesz == sizeof(NOTE_OWNER) &&
            memcmp(seg.at + name, NOTE_OWNER, sizeof(NOTE_OWNER)) == 0) {
            *desc = (struct bytes){ seg.at + text, nh.n_descsz };
            return true;
        }
        at = round_up(text + nh.n_descsz, align);
    }
    return false;
}

static bool terminated(const char *s, size_t size)
{
    return memchr(s, '\0', size) != NULL;
}

static int judge(struct bytes desc, const char *name, char **why)
{
    struct gr_note note = { 0 };
    const size_t size = sizeof(note.abi) + sizeof(note.tag) + sizeof(note.name);

    if (desc.len != size)
        return refuse(why, "is for another version of the module interface: rebuild it");
    memcpy(&note.abi, desc.at, sizeof(note.abi));
    memcpy(note.tag, desc.at + sizeof(note.abi), sizeof(note.tag));
    memcpy(note.name, desc.at + sizeof(note.abi) + sizeof(note.tag), sizeof(note.name));
    if (note.abi != GR_ABI_VERSION) {
        *why = gr_asprintf("is for version %u of the module interface, this server has %d: rebuild it",
                           note.abi, GR_ABI_VERSION);
        return GR_EINVAL;
    }
    if (!terminated(note.tag, sizeof(note.tag)) || !terminated(note.name, sizeof(note.name)))
        return refuse(why, "is damaged: rebuild it");
    if (strcmp(note.tag, GR_ABI_TAG) != 0)
        return refuse(why, "was built with the headers of another server: rebuild it");
    if (name != NULL && strcmp(note.name, name) != 0) {
        *why = gr_asprintf("says that it is mod_%.40s: rename the file", note.name);
        return GR_EINVAL;
    }
    return 0;
}

int elf_check(const void *data, size_t len, const char *name, char **why)
{
    struct bytes file = { data, len }, desc = { NULL, 0 };
    Elf64_Ehdr eh;
    bool found = false;
    int rc = check_header(file, &eh, why);

    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < eh.e_phnum; i++) {
        Elf64_Phdr ph;

        memcpy(&ph, file.at + eh.e_phoff + i * sizeof(ph), sizeof(ph));
        if (ph.p_type != PT_LOAD && ph.p_type != PT_DYNAMIC && ph.p_type != PT_NOTE)
            continue;
        if (!inside(file, ph.p_offset, ph.p_filesz))
            return refuse(why, "is damaged or incomplete: install it again");
        if (ph.p_type == PT_NOTE && !found)
            found = find_note((struct bytes){ file.at + ph.p_offset, ph.p_filesz },
                              ph.p_align == 8 ? 8 : 4, &desc);
    }
    if (!found)
        return refuse(why, "is not a module of this server: it has no GR_MODULE");
    return judge(desc, name, why);
}

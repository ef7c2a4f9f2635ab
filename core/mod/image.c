/* mod/image.c: loads and closes module files; see image.h. Main thread.
 *
 * The loader knows a library by the name it was opened with, so the copy's descriptor stays open while
 * the image is loaded: /proc/self/fd/N is then a name that no other loaded image has. */
#include "mod/image.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <grapnel/log.h>

#include "base/elf.h"
#include "base/list.h"
#include "base/table.h"
#include "mod/trial.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U /* Linux 6.3 */
#endif

struct image {
    struct link link;
    unsigned refs;
    char *name, *path;
    size_t size;
    uint64_t hash;      /* of the contents */
    uint64_t mark;      /* the same for trial.h, which other processes read */
    int fd;
    void *dl;
    const struct gr_module *desc;
    bool proven;        /* it has been in force */
};

static struct link images = { &images, &images };

/* --- the private copy --- */

static int anonymous_file(const char *name)
{
    const char *tmp = getenv("TMPDIR");
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_EXEC);

    if (fd < 0)
        fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        fd = open(tmp != NULL ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0500);
    return fd;
}

static int write_all(int fd, const struct module_file *c)
{
    size_t put = 0;

    while (put < c->len) {
        ssize_t n = write(fd, c->data + put, c->len - put);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return GR_EIO;
        put += (size_t)n;
    }
    return 0;
}

static void fd_name(char name[32], int fd)
{
    snprintf(name, 32, "/proc/self/fd/%d", fd);
}

/* The loader's own words without the name that only we know. */
static char *loader_error(void)
{
    const char *e = dlerror();

    if (e == NULL)
        e = "no reason given";
    if (strncmp(e, "/proc/self/fd/", 14) == 0 && strstr(e, ": ") != NULL)
        e = strstr(e, ": ") + 2;
    return gr_asprintf("cannot be loaded (%s): rebuild it", e);
}

/* --- crashes --- */

bool image_crashed(const char *path)
{
    struct module_file c = { NULL, 0 };
    char *why = NULL;
    uint64_t known, hash;
    unsigned nth = 0;
    bool yes = false;

    if (!trial_crashed(path, &nth, &known) || module_file_read(&c, path, &why) != 0) {
        gr_free(why);
        return false;
    }
    hash = trial_hash(c.data, c.len);
    do
        yes = known == hash;
    while (!yes && trial_crashed(path, &nth, &known));
    module_file_fini(&c);
    return yes;
}

void image_enter(const struct image *img)
{
    if (img != NULL && !img->proven)
        trial_run(img->path, img->mark);
}

void image_leave(const struct image *img)
{
    if (img != NULL && !img->proven)
        trial_rest();
}

void image_trials_over(bool good)
{
    list_each (img, &images, struct image, link)
        img->proven = img->proven || good;
    trial_over();
}

/* --- loading --- */

static void unload(struct image *img)
{
    const char *keep = getenv("GR_KEEP_IMAGES");
    char name[32];
    void *still;

    if (img->dl != NULL && keep != NULL && strcmp(keep, "1") == 0)
        return;
    fd_name(name, img->fd);
    if (img->dl != NULL)
        dlclose(img->dl);
    still = img->dl != NULL ? dlopen(name, RTLD_NOLOAD | RTLD_LAZY) : NULL;
    if (still == NULL) {
        close(img->fd);
        return;
    }
    dlclose(still); /* it refuses to go: the name stays taken */
    gr_warn("mod.resident", "mod_%s cannot be unloaded (thread-locals, constructors?)", img->name);
}

static void image_free(struct image *img)
{
    list_remove(&img->link);
    if (img->fd >= 0)
        unload(img);
    gr_free(img->name);
    gr_free(img->path);
    gr_free(img);
}

static int load(struct image *img, const struct module_file *c, char **why)
{
    char name[32], file[64];

    snprintf(file, sizeof(file), "mod_%.40s.so", img->name);
    img->fd = anonymous_file(file);
    if (img->fd < 0 || write_all(img->fd, c) != 0) {
        *why = gr_asprintf("cannot be copied: %s", strerror(errno));
        return GR_EIO;
    }
    fd_name(name, img->fd);
    image_enter(img);
    img->dl = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    image_leave(img);
    if (img->dl == NULL) {
        *why = loader_error();
        return GR_EINVAL;
    }
    img->desc = dlsym(img->dl, "gr_module_descriptor");
    *why = img->desc != NULL ? image_check_desc(img->desc, img->name) :
                               gr_strdup("is not a module of this server: it has no GR_MODULE");
    return *why == NULL ? 0 : GR_EINVAL;
}

static struct image *find_loaded(const char *name, const struct module_file *c, uint64_t hash)
{
    list_each (img, &images, struct image, link) {
        if (img->hash == hash && img->size == c->len && strcmp(img->name, name) == 0)
            return img;
    }
    return NULL;
}

static struct image *load_new(const char *path, const char *name, const struct module_file *c,
                              uint64_t hash, char **why)
{
    struct image *img;

    if (elf_check(c->data, c->len, name, why) != 0)
        return NULL;
    img = gr_alloc(sizeof(*img));
    img->refs = 1;
    img->fd = -1;
    img->size = c->len;
    img->hash = hash;
    img->mark = trial_hash(c->data, c->len);
    img->name = gr_strdup(name);
    img->path = gr_strdup(path);
    list_append(&images, &img->link);
    if (load(img, c, why) == 0)
        return img;
    image_free(img);
    return NULL;
}

struct image *image_open(const char *path, const char *name, char **why)
{
    struct module_file c = { NULL, 0 };
    struct image *img;
    uint64_t hash;

    *why = NULL;
    if (module_file_read(&c, path, why) != 0)
        return NULL;
    hash = hash_bytes(c.data, c.len);
    img = find_loaded(name, &c, hash);
    if (img != NULL)
        img->refs++;
    else
        img = load_new(path, name, &c, hash, why);
    module_file_fini(&c);
    return img;
}

struct image *image_ref(struct image *img)
{
    if (img != NULL)
        img->refs++;
    return img;
}

void image_unref(struct image **take)
{
    struct image *img = *take;

    *take = NULL;
    if (img != NULL && --img->refs == 0)
        image_free(img);
}

const struct gr_module *image_desc(const struct image *img)
{
    return img->desc;
}

const char *image_path(const struct image *img)
{
    return img->path;
}

bool image_outdated(const struct image *img)
{
    struct module_file now = { NULL, 0 };
    char *why = NULL;
    bool other = module_file_read(&now, img->path, &why) == 0 &&
                 (now.len != img->size || hash_bytes(now.data, now.len) != img->hash);

    module_file_fini(&now);
    gr_free(why);
    return other;
}

size_t image_count(void)
{
    size_t n = 0;

    for (const struct link *l = images.next; l != &images; l = l->next)
        n++;
    return n;
}

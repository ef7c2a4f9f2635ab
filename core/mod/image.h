/* mod/image.h: the file of a module, checked and loaded. Main thread.
 *
 * A file is read once into a private copy (a memory file), and that copy is what is checked and what is
 * loaded: writing to the file or replacing it later changes nothing, and the same path with new contents
 * gives new code, which dlopen of the path would not (deps.md 6). Before any code of it can run, the ELF
 * note of grapnel/module.h must say that it fits. */
#pragma once

#include <grapnel/module.h>

struct image;

/* Loads `path` as mod_`name`, or gives another reference to the image with the same contents. NULL with
 * one sentence in *why (caller frees). */
struct image *image_open(const char *path, const char *name, char **why);
struct image *image_ref(struct image *img);
/* Closes with the last reference, unless GR_KEEP_IMAGES=1 is in the environment; accepts NULL. */
void image_unref(struct image **take);
const struct gr_module *image_desc(const struct image *img);
const char *image_path(const struct image *img);
bool image_outdated(const struct image *img); /* its file has other contents by now */
/* The server has crashed while it loaded this file, with the contents it has now (trial.h). */
bool image_crashed(const char *path);
/* Around calls into code that may crash: trial.h. NULL, and images that have been loaded once: nothing.
 * Also on a loop that the main thread waits for. */
void image_enter(const struct image *img);
void image_leave(const struct image *img);
/* A load has ended; `good`: every loaded image works from here on. */
void image_trials_over(bool good);
/* Loaded ones, for tests and metrics. */
size_t image_count(void);

/* A descriptor that the core can work with: NULL, or what is wrong with it (caller frees). */
char *image_check_desc(const struct gr_module *desc, const char *name);

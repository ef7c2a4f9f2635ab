/* tests/fuzz/replay.c: runs one fuzz target over files, built by the ordinary compiler.
 *
 * Linked with a fuzz_x.c in place of libFuzzer: `replay_x FILE-OR-FOLDER...` gives each file to the
 * target once and prints TAP. A finding ends the process as it would end the fuzzer; the last
 * "# NAME" line says with which input. */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static char **files;
static size_t n_files;

static void *must(void *p)
{
    if (!p) {
        perror("replay");
        exit(2);
    }
    return p;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        exit(2);
    }
    if (!S_ISDIR(st.st_mode)) {
        files = must(realloc(files, (n_files + 1) * sizeof(*files)));
        files[n_files++] = must(strdup(path));
        return;
    }
    DIR *dir = must(opendir(path));
    struct dirent *e;
    char sub[4096];

    while ((e = readdir(dir))) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
        add(sub);
    }
    closedir(dir);
}

/* The input lies in memory of exactly its size, so that a sanitizer sees a read past its end. */
static void run(const char *path)
{
    FILE *f = must(fopen(path, "rb"));
    uint8_t *data = NULL;
    size_t len = 0, got;
    uint8_t part[65536];

    while ((got = fread(part, 1, sizeof(part), f)) > 0) {
        data = must(realloc(data, len + got));
        memcpy(data + len, part, got);
        len += got;
    }
    fclose(f);
    if (!data)
        data = must(malloc(1));
    LLVMFuzzerTestOneInput(data, len);
    free(data);
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        add(argv[i]);
    if (n_files == 0) {
        fprintf(stderr, "usage: %s FILE-OR-FOLDER... (none of them held a file)\n", argv[0]);
        return 2;
    }
    qsort(files, n_files, sizeof(*files), by_name);

    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("1..%zu\n", n_files);
    for (size_t i = 0; i < n_files; i++) {
        const char *slash = strrchr(files[i], '/');
        const char *name = slash ? slash + 1 : files[i];

        printf("# %s\n", name);
        run(files[i]);
        printf("ok %zu - %s\n", i + 1, name);
        free(files[i]);
    }
    free(files);
    return 0;
}

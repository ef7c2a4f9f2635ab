/* tests/mod/harness_main.c: programs of tests without a framework, and commands. */
#include "harness_priv.h"

#include <setjmp.h>
#include <stdio.h>

#include "command.h"

/* --- commands --- */

#define WORDS_MAX 32

/* Rows as command.h has them, as lines of text. */
static void print_rows(struct buf *out, const struct buf *rows)
{
    const char *p = buf_data(rows), *end = p + buf_len(rows);
    bool first = true;

    for (; p < end; p += strlen(p) + 1) {
        if (strcmp(p, "row") == 0) {
            buf_puts(out, buf_len(out) > 0 ? "\n" : "");
            first = true;
            continue;
        }
        buf_printf(out, "%s%s", first ? "" : " ", p + 2); /* without "s:" */
        first = false;
    }
}

static void on_result(void *arg, const char *error, const struct buf *result)
{
    struct h *h = arg;
    struct buf text = { 0 };

    if (error != NULL)
        buf_printf(&text, "error: %s", error);
    else
        print_rows(&text, result);
    h->answer = gr_strdup(buf_str(&text));
    buf_fini(&text);
}

const char *h_command(struct h *h, const char *line)
{
    char *copy = gr_strdup(line), *rest = copy, *word;
    const char *words[WORDS_MAX];
    size_t count = 0;

    while (count < WORDS_MAX && (word = strtok_r(rest, " ", &rest)) != NULL)
        words[count++] = word;
    gr_free(h->answer);
    h->answer = NULL;
    struct loop *before = loop_self();
    loop_enter(loop_main());
    command_run(words, count, on_result, h);
    loop_enter(before);
    h_run(h);
    gr_free(copy);
    if (h->answer == NULL)
        h_fail("the command \"%s\" is not finished", line);
    return h->answer;
}

/* --- h_main --- */

static jmp_buf failed;

static void on_fail(const char *text)
{
    while (*text != '\0') {
        int len = (int)strcspn(text, "\n");

        printf("# %.*s\n", len, text);
        text += len + (text[len] == '\n');
    }
    longjmp(failed, 1);
}

static bool passes(const struct h_test *test)
{
    if (setjmp(failed) != 0)
        return false;
    test->run();
    return true;
}

int h_main(const struct h_test *tests, size_t count)
{
    const char *only = getenv("GRAPNEL_TEST_LOOPS");
    int loops[] = { only != NULL ? atoi(only) : 1, 4 }, n = 0, lost = 0;
    size_t rounds = only != NULL ? 1 : GR_COUNT(loops);

    h_on_fail(on_fail);
    printf("1..%zu\n", rounds * count);
    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < count; i++) {
            h_set_loops(loops[r]);
            bool ok = passes(&tests[i]);
            lost += !ok;
            printf("%sok %d - %s (loops: %d)\n", ok ? "" : "not ", ++n, tests[i].name, loops[r]);
            fflush(stdout);
        }
    }
    h_stop_leftover();
    return lost > 0 ? 1 : 0;
}

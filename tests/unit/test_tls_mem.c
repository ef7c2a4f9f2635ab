/* net/tls_mem: blocks for TLS records are kept per thread, a few, and not beyond the thread. */
#include "net/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/crypto.h>
#include <pthread.h>

#define RECORD 16600

static void test_reused(void **state)
{
    char *p = OPENSSL_malloc(RECORD);

    (void)state;
    assert_non_null(p);
    OPENSSL_free(p);
    for (int i = 0; i < 3; i++) { /* read and write buffers differ a little in size */
        char *q = OPENSSL_malloc(RECORD + (size_t)i * 100);

        assert_ptr_equal(q, p);
        memset(q, 'x', RECORD + (size_t)i * 100);
        OPENSSL_free(q);
    }
}

static void test_bound(void **state)
{
    char *p[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        p[i] = OPENSSL_malloc(RECORD);
    for (int i = 0; i < 3; i++)
        OPENSSL_free(p[i]); /* the third goes back to malloc */
    char *first = OPENSSL_malloc(RECORD), *second = OPENSSL_malloc(RECORD);

    assert_ptr_equal(first, p[1]);
    assert_ptr_equal(second, p[0]);
    OPENSSL_free(first);
    OPENSSL_free(second);
}

static void test_other_sizes(void **state)
{
    static const size_t sizes[] = { 1, 1000, 16384, 16385, 17408, 17409, 100000 };
    char *p;

    (void)state;
    assert_null(OPENSSL_malloc(0));
    OPENSSL_free(NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        p = OPENSSL_malloc(sizes[i]);
        assert_non_null(p);
        memset(p, 'x', sizes[i]);
        p = OPENSSL_realloc(p, sizes[i] + RECORD); /* out of the kept size, or into it */
        assert_non_null(p);
        assert_int_equal(p[sizes[i] - 1], 'x');
        memset(p, 'y', sizes[i] + RECORD);
        OPENSSL_free(p);
    }
    p = OPENSSL_realloc(NULL, RECORD);
    assert_non_null(p);
    OPENSSL_free(p);
}

/* That its blocks are freed is what the leak sanitizer sees. */
static void *use(void *arg)
{
    char *p[2];

    (void)arg;
    for (int i = 0; i < 2; i++)
        p[i] = OPENSSL_malloc(RECORD);
    for (int i = 0; i < 2; i++)
        OPENSSL_free(p[i]);
    return NULL;
}

static void test_thread_end(void **state)
{
    pthread_t t[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, use, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reused),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_other_sizes),
        cmocka_unit_test(test_thread_end),
    };

    if (!tls_keep_buffers())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

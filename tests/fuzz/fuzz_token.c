/* Fuzz target: what stands in the place of a password when it looks like a token
 * (core/stream/token.c).
 *
 * Beyond not crashing: the token is what is behind the marker; a time that was read is written the
 * same way, and nothing but the very token made for an address, time and key is equal to it. */
#include "fuzz.h"

#include "stream/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char key[] = "0123456789abcdef";
    char *text = gr_strndup((const char *)data, size), own[GR_TOKEN_SIZE];
    const char *token = token_in_password(text);
    int64_t t;

    if (token != NULL)
        gr_assert(token > text + 2 && token[-1] == '/' && token <= text + strlen(text));
    t = token_time(token != NULL ? token : text);
    if (t >= 0) {
        size_t len = token_text(own, key, sizeof(key) - 1, "juliet@localhost", t);
        gr_assert(len == strlen(own) && token_time(own) == t && token_in_password(own) == NULL);
    }
    gr_free(text);
    return 0;
}

/* mod_register/rules.c: what names and passwords of new accounts must look like. */
#include <string.h>
#include <strings.h>

#include "register.h"

const char *field(const struct gr_el *query, const char *name)
{
    const struct gr_el *el = gr_el_child(query, NS_REGISTER, name);

    return el != NULL ? gr_el_text(el, NULL) : NULL;
}

const char *rule_name(const struct register_conf *conf, const char *node)
{
    for (const char *const *b = conf->blocked; b != NULL && *b != NULL; b++) {
        if (strcasecmp(*b, node) == 0)
            return "this name is reserved";
    }
    return NULL;
}

/* Code points; the text is valid UTF-8. */
static int64_t characters(const char *s)
{
    int64_t n = 0;

    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

const char *rule_password(const struct register_conf *conf, const char *node, const char *password)
{
    if (characters(password) < conf->min_password)
        return "the password is too short";
    if (strlen(password) > GR_JID_PART_MAX)
        return "the password is too long";
    if (strcasecmp(node, password) == 0)
        return "name and password are the same";
    return NULL;
}

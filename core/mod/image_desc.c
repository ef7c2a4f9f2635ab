/* mod/image_desc.c: whether a module's tables can be worked with, before anything uses them. What a
 * compiler accepts may still be half empty. Pure. */
#include <string.h>

#include "conf/schema.h"
#include "mod/hook.h"
#include "mod/image.h"

#define IQ_NAME_MAX 250 /* of a namespace or name, as iq_table.c keeps them */

static char *check_head(const struct gr_module *d, const char *name)
{
    if (d->name == NULL || d->abi_tag == NULL)
        return gr_strdup("is not a module of this server: it has no GR_MODULE");
    if (strcmp(d->name, name) != 0)
        return gr_asprintf("says that it is mod_%.40s: rename the file", d->name);
    if (d->abi != GR_ABI_VERSION || strcmp(d->abi_tag, GR_ABI_TAG) != 0)
        return gr_strdup("was built with the headers of another server: rebuild it");
    if (d->options != NULL && d->conf_size == 0)
        return gr_strdup("has options and no conf_size: set it in GR_MODULE");
    if (d->conf_size > 1 << 20 || d->state_size > 16 << 20)
        return gr_strdup("asks for more than 1 MiB of configuration or 16 MiB of state");
    return NULL;
}

static char *check_hooks(const struct gr_hook *hook)
{
    for (; hook != NULL && hook->prio != 0; hook++) {
        void (*fn)(void);

        if ((unsigned)hook->id > GR_HOOK_COUNT || (hook->id == GR_HOOK_COUNT) != (hook->custom != NULL))
            return gr_strdup("names a hook that does not exist: rebuild it");
        memcpy(&fn, &hook->fn, sizeof(fn));
        if (hook->prio < 0 || fn == NULL)
            return gr_asprintf("has a handler of %s without function or with a priority below 1",
                               hook->custom != NULL ? hook->custom : hook_name(hook->id));
    }
    return NULL;
}

static char *check_iqs(const struct gr_iq *first)
{
    for (const struct gr_iq *iq = first; iq != NULL && iq->where != 0; iq++) {
        if (iq->ns == NULL || iq->handle == NULL || strlen(iq->ns) > IQ_NAME_MAX ||
            (iq->name != NULL && strlen(iq->name) > IQ_NAME_MAX) ||
            (iq->types & (GR_IQ_GET | GR_IQ_SET)) == 0 ||
            (iq->where & (GR_TO_HOST | GR_TO_ACCOUNT)) == 0)
            return gr_asprintf("has an incomplete entry in its table of iqs, number %td",
                               iq - first + 1);
    }
    return NULL;
}

static char *check_collections(const struct gr_coll *coll)
{
    for (; coll != NULL && coll->name != NULL; coll++) {
        if (coll->kind != GR_COLL_MAP && coll->kind != GR_COLL_LOG)
            return gr_asprintf("has a collection %s of no kind", coll->name);
    }
    return NULL;
}

static char *check_options(const struct gr_module *d)
{
    struct conf_errors errs = { 0 };
    char *why = NULL;

    if (d->options != NULL)
        schema_check(d->options, d->name, &errs);
    if (errs.count > 0)
        why = gr_asprintf("has a wrong table of options: %s", errs.items[0].text);
    conf_errors_fini(&errs);
    return why;
}

char *image_check_desc(const struct gr_module *d, const char *name)
{
    char *why = check_head(d, name);

    if (why == NULL)
        why = check_hooks(d->hooks);
    if (why == NULL)
        why = check_iqs(d->iqs);
    if (why == NULL)
        why = check_collections(d->collections);
    if (why == NULL)
        why = check_options(d);
    return why;
}

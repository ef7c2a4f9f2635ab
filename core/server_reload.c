/* server_reload.c: goes over to another configuration, or leaves everything as it is. Everything
 * that can fail comes first. */
#include "server_priv.h"

#include "base/log.h"
#include "conf/overlay.h"
#include "mod/reload.h"
#include "net/tls.h"
#include "ports.h"
#include "server.h"

#include <string.h>

static struct overlay by_hand; /* modules loaded and unloaded with grapnelctl */

const struct overlay *server_overlay(void)
{
    return &by_hand;
}

void server_reload_fini(void)
{
    overlay_fini(&by_hand);
}

/* NULL, or why nothing was changed (caller frees). */
static char *reload(struct overlay *overlay, char **report)
{
    struct conf *conf;
    struct tls_ctx *tls;
    struct link fresh;
    char *errors = NULL;

    *report = NULL;
    if (server_load_conf(server_config(), &conf, &errors) != 0)
        return errors;
    overlay_apply(overlay, conf);
    if (server_load_tls(conf, &tls, &errors) != 0 || ports_open(conf, &fresh, &errors) != 0) {
        char *of_modules = NULL;
        mod_check_conf(conf, &of_modules);
        tls_ctx_unref(&tls);
        conf_free(&conf);
        return of_modules != NULL ? server_join_lines(errors, of_modules) : errors;
    }
    if (mod_reload(conf, &errors) != 0) {
        ports_drop(&fresh);
        tls_ctx_unref(&tls);
        conf_free(&conf);
        return errors != NULL ? errors : gr_strdup("reload failed");
    }
    server_use_tls(tls);
    ports_use(mod_current(), &fresh);
    log_set_level((enum gr_log_level)mod_current()->server.log_level);
    *report = errors != NULL ? errors : gr_strdup("");
    return NULL;
}

static void log_lines(enum gr_log_level level, const char *id, const char *text)
{
    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, "\n");
        if (len > 0)
            gr_log(level, id, "%.*s", (int)len, text);
        text += len + (text[len] == '\n');
    }
}

char *server_reload(struct overlay *take, char **report)
{
    struct overlay next = take != NULL ? *take : overlay_copy(&by_hand);
    char *error;

    if (take != NULL)
        *take = (struct overlay){ NULL, 0 };
    *report = NULL;
    error = server_busy() != NULL ? gr_strdup(server_busy()) : reload(&next, report);
    if (error != NULL) {
        overlay_fini(&next);
        log_lines(GR_LOG_ERROR, "reload.refused", error);
        return error;
    }
    overlay_fini(&by_hand);
    by_hand = next;
    gr_info("reload.done", "configuration and modules reloaded");
    log_lines(GR_LOG_INFO, "reload.change", *report);
    return NULL;
}

/* mod_version: the server's name and version (XEP-0092). The operating system is told only when the
 * admin wants that (XEP-0092, 5). */
#include <sys/utsname.h>

#include <grapnel/module.h>

#define NS_VERSION "jabber:iq:version"

struct version_conf {
    bool show_os;
};

static const struct gr_opt options[] = {
    GR_OPT_BOOL(struct version_conf, show_os, false, "tell the name of the operating system"),
    GR_OPT_END
};

static void on_query(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct version_conf *conf = gr_conf(self);
    struct gr_stanza *result = gr_iq_result(ev->stanza);
    struct gr_el *query = gr_el_add(result, NULL, NS_VERSION, "query");
    struct utsname os;

    gr_el_add_text(result, query, NULL, "name", "Grapnel");
    gr_el_add_text(result, query, NULL, "version", GR_VERSION_TEXT);
    if (conf->show_os && uname(&os) == 0)
        gr_el_add_text(result, query, NULL, "os", os.sysname);
    gr_iq_reply(ev->req, result);
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS_VERSION, "query", on_query),
    GR_IQ_END
};

GR_MODULE(version,
    .summary = "tells the server's name and version (XEP-0092)",
    .conf_size = sizeof(struct version_conf), .options = options, .iqs = iqs);

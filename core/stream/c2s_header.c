/* stream/c2s_header.c: stream headers, theirs and ours (RFC 6120, 4.7 to 4.9). */
#include "stream/sasl2.h"
#include "xml/write.h"

#include <string.h>

static const char *host_of(const struct c2s *c)
{
    if (c->session != NULL && c->session->host != NULL)
        return gr_host_name(c->session->host);
    return gr_host_name(host_default());
}

void c2s_write_header(struct c2s *c, const struct xml_header *h)
{
    struct buf *out = conn_out(c->conn);
    char id[GR_ID_SIZE];

    gr_random_id(id);
    buf_printf(out, "<?xml version='1.0'?><stream:stream xmlns='" GR_NS_CLIENT
               "' xmlns:stream='" GR_NS_STREAM "' id='%s' from='", id);
    xml_escape_attr(out, host_of(c), strlen(host_of(c)));
    if (h != NULL && h->from != NULL) { /* RFC 6120, 4.7.2 */
        buf_puts(out, "' to='");
        xml_escape_attr(out, h->from->bare, h->from->bare_len);
    }
    buf_puts(out, "' version='1.0' xml:lang='en'>");
    conn_wrote(c->conn);
    c->header_sent = true;
}

/* Major version 1; a number, not a string: "01.0" and "1.13" are as good (RFC 6120, 4.7.5). */
static bool is_version_1(const char *v)
{
    while (v != NULL && *v == '0')
        v++;
    return v != NULL && v[0] == '1' && v[1] == '.';
}

/* Which stream error a header deserves, or NULL (RFC 6120, 4.7 to 4.9). */
static const char *judge_header(struct c2s *c, const struct xml_header *h)
{
    if (strcmp(h->ns, GR_NS_STREAM) != 0)
        return "invalid-namespace";
    if (strcmp(h->name, "stream") != 0)
        return "bad-format";
    if (strcmp(h->content_ns, GR_NS_CLIENT) != 0)
        return "invalid-namespace";
    if (h->to == NULL)
        return h->to_raw == NULL ? "improper-addressing" : "host-unknown";
    struct gr_host *host = gr_jid_is_domain(h->to) ? host_find(h->to->domain) : NULL;
    if (host == NULL)
        return "host-unknown";
    if (c->session->jid != NULL && host != c->session->host)
        return "not-authorized"; /* authenticated elsewhere: RFC 6120, 4.3.5 */
    c->session->host = host;
    if (c->session->jid == NULL && h->from != NULL && sasl2_offered(c) &&
        strcmp(h->from->domain, h->to->domain) != 0)
        return "invalid-from"; /* XEP-0388, 2.1 */
    if (!is_version_1(h->version))
        return "unsupported-version";
    return NULL;
}

int c2s_open(void *ctx, const struct xml_header *h)
{
    struct c2s *c = ctx;
    const char *error = judge_header(c, h);

    c2s_write_header(c, h);
    if (error != NULL) {
        c2s_error(c, error, NULL);
        return 1;
    }
    if (c->login->from == NULL && h->from != NULL)
        c->login->from = gr_jid_dup_bare(h->from);
    if (h->lang != NULL && c->session->lang == NULL)
        c->session->lang = gr_strdup(h->lang);
    c->state = c->session->jid != NULL ? C2S_BIND : C2S_FEATURES;
    c2s_features(c);
    return 0;
}

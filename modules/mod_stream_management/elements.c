/* mod_stream_management/elements.c: <enable/>, <r/>, <a/> and their mistakes (XEP-0198, 3, 4, 6). */
#include "sm.h"

#include <stdlib.h>
#include <string.h>

#define ID_BYTES 24

void hash_of(const char *id, uint8_t out[HASH_SIZE])
{
    gr_sha256(out, id, strlen(id));
}

/* xs:unsignedInt */
bool attr_u32(const struct gr_el *el, const char *name, uint32_t *out)
{
    const char *text = gr_el_attr(el, name);
    unsigned long long v;
    char *end;

    if (text == NULL || *text < '0' || *text > '9')
        return false;
    v = strtoull(text, &end, 10);
    if (*end != '\0' || end - text > 10 || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

struct gr_stanza *failure(enum gr_cond cond, const uint32_t *h)
{
    struct gr_stanza *st = gr_nonza_new(NS_SM, "failed");

    if (h != NULL)
        gr_el_set_int(st, gr_stanza_root(st), "h", *h);
    gr_el_add(st, NULL, GR_NS_STANZAS, gr_cond_name(cond));
    return st;
}

void failed(struct gr_mod *self, struct gr_session *s, enum gr_cond cond, const uint32_t *h)
{
    gr_session_write(self, s, failure(cond, h));
}

/* XEP-0198, 6, example 17. */
void too_high(struct gr_mod *self, struct gr_session *s, uint32_t h, uint32_t sent)
{
    struct gr_stanza *st = gr_nonza_new(GR_NS_STREAM, "error");
    char *text = gr_asprintf("You acknowledged %u stanzas, but I only sent you %u so far.", h, sent);
    struct gr_el *el;

    gr_el_add(st, NULL, GR_NS_STREAMS, "undefined-condition");
    el = gr_el_add_text(st, NULL, GR_NS_STREAMS, "text", text);
    gr_el_set(st, el, "xml:lang", "en");
    el = gr_el_add(st, NULL, NS_SM, "handled-count-too-high");
    gr_el_set_int(st, el, "h", h);
    gr_el_set_int(st, el, "send-count", sent);
    gr_free(text);
    gr_session_write(self, s, st);
    gr_session_close(self, s, NULL, NULL, true);
}

/* --- <enable/> --- */

static bool attr_true(const struct gr_el *el, const char *name)
{
    const char *v = gr_el_attr(el, name);

    return v != NULL && (strcmp(v, "true") == 0 || strcmp(v, "1") == 0);
}

/* The shorter of what the client would like and what the server allows. */
static int64_t timeout_of(const struct sm_conf *conf, const struct gr_el *enable)
{
    uint32_t max;

    if (!attr_true(enable, "resume"))
        return 0;
    if (attr_u32(enable, "max", &max) && max > 0 && max * GR_SECOND < conf->resume_timeout)
        return max * GR_SECOND;
    return conf->resume_timeout;
}

static struct gr_stanza *enabled(const struct sm_conf *conf, struct sm *sm)
{
    struct gr_stanza *st = gr_nonza_new(NS_SM, "enabled");
    struct gr_el *root = gr_stanza_root(st);
    char id[4 * ((ID_BYTES + 2) / 3) + 1];
    uint8_t bytes[ID_BYTES];

    if (sm->timeout_ms > 0) {
        gr_random(bytes, sizeof(bytes));
        gr_base64_encode(id, bytes, sizeof(bytes));
        hash_of(id, sm->hash);
        gr_el_set(st, root, "id", id);
        gr_el_set(st, root, "resume", "true");
        gr_el_set_int(st, root, "max", sm->timeout_ms / GR_SECOND);
        if (conf->location != NULL)
            gr_el_set(st, root, "location", conf->location);
    } else {
        gr_random(sm->hash, HASH_SIZE); /* only names the rows */
    }
    return st;
}

/* The answer is for the caller to send; with it counting begins. */
struct gr_stanza *enable(struct gr_mod *self, struct gr_session *s, const struct gr_el *request)
{
    struct sm *sm = gr_session_slot(self, s, &sm_slot);

    sm->session = gr_session_id(s);
    sm->timeout_ms = timeout_of(gr_conf(self), request);
    sm->image_dirty = true;
    return enabled(gr_conf(self), sm);
}

static enum gr_verdict on_enable(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_session *s = ev->session;

    if (sm_of(self, s) == NULL)
        return enable_alone(self, ev);
    failed(self, s, GR_UNEXPECTED_REQUEST, NULL); /* XEP-0198, 3, example 6 */
    gr_session_close(self, s, "policy-violation", "<enable/> was sent before", true);
    return GR_STOP;
}

/* --- <r/>, <a/> --- */

static void write_a(struct gr_mod *self, struct gr_session *s, struct sm *sm, uint32_t h)
{
    struct gr_stanza *st = gr_nonza_new(NS_SM, "a");

    sm->told = h;
    gr_el_set_int(st, gr_stanza_root(st), "h", h);
    gr_session_write(self, s, st);
}

/* A session that can be resumed must not be told more than the next process would say. */
static uint32_t tellable(const struct gr_session *s, const struct sm *sm)
{
    return sm->timeout_ms > 0 ? sm->durable : gr_session_handled(s);
}

void tell_h(struct gr_mod *self, struct gr_session *s, struct sm *sm)
{
    uint32_t h = tellable(s, sm);

    if (!sm->wants || sm->gone || h == sm->told)
        return;
    sm->wants = (int32_t)(h - sm->wanted) < 0;
    write_a(self, s, sm, h);
}

/* <r/>: at once with what is on disk; the rest follows unasked when it is, too. */
static void answer(struct gr_mod *self, struct gr_session *s, struct sm *sm)
{
    write_a(self, s, sm, tellable(s, sm));
    sm->wanted = gr_session_received(s);
    sm->wants = sm->told != sm->wanted;
    if (sm->wants && journal_has_news(s, sm))
        journal_touch(self, sm, true);
}

static void acknowledge(struct gr_mod *self, struct gr_session *s, struct sm *sm,
                        const struct gr_el *a)
{
    enum ack ack;
    uint32_t h;

    if (!attr_u32(a, "h", &h)) {
        gr_session_close(self, s, "invalid-xml", "<a/> without a count", true);
        return;
    }
    ack = queue_judge(sm, h);
    if (ack == ACK_TOO_HIGH) {
        too_high(self, s, h, queue_sent_count(sm));
        return;
    }
    sm->asked = false; /* the next stanza asks again, or the next look at the journal */
    if (ack != ACK_MORE)
        return;
    queue_acked(sm, h);
    if (sm->disk_from < sm->disk_to)
        journal_touch(self, sm, false);
}

enum gr_verdict on_element(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct gr_el *el = gr_stanza_root(ev->stanza);
    struct gr_session *s = ev->session;
    bool bound = gr_session_state(s) == GR_S_BOUND;
    struct sm *sm = bound ? sm_of(self, s) : NULL;

    if (!gr_el_is(el, NS_SM, NULL) || gr_session_jid(s) == NULL)
        return GR_OK; /* before authentication: the core says what that is */
    if (gr_el_is(el, NULL, "enable") && bound)
        return on_enable(self, ev);
    if (gr_el_is(el, NULL, "resume") && !bound)
        return resume(self, ev);
    if (gr_el_is(el, NULL, "r") && sm != NULL)
        answer(self, s, sm);
    else if (gr_el_is(el, NULL, "a") && sm != NULL)
        acknowledge(self, s, sm, el);
    else
        failed(self, s, GR_UNEXPECTED_REQUEST, NULL);
    return GR_STOP;
}

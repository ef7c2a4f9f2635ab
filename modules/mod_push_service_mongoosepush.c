/* mod_push_service_mongoosepush: notifications for phones go to a gateway that speaks
 * MongoosePush's HTTP API, which hands them to APNS and FCM: the app servers in mod_event_pusher's
 * push_virtual_hosts.
 *
 * One POST per device, of JSON; which device and how is in the publish-options that the client
 * gave. The chain is held until the gateway has answered. */
#include <string.h>

#include <grapnel/module.h>

struct gateway_conf {
    const char *url, *authorization, *ca_file;
    unsigned api_version;
    int64_t max_http_connections, timeout;
};

static const struct gr_opt options[] = {
    GR_OPT_STR(struct gateway_conf, url, NULL, "the gateway, for example https://127.0.0.1:8443",
               .required = true, .secret = true),
    GR_OPT_ENUM(struct gateway_conf, api_version, 1, GR_WORDS("v2", "v3"), "of its API"),
    GR_OPT_STR(struct gateway_conf, authorization, "", "sent as the header Authorization",
               .secret = true),
    GR_OPT_STR(struct gateway_conf, ca_file, "",
               "certificates (PEM) that are trusted instead of the system's"),
    GR_OPT_INT(struct gateway_conf, max_http_connections, 100, 1, GR_HTTP_HOST_MAX,
               "requests under way at a time, per loop"),
    GR_OPT_DURATION(struct gateway_conf, timeout, 10 * GR_SECOND, GR_SECOND, 20 * GR_SECOND,
                    "how long the gateway may take"),
    GR_OPT_END
};

struct gateway {
    unsigned under_way;
};

static int check(const void *conf_in, const char **why)
{
    const struct gateway_conf *conf = conf_in;
    char origin[GR_HTTP_ORIGIN_SIZE];

    *why = "url: the address of a web server is expected, http:// or https://, nothing behind a ? or #";
    return strpbrk(conf->url, "?#") == NULL ? gr_http_origin(conf->url, origin) : GR_EINVAL;
}

static int start(struct gr_mod *self, const char **why)
{
    (void)self;
    return gr_http_load(why);
}

/* --- JSON --- */

static void put(struct gr_writer *w, const char *text)
{
    gr_write_bytes(w, text, strlen(text));
}

/* RFC 8259, 7. */
static void put_string(struct gr_writer *w, const char *text)
{
    gr_write_u8(w, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            gr_write_u8(w, '\\');
        if (c >= ' ') {
            gr_write_u8(w, c);
        } else {
            put(w, "\\u00");
            gr_write_u8(w, (uint8_t)"0123456789abcdef"[c >> 4]);
            gr_write_u8(w, (uint8_t)"0123456789abcdef"[c & 15]);
        }
    }
    gr_write_u8(w, '"');
}

/* A member, unless there is no value. The first one of an object comes without `before`. */
static void member(struct gr_writer *w, const char *before, const char *name, const char *value)
{
    if (value == NULL)
        return;
    put(w, before);
    put_string(w, name);
    put(w, ":");
    put_string(w, value);
}

/* mod_event_pusher's number, as it is. */
static const char *count_of(const struct gr_push_ev *ev)
{
    const char *count = gr_form_value(ev->form, "message-count");

    return count != NULL && count[0] != '\0' && strspn(count, "0123456789") == strlen(count) ? count
                                                                                             : "1";
}

static void *body_new(const struct gr_push_ev *ev, size_t *len)
{
    const char *sender = gr_form_value(ev->form, "last-message-sender");
    const char *text = gr_form_value(ev->form, "last-message-body");
    const char *mode = gr_form_value(ev->options, "mode");
    struct gr_writer w = gr_writer_new(256);
    bool silent = false;

    gr_form_bool(ev->options, "silent", &silent);
    put(&w, "{");
    member(&w, "", "service", gr_form_value(ev->options, "service"));
    member(&w, ",", "mode", mode != NULL ? mode : "prod");
    member(&w, ",", "topic", gr_form_value(ev->options, "topic"));
    put(&w, silent ? ",\"data\":{\"message-count\":" : ",\"alert\":{\"badge\":");
    put(&w, count_of(ev));
    member(&w, ",", silent ? "last-message-sender" : "title", sender);
    member(&w, ",", silent ? "last-message-body" : "body", text);
    if (!silent) {
        member(&w, ",", "tag", sender);
        member(&w, ",", "click_action", gr_form_value(ev->options, "click_action"));
    }
    put(&w, "}}");
    return gr_writer_take(&w, len);
}

/* --- asking the gateway --- */

struct asked {
    struct gr_hold *hold;
    struct gr_push_ev *ev;           /* while the hold waits */
};

/* 410: the device is not registered any more; what else it says is about the gateway. */
static void on_answer(struct gr_mod *self, void *data, const struct gr_http_response *resp)
{
    struct gateway *g = gr_state(self);
    struct asked *a = data;

    g->under_way--;
    if (gr_hold_waits(a->hold)) {
        a->ev->rc = resp->rc != 0 || resp->status / 100 == 2 ? resp->rc : GR_EIO;
        a->ev->device_gone = resp->rc == 0 && resp->status == 410;
    }
    if (resp->rc != 0 || resp->status / 100 != 2)
        gr_warn("push_service.failed", "the gateway has not taken a notification: %s %d", resp->why,
                resp->status);
    gr_resume(a->hold, GR_STOP);
}

/* Of a device's name only what can stand in a path. */
static char *url_of(const struct gateway_conf *conf, const char *device)
{
    static const char plain[] = "-._~:0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t len = strlen(conf->url);

    if (device[0] == '\0' || strspn(device, plain) != strlen(device) || device[0] == '.')
        return NULL;
    while (len > 0 && conf->url[len - 1] == '/')
        len--;
    return gr_asprintf("%.*s/v%u/notification/%s", (int)len, conf->url, conf->api_version + 2,
                       device);
}

static int ask(struct gr_mod *self, struct gr_push_ev *ev, const char *url, struct gr_hold *hold)
{
    const struct gateway_conf *conf = gr_conf(self);
    char *authorization = gr_asprintf("Authorization: %s", conf->authorization);
    const char *headers[] = { "Content-Type: application/json",
                              conf->authorization[0] != '\0' ? authorization : NULL, NULL };
    struct gr_http_request req = { .url = url, .method = GR_HTTP_POST, .headers = headers,
                                   .timeout_ms = conf->timeout,
                                   .ca_file = conf->ca_file[0] != '\0' ? conf->ca_file : NULL };
    struct asked *a = gr_alloc(sizeof(*a));
    void *body = body_new(ev, &req.body_len);
    int rc;

    *a = (struct asked){ hold, ev };
    req.body = body;
    rc = gr_http_send(self, &req, on_answer, a);
    gr_free(body);
    gr_wipe(authorization, strlen(authorization));
    gr_free(authorization);
    return rc;
}

static enum gr_verdict on_push(struct gr_mod *self, struct gr_push_ev *ev)
{
    const struct gateway_conf *conf = gr_conf(self);
    struct gateway *g = gr_state(self);
    const char *device = ev->options != NULL ? gr_form_value(ev->options, "device_id") : NULL;
    char *url = device != NULL && gr_form_value(ev->options, "service") != NULL
                    ? url_of(conf, device) : NULL;
    struct gr_hold *hold = NULL;

    if (url == NULL) { /* can never be notified */
        ev->device_gone = true;
        return GR_STOP;
    }
    ev->rc = GR_EAGAIN;
    if (g->under_way < conf->max_http_connections && (hold = gr_hold(self, &ev->ev)) != NULL)
        ev->rc = ask(self, ev, url, hold);
    gr_free(url);
    if (hold == NULL)
        return GR_STOP;
    if (ev->rc != 0) {
        gr_resume(hold, GR_STOP);
        return GR_STOP;
    }
    g->under_way++;
    return GR_PENDING;
}

static const struct gr_hook hooks[] = { GR_ON(push_notifications, 10, on_push), GR_HOOK_END };

GR_MODULE(push_service_mongoosepush,
    .summary = "notifications for phones through a gateway (MongoosePush)",
    .conf_size = sizeof(struct gateway_conf), .state_size = sizeof(struct gateway),
    .options = options, .hooks = hooks, .check = check, .start = start,
    .needs = (const char *const[]){ "event_pusher", NULL });

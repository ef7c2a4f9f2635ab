/* mod_time: the server's time and its offset from UTC (XEP-0202; formats of XEP-0082, 3). */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <grapnel/module.h>

#define NS_TIME "urn:xmpp:time"

/* "Z" or "+hh:mm" (XEP-0082, 3.2: TZD). */
static void offset_text(char *out, size_t size, time_t now)
{
    struct tm tm;
    unsigned minutes;

    if (localtime_r(&now, &tm) == NULL || tm.tm_gmtoff == 0) {
        snprintf(out, size, "Z");
        return;
    }
    minutes = (unsigned)labs(tm.tm_gmtoff) / 60 % (24 * 60);
    snprintf(out, size, "%c%02u:%02u", tm.tm_gmtoff < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

static void on_query(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct gr_stanza *result = gr_iq_result(ev->stanza);
    struct gr_el *el = gr_el_add(result, NULL, NS_TIME, "time");
    int64_t now = gr_wall_us();
    char stamp[GR_STAMP_SIZE], offset[16];

    (void)self;
    offset_text(offset, sizeof(offset), (time_t)(now / 1000000));
    gr_stamp(stamp, now);
    gr_el_add_text(result, el, NULL, "tzo", offset);
    gr_el_add_text(result, el, NULL, "utc", stamp);
    gr_iq_reply(ev->req, result);
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS_TIME, "time", on_query),
    GR_IQ_END
};

GR_MODULE(time, .summary = "tells the server's time (XEP-0202)", .iqs = iqs);

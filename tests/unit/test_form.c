/* Unit tests of xml/form.c and xml/rsm.c. */
#include <grapnel/form.h>
#include <grapnel/rsm.h>

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct gr_stanza *parse(const char *xml)
{
    struct gr_stanza *st = NULL;

    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    return st;
}

/* --- forms --- */

static void test_form_reading(void **state)
{
    struct gr_stanza *st = parse(
        "<iq><x xmlns='jabber:x:data' type='submit'>"
        "<field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>"
        "<field type='fixed'><value>look:</value></field>"
        "<field var='one'><value>1</value></field><field var='none'/>"
        "<field var='empty'><value/></field>"
        "<field var='list'><value>a</value><other/><value>b</value></field></x></iq>");
    const struct gr_el *form = gr_form_child(gr_stanza_root(st)), *v;

    (void)state;
    assert_true(gr_form_submitted(form, "urn:x"));
    assert_false(gr_form_submitted(form, "urn:y"));
    assert_string_equal(gr_form_value(form, "one"), "1");
    assert_string_equal(gr_form_value(form, "empty"), "");
    assert_null(gr_form_value(form, "none"));
    assert_non_null(gr_form_field(form, "none"));
    assert_null(gr_form_value(form, "other"));
    assert_null(gr_form_field(form, "other"));
    v = gr_form_next_value(gr_form_field(form, "list"), NULL);
    assert_string_equal(gr_el_text(v, NULL), "a");
    v = gr_form_next_value(gr_form_field(form, "list"), v);
    assert_string_equal(gr_el_text(v, NULL), "b");
    assert_null(gr_form_next_value(gr_form_field(form, "list"), v));
    assert_null(gr_form_unknown(form, (const char *[]){ "one", "none", "empty", "list", NULL }));
    assert_string_equal(gr_form_unknown(form, (const char *[]){ "one", "none", "list", NULL }),
                        "empty");
    assert_string_equal(gr_form_unknown(form, (const char *[]){ NULL }), "one");
    gr_stanza_unref(&st);
}

static void test_form_wrong(void **state)
{
    struct gr_stanza *none = parse("<iq><x xmlns='urn:other'/></iq>");
    struct gr_stanza *bare = parse("<iq><x xmlns='jabber:x:data'><field><value>1</value></field>"
                                   "</x></iq>");
    struct gr_stanza *cancel = parse(
        "<iq><x xmlns='jabber:x:data' type='cancel'><field var='FORM_TYPE'><value>urn:x</value>"
        "</field></x></iq>");
    const struct gr_el *form = gr_form_child(gr_stanza_root(bare));

    (void)state;
    assert_null(gr_form_child(gr_stanza_root(none)));
    assert_false(gr_form_submitted(form, "urn:x"));
    assert_string_equal(gr_form_unknown(form, (const char *[]){ "a", NULL }), "");
    assert_false(gr_form_submitted(gr_form_child(gr_stanza_root(cancel)), "urn:x"));
    gr_stanza_unref(&none);
    gr_stanza_unref(&bare);
    gr_stanza_unref(&cancel);
}

static void test_form_bool(void **state)
{
    static const struct {
        const char *text;
        int rc;
        bool value;
    } table[] = { { "1", 0, true },       { "true", 0, true },       { "0", 0, false },
                  { "false", 0, false },  { "", GR_EINVAL, false },  { "TRUE", GR_EINVAL, false },
                  { "yes", GR_EINVAL, false } };
    bool value = true;

    (void)state;
    for (size_t i = 0; i < GR_COUNT(table); i++) {
        struct gr_stanza *st = gr_nonza_new("urn:x", "q");
        struct gr_el *form = gr_form_add(st, NULL, "submit", NULL);

        gr_form_add_field(st, form, NULL, "b", NULL, table[i].text);
        value = !table[i].value;
        assert_int_equal(gr_form_bool(form, "b", &value), table[i].rc);
        assert_int_equal(value, table[i].rc == 0 ? table[i].value : !table[i].value);
        assert_int_equal(gr_form_bool(form, "c", &value), GR_ENOENT);
        gr_stanza_unref(&st);
    }
}

static void test_form_writing(void **state)
{
    struct gr_stanza *st = gr_nonza_new("urn:q", "q");
    struct gr_el *form = gr_form_add(st, NULL, "form", "urn:x"), *field;

    (void)state;
    gr_el_add_text(st, form, NULL, "title", "T");
    field = gr_form_add_field(st, form, "list-multi", "v", "L", "a");
    gr_form_add_value(st, field, "<b>");
    gr_form_add_option(st, field, "A", "a");
    gr_form_add_option(st, field, NULL, "b");
    assert_string_equal(
        gr_stanza_xml(st, NULL),
        "<q xmlns='urn:q'><x xmlns='jabber:x:data' type='form'>"
        "<field type='hidden' var='FORM_TYPE'><value>urn:x</value></field><title>T</title>"
        "<field type='list-multi' var='v' label='L'><value>a</value><value>&lt;b&gt;</value>"
        "<option label='A'><value>a</value></option><option><value>b</value></option></field>"
        "</x></q>");
    gr_stanza_unref(&st);
}

/* --- result sets --- */

static int read_set(struct gr_rsm *out, const char *inside, struct gr_stanza **st)
{
    char xml[1024];

    snprintf(xml, sizeof(xml), "<iq><set xmlns='http://jabber.org/protocol/rsm'>%s</set></iq>",
             inside);
    *st = parse(xml);
    return gr_rsm_read(out, gr_stanza_root(*st));
}

static void test_rsm_reading(void **state)
{
    struct gr_stanza *st = parse("<iq/>");
    struct gr_rsm rsm;

    (void)state;
    assert_int_equal(gr_rsm_read(&rsm, gr_stanza_root(st)), 0);
    assert_false(rsm.asked);
    assert_true(rsm.max == -1 && rsm.index == -1 && rsm.after == NULL && rsm.before == NULL);
    assert_int_equal(gr_rsm_limit(&rsm, 50, 250), 50);
    assert_int_equal(gr_rsm_limit(&rsm, 50, 20), 20);
    gr_stanza_unref(&st);

    assert_int_equal(read_set(&rsm, "<max>10</max><after>x y</after>", &st), 0);
    assert_true(rsm.asked && rsm.max == 10 && rsm.before == NULL);
    assert_string_equal(rsm.after, "x y");
    assert_int_equal(gr_rsm_limit(&rsm, 50, 250), 10);
    gr_stanza_unref(&st);

    assert_int_equal(read_set(&rsm, "<max>0</max><before/>", &st), 0);
    assert_true(rsm.max == 0 && rsm.after == NULL);
    assert_string_equal(rsm.before, "");
    gr_stanza_unref(&st);

    assert_int_equal(read_set(&rsm, "<after/><index>371</index>", &st), 0);
    assert_true(rsm.index == 371 && rsm.after == NULL);
    gr_stanza_unref(&st);

    assert_int_equal(read_set(&rsm, "<max>99999999999999999999999999</max>", &st), 0);
    assert_true(rsm.max >= INT32_MAX);
    assert_int_equal(gr_rsm_limit(&rsm, 50, 250), 250);
    gr_stanza_unref(&st);
}

static void test_rsm_wrong(void **state)
{
    static const char *const table[] = {
        "<max/>", "<max>-1</max>", "<max>1x</max>", "<max> 1</max>", "<max>1</max><max>1</max>",
        "<index>a</index>", "<index>1</index><after>a</after>", "<index>1</index><before/>",
        "<after>a</after><after>a</after>", "<before>a</before><before>b</before>",
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(table); i++) {
        struct gr_stanza *st;
        struct gr_rsm rsm;

        assert_int_equal(read_set(&rsm, table[i], &st), GR_EINVAL);
        gr_stanza_unref(&st);
    }
}

static void check_page(const struct gr_rsm_page *page, const char *want)
{
    struct gr_stanza *st = gr_nonza_new("urn:q", "q");
    char xml[512];

    gr_rsm_add(st, NULL, page);
    snprintf(xml, sizeof(xml),
             "<q xmlns='urn:q'><set xmlns='http://jabber.org/protocol/rsm'%s</q>", want);
    assert_string_equal(gr_stanza_xml(st, NULL), xml);
    gr_stanza_unref(&st);
}

static void test_rsm_writing(void **state)
{
    (void)state;
    check_page(&(struct gr_rsm_page){ "a", "b&", 7, 20 },
               "><first index='7'>a</first><last>b&amp;</last><count>20</count></set>");
    check_page(&(struct gr_rsm_page){ "a", "a", -1, -1 },
               "><first>a</first><last>a</last></set>");
    check_page(&(struct gr_rsm_page){ NULL, NULL, 0, 0 }, "><count>0</count></set>");
    check_page(&(struct gr_rsm_page){ NULL, NULL, -1, -1 }, "/>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form_reading), cmocka_unit_test(test_form_wrong),
        cmocka_unit_test(test_form_bool),    cmocka_unit_test(test_form_writing),
        cmocka_unit_test(test_rsm_reading),  cmocka_unit_test(test_rsm_wrong),
        cmocka_unit_test(test_rsm_writing),
    };

    return cmocka_run_group_tests_name("form", tests, NULL, NULL);
}

/* Stanza round trip (reliability F2): parse, serialise, parse again: the same tree; and whatever is
 * derived from it (copy, error reply, wrapped, changed) is well-formed. */
#include "fuzz.h"
#include "fuzz_tree.h"

#include "xml/write.h"

/* The text says what the tree does. */
static void check_same(const char *xml, size_t len, const char *tree)
{
    char *again = fuzz_tree_of(xml, len);

    gr_assert(strcmp(again, tree) == 0);
    gr_free(again);
}

/* So do both texts of a stanza: as it arrived, if it did, and as its tree is written. */
static void check_stanza(const struct gr_stanza *st)
{
    size_t len;
    const char *xml = gr_stanza_xml(st, &len);
    char *tree = fuzz_tree(st);

    gr_assert(strlen(xml) == len);
    check_same(xml, len, tree);
    check_same(tree, strlen(tree), tree);
    gr_free(tree);
}

/* What modules do to stanzas, with strings that came from outside. */
static void change(struct gr_stanza *st, const char *s, size_t len)
{
    struct gr_el *root = gr_stanza_root(st), *child = gr_el_child(root, NULL, NULL), *x;
    char *value = gr_strndup(s, len);

    x = gr_el_add_text(st, child, "urn:x", "x", value);
    gr_el_append_text(st, x, s, len);
    gr_el_set(st, x, "a", value);
    gr_el_set(st, root, "id", value);
    gr_el_set(st, root, "to", value);
    if (child != NULL) {
        gr_el_append(st, NULL, child);
        gr_el_remove(st, child);
    }
    gr_stanza_add_delay(st, value, 1);
    gr_free(value);
}

/* A copy that shares, and one that does not, to the same address. */
static void check_addressed(struct gr_stanza *st)
{
    struct gr_stanza *shares, *plain = gr_stanza_copy(st);
    struct buf out = { 0 };
    struct gr_jid *to = NULL;

    gr_assert(gr_jid_parse("x@y", 3, &to) == 0);
    shares = gr_stanza_copy_to(st, to);
    gr_stanza_set_to(plain, to);
    stanza_write(&out, shares);
    gr_assert(strcmp(buf_str(&out), gr_stanza_xml(plain, NULL)) == 0);
    gr_stanza_set_id(shares, "i");
    gr_stanza_set_id(plain, "i");
    gr_assert(strcmp(gr_stanza_xml(shares, NULL), gr_stanza_xml(plain, NULL)) == 0);
    gr_stanza_unref(&shares);
    gr_stanza_unref(&plain);
    gr_jid_free(&to);
    buf_fini(&out);
}

static void check_change(const struct gr_stanza *st, const char *s, size_t len)
{
    struct gr_stanza *copy = gr_stanza_copy(st);
    const char *xml;
    char *tree;
    size_t xml_len;

    change(copy, s, len);
    xml = gr_stanza_xml(copy, &xml_len);
    gr_assert(strlen(xml) == xml_len);
    tree = fuzz_tree_of(xml, xml_len);
    check_same(tree, strlen(tree), tree);
    if (gr_stanza_kind(copy) != GR_NONZA)
        check_addressed(copy);
    gr_free(tree);
    gr_stanza_unref(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gr_stanza *st = NULL, *copy, *reply, *wrap;
    size_t len;

    if (gr_stanza_parse((const char *)data, size, &st) != 0)
        return 0;
    copy = gr_stanza_copy(st);
    gr_assert(strcmp(gr_stanza_xml(copy, NULL), gr_stanza_xml(st, NULL)) == 0);
    gr_stanza_unref(&copy);
    check_stanza(st);
    gr_free(gr_el_xml(gr_stanza_root(st), &len));
    reply = gr_error_reply(st, GR_BAD_REQUEST, "no");
    if (reply != NULL) {
        gr_assert(gr_stanza_cond(reply) == GR_BAD_REQUEST);
        check_stanza(reply);
    }
    wrap = gr_message_new(GR_MSG_NORMAL, NULL, NULL);
    gr_el_append(wrap, gr_el_add(wrap, NULL, "urn:xmpp:forward:0", "forwarded"),
                 gr_stanza_root(st));
    gr_presence_priority(st);
    gr_stanza_cond(st);
    check_change(st, (const char *)data, size);
    check_change(st, (const char *)data + size / 3, size / 3);
    gr_stanza_unref(&wrap);
    gr_stanza_unref(&reply);
    gr_stanza_unref(&st);
    return 0;
}

/* mod_adhoc/run.c: the steps of an execution: the form, the command (once for each address where a list
 * is given), the pages of its result. */
#include "adhoc.h"

#include <stdio.h>
#include <string.h>

#define EACH_MAX 100        /* addresses of one form */
#define WORDS_MAX 60

/* One run of a command; ends with the answer to its request. */
struct job {
    struct job *next_job;       /* adhoc.jobs */
    struct gr_iq_req *req;
    struct recipe recipe;       /* the strings in it may be gone with their module ... */
    char *node, *title, *id;    /* ... but these are its own; id NULL: no session yet */
    bool form;
    struct rows *rows;
    char *word[WORDS_MAX];
    size_t words, each_at;      /* word[each_at]: the address; 0: there is one run */
    char *each[EACH_MAX];
    size_t count, next;
    char *errors;               /* a line for each that failed; NULL: none */
    size_t failed;
};

static void job_free(struct gr_mod *self, struct job *j)
{
    struct job **at = &((struct adhoc *)gr_state(self))->jobs;

    while (*at != j)
        at = &(*at)->next_job;
    *at = j->next_job;
    for (size_t i = 0; i < j->words; i++) {
        gr_wipe(j->word[i], strlen(j->word[i])); /* there may be a password */
        gr_free(j->word[i]);
    }
    for (size_t i = 0; i < j->count; i++)
        gr_free(j->each[i]);
    rows_free(&j->rows);
    gr_free(j->errors);
    gr_free(j->node);
    gr_free(j->title);
    gr_free(j->id);
    gr_free(j);
}

void jobs_end(struct gr_mod *self)
{
    struct adhoc *a = gr_state(self);

    while (a->jobs != NULL)
        job_free(self, a->jobs);
}

/* --- answering --- */

static void add_note(struct gr_stanza *st, struct gr_el *command, const char *type,
                     const char *text)
{
    struct gr_el *note = gr_el_add_text(st, command, NULL, "note", text);

    gr_el_set(st, note, "type", type);
}

static void note_cut(struct gr_stanza *st, struct gr_el *command, const struct rows *rows)
{
    if (rows_cut(rows))
        add_note(st, command, "warn", "there is more than max_result allows to show");
}

static void send_form(struct gr_iq_req *req, const struct recipe *recipe,
                      const struct adhoc_session *s)
{
    struct gr_el *command, *actions, *form;
    struct gr_stanza *st = command_reply(req, s->node, s->id, "executing", &command);

    actions = gr_el_add(st, command, NULL, "actions");
    gr_el_set(st, actions, "execute", "complete");
    gr_el_add(st, actions, NULL, "complete");
    form = gr_form_add(st, command, "form", recipe->form_type);
    gr_el_add_text(st, form, NULL, "title", recipe->title);
    for (const struct field *f = recipe->field; f->var != NULL; f++) {
        struct gr_el *field = gr_form_add_field(st, form, f->type, f->var, f->label, NULL);

        if (f->required)
            gr_el_add(st, field, NULL, "required");
    }
    gr_iq_reply(req, st);
}

static void send_page(struct gr_mod *self, struct gr_iq_req *req, const struct recipe *recipe,
                      struct adhoc_session *s)
{
    const struct adhoc_conf *conf = gr_conf(self);
    size_t page = (size_t)conf->page, first = (s->stage - 1) * page;
    bool more = first + page < rows_count(s->rows), back = s->stage > 1 || s->form;
    struct gr_el *command, *actions;
    struct gr_stanza *st = command_reply(req, s->node, s->id, more ? "executing" : "completed",
                                         &command);

    if (more) {
        actions = gr_el_add(st, command, NULL, "actions");
        gr_el_set(st, actions, "execute", "next");
        if (back)
            gr_el_add(st, actions, NULL, "prev");
        gr_el_add(st, actions, NULL, "next");
        gr_el_add(st, actions, NULL, "complete");
    }
    rows_write(s->rows, recipe, st, command, first, page);
    if (!more)
        note_cut(st, command, s->rows);
    gr_iq_reply(req, st);
    if (!more)
        session_end(self, s);
}

/* A result of one page needs no session any more. */
static void send_result(struct job *j)
{
    struct gr_el *command;
    char id[GR_ID_SIZE];
    struct gr_stanza *st;

    gr_random_id(id);
    st = command_reply(j->req, j->node, j->id != NULL ? j->id : id, "completed", &command);
    if (rows_count(j->rows) > 0 || j->failed == 0)
        rows_write(j->rows, &j->recipe, st, command, 0, rows_count(j->rows));
    if (j->failed > 0)
        add_note(st, command, "error", j->errors);
    else if (rows_count(j->rows) == 0)
        add_note(st, command, "info", "done");
    note_cut(st, command, j->rows);
    gr_iq_reply(j->req, st);
}

static void finish(struct gr_mod *self, struct job *j)
{
    const struct adhoc_conf *conf = gr_conf(self);
    const char *from = gr_iq_req_from(j->req)->full;
    struct adhoc_session *s = j->id != NULL ? session_find(self, from, j->node, j->id) : NULL;

    j->recipe.title = j->title;
    if (j->failed > 0 || rows_count(j->rows) <= (size_t)conf->page) {
        send_result(j);
        if (s != NULL)
            session_end(self, s);
        job_free(self, j);
        return;
    }
    if (s == NULL)
        s = session_new(self, from, j->node);
    if (s == NULL) {
        gr_iq_reply_error(j->req, GR_RESOURCE_CONSTRAINT, "too many commands are under way");
        job_free(self, j);
        return;
    }
    s->running = false;
    s->form = j->form;
    s->stage = 1;
    rows_free(&s->rows);
    s->rows = j->rows;
    j->rows = NULL;
    send_page(self, j->req, &j->recipe, s);
    job_free(self, j);
}

/* --- running --- */

static void run_next(struct gr_mod *self, struct job *j);

static void add_error(struct job *j, const char *error)
{
    char *all = j->errors == NULL ? gr_strdup(error) : gr_asprintf("%s\n%s", j->errors, error);

    gr_free(j->errors);
    j->errors = all;
    j->failed++;
}

static void on_ran(struct gr_mod *self, void *data, const char *error, struct gr_cmd_result *result)
{
    struct job *j = *(struct job **)data;

    if (error != NULL)
        add_error(j, error);
    else
        rows_add(j->rows, result);
    if (j->next < j->count)
        run_next(self, j);
    else
        finish(self, j);
}

static void run_next(struct gr_mod *self, struct job *j)
{
    struct job **data = gr_alloc(sizeof(struct job *));

    *data = j;
    if (j->each_at > 0) {
        gr_free(j->word[j->each_at]);
        j->word[j->each_at] = gr_strdup(j->each[j->next++]);
    }
    gr_command_run(self, (const char *const *)j->word, j->words, on_ran, data);
}

static void add_word(struct job *j, const char *word)
{
    gr_assert(j->words < WORDS_MAX);
    j->word[j->words++] = gr_strdup(word);
}

static void add_arg(struct job *j, const char *name, const char *value)
{
    char *option = gr_asprintf("--%s", name);

    add_word(j, option);
    gr_free(option);
    if (value != NULL)
        add_word(j, value);
}

static struct job *job_new(struct gr_mod *self, struct gr_iq_req *req, const struct recipe *recipe,
                           const char *node)
{
    const struct adhoc_conf *conf = gr_conf(self);
    char *name = gr_strdup(recipe->command), *rest = name, *word;
    struct job *j = gr_alloc(sizeof(*j)), **first = &((struct adhoc *)gr_state(self))->jobs;

    j->next_job = *first;
    *first = j;
    j->req = req;
    j->recipe = *recipe;
    j->node = gr_strdup(node);
    j->title = gr_strdup(recipe->title);
    j->rows = rows_new((size_t)conf->max_result);
    while ((word = strsep(&rest, " ")) != NULL)
        add_word(j, word);
    gr_free(name);
    if (recipe->about_host)
        add_arg(j, "domain", gr_mod_host_jid(self)->domain);
    return j;
}

/* --- what was filled in --- */

/* The lines of a field as one text, which the caller frees; NULL: nothing was said. */
static char *value_of(const struct gr_el *form, const char *var)
{
    const struct gr_el *field = gr_form_field(form, var), *v = NULL;
    struct gr_writer w = gr_writer_new(64);
    size_t len, lines = 0;
    char *text;

    while (field != NULL && (v = gr_form_next_value(field, v)) != NULL) {
        const char *line = gr_el_text(v, &len);

        if (lines++ > 0)
            gr_write_bytes(&w, "\n", 1);
        gr_write_bytes(&w, line, len);
    }
    gr_write_bytes(&w, "", 1);
    text = gr_writer_take(&w, &len);
    if (len > 1)
        return text;
    gr_free(text);
    return NULL;
}

/* An account of the host that was asked, prepared. */
static const char *take_account(struct gr_mod *self, const char *text, struct gr_jid **out)
{
    if (gr_jid_parse(text, strlen(text), out) != 0)
        return "that is not an address";
    if ((*out)->node == NULL || strcmp((*out)->domain, gr_mod_host_jid(self)->domain) != 0)
        return "that is not an account of this domain";
    return NULL;
}

static const char *take_each(struct gr_mod *self, struct job *j, const struct gr_el *field,
                             const struct field *f)
{
    const struct gr_el *v = NULL;
    const char *why;

    if (j->count > 0)
        return NULL;
    while ((v = gr_form_next_value(field, v)) != NULL) {
        struct gr_jid *jid = NULL;

        if (j->count == EACH_MAX)
            return "too many addresses at once";
        why = take_account(self, gr_el_text(v, NULL), &jid);
        if (why == NULL)
            j->each[j->count++] = gr_strdup(jid->full);
        gr_jid_free(&jid);
        if (why != NULL)
            return why;
    }
    if (j->count > 0) {
        add_arg(j, f->arg, "");
        j->each_at = j->words - 1;
    }
    return NULL;
}

static const char *take_value(struct gr_mod *self, struct job *j, const struct gr_el *form,
                              const struct field *f, const char *text)
{
    struct gr_jid *jid = NULL;
    const char *why = NULL, *before;
    bool yes;

    switch (f->use) {
    case FIELD_EACH:
        return take_each(self, j, gr_form_field(form, f->var), f);
    case FIELD_ACCOUNT:
        why = take_account(self, text, &jid);
        if (why == NULL)
            add_arg(j, f->arg, jid->full);
        gr_jid_free(&jid);
        return why;
    case FIELD_FLAG:
        if (gr_form_bool(form, f->var, &yes) != 0)
            return "that is neither true nor false";
        if (yes)
            add_arg(j, f->arg, NULL);
        return NULL;
    case FIELD_SAME:
        before = gr_form_value(form, f[-1].var);
        return before != NULL && strcmp(before, text) == 0 ? NULL : "the passwords differ";
    case FIELD_LIMIT:
        if (strcmp(text, "none") != 0)
            add_arg(j, f->arg, text);
        return NULL;
    case FIELD_VALUE:
        add_arg(j, f->arg, text);
        return NULL;
    case FIELD_IGNORED:
        return NULL;
    }
    return NULL;
}

/* NULL, or what is wrong. */
static const char *take_form(struct gr_mod *self, struct job *j, const struct recipe *recipe,
                             const struct gr_el *form)
{
    const char *why = NULL;

    for (const struct field *f = recipe->field; f->var != NULL && why == NULL; f++) {
        char *text = form != NULL ? value_of(form, f->var) : NULL;

        if (text != NULL)
            why = take_value(self, j, form, f, text);
        else if (f->required)
            why = "a field that is required is missing";
        if (text != NULL)
            gr_wipe(text, strlen(text));
        gr_free(text);
    }
    return why;
}

/* --- steps --- */

void run_first(struct gr_mod *self, struct gr_iq_req *req, const struct recipe *recipe,
               const char *node)
{
    struct adhoc_session *s;

    if (recipe->field[0].var == NULL) {
        run_next(self, job_new(self, req, recipe, node));
        return;
    }
    s = session_new(self, gr_iq_req_from(req)->full, node);
    if (s == NULL) {
        gr_iq_reply_error(req, GR_RESOURCE_CONSTRAINT, "too many commands are under way");
        return;
    }
    s->form = true;
    send_form(req, recipe, s);
}

static void submit(struct gr_mod *self, struct gr_iq_req *req, const struct recipe *recipe,
                   struct adhoc_session *s)
{
    const struct gr_el *command = gr_stanza_payload(gr_iq_req_stanza(req));
    struct job *j = job_new(self, req, recipe, s->node);
    const char *why = take_form(self, j, recipe, gr_form_child(command));

    if (why != NULL) {
        job_free(self, j);
        command_refuse(req, GR_BAD_REQUEST, "bad-payload", why);
        return;
    }
    j->id = gr_strdup(s->id);
    j->form = true;
    s->running = true;
    run_next(self, j);
}

void run_step(struct gr_mod *self, struct gr_iq_req *req, const struct recipe *recipe,
              struct adhoc_session *s, enum action action)
{
    bool form = s->stage == 0;
    struct gr_el *command;

    if (s->running || (form && (action == PREV || action == NEXT))) {
        command_refuse(req, GR_BAD_REQUEST, "bad-action", NULL);
    } else if (action == CANCEL) {
        gr_iq_reply(req, command_reply(req, s->node, s->id, "canceled", &command));
        session_end(self, s);
    } else if (form) {
        submit(self, req, recipe, s);
    } else if (action == COMPLETE) {
        gr_iq_reply(req, command_reply(req, s->node, s->id, "completed", &command));
        session_end(self, s);
    } else if (action == PREV && s->stage == 1 && !s->form) {
        command_refuse(req, GR_BAD_REQUEST, "bad-action", NULL);
    } else if (action == PREV && --s->stage == 0) {
        rows_free(&s->rows);
        send_form(req, recipe, s);
    } else {
        s->stage += action != PREV;
        send_page(self, req, recipe, s);
    }
}

/* grapnel/option.h: the options a module (or the core) declares, as a const table.
 *
 *     struct hello_conf { const char *text; int64_t limit; bool loud; };
 *
 *     static const struct gr_opt options[] = {
 *         GR_OPT_STR(struct hello_conf, text, "Hello!", "what a new session is told"),
 *         GR_OPT_INT(struct hello_conf, limit, 0, 0, 100000, "fall silent after this many",
 *                    .zero = "never"),
 *         GR_OPT_BOOL(struct hello_conf, loud, false, "in capitals", .when = GR_RESTART),
 *         GR_OPT_END
 *     };
 *
 * The key in the file is the member's name. The core fills a zeroed struct from defaults, then
 * `[mod_hello]`, then `[mod_hello DOMAIN]`; strings live as long as the configuration. A member of
 * the wrong type and a default outside its range do not compile. After the help text any further
 * field of struct gr_opt may be set: .when, .zero, .required, .secret (and .max for STR, LIST). */
#pragma once

#include <grapnel/base.h>

/* Durations are int64_t milliseconds, sizes are int64_t bytes: 30 * GR_SECOND, 64 * GR_KIB. */
#define GR_SECOND ((int64_t)1000)
#define GR_MINUTE (60 * GR_SECOND)
#define GR_HOUR (60 * GR_MINUTE)
#define GR_DAY (24 * GR_HOUR)
#define GR_KIB ((int64_t)1024)
#define GR_MIB (1024 * GR_KIB)
#define GR_GIB (1024 * GR_MIB)

/* What a changed value needs. Nothing is ignored silently: a reload prints what waits. */
enum gr_when {
    GR_LIVE,   /* the next reload applies it                        */
    GR_REBIND, /* the reload closes and opens the listener it is for */
    GR_RESTART /* reported by the reload, applied at the next start (a module's: or with new code) */
};

enum gr_opt_kind {
    GR_KIND_END,
    GR_KIND_STR,      /* const char *; NULL when there is no default and no value       */
    GR_KIND_INT,      /* int64_t                                                        */
    GR_KIND_BOOL,     /* bool: yes, no, true, false, on, off, 1, 0                      */
    GR_KIND_DURATION, /* int64_t milliseconds: 500ms, 30s, 5m, 1h, 7d, 2w               */
    GR_KIND_SIZE,     /* int64_t bytes: 512, 64K, 1M, 2G                                */
    GR_KIND_ENUM,     /* int, unsigned or an enum: the index of the word                */
    GR_KIND_LIST,     /* const char *const *: NULL-terminated, empty list: {NULL}       */
    GR_KIND_JID,      /* const char *: a prepared address, NULL as for STR              */
    GR_KIND_JIDLIST   /* const char *const *: prepared addresses                        */
};

struct gr_opt {
    const char *name;
    enum gr_opt_kind kind;
    enum gr_when when;
    size_t offset;
    const char *text;         /* default of STR, LIST, JID, JIDLIST, as it is written in a file */
    int64_t value;            /* default of the others                                         */
    int64_t min, max;         /* STR: most bytes, LIST: most items; 0: 1023 and 256            */
    const char *const *words; /* ENUM: NULL-terminated                                         */
    const char *help;         /* lower case, no full stop                                      */
    const char *zero;         /* INT, DURATION, SIZE: a word for 0, which is allowed then      */
    char sep;                 /* LIST: separator; 0: comma                                     */
    bool required;            /* an error when absent                                          */
    bool secret;              /* never printed: passwords, tokens                              */
};

/* (struct type, member, default, help, ...) */
#define GR_OPT_STR(type, member, def, ...) \
    GR_OPT_(STR, type, member, const char *, .text = (def), __VA_ARGS__)
#define GR_OPT_BOOL(type, member, def, ...) \
    GR_OPT_(BOOL, type, member, bool, GR_OPT_NUM_(def, 0, 1), __VA_ARGS__)
#define GR_OPT_LIST(type, member, def, ...) \
    GR_OPT_(LIST, type, member, const char *const *, .text = (def), __VA_ARGS__)
#define GR_OPT_JID(type, member, def, ...) \
    GR_OPT_(JID, type, member, const char *, .text = (def), __VA_ARGS__)
#define GR_OPT_JIDLIST(type, member, def, ...) \
    GR_OPT_(JIDLIST, type, member, const char *const *, .text = (def), __VA_ARGS__)
/* (struct type, member, default, min, max, help, ...) */
#define GR_OPT_INT(type, member, def, lo, hi, ...) \
    GR_OPT_(INT, type, member, int64_t, GR_OPT_NUM_(def, lo, hi), __VA_ARGS__)
#define GR_OPT_DURATION(type, member, def, lo, hi, ...) \
    GR_OPT_(DURATION, type, member, int64_t, GR_OPT_NUM_(def, lo, hi), __VA_ARGS__)
#define GR_OPT_SIZE(type, member, def, lo, hi, ...) \
    GR_OPT_(SIZE, type, member, int64_t, GR_OPT_NUM_(def, lo, hi), __VA_ARGS__)
/* (struct type, member, default, GR_WORDS("first", "second"), help, ...): the value is the index
 * of the word, so the words stand in the order of the enum, which starts at 0. */
#define GR_OPT_ENUM(type, member, def, names, ...)                                          \
    { .name = #member, .kind = GR_KIND_ENUM,                                                \
      .offset = _Generic(&((type *)0)->member, int *: offsetof(type, member),               \
                         unsigned *: offsetof(type, member)),                               \
      .value = (def) + GR_OPT_TRUE_((def) >= 0 &&                                           \
                                    (size_t)(def) + 1 < sizeof(names) / sizeof(char *)),    \
      .words = names, .help = __VA_ARGS__ }
#define GR_WORDS(...) (const char *const[]){ __VA_ARGS__, NULL }
#define GR_OPT_END { .kind = GR_KIND_END }

/* --- how it is checked --- */
#define GR_OPT_(k, type, member, ctype, def, ...)                                            \
    { .name = #member, .kind = GR_KIND_##k,                                                 \
      .offset = _Generic(&((type *)0)->member, ctype *: offsetof(type, member)), def,        \
      .help = __VA_ARGS__ }
#define GR_OPT_NUM_(def, lo, hi)                                                            \
    .value = (int64_t)(def) + GR_OPT_TRUE_((lo) <= (hi) && (((def) >= (lo) && (def) <= (hi)) || \
                                                            (def) == 0)),                   \
    .min = (lo), .max = (hi)
/* 0 when true, else the compiler says why. */
#define GR_OPT_TRUE_(cond) \
    (0 * (int)sizeof(struct { _Static_assert(cond, "default out of range"); char c; }))

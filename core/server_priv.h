/* server_priv.h: what the server_*.c share. Main thread. */
#pragma once

struct conf;
struct tls_ctx;

/* --- server.c --- */

void server_use_tls(struct tls_ctx *take);
/* NULL, or why nothing can be changed: the server is starting or stopping. */
const char *server_busy(void);

/* --- server_conf.c --- */

/* Once per process, before any of those below. */
void server_conf_init(void);
/* 0, or everything that is wrong with it (caller frees): of the core first, then, once there are
 * loops and a store, of the modules. */
int server_load_conf(const char *path, struct conf **out, char **errors);
/* 0, or why the hosts' certificates cannot be used (caller frees); *out may be NULL. */
int server_load_tls(const struct conf *conf, struct tls_ctx **out, char **why);
/* Two texts of whole lines as one; each may be NULL. */
char *server_join_lines(char *take_first, char *take_second);
void server_print_lines(char *take_text);
/* The modules that are part of the server. */
void server_add_builtins(void);

/* --- server_cleanup.c --- */

/* Returns when the modules have dealt with what an earlier process with our id has left behind,
 * when they took too long, or when loop_stop_main was called. */
void server_clean_up(void);

/* --- server_reload.c --- */

void server_reload_fini(void);

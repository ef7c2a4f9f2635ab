/* tests/bench/load_epoll.h: between load_conn.c, load_login.c and the main loop. */
#pragma once

struct conn;
extern int epoll_fd;
/* Begins TLS on a connection whose server said <proceed/>. */
void conn_handshake(struct conn *c);

/* store/commit.h: the queue to the committer thread, and the policy for a batch. */
#pragma once

#include "store/txn.h"

/* --- commit.c --- */
/* `deliver` gets what is decided: a chain in order, each with its rc; on the committer's thread. */
void commit_start(const struct store_opts *opts, struct engine *e,
                  void (*deliver)(struct store_txn *chain));
/* Room in the queue for t? GR_EAGAIN when not. Then commit_push must follow. Any thread. */
int commit_reserve(const struct store_txn *t);
/* True: the committer sleeps; commit_wake is to follow. */
bool commit_push(struct store_txn *take);
void commit_wake(void);       /* any thread */
bool commit_step(void);       /* manual mode: one batch; false when nothing was queued */
void commit_flush(void);
void commit_stop(void);       /* everything queued is decided first */
void commit_stats(struct store_stats *out);

/* --- batch.c --- */
/* Decides all of v[0..n-1] (rc), in one engine transaction when possible. False: the environment
 * failed; nothing may be tried with it again. */
bool batch_run(struct engine *e, struct store_txn **v, size_t n);
struct batch_stats {
    _Atomic uint64_t commits, ops, sync_us_last;
};
extern struct batch_stats batch_stats;

/* --- space.c: how much room the disk has, and the ballast kept for deletions; committer --- */
void space_open(int dir_fd);  /* -1: no directory */
void space_close(void);
/* The disk (or the map) had no room: gives up the ballast. */
void space_exhausted(bool map);
/* A commit that added rows went through. */
void space_fits(void);
/* Looks whether there is room again, when there was none. */
void space_check(void);
bool space_refuses(const struct store_txn *t);
bool space_full(void);        /* any thread */
uint64_t space_free(void);    /* any thread */

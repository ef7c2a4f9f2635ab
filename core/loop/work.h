/* loop/work.h: a small pool of threads for what would stall a loop (password hashing). */
#pragma once

#include "loop/loop.h"

struct work {
    struct post post;                 /* private */
    struct loop *origin;              /* private */
    void (*run)(struct work *w);      /* on a pool thread; touches only its own struct */
    void (*done)(struct work *w);     /* on the loop that submitted */
};

void work_init(int threads, int queue_max);
void work_fini(void);                 /* waits for what runs; queued work is done()-ne too */
/* 0, or GR_EAGAIN when queue_max jobs wait already (then nothing will be called). */
int work_submit(struct work *w);

/* secret.h: the server's own secret, in data_dir: the decoys of unknown users must look the same
 * after a restart. Main thread, before the loops start. */
#pragma once

/* Reads it, makes it when there is none, hands it to those who need it. 0, or GR_EIO and a sentence
 * (caller frees). */
int secret_load(const char *data_dir, char **why);

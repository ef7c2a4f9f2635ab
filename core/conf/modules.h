/* conf/modules.h: which modules run on which host. Used in conf only. */
#pragma once

#include "conf/conf.h"

/* Fills the module lists of the hosts, which are complete otherwise. */
void conf_modules_build(struct conf *c, struct conf_errors *errs);
/* What `enabled` says in a section that has been checked. */
bool conf_section_enabled(const struct ini_section *s);
static inline bool conf_is_module(const struct ini_section *s)
{
    return s->name[0] == 'm' && s->name[1] == 'o' && s->name[2] == 'd' && s->name[3] == '_';
}

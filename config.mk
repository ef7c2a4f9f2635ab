# What a builder may want to change; every line can also be given on the command line
# (`make CC=clang PREFIX=/usr`). Flags that depend on the compiler or on libraries are not here:
# scripts/probe tests them and writes $(BUILD)/probe.mk.

VERSION  = 0.1.0
PREFIX   = /usr/local
SYSCONF  = /etc

ifeq ($(origin CC),default)
CC       = gcc
endif
OPT      = -O2 -g
WARN     = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
           -Werror=incompatible-pointer-types

# WERROR=1 turns warnings into errors; so does CI=true.
WERROR  ?= $(if $(filter true 1,$(CI)),1)
# SAN=address,undefined or SAN=thread: an instrumented build, in a folder of its own.
SAN     ?=

/* SPDX-License-Identifier: MIT */
/* libgreet.h - greets, and counts how often. */
#ifndef LIBGREET_H
#define LIBGREET_H
#include <stddef.h>
/** Writes a greeting of @name; returns its length. */
int greet(const char *name, char *text, size_t size);
/** How many greetings there have been. */
unsigned long greet_count(void);
#endif

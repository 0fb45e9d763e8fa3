/* SPDX-License-Identifier: MIT */
/* A library's data from the executable by a 32-bit pc-relative field. */
extern char far_away[] __asm__("environ") __attribute__((visibility("hidden")));
void *f(void);
void *f(void)
{
	return far_away;
}

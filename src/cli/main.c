/* SPDX-License-Identifier: MIT */
/*
 * main.c - suture: finds the command, reads its options, runs it, ends well.
 *
 * Exit statuses are those of suture(1); the command's run() returns one, and whatever goes
 * wrong while the result is written makes it worse, never better.
 */
#include <locale.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "");
	sut_output_init();
	return sut_main(argc, argv);
}

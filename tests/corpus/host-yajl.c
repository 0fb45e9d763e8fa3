/* SPDX-License-Identifier: MIT */
/*
 * host-yajl - keeps libyajl in a process and parses what each line holds, twenty thousand times. The answer says
 * whether memory was lost: "leaks" if the heap in use has grown by more than 1 MB, else "steady" (CVE-2023-33460).
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <yajl/yajl_tree.h>

int main(void)
{
	char line[256], error[256];

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		size_t before = mallinfo2().uordblks;

		for (int i = 0; i < 20000; i++) {
			yajl_val v = yajl_tree_parse(line, error, sizeof(error));

			if (v)
				yajl_tree_free(v);
		}
		puts(mallinfo2().uordblks > before + (1 << 20) ? "leaks" : "steady");
	}
	return 0;
}

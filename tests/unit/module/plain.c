/* SPDX-License-Identifier: MIT */
/* plain.c - code without libraries and thread-locals, which GNU ld can link at given addresses. */
extern int host_counter;
extern int host_add(int a, int b);
extern int late_host_hidden;
extern int late_host_hidden_add(int a, int b);

static const char *const names[] = { "zero", "one", "two", "three" };
static int (*operations[])(int, int) = { host_add, host_add };
static int state;

const char *pl_name(unsigned i);
const char *pl_name(unsigned i)
{
	return i < 4 ? names[i] : "many";
}

int pl_call(int a, int b);
int pl_call(int a, int b)
{
	int *counter = &host_counter;

	state += (*counter)++;
	return operations[a & 1](a, b) + host_add(b, a);
}

int pl_late(int a);
int pl_late(int a)
{
	return late_host_hidden_add(a, ++late_host_hidden);
}

int pl_switch(int x);
int pl_switch(int x)
{
	switch (x) {
	case 0:
		return pl_call(1, 2);
	case 1:
		return state;
	case 2:
		return host_counter;
	case 3:
		return pl_late(1);
	case 4:
		return *pl_name(2);
	case 5:
		return 12;
	}
	return -1;
}

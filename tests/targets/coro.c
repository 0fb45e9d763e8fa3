/* SPDX-License-Identifier: MIT */
/*
 * coro - a server with one coroutine, which can be suspended inside of the function that coro.diff patches.
 *
 *	coro MEMORY [served]
 *
 * MEMORY says where the coroutine's stack is: heap, mmap, data, or frame (inside of main's own). Lines on stdin:
 *
 *	ask N      answer: "N" thrice and 1 before the fix, thrice and 100 after
 *	start      a new coroutine, suspended before it calls the function (its stack is zeroed first)
 *	inside     it goes on and is suspended inside of the function
 *	leave      it goes on, leaves the function and is suspended elsewhere; answer: what the function returned
 *
 * With "served" the server itself runs as a second coroutine: the thread never stands on its own stack.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK 65536

static ucontext_t server, co, before;
static char data_stack[STACK] __attribute__((aligned(16)));
static char *stack;
static volatile int suspend, result;

int turn(int n);
void rest(void);
/* Pointers to functions are no places to return to. */
int (*volatile turn_pointer)(int) = turn;
void (*volatile rest_pointer)(void) = rest;

__attribute__((noinline)) static void yield(void)
{
	swapcontext(&co, &server);
	__asm__ volatile(""); /* no tail call: only the stack says where the coroutine is */
}

__attribute__((noinline)) static void note(void)
{
	__asm__ volatile("");
}

__attribute__((noinline)) int turn(int n)
{
	int v = n * 3 + 1;

	if (n < 0)
		note();
	if (suspend)
		yield();
	return v;
}

/* Overwrites what turn() left on the stack. Without alignment it begins where turn() ends. */
__attribute__((noinline)) void rest(void)
{
	volatile char pad[4096];

	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] = 0;
	yield();
	pad[0] = 1;
}

static void body(void)
{
	rest_pointer();
	for (;;) {
		result = turn_pointer(7);
		rest_pointer();
	}
}

static void resume(int inside)
{
	suspend = inside;
	swapcontext(&server, &co);
	suspend = 0;
}

static void start(void)
{
	memset(stack, 0, STACK);
	getcontext(&co);
	co.uc_stack.ss_sp = stack;
	co.uc_stack.ss_size = STACK;
	makecontext(&co, body, 0);
	resume(0);
}

static void serve(void)
{
	char line[256];

	printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "ask ", 4)) {
			printf("%d\n", turn(atoi(line + 4)));
		} else if (!strncmp(line, "start", 5)) {
			start();
			printf("started\n");
		} else if (!strncmp(line, "inside", 6)) {
			resume(1);
			printf("inside\n");
		} else if (!strncmp(line, "leave", 5)) {
			resume(0);
			printf("%d\n", result);
		} else {
			printf("what?\n");
		}
	}
	exit(0);
}

__attribute__((noinline)) static void dig(void)
{
	volatile char pad[8192];

	pad[0] = 0;
	turn(-1);
	pad[1] = 0;
}

/* Has been in the function, and sleeps: an address in it is left below the stack pointer, and nobody's. */
static void *sleeper(void *arg)
{
	dig();
	for (;;)
		pause();
	return arg;
}

/* A stack as large as that of a program that has done some work: suture keeps a frame on it. */
__attribute__((noinline)) static void grow(void)
{
	volatile char deep[8 * STACK];

	deep[0] = 1;
}

int main(int argc, char **argv)
{
	const char *memory = argc > 1 ? argv[1] : "heap";
	char frame_stack[STACK];
	pthread_t t;

	grow();
	setvbuf(stdout, NULL, _IOLBF, 0);
	stack = !strcmp(memory, "frame")  ? frame_stack
		: !strcmp(memory, "data") ? data_stack
		: !strcmp(memory, "mmap")
			? mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
			: malloc(STACK);
	if (!stack || pthread_create(&t, NULL, sleeper, NULL) != 0)
		return 1;
	if (argc > 2) {
		static ucontext_t served;

		getcontext(&served);
		served.uc_stack.ss_sp = calloc(1, 4 * STACK);
		served.uc_stack.ss_size = 4 * STACK;
		makecontext(&served, serve, 0);
		swapcontext(&before, &served);
	}
	serve();
}

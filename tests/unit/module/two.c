/* SPDX-License-Identifier: MIT */
/* two.c - new functions for two objects in one module: main_* for the executable, lib_* for a library. */
#define HIDDEN    __attribute__((visibility("hidden")))
#define LOCAL_TLS __attribute__((visibility("hidden"), tls_model("local-dynamic")))

extern int late_host_hidden HIDDEN;
extern int late1_lib_hidden HIDDEN;
extern __thread int late1_lib_hidden_tls LOCAL_TLS;
extern __thread int late1_lib_hidden_tls2 LOCAL_TLS;
int host_add(int a, int b);

static int helper(int x);

/* In reach of its own object's data. */
int main_fn(int x)
{
	return late_host_hidden + x;
}

int lib_fn(int x)
{
	return late1_lib_hidden + x;
}

/* From one area into the other. */
int main_calls_lib(int x)
{
	return lib_fn(x) * 2;
}

int lib_calls_main(int x)
{
	return main_fn(x) * 3 + host_add(x, 1);
}

/* Local dynamic: one base, two offsets. */
int lib_tls_sum(void)
{
	return ++late1_lib_hidden_tls * 100 + ++late1_lib_hidden_tls2;
}

int lib_helped(int x)
{
	return helper(x) + late1_lib_hidden;
}

/* Belongs to nobody by itself: goes with its user. */
static __attribute__((noinline, noclone)) int helper(int x)
{
	return host_add(x, x) ^ 1;
}

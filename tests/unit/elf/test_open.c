/* SPDX-License-Identifier: MIT */
/*
 * Opening files: what is refused and with which words, what the headers become, and that paths below a
 * foreign root do not lead out of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "elf/priv.h"
#include "elf/root.h"
#include "fixture.h"

static int open_fails(const char *path, const char *part)
{
	struct sut_elf *e = NULL;
	int err = sut_elf_open(ctx, path, &e);

	assert_null(e);
	assert_int_not_equal(err, 0);
	assert_contains(fx_error(), part);
	return err;
}

static void test_not_regular(void **state)
{
	struct sut_elf *e = NULL;

	assert_int_equal(mkfifo(fx_path("fifo"), 0600), 0);
	/* Returns at once: nobody writes to the FIFO. */
	assert_int_equal(open_fails(fx_path("fifo"), "not a regular file"), -SUTURE_EREFUSED);
	assert_int_equal(open_fails("/dev/zero", "not a regular file"), -SUTURE_EREFUSED);
	assert_int_equal(open_fails("/tmp", "not a regular file"), -SUTURE_EREFUSED);
	assert_int_equal(open_fails(fx_path("nothing"), "No such file"), -ENOENT);
	assert_int_equal(sut_elf_open_fd(ctx, open("/dev/zero", O_RDONLY), "zero", &e), -SUTURE_EREFUSED);
	assert_contains(fx_error(), "zero is not a regular file");
}

static void test_not_elf(void **state)
{
	open_fails(fx_text("empty", ""), "not an ELF file");
	open_fails(fx_text("text", "#!/bin/sh\necho this is a script\n"), "not an ELF file");
	open_fails(fx_write("magic", "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0", 16), "damaged");
}

static void test_huge(void **state)
{
	const char *path = fx_path("huge");
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	if (ftruncate(fd, (off_t)5 << 30)) {
		close(fd);
		skip();
	}
	close(fd);
	assert_int_equal(open_fails(path, "too large"), -SUTURE_EREFUSED);
	unlink(path);
}

/* Every length of a file is either refused or, when only the tail is gone that nobody needs, opened. */
static void test_truncated(void **state)
{
	size_t len, opened = 0;
	uint8_t *whole = fx_read(fx_path("pie"), &len);

	for (size_t n = 0; n < len; n += 97) {
		struct sut_elf *e = NULL;
		const char *path = fx_write("cut", whole, n);

		if (!sut_elf_open(ctx, path, &e))
			opened++;
		else
			assert_true(strstr(fx_error(), "truncated") || strstr(fx_error(), "damaged") ||
				    strstr(fx_error(), "not an ELF"));
		sut_elf_close(e);
	}
	free(whole);
	assert_int_equal(opened, 0); /* section headers stand last, so no cut goes unseen */
}

static void test_kinds(void **state)
{
	struct sut_elf *pie = fx_open("pie"), *lib = fx_open("lib.so"), *exe = fx_open("static"),
		       *obj = fx_open("lib.o");

	assert_true(pie->is64 && pie->little);
	assert_true(pie->is_pie && pie->interp && !pie->soname && pie->has_dynamic && !pie->only_debug);
	assert_int_equal(pie->type, ET_DYN);
	assert_int_equal(pie->build_id_len, 20);
	assert_true(pie->bind_now);
	assert_true(pie->relro_end > pie->relro_start);
	assert_int_equal(pie->tls_memsz, 8);
	assert_int_equal(pie->tls_filesz, 4);
	assert_non_null(sut_elf_bytes(pie, pie->entry, 16));
	assert_false(lib->is_pie);
	assert_string_equal(lib->soname, "libfx.so.1");
	assert_false(lib->bind_now);
	assert_int_equal(exe->type, ET_EXEC);
	assert_false(exe->has_dynamic || exe->interp || exe->is_pie);
	assert_int_equal(obj->type, ET_REL);
	assert_int_equal(obj->load.n, 0);
	sut_elf_close(pie);
	sut_elf_close(lib);
	sut_elf_close(exe);
	sut_elf_close(obj);
}

static void test_bytes(void **state)
{
	struct sut_elf *e = fx_open("pie");
	const struct sut_section *text = sut_elf_section(e, ".text"), *bss = sut_elf_section(e, ".bss");

	assert_non_null(text);
	assert_non_null(bss);
	assert_null(sut_elf_section(e, ".no.such"));
	assert_ptr_equal(sut_elf_bytes(e, text->addr, text->size), text->data);
	assert_null(bss->data);
	assert_null(sut_elf_bytes(e, bss->addr, bss->size));
	assert_null(sut_elf_bytes(e, text->addr, SIZE_MAX));
	assert_null(sut_elf_bytes(e, UINT64_MAX, 1));
	assert_null(sut_elf_bytes(e, UINT64_MAX - 4, 16));
	sut_elf_close(e);
}

static void test_only_debug(void **state)
{
	struct sut_elf *e = fx_open("pie.debug"), *full = fx_open("pie");

	assert_true(e->only_debug);
	assert_int_equal(e->build_id_len, full->build_id_len);
	assert_memory_equal(e->build_id, full->build_id, e->build_id_len);
	assert_null(sut_elf_bytes(e, sut_elf_section(full, ".text")->addr, 1));
	sut_elf_close(e);
	sut_elf_close(full);
}

/* A piece of a process has no section headers; what it has is found without them. */
static void test_memory(void **state)
{
	struct sut_elf *e = NULL, *full = fx_open("lib.so");
	uint64_t end = 0;
	size_t len;
	uint8_t *p = fx_read(fx_path("lib.so"), &len);

	for (size_t i = 0; i < full->load.n; i++)
		end = full->load.v[i].offset + full->load.v[i].filesz;
	assert_int_equal(sut_elf_open_memory(ctx, p, end, "memory", &e), 0);
	assert_int_equal(e->sec.n, 0);
	assert_int_equal(e->build_id_len, full->build_id_len);
	assert_string_equal(e->soname, "libfx.so.1");
	assert_int_equal(sut_elf_dynsym_count(e), sut_elf_dynsym_count(full));
	sut_elf_close(e);
	assert_int_equal(sut_elf_open_memory(ctx, calloc(1, 64), 64, "zeros", &e), -SUTURE_EREFUSED);
	sut_elf_close(full);
}

/* While a file is open, nobody gets it truncated under us: what was mapped stays as it was. */
static void test_held_still(void **state)
{
	struct sut_elf *e = NULL;
	const char *path = fx_path("big");
	uint8_t before[SUT_DIGEST_SIZE], after[SUT_DIGEST_SIZE];
	int status;
	pid_t pid;

	fx_run("cp pie big && dd if=/dev/zero bs=1024 count=256 >> big 2>/dev/null");
	assert_int_equal(sut_elf_open_fd(ctx, open(path, O_RDONLY | O_CLOEXEC), path, &e), 0);
	sut_digest(e->image, e->image_size, before);
	pid = fork();
	if (!pid) {
		close(e->fd);
		/* Somebody else, who does not wait: refused where we hold a lease, and harmless where we read. */
		int fd = open(path, O_WRONLY | O_TRUNC | O_NONBLOCK);

		_exit(fd >= 0 ? 1 : errno == EWOULDBLOCK ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), e->mapped ? 0 : 1);
	sut_digest(e->image, e->image_size, after);
	assert_memory_equal(before, after, sizeof(before));
	sut_elf_close(e);
}

static void test_digest(void **state)
{
	/* BLAKE2b-256 of "abc", from the reference implementation. */
	static const char abc[] = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
	struct sut_elf *a = fx_open("pie"), *b = fx_open("pie.stripped"), *c = fx_open("lib.so"), *o = fx_open("lib.o");
	uint8_t x[SUT_DIGEST_SIZE], y[SUT_DIGEST_SIZE];
	char hex[65];

	sut_digest("abc", 3, x);
	assert_string_equal(sut_hex(x, sizeof(x), hex), abc);
	assert_int_equal(sut_elf_content_digest(a, x), 0);
	assert_int_equal(sut_elf_content_digest(b, y), 0);
	assert_memory_equal(x, y, sizeof(x));
	assert_int_equal(sut_elf_content_digest(c, y), 0);
	assert_memory_not_equal(x, y, sizeof(x));
	assert_int_equal(sut_elf_content_digest(o, y), -SUTURE_EREFUSED);
	sut_elf_close(a);
	sut_elf_close(b);
	sut_elf_close(c);
	sut_elf_close(o);
}

static void reads(int fd, const char *text)
{
	char buf[32] = "";

	assert_true(fd >= 0);
	assert_int_equal(read(fd, buf, sizeof(buf) - 1), strlen(text));
	assert_string_equal(buf, text);
	close(fd);
}

static void in_root(int (*open_in)(const char *root, const char *path))
{
	const char *root = fx_path("root");

	reads(open_in(root, "/etc/name"), "inside");
	reads(open_in(root, "etc/./name"), "inside");
	reads(open_in(root, "../../../etc/name"), "inside");
	reads(open_in(root, "/absolute"), "inside"); /* -> /etc/name, in the root */
	reads(open_in(root, "/sub/up"), "inside"); /* -> ../../../../etc/name */
	reads(open_in(root, "/dirlink/name"), "inside");
	assert_int_equal(open_in(root, "/etc/nothing"), -ENOENT);
	assert_int_equal(open_in(root, "/etc/name/more"), -ENOTDIR);
	assert_int_equal(open_in(root, "/loop"), -ELOOP);
	assert_int_equal(open_in(root, "/etc"), -EISDIR);
	assert_int_equal(open_in(root, "/"), -EISDIR);
	assert_int_equal(open_in(root, "/fifo"), -EINVAL);
	assert_int_equal(open_in(fx_path("no-root"), "/etc/name"), -ENOENT);
	assert_int_equal(open_in("/proc", "/self/exe"), -ELOOP);
	reads(open_in("", fx_path("root/etc/name")), "inside");
}

static void test_root(void **state)
{
	fx_run("mkdir -p root/etc root/sub && printf inside > root/etc/name && cd root && ln -s /etc/name absolute && "
	       "ln -s ../../../../etc/name sub/up && ln -s /etc dirlink && ln -s loop loop && mkfifo fifo");
	in_root(sut_open_in_root);
	in_root(sut_open_in_root_walk);
}

static const char program[] = "#include <stdio.h>\n"
			      "_Thread_local int tls = 1, tls_bss;\n"
			      "int data = 1, bss[100];\n"
			      "int main(void) { return printf(\"%d\", tls + tls_bss + data + bss[3]); }\n";

static int setup(void **state)
{
	fx_text("pie.c", program);
	fx_text("lib.c", "int fx_value = 1; int fx_get(void) { return fx_value; }\n");
	fx_run("cc -O2 -g -fPIE -pie -Wl,--build-id=sha1 -Wl,-z,now -Wl,-z,relro -o pie pie.c");
	fx_run("strip -o pie.stripped pie && objcopy --only-keep-debug pie pie.debug");
	fx_run("cc -O2 -fPIC -c lib.c && cc -shared -Wl,-z,lazy -Wl,-soname,libfx.so.1 -Wl,--build-id=sha1 -o lib.so "
	       "lib.o");
	fx_text("static.s", ".globl _start\n.text\n_start: hlt\n");
	fx_run("cc -c static.s && ld -static -o static static.o");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_regular), cmocka_unit_test(test_not_elf), cmocka_unit_test(test_huge),
		cmocka_unit_test(test_truncated),   cmocka_unit_test(test_kinds),   cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_only_debug),  cmocka_unit_test(test_memory),  cmocka_unit_test(test_held_still),
		cmocka_unit_test(test_digest),      cmocka_unit_test(test_root),
	};

	fx_start();
	return fx_end(cmocka_run_group_tests(tests, setup, NULL));
}

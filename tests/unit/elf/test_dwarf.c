/* SPDX-License-Identifier: MIT */
/*
 * Debug information: in the file, in an object that must be relocated first, in a separate file, and with a
 * supplement made by dwz, which must be the right one.
 */
#include <dwarf.h>

#include "elf/dwarf.h"
#include "elf/symtab.h"
#include "fixture.h"

/* Finds the size and the second member of "struct marked" by walking all units. */
static bool find_struct(Dwarf *dw, uint64_t *ret_size, char member[32])
{
	Dwarf_Off off = 0, next;
	size_t head;

	for (; !dwarf_nextcu(dw, off, &next, &head, NULL, NULL, NULL); off = next) {
		Dwarf_Die cu, die;

		if (!dwarf_offdie(dw, off + head, &cu) || dwarf_child(&cu, &die))
			continue;
		do {
			const char *name = dwarf_diename(&die);
			Dwarf_Die m;

			if (dwarf_tag(&die) != DW_TAG_structure_type || !name || strcmp(name, "marked"))
				continue;
			*ret_size = (uint64_t)dwarf_bytesize(&die);
			assert_int_equal(dwarf_child(&die, &m), 0);
			assert_int_equal(dwarf_siblingof(&m, &m), 0);
			snprintf(member, 32, "%s", dwarf_diename(&m));
			return true;
		} while (!dwarf_siblingof(&die, &die));
	}
	return false;
}

static void check(Dwarf *dw)
{
	uint64_t size = 0;
	char member[32];

	assert_true(find_struct(dw, &size, member));
	assert_int_equal(size, 24);
	assert_string_equal(member, "second_member_of_it");
}

static void test_own(void **state)
{
	struct sut_elf *e = fx_open("prog"), *s = fx_open("prog.stripped");
	Dwarf *dw = NULL, *again = NULL;

	assert_true(sut_elf_has_dwarf(e));
	assert_int_equal(sut_elf_dwarf(e, "", &dw), 0);
	check(dw);
	assert_int_equal(sut_elf_dwarf(e, "", &again), 0);
	assert_ptr_equal(dw, again);
	assert_false(sut_elf_has_dwarf(s));
	assert_int_equal(sut_elf_dwarf(s, "", &dw), -SUTURE_ENOTFOUND);
	assert_int_equal(sut_dwarf_find(s, NULL, "/nonexistent", &dw), -SUTURE_ENOTFOUND);
	/* From the debug file that the symbols came from. */
	assert_int_equal(sut_dwarf_find(s, e, "/nonexistent", &dw), 0);
	assert_ptr_equal(dw, again);
	sut_elf_close(e);
	sut_elf_close(s);
}

/* In an object, names are offsets that the linker would fill in. */
static void test_object(void **state)
{
	struct sut_elf *e = fx_open("main.o");
	uint8_t before[SUT_DIGEST_SIZE], after[SUT_DIGEST_SIZE];
	Dwarf *dw = NULL;

	sut_digest(e->image, e->image_size, before);
	assert_int_equal(sut_elf_dwarf(e, "", &dw), 0);
	check(dw);
	/* Its own bytes are left alone: others read the relocations. */
	sut_digest(e->image, e->image_size, after);
	assert_memory_equal(before, after, sizeof(before));
	sut_elf_close(e);
}

static void test_separate(void **state)
{
	struct sut_elf *e = fx_open("prog.stripped");
	Dwarf *dw = NULL;

	fx_run("id=$(readelf -n prog | sed -n 's/.*Build ID: //p') && d=root/usr/lib/debug/.build-id/$(echo $id | cut "
	       "-c1-2) && "
	       "mkdir -p $d && cp prog.debug $d/$(echo $id | cut -c3-).debug");
	assert_int_equal(sut_dwarf_find(e, NULL, fx_path("root"), &dw), 0);
	check(dw);
	sut_elf_close(e);
}

static void test_supplement(void **state)
{
	struct sut_elf *e;
	Dwarf *dw = NULL;

	if (!fx_have("dwz"))
		skip();
	fx_run("cp prog one && cp prog2 two && dwz -m common one two");
	e = fx_open("one");
	assert_non_null(sut_elf_section(e, ".gnu_debugaltlink"));
	assert_int_equal(sut_elf_dwarf(e, "", &dw), 0);
	assert_non_null(dwarf_getalt(dw));
	sut_elf_close(e);
	/* Another file of that name. */
	fx_run("cp prog common");
	e = fx_open("one");
	assert_int_equal(sut_elf_dwarf(e, "", &dw), -SUTURE_EREFUSED);
	assert_contains(fx_error(), "needs the supplementary debug file common");
	sut_elf_close(e);
}

static int setup(void **state)
{
	/* Enough of it for dwz to have something to share. */
	fx_text("types.h", "struct marked { long first_member_of_it; int second_member_of_it; char third[12]; };\n"
#define T(n)                                                                              \
	"struct type_with_a_long_name_" #n                                                \
	" { long some_member_with_a_long_name; struct marked *another_member_of_it; };\n" \
	"extern struct type_with_a_long_name_" #n " variable_" #n ";\n"
		T(a) T(b) T(c) T(d) T(e) T(f) T(g) T(h));
	fx_text("main.c", "#include \"types.h\"\nstruct marked m;\nstruct type_with_a_long_name_a variable_a;\n"
			  "struct type_with_a_long_name_b variable_b;\nstruct type_with_a_long_name_c variable_c;\n"
			  "int main(void) { return m.second_member_of_it; }\n");
	fx_run("cc -g -O1 -fPIE -c main.c && cc -pie -Wl,--build-id=sha1 -o prog main.o && strip -o prog.stripped prog "
	       "&& "
	       "objcopy --only-keep-debug prog prog.debug");
	fx_run("cc -g -O1 -fPIE -DX -pie -Wl,--build-id=sha1 -o prog2 main.c");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_object),
		cmocka_unit_test(test_separate),
		cmocka_unit_test(test_supplement),
	};

	fx_start();
	return fx_end(cmocka_run_group_tests(tests, setup, NULL));
}

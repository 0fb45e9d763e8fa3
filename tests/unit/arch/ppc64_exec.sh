#!/bin/sh
# SPDX-License-Identifier: MIT
# ppc64_exec.sh SOURCE-FOLDER - compiles ppc64_exec.c for ppc64le and runs it under qemu, as POWER9 and as POWER10.
set -eu

src=$1
cc=powerpc64le-linux-gnu-gcc
for qemu in qemu-ppc64le-static qemu-ppc64le ''; do
	command -v "$qemu" >/dev/null && break
done
if ! command -v $cc >/dev/null || [ -z "$qemu" ]; then
	echo "skipped: needs gcc-powerpc64le-linux-gnu and qemu-user"
	exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
$cc -std=gnu11 -O1 -g -D_GNU_SOURCE -static -no-pie -mcpu=power9 -Wall -Wextra -Wno-unused-parameter \
	-Wno-missing-field-initializers -I"$src/src" -o "$dir/exec" "$src/tests/unit/arch/ppc64_exec.c" \
	"$src/tests/unit/arch/ppc64_exec.S" "$src"/src/arch/ppc64le/*.c
echo "POWER9:"
"$qemu" -cpu power9 "$dir/exec"
echo "POWER10:"
"$qemu" -cpu power10 "$dir/exec" prefixed

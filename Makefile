# SPDX-License-Identifier: MIT
# The everyday doors to the Meson build. Nothing is built by this file itself.
#
#   make           build the program: build/suture
#   make demo      Debian's own redis-server, patched live under load (installs what it needs)
#   make check     lint, unit tests (plain, sanitizers), end-to-end tests (installs what it needs)
#   make corpus    real security fixes, one line per case
#   make bench     figures side by side, raw JSON in bench/results/
#   make soak64    1,000 cycles against 64 busy threads (make check runs fewer)
#   make soak      the 1,000 cycles, and 200 on redis and on a library
#   make levels    the builder's unit tests at -O0 to -O3 (make check runs -O2)
#   make words     millions of arm64 and ppc64le instructions, decoded as objdump does (make check runs fewer)
#   make lint      layers, formatting, shellcheck, cppcheck, clang-tidy
#   make e2e       the end-to-end tests alone;  make e2e T='fork nspid'  some of them
#   make install   through meson (PREFIX=/usr/local, DESTDIR)
#   make clean     everything built; downloads stay in ./cache (make distclean)

BUILD  ?= build
PREFIX ?= /usr/local
SUTURE  = $(CURDIR)/$(BUILD)/suture
T      ?=

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)
	@ln -sf src/cli/suture $(BUILD)/suture

# Packages are asked for only when the build folder does not exist yet: make stays quick.
$(BUILD)/build.ninja:
	@tools/deps build
	meson setup $(BUILD) --prefix $(PREFIX)

demo:
	@demo/run

check:
	@tools/check

lint:
	@tools/deps check
	@tools/lint

e2e: all
	@tools/deps check
	@SUTURE=$(SUTURE) tests/e2e/run $(T)

soak64: all
	@tools/deps check
	@SUTURE=$(SUTURE) SOAK_CYCLES=1000 SOAK_THREADS=64 TEST_TIMEOUT=7200 tests/e2e/run busy64 storm64

soak: all
	@tools/deps check
	@SUTURE=$(SUTURE) SOAK_CYCLES=1000 SOAK_THREADS=64 REDIS_CYCLES=200 LIB_CYCLES=200 TEST_TIMEOUT=7200 \
		tests/e2e/run busy64 storm64 redis-cycles library-cycles

levels: all
	@tools/deps check
	@meson test -C $(BUILD) --no-rebuild --suite levels

words: all
	@tools/deps check
	@tools/words $(BUILD)

corpus: all
	@tools/deps corpus
	@SUTURE=$(SUTURE) tests/corpus/run $(T)

bench: all
	@tools/deps bench
	@SUTURE=$(SUTURE) bench/run

install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) build-check build-asan build-clang build-aarch64 build-ppc64le

distclean: clean
	rm -rf cache

.PHONY: all demo check lint e2e levels words soak64 soak corpus bench install clean distclean

# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# lib.sh - what every end-to-end test begins with:  . "$(dirname "$0")/lib.sh"
#
# A test is a POSIX sh script that prints TAP. It has a private folder $T, builds small programs there, starts them
# on a pair of pipes, lets suture work on them, and asks the program itself what it does now. All that it started
# ends with it. $SUTURE is the program under test.
set -u

root=$(cd "$(dirname "$0")/../.." && pwd)
SUTURE=${SUTURE:-$root/build/suture}
targets=$root/tests/targets
T=$(mktemp -d "${TMPDIR:-/tmp}/suture-test.XXXXXX")
OUT=$T/out # stdout and stderr of the last command that expect() ran
n_tests=0
n_failed=0
started= # processes to be ended
PID=0 # of the last start()
finished=

cleanup() {
	status=$?
	[ -n "$finished" ] || [ $status = 77 ] || echo "not ok $((n_tests + 1)) - the test itself stopped (status $status)"
	for p in $started; do
		kill -CONT "$p" 2>/dev/null
		kill -KILL "$p" 2>/dev/null
	done
	# Children that a target left behind have our folder as their program or directory.
	for exe in /proc/[0-9]*/exe; do
		case $(readlink "$exe" 2>/dev/null) in
		"$T"/*) p=${exe#/proc/} && kill -KILL "${p%/exe}" 2>/dev/null ;;
		esac
	done
	cd /
	[ -n "${KEEP-}" ] && echo "# kept $T" || rm -rf "$T"
	[ -z "$finished" ] || [ $n_failed = 0 ] || exit 1
}
trap cleanup EXIT
trap 'exit 130' INT TERM PIPE

# --- saying what was seen -------------------------------------------------------------------------------------

ok() { n_tests=$((n_tests + 1)) && echo "ok $n_tests - $*"; }
not_ok() {
	n_tests=$((n_tests + 1))
	n_failed=$((n_failed + 1))
	echo "not ok $n_tests - $*"
}
skip() { # description, reason
	n_tests=$((n_tests + 1))
	echo "ok $n_tests - $1 # SKIP $2"
}
skip_all() { # reason
	finished=1
	echo "1..0 # SKIP $*"
	exit 77
}
note() { sed 's/^/#   /' "$@"; }
done_testing() {
	echo "1..$n_tests"
	finished=1
	exit 0
}
# Goes no further: what follows would have no meaning.
bail() {
	not_ok "$*"
	done_testing
}

is() { # description, got, want
	if [ "$2" = "$3" ]; then ok "$1"; else
		not_ok "$1"
		printf 'got:  %s\nwant: %s\n' "$2" "$3" | note
	fi
}
like() { # description, text, shell pattern
	# shellcheck disable=SC2254 # a pattern it is
	case $2 in
	$3) ok "$1" ;;
	*)
		not_ok "$1"
		printf 'got:  %s\nlike: %s\n' "$2" "$3" | note
		;;
	esac
}
holds() { # description, command...
	what=$1
	shift
	if "$@" >"$T/holds" 2>&1; then ok "$what"; else
		not_ok "$what"
		note "$T/holds"
	fi
}

# Runs a command whose exit status must be $1; its output is in $OUT.
expect() { # status, description, command...
	want=$1 what=$2
	shift 2
	"$@" >"$OUT" 2>&1 </dev/null
	got=$?
	if [ "$got" = "$want" ]; then ok "$what"; else
		not_ok "$what"
		echo "\$ $*" | note
		note "$OUT"
		echo "exit status $got, not $want" | note
		return 1
	fi
}
# The same for a refusal: one message, saying why, and a hint or reason that is more than a code.
refuses() { # status, description, pattern of the message, command...
	want_s=$1 what_s=$2 pattern=$3
	shift 3
	expect "$want_s" "$what_s" "$@" || return 1
	if grep -qiE -- "$pattern" "$OUT"; then ok "$what_s: says why"; else
		not_ok "$what_s: says why ($pattern)"
		note "$OUT"
	fi
}

# --- programs -------------------------------------------------------------------------------------------------

# Compiles tests/targets/NAME.c (or .cc) in $T/src the way a project does, with compile_commands.json beside it.
# $CC, $CXX, $CFLAGS, $LDFLAGS as usual. The program is $T/NAME, or $T/NAME.so for lib*.
build_target() { # name
	mkdir -p "$T/src"
	cp "$targets"/*.h "$T/src/"
	case $1 in
	lib*) set -- "$1" c "${CC:-cc}" "-fPIC" "-shared" ;;
	*) if [ -e "$targets/$1.cc" ]; then set -- "$1" cc "${CXX:-c++}" "" ""; else set -- "$1" c "${CC:-cc}" "" ""; fi ;;
	esac
	cp "$targets/$1.$2" "$T/src/"
	bin=$T/$1
	[ "$5" = "-shared" ] && bin=$T/$1.so
	cmd="$3 -O2 -g $4 ${CFLAGS-} -c -o $1.o $1.$2"
	(cd "$T/src" && $cmd && $3 ${LDFLAGS-} $5 -o "$bin" "$1.o" ${LIBS-} -pthread) >"$OUT" 2>&1 || {
		note "$OUT"
		bail "$1 does not compile"
	}
	cat >"$T/src/compile_commands.json" <<-END
		[ { "directory": "$T/src", "file": "$1.$2", "output": "$1.o", "command": "$cmd" } ]
	END
}

# Builds $T/NAME.sut from tests/targets/NAME.diff for $T/NAME (or another binary given second).
build_patch() { # name [binary [option...]]
	bp_name=$1
	bp_bin=${2:-$T/$1}
	[ -e "$bp_bin" ] || bp_bin=$bp_bin.so
	[ $# -lt 2 ] || shift
	shift
	"$SUTURE" build -t "$bp_bin" -s "$T/src" -d "$targets/$bp_name.diff" --name "$bp_name-fix" \
		-o "$T/$bp_name.sut" "$@" >"$OUT" 2>&1 </dev/null || {
		echo "suture build: exit status $?" | note
		note "$OUT"
		bail "a patch for $bp_name is built"
	}
}

# Starts a program on two pipes and waits for its line "ready"; $PID is what was started.
start() { # program [argument...]
	rm -f "$T/stdin" "$T/stdout"
	mkfifo "$T/stdin" "$T/stdout"
	"$@" <"$T/stdin" >"$T/stdout" 2>"$T/stderr" &
	PID=$!
	started="$started $PID"
	exec 3>"$T/stdin" 4<"$T/stdout"
	while read -r line <&4; do
		case $line in ready*) return 0 ;; esac
	done
	wait $PID
	case $? in 77) skip_all "the kernel lacks what $* needs" ;; esac
	note "$T/stderr"
	bail "$* starts"
}

# Sends a line to the started program and prints its answer.
ask() {
	echo "$*" >&3 || return 1
	read -r line <&4 || line="(end of file)"
	echo "$line"
}
alive() { # pid: runs, and is no zombie
	case $(sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null) in '' | Z | X) return 1 ;; esac
}
# The children of a process, as we number them, and the first of them (waited for).
children_of() { # pid
	for stat in /proc/[0-9]*/stat; do
		{ read -r kid rest <"$stat"; } 2>/dev/null || continue
		rest=${rest##*) }
		rest=${rest#* }
		[ "${rest%% *}" != "$1" ] || echo "$kid"
	done
}
child_of() { # pid
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		kid=$(children_of "$1" | head -n 1)
		[ -n "$kid" ] && echo "$kid" && return
		sleep 0.1
	done
	return 1
}

text_of() { "$root/tools/textsum" "$1"; }
maps_of() { sed 's/^\([^ ]*\) \([^ ]*\) .*/\1 \2/' "/proc/$1/maps"; }
# Names and protections of the mappings, their number: what must not grow.
shape_of() { wc -l <"/proc/$1/maps"; }

# --- the cycle that most tests make ---------------------------------------------------------------------------

# svc in state old, patched, reverted; text as before. $PATIENT is the process if it is not $PID itself.
svc_cycle() { # patch
	p=${PATIENT:-$PID}
	mem=${MEM:-$p}
	is "before: the old answer" "$(ask ask 5)" "old 16"
	text_of "$mem" >"$T/text.before" || bail "the text can be read"
	expect 0 "check: fits" "$SUTURE" check -p "$p" "$1"
	expect 0 "apply" "$SUTURE" apply -p "$p" "$1" || return 1
	is "patched: the new answer" "$(ask ask 5)" "new 115"
	expect 0 "revert" "$SUTURE" revert -p "$p" svc-fix || return 1
	is "reverted: the old answer" "$(ask ask 5)" "old 16"
	text_of "$mem" >"$T/text.after"
	holds "reverted: the text is as before" cmp "$T/text.before" "$T/text.after"
	expect 0 "apply again" "$SUTURE" apply -p "$p" "$1" || return 1
	is "patched again: the new answer" "$(ask ask 5)" "new 115"
	expect 0 "revert again" "$SUTURE" revert -p "$p" svc-fix || return 1
	is "reverted again: the old answer" "$(ask ask 5)" "old 16"
}
# The process was not touched: alive, same text, old answers.
untouched() { # description, text file from before
	holds "$1: alive" alive "${PATIENT:-$PID}"
	text_of "${PATIENT:-$PID}" >"$T/text.now"
	holds "$1: text untouched" cmp "$2" "$T/text.now"
	! grep -q ' /memfd:suture' "/proc/${PATIENT:-$PID}/maps" || not_ok "$1: nothing of ours is mapped"
}
is_root() { [ "$(id -u)" = 0 ]; }
need_root() { is_root || skip_all "needs root: $*"; }
need() { command -v "$1" >/dev/null || skip_all "$1 is not installed"; }

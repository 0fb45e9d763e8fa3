# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# redis.sh - for the tests on Debian's own redis-server: start it, load it, ask it. Read after lib.sh.

redis_prepare() {
	[ "$(uname -m)" = x86_64 ] || skip_all "the archive's redis-server is x86-64"
	need redis-cli
	need bear
	redis=$("$root/demo/prepare" 2>"$T/prepare.log") || {
		note "$T/prepare.log"
		skip_all "redis packages could not be fetched or built: $(tail -n 1 "$T/prepare.log")"
	}
	# shellcheck source=/dev/null
	. "$redis/about"
}
# The patch is built once for all tests and kept beside the packages; a new suture builds anew.
redis_patch() {
	sut=$redis/test-$(sha256sum "$SUTURE" | cut -c1-16).sut
	(
		flock 8
		[ -e "$sut" ] || {
			rm -f "$redis"/test-*.sut
			"$SUTURE" build -t "$redis/server" --debug "$redis/debug" -s "$redis/old" -d "$redis/fix.diff" \
				--name redis-update -o "$sut" >"$OUT" 2>&1
		}
	) 8>"$redis/.test-lock" || {
		note "$OUT"
		bail "the patch for redis is built"
	}
}
redis_start() { # [option...]
	port=$(python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	ln -sf "$redis/server" "$T/redis-server"
	"$T/redis-server" --port "$port" --bind 127.0.0.1 --save '' --enable-debug-command yes --dir "$T" \
		--logfile "$T/redis.log" "$@" </dev/null >/dev/null 2>&1 &
	PID=$!
	started="$started $PID"
	n=0
	until [ "$(cli ping 2>/dev/null)" = PONG ]; do
		n=$((n + 1))
		[ $n -lt 100 ] || bail "redis-server answers"
		sleep 0.1
	done
	cli DEBUG SET-SKIP-CHECKSUM-VALIDATION 1 >/dev/null
}
cli() { redis-cli -p "$port" "$@"; }
# The crafted payload, every time under a new name: what is accepted must never be touched again.
restore() {
	"$root/demo/payload" | cli -x RESTORE "payload$(date +%s%N)" 0 2>&1
}
redis_load() {
	"$redis/client" "$port" "${1:-20}" >"$T/client.out" 2>"$T/client.err" &
	load=$!
	started="$started $load"
}
redis_load_ends() {
	holds "the client is still served" kill "$load"
	wait "$load" 2>/dev/null
	note "$T/client.out"
	like "no request failed" "$(cat "$T/client.out" "$T/client.err")" "requests [1-9]* failed 0 *"
	holds "redis logged no crash" sh -c "! grep -qiE 'crash|bug report|signal' '$T/redis.log'"
}

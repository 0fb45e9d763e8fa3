#!/bin/sh
# SPDX-License-Identifier: MIT
# mksysroot.sh - libraries and headers of another architecture, in a folder of their own.
#
#   mksysroot.sh ARCH                      the sysroot that cross/ARCH.ini names; prints its folder
#   mksysroot.sh ARCH package PKG[=V] DIR  one package of that architecture, unpacked into DIR
#   mksysroot.sh ARCH kernel FILE          Debian's own kernel for it
#
# ARCH is aarch64 or ppc64le. The machine's dpkg and apt are not asked about their state, and none of it changes: apt
# runs with lists, status and cache of its own, for one architecture, so that versions of the machine's own
# packages (which "apt-get install foo:arm64" wants to be equal) do not matter. Everything lies in cache/sysroot;
# what is there is not fetched again.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
top=${SYSROOT_CACHE:-$here/cache/sysroot}
packages="libc6-dev libelf-dev libdw-dev libzydis-dev libjansson-dev libsmartcols-dev libsodium-dev liblzma-dev zlib1g-dev
	libcmocka-dev libstdc++6"

usage() {
	sed -n '5,7s/^#   /usage: /p' "$0" >&2
	exit 2
}
case ${1-} in
aarch64) deb=arm64 kernel=linux-image-cloud-arm64 ;;
ppc64le) deb=ppc64el kernel=linux-image-powerpc64le ;;
*) usage ;;
esac
arch=$1
shift
root=$top/$arch
apt=$top/.apt-$deb

# One at a time: two builds may want the same sysroot at once.
mkdir -p "$top"
exec 9>"$top/.lock-$deb"
flock 9

# The machine's sources that are Debian's own for this release; those of others have no packages for us.
configure() {
	[ -e "$apt/configured" ] && return
	# shellcheck source=/dev/null
	release=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts"
	: >"$apt/list"
	: >"$apt/status"
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -e "$f" ] || continue
		awk -v RS= -v rel="$release" '$0 ~ ("(^|\n)Suites:[^\n]*[ \t]" rel "(-updates|-security)?([ \t\n]|$)") {
			gsub(/(^|\n)Architectures:[^\n]*/, ""); sub(/^\n/, ""); print $0 "\n" }' "$f" >"$apt/parts/${f##*/}"
		[ -s "$apt/parts/${f##*/}" ] || rm "$apt/parts/${f##*/}"
	done
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -e "$f" ] || continue
		grep -E "^deb[[:space:]].*[[:space:]]$release(-updates|-security)?[[:space:]]" "$f" |
			sed 's/arch=[^] ]*//; s/\[ *\]//' >>"$apt/list" || :
	done
	if [ ! -s "$apt/list" ] && ! ls "$apt/parts"/*.sources >/dev/null 2>&1; then
		echo "mksysroot: no apt source for Debian $release found in /etc/apt" >&2
		exit 1
	fi
	# Read after the machine's own configuration (a proxy set there serves us too), whose hooks are not for us.
	cat >"$apt/conf" <<-END
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear APT::Architectures;
		APT::Architecture "$deb";
		APT::Architectures "$deb";
		APT::Install-Recommends "false";
		APT::Sandbox::User "$(id -un)";
		Dir::Etc::SourceList "$apt/list";
		Dir::Etc::SourceParts "$apt/parts";
		Dir::State "$apt";
		Dir::State::Lists "$apt/lists";
		Dir::State::Status "$apt/status";
		Dir::Cache "$apt/cache";
		Dir::Cache::pkgcache "pkgcache.bin";
		Dir::Cache::srcpkgcache "";
		Dir::Cache::Archives "$apt/cache/archives";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Debug::NoLocking "1";
	END
	: >"$apt/configured"
}
apt() {
	tool=$1
	shift
	"$tool" -c "$apt/conf" "$@" </dev/null
}
# A suite whose index is broken at the moment (it happens to ports) is done without.
update() {
	[ -e "$apt/updated" ] && [ -z "$(find "$apt/updated" -mmin +"$1")" ] && return
	apt apt-get -qq update >"$apt/log" 2>&1 || ls "$apt"/lists/*_Packages* >/dev/null 2>&1 || {
		cat "$apt/log" >&2
		exit 1
	}
	: >"$apt/updated"
}
# Runs apt with lists that are there; when that fails they may be old.
fetch() { # folder, apt-get arguments...
	folder=$1
	shift
	configure
	update 10080
	(cd "$folder" && apt apt-get "$@") >"$apt/log" 2>&1 && return
	update 5
	(cd "$folder" && apt apt-get "$@") >"$apt/log" 2>&1 && return
	cat "$apt/log" >&2
	exit 1
}

# Absolute links would lead out of the folder: they are made relative.
relative_links() {
	find "$1" -type l | while read -r l; do
		to=$(readlink "$l")
		case $to in /*) ln -sfn "$(realpath -m -s --relative-to="$(dirname "$l")" "$1$to")" "$l" ;; esac
	done
}

sysroot() {
	want="1 $(echo $packages)"
	if [ "$(cat "$root.done" 2>/dev/null)" != "$want" ]; then
		echo "mksysroot: fetching libraries for $arch" >&2
		rm -rf "$root" "$root.done" "$apt/cache/archives"
		mkdir -p "$root" "$apt/cache/archives/partial"
		# shellcheck disable=SC2086 # words are packages
		fetch "$root" -y --download-only install $packages
		for d in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$d" "$root"; done
		relative_links "$root"
		rm -rf "${root:?}/usr/share" "$apt/cache/archives"/*.deb
		echo "$want" >"$root.done"
	fi
	echo "$root"
}

# download PKG[=V]: the one .deb of it, as $download
download() {
	rm -rf "$apt/one"
	mkdir -p "$apt/one"
	fetch "$apt/one" download "$1"
	download=$(echo "$apt"/one/*.deb)
}

package() { # PKG[=V] DIR
	download "$1"
	mkdir -p "$2"
	dpkg-deb -x "$download" "$2"
	relative_links "$2"
	rm -rf "$apt/one"
}

# The metapackage says which kernel is the newest.
newest_kernel() {
	apt apt-cache show --no-all-versions "$kernel" | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p'
}
kernel() { # FILE
	configure
	update 10080
	name=$(newest_kernel)
	[ -n "$name" ] || { echo "mksysroot: no kernel for $arch in the archive" >&2; exit 1; }
	echo "mksysroot: fetching $name" >&2
	download "$name"
	dpkg-deb --fsys-tarfile "$download" | tar xO --wildcards './boot/vmlinu*' >"$1.part"
	mv "$1.part" "$1"
	rm -rf "$apt/one"
}

case $#,${1-} in
0,) sysroot ;;
3,package) package "$2" "$3" ;;
2,kernel) kernel "$2" ;;
*) usage ;;
esac

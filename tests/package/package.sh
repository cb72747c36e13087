#!/bin/sh
# The Debian packages are built, lintian has nothing to complain of, and what is in them works:
# package.sh SOURCE
set -eu
cd "$1"
for tool in dpkg-buildpackage dh lintian git; do
    command -v $tool >/dev/null || { echo "skipped: no $tool (scripts/setup --package)"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "package: $*" >&2
    exit 1
}

scripts/package >"$work/said" 2>&1 || fail "$(tail -30 "$work/said")"
for package in build/package/*.deb; do
    case $package in
    *-dbgsym*) ;;
    *) dpkg-deb -x "$package" "$work/root" ;;
    esac
done
root=$work/root/usr

"$root/bin/nas" --version >/dev/null || fail "nas does not run"
"$root/bin/nas" help --commands | while read -r words; do
    [ -n "$words" ] || continue
    page=nas-$(echo "$words" | tr ' ' '-')
    [ -s "$root/share/man/man1/$page.1.gz" ] || fail "no manual page $page"
done
for file in share/bash-completion/completions/nas share/zsh/site-functions/_nas \
    share/fish/vendor_completions.d/nas.fish share/man/man1/nas.1.gz include/nas.h; do
    [ -s "$root/$file" ] || fail "no $file"
done

# A program against the packaged library, moved to where it was unpacked.
PKG_CONFIG_PATH=$(dirname "$(find "$root/lib" -name libnas.pc)")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046  # words
cc -o "$work/train" examples/train.c $(pkg-config --cflags --libs libnas)
mkdir "$work/out"
LD_LIBRARY_PATH=$(pkg-config --variable=libdir libnas) "$work/train" "$work/out" >/dev/null ||
    fail "the example does not run"
[ -s "$work/out/net.onnx" ] || fail "the example wrote nothing"
echo "package: all well"

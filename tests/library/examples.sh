#!/bin/sh
# Installs libnas, and builds and runs the examples as a user would, with the shared and with the
# static library: examples.sh SOURCE BUILD
set -eu
source=$1
build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GOMP_SPINCOUNT=1000 OMP_NUM_THREADS=2

fail() {
    echo "examples: $*" >&2
    exit 1
}

for component in library development; do
    cmake --install "$build" --prefix "$work/usr" --component $component >/dev/null
done
pc=$(find "$work/usr" -name libnas.pc)
[ -n "$pc" ] || fail "no libnas.pc was installed"
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
lib=$(pkg-config --variable=libdir libnas)
[ "$(find "$work/usr" -name '*.h' | wc -l)" -eq 1 ] || fail "more than the one public header"

# The header alone, under both languages.
for how in "cc -std=c11 -x c" "c++ -std=c++17 -x c++"; do
    # shellcheck disable=SC2046,SC2086  # words
    echo '#include <nas.h>' | $how - -Wall -Wextra -Wpedantic -Werror -fsyntax-only \
        $(pkg-config --cflags libnas) || fail "nas.h is not for: $how"
done

# What is exported is what the header declares, in both libraries.
sed -n 's/^NAS_API .*\(nas_[a-z0-9_]*\)(.*/\1/p' "$source/include/nas.h" | sort >"$work/declared"
[ "$(wc -l <"$work/declared")" -gt 40 ] || fail "nas.h declares too little"
nm -D --defined-only "$lib/libnas.so" | awk '{print $3}' | sort >"$work/shared"
nm -g --defined-only "$lib/libnas.a" | awk 'NF == 3 {print $3}' | sort >"$work/static"
for library in shared static; do
    diff "$work/declared" "$work/$library" || fail "$library: other names than declared"
done

# The two types that the header repeats.
types() {
    sed -n '/^typedef enum nas_status {/,/^} nas_err;/p' "$1"
}
types "$source/base/status.h" >"$work/inside"
types "$source/include/nas.h" | diff "$work/inside" - || fail "nas_status or nas_err differs"
[ -s "$work/inside" ] || fail "base/status.h was not understood"

run() { # run NAME BINARY FILES...
    name=$1 binary=$2
    shift 2
    mkdir "$work/out"
    LD_LIBRARY_PATH=$lib "$binary" "$work/out" >"$work/said" 2>&1 ||
        fail "$name: exit $?: $(cat "$work/said")"
    for file in "$@"; do
        [ -s "$work/out/$file" ] || fail "$name: made no $file: $(cat "$work/said")"
    done
    rm -r "$work/out"
}

build() { # build NAME FLAGS... : strict, so that users' compilers are content, too
    name=$1
    shift
    # shellcheck disable=SC2046  # words
    cc -std=c11 -O1 -Wall -Wextra -Wpedantic -Werror -o "$work/$name" "$source/examples/$name.c" \
        $(pkg-config --cflags libnas) "$@"
}

for name in train profile_and_search own_operation; do
    # shellcheck disable=SC2046
    build $name $(pkg-config --libs libnas)
    case $name in
    train) run $name "$work/$name" photos.nasd net.safetensors net.onnx ;;
    profile_and_search) run $name "$work/$name" here.yaml arch.json net.safetensors ;;
    own_operation)
        run $name "$work/$name" net.safetensors
        grep -q "read again: the same" "$work/said" || fail "$name: $(cat "$work/said")"
        ;;
    esac
done
mv "$lib/libnas.so" "$work/set-aside"
# shellcheck disable=SC2046
build train $(pkg-config --static --libs libnas)
readelf -d "$work/train" | grep -q 'libnas' && fail "train: not linked statically"
run train "$work/train" net.safetensors
echo "examples: all well"

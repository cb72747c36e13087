#!/bin/sh
# Shows that layers.sh sees each kind of offence, and is content without one:
# layers_selftest.sh path/to/layers.sh
set -u
layers=$(realpath "$1")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failed=0

# tree: the smallest sound tree
tree() {
    rm -rf "${root:?}"/*
    mkdir -p "$root/base" "$root/ops/kernel" "$root/nas" "$root/search/store" "$root/search/jobs" \
        "$root/search/report" "$root/cli"
    echo '#include <stdio.h>' >"$root/base/a.h"
    echo '#include "base/a.h"' >"$root/base/a.c"
    printf '#include "base/a.h"\n#include <cblas.h>\n' >"$root/ops/kernel/gemm.c"
    echo '#include "base/a.h"' >"$root/nas/n.h"
    printf '#include "nas/n.h"\n#include <sqlite3.h>\n' >"$root/search/store/s.c"
    echo '#include <uv.h>' >"$root/search/jobs/j.c"
    echo '#include "uv.h"' >"$root/search/report/r.c"
    echo '#include "nas/n.h"' >"$root/cli/c.c"
}

# expect WHAT PATTERN: layers.sh fails and says so ("" : it passes)
expect() {
    out=$(sh "$layers" "$root" 2>&1)
    rc=$?
    if [ -z "$2" ]; then
        [ $rc -eq 0 ] || { echo "$1: failed: $out"; failed=1; }
    elif [ $rc -eq 0 ] || ! echo "$out" | grep -q -- "$2"; then
        echo "$1: exit $rc, said: $out"
        failed=1
    fi
}

# offend FILE LINE PATTERN
offend() {
    tree
    echo "$2" >>"$root/$1"
    expect "$1 with $2" "$3"
}

tree
expect "sound tree" ""
offend base/a.c '#include "nas/n.h"' 'base may not know nas'
offend nas/n.h '  #  include "cli/x.h" /* no */' 'nas/n.h:2: nas may not know cli'
offend nas/n.h '#include <search/x.h>' 'nas may not know search'
offend cli/c.c '#include <sqlite3.h>' 'sqlite3.h belongs to search/store/'
offend search/store/s.c '#include <uv.h>' 'uv.h belongs to search/jobs/ search/report/'
offend nas/n.h '#include <cblas.h>' 'cblas.h belongs to ops/kernel/'
offend base/a.h '#include "base/a.h"' 'include cycle:.* base/a.h base/a.h'
offend base/a.c '#include "a.h"' 'write the path from the root: base/a.h'

tree
echo '#include <cblas.h>' >"$root/ops/kernel/other.c"
expect "second user of cblas.h" 'cblas.h is already included by'

tree
echo '#include "nas/p.h"' >>"$root/nas/n.h"
echo '#include "nas/q.h"' >"$root/nas/p.h"
echo '#include "nas/n.h"' >"$root/nas/q.h"
expect "cycle of three" 'include cycle:'

tree
echo '// #include "cli/x.h"' >>"$root/base/a.c"
expect "an include in a comment" ""

rm -rf "${root:?}"/*
mkdir "$root/base"
expect "an empty tree" 'nothing was checked'
exit $failed

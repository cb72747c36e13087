#!/bin/sh
# Fails, with one line an offence, when the includes of the tree break the order of
# the rooms: layers.sh [ROOT].  See docs/architecture.md.
set -eu
cd "${1:-.}"

rooms=""
for room in base ops nas latency search lib cli; do
    [ -d "$room" ] && rooms="$rooms $room"
done
[ -n "$rooms" ] || { echo "layers: no room here: $PWD" >&2; exit 2; }

# Every include as "file line <|\" name".
# shellcheck disable=SC2086  # one word a room
find $rooms -name '*.[ch]' -exec awk '
    /^[ \t]*#[ \t]*include[ \t]*[<"]/ {
        name = $0
        sub(/^[ \t]*#[ \t]*include[ \t]*/, "", name)
        kind = substr(name, 1, 1)
        name = substr(name, 2)
        sub(/[>"].*/, "", name)
        folder = FILENAME
        sub(/[^\/]*$/, "", folder)
        print FILENAME, FNR, kind, name, folder
    }' {} + |
awk '
    BEGIN {
        split("base ops nas latency search lib cli", order)
        for (i in order) level[order[i]] = i

        # Libraries with one place: header, and the folders or ("once") the number of files.
        place["sqlite3.h"] = "search/store/"
        place["uv.h"] = "search/jobs/ search/report/"
        place["nas/export/onnx.pb-c.h"] = "nas/export/"
        once["cblas.h"] = "ops/kernel/"
        once["mpi.h"] = ""
    }
    function offence(text) {
        print "layers: " text
        bad = 1
    }
    function exists(path,    line, found) {
        if (!(path in known)) {
            found = (getline line < path) >= 0
            close(path)
            known[path] = found
        }
        return known[path]
    }
    function allowed(folder, list,    n, parts, i) {
        n = split(list, parts)
        for (i = 1; i <= n; i++)
            if (index(folder, parts[i]) == 1)
                return 1
        return n == 0
    }
    function check_library(name) {
        if (name in place && !allowed($5, place[name]))
            offence($1 ":" $2 ": " name " belongs to " place[name] "alone")
        if (!(name in once))
            return
        if (!allowed($5, once[name]))
            offence($1 ":" $2 ": " name " belongs to " once[name])
        if (name in owner && owner[name] != $1)
            offence($1 ":" $2 ": " name " is already included by " owner[name])
        owner[name] = $1
    }
    {
        files[$1] = 1
        from = $1; sub(/\/.*/, "", from)
        to = $4; sub(/\/.*/, "", to)
        check_library($4)
        if ($3 == "<" && !(to in level))
            next
        if (to in level && $4 ~ /\//) {
            if (level[to] > level[from])
                offence($1 ":" $2 ": " from " may not know " to " (" $4 ")")
            edges[$1] = edges[$1] " " $4
        } else if (exists($5 $4)) {
            offence($1 ":" $2 ": write the path from the root: " $5 $4)
        }
    }
    # Depth first; a header met again on the way down closes a circle.
    function visit(file, way,    n, next_files, i) {
        if (state[file] == "open") {
            offence("include cycle:" way " " file)
            return
        }
        if (state[file] == "done")
            return
        state[file] = "open"
        n = split(edges[file], next_files)
        for (i = 1; i <= n; i++)
            visit(next_files[i], way " " file)
        state[file] = "done"
    }
    END {
        if (NR == 0)
            offence("no include found: nothing was checked")
        for (file in files)
            visit(file, "")
        exit bad
    }'

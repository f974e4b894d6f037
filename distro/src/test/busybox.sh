#!/bin/sh
# Runs BusyBox's own tests: all, or those of the applets named. A line "PASS: ", "FAIL: ", "SKIPPED: " or "UNTESTED: "
# for each test; with -v, what failed says why. With --quick, leaves out the bc programs that compute for minutes under
# emulation and ask nothing of the kernel. It takes the place of the suite's own runtest, which starts a program for
# each of four hundred links whenever it is called.
top=/usr/share/busybox-testsuite
cd "$top/suite" || exit
tsdir=$PWD
links=/tmp/busybox-links
quick=
VERBOSE=
while :; do
    case $1 in
        --quick) quick=1 ;;
        -v) VERBOSE=1 ;;
        *) break ;;
    esac
    shift
done
export VERBOSE tsdir bindir="$top"
OPTIONFLAGS=:$(sed -n 's/^CONFIG_\([^=]*\)=.*/\1/p' "$top/.config" | tr '\n' ':')
export OPTIONFLAGS
[ -d "$links" ] || { mkdir "$links" && busybox --install -s "$links" && ln -s "$top/busybox" "$links"; } || exit
# Sets what some tests take from their caller's environment.
. ./testing.sh

# Whether the configuration has what a case asks for.
configured() {                  # applet, case
    local feature
    for feature in "CONFIG_$(echo "$1" | tr a-z A-Z)" $(sed -n 's/^# FEATURE: //p' "$2"); do
        ! grep -q "^# $feature is not set\$" "$top/.config" || return
    done
}

# The cases that are scripts of their own: each runs in an empty folder and passes if it ends well.
cases() {                       # applet
    local file name status
    for file in "$tsdir/$1"/*; do
        name=${file##*/}
        configured "$1" "$file" || { echo "UNTESTED: $name"; continue; }
        rm -rf "$tsdir/.tmpdir.$1"
        mkdir "$tsdir/.tmpdir.$1" && cd "$tsdir/.tmpdir.$1" || exit
        if d="$tsdir" PATH="$top:$PATH" sh -x -e "$file" > "$tsdir/.out.$1" 2>&1; then
            echo "PASS: $name"
        else
            echo "FAIL: $name"
            [ -z "$VERBOSE" ] || cat "$tsdir/.out.$1"
            status=1
        fi
        cd "$tsdir" || exit
        rm -rf "$tsdir/.tmpdir.$1" "$tsdir/.out.$1"
    done
    return ${status:-0}
}

[ -z "$quick" ] || rm -f bc_bessel.bc bc_pi.bc bc_power.bc
[ $# -ne 0 ] || set -- $(for file in *; do
    case $file in
        *.tests) echo "${file%.tests}" ;;
        *) [ ! -d "$file" ] || echo "$file" ;;
    esac
done | sort -u)
status=0
for applet; do
    [ ! -d "$applet" ] || cases "$applet" || status=1
    [ -f "$applet.tests" ] || continue
    case $applet in
        all_*) ;;
        *) [ -e "$links/$applet" ] || { echo "SKIPPED: $applet (not built)"; continue; } ;;
    esac
    PATH="$links:$tsdir:$top:$PATH" "./$applet.tests" || status=1
done
exit $status

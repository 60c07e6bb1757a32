#!/usr/bin/env bash
# Builds the core for 64-bit ARM with driver.c and ../sanitize/threads.c and runs them: under qemu, or directly on such a
# machine. Exits with 77 and a reason in one line where a tool is missing. CROSS_CC and QEMU name other tools.
set -eu
cd "$(dirname "$0")/../.."

skip() {
    echo "$1"
    exit 77
}

[ -d csrc ] || skip "csrc is missing: these are not the tests of a source tree"
case $(uname -m) in
aarch64 | arm64)
    compiler=${CROSS_CC:-${CC:-cc}} emulator=""
    ;;
*)
    compiler="${CROSS_CC:-aarch64-linux-gnu-gcc} -static"
    emulator=${QEMU:-$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)}
    [ -n "$emulator" ] || skip "qemu-aarch64 is missing (qemu-user)"
    ;;
esac
command -v python3 >/dev/null || skip "python3 is missing"
command -v "${compiler%% *}" >/dev/null || skip "${compiler%% *} is missing (gcc-aarch64-linux-gnu)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo 'int main(void) { return 0; }' >"$work/empty.c"
$compiler "$work/empty.c" -o "$work/empty" 2>/dev/null || skip "${compiler%% *} cannot link (libc6-dev-arm64-cross)"
$emulator "$work/empty" 2>/dev/null || skip "$emulator cannot run what ${compiler%% *} builds"

config() { python3 csrc/build_config.py "$@"; }
flags=$(config flags) sources=$(config sources) kernels=$(config kernels)

# build "COMPILER" DRIVER NAME LEVEL …
build() {
    local command=$1 driver=$2 name=$3 objects=() level macro
    shift 3
    for level in "$@"; do
        objects+=("$work/$name-$level.o")
        $command $flags $(config level "$level") -c "$kernels" -o "$work/$name-$level.o"
    done
    macro=$(config macro "$(IFS=, && echo "$*")")
    $command $flags "$macro" -pthread "$driver" $sources "${objects[@]}" -o "$work/$name" -lm
}

levels=$(config levels aarch64)

build "$compiler" tests/neon/driver.c neon $levels

# compare CPU "LEVEL …": on that processor of qemu's these levels are usable, and agree with the scalar one.
compare() {
    local found level
    found=$($emulator -cpu "$1" "$work/neon" levels | tr '\n' ' ')
    if [ "$found" != "$2 scalar " ]; then
        echo "levels on $1: $found, expected $2 scalar" >&2
        exit 1
    fi
    for level in ${2%% *}; do
        $emulator -cpu "$1" "$work/neon" "$level"
    done
}

if [ -n "$emulator" ]; then
    compare cortex-a72 "neon"
    compare cortex-a76 "dotprod neon"
    compare max "i8mm dotprod neon"
else
    for level in $("$work/neon" levels); do
        [ "$level" = scalar ] || "$work/neon" "$level"
    done
fi

build "$compiler" tests/sanitize/threads.c threads $levels
$emulator "$work/threads" 1 10

# Crops have the same bytes on every machine: compared with this one, where it has a compiler of its own.
if [ -n "$emulator" ] && command -v gcc >/dev/null; then
    build gcc tests/neon/driver.c here scalar
    ours=$("$work/here" pixels) theirs=$($emulator "$work/neon" pixels)
    if [ "$ours" != "$theirs" ]; then
        echo "pixels of crops: checksum $theirs on 64-bit ARM, $ours on $(uname -m)" >&2
        exit 1
    fi
    echo "pixels of crops are those of $(uname -m)"
fi

#!/usr/bin/env bash
# Builds the core with its NEON level, driver.c and ../sanitize/threads.c for 64-bit ARM and runs them: under qemu, or
# directly on such a machine. Exits with 77 and one line of reason where a tool is missing. CROSS_CC and QEMU name
# other tools.
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
command -v "${compiler%% *}" >/dev/null || skip "${compiler%% *} is missing (gcc-aarch64-linux-gnu)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo 'int main(void) { return 0; }' >"$work/empty.c"
$compiler "$work/empty.c" -o "$work/empty" 2>/dev/null || skip "${compiler%% *} cannot link (libc6-dev-arm64-cross)"
$emulator "$work/empty" 2>/dev/null || skip "$emulator cannot run what ${compiler%% *} builds"

# As in setup.py, with more warnings.
flags="-O3 -std=gnu11 -ffp-contract=fast -fno-math-errno -Wall -Wextra -Werror -Icsrc"
sources=$(find csrc -name '*.c' ! -name '_native.c' ! -name kernels.c)

# build "COMPILER" DRIVER NAME LEVEL=LANES …
build() {
    local command=$1 driver=$2 name=$3 macros="" objects=() level
    shift 3
    for level in "$@"; do
        macros="$macros -DCASCADE_HAVE_$(echo "${level%=*}" | tr '[:lower:]' '[:upper:]')"
        objects+=("$work/$name-${level%=*}.o")
        $command $flags -DCASCADE_LEVEL="${level%=*}" -DCASCADE_LANES="${level#*=}" -c csrc/kernels.c \
            -o "$work/$name-${level%=*}.o"
    done
    $command $flags $macros -pthread "$driver" $sources "${objects[@]}" -o "$work/$name" -lm
}

build "$compiler" tests/neon/driver.c neon scalar=1 neon=4
$emulator "$work/neon"

build "$compiler" tests/sanitize/threads.c threads scalar=1 neon=4
$emulator "$work/threads" 1 10

# Crops have the same bytes on every machine: compared with this one, where it has a compiler of its own.
if [ -n "$emulator" ] && command -v gcc >/dev/null; then
    build gcc tests/neon/driver.c here scalar=1
    ours=$("$work/here" pixels) theirs=$($emulator "$work/neon" pixels)
    if [ "$ours" != "$theirs" ]; then
        echo "pixels of crops: checksum $theirs on 64-bit ARM, $ours on $(uname -m)" >&2
        exit 1
    fi
    echo "pixels of crops are those of $(uname -m)"
fi

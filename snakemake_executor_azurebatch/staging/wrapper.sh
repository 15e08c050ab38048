#!/bin/sh
# Runs one command in an image that needs no more than a POSIX shell, where Azure Batch itself moves the files.
#
#   smk/in/N            what Azure Batch has brought, to be put in its place
#   tree/<workdir>      where the command runs: relative paths, ".." among them, mean what they mean to the controller
#   smk/left/report     how it went, one fact on a line; smk/left/log-N are the logs
#   smk/out/N           outputs of a command that ended well; N.tar is a folder, N.list and N.1, N.2, ... one without tar
#
# Below these functions stands what is to be done; it was made for one task.
set -u
wd=$(pwd -P)
tree=$wd/tree left=$wd/smk/left out=$wd/smk/out again=''
# A task that Azure Batch starts again on its node finds its folder as it was: of the last start nothing may stay but
# what Azure Batch brings, in smk/in. Folders without a write bit are made removable first.
for old in "$tree" "$left" "$out"; do
    [ -e "$old" ] || continue
    again=yes
    rm -rf "$old" 2>/dev/null || { chmod -R u+rwx "$old" && rm -rf "$old"; } || exit 94
done
mkdir -p "$tree" "$left" "$out" || exit 94
child='' stopped='' missing='' code=0 rows='' newline='
'

say() { printf '[stage] %s\n' "$1" >&2; }

tell() { printf '%s\n' "$*" >>"$left/report"; }

# class, exit code, message; a path that it begins with is told as the controller knows it
fail() {
    set -- "$1" "$2" "${3#"$tree"}"
    say "$3"
    tell "error $1 $3"
    exit "$2"
}

has() { command -v "$1" >/dev/null 2>&1; }

folder() { mkdir -p "$1" || fail stage_in 91 "$1: the folder cannot be made"; }

# What Azure Batch has to have brought, its place. The first start has moved it away, and only a task of its own is sure
# to get it again: that is how one ends that was stopped.
brought() {
    [ ! -f "$1" ] || return 0
    [ -z "$again" ] || fail stopped 143 "$2: the task was started again on its node without its files"
    fail stage_in 91 "$2: Azure Batch has not brought it"
}

# what Azure Batch has brought, its place, its mode
place() {
    brought "$1" "$2"
    case $2 in
    "$tree"/*) ;;
    *) if [ -e "$2" ]; then
        has cmp && ! cmp -s "$1" "$2" && fail stage_in 91 "$2 is there already on the node, with another content"
        return 0
    fi ;;
    esac
    folder "${2%/*}"
    mv -f "$1" "$2" && chmod "$3" "$2" || fail stage_in 91 "$2: cannot be placed"
}

# a link in an input folder, where it leads to
link() { [ -h "$1" ] || ln -s "$2" "$1" || fail stage_in 91 "$1: the link cannot be made (the image needs ln)"; }

# an input folder, its mode
mode() { chmod "$2" "$1" || fail stage_in 91 "$1: its mode cannot be set"; }

# an archive that Azure Batch has brought, the folder that is in it
unpack() {
    brought "$1" "$2"
    has tar || fail stage_in 91 "$2 is a folder of too many files to bring each, and this image has no tar to unpack it: \
use an image with tar, or azurebatch_staging=stager with an image that has Python"
    folder "$2"
    tar -xof "$1" -C "$2" || fail stage_in 91 "$2: cannot be unpacked"
    rm -f "$1"
}

# The workflow's sources: most commands need none, so an image without tar is told about, not refused.
sources() {
    [ -z "$again" ] || brought "$1" "the workflow's sources"
    if has tar; then
        tar -xzof "$1" -C "$tree" 2>/dev/null || gzip -dc "$1" | tar -xof - -C "$tree" ||
            say "the workflow's sources cannot be unpacked in this image"
    else
        say "the workflow's sources are not here: this image has no tar"
    fi
    rm -f "$1"
}

# Snakemake removes a folder only where one is declared, or where it is empty.
clear_file() { if [ -d "$1" ] && [ ! -h "$1" ]; then rmdir "$1" 2>/dev/null || :; else rm -f "$1"; fi; }
clear_directory() { rm -rf "$1"; }

make_file() { [ -e "$1" ] || { mkdir -p "${1%/*}" && : >"$1"; } || fail setup 94 "$1: cannot be made"; }
make_directory() { mkdir -p "$1" || fail setup 94 "$1: cannot be made"; }

# Whether the controller's path of the workdir, $1, leads to the tree.
is_there() { [ "$(cd "$1" 2>/dev/null && pwd -P)" = "$(cd "$tree$1" && pwd -P)" ]; }

# the workdir, "same" where its path may be made here: paths that the controller has computed mean the same then;
# a path that cannot do without, or nothing
meet() {
    if [ "$2" = same ] && [ ! -e "$1" ] && [ ! -h "$1" ]; then
        above=${1%/*}
        { mkdir -p "${above:-/}" && ln -s "$tree$1" "$1"; } 2>/dev/null || :
    fi
    [ -z "$3" ] || is_there "$1" ||
        fail setup 94 "$3 is an absolute path, and the task cannot run at the controller's own path, $1"
}

# an absolute path that the command is to make
new() {
    [ ! -e "$1" ] && [ ! -h "$1" ] ||
        fail setup 94 "$1 is there already, before the command: the container image has it"
}

# the workdir, where the command starts below it
enter() {
    if is_there "$1"; then
        cd "$1$2"
    else
        cd "$tree$1$2"
    fi || fail setup 94 "cannot enter $1$2"
}

surroundings() {
    unset SMK_STAGE_READ_URL SMK_STAGE_WRITE_URL SMK_STAGE_MANIFEST
    # Azure Batch names a home that is not in the container.
    [ -d "${HOME:-}" ] && [ -w "$HOME" ] && [ -x "$HOME" ] || HOME=$wd
    USER=${USER:-${LOGNAME:-$(id -un 2>/dev/null || echo user)}}
    LOGNAME=${LOGNAME:-$USER}
    export HOME USER LOGNAME
}

# Hundredths of a second since some time.
now() {
    if { read -r up _ </proc/uptime; } 2>/dev/null; then
        now=$((${up%.*} * 100 + 1${up#*.} - 100))
    else
        now=$(($(date +%s) * 100))
    fi
}

stop() {
    stopped=yes
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}

# A program with its arguments. The exit code is left in "code".
start() {
    now
    began=$now
    "$@" </dev/null &
    child=$!
    while :; do
        wait "$child"
        code=$?
        kill -0 "$child" 2>/dev/null || break
    done
    child=''
    now
    took=$((now - began)) seconds=$(((now - began) / 100))
    case $((seconds / 86400)) in
    0) days='' ;;
    1) days='1 day, ' ;;
    *) days="$((seconds / 86400)) days, " ;;
    esac
    wall=$(printf '%d.%02d' "$seconds" "$((took % 100))")
    clock=$(printf '%s%d:%02d:%02d' "$days" "$((seconds % 86400 / 3600))" "$((seconds % 3600 / 60))" "$((seconds % 60))")
    rows="$rows$wall $clock$newline"
}

# Whether to go on.
go() { [ "$code" -eq 0 ] && [ -z "$stopped" ]; }

# Benchmarks as Snakemake writes them; only the time is known here.
benchmark_tsv() {
    printf 's\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n'
    printf '%s' "$rows" | while read -r wall clock; do
        printf '%s\t%s\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n' "$wall" "$clock"
    done
}

benchmark_jsonl() {
    printf '%s' "$rows" | while read -r wall clock; do
        printf '{"cpu_time": "NA", "h:m:s": "%s", "io_in": "NA", "io_out": "NA", "max_pss": "NA", "max_rss": "NA", ' \
            "$clock"
        printf '"max_uss": "NA", "max_vms": "NA", "mean_load": "NA", "s": %s}\n' "$wall"
    done
}

# number, place, kind, "optional" or "required"
check() {
    if [ ! -e "$2" ]; then
        [ "$4" = optional ] || { missing=yes && tell "missing $1"; }
    elif [ "$3" = directory ] && [ ! -d "$2" ]; then
        missing=yes && tell "wrong $1 a file, but the rule declares a folder"
    elif [ "$3" = file ] && [ -d "$2" ]; then
        missing=yes && tell "wrong $1 a folder, but the rule declares a file"
    fi
}

# the name of something that is stored: its MD5 where the image can tell it, as Azure Batch may not
sum_up() {
    if has md5sum && md5=$(md5sum <"$out/$1"); then
        tell "md5 $1 ${md5%% *}"
    fi
}

# number, place: what a link leads to is taken before anything is moved away
store_link() {
    [ -h "$2" ] && [ -f "$2" ] || return 0
    [ ! -x "$2" ] || tell "executable $1"
    cat "$2" >"$out/$1" || fail stage_out 93 "$2: cannot be read"
    sum_up "$1"
}

# number, place
store_file() {
    [ -f "$2" ] && [ ! -h "$2" ] || return 0
    [ ! -x "$2" ] || tell "executable $1"
    mv -f "$2" "$out/$1" || fail stage_out 93 "$2: cannot be moved"
    sum_up "$1"
}

# number, place
store_directory() {
    [ -d "$2" ] || return 0
    if has tar; then
        tar -cf "$out/$1.tar" -C "$2" . || fail stage_out 93 "$2: cannot be packed"
        sum_up "$1.tar"
    else
        count=0
        : >"$out/$1.list"
        walk "$1" "$2" ''
    fi
}

# number, folder, its name inside: a folder without tar
walk() {
    for item in "$2"/* "$2"/.[!.]* "$2"/..?*; do
        [ -e "$item" ] || [ -h "$item" ] || continue
        name=$3${item##*/}
        case $name in *"$newline"*) fail stage_out 93 "$item: a name of several lines needs tar in the image" ;; esac
        if [ -h "$item" ] && target=$(readlink "$item" 2>/dev/null); then
            printf 'link %s\n%s\n' "$name" "$target" >>"$out/$1.list"
        elif [ -d "$item" ]; then
            printf 'directory %s\n' "$name" >>"$out/$1.list"
            walk "$1" "$item" "$name/"
        elif [ -f "$item" ]; then
            count=$((count + 1))
            kind=file
            [ ! -x "$item" ] || kind=program
            printf '%s %s\n' "$kind" "$name" >>"$out/$1.list"
            cat "$item" >"$out/$1.$count" || fail stage_out 93 "$item: cannot be read"
        fi
    done
}

# number, place
store_log() { [ ! -f "$2" ] || cat "$2" >"$left/log-$1"; }

# After the command, whatever its end.
ended() {
    tell "exit $code"
    tell "seconds $(printf '%s' "$rows" | while read -r wall _; do printf '%s ' "$wall"; done)"
    [ -z "$stopped" ] || fail stopped "${code:-143}" "told to stop"
}

trap stop TERM INT

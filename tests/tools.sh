# Sourced by scripts: `need COMMAND PACKAGE` makes sure that a command is there.

need() {
    command -v "$1" >/dev/null 2>&1 && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing $2 (for $1)"
        if ! DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null 2>&1; then
            apt-get update -qq >/dev/null
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
        fi
        command -v "$1" >/dev/null 2>&1 && return 0
    fi
    echo "missing: $1; install the package $2 (Debian: apt-get install $2) and run this again" >&2
    exit 1
}

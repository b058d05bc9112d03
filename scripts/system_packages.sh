#!/bin/sh
# Install what `make test-system` needs beyond Python: another Postgres, as users have one, a pooler,
# and a browser with Korean letters for the reports.
#
# Needs root and apt only where something is missing. Never starts or changes a server of the system:
# the tests start their own from the programs.
set -eu

postgres_programs() {
    for folder in /usr/lib/postgresql/*/bin; do
        [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ] && return 0
    done
    return 1
}

korean_letters() {
    for font in /usr/share/fonts/opentype/noto/NotoSansCJK-*; do
        [ -e "$font" ] && return 0
    done
    return 1
}

all_there() {
    postgres_programs && [ -x /usr/sbin/pgbouncer ] && [ -x /usr/bin/chromium ] && korean_letters
}

all_there && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "make test-system needs Postgres >= 15 under /usr/lib/postgresql, /usr/sbin/pgbouncer, /usr/bin/chromium" >&2
    echo "and the font Noto Sans CJK. Run it once as root on Debian, or install by hand the packages" >&2
    echo "postgresql, pgbouncer, chromium and fonts-noto-cjk." >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
# The package would make and start a cluster of its own.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
# Nor may the pooler start as a service; 101 is "not allowed" to every package's script.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql postgresql-contrib pgbouncer chromium \
    fonts-noto-cjk >/dev/null
all_there

#!/bin/sh
# Install what `make test-system` needs beyond Python: another Postgres, as users have one, and a pooler.
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

all_there() {
    postgres_programs && [ -x /usr/sbin/pgbouncer ]
}

all_there && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "make test-system needs Postgres >= 15 under /usr/lib/postgresql, and /usr/sbin/pgbouncer." >&2
    echo "Run it once as root on Debian or Ubuntu, or install the packages postgresql and pgbouncer by hand." >&2
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
apt-get install -y -qq --no-install-recommends postgresql postgresql-contrib pgbouncer >/dev/null
all_there

#!/bin/sh
# Install what `make test-system` needs beyond Python: another Postgres, as users have one.
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

postgres_programs && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "make test-system needs Postgres >= 15 under /usr/lib/postgresql." >&2
    echo "Run it once as root on Debian or Ubuntu, or install the package postgresql by hand." >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
# The package would make and start a cluster of its own.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql postgresql-contrib >/dev/null
postgres_programs

#!/bin/sh
# Runs Starling as a server of Complement: as a launcher of `starling-conformance engine`
# (docs/complement.md says what that is), or in the image of the Dockerfile beside this.
#
#   STARLING_BIN                  the binary; otherwise that of this checkout, or the one in PATH
#   STARLING_TEST_DATABASE        `sqlite`, also when unset, or `postgres`
#   STARLING_TEST_POSTGRES_URL    the server on which every container gets a database of its own
set -eu

here=$(dirname -- "$(readlink -f -- "$0")")
root=${CONTAINER_ROOT:-}
data=$root/data
ca=$root/complement/ca
address=${CONTAINER_ADDRESS:-0.0.0.0}

binary() {
    for candidate in "${STARLING_BIN:-}" "$here/../../target/release/starling" \
        "$here/../../target/debug/starling" "$(command -v starling || true)"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            echo "$candidate"
            return
        fi
    done
    echo "there is no starling: build it, or set STARLING_BIN" >&2
    exit 1
}

# The suite brings an authority of its own; every server signs its certificate with it.
make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2 \
        -CA "$ca/ca.crt" -CAkey "$ca/ca.key" -subj "/CN=$SERVER_NAME" \
        -addext "subjectAltName=DNS:$SERVER_NAME" -addext "basicConstraints=critical,CA:FALSE" \
        -addext "extendedKeyUsage=serverAuth" -addext "keyUsage=critical,digitalSignature" \
        -keyout "$data/tls.key" -out "$data/tls.crt" 2>/dev/null
}

# `{ "hs2" = "127.20.1.2:8448", … }` from `hs2=127.20.1.2 …`. The host has no server of its own: what
# the suite runs there names its port.
resolve_overrides() {
    list=
    for peer in ${CONTAINER_PEERS:-}; do
        case $peer in
            *.internal=*) ;;
            *) list="$list${list:+, }\"${peer%%=*}\" = \"${peer#*=}:8448\"" ;;
        esac
    done
    echo "{ $list }"
}

# `a.yaml,b.yaml`: the suite lays the registrations of application services there.
appservice_files() {
    list=
    for file in "$root"/complement/appservice/*.yaml; do
        [ ! -e "$file" ] || list="$list${list:+,}$file"
    done
    echo "$list"
}

# --- PostgreSQL: a database for each container and each image --------------------------------------

is_postgres() {
    [ "${STARLING_TEST_DATABASE:-sqlite}" = postgres ]
}

own_database() {
    printf 'starling_complement_%.12s\n' "${CONTAINER_ID#sha256:}"
}

sql() {
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$STARLING_TEST_POSTGRES_URL" "$@"
}

# The file `database` names the database that belongs to these files. Files that were copied name the
# database of the original, which gets a copy too. A server that was killed may still hold it.
take_database() {
    original=template0
    [ ! -e "$data/database" ] || original=$(cat "$data/database")
    [ "$original" != "$(own_database)" ] || return 0
    sql --output=/dev/null --command="SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = '$original' AND pid <> pg_backend_pid()"
    sql --command="CREATE DATABASE $(own_database) TEMPLATE $original"
    own_database >"$data/database"
}

database_url() {
    bare=${STARLING_TEST_POSTGRES_URL%%\?*}
    echo "${bare%/*}/$(own_database)${STARLING_TEST_POSTGRES_URL#"$bare"}"
}

# --- What the engine asks for ----------------------------------------------------------------------

start() {
    mkdir -p "$data"
    make_certificate
    export STARLING__SERVER_NAME="$SERVER_NAME"
    export STARLING__CLIENT__LISTEN="$address:8008"
    export STARLING__ADMIN__LISTEN="$address:8008"
    export STARLING__FEDERATION__LISTEN="$address:8448"
    export STARLING__FEDERATION__TRUSTED_CA_FILES="$ca/ca.crt"
    export STARLING__FEDERATION__TLS__CERTIFICATE="$data/tls.crt"
    export STARLING__FEDERATION__TLS__KEY="$data/tls.key"
    overrides=$(resolve_overrides)
    export STARLING__FEDERATION__RESOLVE_OVERRIDES="$overrides"
    appservices=$(appservice_files)
    export STARLING__APPSERVICES__FILES="$appservices"
    if is_postgres; then
        take_database
        url=$(database_url)
        export STARLING__DATABASE__URL="$url"
    fi
    starling=$(binary)
    exec "$starling" serve --config "$here/starling.toml" --data "$data"
}

case ${1:-start} in
    start) start ;;
    commit)
        if is_postgres && [ -e "$data/database" ]; then
            take_database
        fi
        ;;
    remove)
        if is_postgres && [ -e "$data/database" ]; then
            sql --command="DROP DATABASE IF EXISTS $(own_database) WITH (FORCE)"
        fi
        ;;
    *)
        echo "usage: $0 start|commit|remove" >&2
        exit 2
        ;;
esac

#!/bin/sh
# Runs Synapse as a server of Complement: a launcher of `starling-conformance engine`, which must run
# as root, because Synapse finds its peers by their names only. conformance/interop/setup.sh installs
# Synapse.
set -eu

here=$(dirname -- "$(readlink -f -- "$0")")
data=$CONTAINER_ROOT/data
ca=$CONTAINER_ROOT/complement/ca

# Followed up to the environment but not beyond it: through bin/python itself the system's interpreter
# would be run without the packages.
python=$(readlink -f -- "$here/../.venv")/bin/python

make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2 \
        -CA "$ca/ca.crt" -CAkey "$ca/ca.key" -subj "/CN=$SERVER_NAME" \
        -addext "subjectAltName=DNS:$SERVER_NAME" -addext "basicConstraints=critical,CA:FALSE" \
        -keyout "$data/tls.key" -out "$data/tls.crt" 2>/dev/null
}

# The signing key stays the same when an image is made of the container.
make_signing_key() {
    [ -e "$data/signing.key" ] || printf 'ed25519 a_1 %s\n' \
        "$(openssl rand -base64 32 | tr -d '=')" >"$data/signing.key"
}

appservice_files() {
    for file in "$CONTAINER_ROOT"/complement/appservice/*.yaml; do
        [ ! -e "$file" ] || printf '"%s", ' "$file"
    done
}

listener() {
    cat <<YAML
  - { port: $1, tls: $2, type: http, bind_addresses: ["$CONTAINER_ADDRESS"],
      resources: [{ names: [client, federation, media, keys] }] }
YAML
}

# What differs from container to container.
configuration() {
    cat <<YAML
server_name: "$SERVER_NAME"
public_baseurl: "http://$CONTAINER_ADDRESS:8008/"
pid_file: "$data/server.pid"
tls_certificate_path: "$data/tls.crt"
tls_private_key_path: "$data/tls.key"
federation_custom_ca_list: ["$ca/ca.crt"]
signing_key_path: "$data/signing.key"
media_store_path: "$data/media"
database: { name: sqlite3, args: { database: "$data/homeserver.db" } }
listeners:
$(listener 8008 false)
$(listener 8448 true)
app_service_config_files: [$(appservice_files)]
log_config: "$here/synapse-log.yaml"
YAML
}

start() {
    mkdir -p "$data/media"
    make_certificate
    make_signing_key
    configuration >"$data/homeserver.yaml"
    chown -R nobody:nogroup "$CONTAINER_ROOT"
    cd "$data"
    exec setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$python" \
        -m synapse.app.homeserver --config-path "$here/synapse.yaml" --config-path "$data/homeserver.yaml"
}

case ${1:-} in
    start) start ;;
    commit | remove) ;;
    *)
        echo "usage: $0 start|commit|remove" >&2
        exit 2
        ;;
esac

#!/bin/sh
# Writes the secrets that compose.yaml needs into the folder secrets/ of the checkout; keeps those that are there.
#
# Only you can open the folder. The files in it are readable by everyone, because the containers that get them run as
# different users.
set -eu
umask 077
cd "$(dirname "$0")/../.."
mkdir -p secrets
cd secrets

# put NAME: writes standard input to the file if there is none.
put() {
    if [ ! -s "$1" ]; then
        cat >"$1.part"
        chmod 444 "$1.part"
        mv -f "$1.part" "$1"
    fi
}

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in mongodb-admin mongodb-worker mongodb-reader grafana-admin; do random | put "$name-password"; done
random | put mongo-express-secret
od -An -N384 -tx1 /dev/urandom | tr -d ' \n' | put mongodb-keyfile

options='authSource=admin&replicaSet=rs0'
printf 'mongodb://streamapp:%s@mongodb-set:27017/?%s' "$(cat mongodb-worker-password)" "$options" | put mongodb-worker-uri
printf 'mongodb://reader:%s@mongodb-set:27017/streaming_db?%s' "$(cat mongodb-reader-password)" "$options" |
    put mongodb-reader-uri
printf 'mongodb://streamapp:%s@localhost:27017/?authSource=admin&directConnection=true' \
    "$(cat mongodb-worker-password)" | put mongodb-host-uri

echo "The secrets are in $PWD."

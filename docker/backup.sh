#!/usr/bin/env bash
# Back up the database of docker-compose.yml: docker/backup.sh FOLDER [DAYS]
# writes FOLDER/crysearch-<UTC time>.archive.gz, and deletes such files older than DAYS, if given.
# The password comes from the container's environment and is in no process list.
set -euo pipefail
umask 077

folder=${1:?give a folder for the backups}
days=${2:-}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
file=$folder/crysearch-$(date -u +%Y%m%dT%H%M%SZ).archive.gz
trap 'rm -f "$file.part"' EXIT

cd "$(dirname "$0")/.."
docker compose exec -T mongodb bash -c '
  exec mongodump --quiet --archive --gzip --db crysearch \
    --username "$MONGO_INITDB_ROOT_USERNAME" --authenticationDatabase admin \
    --config <(printf "password: \"%s\"\n" "$MONGO_INITDB_ROOT_PASSWORD")' > "$file.part"

gzip --test "$file.part"
mv "$file.part" "$file"
echo "$file"
if [ -n "$days" ]; then
  find "$folder" -name 'crysearch-*.archive.gz' -mtime "+$days" -delete
fi

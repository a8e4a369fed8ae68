#!/bin/sh
# Publishes this machine's load, memory and tasks once a second, for the dashboard example. Linux.
#
#     dashboard.sh [URL of the server] [how many times]
url=${1:-http://127.0.0.1:8080}
left=${2:--1}

host=$(uname -n | tr -c 'A-Za-z0-9_\n-' '-')

line() {
  printf '{"feed":"metrics.%s.%s","data":{"value":%s,"unit":"%s"}}\n' "$host" "$1" "$2" "$3"
}

while [ "$left" -ne 0 ]; do
  read -r load _ _ tasks _ </proc/loadavg
  free=$(awk '/^MemAvailable/ { printf "%.2f", $2 / 1048576 }' /proc/meminfo)
  {
    line load "$load" ''
    line memory.free "$free" GiB
    line tasks "${tasks#*/}" ''
  } | curl -fsS -o /dev/null -H 'Content-Type: application/x-ndjson' --data-binary @- "$url/feeds" || exit 1
  left=$((left - 1))
  [ "$left" -eq 0 ] || sleep 1
done

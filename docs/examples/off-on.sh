#!/usr/bin/env bash
# Off against on, by turns, for a service that must be restarted to change.
#
#   SERVICE='node app.js' LOAD='vegeta attack ...' SWITCH=CACHE ./off-on.sh
#
# SERVICE starts the service in the foreground; SWITCH is the environment variable that is "off" or
# "on" for it. READY is an address that answers once it is up. LOAD ends by itself. Each block is a
# recording of its own: the service starts in it and is told to end in it, so that it flushes its
# spans. Then `worthit report --campaign NAME` makes one run of them all.
set -euo pipefail

: "${SERVICE:?command that starts the service}" "${LOAD:?command that puts load on it}"
: "${SWITCH:?environment variable that is off or on}" "${READY:?address that answers when it is up}"
CAMPAIGN=${CAMPAIGN:-off-on}
PAIRS=${PAIRS:-6} # an interval needs six blocks per arm
WORTHIT=${WORTHIT:-worthit}

if [ "${1:-}" = one-block ]; then # inside `worthit record`
  $SERVICE &
  service=$!
  trap 'kill -TERM $service 2>/dev/null || true; wait $service || true' EXIT
  for _ in $(seq 150); do
    curl --silent --fail --output /dev/null "$READY" && break
    kill -0 $service || exit 1 # it ended before it was up
    sleep 0.2
  done
  $LOAD
  exit
fi

for pair in $(seq 0 $((PAIRS - 1))); do
  # off on, on off, off on: what drifts in the machine meets both arms alike
  if ((pair % 2)); then arms="on off"; else arms="off on"; fi
  for arm in $arms; do
    env "$SWITCH=$arm" $WORTHIT record --campaign "$CAMPAIGN" --arm "$arm" --block "$pair" \
      --name "$CAMPAIGN-$arm" -- "$0" one-block
  done
done
$WORTHIT report --campaign "$CAMPAIGN"

#!/bin/sh
# Start HAProxy with its statistics and metrics pages on loopback only.
#
# Serve's template binds both to every interface and has no setting for it. The configuration is the argument after
# -f; it is rewritten in place before HAProxy reads it. "exec", so that the process Serve watches is HAProxy itself.
set -eu
previous=
for argument in "$@"; do
  [ "$previous" = "-f" ] && sed -i -E 's/^([[:space:]]*)bind \*?:([0-9]+)[[:space:]]*$/\1bind 127.0.0.1:\2/' "$argument"
  previous=$argument
done
exec "${MLDL_HAPROXY:?is set by mldl environment}" "$@"

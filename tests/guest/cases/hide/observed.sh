#!/bin/sh
# observed.sh PORT: first the service that is hidden, then the same program that is not.
/usr/bin/quiet-service $1
ls -d /srv/hidden
/usr/bin/open-service $1

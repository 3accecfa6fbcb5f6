#!/bin/sh
# Called by uevent for each thing that comes and goes. A processor that is plugged in does nothing before somebody says so.
[ "$ACTION $SUBSYSTEM" = "add cpu" ] && echo 1 >"/sys$DEVPATH/online"

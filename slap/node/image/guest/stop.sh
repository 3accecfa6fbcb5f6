#!/bin/sh
# The last thing that runs: nothing is lost that was written.
killall dropbear httpd acpid udhcpc 2>/dev/null
sync
mount -o remount,ro /

#!/bin/sh
# Somebody pressed the power button.
exec poweroff

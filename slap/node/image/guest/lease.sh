#!/bin/sh
# udhcpc tells what it was given.
case $1 in
deconfig)
    ip link set "$interface" up
    ip -4 address flush dev "$interface"
    ;;
bound | renew)
    ip -4 address flush dev "$interface"
    ip address add "$ip/$mask" dev "$interface"
    for gateway in $router; do
        ip route add default via "$gateway" dev "$interface"
    done
    : >/etc/resolv.conf
    for server in $dns; do
        echo "nameserver $server" >>/etc/resolv.conf
    done
    ;;
esac

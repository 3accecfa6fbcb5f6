#!/bin/sh
# Brings the machine up: network, and what its seed says. A seed is a disk with the label cidata.
mount -t tmpfs tmpfs /run
mkdir -p /dev/pts /run/seed
mount -t devpts devpts /dev/pts
resize2fs "$(findfs LABEL=tiny-root)" >/dev/null 2>&1 &
modprobe -a virtio_net virtio_rng virtio_balloon button evdev
ip link set lo up

# Where the seed is mounted, if there is one.
find_seed() {
    modprobe isofs
    findfs LABEL=cidata >/dev/null 2>&1 || modprobe -a virtio_scsi ata_piix ata_generic sr_mod
    disk=$(findfs LABEL=cidata 2>/dev/null || findfs LABEL=CIDATA 2>/dev/null) || return 1
    mount -o ro -t iso9660 "$disk" /run/seed 2>/dev/null && return
    modprobe -a vfat nls_cp437 nls_utf8 nls_ascii
    mount -o ro -t vfat "$disk" /run/seed
}

# What a document of the seed says of a word, in YAML or JSON on lines of their own.
field() { sed -n "s/^ *\"\{0,1\}$1\"\{0,1\}: *[\"']\{0,1\}\([A-Za-z0-9_.-]*\).*/\1/p" /run/seed/meta-data | head -n 1; }

# Whoever has one of these keys may come in; those that were here already stay.
add_keys() {
    mkdir -p -m 700 /root/.ssh
    touch /root/.ssh/authorized_keys
    cat /run/seed/meta-data /run/seed/user-data 2>/dev/null |
        grep -oE "(ssh-(ed25519|rsa)|ecdsa-sha2-[a-z0-9-]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]+=*( [^\"',]*)?" |
        while read -r key; do
            grep -qxF "$key" /root/.ssh/authorized_keys || echo "$key" >>/root/.ssh/authorized_keys
        done
}

# What was one machine becomes another: nothing by which it was known stays.
become() {
    rm -f /etc/dropbear/*_host_key
    tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
    echo "$1" >/etc/instance-id
    : >/run/is-new
}

instance=none
if find_seed; then
    instance=$(field instance-id)
    name=$(field local-hostname)
    [ -z "$name" ] || echo "$name" >/etc/hostname
    add_keys
fi
[ "$instance" = "$(cat /etc/instance-id 2>/dev/null)" ] || become "$instance"
hostname -F /etc/hostname
echo "127.0.0.1 localhost $(hostname)" >/etc/hosts
grep -q '"ethernets": {}' /run/seed/network-config 2>/dev/null ||
    udhcpc -i eth0 -t 5 -T 1 -b -S -s /etc/lease.sh -p /run/udhcpc.pid >/dev/null 2>&1 &
mkdir -p /etc/dropbear
key=/etc/dropbear/dropbear_ed25519_host_key
[ -s $key ] || dropbearkey -t ed25519 -f $key >/dev/null 2>&1
sync

if [ -e /run/is-new ] && grep -q '^#!' /run/seed/user-data 2>/dev/null; then
    cp /run/seed/user-data /etc/user-data
    chmod 700 /etc/user-data
    /etc/user-data >/var/log/user-data.log 2>&1 &
fi

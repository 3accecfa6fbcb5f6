#!/bin/busybox sh
# Runs first of all: finds the disk, gives its file system all of the disk, and goes on from there.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

root() { findfs LABEL=tiny-root; }

modprobe -a virtio_pci virtio_blk
root >/dev/null 2>&1 || modprobe -a virtio_scsi sd_mod ata_piix ata_generic
tries=0
until device=$(root 2>/dev/null); do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "There is no disk with the file system tiny-root." >/dev/console; exec sh; }
    usleep 50000
done

# The partition ends where the disk ends. The table has its sectors in four bytes, the lowest first.
name=${device##*/}
disk=${name%1}
start=$(cat "/sys/class/block/$name/start")
wanted=$(($(cat "/sys/class/block/$disk/size") - start))
if [ "$wanted" -gt "$(cat "/sys/class/block/$name/size")" ] && [ "$wanted" -lt 4294967296 ]; then
    bytes=
    for shift in 0 8 16 24; do
        bytes="$bytes$(printf '\\%03o' $((wanted >> shift & 255)))"
    done
    printf "$bytes" | dd of="/dev/$disk" bs=1 seek=458 conv=notrunc 2>/dev/null
    sync
    blockdev --rereadpt "/dev/$disk"
fi

mount -t ext4 "$device" /root
for place in proc sys dev; do
    mount -o move "/$place" "/root/$place"
done
exec switch_root /root /sbin/init

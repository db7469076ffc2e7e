#!/bin/sh
# Usage: build.sh [inside | neighbours]        (`make guest`; as root, with a package in dist/ from `make deb`)
#
# Builds dist/mailguard-guest.img: a bootable disk (GPT, BIOS) with Debian 12, mailguard and what it needs around it, and
# dist/mailguard-guest.packages, which names the version of every package in it. The disk is sparse, and grows at its first
# boot to whatever it was copied to. No loop device, no mount of the image, no KVM is needed.
#
#   inside      clamd and spamd run in the guest (default)
#   neighbours  they run elsewhere, and the seed's settings name them: dist/mailguard-guest-neighbours.img and .packages
#
# GUEST_SIZE is the disk's size in MiB (3072). What packages the archive has is today's: two builds on one day have the same
# files, and not the same octets. No password, no key and no address of this machine is in it.
# Exit status: 0, 64 a wrong argument, 69 something is missing, or that of what failed.

set -eu
cd "$(dirname "$0")/../.."

suite=bookworm
scanners=${1:-inside}
size=${GUEST_SIZE:-3072}
work=build/guest
root=$work/root
made=dist/mailguard-guest
boot_start=2048  # sectors of 512 octets: the partition that holds GRUB's core
root_start=4096
uuid=6d61696c-6775-4172-a4d1-67756573740a # of the file system; a guest has one of its kind

# Besides Debian's `required` packages.
base="linux-image-amd64 initramfs-tools zstd systemd-sysv udev dbus kmod e2fsprogs netbase iproute2 iputils-ping procps
tzdata ca-certificates python3 logrotate less vim-tiny openssh-server sudo cloud-init cloud-guest-utils qemu-guest-agent chrony
nftables unbound dns-root-data curl"
units="mailguard.service nftables.service systemd-networkd.service unbound.service chrony.service ssh.service"
# For ext4 on LVM, which is below this disk and not in it; the seed's last part waits for it at each boot.
useless="e2scrub_reap.service e2scrub_all.timer"
case $scanners in
inside)
    base="$base clamav-daemon clamav-freshclam spamd"
    units="$units clamav-daemon.service clamav-freshclam.service spamd.service"
    ;;
neighbours) made=$made-neighbours ;;
*) echo "usage: $0 [inside | neighbours]" >&2 && exit 64 ;;
esac

stop() {
    echo "make guest: $1" >&2
    exit 69 # EX_UNAVAILABLE, sysexits.h
}

# What dpkg -i will want is there before, since nothing is fetched then.
depends() { dpkg-deb --field "$deb" Pre-Depends Depends | sed 's/^[A-Za-z-]*: *//' | tr ',' '\n' | sed 's/[ (].*//; /^$/d' | sort -u; }

bootstrap() {
    sources=$(grep -ls "$suite" /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources || true)
    apt-config dump --format '%f "%v";%n' Acquire | grep -v '^Acquire "' | grep -v '::Languages' >"$work/apt.conf"
    # dpkg need not flush each file of what a crash leaves worthless.
    # shellcheck disable=SC2016,SC2046,SC2086 # the hooks are mmdebstrap's to expand; names without blanks
    mmdebstrap --quiet --variant=minbase --format=directory --dpkgopt=force-unsafe-io --aptopt="$work/apt.conf" \
        --include="$(echo $base $(depends) | tr ' ' ,)" \
        --customize-hook="cp '$deb' \"\$1/tmp/mailguard.deb\"" \
        --customize-hook='chroot "$1" dpkg --install /tmp/mailguard.deb && rm "$1/tmp/mailguard.deb"' \
        --customize-hook='chroot "$1" systemctl enable '"$units" \
        --customize-hook='chroot "$1" systemctl disable '"$useless" \
        "$suite" "$root" $sources
}

scanner_settings() {
    [ "$scanners" = inside ] || return 0
    words=$(sed -n 's/^\([A-Za-z]*\) .*/\1/p' deploy/guest/clamd.conf | paste -s -d '|')
    sed -i -E "/^($words) /d" "$root/etc/clamav/clamd.conf"
    cat deploy/guest/clamd.conf >>"$root/etc/clamav/clamd.conf"
    cp deploy/spamassassin/mailguard.cf "$root/etc/spamassassin/mailguard.cf"
    lay deploy/guest/inside
}

# Nothing of the machine that built it, nothing that two guests may not share, nothing that tells when it was built.
strip() {
    rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
    rm -f "$root"/etc/ssh/ssh_host_* "$root"/var/lib/dbus/machine-id "$root"/etc/hostname "$root"/var/lib/systemd/random-seed
    rm -f "$root"/var/log/*.log "$root"/var/log/apt/* "$root"/var/cache/ldconfig/aux-cache "$root"/var/cache/debconf/*-old
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/lib/unbound/unbound_*
    : >"$root/etc/machine-id" # empty: made at the first boot
    grep -q '^root:[*!]:' "$root/etc/shadow" || stop "root has a password in the image"
}

# lay FOLDER: files of the guest's own, root's, whoever owns them here.
lay() {
    tar -C "$1" --owner=0 --group=0 --mode=u=rwX,go=rX -cf - . | tar -C "$root" --no-overwrite-dir -xf -
}

# word BYTES OFFSET FILE: these octets there, in place.
poke() { printf '%b' "$1" | dd of="$3" bs=1 seek="$2" conv=notrunc status=none; }

# GRUB as its own installer would put it, without a device: the boot sector is told where the core begins, and the core's
# first sector where the rest of it is. Both numbers are little-endian, of 64 bits.
boot_loader() {
    grub-mkimage -O i386-pc -o "$work/core.img" -p '(hd0,gpt2)/boot/grub' \
        biosdisk part_gpt ext2 normal linux search search_label serial terminal echo test sleep reboot
    head -c 440 /usr/lib/grub/i386-pc/boot.img >"$work/boot.img"
    poke '\0000\0010\0000\0000\0000\0000\0000\0000' 92 "$work/boot.img"   # 0x5c: sector 2048
    poke '\0001\0010\0000\0000\0000\0000\0000\0000' 500 "$work/core.img"  # 0x1f4: sector 2049
    [ "$(stat -c %s "$work/core.img")" -lt $(((root_start - boot_start) * 512)) ] || stop "GRUB's core is too large"
    dd if="$work/boot.img" of="$1" conv=notrunc status=none
    dd if="$work/core.img" of="$1" bs=512 seek=$boot_start conv=notrunc status=none
}

disk() {
    rm -f "$1"
    truncate -s "${size}M" "$1"
    sfdisk --quiet "$1" <<END
label: gpt
label-id: 6D61696C-6775-4172-A4D1-646973736B0A
start=$boot_start, size=$((root_start - boot_start)), type=21686148-6449-6E6F-744E-656564454649, uuid=6D61696C-6775-4172-A4D1-626F6F74310A
start=$root_start, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=6D61696C-6775-4172-A4D1-726F6F74310A
END
    # 34 sectors at the end are the second table's.
    mke2fs -q -F -t ext4 -d "$root" -L mailguard -U "$uuid" -m 1 \
        -E "offset=$((root_start * 512)),hash_seed=$uuid,root_owner=0:0" \
        "$1" $(((size * 2048 - root_start - 2048) / 2))k
    boot_loader "$1"
}

[ "$(id -u)" -eq 0 ] || stop "wants root, since files in the image are root's"
# Mounts live in a namespace of our own: they are gone with it, and nothing of this machine can be removed.
if [ -z "${GUEST_NAMESPACE-}" ]; then
    GUEST_NAMESPACE=1 exec unshare --mount --pid --fork --kill-child=KILL --propagation private --mount-proc \
        sh deploy/guest/build.sh "$scanners"
fi
deb=$(echo dist/mailguard_*.deb)
[ -f "$deb" ] || stop "wants one package in dist/: make deb"
rm -rf --one-file-system "$root"
mkdir -p "$work"
bootstrap
scanner_settings
strip
lay deploy/guest/files
dpkg-query --admindir="$root/var/lib/dpkg" -W >"$made.packages"
disk "$made.img.new"
mv "$made.img.new" "$made.img"
rm -rf --one-file-system "$root"
echo "$made.img: $size MiB, $(du -m "$made.img" | cut -f1) of them used; $(wc -l <"$made.packages") packages"

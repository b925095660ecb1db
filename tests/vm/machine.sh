# The emulated machine that tests/vm/boot, tests/vm/run and tests/census/run start: its disk, and how it boots.
# shellcheck shell=bash
#
# A Debian of the release that this is, with systemd, AppArmor, a C compiler, Docker and gVisor, and two kernels: the
# stock one and the newest of backports. Its disk is made with mmdebstrap, kept in target/vm (remove target/vm/disk-* to
# make it anew) and never written to. Needs root for that, and nothing of the host's.
#
#   SANDFLEET_TEST_VM_DISKS  another directory than target/vm to keep it in, so that worktrees can share it
#   SANDFLEET_TEST_VM_ACCEL  kvm, where nested virtualisation is to be had; else the machine is emulated in software

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
vm_cache=${SANDFLEET_TEST_VM_DISKS:-$repo/target/vm}
vm_accel=${SANDFLEET_TEST_VM_ACCEL:-tcg,thread=multi}
vm_work=$(mktemp -d)
vm_pid= # the machine that runs

# vm_die STATUS MESSAGE
vm_die() {
    echo "${0#"$repo/"}: $2" >&2
    exit "$1"
}

vm_clean_up() {
    [ -z "$vm_pid" ] || kill "$vm_pid" 2>/dev/null || true
    rm -rf "$vm_work"
}
trap vm_clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- the disk --------------------------------------------------------------------------------------------------------

# What compilers and interpreters are there is what hostile programs are written in.
vm_packages=(
    linux-image-amd64 systemd systemd-sysv dbus dbus-user-session libpam-systemd apparmor kmod procps util-linux iproute2
    python3 nodejs gcc libc6-dev docker.io iptables runsc
)
vm_disk_bytes=8G

vm_write_unit() {
    cat >"$1" <<'UNIT'
[Unit]
Description=What this machine was started for
After=dbus.service systemd-logind.service systemd-user-sessions.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
ExecStart=/bin/sh -c 'mkdir -p /srv/payload && tar -xf /dev/vdb -C /srv/payload && cd /srv/payload && ./start; echo "exit status: $?"'
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
[Install]
WantedBy=multi-user.target
UNIT
}

# vm_make_disk DIRECTORY SUITE
vm_make_disk() {
    local root=$vm_work/root mirror=http://deb.debian.org/debian new=$1.$$ name kernels
    vm_write_unit "$vm_work/sandfleet-payload.service"
    # Docker is only started where it is wanted.
    mmdebstrap --variant=minbase --aptopt='APT::Install-Recommends "false"' \
        --include="$(IFS=, && echo "${vm_packages[*]}")" \
        --customize-hook='chroot "$1" apt-get install -qy -t '"$2-backports"' linux-image-amd64' \
        --customize-hook='chroot "$1" useradd -m -u 1000 -s /bin/bash ann' \
        --customize-hook='chroot "$1" useradd -m -u 1001 -s /bin/bash bob' \
        --customize-hook="copy-in $vm_work/sandfleet-payload.service /etc/systemd/system" \
        --customize-hook='chroot "$1" systemctl enable sandfleet-payload.service' \
        --customize-hook='chroot "$1" systemctl disable docker.service docker.socket containerd.service' \
        "$2" "$root" "deb $mirror $2 main" "deb $mirror $2-updates main" \
        "deb $mirror-security $2-security main" "deb $mirror $2-backports main"
    mkdir "$new"
    mke2fs -q -t ext4 -d "$root" "$new/disk.img" "$vm_disk_bytes"
    # By version: backports are never older.
    mapfile -t kernels < <(cd "$root/boot" && ls vmlinuz-* | sed 's/vmlinuz-//' | sort -V)
    [ ${#kernels[@]} = 2 ]
    for name in stock backports; do
        cp "$root/boot/vmlinuz-${kernels[0]}" "$new/$name.vmlinuz"
        cp "$root/boot/initrd.img-${kernels[0]}" "$new/$name.initrd"
        kernels=("${kernels[@]:1}")
    done
    mv "$new" "$1"
    rm -rf "$root"
}

# vm_prepare: installs what is missing, and makes the disk unless it is there; sets vm_disk.
vm_prepare() {
    local missing=() one
    for one in qemu-system-x86 mmdebstrap e2fsprogs; do
        dpkg -s "$one" >/dev/null 2>&1 || missing+=("$one")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        { apt-get update -q && apt-get install -qy --no-install-recommends "${missing[@]}"; } >"$vm_work/install.log" 2>&1 ||
            { cat "$vm_work/install.log" >&2 && vm_die 69 "could not install ${missing[*]}"; }
    fi
    # The binary has to run in it, so it is the release that this is.
    # shellcheck source=/dev/null
    . /etc/os-release
    [ "${ID-}" = debian ] || vm_die 69 "needs Debian, this is ${ID-unknown}"
    mkdir -p "$vm_cache"
    vm_disk=$vm_cache/disk-$({ declare -f vm_make_disk vm_write_unit && echo "${vm_packages[@]} $vm_disk_bytes"; } |
        sha256sum | cut -c1-12)
    (
        flock 8
        [ ! -d "$vm_disk" ] || exit 0
        echo "== making a disk with $VERSION_CODENAME; $vm_cache/disk.log tells how it goes"
        vm_make_disk "$vm_disk" "$VERSION_CODENAME" >"$vm_cache/disk.log" 2>&1 ||
            { tail -n 30 "$vm_cache/disk.log" >&2 && vm_die 70 "could not make the disk"; }
    ) 8>"$vm_cache/lock"
}

# ---- the machine -----------------------------------------------------------------------------------------------------

# vm_payload DIRECTORY BINARY COMMAND…: adds the sandfleet to check to what goes in, its configuration, and what is run.
# More lines of the configuration, in the section of the caps, are in vm_caps.
vm_caps=
vm_payload() {
    strip -o "$1/sandfleet" "$2"
    # An emulated processor is slow.
    printf '[limits.max]\nwall_time_ms = 600000\ncpu_time_ms = 600000\n%s\n' "$vm_caps" >"$1/sandfleet.toml"
    {
        echo '#!/bin/sh'
        echo 'mkdir -p /etc/sandfleet && mv sandfleet /usr/local/bin/ && mv sandfleet.toml /etc/sandfleet/ || exit'
        echo "exec $(printf ' %q' "${@:3}")"
    } >"$1/start"
    chmod 755 "$1/start"
}

# vm_boot KERNEL GROUPS DIRECTORY LOGS [MIB [SECONDS]]: boots the kernel (stock or backports) with control groups of
# version v1 or v2, runs DIRECTORY/start in the machine as root, and fails unless that succeeded. What it prints is
# shown, by the lines that the sed program vm_show prints, and kept in LOGS.out; the kernel's console is LOGS.console.
# The directory goes in as a disk that is a tar archive. With vm_init=bare nothing but DIRECTORY/start runs in the
# machine: systemd takes longer to start, where it is emulated, than most of what is tried there.
vm_show=p vm_init=systemd
vm_boot() {
    local kernel=$1 groups=$2 payload=$vm_work/payload.tar logs=$4 options init=
    [ -e "$vm_disk/$kernel.vmlinuz" ] || vm_die 64 "no kernel $kernel: stock or backports"
    case $groups in
        v1) options='systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1 cgroup_enable=memory' ;;
        v2) options='systemd.unified_cgroup_hierarchy=1' ;;
        *) vm_die 64 "no control groups of version $groups: v1 or v2" ;;
    esac
    if [ "$vm_init" = bare ]; then
        cp "$repo/tests/vm/bare" "$3/bare"
        init="init=/bin/sh -- -c \"mkdir -p /srv/payload; tar -xf /dev/vdb -C /srv/payload; exec sh /srv/payload/bare $groups\""
    fi
    tar -C "$3" -cf "$payload" .
    : >"$logs.console"
    : >"$logs.out"
    # In the background, so that a signal ends the wait at once.
    nice -n 15 timeout "${6:-7200}" qemu-system-x86_64 -accel "$vm_accel" -cpu max -smp 2 -m "${5:-3072}" -nic none \
        -no-reboot -display none -monitor none -serial "file:$logs.console" -serial "file:$logs.out" \
        -kernel "$vm_disk/$kernel.vmlinuz" -initrd "$vm_disk/$kernel.initrd" \
        -append "console=ttyS0 root=/dev/vda rw loglevel=4 panic=-1 apparmor=1 security=apparmor syscall.x32=y $options
            systemd.mask=serial-getty@ttyS0.service systemd.mask=serial-getty@ttyS1.service $init" \
        -drive "file=$vm_disk/disk.img,format=raw,if=virtio,snapshot=on" \
        -drive "file=$payload,format=raw,if=virtio,read-only=on" </dev/null &
    vm_pid=$!
    tail -n +1 -f --pid "$vm_pid" "$logs.out" | sed -un "s/\r\$//; $vm_show" &
    wait "$vm_pid" || true
    vm_pid=
    wait
    grep -aq '^exit status: 0' "$logs.out"
}

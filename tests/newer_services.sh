# RabbitMQ and Redis of a newer Debian release in place of this machine's: RabbitMQ 4 and Valkey of trixie, for the suite
# `newer`; sourced by tests/run.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # services_dir, repo, rabbitmq_bin by tests/services.sh, which also uses what is set here

newer_release=trixie
newer_tree=$services_dir/$newer_release
newer_programs=$services_dir/$newer_release-programs

# The release's packages in a directory, made once a month, and a program for each name that the tests start servers by.
newer_services() {
    local month
    month=$(date +%Y-%m)
    if [ "$(cat "$newer_tree/.made" 2>/dev/null)" != "$month" ]; then
        rm -rf --one-file-system "$newer_tree"
        phase "$newer_release" mmdebstrap --quiet --variant=minbase --aptopt='APT::Install-Recommends "false"' \
            --include=rabbitmq-server,valkey-server --format=directory "$newer_release" "$newer_tree" || return
        mkdir -p "$newer_tree$repo" && echo "$month" >"$newer_tree/.made"
    fi
    rm -rf "$newer_programs" && mkdir -p "$newer_programs"
    newer_program redis-server /usr/bin/valkey-server
    newer_program rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server
    newer_program rabbitmqctl /usr/lib/rabbitmq/bin/rabbitmqctl
    PATH=$newer_programs:$PATH
    rabbitmq_bin=$newer_programs
    export SANDFLEET_TEST_RABBITMQ_BIN=$rabbitmq_bin
    echo "$newer_release     RabbitMQ $(newer_version rabbitmq-server), Valkey $(newer_version valkey-server)"
}

newer_version() { dpkg-query --admindir="$newer_tree/var/lib/dpkg" -W -f '${Version}' "$1"; }

# newer_program NAME PATH: NAME runs the release's PATH, as the process that it was started as. Its mounts end with it.
newer_program() {
    cat >"$newer_programs/$1" <<PROGRAM
#!/bin/sh
exec unshare --mount sh -c 'set -e
    for directory in /dev /proc /sys /tmp /run "$repo"; do mount --rbind "\$directory" "$newer_tree\$directory"; done
    exec chroot "$newer_tree" "$2" "\$@"' "$1" "\$@"
PROGRAM
    chmod 755 "$newer_programs/$1"
}

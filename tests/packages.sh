# The Debian packages that the tests need, and their installation; sourced by tests/run.
# shellcheck shell=bash
# shellcheck disable=SC2154 # rabbitmq_bin is set by tests/services.sh; suite, log_dir by tests/run

# PACKAGE:COMMAND. A package also counts as there when something else provides its command: installing docker.io would
# remove an installed docker-ce.
packages=(
    "rabbitmq-server:$rabbitmq_bin/rabbitmq-server" redis-server:redis-server docker.io:dockerd iptables:iptables
    runsc:runsc mmdebstrap:mmdebstrap gcc:gcc libc6-dev: python3:python3 nodejs:node faketime:faketime
    python3-pandas: python3-matplotlib: # what most programs start warm for
    apparmor:apparmor_parser            # its language has no other parser
    openssl:openssl                     # deploy/credentials/make
    # What asks how many processors there are, and uses terminals.
    procps:ps bsdutils:script tmux:tmux python3-psutil: python3-pexpect: openjdk-17-jdk-headless:javac
)

# The ordinary programs of the suite `hostile`.
# shellcheck disable=SC2154 # suite is set by tests/run
if [ "$suite" = hostile ] || [ "$suite" = all ]; then
    packages+=(libpython3.11-testsuite: "g++:g++" sqlite3:sqlite3)
fi

# The compilers and interpreters of the built-in languages.
if [ "$suite" = languages ]; then
    packages+=("g++:g++" golang-go:go rustc:rustc ruby:ruby php-cli:php lua5.4:lua5.4 r-base-core:Rscript sqlite3:sqlite3
        esbuild:esbuild)
fi

# Another sandbox to compare with.
if [ "$suite" = bench ] || [ "$suite" = all ]; then
    packages+=(bubblewrap:bwrap)
fi

# The dashboards and alerts.
if [ "$suite" = observe ]; then
    packages+=(prometheus:promtool prometheus-alertmanager:amtool redis-tools:redis-cli openssl:openssl python3-venv:)
fi

# What installs and starts a fleet.
if [ "$suite" = deploy ]; then
    packages+=(docker-compose:docker-compose lintian:lintian openssl:openssl redis-tools:redis-cli dpkg-dev:dpkg-shlibdeps
        python3-venv: ca-certificates: iproute2:ip)
fi

missing_packages() {
    local entry package command
    for entry in "${packages[@]}"; do
        package=${entry%%:*} command=${entry#*:}
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] && continue
        [ -n "$command" ] && command -v "$command" >/dev/null && continue
        echo "$package"
    done
}

services_install() {
    command -v apt-get >/dev/null ||
        die 69 "no apt-get here: the tests need Debian 12 or a relative with the packages ${packages[*]%%:*}"
    [ -n "$(missing_packages)" ] || return 0
    # Two checkouts may get here at once. /run itself is what they lock, so that no lock file stays behind.
    (
        flock 8
        install_missing 8<&-
    ) 8</run || die 69 "could not install the packages; the log is $log_dir/install.log"
}

install_missing() {
    local missing policy=/usr/sbin/policy-rc.d
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    # The packages would start system-wide services of their own; this forbids it while they are being set up.
    if [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\n# For one installation by the tests of sandfleet; safe to remove.\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    phase install sh -c 'apt-get -q update &&
        apt-get -qy -o DPkg::Lock::Timeout=300 --no-install-recommends install "$@"' sh "${missing[@]}" || return
    # Not now and not at the next boot either: the tests only want the programs.
    [ ! -d /run/systemd/system ] || disable_units "${missing[@]}"
}

disable_units() {
    local package
    for package in "$@"; do
        case $package in
            apparmor) systemctl --quiet disable apparmor.service ;;
            docker.io) systemctl --quiet disable docker.service docker.socket containerd.service ;;
            prometheus | prometheus-alertmanager) systemctl --quiet disable "$package.service" ;;
            *-server) systemctl --quiet disable "$package.service" ;;
        esac
    done
}

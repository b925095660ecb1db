# The suite `deploy`: what deploy/ installs and starts, for real; sourced by tests/run, whose functions it uses.
# shellcheck shell=bash
# shellcheck disable=SC2154 # repo, target_dir, log_dir, run_dir, docker_url, as_builder by tests/run and tests/services.sh
#
#   bash tests/run deploy [PART]…
#
#   deb         the package is built, checked by lintian, installed in a bare Debian, runs a program, is purged: 3 minutes
#   units       the units: which capabilities they need; the fleet by them in an emulated machine: 10 to 20 minutes
#   container   the images: one without a shell, and one whose worker runs a job and the hostile programs: 8 minutes
#   compose     compose.yaml with Debian trixie's services: a fleet runs jobs, is backed up and restored: 10 minutes
#   kubernetes  the manifests by the API's schemas and those of the operators: 2 minutes
#
# The containers' engine has a network namespace of its own; nothing of this machine's network changes.

deploy_parts=(deb units container compose kubernetes)

deploy() {
    local part status=0
    [ $# -gt 0 ] || set -- "${deploy_parts[@]}"
    for part; do
        [[ " ${deploy_parts[*]} " == *" $part "* ]] || die 64 "deploy has no part $part: ${deploy_parts[*]}"
    done
    work=$target_dir/deploy
    mkdir -p "$work" || return
    [ -x "$repo/deploy/credentials/make" ] || die 66 "deploy/credentials/make is not there: it makes the users of broker and store"
    phase build "${as_builder[@]}" cargo build -p sandfleet-worker --bins --locked || return
    export SANDFLEET_BIN=$target_dir/debug/sandfleet
    for part; do
        "deploy_$part" || status=$?
    done
    return "$status"
}

# ---- the engine ------------------------------------------------------------------------------------------------------

# Containers talk to each other, so the engine makes bridges and rules: in a network namespace that ends with it.
deploy_engine() {
    [ ! -S "$run_dir/docker.sock" ] || return 0
    if [ -d "$run_dir" ]; then services_stop || die 70 "could not clean up after an earlier run"; fi
    mkdir -p "$services_dir"/{docker,containerd} && mkdir -m 700 "$run_dir" || return
    # shellcheck disable=SC2016 # the inner shell's
    engine_in=(unshare --net sh -c 'ip link set lo up && exec "$@"' sh)
    engine_network=(--bridge=none)
    engine_runtime=$repo/tests/deploy/runc
    start_docker
    await 60 dockerd_is_ready || service_failed dockerd 'did not get ready within 60 s'
    remove_containers
    export DOCKER_HOST=$docker_url DOCKER_CONFIG=$run_dir/docker-config
}

# A bare Debian as an image; the same for each run of a month.
deploy_bare_image() {
    local suite=$1 packages=$2 image=sandfleet-test/$1-$3 tar
    tar=$work/$1-$3-$(date +%Y-%m).tar
    if [ ! -e "$tar" ]; then
        rm -f "$work/$1-$3"-*.tar
        run mmdebstrap --quiet --variant=minbase --aptopt='APT::Install-Recommends "false"' --include="$packages" \
            --format=tar "$suite" "$tar.new" || return
        mv "$tar.new" "$tar"
    fi
    private_docker image inspect "$image" >/dev/null 2>&1 || run docker import "$tar" "$image"
}

# ---- deb -------------------------------------------------------------------------------------------------------------

deploy_package() {
    if ! cargo deb --version >/dev/null 2>&1; then
        echo 'cargo-deb is not installed: building it once'
        phase cargo-deb "${as_builder[@]}" cargo install cargo-deb --locked || return
    fi
    rm -rf "$work/debian"
    phase package deploy/deb/build --output "$work/debian" || return
    package=$(ls "$work"/debian/sandfleet_*.deb)
}

deploy_deb() {
    deploy_package || return
    phase lintian lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$package" || return
    deploy_engine || return
    deploy_bare_image bookworm python3-minimal,libgcc-s1,systemd-standalone-sysusers,systemd-standalone-tmpfiles bare || return
    phase deb tests/deploy/package "$package"
}

# ---- units -----------------------------------------------------------------------------------------------------------

deploy_units() {
    phase capabs tests/deploy/capabilities || return
    [ -n "${package-}" ] || deploy_package || return
    run tests/deploy/machine "$package" "$work/machine"
}

# ---- container -------------------------------------------------------------------------------------------------------

deploy_images() {
    deploy_engine || return
    [ -z "${images_are_built-}" ] || return 0
    phase images deploy/images/build || return
    phase image deploy/container/build || return
    images_are_built=yes
}

deploy_container() {
    deploy_images || return
    phase container tests/deploy/container || return
    phase corpus tests/deploy/corpus
}

# ---- compose ---------------------------------------------------------------------------------------------------------

deploy_compose() {
    deploy_images || return
    if ! private_docker image inspect sandfleet/debian-services:trixie >/dev/null 2>&1; then
        phase trixie deploy/compose/debian-image || return
    fi
    run tests/deploy/compose
}

# ---- kubernetes ------------------------------------------------------------------------------------------------------

deploy_kubernetes() { phase kubernetes tests/deploy/kubernetes; }

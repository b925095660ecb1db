# The suite `supply-chain`: dependencies by cargo-deny, bills of materials by their official schema, and a release that is
# built twice; sourced by tests/run, whose functions it uses.
# shellcheck shell=bash
# shellcheck disable=SC2154 # target_dir, log_dir, as_builder by tests/run

# supply_chain [--quick]: quick without the release's two builds and what is looked at in them.
supply_chain() {
    local status=0
    case ${1-} in '' | --quick) ;; *) die 64 "supply-chain: $1 is no argument of it; --quick is" ;; esac
    work=$target_dir/supply-chain
    not_checked=
    supply_chain_deny || status=$?
    if [ "${1-}" != --quick ]; then
        if supply_chain_release; then supply_chain_bills || status=$?; else status=$?; fi
    fi
    [ -z "$not_checked" ] || echo "NOT CHECKED: $not_checked"
    return "$status"
}

# Licences, bans and sources always; advisories where their database can be reached, which is on GitHub.
supply_chain_deny() {
    if ! cargo deny --version >/dev/null 2>&1; then
        echo 'cargo-deny is not installed: building it once'
        phase deny-build "${as_builder[@]}" cargo install cargo-deny --locked || return
    fi
    phase deny "${as_builder[@]}" cargo deny --locked check --hide-inclusion-graph licenses bans sources || return
    if ! phase fetch "${as_builder[@]}" timeout 120 cargo deny --locked fetch db >/dev/null; then
        not_checked="advisories, since their database can't be fetched; the log is $log_dir/fetch.log"
        return 0
    fi
    phase advisories "${as_builder[@]}" cargo deny --locked check --disable-fetch advisories
}

# The same bytes from two copies of the checkout in directories of different length, with caches of cargo of their own.
supply_chain_release() {
    local epoch copy
    epoch=$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)
    # Both builds are offline and have the same crates.
    phase crates "${as_builder[@]}" cargo fetch --locked || return
    rm -rf "$work" && "${as_builder[@]}" mkdir -p "$work" || return
    for copy in one another/directory/that/is/longer; do
        phase "copy" "${as_builder[@]}" bash -c "mkdir -p '$work/$copy/cargo' '$work/$copy/checkout' &&
            git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C '$work/$copy/checkout' &&
            from=\${CARGO_HOME:-\$HOME/.cargo}/registry
            cp -al \"\$from\" '$work/$copy/cargo/' || cp -a \"\$from\" '$work/$copy/cargo/'" || return
        phase release "${as_builder[@]}" env "SOURCE_DATE_EPOCH=$epoch" "CARGO_HOME=$work/$copy/cargo" CARGO_NET_OFFLINE=true \
            "$work/$copy/checkout/deploy/release" --output "$work/$copy/files" || return
    done
    if diff -r "$work/one/files" "$work/another/directory/that/is/longer/files"; then
        echo "the same bytes in both directories:"
        cat "$work/one/files/SHA256SUMS"
    else
        echo 'FAILED: two builds of the same source differ; see what of their paths or time got in'
        return 1
    fi
}

# Each bill of materials is what the schema of CycloneDX says, and one that is not is refused.
supply_chain_bills() {
    local rootfs files=("$work"/one/files/*.cdx.json)
    rootfs=$target_dir/images/names/sandbox
    if [ -e "$rootfs" ]; then
        "${as_builder[@]}" deploy/sbom image "$rootfs" >"$work/image.cdx.json" || return
        files+=("$work/image.cdx.json")
    else
        not_checked+="${not_checked:+; and }the image's bill of materials, since target/images has no root file system yet"
    fi
    phase schema "${as_builder[@]}" bash -c "python3 -m venv '$work/venv' &&
        '$work/venv/bin/pip' -q install 'cyclonedx-python-lib[json-validation]==11.*'" || return
    phase bills "${as_builder[@]}" "$work/venv/bin/python" tests/check_bom.py "${files[@]}"
}

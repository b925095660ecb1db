# The suite `upgrade`: the release before, built from its commit, in one fleet with this one; sourced by tests/run, whose
# functions it uses.
# shellcheck shell=bash
# shellcheck disable=SC2154 # target_dir, as_builder by tests/run

# upgrade [--record | --from REVISION]: from the commit of the newest recorded release, if no other is named.
upgrade() {
    local from=
    case ${1-} in
        '') ;;
        --record)
            run cargo nextest run -p sandfleet-tests --locked --no-capture --run-ignored only \
                -E 'binary(upgrade) and test(this_version_is_recorded)'
            return
            ;;
        --from) from=${2:?--from needs a revision} ;;
        *) die 64 "upgrade: $1 is no argument of it; --from REVISION and --record are" ;;
    esac
    [ -n "$from" ] || from=$(sed -n 's/^  "commit": "\([0-9a-f]*\)",$/\1/p' "$(upgrade_newest)")
    upgrade_build "$from" || return
    export SANDFLEET_TEST_OLD_BIN=$target_dir/upgrade/target/debug/sandfleet
    echo "from       $("$SANDFLEET_TEST_OLD_BIN" version), $(git log -1 --format='%h of %cs' "$from")"
    run cargo nextest run -p sandfleet-tests --locked --no-capture --run-ignored all -j 1 --no-fail-fast \
        -E 'binary(upgrade) and not test(this_version_is_recorded)'
}

upgrade_newest() { printf '%s\n' tests/tests/upgrade/recorded/*.json | sort -V | tail -n 1; }

# upgrade_build REVISION
upgrade_build() {
    local checkout=$target_dir/upgrade/checkout
    git cat-file -e "$1^{commit}" 2>/dev/null ||
        die 66 "the commit $1 of the release before is not in this clone: git fetch --unshallow --tags"
    rm -rf "$checkout" && "${as_builder[@]}" mkdir -p "$checkout" || return
    phase checkout "${as_builder[@]}" bash -c "git archive '$1' | tar -x -C '$checkout'" || return
    phase before "${as_builder[@]}" env "CARGO_TARGET_DIR=$target_dir/upgrade/target" \
        cargo build --manifest-path "$checkout/Cargo.toml" -p sandfleet-worker --bins --locked
}

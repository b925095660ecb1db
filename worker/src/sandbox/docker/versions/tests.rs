//! Versions that engines have reported.

use super::{version::debian_update, *};

fn reported(text: &str) -> SystemVersion {
    serde_json::from_str(text).expect("an engine's answer")
}

/// Debian 12: docker.io 20.10.24+dfsg1-1+deb12u1+b6, containerd 1.6.20~ds1-1+deb12u3, runc
/// 1.1.5+ds1-1+deb12u1.
const DEBIAN_12: &str = r#"{"Platform":{"Name":""},"Components":[
    {"Name":"Engine","Version":"20.10.24+dfsg1","Details":{"ApiVersion":"1.41","GitCommit":"5d6db84",
        "GoVersion":"go1.19.8","KernelVersion":"6.1.0-18-amd64","MinAPIVersion":"1.12"}},
    {"Name":"containerd","Version":"1.6.20~ds1","Details":{"GitCommit":"1.6.20~ds1-1+deb12u3"}},
    {"Name":"runc","Version":"1.1.5+ds1","Details":{"GitCommit":"1.1.5+ds1-1+deb12u1"}},
    {"Name":"docker-init","Version":"0.19.0","Details":{"GitCommit":""}}],
    "Version":"20.10.24+dfsg1","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;

/// An engine with the packages of download.docker.com.
fn docker_ce(engine: &str, containerd: &str, runc: &str) -> SystemVersion {
    reported(&format!(
        r#"{{"Platform":{{"Name":"Docker Engine - Community"}},"Components":[
        {{"Name":"Engine","Version":"{engine}","Details":{{"GitCommit":"249d679"}}}},
        {{"Name":"containerd","Version":"{containerd}","Details":{{"GitCommit":"442cb34bda9a6a0f"}}}},
        {{"Name":"runc","Version":"{runc}","Details":{{"GitCommit":"v{runc}-0-gd842d77"}}}}]}}"#
    ))
}

fn open(answer: &SystemVersion, runtime: &str) -> Vec<(&'static str, Vec<&'static str>)> {
    read(answer, runtime)
        .iter()
        .map(|one| {
            (one.component.as_str(), one.vulnerabilities.iter().map(|it| it.cve.as_str()).collect())
        })
        .collect()
}

#[test]
fn versions_are_read_as_upstream_and_debian_write_them() {
    for (text, version) in [
        ("1.1.5+ds1-1+deb12u1", Version::new(1, 1, 5)),
        ("20.10.24+dfsg1", Version::new(20, 10, 24)),
        ("1.6.20~ds1", Version::new(1, 6, 20)),
        ("v2.1.5", Version::new(2, 1, 5)),
        ("29.8.2", Version::new(29, 8, 2)),
        ("1.4.0-rc.3", Version::candidate(1, 4, 0, 3)),
        ("1.0.0~rc95+ds1-2", Version::candidate(1, 0, 0, 95)),
        ("1.0.0-rc93", Version::candidate(1, 0, 0, 93)),
        ("1.3.3-0ubuntu1~24.04.2", Version::new(1, 3, 3)),
        ("release-20250319.0", Version::new(20_250_319, 0, 0)),
        ("release-20250319.0-17-gabcdef", Version::new(20_250_319, 0, 0)),
        ("0.0~20221219.0-2+b3", Version::new(20_221_219, 0, 0)),
    ] {
        assert_eq!(Version::parse(text), Some(version), "{text}");
    }
    for text in ["", "dev", "library-import", "7", "1.2.3.4", "1..2", "99999999999.1", "v", ".1.2"]
    {
        assert_eq!(Version::parse(text), None, "{text}");
    }
    assert!(Version::candidate(1, 4, 0, 3) < Version::new(1, 4, 0));
    assert!(Version::candidate(1, 4, 0, 3) < Version::candidate(1, 4, 0, 10));
    assert_eq!(debian_update("1.6.20~ds1-1+deb12u3"), Some((12, 3)));
    assert_eq!(debian_update("20.10.24+dfsg1-1+deb12u1+b6"), Some((12, 1)));
    assert_eq!(debian_update("1.1.5+ds1-1"), None);
}

#[test]
fn debian_12_is_refused_for_what_it_lacks_and_not_for_what_it_has_mended() {
    let judged = open(&reported(DEBIAN_12), "runc");
    let of = |name| judged.iter().find(|(found, _)| *found == name).expect("judged").1.clone();
    assert_eq!(of("containerd"), [""; 0], "both fixes were backported");
    let runc = ["CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2026-41579"];
    assert_eq!(of("runc"), runc, "not CVE-2024-21626, which deb12u1 is for");
    assert_eq!(of("Docker engine").len(), 5);
}

#[test]
fn a_backport_counts_only_in_the_package_that_has_it() {
    let without = DEBIAN_12.replace("1.1.5+ds1-1+deb12u1", "1.1.5+ds1-1");
    assert!(open(&reported(&without), "runc")[2].1.contains(&"CVE-2024-21626"));
    let older = DEBIAN_12.replace("+deb12u3", "+deb12u1");
    assert_eq!(open(&reported(&older), "runc")[1].1, ["CVE-2024-25621", "CVE-2024-40635"]);
    let other = DEBIAN_12.replace("1.6.20~ds1-1+deb12u3", "1.6.20~ds1-1+deb11u3");
    assert_eq!(open(&reported(&other), "runc")[1].1.len(), 2, "another release of Debian");
}

#[test]
fn a_release_line_is_mended_by_its_own_fix_and_by_no_other_lines() {
    for (runc, vulnerabilities) in [
        ("1.0.3", 5),
        ("1.1.12", 4),
        ("1.1.99", 4),
        ("1.2.7", 4),
        ("1.2.8", 1),
        ("1.3.2", 4),
        ("1.3.5", 1),
        ("1.3.6", 0),
        ("1.4.0-rc.2", 4),
        ("1.4.0-rc.3", 1),
        ("1.4.3", 0),
        ("1.5.0-rc.2", 1),
        ("1.5.0-rc.3", 0),
        ("2.0.0", 0),
    ] {
        let judged = open(&docker_ce("29.8.2", "v2.2.5", runc), "runc");
        assert_eq!(judged[2].1.len(), vulnerabilities, "runc {runc}: {judged:?}");
        assert_eq!((judged[0].1.len(), judged[1].1.len()), (0, 0));
    }
    for (engine, vulnerabilities) in
        [("28.5.2", 5), ("29.3.1", 4), ("29.5.1", 1), ("29.7.0", 0), ("30.0.0", 0)]
    {
        let judged = open(&docker_ce(engine, "v2.2.5", "1.3.6"), "runc");
        assert_eq!(judged[0].1.len(), vulnerabilities, "engine {engine}");
    }
    for (containerd, vulnerabilities) in
        [("v1.7.28", 1), ("1.7.29", 0), ("v2.0.6", 1), ("v2.1.5", 0)]
    {
        let judged = open(&docker_ce("29.8.2", containerd, "1.3.6"), "runc");
        assert_eq!(judged[1].1.len(), vulnerabilities, "containerd {containerd}");
    }
}

#[test]
fn what_is_wanted_has_none_of_the_vulnerabilities() {
    assert_eq!(TABLE.wanted(Component::Engine), "29.7.0");
    assert_eq!(TABLE.wanted(Component::Containerd), "1.7.29, 2.0.7, 2.1.5 or 2.2.0");
    assert_eq!(TABLE.wanted(Component::Runc), "1.3.6, 1.4.3 or 1.5.0-rc.3");
    assert_eq!(TABLE.wanted(Component::Runsc), "20250319.0");
}

#[test]
fn the_complaint_names_component_versions_and_vulnerabilities() {
    let judged = read(&reported(DEBIAN_12), "runc");
    let complaint = judged[2].complaint();
    for part in ["runc", "1.1.5+ds1-1+deb12u1", "CVE-2025-31133", "1.3.6, 1.4.3 or 1.5.0-rc.3"] {
        assert!(complaint.contains(part), "{part} in {complaint}");
    }
}

#[test]
fn a_version_that_is_not_told_or_not_understood_is_refused() {
    let silent = read(&reported(r#"{"Components":[]}"#), "runc");
    assert!(silent.iter().all(Judged::is_refused), "{silent:?}");
    let odd = read(&docker_ce("dev", "v2.2.5", "1.3.6"), "runc");
    assert!(odd[0].is_refused() && !odd[1].is_refused() && !odd[2].is_refused());
    assert!(odd[0].complaint().contains("is not understood"), "{}", odd[0].complaint());
}

#[test]
fn only_the_runtime_in_use_is_judged() {
    for runtime in ["kata-fc", "crun"] {
        let judged = read(&docker_ce("29.8.2", "v2.2.5", "1.0.0"), runtime);
        assert!(!judged.iter().any(Judged::is_refused), "{runtime}: {judged:?}");
        assert!(!judged[2].is_known, "and nothing is claimed about it");
    }
    let old = Judged::new(Component::Runsc, Some("0.0~20221219.0".into()));
    assert!(old.is_refused());
    assert!(!Judged::new(Component::Runsc, Some("release-20250319.0".into())).is_refused());
    assert!(!Judged::new(Component::Runsc, None).is_refused(), "no engine tells it");
}

#[test]
fn the_table_has_a_day_and_each_entry_its_fixed_versions_in_order_and_a_source() {
    assert!(TABLE.as_of >= jiff::civil::date(2026, 11, 23), "{}", TABLE.as_of);
    let components = [Component::Engine, Component::Containerd, Component::Runc, Component::Runsc];
    for component in components {
        assert!(TABLE.of(component).next().is_some(), "{component:?}");
        for it in TABLE.of(component) {
            assert!(it.is_in_order(), "{}", it.cve);
            assert!(it.cve.starts_with("CVE-") && it.source.starts_with("https://"), "{}", it.cve);
            assert!(!it.meaning.is_empty() && !it.meaning.ends_with('.'), "{}", it.cve);
        }
    }
    assert!(TABLE.of(Component::Other).next().is_none());
}

#[test]
fn an_entry_that_is_misspelt_is_refused() {
    let entry = |line: &str| {
        let text = format!(
            "as_of = \"2026-11-23\"\n[[vulnerability]]\ncve = \"CVE-1\"\ncomponent = \"runc\"\n\
             meaning = \"m\"\nsource = \"s\"\n{line}\n"
        );
        toml::from_str::<table::Table>(&text).map(drop)
    };
    assert_eq!(entry("fixed = [\"1.2.8\", \"1.4.0-rc.3\"]"), Ok(()));
    for wrong in [
        "",
        "fixed = [\"1.2.8+ds1\"]",
        "fixed = [\"v1.2.8\"]",
        "fixed = [\"1.2.8\"]\nfixd = []",
        "fixed = [\"1.2.8\"]\nbackports = [{ upstream = \"1.1.5\", debian = 12 }]",
    ] {
        assert!(entry(wrong).is_err(), "{wrong}");
    }
}

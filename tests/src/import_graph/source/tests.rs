use super::*;

fn uses(source: &str) -> Vec<String> {
    let scopes = scopes(source);
    let uses = scopes.iter().flat_map(|scope| &scope.uses);
    uses.map(|it| {
        let public = if it.is_public { "pub " } else { "" };
        format!("{public}{} as {}", it.path.join("::"), it.name)
    })
    .collect()
}

fn paths(source: &str) -> Vec<String> {
    let scopes = scopes(source);
    scopes.iter().flat_map(|scope| &scope.paths).map(|path| path.join("::")).collect()
}

#[test]
fn a_use_is_read_to_its_last_name() {
    for (source, expected) in [
        ("use a::b;", vec!["a::b as b"]),
        ("use a::{b, c::{d, e}};", vec!["a::b as b", "a::c::d as d", "a::c::e as e"]),
        ("use a::{self, b::{self as c}};", vec!["a as a", "a::b as c"]),
        ("use super::super::a::B as C;", vec!["super::super::a::B as C"]),
        ("use a::*; use self::b::{c, *};", vec!["a as *", "self::b::c as c", "self::b as *"]),
        ("pub(in a::b) use c::D; use e::F;", vec!["pub c::D as D", "e::F as F"]),
        (
            "pub use a::{B, C}; pub fn d() {} use e::f;",
            vec!["pub a::B as B", "pub a::C as C", "e::f as f"],
        ),
        ("fn a() { use b::c; }", vec!["b::c as c"]),
        ("use ::a::{b /* c::d */, // e\n f};", vec!["a::b as b", "a::f as f"]),
    ] {
        assert_eq!(uses(source), expected, "{source}");
    }
}

#[test]
fn a_path_in_code_is_found_and_one_in_text_is_not() {
    let source = r#"
        /// crate::comment::A
        fn f(x: &crate::a::B) -> super::C<self::d::E> {
            let s = "crate::text::F"; // crate::comment::G
            x.iter().map(g::H::i).collect::<crate::j::K>();
            $crate::l::m!(n::o)
        }
    "#;
    let expected =
        ["crate::a::B", "super::C", "self::d::E", "g::H::i", "crate::j::K", "crate::l::m", "n::o"];
    assert_eq!(paths(source), expected);
}

#[test]
fn what_is_only_in_tests_is_left_out() {
    for source in [
        "#[cfg(test)] mod tests { use a::b; fn c() { d::e() } } use x::y;",
        "#[cfg(test)] mod tests; use x::y;",
        "#[cfg(test)] use a::{b, c}; use x::y;",
        "#[cfg(test)] #[allow(a)] pub(crate) fn d<A, B>() -> [u8; 2] { e::f() } use x::y;",
        "#[cfg(all(test, unix))] impl A { fn b() { c::d() } } use x::y;",
        "#[cfg(test)] const fn a() { b::c() } use x::y;",
        "#[cfg(test)] const A: B = B { c: d::e() }; use x::y;",
        "struct A { #[cfg(test)] a: b::C, } use x::y;",
        "struct A { #[cfg(test)] a: b::C } use x::y;",
    ] {
        let scopes = scopes(source);
        assert_eq!((uses(source), paths(source)), (vec!["x::y as y".into()], vec![]), "{source}");
        assert!(scopes[0].files.is_empty() && scopes.len() == 1, "{source}");
    }
    assert_eq!(uses("#[cfg(not(test))] use a::b;"), ["a::b as b"]);
}

#[test]
fn modules_and_declarations_are_told_apart() {
    let source = "mod a; #[path = \"x/y.rs\"] pub mod b; mod c { mod d; use super::E; struct F; }
        macro_rules! g { () => {} } pub struct H;";
    let scopes = scopes(source);
    assert_eq!(scopes[0].files, [("a".into(), None), ("b".into(), Some("x/y.rs".into()))]);
    assert_eq!(scopes[1].path, ["c"]);
    assert_eq!(scopes[1].files, [("d".into(), None)]);
    assert!(scopes[1].declared.contains("F") && !scopes[0].declared.contains("F"));
    assert!(scopes[0].declared.contains("g") && scopes[0].declared.contains("H"));
}

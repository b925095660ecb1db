//! The tokens of a source file, as far as imports need them.

/// A token. Literals and lifetimes are left out, but for strings, which `#[path = "…"]` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// An identifier or a keyword.
    Word(String),
    /// `::`.
    PathSeparator,
    /// The text between the quotes of a string, escapes as written.
    Text(String),
    /// Any other character that isn't blank.
    Mark(char),
}

impl Token {
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(it) if it == word)
    }

    pub(super) fn is_mark(&self, mark: char) -> bool {
        *self == Token::Mark(mark)
    }
}

/// The tokens of `source`, without comments.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("//") {
            rest = &comment[comment.find('\n').unwrap_or(comment.len())..];
        } else if rest.starts_with("/*") {
            rest = after_block_comment(rest);
        } else if let Some((text, after)) = string(rest) {
            tokens.push(Token::Text(text.to_owned()));
            rest = after;
        } else if c == '\'' {
            rest = after_quote(rest);
        } else if c.is_alphabetic() || c == '_' {
            let raw = rest.strip_prefix("r#").unwrap_or(rest);
            let end = raw.find(|c: char| !is_part(c)).unwrap_or(raw.len());
            tokens.push(Token::Word(raw[..end].to_owned()));
            rest = &raw[end..];
        } else if c.is_ascii_digit() {
            // With its suffix; what follows a decimal point is a number of its own here.
            rest = &rest[rest.find(|c: char| !is_part(c)).unwrap_or(rest.len())..];
        } else if let Some(after) = rest.strip_prefix("::") {
            tokens.push(Token::PathSeparator);
            rest = after;
        } else {
            if !c.is_whitespace() {
                tokens.push(Token::Mark(c));
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    tokens
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Block comments nest.
fn after_block_comment(text: &str) -> &str {
    let (mut depth, mut rest) = (0_usize, text);
    loop {
        if let Some(inner) = rest.strip_prefix("/*") {
            (depth, rest) = (depth + 1, inner);
        } else if let Some(after) = rest.strip_prefix("*/") {
            (depth, rest) = (depth - 1, after);
        } else {
            let Some(c) = rest.chars().next() else { return rest };
            rest = &rest[c.len_utf8()..];
        }
        if depth == 0 {
            return rest;
        }
    }
}

/// The content of a string literal of any kind at the start of `text`, and what is after it.
fn string(text: &str) -> Option<(&str, &str)> {
    let prefix = ["br", "cr", "r", "b", "c", ""];
    prefix
        .iter()
        .filter_map(|prefix| text.strip_prefix(prefix).map(|body| (prefix, body)))
        .find_map(|(prefix, body)| match prefix.ends_with('r') {
            true => raw_string(body),
            false => escaped_string(body.strip_prefix('"')?),
        })
}

fn raw_string(body: &str) -> Option<(&str, &str)> {
    let hashes = body.len() - body.trim_start_matches('#').len();
    let content = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &body[..hashes]);
    content.split_once(&end)
}

fn escaped_string(content: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, c) in content.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some((&content[..at], &content[at + 1..])),
            _ => {}
        }
    }
    None
}

/// What follows a character literal, or the quote of a lifetime.
fn after_quote(text: &str) -> &str {
    let body = &text[1..];
    let mut chars = body.char_indices();
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let body = &body[at + escaped.len_utf8()..];
            body.split_once('\'').map_or("", |(_, after)| after)
        }
        (Some(_), Some((at, '\''))) => &body[at + 1..],
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        let word = |token| match token {
            Token::Word(word) => Some(word),
            _ => None,
        };
        tokens(source).into_iter().filter_map(word).collect()
    }

    #[test]
    fn comments_strings_and_characters_hold_no_words() {
        for (source, expected) in [
            ("a // crate::b\nc", vec!["a", "c"]),
            ("a /* crate::b /* d */ e */ c", vec!["a", "c"]),
            (r#"a "crate::b \" d" c"#, vec!["a", "c"]),
            (r##"a r#"crate::b " d"# c"##, vec!["a", "c"]),
            (r#"a b"x\\" c br"y\" d"#, vec!["a", "c", "d"]),
            (r"a '\'' c '\u{1f}' d 'x' e '/' f", vec!["a", "c", "d", "e", "f"]),
            ("a<'b> c &'static d", vec!["a", "b", "c", "static", "d"]),
            ("1usize 0x1f r#type", vec!["type"]),
            ("\"// a\" b", vec!["b"]),
            ("'\"' a '\"'", vec!["a"]),
        ] {
            assert_eq!(words(source), expected, "{source}");
        }
    }

    #[test]
    fn a_path_keeps_its_separators_and_a_string_its_text() {
        let word = |word: &str| Token::Word(word.into());
        assert_eq!(
            tokens("#[path = \"x.rs\"] a::b"),
            [
                Token::Mark('#'),
                Token::Mark('['),
                word("path"),
                Token::Mark('='),
                Token::Text("x.rs".into()),
                Token::Mark(']'),
                word("a"),
                Token::PathSeparator,
                word("b"),
            ]
        );
    }
}

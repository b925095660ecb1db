//! What one file declares, imports and names.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::tokens::{Token, tokens};

/// One module of a file: the file's own, or one in braces inside it.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Its place below the file's own module.
    pub(super) path: Vec<String>,
    /// Modules that are files of their own, each with the content of `#[path]`.
    pub(super) files: Vec<(String, Option<String>)>,
    /// Names of everything that it declares.
    pub(super) declared: BTreeSet<String>,
    pub(super) uses: Vec<Use>,
    /// Paths of more than one segment in its code.
    pub(super) paths: Vec<Vec<String>>,
}

impl Scope {
    /// `path`, with what a `use` names by its first segment in its place.
    pub(super) fn expand(&self, path: &[String]) -> Vec<String> {
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        let named = self.uses.iter().find(|it| it.name == *first);
        named.map_or_else(|| path.to_vec(), |it| [&it.path[..], rest].concat())
    }
}

/// One path of a `use`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    /// The name that it has here; `*` for all names.
    pub(super) name: String,
    /// Whether it is a `pub use` of any visibility, which gives others a name and uses nothing itself.
    pub(super) is_public: bool,
}

/// The modules of a file, its own first. Code that is only in tests is left out.
pub(super) fn scopes(source: &str) -> Vec<Scope> {
    let mut reader = Reader { tokens: tokens(source), at: 0, scopes: vec![Scope::default()] };
    reader.read_module(0);
    reader.scopes
}

/// Keywords before the name of something that is declared.
const DECLARATIONS: [&str; 9] =
    ["fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules"];

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    scopes: Vec<Scope>,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn word(&self, ahead: usize) -> Option<&str> {
        match self.peek(ahead) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is_mark(&self, ahead: usize, mark: char) -> bool {
        self.peek(ahead).is_some_and(|token| token.is_mark(mark))
    }

    /// Reads until the module's closing brace, or the file's end.
    fn read_module(&mut self, scope: usize) {
        let mut depth = 0_usize;
        let (mut path, mut is_public) = (None, false);
        while let Some(token) = self.peek(0) {
            match token {
                Token::Mark('#') => match self.attribute() {
                    Some(Attribute::Test) => self.skip_item(),
                    Some(Attribute::Path(file)) => path = Some(file),
                    None => {}
                },
                Token::Mark('}') if depth == 0 => return,
                Token::Mark(mark) => {
                    depth = match mark {
                        '{' => depth + 1,
                        '}' => depth - 1,
                        _ => depth,
                    };
                    self.at += 1;
                }
                Token::Word(word) if word == "pub" => {
                    self.at += 1;
                    self.skip_restriction();
                    is_public = true;
                    continue;
                }
                Token::Word(word) if word == "use" => {
                    self.at += 1;
                    self.read_use(scope, &mut Vec::new(), is_public);
                }
                Token::Word(word) if word == "mod" && self.word(1).is_some() => {
                    self.read_mod(scope, path.take());
                }
                Token::Word(word) if DECLARATIONS.contains(&word.as_str()) => {
                    // `macro_rules!` has a mark before its name.
                    let ahead = if self.is_mark(1, '!') { 2 } else { 1 };
                    if let Some(name) = self.word(ahead).map(str::to_owned) {
                        self.scopes[scope].declared.insert(name);
                    }
                    self.at += 1;
                }
                Token::Word(_) => self.read_path(scope),
                Token::PathSeparator | Token::Text(_) => self.at += 1,
            }
            is_public = false;
        }
    }

    /// `(crate)`, `(super)`, `(in a::b)` after `pub`.
    fn skip_restriction(&mut self) {
        let is_restriction =
            self.is_mark(0, '(') && matches!(self.word(1), Some("crate" | "super" | "self" | "in"));
        if is_restriction {
            self.skip_until(')');
        }
    }

    fn skip_until(&mut self, mark: char) {
        while self.peek(0).is_some_and(|token| !token.is_mark(mark)) {
            self.at += 1;
        }
        self.at += 1;
    }

    fn read_mod(&mut self, scope: usize, path: Option<String>) {
        let name = self.word(1).unwrap_or_default().to_owned();
        self.at += 2;
        if self.is_mark(0, ';') {
            self.scopes[scope].files.push((name, path));
        } else if self.is_mark(0, '{') {
            self.at += 1;
            let path = [&self.scopes[scope].path[..], &[name]].concat();
            self.scopes.push(Scope { path, ..Scope::default() });
            self.read_module(self.scopes.len() - 1);
            self.at += 1;
        }
    }

    /// Reads a tree of a `use`, below `prefix`.
    fn read_use(&mut self, scope: usize, prefix: &mut Vec<String>, is_public: bool) {
        let length = prefix.len();
        let mut name = None;
        while let Some(token) = self.peek(0) {
            match token {
                Token::Mark('{') => {
                    self.at += 1;
                    while self.peek(0).is_some_and(|token| !token.is_mark('}')) {
                        self.read_use(scope, prefix, is_public);
                        if self.is_mark(0, ',') {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    prefix.truncate(length);
                    return;
                }
                Token::Mark('*') => name = Some("*".to_owned()),
                Token::Word(word) if word == "as" => {
                    name = self.word(1).map(str::to_owned);
                    self.at += 1;
                }
                Token::Word(word) => prefix.push(word.clone()),
                Token::PathSeparator => {}
                Token::Mark(_) | Token::Text(_) => break,
            }
            self.at += 1;
        }
        // `a::{self}` is `a`.
        if prefix.len() > length.max(1) && prefix.last().is_some_and(|last| last == "self") {
            prefix.pop();
        }
        if let Some(name) = name.or_else(|| prefix.last().cloned()) {
            self.scopes[scope].uses.push(Use { path: prefix.clone(), name, is_public });
        }
        prefix.truncate(length);
    }

    fn read_path(&mut self, scope: usize) {
        let is_start = self
            .at
            .checked_sub(1)
            .and_then(|at| self.tokens.get(at))
            .is_none_or(|before| !before.is_mark('.') && *before != Token::PathSeparator);
        let mut path = Vec::new();
        while let Some(word) = self.word(0) {
            path.push(word.to_owned());
            self.at += 1;
            if self.peek(0) != Some(&Token::PathSeparator) || self.word(1).is_none() {
                break;
            }
            self.at += 1;
        }
        if is_start && path.len() > 1 {
            self.scopes[scope].paths.push(path);
        }
    }

    /// Reads an attribute and says whether it matters here.
    fn attribute(&mut self) -> Option<Attribute> {
        self.at += 1;
        if self.is_mark(0, '!') {
            self.at += 1;
        }
        if !self.is_mark(0, '[') {
            return None;
        }
        let begin = self.at;
        let mut depth = 0_usize;
        while let Some(token) = self.peek(0) {
            depth = match token {
                Token::Mark('[') => depth + 1,
                Token::Mark(']') => depth - 1,
                _ => depth,
            };
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        let inside = &self.tokens[begin + 1..self.at];
        let has = |word: &str| inside.iter().any(|token| token.is_word(word));
        match inside {
            [Token::Word(word), ..] if word == "cfg" && has("test") && !has("not") => {
                Some(Attribute::Test)
            }
            [Token::Word(word), _, Token::Text(file), ..] if word == "path" => {
                Some(Attribute::Path(file.clone()))
            }
            _ => None,
        }
    }

    /// Skips what an attribute belongs to: an item, a statement, a field or an arm.
    fn skip_item(&mut self) {
        while self.is_mark(0, '#') {
            self.attribute();
        }
        if self.word(0) == Some("pub") {
            self.at += 1;
            self.skip_restriction();
        }
        let item = self.word(0).unwrap_or_default();
        // These may have braces before their end.
        let ends_with_mark = matches!(item, "use" | "const" | "static" | "type" | "let");
        let is_item = ends_with_mark
            || matches!(
                item,
                "mod"
                    | "fn"
                    | "struct"
                    | "enum"
                    | "impl"
                    | "trait"
                    | "unsafe"
                    | "async"
                    | "extern"
                    | "union"
                    | "macro_rules"
            );
        let is_function = matches!(self.word(1), Some("fn" | "unsafe"));
        let mut depth = 0_usize;
        while let Some(token) = self.peek(0) {
            match token {
                Token::Mark('{' | '(' | '[') => depth += 1,
                Token::Mark('}' | ')' | ']') if depth == 0 => return,
                Token::Mark(mark @ ('}' | ')' | ']')) => {
                    depth -= 1;
                    let is_end = *mark == '}' && depth == 0 && is_item;
                    if is_end && (!ends_with_mark || is_function) {
                        self.at += 1;
                        return;
                    }
                }
                Token::Mark(';') if depth == 0 => {
                    self.at += 1;
                    return;
                }
                Token::Mark(',') if depth == 0 && !is_item => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }
            self.at += 1;
        }
    }
}

enum Attribute {
    /// The item is only in tests.
    Test,
    /// The module is in this file.
    Path(String),
}

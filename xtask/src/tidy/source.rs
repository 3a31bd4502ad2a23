//! What no source file may hold: unfinished work, tests that do not run, too much for one file, a newer language than the
//! libraries promise.

use super::files::{TextFile, has_word};

/// A file is one idea. Generated bindings are nobody's idea.
const LINES_MAX: usize = 700;

pub(super) fn check(files: &[TextFile]) -> Vec<String> {
    let rust = files.iter().filter(|file| file.is_rust());
    rust.flat_map(|file| unfinished(file).into_iter().chain(too_long(file)).chain(let_chains(file))).collect()
}

fn unfinished(file: &TextFile) -> Vec<String> {
    // Spelt in two parts, so that this file does not find itself.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut found = Vec::new();
    for (at, (line, code)) in file.text.lines().zip(file.code.lines()).enumerate() {
        let note = notes.into_iter().find(|note| has_word(line, note));
        let stub = ["todo!", "unimplemented!"].into_iter().find(|stub| code.contains(stub));
        let ignored = ["#[ignore]", "#[ignore ="].into_iter().find(|attribute| code.contains(attribute));
        if let Some(what) = note.or(stub).or(ignored) {
            found.push(format!("{}:{}: `{what}`: finish it, or leave it out", file.path, at + 1));
        }
    }
    found
}

fn too_long(file: &TextFile) -> Option<String> {
    let source =
        file.path.starts_with("crates/") && file.path.contains("/src/") && !file.path.ends_with("/bindings.rs");
    let lines = file.text.lines().count();
    (source && lines > LINES_MAX).then(|| format!("{}: {lines} lines are more than one idea ({LINES_MAX})", file.path))
}

/// `if let … && …` needs Rust 1.88. A newer compiler takes it without a word, whatever `rust-version` says, so that only a
/// user of the promised version would notice.
fn let_chains(file: &TextFile) -> Vec<String> {
    if !file.path.starts_with("crates/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for keyword in ["if", "while"] {
        for (at, _) in file.code.match_indices(keyword) {
            let before = file.code[..at].chars().next_back();
            let rest = &file.code[at + keyword.len()..];
            let whole =
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && rest.starts_with(char::is_whitespace);
            if whole && condition_is_let_chain(rest) {
                let line = file.code[..at].lines().count().max(1);
                found.push(format!("{}:{line}: a let chain needs a newer Rust than the libraries promise", file.path));
            }
        }
    }
    found
}

/// Whether the condition that `rest` begins with holds a `let` beside a `&&`, both outside of any bracket.
///
/// Between `let` and its `=` stands a pattern, whose braces belong to it (`let A { b } = c`) and whose `&&` is no "and";
/// any other brace outside of brackets begins the body.
fn condition_is_let_chain(rest: &str) -> bool {
    let (mut depth, mut pattern, mut lets, mut ands) = (0_u32, false, false, false);
    for (at, c) in rest.char_indices() {
        let here = &rest[at..];
        match c {
            '(' | '[' => depth += 1,
            '{' if pattern || depth > 0 => depth += 1,
            ')' | ']' | '}' if depth > 0 => depth -= 1,
            ')' | ']' | '}' | '{' | ';' if depth == 0 => break,
            _ if depth > 0 => {}
            '=' if here.starts_with("=>") => break,
            '=' => pattern = false,
            '&' if here.starts_with("&&") && !pattern => ands = true,
            'l' if here.starts_with("let ") && rest[..at].ends_with(char::is_whitespace) => {
                (lets, pattern) = (true, true)
            }
            _ => {}
        }
    }
    lets && ands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&[TextFile::new(path, text)])
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_comments() {
        let note = concat!("// TO", "DO later\n");
        assert_eq!(found("crates/a/src/b.rs", note).len(), 1);
        assert_eq!(found("crates/a/src/b.rs", "fn f() { todo!() }\n").len(), 1);
        assert_eq!(found("crates/a/src/b.rs", "fn f() {}\n#[ignore = \"slow\"]\nfn g() {}\n").len(), 1);
        assert!(found("crates/a/src/b.rs", "const S: &str = \"todo!\"; fn ignore() {}\n").is_empty());
    }

    #[test]
    fn long_files_are_found_but_not_bindings() {
        let long = "fn f() {}\n".repeat(LINES_MAX + 1);
        assert_eq!(found("crates/a/src/b.rs", &long).len(), 1);
        assert!(found("crates/a/src/bindings.rs", &long).is_empty());
        assert!(found("crates/a/tests/it/main.rs", &long).is_empty());
    }

    #[test]
    fn let_chains_are_found_and_their_lookalikes_are_not() {
        let chain = |code: &str| !found("crates/a/src/b.rs", code).is_empty();
        assert!(chain("if let Some(a) = b && c { d() }"));
        assert!(chain("if a && let Some(b) = c { d() }"));
        assert!(chain("while let Some(A { x, .. }) = b()\n    && c\n{ d() }"));
        assert!(chain("if let A { x } = b && c {}"));
        assert!(!chain("if let Some(a) = b { c && d }"));
        assert!(!chain("if let Some(a) = (b && c) {}"));
        assert!(!chain("if a && b { let c = d; }"));
        assert!(!chain("match a { Some(x) if x && y => { let z = 1; } _ => {} }"));
        assert!(!chain("if let A { x } = b {}\nif c && d {}"));
        assert!(!chain("if (a || b) && c { let d = if let E { d, .. } = e { d } else { f }; }"));
        assert!(!chain("if let &&a = b { c && d }"));
        assert!(chain("if a(|b| { b }) && let Some(c) = d {}"));
        assert!(found("xtask/src/x.rs", "if let Some(a) = b && c { d() }").is_empty());
    }
}

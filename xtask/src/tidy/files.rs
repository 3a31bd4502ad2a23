//! The text files of the clone that tidy reads, and Rust sources without their comments and strings.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// A file of the clone; its path is relative to the root, with forward slashes.
#[derive(Debug)]
pub(super) struct TextFile {
    pub(super) path: String,
    pub(super) text: String,
    /// For Rust: the code with comments and literals blanked out, line by line as long as the text.
    pub(super) code: String,
}

const EXTENSIONS: &[&str] = &["rs", "toml", "md", "sh", "yml", "yaml", "h"];

impl TextFile {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { code_only(text) } else { String::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// Every text file below the root; build output and what git keeps are left out.
    pub(super) fn all(root: &Path) -> Result<Vec<Self>> {
        let mut files = Vec::new();
        let mut dirs = vec![root.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
                let entry = entry?;
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    if !["target", ".git"].contains(&&*name) {
                        dirs.push(path);
                    }
                } else if kind.is_file() && is_text(&path) {
                    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                    let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                    files.push(Self::new(&relative, &text));
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(super) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }
}

fn is_text(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) || path.ends_with(".ci/run")
}

/// Replaces comments, strings and character literals by blanks. Lines stay where they are.
pub(super) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at).unwrap_or(at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Where the comment, string or character that begins at `at` ends; none if something else is there.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let next = chars.get(at + 1).copied();
    match (chars[at], next) {
        ('/', Some('/')) => Some(find(chars, at, |c| c == '\n')),
        ('/', Some('*')) => Some(block_comment_end(chars, at)),
        ('"', _) => Some(string_end(chars, at + 1)),
        ('r', Some('"' | '#')) if !within_word(chars, at) => raw_string_end(chars, at + 1),
        ('\'', Some('\\')) => Some((find(chars, at + 3, |c| c == '\'') + 1).min(chars.len())),
        // 'x' is a character; 'x without the second quote is a lifetime.
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

/// `br"…"` and `cr"…"` begin a raw string as `r"…"` does; the r of a longer word does not.
fn within_word(chars: &[char], at: usize) -> bool {
    let word = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let before = at.checked_sub(1);
    match before {
        Some(before) if matches!(chars[before], 'b' | 'c') => before.checked_sub(1).is_some_and(word),
        Some(before) => word(before),
        None => false,
    }
}

fn find(chars: &[char], from: usize, hit: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|at| hit(chars[*at])).unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_u32);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// `from` is behind the `r`. A raw identifier (`r#type`) is no string.
fn raw_string_end(chars: &[char], from: usize) -> Option<usize> {
    let open = find(chars, from, |c| c != '#');
    let hashes = open - from;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |at: usize| chars[at] == '"' && (1..=hashes).all(|n| chars.get(at + n) == Some(&'#'));
    let close = (open + 1..chars.len()).find(|at| closes(*at));
    Some(close.map_or(chars.len(), |at| at + 1 + hashes))
}

/// Whether `word` stands in `line` by itself, not as a part of a longer name.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(part) && !line[at + word.len()..].chars().next().is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_lines_stay() {
        let text = "let a = \"unsafe \\\" unsafe\"; // unsafe\n/* unsafe /* unsafe */ unsafe\n */ fn b() {}\n\
                    let c = r#\"unsafe \" unsafe\"#; let d = br\"unsafe\"; let e = '\"'; let f: &'a str = r#type;\n\
                    let g = '\\''; unsafe {}\n";
        let code = code_only(text);
        assert_eq!(code.lines().count(), text.lines().count());
        let with: Vec<usize> =
            code.lines().enumerate().filter(|(_, l)| has_word(l, "unsafe")).map(|(n, _)| n).collect();
        assert_eq!(with, [4], "{code}");
        assert!(code.contains("&'a str = r#type"), "{code}");
        assert!(code.contains("fn b() {}"), "{code}");
    }

    #[test]
    fn words_are_whole_words() {
        assert!(has_word("pub unsafe fn a()", "unsafe"));
        assert!(!has_word("#![deny(unsafe_op_in_unsafe_fn)]", "unsafe"));
        assert!(!has_word("notunsafe", "unsafe"));
    }

    #[test]
    fn the_clone_is_read_without_its_build_output() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["target/x.rs", ".git/y.md", "a/b.rs", "c.md", "d.bin", ".ci/run"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        let files = TextFile::all(dir.path()).unwrap();
        assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), [".ci/run", "a/b.rs", "c.md"]);
    }
}

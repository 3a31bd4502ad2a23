//! No file may name a place that only its author's machine has: an absolute path of somebody's clone, or a way out of the
//! clone.

use super::files::TextFile;
use std::path::{Component, Path};

/// First components of the absolute paths under which people keep their clones.
const HOMES: &[&str] = &["home", "root", "Users", "work", "workspace", "build"];

pub(super) fn check(files: &[TextFile], root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (at, line) in file.text.lines().enumerate() {
            let absolute = homes(line).map(|path| format!("`{path}` is a path of one machine"));
            let outside = ways_out(file, line, root).map(|path| format!("`{path}` leads nowhere in the clone"));
            found.extend(absolute.chain(outside).map(|what| format!("{}:{}: {what}", file.path, at + 1)));
        }
    }
    found
}

/// The words of a line that could be paths.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || "/._-~+".contains(c))).filter(|word| word.contains('/'))
}

fn homes(line: &str) -> impl Iterator<Item = &str> {
    words(line).filter(|word| {
        let mut components = word.split('/');
        let absolute = components.next() == Some("");
        let home = components.next().is_some_and(|first| HOMES.contains(&first));
        absolute && home && components.next().is_some()
    })
}

/// Words that climb (`../…`) to something that is not there. In Rust only comments are looked at: strings of tests may well
/// try to escape from somewhere.
fn ways_out<'a>(file: &'a TextFile, line: &'a str, root: &'a Path) -> impl Iterator<Item = &'a str> {
    let text = if file.is_rust() { line.find("//").map_or("", |at| &line[at..]) } else { line };
    let home = Path::new(&file.path).parent().unwrap_or(Path::new("")).to_owned();
    words(text)
        .filter(|word| word.starts_with("../"))
        // A path's end is also a sentence's end; links between pages of rustdoc are rustdoc's to check.
        .map(|word| word.trim_end_matches(['.', '/']))
        .filter(|word| !word.ends_with(".html") && *word != "..")
        .filter(move |word| !exists_inside(root, &home, word))
}

fn exists_inside(root: &Path, home: &Path, word: &str) -> bool {
    let mut inside = home.to_owned();
    for component in Path::new(word).components() {
        match component {
            Component::ParentDir if !inside.pop() => return false,
            Component::Normal(name) => inside.push(name),
            _ => {}
        }
    }
    root.join(inside).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&[TextFile::new(path, text)], Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let line = |first: &str| format!("see /{first}/someone/notes.md\n");
        for home in HOMES {
            assert_eq!(found("README.md", &line(home)).len(), 1, "{home}");
        }
        assert!(found("README.md", "mounted at /dev/shm and /tmp/x, or https://a.org/home/page\n").is_empty());
        assert!(found("README.md", "crates/io-core/src/build/x\n").is_empty());
    }

    #[test]
    fn ways_out_of_the_clone_are_found() {
        assert_eq!(found("README.md", "see ../elsewhere/DESIGN.md.\n").len(), 1);
        assert_eq!(found("docs/a.md", "see ../../elsewhere\n").len(), 1);
        assert!(found("docs/a.md", "see [the manifest](../Cargo.toml).\n").is_empty());
        assert!(found("crates/io-core/src/a.rs", "let path = \"../escape\";\n").is_empty());
        assert_eq!(found("crates/io-core/src/a.rs", concat!("// see ..", "/nowhere.md\n")).len(), 1);
    }
}

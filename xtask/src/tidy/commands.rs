//! The commands that the documents promise exist: `cargo xtask …` is given to our own command line, `iofs …` is held
//! against the sources of io-cli.

use super::files::TextFile;
use clap::CommandFactory;
use std::collections::BTreeSet;

pub(super) fn check(files: &[TextFile]) -> Vec<String> {
    let iofs = Iofs::read(files);
    let documents = files.iter().filter(|file| file.is_markdown() && !file.path.starts_with("tests/"));
    let mut found = Vec::new();
    for file in documents {
        for (line, command) in commands(&file.text) {
            let problem = match parse(&command) {
                Some(Promise::Xtask(words)) => xtask_problem(&words),
                Some(Promise::Iofs(words)) => iofs.problem(&words),
                None => None,
            };
            found.extend(problem.map(|problem| format!("{}:{line}: `{command}`: {problem}", file.path)));
        }
    }
    found
}

#[derive(Debug, PartialEq, Eq)]
enum Promise {
    Xtask(Vec<String>),
    Iofs(Vec<String>),
}

/// Code in a markdown text: lines of fenced blocks, and spans between single backticks. With line numbers.
fn commands(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push((at + 1, line.trim().trim_start_matches("$ ").to_owned()));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|span| (at + 1, span.trim().to_owned())));
        }
    }
    found
}

/// What a command line promises of ours, if anything. What follows a comment, a pipe or another command is not looked at.
fn parse(command: &str) -> Option<Promise> {
    let end = |word: &&str| !["#", "|", "&&", "||", ";", ">", "\\"].contains(word);
    let words: Vec<String> = command.split_whitespace().take_while(end).map(str::to_owned).collect();
    // `FOO=bar cargo …`, `sudo cargo …`.
    let start = words.iter().position(|word| !word.contains('=') && !["sudo", "time"].contains(&word.as_str()))?;
    let words = &words[start..];
    let is = |at: usize, what: &str| words.get(at).is_some_and(|word| word == what);
    if is(0, "cargo") && is(1, "xtask") {
        return Some(Promise::Xtask(words[2..].to_vec()));
    }
    if is(0, "cargo") && is(1, "run") && words.windows(2).any(|pair| pair == ["-p", "io-cli"]) {
        let dashes = words.iter().position(|word| word == "--").unwrap_or(words.len());
        return Some(Promise::Iofs(words.iter().skip(dashes + 1).cloned().collect()));
    }
    let program = words[0].rsplit('/').next();
    (program == Some("iofs")).then(|| Promise::Iofs(words[1..].to_vec()))
}

/// A synopsis (`[--json]`, `a|b`, `…`) cannot be given to the parser; its first word can still be looked up.
fn is_synopsis(words: &[String]) -> bool {
    words.iter().any(|word| word.contains(['[', '|', '…', '<']) || word.contains("..."))
}

fn xtask_problem(words: &[String]) -> Option<String> {
    let first = words.first()?;
    let cli = crate::Cli::command();
    if is_synopsis(words) || first.contains('…') {
        let known = first.starts_with('-') || is_synopsis(&words[..1]) || cli.find_subcommand(first).is_some();
        return (!known).then(|| "xtask has no such command".to_owned());
    }
    let line = std::iter::once("cargo xtask".to_owned()).chain(words.iter().cloned());
    let error = cli.try_get_matches_from(line).err()?;
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    let fine = matches!(error.kind(), DisplayHelp | DisplayVersion);
    (!fine).then(|| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// The commands and options of io-cli, as far as its text tells.
#[derive(Debug, Default)]
struct Iofs {
    commands: BTreeSet<String>,
    sources: String,
}

impl Iofs {
    fn read(files: &[TextFile]) -> Self {
        let mut iofs = Self::default();
        for file in files.iter().filter(|file| file.path.starts_with("crates/io-cli/src/")) {
            iofs.commands.extend(subcommands(file));
            iofs.sources += &file.text;
        }
        iofs
    }

    fn problem(&self, words: &[String]) -> Option<String> {
        let command = words.first().filter(|word| !word.starts_with(['-', '[', '<', '…']))?;
        if command.contains('|') {
            let unknown = command.split('|').find(|part| !self.commands.contains(*part));
            return unknown.map(|part| format!("iofs has no command `{part}`"));
        }
        if !self.commands.contains(command) {
            return Some(format!("iofs has no command `{command}`"));
        }
        let options = words.iter().map(|word| word.trim_start_matches('[').trim_end_matches(']'));
        let unknown = options.filter_map(|word| word.strip_prefix("--")).find(|option| !self.has_option(option));
        unknown.map(|option| format!("iofs has no option --{option}"))
    }

    /// An option is a field of its name (`--block-size`: `block_size:`), or spelt out by `long = "…"`.
    fn has_option(&self, option: &str) -> bool {
        let name = option.split('=').next().unwrap_or_default();
        let field = format!("{}:", name.replace('-', "_"));
        name.is_empty()
            || ["help", "version"].contains(&name)
            || self.sources.contains(&format!("long = \"{name}\""))
            || self.sources.lines().any(|line| {
                let line = line.trim_start();
                line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line).starts_with(&field)
            })
    }
}

/// The variants of the enums that derive clap's Subcommand, in the form in which they are typed.
fn subcommands(file: &TextFile) -> Vec<String> {
    let mut found = Vec::new();
    let (mut derived, mut depth, mut inside) = (false, 0_i32, false);
    for line in file.code.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[derive(") && trimmed.contains("Subcommand") {
            derived = true;
        } else if derived && trimmed.contains("enum ") {
            (derived, inside) = (false, true);
        } else if inside && depth == 1 && trimmed.starts_with(|c: char| c.is_ascii_uppercase()) {
            let name: String = trimmed.chars().take_while(|c| c.is_alphanumeric()).collect();
            found.push(kebab(&name));
        }
        if inside {
            depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
            inside = depth > 0;
        }
    }
    found
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "#[derive(Debug, Subcommand)]\nenum Command {\n    /// Compares\n    Compare(compare::Args),\n    \
                        DryRun {\n        Deep: u32,\n    },\n}\nenum Other {\n    No,\n}\nstruct Args {\n    \
                        pub(crate) block_size: u64,\n    #[arg(long = \"dir\")]\n    x: u8,\n}\n";

    fn problems(text: &str) -> Vec<String> {
        check(&[TextFile::new("README.md", text), TextFile::new("crates/io-cli/src/main.rs", MAIN)])
    }

    #[test]
    fn commands_are_read_from_blocks_and_spans_only() {
        let text = "cargo xtask prose\nrun `cargo xtask test` now\n```sh\n$ cargo xtask ci # all\n```\n";
        let found = commands(text);
        assert_eq!(found, [(2, "cargo xtask test".to_owned()), (4, "cargo xtask ci # all".to_owned())]);
        assert_eq!(parse("cargo xtask ci # all"), Some(Promise::Xtask(vec!["ci".into()])));
        assert_eq!(parse("cargo run --release -p io-cli -- compare"), Some(Promise::Iofs(vec!["compare".into()])));
        assert_eq!(parse("X=1 ./target/release/iofs compare | less"), Some(Promise::Iofs(vec!["compare".into()])));
        assert_eq!(parse("cargo test"), None);
    }

    #[test]
    fn xtask_lines_are_parsed_for_real() {
        assert!(
            problems("`cargo xtask ci --full` and `cargo xtask bindgen --check`, `cargo xtask test --help`\n")
                .is_empty()
        );
        assert!(problems("`cargo xtask ci [--full] [--only JOB]`, `cargo xtask`\n").is_empty());
        assert_eq!(problems("`cargo xtask deploy`\n").len(), 1);
        assert_eq!(problems("`cargo xtask ci --quick`\n").len(), 1);
        assert_eq!(problems("`cargo xtask deploy [--now]`\n").len(), 1);
    }

    #[test]
    fn iofs_lines_are_held_against_the_sources() {
        assert!(problems("`iofs compare --block-size 4k --dir .` `iofs dry-run` `iofs --help`\n").is_empty());
        assert_eq!(problems("```\ncargo run -p io-cli -- copy a b\n```\n").len(), 1);
        assert_eq!(problems("`iofs compare --jason`\n").len(), 1);
        assert_eq!(problems("`iofs deep`\n").len(), 1, "a field is no command");
        assert_eq!(problems("`iofs no`\n").len(), 1, "another enum is no command line");
    }
}

//! Every combination of features to depth two: none, each alone, each pair, all.
//!
//! Clippy stands in for `cargo check`: it compiles the same, and can deny warnings without changing the flags of the
//! dependencies, which would build all of them anew. A feature left out often shows as dead code: a warning.

use crate::runner::{Ctx, Outcome};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::collections::BTreeSet;

/// The packages whose users choose features.
const PACKAGES: &[&str] = &["io-engine", "io-fs", "io-cli"];

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    for (package, sets) in all(&ctx.ws)? {
        for set in sets {
            ctx.cargo()
                .args(["clippy", "--quiet", "-p", package, "--no-default-features", "--features", &set])
                .args(["--", "-D", "warnings"])
                .run()?;
        }
    }
    // Everything at once must build too, tests included: features are additive.
    ctx.cargo().args(["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]).run()?;
    Ok(Outcome::Done)
}

/// Each package with its combinations, comma-separated as cargo takes them; the first is the empty one.
pub(crate) fn all(ws: &Workspace) -> Result<Vec<(&'static str, Vec<String>)>> {
    PACKAGES
        .iter()
        .map(|name| {
            let package = ws.package(name).with_context(|| format!("the workspace has no package {name}"))?;
            let features: Vec<&str> = package.features.keys().map(String::as_str).filter(|f| *f != "default").collect();
            Ok((*name, combinations(&features)))
        })
        .collect()
}

/// The empty set, singles, pairs and the full set, each once.
fn combinations(features: &[&str]) -> Vec<String> {
    let mut sets = vec![String::new()];
    sets.extend(features.iter().map(|feature| (*feature).to_owned()));
    for (at, first) in features.iter().enumerate() {
        sets.extend(features[at + 1..].iter().map(|second| format!("{first},{second}")));
    }
    sets.push(features.join(","));
    let mut seen = BTreeSet::new();
    sets.retain(|set| seen.insert(set.clone()));
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_two_is_none_singles_pairs_and_all() {
        assert_eq!(combinations(&["a", "b", "c"]), ["", "a", "b", "c", "a,b", "a,c", "b,c", "a,b,c"]);
        assert_eq!(combinations(&["a", "b"]), ["", "a", "b", "a,b"]);
        assert_eq!(combinations(&[]), [""]);
    }

    #[test]
    fn the_portable_minimum_is_among_them() {
        for (package, sets) in all(&Workspace::load().unwrap()).unwrap() {
            assert!(sets.iter().any(|set| set == "threadpool"), "{package}: {sets:?}");
        }
    }
}

//! Arrows between our crates go down only. This list is the map of docs/ARCHITECTURE.md, in a form that a machine reads.

use crate::workspace::{Dependency, Package};

/// A crate's place.
#[derive(Debug)]
struct Place {
    name: &'static str,
    floor: u8,
    /// The only crates of ours it may import, where that is less than everything below it.
    ours_only: Option<&'static [&'static str]>,
    /// The only crates of others it may import, where that is said.
    others_only: Option<&'static [&'static str]>,
    /// Those that it may import besides, but only behind a feature.
    others_optional: &'static [&'static str],
}

const fn place(name: &'static str, floor: u8) -> Place {
    Place { name, floor, ours_only: None, others_only: None, others_optional: &[] }
}

impl Place {
    const fn ours(mut self, names: &'static [&'static str]) -> Self {
        self.ours_only = Some(names);
        self
    }

    const fn others(mut self, names: &'static [&'static str]) -> Self {
        self.others_only = Some(names);
        self
    }

    const fn optional(mut self, names: &'static [&'static str]) -> Self {
        self.others_optional = names;
        self
    }
}

/// Crates on one floor do not see one another: an arrow leads to a lower number, never to the same.
const PLACES: &[Place] = &[
    // loom only under `--cfg loom`, where it stands in for std's atomics. bytes only if asked for: what makes its types buffers of
    // operations can stand in no other crate, because neither the trait nor the types are that crate's.
    place("io-core", 0).others(&["libc", "loom"]).optional(&["bytes"]),
    place("libaio-sys", 0).ours(&[]).others(&["libc"]),
    place("io-uring-driver", 1).ours(&["io-core"]),
    place("io-aio", 1).ours(&["io-core", "libaio-sys"]),
    place("io-threadpool", 1).ours(&["io-core"]),
    place("io-sim", 1).ours(&["io-core"]),
    place("io-testkit", 1).ours(&["io-core"]),
    place("io-engine", 2),
    place("io-fs", 3).ours(&["io-engine"]),
    place("io-log", 4).ours(&["io-fs"]),
    place("io-sqlite", 4).ours(&["io-fs"]),
    place("io-cli", 5),
    place("examples", 5),
    place("benches", 5),
    // It checks the others from the outside.
    place("xtask", 5).ours(&[]),
];

/// Where errors may lose their type on the way to a person.
const ANYHOW: &[&str] = &["io-cli", "xtask", "benches"];

pub(super) fn check(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(|package| check_package(package, packages)).collect()
}

fn check_package(package: &Package, all: &[Package]) -> Vec<String> {
    let name = package.name.as_str();
    let Some(place) = find(name) else {
        return vec![format!("floors: {name} has no floor; give it a place in xtask/src/tidy/floors.rs")];
    };
    let mut found = Vec::new();
    // What only tests need is not a matter of floors: drivers test themselves with the kit beside them.
    for dependency in package.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev")) {
        let to = dependency.name.as_str();
        let ours = all.iter().any(|other| other.name == to);
        let problem = if ours { edge_between_ours(place, to) } else { edge_to_others(place, dependency) };
        found.extend(problem.map(|problem| format!("floors: {name} imports {to}, {problem}")));
    }
    found
}

fn edge_between_ours(from: &Place, to: &str) -> Option<String> {
    let Some(below) = find(to) else { return Some("which has no floor".to_owned()) };
    if to == "io-testkit" {
        return Some("which is a dev-dependency only".to_owned());
    }
    if below.floor >= from.floor {
        return Some(format!("but arrows go down only (floor {} to floor {})", from.floor, below.floor));
    }
    match from.ours_only {
        Some(only) if !only.contains(&to) => Some(format!("but of our crates it may see only {only:?}")),
        _ => None,
    }
}

fn edge_to_others(from: &Place, dependency: &Dependency) -> Option<String> {
    let to = dependency.name.as_str();
    if to == "anyhow" && !ANYHOW.contains(&from.name) {
        return Some("but libraries keep their errors' types".to_owned());
    }
    if from.others_optional.contains(&to) {
        return (!dependency.optional).then(|| "which has to be optional there".to_owned());
    }
    match from.others_only {
        Some(only) if !only.contains(&to) => Some(format!("but of others' crates it may see only {only:?}")),
        _ => None,
    }
}

fn find(name: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: kind.map(str::to_owned), optional: false })
            .collect();
        Package { name: name.to_owned(), dependencies, features: Default::default() }
    }

    /// The violations of `from` importing `to` as a normal dependency.
    fn edge(from: &str, to: &str) -> Vec<String> {
        check(&[package(from, &[(to, None)]), package(to, &[])])
    }

    #[test]
    fn arrows_go_down() {
        assert!(edge("io-engine", "io-uring-driver").is_empty());
        assert!(edge("io-aio", "libaio-sys").is_empty());
        assert!(edge("io-cli", "io-sim").is_empty());
        assert!(edge("io-core", "io-engine")[0].contains("down only"));
        assert!(edge("io-engine", "io-fs")[0].contains("down only"));
    }

    #[test]
    fn drivers_do_not_see_one_another() {
        assert!(!edge("io-uring-driver", "io-threadpool").is_empty());
        assert!(!edge("io-uring-driver", "libaio-sys").is_empty());
        assert!(!edge("io-aio", "io-sim").is_empty());
    }

    #[test]
    fn a_storage_layer_imports_the_facade_only() {
        assert!(edge("io-log", "io-fs").is_empty());
        assert!(!edge("io-log", "io-core").is_empty());
        assert!(!edge("io-sqlite", "io-engine").is_empty());
        assert!(!edge("io-sqlite", "io-log").is_empty());
    }

    #[test]
    fn the_test_kit_is_for_tests() {
        assert!(!edge("io-engine", "io-testkit").is_empty());
        let dev = [package("io-engine", &[("io-testkit", Some("dev"))]), package("io-testkit", &[])];
        assert!(check(&dev).is_empty());
        let build = [package("io-engine", &[("io-fs", Some("build"))]), package("io-fs", &[])];
        assert!(!check(&build).is_empty(), "a build-dependency is an arrow too");
    }

    #[test]
    fn others_are_limited_where_it_is_said() {
        assert!(check(&[package("io-core", &[("libc", None)])]).is_empty());
        assert!(!check(&[package("io-core", &[("serde", None)])]).is_empty());
        assert!(!check(&[package("io-fs", &[("anyhow", None)])]).is_empty());
        assert!(check(&[package("io-cli", &[("anyhow", None)])]).is_empty());
    }

    #[test]
    fn bytes_in_the_ground_is_for_those_who_ask() {
        let mut packages = [package("io-core", &[("bytes", None)])];
        assert!(check(&packages)[0].contains("optional"));
        packages[0].dependencies[0].optional = true;
        assert!(check(&packages).is_empty());
        packages[0].dependencies[0].name = "serde".to_owned();
        assert!(!check(&packages).is_empty(), "no other one");
    }

    #[test]
    fn a_new_crate_needs_a_floor() {
        assert!(check(&[package("io-new", &[])])[0].contains("no floor"));
        for package in Workspace::load().unwrap().packages {
            assert!(find(&package.name).is_some(), "{}", package.name);
        }
    }
}

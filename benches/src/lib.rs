//! The criterion benches of the workspace.

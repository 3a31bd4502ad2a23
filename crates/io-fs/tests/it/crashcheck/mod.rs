//! Power cuts at every moment of what the facade promises about durability: the tests called `crashcheck`, of which `cargo xtask
//! crashcheck` asks for more. Each has a control, which breaks the promise below the facade and has to be found.

mod append;
mod replace;
mod slots;

use crate::fs_kit::over;
use io_fs::FileSystem;
use io_sim::{Explorer, Fault, SimDisk, SimOptions, Which};
use std::{fmt::Display, future::Future};

/// The explorer of all of them: cuts in recovery as well, short transfers, torn sectors of both sizes.
fn explorer() -> Explorer {
    Explorer::new(1).disk(SimOptions { torn: true, short: 0.1, ..SimOptions::seeded(1) }).cuts(4)
}

/// Runs the future on a file system over the disk.
fn on<F: Future<Output = Result<(), String>>>(disk: &SimDisk, run: impl FnOnce(FileSystem) -> F) -> Result<(), String> {
    let fs = over(disk);
    fs.block_on(run(fs.clone()))
}

/// The same on a disk that loses syncs of this kind: what controls run on.
fn on_a_liar<F: Future<Output = Result<(), String>>>(
    disk: &SimDisk,
    which: Which,
    run: impl FnOnce(FileSystem) -> F,
) -> Result<(), String> {
    disk.inject(which.always(), Fault::LoseSync);
    on(disk, run)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// A number drawn from others.
fn draw(words: &[u64]) -> u64 {
    words.iter().fold(0, |state, word| {
        let z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Bytes that belong to these numbers and no others.
fn bytes(words: &[u64], len: usize) -> Vec<u8> {
    let first = draw(words);
    (0..len.div_ceil(8) as u64).flat_map(|n| draw(&[first, n]).to_le_bytes()).take(len).collect()
}

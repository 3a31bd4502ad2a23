//! `cargo xtask powercut`: power cuts of a whole system, the kernel's file system included.
//!
//! A virtual machine runs a program that writes durably and says what is durable, on ext4, on a disk whose every write is logged
//! with its flushes. From the log each moment of the disk is made again, as it was, or with writes missing or torn that no flush had
//! followed; it is mounted, and the program's other half looks for what was acknowledged. A control that never syncs has to lose.
//!
//! The acknowledgements go to the same disk, behind the file system, so that the log itself says what came before what.

mod block_log;
mod initrd;
mod machine;
mod replay;

use crate::exec::Cmd;
use crate::runner::{Ctx, Outcome};
use crate::sys;
use anyhow::{Context, Result, bail, ensure};
use block_log::BlockLog;
use machine::Machine;
use replay::{Replay, Tally};
use std::path::{Path, PathBuf};

/// Bytes of the file system; behind it is room for the acknowledgement.
const FS_BYTES: u64 = 20 << 20;
const ACK_AT: u64 = 22 << 20;
const DISK_BYTES: u64 = 24 << 20;

/// Records that the program writes.
const RECORDS: u64 = 200;

/// Points at which the control has to lose something.
const CONTROL_POINTS: u64 = 200;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask powercut --points 5000 --seed 7")]
pub(crate) struct Args {
    /// Cuts the power at so many points
    #[arg(long, value_name = "N", default_value_t = 5000)]
    points: u64,
    /// Draws from this seed which writes are missing or torn
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match powercut(&Ctx::new()?, args)? {
        Outcome::Done => Ok(()),
        Outcome::Skipped(why) => bail!("it cannot be done here: {why}"),
    }
}

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    powercut(ctx, &Args { points: 5000, seed: 1 })
}

fn powercut(ctx: &Ctx, args: &Args) -> Result<Outcome> {
    if let Some(why) = machine::missing() {
        return Ok(Outcome::Skipped(why));
    }
    if let Err(error) = sys::private_mounts() {
        println!("no private mount namespace ({error}): mounts are visible to the whole machine meanwhile");
    }
    let base = ctx.ws.target.join("powercut");
    let machine = Machine::prepare(&base)?;
    let program = build(ctx, &base)?;
    let cut = |mode: &str, points: u64| {
        let recorded = machine.record(&program, mode)?;
        let log = BlockLog::read(&recorded.log, ACK_AT)?;
        println!("{mode}: {} entries, {} flushes, {} acknowledgements", log.entries.len(), log.flushes(), log.acks());
        ensure!(log.acks() == RECORDS, "the disk's log has {} of {RECORDS} acknowledgements", log.acks());
        Replay { log: &log, disk: &recorded.disk, program: &program, seed: args.seed, dir: &base }.run(points)
    };
    let tally = cut("with-syncs", args.points)?;
    println!("with syncs, seed {}: {tally}", args.seed);
    judge(&tally, args.points, &base)?;
    let control = cut("without-syncs", CONTROL_POINTS)?;
    println!("the control without syncs: {control}");
    ensure!(control.lost > 0, "the control lost nothing: this proves nothing");
    Ok(Outcome::Done)
}

fn judge(tally: &Tally, points: u64, base: &Path) -> Result<()> {
    if let Some(first) = &tally.first {
        bail!(
            "{} of {} points lost something; the first: {first} (the log is in {})",
            tally.lost,
            tally.points,
            base.display()
        );
    }
    ensure!(tally.points >= points, "only {} of {points} points", tally.points);
    // A superblock torn in the middle is one that ext4 does not take; anything more is not that.
    ensure!(tally.refused * 100 <= tally.points, "{} of {} disks could not be mounted", tally.refused, tally.points);
    Ok(())
}

/// The program, linked statically, because the machine has nothing but it.
fn build(ctx: &Ctx, base: &Path) -> Result<PathBuf> {
    let (target, triple) = (base.join("build"), "x86_64-unknown-linux-gnu");
    let cmd = ctx.cargo().args(["build", "--quiet", "-p", "io-fs", "--example", "power_cut", "--target", triple]);
    let cmd: Cmd =
        cmd.arg("--target-dir").arg(&target).env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=symbols");
    cmd.run()?;
    let program = target.join(triple).join("debug/examples/power_cut");
    program.canonicalize().with_context(|| format!("cargo did not make {}", program.display()))
}

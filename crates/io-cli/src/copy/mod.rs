//! `iofs copy`: a file to another name, whole or not at all.
//!
//! [`plan`] looks at both ends before anything is touched; [`pump`] has chunks moved and compared, by futures ([`tasks`]) or below an
//! event loop ([`mover`], [`compare`]); [`target`] is the unfinished copy and how it gets its name.

mod compare;
mod mover;
mod plan;
mod pump;
mod target;
mod tasks;

use crate::{args::CopyArgs, exit::Failure, files, output, pick, progress};
use plan::Plan;
use pump::{Pump, Span};
use serde::Serialize;
use std::{io, time::Instant};
use target::Target;

#[derive(Debug, Serialize)]
struct Report {
    driver: &'static str,
    bytes: u64,
    seconds: f64,
    mibs: f64,
}

pub(crate) fn run(args: &CopyArgs) -> Result<(), Failure> {
    let driver = pick::one(args.driver.as_deref())?;
    let plan = Plan::make(args)?;
    let (passes, bufs) = if args.verify { (2, 2) } else { (1, 1) };
    let pump = Pump::new(args.front.there_is()?, driver, plan.depth, plan.chunk, bufs)?;
    let style = "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
    let bar = progress::bar(plan.source.len * passes, args.json, style);

    let started = Instant::now();
    bar.set_message("copying");
    let target = Target::create(&plan, &pump)?;
    let spans = spans(plan.source.len, args.direct);
    let ends = |span: &Span| (plan.end(span.direct), target.end(span.direct));
    for span in &spans {
        let (from, to) = ends(span);
        pump.copy(*span, from, to, &bar).map_err(|failed| failed.explain(&plan.from, &plan.to))?;
    }
    target.make_durable(&plan, &pump)?;
    let seconds = started.elapsed().as_secs_f64();
    if args.verify {
        bar.set_message("comparing");
        pump.forget_cached(&target.buffered, plan.source.len);
        for span in &spans {
            let (from, to) = ends(span);
            pump.compare(*span, from, to, &bar).map_err(|failed| failed.explain(&plan.from, &plan.to))?;
        }
    }
    still_the_same(&plan)?;
    target.publish(&plan, &pump)?;
    bar.finish_and_clear();

    let bytes = plan.source.len;
    let mibs = bytes as f64 / seconds.max(1e-9) / (1 << 20) as f64;
    let report = Report { driver: pump.driver().as_str(), bytes, seconds, mibs };
    if args.json {
        return output::print_json(&report);
    }
    let verified = if args.verify { ", read back and compared" } else { "" };
    output::print(&format!(
        "{} bytes in {:.3} s, {:.1} MiB/s by {}{verified}",
        report.bytes, report.seconds, report.mibs, report.driver
    ))
}

/// The parts of a file that are copied in one way: with direct I/O whole sectors past the page cache, and the tail through it.
fn spans(len: u64, direct: bool) -> Vec<Span> {
    let whole = if direct { len / files::SECTOR * files::SECTOR } else { 0 };
    let parts = [Span { from: 0, to: whole, direct: true }, Span { from: whole, to: len, direct: false }];
    parts.into_iter().filter(|span| span.from < span.to).collect()
}

/// A copy of a file that changed under it is a copy of nothing that ever was.
fn still_the_same(plan: &Plan) -> Result<(), Failure> {
    let file = files::std_file(&plan.source.handle);
    let now = files::length(file);
    let now = now.map_err(|error| Failure::work(format!("reading {}: {error}", plan.from.display())))?;
    if now != plan.source.len {
        let line = format!(
            "{}: its size changed from {} to {now} bytes while it was copied; there is no copy",
            plan.from.display(),
            plan.source.len
        );
        return Err(Failure::work(line));
    }
    let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
    if modified != plan.modified {
        output::complain(&format!(
            "{}: was written while it was copied; the copy may mix old and new",
            plan.from.display()
        ));
    }
    Ok(())
}

fn writing(plan: &Plan, error: &io::Error) -> Failure {
    Failure::work(format!("writing {}: {error}", plan.to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_sectors_go_past_the_cache() {
        let of = |len, direct| spans(len, direct).iter().map(|s| (s.from, s.to, s.direct)).collect::<Vec<_>>();
        assert_eq!(of(0, true), []);
        assert_eq!(of(0, false), []);
        assert_eq!(of(4095, true), [(0, 4095, false)]);
        assert_eq!(of(8192, true), [(0, 8192, true)]);
        assert_eq!(of(8193, true), [(0, 8192, true), (8192, 8193, false)]);
        assert_eq!(of(8193, false), [(0, 8193, false)]);
    }
}

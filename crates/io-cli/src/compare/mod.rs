//! `iofs compare`: every driver of this machine beside plain `std::fs`, on one file.
//!
//! [`plan`] says which rows there are and how long each takes, [`ground`] makes the files they work on, [`row`] runs and verifies
//! one, [`report`] shows them.

mod ground;
mod plan;
mod report;
mod row;

use crate::{args::CompareArgs, exit::Failure, output, pick, progress};
use ground::Ground;
use plan::{Contender, Row};
use report::{Missing, Report, ReportRow};
use row::Track;

/// Most operations that go on at once: every driver is made for so many.
const DEPTH: u32 = 32;

pub(crate) fn run(args: &CompareArgs) -> Result<(), Failure> {
    let front = args.front.there_is()?;
    let (contenders, mut unavailable) = contenders(&args.driver)?;
    let ground = Ground::find(args)?;
    let mut notes = ground.notes();
    let rows = plan::rows(&contenders, &ground);
    let seconds = args.seconds.unwrap_or_else(|| plan::seconds_per_row(rows.len()));
    output::say(&plan::estimate(rows.len(), seconds));

    let bar = progress::bar(rows.len() as u64, args.json, "{msg:32} [{wide_bar}] {pos}/{len} rows, {eta} left");
    bar.set_message("making the scratch file");
    let track = Track::lay(ground, seconds, front)?;
    let mut done = Vec::new();
    for row in &rows {
        bar.set_message(row.to_string());
        // A driver may work in the survey and not now: rings cost memory that others want too.
        match track.run(row)? {
            Ok(measured) => {
                notes.extend(measured.note.as_ref().map(|note| format!("{row}: {note}")));
                done.push(ReportRow::new(row, &measured));
            }
            Err(reason) if !args.driver.is_empty() => return Err(reason.into()),
            Err(reason) => {
                if !unavailable.iter().any(|missing: &Missing| missing.driver == row.contender.name()) {
                    unavailable.push(Missing::from(&reason));
                }
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (file, size) = track.file();
    let verified_bytes = track.verified_bytes();
    // The files go before the result is shown: who reads it finds nothing left behind.
    drop(track);

    let report = Report { file, size, verified_bytes, rows: done, unavailable, notes };
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.to_string())?;
    }
    report.verdict()
}

/// Who runs, and who cannot.
fn contenders(names: &[String]) -> Result<(Vec<Contender>, Vec<Missing>), Failure> {
    let mut contenders = vec![Contender::Std];
    let mut unavailable = Vec::new();
    match pick::several(names)?.named {
        Some(named) => {
            for name in named {
                drop(pick::make(Some(name), DEPTH)?);
                contenders.push(Contender::Driver(name));
            }
        }
        None => {
            for (name, reason) in io_fs::survey(&pick::options(None, DEPTH)) {
                match reason {
                    None => contenders.push(Contender::Driver(name)),
                    Some(reason) => unavailable.push(Missing::from(&reason)),
                }
            }
        }
    }
    Ok((contenders, unavailable))
}

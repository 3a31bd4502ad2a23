//! From a failure to the smallest one beside it.

use super::{
    id::{CrashId, Step},
    judge::{Judge, Run, Wrong},
    report::{CrashFailure, Explored},
    work::Found,
};

/// States tried in all, about.
const TRIES: u32 = 20_000;

/// Looks for a simpler failure in the same run, and does the result once more.
pub(super) fn shrink<A: Clone + Send + Sync>(judge: &Judge<'_, A>, found: Found, explored: Explored) -> CrashFailure {
    let Found { seed, wrong, .. } = found;
    let Wrong { steps, what } = match judge.run(seed) {
        Ok(run) if !wrong.steps.is_empty() => smaller(judge, &run, &wrong.steps).unwrap_or(wrong),
        _ => wrong,
    };
    let id = CrashId { seed, steps };
    match judge.once(&id, explored) {
        Err(failure) => CrashFailure { repeats: failure.what == what, what, ..failure },
        Ok(()) => CrashFailure { id, what, story: Vec::new(), explored, repeats: false },
    }
}

/// The first failure without a cut during recovery: anywhere if this one has such cuts, because one cut explains more than two,
/// and else before this one.
fn smaller<A: Clone + Send + Sync>(judge: &Judge<'_, A>, run: &Run<A>, steps: &[Step]) -> Option<Wrong> {
    let last = Step { point: run.points.len() as u32 - 1, cut: u32::MAX };
    let end = if steps.len() > 1 { last } else { steps[0].min(last) };
    let cuts_each = (TRIES / (end.point + 1)).clamp(4, 64);
    let cuts = (0..=end.point).flat_map(|point| {
        let cuts = if run.points[point as usize].is_settled() { 1 } else { cuts_each };
        (0..cuts).map(move |cut| Step { point, cut })
    });
    cuts.take_while(|step| *step < end).find_map(|step| judge.state(run, step, 0).err())
}

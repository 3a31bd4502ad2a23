//! The long versions of tests: those called `soak`, told by IOFS_SOAK to take their time.

use crate::runner::{Ctx, Outcome};
use crate::tests_of::Tests;
use anyhow::Result;

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    let env = [("IOFS_SOAK", "1")];
    Tests { filter: Some("soak"), serial: true, profile: Some("soak"), env: &env, ..Tests::default() }.run(ctx)?;
    Ok(Outcome::Done)
}

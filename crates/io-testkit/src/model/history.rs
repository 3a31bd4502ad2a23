//! Histories of operations, drawn at random and shrunk to the shortest that fails.

use proptest::prelude::*;

/// One operation of a [`Step::Together`]. Places and lengths are fractions of the lane that it works in, so that any numbers
/// make a valid operation.
#[derive(Clone, Debug)]
pub struct Doing {
    /// What it does.
    pub what: What,
    /// It is cancelled.
    pub cancel: bool,
    /// What is done to it on the way, if anything.
    pub trouble: Option<Trouble>,
}

/// What an operation does.
#[derive(Clone, Debug)]
pub enum What {
    /// Reads.
    Read {
        /// Where in its lane.
        at: u16,
        /// How much of what is left of the lane.
        len: u16,
        /// In how many pieces; 0 is a plain read.
        pieces: u8,
    },
    /// Writes bytes that depend on the seed.
    Write {
        /// Where in its lane.
        at: u16,
        /// How much of what is left of the lane.
        len: u16,
        /// In how many pieces; 0 is a plain write.
        pieces: u8,
        /// What it writes.
        seed: u16,
    },
    /// Makes the content durable.
    SyncData,
    /// Makes everything durable.
    SyncAll,
}

/// What a [`Faulty`](crate::Faulty) driver does to one operation.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// The transfer is short: this fraction of it.
    Short(u16),
    /// It is refused.
    Refuse,
    /// It happens, and an error is answered.
    Garble,
    /// It completes late.
    Delay,
    /// The system takes it later.
    PushBack,
}

/// What changes the whole file, and so is done alone.
#[derive(Clone, Copy, Debug)]
pub enum Reshape {
    /// Cuts or grows it: to this fraction of its largest length.
    Truncate(u16),
    /// Allocates a range.
    Allocate {
        /// Where.
        at: u16,
        /// How much.
        len: u16,
        /// Without growing the file.
        keep_size: bool,
    },
    /// Punches a hole.
    PunchHole {
        /// Where.
        at: u16,
        /// How much.
        len: u16,
    },
    /// Zeroes a range.
    ZeroRange {
        /// Where.
        at: u16,
        /// How much.
        len: u16,
        /// Without growing the file.
        keep_size: bool,
    },
}

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    /// Operations in flight at the same time, each in a lane of the file of its own.
    Together {
        /// The operations, one per lane.
        doing: Vec<Doing>,
        /// They are submitted before those to be cancelled are.
        submit_first: bool,
    },
    /// An operation alone.
    Alone(Reshape),
}

fn what() -> impl Strategy<Value = What> {
    let pieces = || prop_oneof![3 => Just(0u8), 1 => 1u8..6];
    prop_oneof![
        7 => (any::<u16>(), any::<u16>(), pieces()).prop_map(|(at, len, pieces)| What::Read { at, len, pieces }),
        8 => (any::<u16>(), any::<u16>(), pieces(), any::<u16>())
            .prop_map(|(at, len, pieces, seed)| What::Write { at, len, pieces, seed }),
        1 => Just(What::SyncData),
        1 => Just(What::SyncAll),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        3 => any::<u16>().prop_map(Trouble::Short),
        1 => Just(Trouble::Refuse),
        1 => Just(Trouble::Garble),
        1 => Just(Trouble::Delay),
        1 => Just(Trouble::PushBack),
    ]
}

fn reshape() -> impl Strategy<Value = Reshape> {
    let range = || (any::<u16>(), any::<u16>());
    prop_oneof![
        3 => any::<u16>().prop_map(Reshape::Truncate),
        1 => (range(), any::<bool>())
            .prop_map(|((at, len), keep_size)| Reshape::Allocate { at, len, keep_size }),
        1 => range().prop_map(|(at, len)| Reshape::PunchHole { at, len }),
        1 => (range(), any::<bool>())
            .prop_map(|((at, len), keep_size)| Reshape::ZeroRange { at, len, keep_size }),
    ]
}

/// Histories of up to `steps` steps of up to `together` operations at a time, with or without cancels and troubles.
pub fn histories(steps: usize, together: usize, cancels: bool, troubles: bool) -> impl Strategy<Value = Vec<Step>> {
    let doing = (what(), 0..100u8, 0..100u8, trouble()).prop_map(move |(what, cancel, troubled, trouble)| Doing {
        what,
        cancel: cancels && cancel >= 70,
        trouble: (troubles && troubled >= 60).then_some(trouble),
    });
    let step = prop_oneof![
        4 => (proptest::collection::vec(doing, 1..=together), any::<bool>())
            .prop_map(|(doing, submit_first)| Step::Together { doing, submit_first }),
        1 => reshape().prop_map(Step::Alone),
    ];
    proptest::collection::vec(step, 1..=steps)
}

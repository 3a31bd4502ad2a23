//! Moments at which the power could be cut, and what could be left then.

use crate::{
    content::Cut,
    disk::SimDisk,
    files::Files,
    image::Image,
    options::{SimOptions, Survivors},
    perform::Site,
    random::Random,
    source::{Copied, Source},
};
use std::{fmt, sync::Arc, time::Duration};

/// A moment of a disk's life, kept: images, undecided changes, operations in flight. Taking one costs little, because it shares
/// all content with the disk, and changes nothing.
#[derive(Clone)]
pub struct CrashPoint {
    pub(crate) moment: u64,
    pub(crate) at: Duration,
    pub(crate) image: Image,
    pub(crate) files: Files,
    /// What is in flight and has not happened, with the most bytes that it moves.
    pub(crate) in_flight: Vec<(Arc<Copied>, u64)>,
}

impl CrashPoint {
    /// The last moment of the trace before it ([`SimDisk::moment`]). What was acknowledged at this moment or earlier has to be
    /// there after a cut.
    pub fn moment(&self) -> u64 {
        self.moment
    }

    /// When it was, in virtual time.
    pub fn at(&self) -> Duration {
        self.at
    }

    /// A disk as a power cut at this moment could have left it. Every seed is one possibility; equal seeds leave equal disks.
    pub fn after_power_cut(&self, seed: u64) -> SimDisk {
        let (left, options) = (self.left(&mut Random::new(seed, CUTS)), self.options(seed));
        SimDisk::with_image(options, left)
    }

    /// A disk as the end of all processes at this moment could have left it: what had reached the system is there, durable or
    /// not, and of each operation in flight the whole or nothing.
    pub fn after_kill(&self, seed: u64) -> SimDisk {
        let mut random = Random::new(seed, CUTS);
        let left = self.with_some_in_flight(&mut random).after_kill();
        SimDisk::with_image(self.options(seed), left)
    }

    /// True if a power cut at this moment has one outcome only.
    pub(crate) fn is_settled(&self) -> bool {
        self.in_flight.is_empty() && self.image.is_durable()
    }

    /// As [`CrashPoint::after_power_cut`], with the mood and the sector given.
    pub(crate) fn after_cut_of(&self, seed: u64, keep: f64, sector: u32) -> SimDisk {
        let mut random = Random::new(seed, CUTS);
        let cut = Cut { keep, sector: sector as usize, torn: self.image.options.torn };
        let left = self.with_some_in_flight(&mut random).after_cut(cut, &mut random);
        SimDisk::with_image(self.options(seed), left)
    }

    fn options(&self, seed: u64) -> SimOptions {
        SimOptions { seed, ..SimOptions::clone(&self.image.options) }
    }

    pub(crate) fn left(&self, random: &mut Random) -> Image {
        let options = &self.image.options;
        let keep = match options.survivors {
            Survivors::Nothing => 0.0,
            Survivors::Everything => 1.0,
            Survivors::Mixed => [0.0, 0.1, 0.5, 0.9, 1.0][random.below(5) as usize],
        };
        let cut = Cut { keep, sector: options.sector as usize, torn: options.torn };
        self.with_some_in_flight(random).after_cut(cut, random)
    }

    /// The image after some of what was in flight, in some order. Nothing of it is durable.
    fn with_some_in_flight(&self, random: &mut Random) -> Image {
        let (mut image, mut files) = (self.image.clone(), self.files.clone());
        let mut waiting: Vec<_> = self.in_flight.iter().collect();
        while !waiting.is_empty() {
            let (copied, limit) = waiting.swap_remove(random.below(waiting.len() as u64) as usize);
            if random.chance(0.5) {
                let mut site = Site { image: &mut image, files: &mut files, limit: *limit, lose_sync: true };
                // Whether it would have failed interests nobody any more.
                let _ = site.perform(Source::Copied(copied));
            }
        }
        image
    }
}

/// The purpose of the draws for power cuts.
pub(crate) const CUTS: u64 = 3;

impl fmt::Debug for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrashPoint(moment {}, at {:?}, {} in flight)", self.moment, self.at, self.in_flight.len())
    }
}

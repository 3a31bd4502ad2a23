//! What lies below a gap in the numbers of segments, where a segment is missing.

use super::Survey;
use crate::{WalError, disk::Place};

impl Survey {
    /// The segments below gaps in the numbers, from the lowest on, each stretch for itself.
    ///
    /// # Errors
    /// As [`Survey::open`].
    pub(crate) async fn below(place: &Place, leftovers: Vec<u64>) -> Result<Vec<Survey>, WalError> {
        let mut parts: Vec<Survey> = Vec::new();
        for number in leftovers {
            let mut part = Survey::empty(place, false);
            part.add(number).await?;
            match parts.last_mut().and_then(|last| last.segments.last().map(|segment| segment.header.number)) {
                Some(before) if before + 1 == number => {
                    let segments = part.segments.drain(..);
                    parts
                        .last_mut()
                        .into_iter()
                        .for_each(|last| last.segments.extend(segments.as_slice().iter().cloned()));
                }
                _ => parts.push(part),
            }
        }
        Ok(parts)
    }
}

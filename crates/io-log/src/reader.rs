//! Reading records in order.

use crate::{
    Lsn, Record, WalError,
    disk::Place,
    format::{RecordKind, Records},
    host::Seat,
    scan::{Found, SegmentScan, Survey, check},
    wal::{Kept, Shared, Sitting},
};
use bytes::Bytes;
use futures_core::Stream;
use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Records in order, each checked; a `Stream`. After an error, and after the end, there is nothing more.
///
/// It holds a few buffers of 1 MiB, or what the largest group takes, and reads ahead. With it alone a log is not driven: somebody has to
/// wait for what is appended.
#[must_use = "nothing is read before it is polled"]
pub struct Reader(Stage);

/// The records of a group, or the end.
type Group = Result<Option<VecDeque<Record>>, WalError>;

enum Stage {
    /// Records of a group.
    Records(VecDeque<Record>, Source),
    Reading(Pin<Box<dyn Future<Output = (Source, Group)> + Send>>),
    Over,
}

enum Source {
    Log(Box<OfLog>),
    Files(Box<OfFiles>),
}

/// A log that this process has open.
struct OfLog {
    shared: Arc<Shared>,
    next: Lsn,
    follow: bool,
    scan: Option<(Kept, SegmentScan)>,
    /// A group was not there, and everything was read once more.
    again: bool,
}

/// A log that perhaps somebody else has open.
struct OfFiles {
    place: Place,
    next: Lsn,
    /// From the first record that is there, whichever it is.
    all: bool,
    survey: Option<Survey>,
    started: bool,
    again: bool,
}

impl Reader {
    pub(crate) fn of_log(shared: Arc<Shared>, from: Lsn, follow: bool) -> Reader {
        let next = from.max(1);
        Reader(Stage::Records(
            VecDeque::new(),
            Source::Log(Box::new(OfLog { shared, next, follow, scan: None, again: false })),
        ))
    }

    pub(crate) fn of_files(place: Place, from: Lsn) -> Reader {
        let next = from.max(1);
        let files = OfFiles { place, next, all: from == 0, survey: None, started: false, again: false };
        Reader(Stage::Records(VecDeque::new(), Source::Files(Box::new(files))))
    }

    /// The next record, or `None` after the last one. Dropped before it is over, the future loses nothing.
    ///
    /// # Errors
    /// [`WalError::Truncated`] if it was removed, [`WalError::Damaged`], and those of the file system.
    pub async fn next(&mut self) -> Option<Result<Record, WalError>> {
        poll_fn(|cx| self.poll_record(cx)).await
    }

    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Record, WalError>>> {
        loop {
            match std::mem::replace(&mut self.0, Stage::Over) {
                Stage::Over => return Poll::Ready(None),
                Stage::Records(mut records, source) => {
                    if let Some(record) = records.pop_front() {
                        self.0 = Stage::Records(records, source);
                        return Poll::Ready(Some(Ok(record)));
                    }
                    self.0 = Stage::Reading(Box::pin(source.group()));
                }
                Stage::Reading(mut reading) => match reading.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.0 = Stage::Reading(reading);
                        return Poll::Pending;
                    }
                    Poll::Ready((source, Ok(Some(records)))) => self.0 = Stage::Records(records, source),
                    Poll::Ready((_, Ok(None))) => return Poll::Ready(None),
                    Poll::Ready((_, Err(error))) => return Poll::Ready(Some(Err(error))),
                },
            }
        }
    }
}

impl Stream for Reader {
    type Item = Result<Record, WalError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_record(cx)
    }
}

impl Source {
    /// The records of the next group, as far as they are wanted; none of them may be.
    async fn group(mut self) -> (Source, Group) {
        let group = match &mut self {
            Source::Log(log) => log.group().await,
            Source::Files(files) => files.group().await,
        };
        (self, group)
    }
}

impl OfLog {
    async fn group(&mut self) -> Group {
        let mut sitting = Sitting { shared: self.shared.clone(), seat: Seat::default() };
        let readable = poll_fn(|cx| self.readable(&mut sitting, cx)).await?;
        let Some((kept, end)) = readable else { return Ok(None) };
        if self.scan.as_ref().is_none_or(|(present, _)| present.number != kept.number) {
            let path = self.shared.place.path(kept.number);
            let file = match self.shared.place.fs.open(&path).await {
                Ok(file) => file,
                Err(error) => return Err(self.gone(WalError::io("opening", path, error))),
            };
            self.scan = Some((kept, SegmentScan::new(file, &kept.header, end)));
        }
        let Some((_, scan)) = &mut self.scan else { return Ok(None) };
        let before = scan.offset();
        let found = scan.next().await;
        let path = self.shared.place.path(kept.number);
        let found = found.map_err(|error| WalError::io("reading", path, error))?;
        let what = match found {
            Found::Group { header, bytes, .. } => match check(&header, &bytes) {
                // The file may have become another segment in the meantime, whose content does not pass.
                Ok(()) if header.first_lsn <= self.next => {
                    self.again = false;
                    let records = data(&bytes, &header, self.next);
                    self.next = self.next.max(header.next_lsn());
                    return Ok(Some(records));
                }
                Ok(()) => "a group is missing".to_owned(),
                Err(fault) => fault.what.to_owned(),
            },
            Found::Fault(_, fault) => fault.to_string(),
            Found::End => "the segment ends".to_owned(),
        };
        // What was read ahead was perhaps read before it was written.
        if !std::mem::replace(&mut self.again, true) {
            scan.look_again(end);
            scan.go_to(before);
            return Ok(Some(VecDeque::new()));
        }
        let damage = crate::Damage { segment: kept.number, offset: before, lsn: self.next, what };
        Err(self.gone(WalError::Damaged(damage)))
    }

    /// Where the next record is; `None` at the end.
    fn readable(&self, sitting: &mut Sitting, cx: &mut Context<'_>) -> Poll<Result<Option<(Kept, u64)>, WalError>> {
        if self.follow {
            self.shared.waiters.sit(&mut sitting.seat, cx.waker());
            self.shared.drive();
        }
        let readable = self.shared.readable(self.next);
        if self.next <= readable.acked {
            if self.next < readable.log_start {
                return Poll::Ready(Err(WalError::Truncated { first_lsn: readable.log_start }));
            }
            return Poll::Ready(Ok(readable.segment));
        }
        match readable.fault {
            _ if !self.follow => Poll::Ready(Ok(None)),
            _ if readable.closed => Poll::Ready(Ok(None)),
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }

    /// A record that was removed while one was about to read it is no damage.
    fn gone(&self, error: WalError) -> WalError {
        let first_lsn = self.shared.readable(self.next).log_start;
        if self.next < first_lsn { WalError::Truncated { first_lsn } } else { error }
    }
}

impl OfFiles {
    async fn group(&mut self) -> Group {
        if self.survey.is_none() {
            self.survey = Some(Survey::open(&self.place, false).await?);
        }
        let Some(survey) = &mut self.survey else { return Ok(None) };
        let event = survey.next().await;
        // A segment that was removed or used again while it was read is missing, or ends early.
        let event = match event {
            Err(WalError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound && !self.again => {
                (self.survey, self.again) = (None, true);
                return Ok(Some(VecDeque::new()));
            }
            event => event?,
        };
        if let Some(event) = event {
            if event.header.next_lsn() <= self.next && !event.bad && survey.is_whole() {
                return Ok(Some(VecDeque::new()));
            }
            if !event.bad && survey.is_whole() {
                if event.header.first_lsn > self.next && (self.started || !self.all) {
                    return self.missing().await;
                }
                (self.started, self.again) = (true, false);
                let records = data(&event.bytes, &event.header, self.next);
                self.next = event.header.next_lsn();
                return Ok(Some(records));
            }
        }
        self.end().await
    }

    /// What is wanted is not there: it was removed, or it is damaged.
    async fn missing(&mut self) -> Group {
        let first_lsn = match &mut self.survey {
            Some(survey) => survey.finish().await?.first_lsn,
            None => self.next,
        };
        if self.next < first_lsn { Err(WalError::Truncated { first_lsn }) } else { self.end().await }
    }

    /// It does not go on. Whether something is missing tells the rest of the log; beside a writer only what is missing twice is.
    async fn end(&mut self) -> Group {
        let Some(survey) = &mut self.survey else { return Ok(None) };
        let found = survey.finish().await?;
        match found.damage.into_iter().find(|damage| damage.lsn >= self.next || self.all) {
            None => Ok(None),
            Some(_) if !std::mem::replace(&mut self.again, true) => {
                self.survey = None;
                Ok(Some(VecDeque::new()))
            }
            Some(damage) => Err(WalError::Damaged(damage)),
        }
    }
}

/// The data records of a group from `from` on.
fn data(bytes: &Bytes, header: &crate::format::GroupHeader, from: Lsn) -> VecDeque<Record> {
    let records = Records::new(bytes, header).filter_map(Result::ok);
    let wanted = records.filter(|record| record.kind == RecordKind::Data && record.lsn >= from);
    wanted.map(|record| Record { lsn: record.lsn, data: bytes.slice(record.range) }).collect()
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Stage::Records(..) => "Reader(between groups)",
            Stage::Reading(_) => "Reader(reading)",
            Stage::Over => "Reader(over)",
        })
    }
}

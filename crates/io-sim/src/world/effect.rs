//! The moment at which an operation happens, and the one at which its answer is delivered.

use super::World;
use crate::{
    codes::Answer,
    content::Content,
    disk::{Guard, Shared},
    files::Files,
    flight::{Flight, State},
    image::Image,
    inode::Body,
    memory::handle,
    perform::{Effect, MAGIC, Site},
    trace::TraceWhat,
};
use io_core::{Completion, FileFacts, FileHandle, InodeKey, Output, RawFile, RawOp, errno};
use std::sync::Weak;

impl World {
    /// The operation happens.
    pub(super) fn take_effect(&mut self, op: u64) {
        let World { image, files, flights, spare, counters, me, .. } = self;
        let flight = flights.get_mut(&op).expect("in flight");
        flight.state = State::Effective;
        let (driver, kind, plan) = (flight.driver, flight.lent.op().kind(), flight.plan);
        let effect = match plan.errno {
            Some(code) => fail(image, files, flight.lent.op(), code),
            None => Site { image, files, limit: plan.limit, lose_sync: plan.lose_sync }.perform(flight.source()),
        };
        flight.result = match effect {
            Ok(Effect::Done) => 0,
            Ok(Effect::Moved(bytes)) => {
                counters.bytes_written += bytes;
                bytes as i32
            }
            Ok(Effect::Read { ino, offset, len }) => {
                counters.bytes_read += len;
                if let Ok(content) = image.content(ino) {
                    read(content, offset, len, flight, spare);
                }
                len as i32
            }
            Ok(Effect::Opened(raw)) => {
                flight.output = Some(Output::File(handle_of(image, files, raw, me.clone())));
                0
            }
            Ok(Effect::Answer(output)) => {
                flight.output = Some(output);
                0
            }
            Err(code) => -code,
        };
        self.note(driver, op, TraceWhat::TookEffect);
        self.record(kind);
    }

    /// Puts the answers where they belong. The way to the lent memory ends here, before the completion is pushed (I3).
    pub(super) fn deliver(&mut self, op: u64, flight: Flight) -> Completion {
        let Flight { driver, token, lent, copied, result, data, output, .. } = flight;
        // Bytes that were taken early are looked at once more, as late as may be.
        let still = copied.is_none_or(|copied| copied.is_still_in(&lent));
        assert!(still, "the memory of a write was changed while it was in flight: {:?}", lent.op());
        if let Some(mut data) = data {
            lent.filler()(&data);
            data.clear();
            self.spare.push(data);
        }
        if let Some(output) = output {
            self.trash.push(lent.answer(output));
        }
        self.counters.completed += 1;
        self.counters.failed += (result < 0) as u64;
        self.note(driver, op, TraceWhat::Completed { token, result });
        Completion::new(token, result)
    }
}

/// What an operation does that fails by rule.
fn fail(image: &mut Image, files: &mut Files, op: &RawOp, code: i32) -> Answer<Effect> {
    let never_began = [errno::ECANCELED, errno::EOPNOTSUPP].contains(&code);
    match *op {
        RawOp::Close { file } if !never_began => {
            let _ = files.close(image, file.raw);
        }
        RawOp::SyncData { file } | RawOp::SyncAll { file }
            if !never_began && code != errno::EAGAIN && code != errno::EINTR =>
        {
            if let Ok(open) = files.get(file.raw) {
                let how = image.options.failed_sync;
                image.change(open.ino, |inode| match &mut inode.body {
                    Body::File(content) => content.fail_sync(how),
                    Body::Dir(_) | Body::Symlink(_) => {}
                });
            }
        }
        _ => {}
    }
    Err(code)
}

/// Gives what a read reads to its memory, or keeps it for when the completion is delivered.
fn read(content: &Content, offset: u64, len: u64, flight: &mut Flight, spare: &mut Vec<Vec<u8>>) {
    if Flight::copies_at_once(&flight.lent, flight.plan.early) {
        return content.read(offset, len, flight.lent.filler());
    }
    let mut data = spare.pop().unwrap_or_default();
    content.read(offset, len, |piece| data.extend_from_slice(piece));
    flight.data = Some(data);
}

/// The handle of a file that was just opened.
pub(super) fn handle_of(image: &Image, files: &Files, raw: RawFile, disk: Weak<Shared>) -> FileHandle {
    let open = files.get(raw).expect("just opened");
    let content = image.content(open.ino);
    let facts = FileFacts {
        direct: open.options.direct,
        seekable: content.is_ok(),
        inode: Some(InodeKey { dev: image.dev, ino: open.ino }),
        filled: content.map_or(0, Content::filled),
        fs_magic: MAGIC,
    };
    handle(raw, Box::new(Guard { raw, disk }), facts)
}

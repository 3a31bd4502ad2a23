//! The ground floor of the I/O stack: what an operation is, who owns its buffer, and what a driver must do.
//!
//! Everything above and beside it speaks this vocabulary: an [`Op`] owns buffer and file, a [`RawOp`] describes it to a
//! [`Driver`], a [`Token`] names it while it is in flight, a [`Completion`] answers it. The crate runs on every platform with
//! `std`. It makes no system calls, starts no threads, and knows nothing about io_uring, AIO, pools or futures.
//!
//! **The law:** a slot is freed by its completion and by nothing else. Between [`Driver::prepare`] and the completion, buffer
//! and file belong to the slot, whatever happens to those who asked.
#![deny(unsafe_code)]

mod clock;
mod name;
mod path;
mod token;

#[allow(unsafe_code)] // the driver contract is `unsafe` to implement and to prepare
mod driver;

mod completion;
mod error;
mod gate;
mod op_set;
mod output;
#[cfg(target_os = "linux")]
mod statx;
mod wake_flag;

#[allow(unsafe_code)] // addresses in a Send type
mod raw_op;

#[allow(unsafe_code)] // owners are dropped by hand, or not at all after a close
mod file;

#[allow(unsafe_code)] // settling tells buffers what the kernel initialized
mod op;

#[allow(unsafe_code)] // buffer contracts
mod buf;

#[allow(unsafe_code)] // type erasure by hand
mod any_buf;

#[allow(unsafe_code)] // over-aligned allocation
mod aligned;

pub use aligned::AlignedBuf;
pub use any_buf::AnyBuf;
pub use buf::{BufResult, IoBuf, IoBufMut, Slice};
pub use clock::{Clock, MonotonicClock};
pub use completion::{Completion, Completions, decode, encode};
pub use driver::{Armed, Driver, Full, Progress, Readiness, Wait};
pub use error::{Unavailable, errno};
pub use file::{FileFacts, FileHandle, FileId, FileRef, InodeKey, RawFile};
pub use gate::{Gate, Inside};
pub use name::{DriverName, UnknownDriver};
pub use op::{Op, Reach};
pub use op_set::{OpClass, OpKind, OpSet};
pub use output::{DirEntry, FileKind, LockHolder, Metadata, Output, StatFs};
pub use path::OpPath;
pub use raw_op::{AccessMode, Advice, IoVec, Lifetime, OpenOptions, RawOp, RenameMode, RwFlags, StatTarget};
#[cfg(target_os = "linux")]
pub use statx::Statx;
pub use token::Token;
pub use wake_flag::WakeFlag;

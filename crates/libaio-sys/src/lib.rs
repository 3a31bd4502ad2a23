//! The ground under the Linux AIO driver: the types of `<linux/aio_abi.h>`, the six system calls, and the header of the
//! completion ring that the kernel maps into the process.
//!
//! Runs on Linux; on every other system the crate is empty. It needs no `libaio.so`: the calls go through `syscall(2)`,
//! so static binaries work and the library's change of name between distributions does not matter. The feature `link`
//! adds `linked`, the same six functions over `libaio.so`, so that one set of tests proves both equal.
//!
//! It knows nothing about drivers, slots, buffers or retries, allocates nothing and keeps no state: each function is one
//! system call, and each error is the positive errno of that call.
//!
//! `src/bindings.rs` is the output of bindgen on `abi.h`, committed unmodified; `cargo xtask bindgen` writes it.
//!
//! Sources: io_setup(2), io_submit(2), io_getevents(2), io_cancel(2), io_destroy(2); `fs/aio.c` of Linux.
#![cfg(target_os = "linux")]
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

// The vendored file describes little-endian machines that align u64 to eight bytes: nearly all. The others (big-endian,
// where aio_key and aio_rw_flags swap places, and those with a smaller alignment, which its generated assertions refuse)
// take the same declarations written by hand. Tests build both and compare them.
#[cfg(all(target_endian = "little", not(any(target_arch = "x86", target_arch = "csky"))))]
#[rustfmt::skip]
#[allow(non_camel_case_types, missing_docs, unreachable_pub, dead_code, reason = "generated, and named as in C")]
mod bindings;
#[cfg(any(test, target_endian = "big", target_arch = "x86", target_arch = "csky"))]
mod by_hand;
mod layout;
mod ring;
#[allow(unsafe_code)]
mod sys;

#[cfg(feature = "link")]
#[allow(unsafe_code)]
pub mod linked;

#[cfg(all(target_endian = "little", not(any(target_arch = "x86", target_arch = "csky"))))]
use bindings as abi;
#[cfg(any(target_endian = "big", target_arch = "x86", target_arch = "csky"))]
use by_hand as abi;

/// The type of `iocb::aio_rw_flags`: the RWF_* flags of preadv2(2), from Linux 4.13.
#[doc(inline)]
pub use abi::__kernel_rwf_t;
/// Names an AIO context; its value is the address at which the kernel mapped the context's completion ring.
#[doc(inline)]
pub use abi::aio_context_t;
/// One completion, 32 bytes: `data` is the iocb's `aio_data`, `obj` the iocb's address, `res` bytes or `-errno`.
///
/// `res2` is 0 for every operation of this header. `res` is signed and negative on failure, unlike the errors that the
/// functions of this crate return.
#[doc(inline)]
pub use abi::io_event;
/// One operation, 64 bytes, read by the kernel during [`io_submit`].
///
/// The kernel writes `aio_key` at submission and keeps the iocb's address for [`io_cancel`] and for `io_event::obj`, so an
/// iocb stays where it is while its operation is in flight. `aio_reserved2` must be 0, and every field that an opcode
/// does not use should be: all-zero is the state to begin with.
#[doc(inline)]
pub use abi::iocb;

/// fdatasync(2) of the file; from Linux 4.18.
#[doc(inline)]
pub use abi::IOCB_CMD_FDSYNC;
/// fsync(2) of the file; from Linux 4.18.
#[doc(inline)]
pub use abi::IOCB_CMD_FSYNC;
/// Reserved by the header; the kernel refuses it with EINVAL.
#[doc(inline)]
pub use abi::IOCB_CMD_NOOP;
/// One-shot poll(2) of the file for the events in `aio_buf`; from Linux 4.19.
#[doc(inline)]
pub use abi::IOCB_CMD_POLL;
/// pread(2): `aio_nbytes` bytes from `aio_offset` to the address in `aio_buf`.
#[doc(inline)]
pub use abi::IOCB_CMD_PREAD;
/// preadv(2): `aio_buf` is the address of `aio_nbytes` iovecs.
#[doc(inline)]
pub use abi::IOCB_CMD_PREADV;
/// pwrite(2): `aio_nbytes` bytes from the address in `aio_buf` to `aio_offset`.
#[doc(inline)]
pub use abi::IOCB_CMD_PWRITE;
/// pwritev(2): `aio_buf` is the address of `aio_nbytes` iovecs.
#[doc(inline)]
pub use abi::IOCB_CMD_PWRITEV;

/// In `aio_flags`: `aio_reqprio` holds an I/O priority, see ioprio_set(2); from Linux 4.18.
#[doc(inline)]
pub use abi::IOCB_FLAG_IOPRIO;
/// In `aio_flags`: `aio_resfd` is an eventfd to which the completion adds 1.
#[doc(inline)]
pub use abi::IOCB_FLAG_RESFD;

pub use ring::{AIO_RING_COMPAT_FEATURES, AIO_RING_HEADER_LENGTH, AIO_RING_INCOMPAT_FEATURES, AIO_RING_MAGIC, AioRing};
pub use sys::{io_cancel, io_destroy, io_getevents, io_pgetevents, io_setup, io_submit};

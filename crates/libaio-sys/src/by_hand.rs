//! `<linux/aio_abi.h>` written by hand, for the machines that the vendored bindings do not describe.
//!
//! Field names and types are those of the bindings. Only two things differ between machines: `aio_key` and
//! `aio_rw_flags` swap places on big-endian ones, and u64 may be aligned to fewer than eight bytes.
#![allow(non_camel_case_types, missing_docs, unreachable_pub, reason = "named as in C; documented where re-exported")]
#![cfg_attr(test, allow(dead_code, reason = "tests build this module beside the bindings, to compare them"))]

use core::ffi::{c_int, c_uint, c_ulong};

pub type __kernel_rwf_t = c_int;
pub type aio_context_t = c_ulong;

pub const IOCB_CMD_PREAD: c_uint = 0;
pub const IOCB_CMD_PWRITE: c_uint = 1;
pub const IOCB_CMD_FSYNC: c_uint = 2;
pub const IOCB_CMD_FDSYNC: c_uint = 3;
pub const IOCB_CMD_POLL: c_uint = 5;
pub const IOCB_CMD_NOOP: c_uint = 6;
pub const IOCB_CMD_PREADV: c_uint = 7;
pub const IOCB_CMD_PWRITEV: c_uint = 8;

pub const IOCB_FLAG_RESFD: u32 = 1 << 0;
pub const IOCB_FLAG_IOPRIO: u32 = 1 << 1;

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct io_event {
    pub data: u64,
    pub obj: u64,
    pub res: i64,
    pub res2: i64,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct iocb {
    pub aio_data: u64,
    #[cfg(target_endian = "little")]
    pub aio_key: u32,
    pub aio_rw_flags: __kernel_rwf_t,
    #[cfg(target_endian = "big")]
    pub aio_key: u32,
    pub aio_lio_opcode: u16,
    pub aio_reqprio: i16,
    pub aio_fildes: u32,
    pub aio_buf: u64,
    pub aio_nbytes: u64,
    pub aio_offset: i64,
    pub aio_reserved2: u64,
    pub aio_flags: u32,
    pub aio_resfd: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi;

    #[test]
    fn constants_are_those_of_the_bindings() {
        assert_eq!(IOCB_CMD_PREAD, abi::IOCB_CMD_PREAD);
        assert_eq!(IOCB_CMD_PWRITE, abi::IOCB_CMD_PWRITE);
        assert_eq!(IOCB_CMD_FSYNC, abi::IOCB_CMD_FSYNC);
        assert_eq!(IOCB_CMD_FDSYNC, abi::IOCB_CMD_FDSYNC);
        assert_eq!(IOCB_CMD_POLL, abi::IOCB_CMD_POLL);
        assert_eq!(IOCB_CMD_NOOP, abi::IOCB_CMD_NOOP);
        assert_eq!(IOCB_CMD_PREADV, abi::IOCB_CMD_PREADV);
        assert_eq!(IOCB_CMD_PWRITEV, abi::IOCB_CMD_PWRITEV);
        assert_eq!(IOCB_FLAG_RESFD, abi::IOCB_FLAG_RESFD);
        assert_eq!(IOCB_FLAG_IOPRIO, abi::IOCB_FLAG_IOPRIO);
    }
}

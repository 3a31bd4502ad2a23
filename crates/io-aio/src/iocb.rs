//! From our operation to the kernel's: one table.

use io_core::{FileRef, IoVec, RawOp, RwFlags};
use libaio_sys::{
    IOCB_CMD_FDSYNC, IOCB_CMD_FSYNC, IOCB_CMD_POLL, IOCB_CMD_PREAD, IOCB_CMD_PREADV, IOCB_CMD_PWRITE, IOCB_CMD_PWRITEV,
    IOCB_FLAG_IOPRIO, IOCB_FLAG_RESFD, iocb,
};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The iocb of an operation, or `None` if AIO has no such operation.
///
/// There is no wildcard: a new operation is a compile error here until somebody has decided.
#[inline]
pub(crate) fn encode(op: &RawOp) -> Option<iocb> {
    Some(match *op {
        RawOp::Read { file, buf, len, offset, flags, ioprio } => {
            with_ioprio(transfer(IOCB_CMD_PREAD, file, address(buf), len, offset, flags), ioprio)
        }
        RawOp::ReadVectored { file, iov, count, offset, flags, ioprio } => {
            with_ioprio(transfer(IOCB_CMD_PREADV, file, pieces(iov), count, offset, flags), ioprio)
        }
        RawOp::Write { file, buf, len, offset, flags, ioprio } => {
            with_ioprio(transfer(IOCB_CMD_PWRITE, file, address(buf), len, offset, flags), ioprio)
        }
        RawOp::WriteVectored { file, iov, count, offset, flags, ioprio } => {
            with_ioprio(transfer(IOCB_CMD_PWRITEV, file, pieces(iov), count, offset, flags), ioprio)
        }
        RawOp::SyncData { file } => sync(IOCB_CMD_FDSYNC, file),
        RawOp::SyncAll { file } => sync(IOCB_CMD_FSYNC, file),
        RawOp::SyncRange { .. }
        | RawOp::Allocate { .. }
        | RawOp::PunchHole { .. }
        | RawOp::ZeroRange { .. }
        | RawOp::Truncate { .. }
        | RawOp::Advise { .. }
        | RawOp::WriteHint { .. }
        | RawOp::TryLock { .. }
        | RawOp::Unlock { .. }
        | RawOp::QueryLock { .. }
        | RawOp::Open { .. }
        | RawOp::Close { .. }
        | RawOp::Stat { .. }
        | RawOp::StatFs { .. }
        | RawOp::Access { .. }
        | RawOp::RealPath { .. }
        | RawOp::SetPermissions { .. }
        | RawOp::Rename { .. }
        | RawOp::Unlink { .. }
        | RawOp::MakeDir { .. }
        | RawOp::RemoveDir { .. }
        | RawOp::ReadDir { .. }
        | RawOp::SyncDir { .. }
        | RawOp::CopyRange { .. }
        | RawOp::Clone { .. } => return None,
    })
}

/// A one-shot poll for readability (Linux 4.19): the only operation that an eventfd can end at any time.
pub(crate) fn poll_readable(fd: BorrowedFd<'_>) -> iocb {
    iocb {
        aio_lio_opcode: IOCB_CMD_POLL as u16,
        aio_fildes: fd.as_raw_fd() as u32,
        aio_buf: libc::POLLIN as u64,
        ..BLANK
    }
}

/// The same operation, which adds 1 to `eventfd` when it completes. The kernel takes a reference at submission.
#[inline]
pub(crate) fn ringing(mut iocb: iocb, eventfd: BorrowedFd<'_>) -> iocb {
    iocb.aio_flags |= IOCB_FLAG_RESFD;
    iocb.aio_resfd = eventfd.as_raw_fd() as u32;
    iocb
}

/// True for what [`ringing`] made.
#[inline]
pub(crate) fn rings(iocb: &iocb) -> bool {
    iocb.aio_flags & IOCB_FLAG_RESFD != 0
}

/// True for the two reads.
pub(crate) fn reads(iocb: &iocb) -> bool {
    [IOCB_CMD_PREAD, IOCB_CMD_PREADV].contains(&u32::from(iocb.aio_lio_opcode))
}

/// The state to begin with: the kernel refuses what has a reserved field, or one that its opcode does not use, set.
pub(crate) const BLANK: iocb = iocb {
    aio_data: 0,
    aio_key: 0,
    aio_rw_flags: 0,
    aio_lio_opcode: 0,
    aio_reqprio: 0,
    aio_fildes: 0,
    aio_buf: 0,
    aio_nbytes: 0,
    aio_offset: 0,
    aio_reserved2: 0,
    aio_flags: 0,
    aio_resfd: 0,
};

/// `len` counts bytes for a plain transfer, pieces for a vectored one. An offset beyond `i64` becomes negative, and the
/// kernel answers EINVAL, as it does to pread(2). Flags that it does not know it refuses in io_submit: EOPNOTSUPP, EINVAL.
#[inline]
fn transfer(opcode: u32, file: FileRef, memory: u64, len: u32, offset: u64, flags: RwFlags) -> iocb {
    iocb {
        aio_lio_opcode: opcode as u16,
        aio_fildes: file.raw.fd() as u32,
        aio_buf: memory,
        aio_nbytes: u64::from(len),
        aio_offset: offset as i64,
        aio_rw_flags: flags.bits() as libaio_sys::__kernel_rwf_t,
        ..BLANK
    }
}

/// Priority 0 is "none given"; without the flag the kernel takes the thread's own, and asks for no privilege.
#[inline]
fn with_ioprio(mut iocb: iocb, ioprio: u16) -> iocb {
    if ioprio != 0 {
        iocb.aio_flags |= IOCB_FLAG_IOPRIO;
        iocb.aio_reqprio = ioprio as i16;
    }
    iocb
}

fn sync(opcode: u32, file: FileRef) -> iocb {
    iocb { aio_lio_opcode: opcode as u16, aio_fildes: file.raw.fd() as u32, ..BLANK }
}

#[inline]
fn address(memory: *const u8) -> u64 {
    memory.expose_provenance() as u64
}

#[inline]
fn pieces(iov: *const IoVec) -> u64 {
    iov.expose_provenance() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_core::{AlignedBuf, FileFacts, FileHandle, Op};
    use std::fs::File;
    use std::os::fd::AsFd;

    fn handle() -> (FileHandle, u32) {
        let file = File::open("/dev/null").unwrap();
        let fd = file.as_raw_fd() as u32;
        (FileHandle::from_std(file, FileFacts::default()), fd)
    }

    #[test]
    fn a_transfer_keeps_all_its_arguments() {
        let (file, fd) = handle();
        let mut op = Op::write(&file, AlignedBuf::zeroed(8192), 1 << 40)
            .with_flags(RwFlags::DSYNC | RwFlags::NOWAIT)
            .with_ioprio(0x6001);
        let raw = op.raw(4096, RawOp::MAX_TRANSFER);
        let RawOp::Write { buf, .. } = raw else { panic!("{raw:?}") };
        let iocb = encode(&raw).unwrap();
        assert_eq!(u32::from(iocb.aio_lio_opcode), IOCB_CMD_PWRITE);
        assert_eq!(iocb.aio_fildes, fd);
        assert_eq!(iocb.aio_buf, buf.addr() as u64);
        assert_eq!((iocb.aio_nbytes, iocb.aio_offset), (4096, (1 << 40) + 4096));
        assert_eq!(iocb.aio_rw_flags, 0xa);
        assert_eq!((iocb.aio_flags, iocb.aio_reqprio), (IOCB_FLAG_IOPRIO, 0x6001));
    }

    #[test]
    fn no_priority_asks_for_none() {
        let (file, _) = handle();
        let iocb = encode(&Op::read(&file, vec![0; 8], 0).raw(0, 8)).unwrap();
        assert_eq!((iocb.aio_flags, iocb.aio_reqprio), (0, 0));
    }

    #[test]
    fn a_vectored_transfer_counts_pieces() {
        let (file, _) = handle();
        let mut op = Op::read_vectored(&file, vec![vec![0u8; 100]; 3], 7);
        let raw = op.raw(0, RawOp::MAX_TRANSFER);
        let RawOp::ReadVectored { iov, .. } = raw else { panic!("{raw:?}") };
        let iocb = encode(&raw).unwrap();
        assert_eq!(u32::from(iocb.aio_lio_opcode), IOCB_CMD_PREADV);
        assert_eq!((iocb.aio_buf, iocb.aio_nbytes, iocb.aio_offset), (iov.addr() as u64, 3, 7));
    }

    #[test]
    fn a_sync_leaves_everything_else_blank() {
        let (file, fd) = handle();
        for (mut op, opcode) in [(Op::sync_data(&file), IOCB_CMD_FDSYNC), (Op::sync_all(&file), IOCB_CMD_FSYNC)] {
            let iocb = encode(&op.raw(0, 1)).unwrap();
            assert_eq!((u32::from(iocb.aio_lio_opcode), iocb.aio_fildes), (opcode, fd));
            assert_eq!((iocb.aio_buf, iocb.aio_nbytes, iocb.aio_offset, iocb.aio_flags), (0, 0, 0, 0));
        }
    }

    #[test]
    fn what_has_no_iocb_has_none() {
        let (file, _) = handle();
        assert!(encode(&Op::truncate(&file, 0).raw(0, 1)).is_none());
        assert!(encode(&Op::unlink("x").unwrap().raw(0, 1)).is_none());
    }

    #[test]
    fn a_ringing_operation_names_its_bell() {
        let (file, _) = handle();
        let plain = encode(&Op::sync_data(&file).raw(0, 1)).unwrap();
        assert!(!rings(&plain));
        let bell = File::open("/dev/null").unwrap();
        let iocb = ringing(plain, bell.as_fd());
        assert!(rings(&iocb));
        assert_eq!(iocb.aio_resfd, bell.as_raw_fd() as u32);
    }
}

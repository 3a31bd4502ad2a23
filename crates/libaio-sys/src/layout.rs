//! What must be true of the layouts that the kernel reads and writes, stated at compile time.
//!
//! The numbers are those of `<linux/aio_abi.h>` and of `struct aio_ring` in `fs/aio.c`. Every offset is a multiple of its
//! field's size, so they hold on machines that align u64 to four bytes as well; only the alignment itself differs there.

use core::mem::{align_of, offset_of, size_of};

/// Asserts size, alignment and the offset of every field.
macro_rules! layout {
    ($type:ty, size $size:literal, align $align:expr, { $($field:ident: $offset:expr),+ $(,)? }) => {
        const _: () = {
            assert!(size_of::<$type>() == $size, concat!("size of ", stringify!($type)));
            assert!(align_of::<$type>() == $align, concat!("alignment of ", stringify!($type)));
            $(assert!(offset_of!($type, $field) == $offset, concat!("offset of ", stringify!($field)));)+
        };
    };
}

/// Where `aio_key` and `aio_rw_flags` are: the header swaps them by byte order.
const KEY_AND_FLAGS: (usize, usize) = if cfg!(target_endian = "big") { (12, 8) } else { (8, 12) };

macro_rules! abi_layout {
    ($abi:ident) => {
        layout!(crate::$abi::iocb, size 64, align align_of::<u64>(), {
            aio_data: 0, aio_key: KEY_AND_FLAGS.0, aio_rw_flags: KEY_AND_FLAGS.1,
            aio_lio_opcode: 16, aio_reqprio: 18, aio_fildes: 20,
            aio_buf: 24, aio_nbytes: 32, aio_offset: 40, aio_reserved2: 48,
            aio_flags: 56, aio_resfd: 60,
        });
        layout!(crate::$abi::io_event, size 32, align align_of::<u64>(), { data: 0, obj: 8, res: 16, res2: 24 });
    };
}

abi_layout!(abi);
#[cfg(test)]
abi_layout!(by_hand);

layout!(crate::AioRing, size 32, align align_of::<crate::io_event>(), {
    id: 0, nr: 4, head: 8, tail: 12, magic: 16, compat_features: 20, incompat_features: 24, header_length: 28,
    io_events: 32,
});
// The events begin right behind the header, aligned.
const _: () = assert!(size_of::<crate::AioRing>() == crate::AIO_RING_HEADER_LENGTH as usize);

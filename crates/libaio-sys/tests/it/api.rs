//! The six functions as a table, so that a case does not know whose they are.

use std::mem::MaybeUninit;
use std::time::Duration;

use libaio_sys::{aio_context_t, io_event, iocb};

pub(crate) type Events<'a> = &'a mut [MaybeUninit<io_event>];

pub(crate) type PGetEvents =
    unsafe fn(aio_context_t, usize, Events<'_>, Option<Duration>, Option<&libc::sigset_t>) -> Result<usize, i32>;

pub(crate) struct Api {
    pub(crate) io_setup: unsafe fn(u32) -> Result<aio_context_t, i32>,
    pub(crate) io_destroy: unsafe fn(aio_context_t) -> Result<(), i32>,
    pub(crate) io_submit: unsafe fn(aio_context_t, &[*mut iocb]) -> Result<usize, i32>,
    pub(crate) io_cancel: unsafe fn(aio_context_t, *mut iocb, *mut io_event) -> Result<(), i32>,
    pub(crate) io_getevents: unsafe fn(aio_context_t, usize, Events<'_>, Option<Duration>) -> Result<usize, i32>,
    pub(crate) io_pgetevents: PGetEvents,
}

pub(crate) const RAW: Api = Api {
    io_setup: libaio_sys::io_setup,
    io_destroy: libaio_sys::io_destroy,
    io_submit: libaio_sys::io_submit,
    io_cancel: libaio_sys::io_cancel,
    io_getevents: libaio_sys::io_getevents,
    io_pgetevents: libaio_sys::io_pgetevents,
};

#[cfg(feature = "link")]
pub(crate) const LINKED: Api = Api {
    io_setup: libaio_sys::linked::io_setup,
    io_destroy: libaio_sys::linked::io_destroy,
    io_submit: libaio_sys::linked::io_submit,
    io_cancel: libaio_sys::linked::io_cancel,
    io_getevents: libaio_sys::linked::io_getevents,
    io_pgetevents: libaio_sys::linked::io_pgetevents,
};

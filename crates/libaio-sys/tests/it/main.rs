//! One list of cases, run over the raw system calls and, with the feature `link`, over libaio.so; then the answers of
//! both are compared. Each case asserts what it knows and returns every answer it got.
#![cfg(target_os = "linux")]

mod api;
mod cases;
mod fixture;

/// Makes tests of a list of cases: one per case and implementation, and one per case that compares the two.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        mod raw {
            $(#[test] fn $case() { super::cases::$case(&super::api::RAW); })+
        }

        #[cfg(feature = "link")]
        mod linked {
            $(#[test] fn $case() { super::cases::$case(&super::api::LINKED); })+
        }

        #[cfg(feature = "link")]
        mod equal {
            $(#[test] fn $case() {
                assert_eq!(super::cases::$case(&super::api::RAW), super::cases::$case(&super::api::LINKED));
            })+
        }
    };
}

cases! {
    setup_refuses_what_cannot_be,
    write_then_read,
    vectored_write_then_read,
    sync_both_ways,
    end_of_file_is_zero_bytes,
    direct_read_at_a_bad_offset_fails_as_pread_does,
    a_refused_iocb_ends_the_batch_before_it,
    a_refused_iocb_at_the_head_fails_the_call,
    completions_are_read_from_the_ring,
    the_ring_wraps,
    a_completion_signals_its_eventfd,
    a_cancelled_poll_completes_once,
    a_wait_ends_on_time,
    a_signal_mask_is_taken,
    destroy_ends_the_context,
}

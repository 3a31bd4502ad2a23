//! The cases, one list, in files by theme.
//!
//! A case is a function over a [`Cx`](crate::Cx). Its doc comment says what it asserts and, where somebody learned it the hard
//! way, what broke where it was missing. To add one: write it, and add it to [`for_each_case!`](crate::for_each_case).

pub mod cancel;
pub mod edge;
pub mod errors;
pub mod sync;
pub mod transfer;
pub mod wake;

/// The one list: calls `[path::to::macro]!` with `theme::case,` for each case.
#[macro_export]
macro_rules! for_each_case {
    ([$($callback:tt)*]) => {
        $($callback)* ! {
            transfer::what_was_written_is_read,
            transfer::vectored_pieces_are_in_order,
            transfer::reading_past_the_end_is_zero_bytes,
            transfer::reading_across_the_end_is_short,
            sync::syncs_of_data_and_of_all_succeed,
            edge::every_op_completes_exactly_once,
            edge::full_loses_nothing,
            edge::room_of_one_loses_nothing,
            edge::waiting_with_nothing_in_flight_ends_on_time,
            cancel::unknown_token,
            wake::before_the_wait,
            errors::bad_descriptor_between_good_ones,
        }
    };
}

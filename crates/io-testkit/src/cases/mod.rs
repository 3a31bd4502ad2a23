//! The cases, one list, in files by theme.
//!
//! A case is a function over a [`Cx`](crate::Cx). Its doc comment says what it asserts and, where somebody learned it the hard
//! way, what broke where it was missing. To add one: write it, and add it to [`for_each_case!`](crate::for_each_case).

pub mod cancel;
pub mod edge;
pub mod errors;
pub mod lifetime;
pub mod locks;
pub mod names;
pub mod refusals;
pub mod registered;
pub mod space;
pub mod sync;
pub mod transfer;
pub mod wake;

/// The one list: calls `[path::to::macro]!` with `theme::case,` for each case.
#[macro_export]
macro_rules! for_each_case {
    ([$($callback:tt)*]) => {
        $($callback)* ! {
            transfer::what_was_written_is_read,
            transfer::offsets_and_lengths_need_no_alignment,
            transfer::vectored_pieces_are_in_order,
            transfer::a_single_piece,
            transfer::as_many_pieces_as_there_may_be,
            transfer::empty_pieces,
            transfer::empty_transfers,
            transfer::reading_past_the_end_is_zero_bytes,
            transfer::reading_across_the_end_is_short,
            transfer::writing_past_the_end_leaves_zeros_between,
            transfer::answers_land_on_their_own_op,
            transfer::one_block_read_by_many,
            transfer::large_transfers,
            transfer::more_than_two_gib_in_one_request,
            transfer::buffers_inside_the_operation,
            transfer::windows_stay_windows,
            transfer::durable_writes,
            transfer::nowait_reads_data_or_says_why_not,
            transfer::appending_ignores_the_offset,
            transfer::priorities_change_no_data,
            transfer::unknown_flags_are_refused_whole,
            registered::a_registered_file_is_the_same_file,
            registered::a_number_used_again_is_another_file,
            registered::more_files_than_places,
            registered::registered_memory_holds_the_same_bytes,
            registered::registered_memory_at_the_end_of_the_file,
            sync::syncs_of_data_and_of_all_succeed,
            sync::a_sync_with_nothing_to_do_succeeds,
            sync::a_read_only_handle_can_sync,
            sync::many_syncs_at_once,
            sync::a_range_can_be_written_back,
            sync::a_pipe_cannot_be_synced,
            sync::a_directory_can_be_synced,
            space::truncate_cuts_and_grows,
            space::truncate_refuses,
            space::allocation_gives_zeros,
            space::holes_read_as_zeros,
            space::zeroed_ranges_read_as_zeros,
            space::ranges_are_copied,
            space::ranges_are_cloned_or_refused,
            space::advice_changes_nothing,
            space::hints_change_nothing,
            names::open_finds_the_file,
            names::open_creates_and_truncates,
            names::open_refuses_with_the_reason,
            names::open_and_symbolic_links,
            names::odd_names,
            names::an_open_that_nobody_wants_is_closed,
            names::close_closes_once,
            names::stat_says_what_is_there,
            names::stat_and_symbolic_links,
            names::stat_fs_knows_the_space,
            names::access_asks_without_opening,
            names::real_path_resolves,
            names::permissions_are_set,
            names::created_files_have_their_mode,
            names::rename_replaces,
            names::rename_that_must_not_replace,
            names::rename_that_exchanges,
            names::unlink_removes_the_name,
            names::directories_come_and_go,
            names::directories_are_listed,
            names::many_names_at_once,
            locks::exclusive_keeps_others_out,
            locks::shared_locks_go_together,
            locks::ranges_are_ranges,
            locks::asking_for_the_holder,
            locks::a_lock_ends_with_its_file,
            locks::odd_locks,
            edge::every_op_completes_exactly_once,
            edge::full_loses_nothing,
            edge::depth_counts_what_is_in_flight,
            edge::depth_one_is_enough,
            edge::room_of_one_loses_nothing,
            edge::more_completions_than_room,
            edge::without_room_it_does_not_wait,
            edge::waiting_with_nothing_in_flight_ends_on_time,
            edge::a_look_does_not_wait,
            edge::forever_ends_with_a_completion,
            edge::completions_that_are_there_end_the_wait,
            edge::earlier_submits_are_answered_later,
            edge::progress_counts_what_was_accepted,
            edge::short_waits_beside_slow_operations,
            cancel::unknown_token,
            cancel::before_the_submit,
            cancel::in_flight,
            cancel::completed_but_not_reaped,
            cancel::twice_and_more,
            cancel::at_full_depth,
            cancel::a_storm_of_wishes,
            cancel::of_writes,
            cancel::of_a_stuck_operation,
            wake::before_the_wait,
            wake::a_look_leaves_the_wake,
            wake::during_the_wait,
            wake::many_wakes_are_one,
            wake::wakes_between_completions,
            wake::soak_no_wake_is_lost,
            wake::waking_nobody,
            wake::sleepers_outside_are_woken,
            wake::a_wake_ends_every_wait,
            wake::arming_takes_no_wake_from_who_waits,
            wake::waking_the_awake_is_free,
            wake::woken_before_arming,
            wake::armed_it_rings_for_completions,
            wake::finished_before_arming_is_said,
            wake::rung_before_the_sleep,
            wake::quiet_when_all_is_reaped,
            wake::soak_arming_loses_nothing,
            wake::armed_by_a_thread_that_has_exited,
            refusals::no_descriptors_left,
            refusals::no_permission,
            refusals::other_file_systems,
            lifetime::dropped_idle,
            lifetime::released_buffers_are_left_alone,
            lifetime::drained_before_the_drop,
            lifetime::dropped_with_operations_in_flight,
            lifetime::files_live_as_long_as_their_operations,
            lifetime::nothing_is_left_behind,
            lifetime::handed_from_thread_to_thread,
            lifetime::the_submitting_thread_exits,
            lifetime::shared_behind_a_mutex,
            lifetime::a_forked_child_disturbs_nobody,
            errors::bad_descriptor_between_good_ones,
            errors::bad_descriptor_for_every_kind,
            errors::unsupported_kinds_are_answered,
            errors::access_of_the_handle_is_kept,
            errors::a_directory_is_not_read,
            errors::a_pipe_has_no_offsets,
            errors::offsets_that_no_file_has,
            errors::misaligned_direct_io,
            errors::bad_memory,
            errors::errors_give_the_buffer_back,
            errors::writes_at_the_file_size_limit,
            errors::writes_on_a_full_disk,
        }
    };
}

/// A case.
pub type Case = fn(&crate::Cx<'_>);

macro_rules! all {
    ($($theme:ident :: $case:ident,)*) => {
        /// The one list as values: name and function of every case.
        pub const ALL: &[(&str, Case)] = &[$((stringify!($case), $theme::$case),)*];
    };
}

for_each_case!([all]);

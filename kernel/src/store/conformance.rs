//! What every store must do, as tests that any store can run.
//!
//! A store's author writes a function that makes a [`Fixture`], and lets
//! [`store_conformance!`](crate::store_conformance) write one test for each case:
//! ```
//! use teammy_kernel::store::{MemoryStore, conformance::Fixture};
//!
//! async fn memory() -> Fixture {
//!     Fixture::new(MemoryStore::default())
//! }
//!
//! teammy_kernel::store_conformance!(memory());
//! # fn main() {}
//! ```
//! A case panics if the store fails it, so each runs alone and on a store of its own. A function that may
//! have no store to give, such as a server that isn't running, returns `Option<Fixture>` and prints itself
//! that it has none.

mod fixture;
mod samples;

mod accounts;
mod ambiguous;
mod crash;
mod forgetting;
mod interleave;
mod keys;
mod leases;
mod listing;
mod marks;
mod packets;
mod rows;

pub use accounts::{
    accounts_are_forgotten_with_their_meeting, accounts_change_together_or_not_at_all,
    owners_count_on_one_account,
};
pub use ambiguous::{
    a_claim_whose_answer_is_lost_is_repeated, a_commit_whose_answer_is_lost_is_repeated,
    a_creation_whose_answer_is_lost_is_repeated, a_lost_commit_and_a_claim_leave_all_or_nothing,
    a_part_of_a_lost_batch_may_be_fenced,
};
pub use crash::a_crash_keeps_what_was_acknowledged;
pub use fixture::Fixture;
pub use forgetting::{a_forgotten_meeting_is_gone, a_long_meeting_is_forgotten, a_redriven_letter_goes};
pub use interleave::{
    claims_and_commits_in_every_order, claims_and_commits_race, commits_of_other_meetings_overlap,
};
pub use keys::{keys_are_listed_by_prefix, keys_are_set_and_deleted, keys_do_not_collide};
pub use leases::{
    a_late_claim_of_a_lost_owner_is_found, a_lease_is_renewed_until_it_ends,
    a_lease_that_ended_never_comes_back, a_meeting_is_owned_as_long_as_its_owners_lease_holds,
    a_renewal_and_an_end_race, meetings_are_owned_by_live_nodes_alone,
    only_the_present_owner_lets_a_meeting_go,
};
pub use listing::{
    listings_answer_as_the_model_does, meetings_are_listed_newest_first,
    open_meetings_are_listed_until_they_end, pages_go_on_while_meetings_come_and_go,
};
pub use marks::{
    a_mark_never_goes_back, a_new_owner_goes_on_from_the_marks, a_refused_commit_leaves_no_mark,
    a_repeated_commit_marks_once, long_runs_of_numbers_are_looked_up, meetings_do_not_share_marks,
    meetings_with_marks_are_found, producers_come_as_far_as_their_packets,
};
pub use packets::{packets_come_back_equal, queries_answer_as_the_model_does};
pub use rows::{
    a_batch_leaves_fenced_meetings_out, a_batch_writes_what_each_part_holds, a_big_batch_is_applied,
    a_claim_raises_epoch_and_reservation, a_commit_for_a_missing_meeting_is_fenced,
    a_commit_of_a_lower_epoch_is_fenced, a_commit_out_of_order_is_refused, a_lasting_store_keeps_everything,
    a_meeting_is_created_once, a_repeated_commit_is_applied_once, a_reservation_never_shrinks,
    commits_apply_in_order, dead_letters_are_kept, instances_keep_their_state,
    nothing_is_known_of_a_missing_meeting,
};

/// Writes one `#[tokio::test]` for each case of the suite. The argument is an expression for a future of a
/// [`Fixture`](crate::store::conformance::Fixture), or of an `Option` of one; each case evaluates it once.
/// Use the macro once in a module.
#[macro_export]
macro_rules! store_conformance {
    ($make:expr) => {
        $crate::store_conformance! { @cases $make;
            a_batch_leaves_fenced_meetings_out,
            a_batch_writes_what_each_part_holds,
            a_big_batch_is_applied,
            a_claim_raises_epoch_and_reservation,
            a_claim_whose_answer_is_lost_is_repeated,
            a_commit_for_a_missing_meeting_is_fenced,
            a_commit_of_a_lower_epoch_is_fenced,
            a_commit_out_of_order_is_refused,
            a_commit_whose_answer_is_lost_is_repeated,
            a_crash_keeps_what_was_acknowledged,
            a_creation_whose_answer_is_lost_is_repeated,
            a_lasting_store_keeps_everything,
            a_forgotten_meeting_is_gone,
            a_late_claim_of_a_lost_owner_is_found,
            a_lease_is_renewed_until_it_ends,
            a_lease_that_ended_never_comes_back,
            a_long_meeting_is_forgotten,
            a_lost_commit_and_a_claim_leave_all_or_nothing,
            a_mark_never_goes_back,
            a_meeting_is_created_once,
            a_meeting_is_owned_as_long_as_its_owners_lease_holds,
            a_new_owner_goes_on_from_the_marks,
            a_part_of_a_lost_batch_may_be_fenced,
            a_redriven_letter_goes,
            a_renewal_and_an_end_race,
            a_refused_commit_leaves_no_mark,
            a_repeated_commit_is_applied_once,
            a_repeated_commit_marks_once,
            a_reservation_never_shrinks,
            accounts_are_forgotten_with_their_meeting,
            accounts_change_together_or_not_at_all,
            claims_and_commits_in_every_order,
            claims_and_commits_race,
            commits_apply_in_order,
            commits_of_other_meetings_overlap,
            dead_letters_are_kept,
            instances_keep_their_state,
            keys_are_listed_by_prefix,
            keys_are_set_and_deleted,
            keys_do_not_collide,
            listings_answer_as_the_model_does,
            long_runs_of_numbers_are_looked_up,
            meetings_are_listed_newest_first,
            meetings_are_owned_by_live_nodes_alone,
            meetings_do_not_share_marks,
            meetings_with_marks_are_found,
            nothing_is_known_of_a_missing_meeting,
            only_the_present_owner_lets_a_meeting_go,
            open_meetings_are_listed_until_they_end,
            owners_count_on_one_account,
            packets_come_back_equal,
            pages_go_on_while_meetings_come_and_go,
            producers_come_as_far_as_their_packets,
            queries_answer_as_the_model_does,
        }
    };
    (@cases $make:expr; $($case:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture: ::std::option::Option<$crate::store::conformance::Fixture> = $make.await.into();
                if let ::std::option::Option::Some(fixture) = fixture {
                    $crate::store::conformance::$case(fixture).await;
                }
            }
        )+
    };
}

//! One `#[test]` per case, and per property.

/// Expands to a module of this name with one `#[test]` per case of the one list, run against the given
/// [`Rig`](crate::Rig) on every disk of it.
///
/// ```
/// use io_core::{Driver, DriverName, Unavailable};
/// use io_testkit::RealRig;
///
/// const MINE: DriverName = DriverName::Other("mine");
///
/// fn open(depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
///     Err(Unavailable::new(MINE, "it is not written yet", "write it"))
/// }
///
/// io_testkit::conformance!(mine, RealRig::new(MINE, open));
/// # fn main() {}
/// ```
///
/// The tests are called `mine::conformance::<case>`. What a driver does not support is skipped, printed and counted (see
/// [`skip`](crate::skip)).
#[macro_export]
macro_rules! conformance {
    ($name:ident, $rig:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn rig() -> impl $crate::Rig {
                $rig
            }

            mod conformance {
                $crate::for_each_case!([$crate::__conformance_tests]);
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($($theme:ident :: $case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                $crate::run_case(
                    &super::rig(),
                    stringify!($case),
                    $crate::cases::$theme::$case,
                    concat!(module_path!(), "::", stringify!($case)),
                );
            }
        )*
    };
}

/// Expands to a module of this name with a few `#[test]`s that draw histories of operations and compare the given
/// [`Rig`](crate::Rig) with a [`FileModel`](crate::model::FileModel): one after the other, together, with cancels, with faults
/// of all kinds injected.
///
/// The tests are called `<name>::properties::<property>`. A failure prints its seed (`IOFS_SEED=…` repeats it) and the shortest
/// history that fails; nothing is written anywhere.
#[macro_export]
macro_rules! properties {
    ($name:ident, $rig:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn rig() -> impl $crate::Rig {
                $rig
            }

            mod properties {
                #[test]
                fn one_after_the_other() {
                    $crate::model::check_histories(&super::rig(), "one_after_the_other", 24, 1, false, false);
                }

                #[test]
                fn together() {
                    $crate::model::check_histories(&super::rig(), "together", 24, 8, false, false);
                }

                #[test]
                fn together_with_cancels() {
                    $crate::model::check_histories(&super::rig(), "together_with_cancels", 24, 8, true, false);
                }

                #[test]
                fn together_with_faults() {
                    $crate::model::check_histories(&super::rig(), "together_with_faults", 24, 8, false, true);
                }

                #[test]
                fn soak_everything() {
                    let cases = if ::std::env::var_os("IOFS_SOAK").is_some() { 4000 } else { 24 };
                    $crate::model::check_histories(&super::rig(), "soak_everything", cases, 8, true, true);
                }
            }
        }
    };
}

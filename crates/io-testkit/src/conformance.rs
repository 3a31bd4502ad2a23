//! One `#[test]` per case.

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

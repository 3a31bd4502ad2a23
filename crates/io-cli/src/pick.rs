//! Which driver, from what the user said.

use crate::exit::Failure;
use io_fs::{Driver, DriverName, DriverOptions, Unavailable};

/// What `--driver` and `IOFS_DRIVER` say of one driver: a name, or `None` for the best that works here.
pub(crate) fn one(option: Option<&str>) -> Result<Option<DriverName>, Failure> {
    match option {
        Some("std") => Err(Failure::usage("std is the baseline of `compare`; choose uring, aio or threadpool here")),
        Some(name) if name != "auto" => Ok(Some(parse(name)?)),
        _ => Ok(DriverOptions::default().with_env()?.driver),
    }
}

/// What `compare` runs.
#[derive(Debug, PartialEq)]
pub(crate) struct Several {
    /// In the order in which they were named; none: all that work here.
    pub(crate) named: Option<Vec<DriverName>>,
}

/// What `--driver a,b` and `IOFS_DRIVER` say. The name `std` alone leaves no driver; beside others it says nothing new.
pub(crate) fn several(names: &[String]) -> Result<Several, Failure> {
    if names.is_empty() {
        let named = DriverOptions::default().with_env()?.driver.map(|name| vec![name]);
        return Ok(Several { named });
    }
    let mut named = Vec::new();
    for name in names {
        match name.trim() {
            "std" => {}
            "" => return Err(Failure::usage("--driver: a name is missing; write --driver uring,aio")),
            name => {
                let name = parse(name)?;
                if !named.contains(&name) {
                    named.push(name);
                }
            }
        }
    }
    Ok(Several { named: Some(named) })
}

fn parse(name: &str) -> Result<DriverName, Failure> {
    name.parse().map_err(Failure::usage)
}

/// Settings for a driver that the calling thread alone drives.
pub(crate) fn options(driver: Option<DriverName>, depth: u32) -> DriverOptions {
    let mut options = DriverOptions::default();
    options.driver = driver;
    options.depth = depth;
    options.one_thread = true;
    options
}

/// Makes the driver.
///
/// # Errors
/// The reason why it cannot run; of an automatic choice, why the last resort cannot.
pub(crate) fn make(driver: Option<DriverName>, depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
    Ok(io_fs::select(&options(driver, depth))?.driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_std_is_no_driver() {
        let names = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let of = |text| several(&names(text)).unwrap().named.unwrap();
        assert_eq!(of("uring, aio,uring,std"), [DriverName::Uring, DriverName::Aio]);
        assert_eq!(of("std"), []);
        assert!(several(&names("uring,,aio")).is_err());
        assert!(several(&names("iouring")).is_err());
        assert_eq!(one(Some("aio")).unwrap(), Some(DriverName::Aio));
        assert!(one(Some("std")).is_err());
    }
}

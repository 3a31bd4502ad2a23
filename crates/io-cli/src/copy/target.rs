//! The unfinished copy: a file of another name beside the final one.

use super::{
    plan,
    plan::Plan,
    pump::{End, Pump},
    writing,
};
use crate::{exit::Failure, files, once, scratch::Scratch};
use io_fs::{FileHandle, OpenOptions};
use std::{fs, io, path::Path};

#[derive(Debug)]
pub(crate) struct Target {
    scratch: Scratch,
    pub(crate) buffered: FileHandle,
    direct: Option<FileHandle>,
}

impl Target {
    /// Makes the file, with room for all that comes.
    pub(crate) fn create(plan: &Plan, pump: &Pump) -> Result<Target, Failure> {
        let created = Scratch::create(&plan.dir, ".iofs-copy-");
        let (scratch, _) = created.map_err(|error| Failure::opening(&plan.dir, &error))?;
        let open = |options| io_fs::open(scratch.path(), options);
        let buffered = open(OpenOptions::READ_WRITE).map_err(|error| writing(plan, &error))?;
        pump.allocate(&buffered, plan.source.len).map_err(|error| writing(plan, &error))?;
        // Opened now, the handle knows that its writes allocate nothing: AIO takes only those without blocking.
        let direct = match plan.wants_direct() {
            true => Some(open(OpenOptions::READ_WRITE.direct()).map_err(|error| plan::refuses(&plan.to, &error))?),
            false => None,
        };
        Ok(Target { scratch, buffered, direct })
    }

    /// The copy, through the page cache or past it.
    pub(crate) fn end(&self, direct: bool) -> End<'_> {
        let mut end = End { handle: &self.buffered, path: self.scratch.path(), options: OpenOptions::READ_WRITE };
        if direct {
            let opened = self.direct.as_ref();
            end.handle = opened.expect("whole sectors are copied past the cache only if the copy was opened so");
            end.options = end.options.direct();
        }
        end
    }

    /// Content, size and permissions reach the disk before the name does.
    pub(crate) fn make_durable(&self, plan: &Plan, pump: &Pump) -> Result<(), Failure> {
        // Where a file system has no such bits, the copy keeps those that it gives.
        let permitted = files::std_file(&self.buffered).set_permissions(nine_bits(&plan.permissions));
        let durable = once::if_supported(permitted).and_then(|()| pump.sync(&self.buffered));
        durable.map_err(|error| writing(plan, &error))
    }

    /// Gives the copy its name, and makes that durable.
    pub(crate) fn publish(self, plan: &Plan, pump: &Pump) -> Result<(), Failure> {
        let published = self.scratch.publish(|unfinished| match plan.replace {
            true => fs::rename(unfinished, &plan.target),
            false => rename_new(unfinished, &plan.target, pump),
        });
        published.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::usage(format!("{}: exists by now; --force replaces it", plan.to.display()))
            }
            io::ErrorKind::IsADirectory => Failure::usage(format!("{}: is a directory by now", plan.to.display())),
            _ => writing(plan, &error),
        })?;
        once::if_supported(pump.sync_dir(&plan.dir)).map_err(|error| {
            let dir = plan.dir.display();
            Failure::work(format!("{dir}: the copy is whole, but its name may not outlive a crash: {error}"))
        })
    }
}

/// Renames unless somebody took the name meanwhile.
fn rename_new(from: &Path, to: &Path, pump: &Pump) -> io::Result<()> {
    match pump.rename_new(from, to) {
        // The file system does not know how (renameat2(2)). A link fails on a name that is taken, too.
        Err(error) if once::is_unsupported(&error) => fs::hard_link(from, to).and_then(|()| fs::remove_file(from)),
        other => other,
    }
}

/// Read, write and execute for three: what makes a program run as its owner is not copied to an owner who may be another.
#[cfg(unix)]
fn nine_bits(permissions: &fs::Permissions) -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(permissions.mode() & 0o777)
}

#[cfg(not(unix))]
fn nine_bits(permissions: &fs::Permissions) -> fs::Permissions {
    permissions.clone()
}

//! File systems for a job: made in image files under the target directory, unmounted and removed by a guard.

use crate::exec;
use crate::sys;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A mounted file system; dropping it unmounts, which also frees the loop device, and removes its image or ends its server.
#[derive(Debug)]
pub(crate) struct Mount {
    dir: PathBuf,
    image: Option<PathBuf>,
    server: Option<Child>,
}

impl Mount {
    /// Makes a file system of this kind ("ext4", "xfs") in a sparse image, and mounts it at `base/kind`.
    pub(crate) fn image(base: &Path, kind: &str, bytes: u64) -> Result<Self> {
        let mkfs = format!("mkfs.{kind}");
        let mkfs = exec::find(&mkfs).with_context(|| format!("{mkfs} is not installed"))?;
        let dir = base.join(kind);
        fs::create_dir_all(&dir)?;
        let image = base.join(format!("{kind}.img"));
        // A new file, never the old one emptied: a killed run's image may still be mounted where we cannot see it.
        match fs::remove_file(&image) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => File::create_new(&image)?.set_len(bytes)?,
        }
        // The guard exists before the work starts, so that a failure half-way leaves nothing behind.
        let mount = Self { dir, image: Some(image.clone()), server: None };
        quiet(Command::new(mkfs).arg("-q").arg(&image))?;
        quiet(Command::new("mount").args(["-t", kind, "-o", "loop"]).arg(&image).arg(&mount.dir))?;
        Ok(mount)
    }

    /// A tmpfs that is full after so many bytes.
    pub(crate) fn tmpfs(base: &Path, bytes: u64) -> Result<Self> {
        let mount = Self { dir: base.join("tmpfs"), image: None, server: None };
        fs::create_dir_all(&mount.dir)?;
        quiet(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"]).arg(&mount.dir))?;
        Ok(mount)
    }

    /// The file system that `program` serves over /dev/fuse, full after so many bytes.
    pub(crate) fn fuse(base: &Path, program: &Path, bytes: u64) -> Result<Self> {
        let mut mount = Self { dir: base.join("fuse"), image: None, server: None };
        fs::create_dir_all(&mount.dir)?;
        let mut command = Command::new(program);
        command.arg(&mount.dir).arg(bytes.to_string());
        // The server ends with its standard input, that is, with us. An interrupt from the terminal is not for it: the tests
        // that it serves have to end first.
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        sys::own_group(&mut command);
        let server = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let server = mount.server.insert(server);
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let mounts = fs::read_to_string("/proc/mounts")?;
            if type_of(&mounts, &mount.dir).is_some_and(|kind| kind.starts_with("fuse")) {
                return Ok(mount);
            }
            if let Some(status) = server.try_wait()? {
                bail!("the server ended: {status}");
            }
            ensure!(Instant::now() < until, "the server has not mounted it after 10 s");
            sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(&self.dir);
        if let Some(server) = &mut self.server {
            end(server);
        }
        if let Some(image) = &self.image {
            let _ = fs::remove_file(image);
        }
        // Fails while something is mounted there, which is what keeps us from deleting through a mount.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Where a workspace's mounts go; what a killed run may have left there is unmounted first.
pub(crate) fn base(ws: &Workspace) -> Result<PathBuf> {
    let base = ws.target.join("mnt");
    fs::create_dir_all(&base).with_context(|| format!("cannot create {}", base.display()))?;
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for dir in points(&mounts).filter(|dir| dir.starts_with(&base)) {
        unmount(&dir);
    }
    Ok(base)
}

/// The type of the file system mounted at `dir`, by the text of /proc/mounts; of several the last, which covers the others.
pub(crate) fn type_of(mounts: &str, dir: &Path) -> Option<String> {
    let fields = |line: &str| {
        let mut fields = line.split(' ');
        let point = fields.nth(1)?;
        Some((PathBuf::from(unescape(point)), fields.next()?.to_owned()))
    };
    mounts.lines().filter_map(fields).rfind(|(point, _)| point == dir).map(|(_, kind)| kind)
}

fn points(mounts: &str) -> impl Iterator<Item = PathBuf> {
    mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(|point| PathBuf::from(unescape(point)))
}

/// proc(5): blanks in names are written as octal escapes.
fn unescape(point: &str) -> String {
    point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// Unmounts, with patience: a test that was just killed may still be closing its files. In the end the mount is detached,
/// and the kernel finishes it with the last open file.
fn unmount(dir: &Path) {
    for _ in 0..50 {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        if type_of(&mounts, dir).is_none() {
            return;
        }
        if quiet(Command::new("umount").arg(dir)).is_err() {
            sleep(Duration::from_millis(100));
        }
    }
    if let Err(error) = quiet(Command::new("umount").arg("-l").arg(dir)) {
        eprintln!("cannot unmount {}: {error:#}", dir.display());
    }
}

/// Ends a server whose file system was unmounted: it ends by itself, or with its standard input, or by force. Its end is the end
/// of every request that still waits for it.
fn end(server: &mut Child) {
    drop(server.stdin.take());
    for _ in 0..50 {
        if !matches!(server.try_wait(), Ok(None)) {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    let _ = server.kill();
    let _ = server.wait();
}

/// Runs a command whose output only matters if it fails. Not through `exec`, which refuses to run after an interrupt.
fn quiet(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "proc /proc proc rw 0 0\nnone /dev/shm ramfs rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n\
                          /dev/loop0 /a\\040b/mnt/ext4 ext4 rw 0 0\n";

    #[test]
    fn mounts_are_found_by_their_point() {
        assert_eq!(type_of(MOUNTS, Path::new("/dev/shm")).as_deref(), Some("tmpfs"), "the last one covers");
        assert_eq!(type_of(MOUNTS, Path::new("/a b/mnt/ext4")).as_deref(), Some("ext4"));
        assert_eq!(type_of(MOUNTS, Path::new("/a b/mnt")), None);
        assert!(points(MOUNTS).any(|point| point == Path::new("/a b/mnt/ext4")));
    }

    #[test]
    fn a_server_that_mounts_nothing_is_an_error_and_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let server = exec::find("false").unwrap();
        let error = Mount::fuse(base.path(), &server, 1 << 20).unwrap_err();
        assert!(error.to_string().contains("ended"), "{error}");
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_system_that_nobody_can_make_is_an_error_and_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let error = Mount::image(base.path(), "nosuchfs", 1 << 20).unwrap_err();
        assert!(error.to_string().contains("mkfs.nosuchfs"), "{error}");
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}

//! The virtual machine: QEMU, a kernel and a shell from Debian's packages, unpacked beside the build and never installed.

use super::initrd::Initrd;
use super::{ACK_AT, DISK_BYTES, FS_BYTES, RECORDS};
use crate::exec::{self, Cmd};
use crate::sys;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// What is fetched, with all that it needs and the machine does not have.
const PACKAGES: [&str; 3] = ["qemu-system-x86", "busybox-static", "linux-image-cloud-amd64"];

/// The modules that the kernel needs to see the disk, in the order in which they need one another.
const MODULES: [&str; 6] = [
    "virtio/virtio_ring.ko",
    "virtio/virtio.ko",
    "virtio/virtio_pci_modern_dev.ko",
    "virtio/virtio_pci_legacy_dev.ko",
    "virtio/virtio_pci.ko",
    "block/virtio_blk.ko",
];

/// The machine's first process. It stops where the mount fails: going on would write to memory and look good.
const INIT: &str = r#"#!/bin/busybox sh
b=/bin/busybox
end() { echo "ENDED=$1"; $b poweroff -f; }
$b mount -t proc none /proc; $b mount -t devtmpfs none /dev
for module in /modules/*; do $b insmod $module || end 98; done
tries=0; while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do $b sleep 0.1; tries=$((tries+1)); done
$b mount -t ext4 /dev/vda /mnt || end 99
/bin/program append /mnt /dev/vda $ACK_AT $RECORDS $MODE
end $?
"#;

/// Why this machine cannot do it, if it cannot.
pub(super) fn missing() -> Option<String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Some("the virtual machine is an x86-64 Linux, made of an x86-64 Debian's packages".to_owned());
    }
    if !sys::is_root() {
        return Some("only root may mount".to_owned());
    }
    let programs = ["mkfs.ext4", "mount", "umount", "apt-get", "dpkg", "timeout"];
    let missing: Vec<_> = programs.into_iter().filter(|program| exec::find(program).is_none()).collect();
    (!missing.is_empty()).then(|| format!("{} not installed (it is made for Debian)", missing.join(", ")))
}

#[derive(Debug)]
pub(super) struct Machine {
    base: PathBuf,
    root: PathBuf,
    kernel: PathBuf,
    modules: Vec<PathBuf>,
}

/// A disk as it was before the program ran, and the log of what came then.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) disk: PathBuf,
    pub(super) log: PathBuf,
}

impl Machine {
    /// Fetches and unpacks what is not there yet: some 50 MB.
    pub(super) fn prepare(base: &Path) -> Result<Self> {
        let root = base.join("root");
        let whole = base.join("root.whole");
        if !whole.exists() {
            fetch(base, &root)?;
            File::create(&whole)?;
        }
        let kernel = only(&root.join("boot"), "vmlinuz-")?;
        let drivers = only(&root.join("lib/modules"), "")?.join("kernel/drivers");
        let modules = MODULES.iter().map(|module| drivers.join(module)).collect();
        Ok(Self { base: base.to_owned(), root, kernel, modules })
    }

    /// Runs the program on a new disk, and logs what the disk is told.
    pub(super) fn record(&self, program: &Path, mode: &str) -> Result<Recorded> {
        let [disk, used, log, initrd] = ["disk", "used", "log", "initrd"].map(|name| self.base.join(name));
        for file in [&disk, &used, &log] {
            let _ = fs::remove_file(file);
            File::create_new(file)?;
        }
        File::options().write(true).open(&disk)?.set_len(DISK_BYTES)?;
        let blocks = (FS_BYTES / 4096).to_string();
        let mkfs = exec::find("mkfs.ext4").context("mkfs.ext4 is not installed")?;
        Cmd::new(mkfs).args(["-q", "-F", "-b", "4096", "-J", "size=4"]).arg(&disk).arg(blocks).run()?;
        fs::copy(&disk, &used)?;
        fs::write(&initrd, self.initrd(program)?)?;
        let told = self.qemu(&used, &log, &initrd, mode).output()?;
        ensure!(told.contains("ENDED=0"), "the program did not succeed in the machine:\n{told}");
        told.lines().filter(|line| line.contains("driver:")).for_each(|line| println!("in the machine: {line}"));
        Ok(Recorded { disk, log })
    }

    fn initrd(&self, program: &Path) -> Result<Vec<u8>> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let mut initrd = Initrd::default();
        ["bin", "dev", "proc", "mnt", "modules"].iter().for_each(|dir| initrd.dir(dir));
        initrd.file("init", INIT.as_bytes());
        initrd.file("bin/busybox", &read(&self.root.join("bin/busybox"))?);
        initrd.file("bin/program", &read(program)?);
        for (n, module) in self.modules.iter().enumerate() {
            initrd.file(&format!("modules/{n}"), &read(module)?);
        }
        Ok(initrd.finish())
    }

    /// Emulated, not virtualized: it runs where nobody lends us a processor, and is quick enough. virtio-blk and not nvme, because
    /// QEMU's nvme loses the flag that makes a write durable by itself, and the log would accuse ext4.
    fn qemu(&self, disk: &Path, log: &Path, initrd: &Path, mode: &str) -> Cmd {
        let lib = |at: &str| self.root.join(at).display().to_string();
        let libs = [lib("usr/lib/x86_64-linux-gnu"), lib("lib/x86_64-linux-gnu")].join(":");
        let line = format!(
            "console=ttyS0 quiet panic=-1 mitigations=off nokaslr rdinit=/init ACK_AT={ACK_AT} RECORDS={RECORDS} MODE={mode}"
        );
        let file = |name: &str, path: &Path| format!("driver=file,node-name={name},filename={}", path.display());
        Cmd::new("timeout")
            .arg("180")
            .arg(self.root.join("usr/bin/qemu-system-x86_64"))
            .args(["-L", &lib("usr/share/qemu"), "-L", &lib("usr/share/seabios")])
            .args(["-accel", "tcg,thread=single", "-cpu", "max", "-m", "512"])
            .args(["-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", &line])
            .args(["-blockdev", &file("disk", disk), "-blockdev", &file("log", log)])
            .args([
                "-blockdev",
                "driver=blklogwrites,node-name=both,file=disk,log=log,log-sector-size=512,log-append=off",
            ])
            .args(["-device", "virtio-blk-pci,drive=both,logical_block_size=512"])
            .env("LD_LIBRARY_PATH", libs)
            .env("QEMU_MODULE_DIR", lib("usr/lib/x86_64-linux-gnu/qemu"))
    }
}

/// Fetches the packages by an apt with directories of its own: the system's lists and packages stay as they are.
fn fetch(base: &Path, root: &Path) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let suite = value("VERSION_CODENAME").filter(|_| value("ID") == Some("debian"));
    let suite = suite.context("this is no Debian: its packages make the machine")?;
    let apt = base.join("apt");
    let _ = fs::remove_dir_all(&apt);
    let _ = fs::remove_dir_all(root);
    for dir in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(dir))?;
    }
    fs::create_dir_all(root)?;
    let key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
    let mirror = "http://deb.debian.org";
    let sources =
        format!("deb {key} {mirror}/debian {suite} main\ndeb {key} {mirror}/debian-security {suite}-security main\n");
    fs::write(apt.join("sources.list"), sources)?;
    let at = apt.display();
    let conf = format!(
        "Dir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
         Dir::State::lists \"{at}/lists\";\nDir::Cache \"{at}/cache\";\n"
    );
    fs::write(apt.join("apt.conf"), conf)?;
    let get = || Cmd::new("apt-get").arg("-qq").env("APT_CONFIG", apt.join("apt.conf"));
    get().arg("update").run().context("the packages of the machine come from deb.debian.org")?;
    get().args(["-y", "--no-install-recommends", "--download-only", "install"]).args(PACKAGES).run()?;
    for entry in fs::read_dir(apt.join("cache/archives"))? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            Cmd::new("dpkg").arg("-x").arg(package).arg(root).output()?;
        }
    }
    Ok(())
}

/// The one entry of a directory that begins like this.
fn only(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let names = entries.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.file_name());
    let mut found: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(prefix)).collect();
    ensure!(found.len() == 1, "{} has {} entries that begin with `{prefix}`, not one", dir.display(), found.len());
    Ok(dir.join(found.remove(0)))
}

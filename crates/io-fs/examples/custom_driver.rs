//! A driver of one's own: here one that counts what passes and lets the thread pool do it.
//! `cargo run -p io-fs --example custom_driver`

use io_fs::{
    Armed, Completions, Driver, DriverName, DriverOptions, FileSystem, Full, OpSet, OpenOptions, Progress, RawOp,
    Readiness, Token, Wait,
};
use std::{collections::BTreeMap, error::Error, io, sync::Arc, sync::Mutex};

struct Counting {
    inner: Box<dyn Driver>,
    counts: Arc<Mutex<BTreeMap<String, u32>>>,
}

// SAFETY: everything is passed on to a driver that keeps the contract; what is looked at besides is the operation's kind.
unsafe impl Driver for Counting {
    fn name(&self) -> DriverName {
        DriverName::Other("counting")
    }
    fn depth(&self) -> u32 {
        self.inner.depth()
    }
    fn supports(&self) -> OpSet {
        self.inner.supports()
    }
    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        *self.counts.lock().unwrap().entry(format!("{:?}", op.kind())).or_default() += 1;
        // SAFETY: what our caller promises is what is asked for.
        unsafe { self.inner.prepare(token, op) }
    }
    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        self.inner.submit(wait, out)
    }
    fn cancel(&mut self, token: Token) {
        self.inner.cancel(token);
    }
    fn readiness(&self) -> Arc<dyn Readiness> {
        self.inner.readiness()
    }
    fn arm(&mut self, armed: bool) -> Armed {
        self.inner.arm(armed)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = DriverOptions::default();
    (options.driver, options.one_thread) = (Some(DriverName::ThreadPool), false);
    let counts = Arc::<Mutex<_>>::default();
    let fs = FileSystem::with_driver(Counting { inner: io_fs::select(&options)?.driver, counts: counts.clone() })?;
    let dir = tempfile::tempdir()?;
    fs.block_on(async {
        let file = fs.open_with(dir.path().join("log"), OpenOptions::CREATE_NEW).await?;
        for record in 0..100 {
            file.write_at(vec![b'x'; 512], record * 512).await.0?;
        }
        file.sync_data().await
    })?;
    println!("{}: {:?}", fs.backend(), counts.lock().unwrap());
    Ok(())
}

//! The machine's first file system: an archive that the kernel unpacks into memory ("newc", cpio(5)).

use std::fmt::Write;

#[derive(Debug, Default)]
pub(super) struct Initrd {
    bytes: Vec<u8>,
    last: u32,
}

impl Initrd {
    pub(super) fn dir(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    /// A file that may be executed.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, 0o100_755, content);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.last += 1;
        let name_len = name.len() as u32 + 1;
        let mut header = "070701".to_owned();
        let fields = [self.last, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name_len, 0];
        fields.iter().for_each(|field| write!(header, "{field:08x}").expect("a string takes everything"));
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_begin_at_multiples_of_four() {
        let mut initrd = Initrd::default();
        initrd.dir("bin");
        initrd.file("bin/x", b"12345");
        let bytes = initrd.finish();
        assert_eq!(bytes.len() % 4, 0);
        let at = bytes.windows(5).position(|window| window == b"12345").unwrap();
        assert_eq!(at % 4, 0);
        let headers: Vec<_> = bytes.windows(6).enumerate().filter(|(_, w)| w == b"070701").map(|(at, _)| at).collect();
        assert_eq!(headers.len(), 3);
        assert!(headers.iter().all(|at| at % 4 == 0));
        assert_eq!(&bytes[headers[1] + 54..headers[1] + 62], b"00000005", "the size");
    }
}

//! Paths as operations own them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A path in the form that the platform's calls want: NUL-terminated bytes on Unix beside the `Path`.
#[derive(Clone, PartialEq, Eq)]
pub struct OpPath {
    path: PathBuf,
    #[cfg(unix)]
    c: std::ffi::CString,
}

impl OpPath {
    /// Takes a path.
    ///
    /// # Errors
    /// `InvalidInput` if the path has a NUL byte in it.
    pub fn new(path: impl AsRef<Path>) -> io::Result<OpPath> {
        let path = path.as_ref().to_path_buf();
        #[cfg(unix)]
        {
            let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
            let c = std::ffi::CString::new(bytes).map_err(|_| nul(&path))?;
            Ok(OpPath { path, c })
        }
        #[cfg(not(unix))]
        {
            if path.to_string_lossy().contains('\0') {
                return Err(nul(&path));
            }
            Ok(OpPath { path })
        }
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.path
    }

    /// The path as C wants it.
    #[cfg(unix)]
    pub fn as_c_str(&self) -> &std::ffi::CStr {
        &self.c
    }
}

fn nul(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("path {path:?} has a NUL byte in it"))
}

impl fmt::Debug for OpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_refused_with_the_path_named() {
        let error = OpPath::new("a\0b").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("NUL"));
        assert_eq!(OpPath::new("a/b").unwrap().as_path(), Path::new("a/b"));
    }
}
